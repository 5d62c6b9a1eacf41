/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/keeping.h"

#include <errno.h>

#include "base/clock.h"
#include "evidence/strip.h"
#include "flow/disk/outcome.h"
#include "otlp/walk.h"

/* ---- a body that is, or is to be, on the disk ------------------------------------------------ */

struct kept {
    struct ut_keep base;
    struct ut_keeping *keeping;
    struct ut_hold_record *record; /* NULL: it is not stored */
    struct ut_storing *storing;    /* NULL: its put has ended */
    struct ut_body *body;          /* NULL: it is gone */
    uint64_t all;                  /* cursors that got it */
    uint64_t held;                 /* … and neither finished it nor let it go */
    bool noted;                    /* the processors are done with it */
    uint32_t left[];               /* spans, in order of the cursors in `all` */
};

struct ut_storing {
    struct ut_hold_put put;
    struct ut_keeping *keeping;
    struct ut_keeping_client *client; /* NULL: it has gone */
    struct ut_storing *previous, *next;
    struct kept *kept;
    struct ut_batch *batch; /* NULL: it has gone on */
    struct ut_push *push;   /* NULL: answered */
    struct ut_timer deadline;
    struct ut_segment *segment; /* of the body, which may end before the put does */
    struct ut_budget *budget;   /* of such a body; NULL: its own still */
    size_t charge;
    bool durable;
    bool unwanted; /* its sender was told to send it again */
};

static uint32_t *left_of(struct kept *kept, uint32_t cursor)
{
    uint64_t below = kept->all & ((UINT64_C(1) << cursor) - 1);
    return &kept->left[__builtin_popcountll(below)];
}

static bool is_stored(const struct kept *kept)
{
    return kept->record != NULL && kept->keeping->hold != NULL;
}

static void unlist(struct ut_storing *storing)
{
    if (storing->client == NULL)
        return;
    *(storing->previous != NULL ? &storing->previous->next : &storing->client->storing) =
        storing->next;
    if (storing->next != NULL)
        storing->next->previous = storing->previous;
}

/* The end of a put; what is kept stays. */
static void end_storing(struct ut_storing *storing)
{
    struct ut_keeping *keeping = storing->keeping;
    ut_segment_unref(storing->segment);
    if (storing->budget != NULL)
        ut_budget_return(storing->budget, storing->charge);
    keeping->open--;
    ut_pool_free(&keeping->worker->pool, storing);
}

/* The push, which is to be answered. NULL: it has been. */
static struct ut_push *take_push(struct ut_storing *storing)
{
    struct ut_push *push = storing->push;
    ut_timer_cancel(&storing->keeping->worker->timers, &storing->deadline);
    storing->push = NULL;
    return push;
}

static void answer_accepted(struct ut_push *push)
{
    if (push != NULL)
        push->done(push, &(struct ut_answer){.verdict = UT_ACCEPTED});
}

/* Every exporter has finished what is not stored yet: nobody needs the disk for it any more. */
static void do_without(struct ut_storing *storing)
{
    struct ut_hold *hold = storing->keeping->hold;
    struct ut_push *push = take_push(storing);
    if (hold != NULL && ut_hold_withdraw(hold, &storing->put)) {
        unlist(storing);
        storing->kept->storing = NULL;
        end_storing(storing);
    }
    answer_accepted(push);
}

static void finish(struct kept *kept, uint32_t cursor)
{
    kept->held &= ~(UINT64_C(1) << cursor);
    if (is_stored(kept))
        ut_hold_done(kept->record, cursor);
    else if (kept->held == 0 && kept->storing != NULL)
        do_without(kept->storing);
}

static void on_finished(struct ut_keep *keep, uint32_t cursor, uint32_t spans)
{
    struct kept *kept = UT_CONTAINER_OF(keep, struct kept, base);
    uint32_t *left = left_of(kept, cursor);
    UT_CHECK(*left >= spans && (kept->held & UINT64_C(1) << cursor) != 0);
    *left -= spans;
    if (*left == 0)
        finish(kept, cursor);
}

static uint64_t on_left(struct ut_keep *keep, uint32_t cursor, uint32_t *ret_spans)
{
    struct kept *kept = UT_CONTAINER_OF(keep, struct kept, base);
    kept->held &= ~(UINT64_C(1) << cursor);
    *ret_spans = 0;
    if (!is_stored(kept))
        return 0;
    *ret_spans = ut_hold_spans(kept->record);
    uint64_t sequence = ut_hold_sequence(kept->record);
    ut_hold_leave(kept->record, cursor);
    return sequence;
}

