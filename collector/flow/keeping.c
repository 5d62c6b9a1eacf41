/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/keeping.h"

#include <errno.h>

#include "base/clock.h"
#include "evidence/strip.h"
#include "flow/disk/outcome.h"
#include "otlp/walk.h"

/* ---- a body that is on the disk -------------------------------------------------------------- */

struct kept {
    struct ut_keep base;
    struct ut_keeping *keeping;
    struct ut_hold_record *record;
    uint64_t all;    /* cursors that got it */
    uint64_t held;   /* … and neither finished it nor let it go */
    uint32_t left[]; /* spans, in order of the cursors in `all` */
};

static uint32_t *left_of(struct kept *kept, uint32_t cursor)
{
    uint64_t below = kept->all & ((UINT64_C(1) << cursor) - 1);
    return &kept->left[__builtin_popcountll(below)];
}

static void finish(struct kept *kept, uint32_t cursor)
{
    kept->held &= ~(UINT64_C(1) << cursor);
    if (kept->keeping->hold != NULL)
        ut_hold_done(kept->record, cursor);
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

static uint64_t on_left(struct ut_keep *keep, uint32_t cursor)
{
    struct kept *kept = UT_CONTAINER_OF(keep, struct kept, base);
    kept->held &= ~(UINT64_C(1) << cursor);
    if (kept->keeping->hold == NULL)
        return 0;
    uint64_t sequence = ut_hold_sequence(kept->record);
    ut_hold_leave(kept->record, cursor);
    return sequence;
}

static void on_released(struct ut_keep *keep)
{
    struct kept *kept = UT_CONTAINER_OF(keep, struct kept, base);
    struct ut_keeping *keeping = kept->keeping;
    while (kept->held != 0) {
        uint32_t cursor = (uint32_t)__builtin_ctzll(kept->held);
        uint64_t sequence = on_left(keep, cursor);
        ut_keeping_wait(keeping, cursor, sequence, *left_of(kept, cursor), true);
    }
    keeping->open--;
    ut_pool_free(&keeping->worker->pool, kept);
}

/* NULL when out of memory. */
static struct ut_keep *new_kept(struct ut_keeping *keeping, struct ut_hold_record *record,
                                uint64_t cursors, uint32_t spans)
{
    size_t count = (size_t)__builtin_popcountll(cursors);
    struct kept *kept =
        ut_pool_alloc(&keeping->worker->pool, sizeof(*kept) + count * sizeof(kept->left[0]));
    if (kept == NULL)
        return NULL;
    *kept = (struct kept){
        .base = {.finished = on_finished, .left = on_left, .released = on_released},
        .keeping = keeping,
        .record = record,
        .all = cursors,
        .held = cursors,
    };
    for (size_t i = 0; i < count; i++)
        kept->left[i] = spans;
    keeping->open++;
    return &kept->base;
}

/* ---- storing --------------------------------------------------------------------------------- */

struct ut_storing {
    struct ut_hold_put put;
    struct ut_keeping *keeping;
    struct ut_keeping_client *client; /* NULL: it has gone */
    struct ut_storing *previous, *next;
    struct ut_batch *batch;
    struct ut_push *push; /* NULL: answered */
    struct ut_timer deadline;
    bool durable;
    bool unwanted; /* its sender was told to send it again */
};

static void answer(struct ut_storing *storing, const struct ut_answer *answer)
{
    struct ut_push *push = storing->push;
    ut_timer_cancel(&storing->keeping->worker->timers, &storing->deadline);
    storing->push = NULL;
    push->done(push, answer);
}

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

/* The sender sends it again. */
static void give_back(struct ut_storing *storing, int error)
{
    struct ut_push *push = storing->push;
    ut_timer_cancel(&storing->keeping->worker->timers, &storing->deadline);
    storing->push = NULL;
    storing->unwanted = true;
    answer_busy(push, storing->client, error);
}

static void on_deadline(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    give_back(UT_CONTAINER_OF(timer, struct ut_storing, deadline), -ETIMEDOUT);
}

static void finish_unsent(struct ut_hold_record *record, uint64_t cursors)
{
    for (; cursors != 0; cursors &= cursors - 1)
        ut_hold_done(record, (uint32_t)__builtin_ctzll(cursors));
}

static void leave_all(struct ut_storing *storing, struct ut_hold_record *record)
{
    uint64_t sequence = ut_hold_sequence(record);
    for (uint64_t rest = storing->put.record.cursors; rest != 0; rest &= rest - 1) {
        uint32_t cursor = (uint32_t)__builtin_ctzll(rest);
        ut_hold_leave(record, cursor);
        ut_keeping_wait(storing->keeping, cursor, sequence, storing->put.record.spans, true);
    }
}

static void on_not_stored(struct ut_storing *storing, int error)
{
    if (!storing->durable && storing->client != NULL) {
        storing->client->stored(storing->client, storing->batch);
        return;
    }
    if (storing->push != NULL)
        give_back(storing, error);
    else if (!storing->durable)
        ut_log(storing->keeping->worker->log, UT_LOG_ERROR, "hold_lost",
               "spans=%u text=\"acknowledged as queued, and then the disk failed while the "
               "pipeline went\"",
               storing->batch->spans);
    ut_batch_unref(storing->batch);
}

static void on_stored(struct ut_storing *storing, struct ut_hold_record *record)
{
    struct ut_keeping *keeping = storing->keeping;
    struct ut_batch *batch = storing->batch;
    uint64_t cursors = storing->put.record.cursors;
    bool goes_on = !storing->unwanted && storing->client != NULL && keeping->hold != NULL;
    if (goes_on)
        batch->first->keep = new_kept(keeping, record, cursors, batch->spans);
    if (storing->push != NULL)
        answer(storing, &(struct ut_answer){.verdict = UT_ACCEPTED});
    if (batch->first->keep != NULL) {
        storing->client->stored(storing->client, batch);
        return;
    }
    /* It is safe where it is, for whoever reads the disk next. */
    if (keeping->hold != NULL && storing->unwanted)
        finish_unsent(record, cursors);
    else if (keeping->hold != NULL)
        leave_all(storing, record);
    ut_batch_unref(batch);
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

static void on_put(struct ut_hold_put *put, struct ut_hold_record *record, int error)
{
    struct ut_storing *storing = UT_CONTAINER_OF(put, struct ut_storing, put);
    struct ut_keeping *keeping = storing->keeping;
    unlist(storing);
    if (error != 0)
        on_not_stored(storing, error);
    else
        on_stored(storing, record);
    keeping->open--;
    ut_pool_free(&keeping->worker->pool, storing);
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
        client->stored(client, batch);
        return;
    }
    ut_batch_unref(batch);
    answer_busy(push, client, error);
}

static struct ut_storing *new_storing(struct ut_keeping_client *client, struct ut_push *push)
{
    struct ut_keeping *keeping = client->keeping;
    struct ut_storing *storing = ut_pool_alloc(&keeping->worker->pool, sizeof(*storing));
    struct ut_batch *batch = push->batch;
    const struct ut_body *body = batch->first;
    UT_CHECK(body->next == NULL);
    if (storing == NULL)
        return NULL;
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
        .batch = batch,
        .push = push,
        .deadline = {.fire = on_deadline},
        .durable = client->timeout_ns != 0,
    };
    return storing;
}

void ut_keeping_store(struct ut_keeping_client *client, struct ut_push *push)
{
    struct ut_keeping *keeping = client->keeping;
    struct ut_storing *storing = keeping->hold != NULL ? new_storing(client, push) : NULL;
    int error = keeping->hold == NULL ? -ECANCELED
                : storing == NULL     ? -ENOMEM
                                      : ut_hold_put(keeping->hold, &storing->put);
    if (error != 0) {
        ut_pool_free(&keeping->worker->pool, storing);
        refuse(client, push, error);
        return;
    }
    if (client->storing != NULL)
        client->storing->previous = storing;
    client->storing = storing;
    keeping->open++;
    if (!storing->durable) {
        answer(storing, &(struct ut_answer){.verdict = UT_ACCEPTED});
        return;
    }
    push->held_by = storing;
    ut_timer_set(&keeping->worker->timers, &storing->deadline, deadline_of(client, push));
}

void ut_keeping_abandon(struct ut_push *push)
{
    answer(push->held_by, &(struct ut_answer){.verdict = UT_ACCEPTED});
}

void ut_keeping_leave(struct ut_keeping_client *client)
{
    while (client->storing != NULL) {
        struct ut_storing *storing = client->storing;
        client->storing = storing->next;
        ut_batch_set_on_the_way(storing->batch, NULL);
        storing->client = NULL;
    }
}

/* ---- what the processors found out ----------------------------------------------------------- */

static void note_body(struct kept *kept, const struct ut_body *body)
{
    uint32_t spans = ut_body_spans(body);
    if (kept->held != 0 && kept->keeping->hold != NULL)
        ut_hold_set_spans(kept->record, spans);
    for (uint64_t rest = kept->held; rest != 0; rest &= rest - 1) {
        uint32_t cursor = (uint32_t)__builtin_ctzll(rest);
        *left_of(kept, cursor) = spans;
        if (spans == 0)
            finish(kept, cursor);
    }
    size_t size = ut_disk_outcome_size(body);
    if (kept->held == 0 || size == 0 || kept->keeping->hold == NULL)
        return;
    uint8_t *room = ut_hold_outcome(kept->record, size);
    if (room != NULL)
        ut_disk_outcome_encode(body, room);
}

void ut_keeping_note(struct ut_batch *batch)
{
    for (const struct ut_body *body = batch->first; body != NULL; body = body->next) {
        if (body->keep != NULL)
            note_body(UT_CONTAINER_OF(body->keep, struct kept, base), body);
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
        body->keep = new_kept(keeping, recall->handle, UINT64_C(1) << recall->cursor, batch->spans);
        error = body->keep != NULL ? 0 : -ENOMEM;
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