/* Nobody has it in memory, nor will it come to the disk. */
static void free_kept(struct kept *kept)
{
    struct ut_keeping *keeping = kept->keeping;
    while (kept->record != NULL && kept->held != 0) {
        uint32_t cursor = (uint32_t)__builtin_ctzll(kept->held);
        uint32_t spans;
        uint64_t sequence = on_left(&kept->base, cursor, &spans);
        ut_keeping_wait(keeping, cursor, sequence, spans, true);
    }
    keeping->open--;
    ut_pool_free(&keeping->worker->pool, kept);
}

static void on_released(struct ut_keep *keep)
{
    struct kept *kept = UT_CONTAINER_OF(keep, struct kept, base);
    struct ut_storing *storing = kept->storing;
    if (storing == NULL) {
        free_kept(kept);
        return;
    }
    /* The put still reads its bytes, so they stay charged. */
    storing->budget = kept->body->budget;
    storing->charge = kept->body->charge;
    kept->body->budget = NULL;
    kept->body = NULL;
}

/* NULL when out of memory. */
static struct kept *new_kept(struct ut_keeping *keeping, struct ut_body *body, uint64_t cursors,
                             uint32_t spans)
{
    size_t count = (size_t)__builtin_popcountll(cursors);
    struct kept *kept =
        ut_pool_alloc(&keeping->worker->pool, sizeof(*kept) + count * sizeof(kept->left[0]));
    if (kept == NULL)
        return NULL;
    *kept = (struct kept){
        .base = {.finished = on_finished, .left = on_left, .released = on_released},
        .keeping = keeping,
        .body = body,
        .all = cursors,
        .held = cursors,
    };
    for (size_t i = 0; i < count; i++)
        kept->left[i] = spans;
    keeping->open++;
    return kept;
}

static void set_record(struct kept *kept, struct ut_hold_record *record)
{
    kept->record = record;
    kept->base.stored = true;
}

/* ---- what the processors found out ----------------------------------------------------------- */

static void tell_spans(const struct kept *kept)
{
    if (kept->held != 0 && is_stored(kept))
        ut_hold_set_spans(kept->record, ut_body_spans(kept->body));
}

static void tell_outcome(const struct kept *kept)
{
    size_t size = kept->held != 0 && is_stored(kept) ? ut_disk_outcome_size(kept->body) : 0;
    uint8_t *room = size > 0 ? ut_hold_outcome(kept->record, size) : NULL;
    if (room != NULL)
        ut_disk_outcome_encode(kept->body, room);
}

static void note_body(struct kept *kept)
{
    uint32_t spans = ut_body_spans(kept->body);
    kept->noted = true;
    tell_spans(kept);
    for (uint64_t rest = kept->held; rest != 0; rest &= rest - 1) {
        uint32_t cursor = (uint32_t)__builtin_ctzll(rest);
        *left_of(kept, cursor) = spans;
        if (spans == 0)
            finish(kept, cursor);
    }
    tell_outcome(kept);
}

void ut_keeping_note(struct ut_batch *batch)
{
    for (const struct ut_body *body = batch->first; body != NULL; body = body->next) {
        if (body->keep != NULL)
            note_body(UT_CONTAINER_OF(body->keep, struct kept, base));
    }
}

/* ---- storing --------------------------------------------------------------------------------- */

static const char *describe(int error)
{
    return error == -ENOSPC      ? "the disk hold is full"
           : error == -ENOMEM    ? "out of memory"
           : error == -ECANCELED ? "stopping"
           : error == -ETIMEDOUT ? "the disk has not answered within the time for it"
                                 : "the disk has failed";
}

static void answer_busy(struct ut_push *push, struct ut_keeping_client *client, int error)
{
    push->done(push, &(struct ut_answer){
                         .verdict = UT_BUSY,
                         .delay_ms = client != NULL ? client->delay_ms(client) : 0,
                         .text = describe(error),
                     });
}

static void on_deadline(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_storing *storing = UT_CONTAINER_OF(timer, struct ut_storing, deadline);
    (void)now_ns;
    storing->unwanted = true;
    answer_busy(take_push(storing), storing->client, -ETIMEDOUT);
}

/* The batch goes on in memory, if it has not gone on, and if somebody relies on it. */
static void on_not_stored(struct ut_storing *storing, int error)
{
    struct ut_push *push = take_push(storing);
    if (storing->kept->body == NULL)
        free_kept(storing->kept);
    if (push != NULL)
        answer_busy(push, storing->client, error);
    if (storing->batch != NULL && !storing->durable && storing->client != NULL) {
        storing->client->go_on(storing->client, storing->batch);
        return;
    }
    if (storing->batch != NULL && !storing->durable)
        ut_log(storing->keeping->worker->log, UT_LOG_ERROR, "hold_lost",
               "spans=%u text=\"acknowledged as queued, and then the disk failed while the "
               "pipeline went\"",
               storing->batch->spans);
    ut_batch_unref(storing->batch);
}

/* What has become of it since it went on is so on the disk as well. */
static void catch_up(struct kept *kept)
{
    for (uint64_t rest = kept->all & ~kept->held; rest != 0 && is_stored(kept); rest &= rest - 1)
        ut_hold_done(kept->record, (uint32_t)__builtin_ctzll(rest));
    if (kept->body == NULL) {
        free_kept(kept);
    } else if (kept->noted) {
        tell_spans(kept);
        tell_outcome(kept);
    }
}

static void on_stored(struct ut_storing *storing, struct ut_hold_record *record)
{
    struct kept *kept = storing->kept;
    struct ut_batch *batch = storing->batch;
    set_record(kept, record);
    catch_up(kept);
    answer_accepted(take_push(storing)); /* `kept` may end in here, where the batch has gone on */
    if (batch == NULL)
        return;
    if (!storing->unwanted && storing->client != NULL && is_stored(kept)) {
        storing->client->go_on(storing->client, batch);
        return;
    }
    /* It is safe where it is, for whoever reads the disk next; or was never accepted. */
    while (storing->unwanted && kept->held != 0)
        finish(kept, (uint32_t)__builtin_ctzll(kept->held));
    ut_batch_unref(batch);
}

static void on_put(struct ut_hold_put *put, struct ut_hold_record *record, int error)
{
    struct ut_storing *storing = UT_CONTAINER_OF(put, struct ut_storing, put);
    unlist(storing);
    storing->kept->storing = NULL;
    if (error != 0)
        on_not_stored(storing, error);
    else
        on_stored(storing, record);
    end_storing(storing);
}

static uint64_t deadline_of(const struct ut_keeping_client *client, const struct ut_push *push)
{
    uint64_t due_ns = ut_worker_now(client->keeping->worker) + client->timeout_ns;
    return push->deadline_ns != 0 && push->deadline_ns < due_ns ? push->deadline_ns : due_ns;
}

static void refuse(struct ut_keeping_client *client, struct ut_push *push, int error)
{
    struct ut_batch *batch = push->batch;
    if (client->timeout_ns == 0) {
        push->done(push, &(struct ut_answer){.verdict = UT_ACCEPTED});
        client->go_on(client, batch);
        return;
    }
    ut_batch_unref(batch);
    answer_busy(push, client, error);
}

static struct ut_storing *new_storing(struct ut_keeping_client *client, struct ut_push *push)
{
    struct ut_keeping *keeping = client->keeping;
    struct ut_batch *batch = push->batch;
    struct ut_body *body = batch->first;
    UT_CHECK(body->next == NULL);
    struct ut_storing *storing = ut_pool_alloc(&keeping->worker->pool, sizeof(*storing));
    struct kept *kept =
        storing != NULL ? new_kept(keeping, body, client->cursors, batch->spans) : NULL;
    if (kept == NULL) {
        ut_pool_free(&keeping->worker->pool, storing);
        return NULL;
    }
    kept->storing = storing;
    keeping->open++;
    *storing = (struct ut_storing){
        .put = {.record = {.spans = batch->spans,
                           .received_ns = ut_clock_unix_ns(),
                           .workload = body->sender.cgroup_id,
                           .cursors = client->cursors,
                           .body = ut_body_slice(body, body->start, body->end - body->start)},
                .done = on_put},
        .keeping = keeping,
        .client = client,
        .next = client->storing,
        .kept = kept,
        .batch = batch,
        .push = push,
        .deadline = {.fire = on_deadline},
        .segment = ut_segment_ref(body->segment),
        .durable = client->timeout_ns != 0,
    };
    return storing;
}

/* The put that is accepted, or NULL. */
static struct ut_storing *begin(struct ut_keeping_client *client, struct ut_push *push,
                                bool patient, int *ret_error)
{
    struct ut_keeping *keeping = client->keeping;
    struct ut_storing *storing = keeping->hold != NULL ? new_storing(client, push) : NULL;
    if (storing != NULL)
        storing->put.patient = patient;
    *ret_error = keeping->hold == NULL ? -ECANCELED
                 : storing == NULL     ? -ENOMEM
                                       : ut_hold_put(keeping->hold, &storing->put);
    if (*ret_error != 0 && storing != NULL) {
        free_kept(storing->kept);
        end_storing(storing);
        storing = NULL;
    }
    return storing;
}

void ut_keeping_store(struct ut_keeping_client *client, struct ut_push *push)
{
    struct ut_batch *batch = push->batch;
    bool at_once = client->timeout_ns != 0 && client->keeps_up(client);
    int error;
    struct ut_storing *storing = begin(client, push, at_once, &error);
    if (storing == NULL) {
        refuse(client, push, error);
        return;
    }
    if (client->storing != NULL)
        client->storing->previous = storing;
    client->storing = storing;
    batch->first->keep = &storing->kept->base;
    if (!storing->durable) {
        answer_accepted(take_push(storing));
        return;
    }
    push->held_by = storing;
    ut_timer_set(&client->keeping->worker->timers, &storing->deadline, deadline_of(client, push));
    if (at_once) {
        storing->batch = NULL;
        client->go_on(client, batch);
    }
}

void ut_keeping_abandon(struct ut_push *push)
{
    answer_accepted(take_push(push->held_by));
}

void ut_keeping_leave(struct ut_keeping_client *client)
{
    while (client->storing != NULL) {
        struct ut_storing *storing = client->storing;
        client->storing = storing->next;
        if (storing->batch != NULL)
            ut_batch_set_on_the_way(storing->batch, NULL);
        storing->client = NULL;
    }
}

/* ---- reading back ---------------------------------------------------------------------------- */

static struct ut_batch *make_batch(struct ut_keeping *keeping, const struct ut_record *record)
{
    struct ut_pool *pool = &keeping->worker->pool;
    struct ut_segment *segment = ut_segment_new(pool, record->body.size);
    if (segment == NULL)
        return NULL;
    struct ut_batch *batch = NULL;
    if (ut_segment_append(&segment, record->body) == 0)
        batch = ut_batch_new(pool, segment);
    if (batch == NULL) {
        ut_segment_unref(segment);
        return NULL;
    }
    batch->received_ns = ut_worker_now(keeping->worker);
    return batch;
}

/* Nobody forges evidence by being read back. */
static void strip(struct ut_body *body)
{
    ut_strip_spans(body, NULL);
    for (uint32_t i = 0; i < body->resource_count; i++)
        ut_strip_resource(body, &body->resources[i], NULL, (ut_slice){NULL, 0}, NULL);
}

static int restore(struct ut_body *body, ut_slice outcome, bool *ret_unjoined)
{
    struct ut_walk_report report;
    int error = ut_walk(body, &report);
    if (error != 0)
        return error;
    error = outcome.size > 0 ? ut_disk_outcome_apply(body, outcome) : -EBADMSG;
    *ret_unjoined = error == -EBADMSG;
    if (error != -EBADMSG)
        return error;
    strip(body);
    return 0;
}

static int charge(struct ut_keeping *keeping, struct ut_body *body)
{
    size_t bytes = body->segment->capacity + body->arena.bytes;
    if (!ut_budget_take(&keeping->worker->budget, bytes))
        return -ENOBUFS;
    body->budget = &keeping->worker->budget;
    body->charge = bytes;
    return 0;
}

int ut_keeping_recall(struct ut_keeping *keeping, const struct ut_recall *recall,
                      struct ut_batch **ret, bool *ret_unjoined)
{
    struct ut_batch *batch = make_batch(keeping, recall->record);
    if (batch == NULL)
        return -ENOMEM;
    struct ut_body *body = batch->first;
    int error = restore(body, recall->outcome, ret_unjoined);
    if (error == 0)
        error = charge(keeping, body);
    if (error == 0) {
        ut_batch_measure(batch);
        struct kept *kept = new_kept(keeping, body, UINT64_C(1) << recall->cursor, batch->spans);
        error = kept != NULL ? 0 : -ENOMEM;
        if (kept != NULL) {
            set_record(kept, recall->handle);
            body->keep = &kept->base;
        }
    }
    if (error != 0) {
        ut_batch_unref(batch);
        return error;
    }
    *ret = batch;
    return 0;
}

/* ---- what is on the disk alone ----------------------------------------------------------------
 */

void ut_keeping_init(struct ut_keeping *keeping, struct ut_worker *worker, struct ut_hold *hold)
{
    struct ut_hold_backlog backlogs[UT_HOLD_CURSORS_MAX];
    size_t count = ut_hold_backlogs(hold, backlogs, UT_HOLD_CURSORS_MAX);
    *keeping = (struct ut_keeping){.worker = worker, .hold = hold};
    for (size_t i = 0; i < UT_HOLD_CURSORS_MAX; i++)
        keeping->places[i].from = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (backlogs[i].records > 0)
            ut_keeping_wait(keeping, backlogs[i].cursor, 0, backlogs[i].spans, true);
    }
}

void ut_keeping_wait(struct ut_keeping *keeping, uint32_t cursor, uint64_t sequence, uint64_t spans,
                     bool unclaimed)
{
    struct ut_keeping_place *place = &keeping->places[cursor];
    place->stored += spans;
    place->unclaimed += unclaimed ? spans : 0;
    place->from = sequence < place->from ? sequence : place->from;
    if (place->owner != NULL && keeping->hold != NULL)
        place->owner->changed(place->owner);
}

void ut_keeping_close(struct ut_keeping *keeping)
{
    keeping->hold = NULL;
}
