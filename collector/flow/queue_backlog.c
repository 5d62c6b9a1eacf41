/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a queue has on the disk alone: batches that found no room in memory, or others waiting
 * before them, and what an earlier process or queue left. It is read back in order of acceptance,
 * when half of the memory is free. What is in memory has its record held there (hold.h), so nothing
 * comes twice.
 */
#include "base/clock.h"
#include "flow/queue_parts.h"

#include <errno.h>

/* Of the budget, for each queue. */
enum { MEMORY_SHARE = 8 };

#define READ_BYTES ((size_t)1 << 20)
#define AGAIN_NS (200 * UT_NS_PER_MS)

struct ut_queue_reader {
    struct ut_hold_read read;
    struct ut_queue *queue; /* NULL: it has gone */
    struct ut_keeping *keeping;
    uint32_t cursor;
};

static struct ut_keeping_place *place_of(const struct ut_queue *queue)
{
    return &queue->backlog.keeping->places[queue->backlog.cursor];
}

static bool is_owner(const struct ut_queue *queue)
{
    return queue->backlog.keeping != NULL && place_of(queue)->owner == &queue->backlog.owner;
}

uint64_t ut_queue_backlog_stored(const struct ut_queue *queue)
{
    return queue->backlog.left + (is_owner(queue) ? place_of(queue)->stored : 0);
}

/* ---- to the disk ----------------------------------------------------------------------------- */

static bool is_stored(const struct ut_body *body)
{
    return body->keep != NULL && body->keep->stored;
}

static bool is_kept(const struct ut_batch *batch)
{
    for (const struct ut_body *body = batch->first; body != NULL; body = body->next) {
        if (!is_stored(body))
            return false;
    }
    return true;
}

static void leave_body(struct ut_queue *queue, const struct ut_body *body, uint32_t spans)
{
    struct ut_queue_backlog *backlog = &queue->backlog;
    bool mine = is_owner(queue);
    uint32_t again;
    uint64_t sequence = body->keep->left(body->keep, backlog->cursor, &again);
    backlog->left += mine ? 0 : spans;
    ut_keeping_wait(backlog->keeping, backlog->cursor, sequence, mine ? spans : again, !mine);
}

bool ut_queue_keeps_up(const struct ut_queue *queue)
{
    return is_owner(queue) && place_of(queue)->stored == 0 && ut_queue_gate_ns(queue) == 0 &&
           ut_queue_size(queue) <= queue->settings.sending_queue.queue_size &&
           ut_queue_bytes(queue) <= queue->backlog.memory_most;
}

bool ut_queue_backlog_takes(struct ut_queue *queue, struct ut_batch *batch)
{
    const struct ut_queue_backlog *backlog = &queue->backlog;
    if (backlog->keeping == NULL || backlog->keeping->hold == NULL || !is_kept(batch))
        return false;
    bool waits = queue->abandoned || !is_owner(queue) || place_of(queue)->stored > 0 ||
                 queue->bytes + batch->bytes > backlog->memory_most || !ut_queue_fits(queue, batch);
    if (!waits)
        return false;
    for (const struct ut_body *body = batch->first; body != NULL; body = body->next) {
        if (ut_body_spans(body) > 0)
            leave_body(queue, body, ut_body_spans(body));
    }
    ut_batch_unref(batch);
    return true;
}

struct leaving {
    struct ut_queue *queue;
    uint32_t spans;
};

static void on_body(void *arg, const struct ut_body *body, uint32_t spans)
{
    struct leaving *leaving = arg;
    if (!is_stored(body))
        return;
    leave_body(leaving->queue, body, spans);
    leaving->spans += spans;
}

uint32_t ut_queue_backlog_leave(struct ut_entry *entry)
{
    struct leaving leaving = {.queue = entry->queue};
    if (entry->kept)
        ut_entry_each_body(entry, on_body, &leaving);
    return leaving.spans;
}

static void hand_over_list(struct ut_entry_list *list)
{
    for (struct ut_entry *entry = list->first, *next; entry != NULL; entry = next) {
        next = entry->next;
        if (!is_kept(entry->batch))
            continue;
        ut_queue_unlist(entry);
        ut_queue_drop_rest(entry, UT_DROP_SHUTDOWN); /* drops nothing: all of it is kept */
    }
}

void ut_queue_backlog_hand_over(struct ut_queue *queue)
{
    if (queue->backlog.keeping == NULL || is_owner(queue) || place_of(queue)->owner == NULL)
        return;
    hand_over_list(&queue->fresh);
    hand_over_list(&queue->due);
    hand_over_list(&queue->waiting);
}

/* ---- from the disk --------------------------------------------------------------------------- */

static void read_later(struct ut_queue *queue, uint64_t delay_ns)
{
    if (!ut_timer_is_set(&queue->backlog.again))
        ut_timer_set(&queue->worker->timers, &queue->backlog.again,
                     ut_worker_now(queue->worker) + delay_ns);
}

/* Back to where it came from; `spans` were taken off what is stored. */
static void put_back(const struct ut_queue_reader *reader, struct ut_hold_record *handle,
                     uint64_t sequence, uint32_t spans)
{
    ut_hold_leave(handle, reader->cursor);
    ut_keeping_wait(reader->keeping, reader->cursor, sequence, spans, false);
}

/* Since it was received, by clocks that may have been set meanwhile. */
static uint64_t age_of(const struct ut_record *record)
{
    uint64_t now_ns = ut_clock_unix_ns();
    return now_ns > record->received_ns ? now_ns - record->received_ns : 0;
}

/* Takes it in. 0; -EBADMSG where it is of no use, another errno where there is no room; the handle
 * stays the caller's then. */
static int take_in(struct ut_queue *queue, struct ut_hold_record *handle,
                   const struct ut_record *record, ut_slice outcome)
{
    struct ut_queue_backlog *backlog = &queue->backlog;
    struct ut_batch *batch = NULL;
    bool unjoined = false;
    uint32_t stored = ut_hold_spans(handle);
    const struct ut_recall recall = {record, outcome, handle, backlog->cursor};
    int error = ut_keeping_recall(backlog->keeping, &recall, &batch, &unjoined);
    if (error != 0)
        return error;
    uint32_t spans = batch->spans;
    if (spans == 0) {
        batch->first->keep->finished(batch->first->keep, backlog->cursor, 0);
        ut_batch_unref(batch);
        return 0;
    }
    struct ut_entry *entry = ut_queue_new_entry(queue, batch);
    if (entry == NULL) {
        read_later(queue, AGAIN_NS);
        (void)batch->first->keep->left(batch->first->keep, backlog->cursor, &stored);
        ut_keeping_wait(backlog->keeping, backlog->cursor, record->sequence, stored, false);
        ut_batch_unref(batch);
        return 0;
    }
    entry->age_ns = age_of(record);
    ut_queue_add_fresh(entry);
    /* What had been left out comes back where nobody knows of it any more. */
    queue->recovered += spans > stored ? spans - stored : 0;
    *queue->counters.unjoined += unjoined ? spans : 0;
    return 0;
}

static void on_take(struct ut_hold_read *read, struct ut_hold_record *handle,
                    const struct ut_record *record, ut_slice outcome)
{
    struct ut_queue_reader *reader = UT_CONTAINER_OF(read, struct ut_queue_reader, read);
    struct ut_queue *queue = reader->queue;
    struct ut_keeping_place *place = &reader->keeping->places[reader->cursor];
    if (reader->keeping->hold == NULL)
        return;
    uint32_t spans = ut_hold_spans(handle);
    place->stored -= spans < place->stored ? spans : place->stored;
    bool wanted = queue != NULL && is_owner(queue) && !queue->abandoned;
    int error = wanted ? take_in(queue, handle, record, outcome) : -ECANCELED;
    if (error == -EBADMSG) {
        ut_queue_count_dropped(queue, UT_DROP_DAMAGED, spans);
        ut_hold_done(handle, reader->cursor);
    } else if (error != 0) {
        if (wanted)
            read_later(queue, AGAIN_NS);
        put_back(reader, handle, record->sequence, spans);
    }
}

/* Whose books it is in. */
static struct ut_queue *book_keeper(const struct ut_queue_reader *reader)
{
    struct ut_keeping_owner *owner = reader->keeping->places[reader->cursor].owner;
    return owner != NULL ? UT_CONTAINER_OF(owner, struct ut_queue, backlog.owner) : NULL;
}

static void on_damaged(struct ut_hold_read *read, uint64_t records, uint64_t spans)
{
    struct ut_queue_reader *reader = UT_CONTAINER_OF(read, struct ut_queue_reader, read);
    struct ut_keeping_place *place = &reader->keeping->places[reader->cursor];
    (void)records;
    place->stored -= spans < place->stored ? spans : place->stored;
    struct ut_queue *queue = book_keeper(reader);
    if (queue != NULL)
        ut_queue_count_dropped(queue, UT_DROP_DAMAGED, spans);
}

/* All there is has been read, and it was less than there should be. */
static void settle(struct ut_queue *queue)
{
    struct ut_keeping_place *place = place_of(queue);
    if (place->stored == 0 || place->from != UINT64_MAX)
        return;
    if (!queue->backlog.whole) {
        place->from = 0;
        return;
    }
    ut_queue_count_dropped(queue, UT_DROP_DAMAGED, place->stored);
    place->stored = 0;
}

static void on_read(struct ut_hold_read *read, uint64_t next, int error)
{
    struct ut_queue_reader *reader = UT_CONTAINER_OF(read, struct ut_queue_reader, read);
    struct ut_keeping *keeping = reader->keeping;
    struct ut_queue *queue = reader->queue;
    uint64_t goes_on = error != 0 ? read->from : next;
    struct ut_keeping_place *place = &keeping->places[reader->cursor];
    place->from = goes_on < place->from ? goes_on : place->from;
    ut_pool_free(&keeping->worker->pool, reader);
    if (queue == NULL) {
        if (place->owner != NULL)
            place->owner->changed(place->owner);
        return;
    }
    queue->backlog.reader = NULL;
    queue->backlog.read_on = next;
    if (!is_owner(queue) || keeping->hold == NULL)
        return;
    if (error != 0) {
        read_later(queue, AGAIN_NS);
        return;
    }
    settle(queue);
    ut_queue_pump(queue);
}

static bool may_read(const struct ut_queue *queue)
{
    const struct ut_queue_backlog *backlog = &queue->backlog;
    return is_owner(queue) && backlog->keeping->hold != NULL && backlog->reader == NULL &&
           place_of(queue)->from != UINT64_MAX && !queue->draining &&
           !ut_timer_is_set(&backlog->again) && queue->bytes <= backlog->memory_most / 2;
}

void ut_queue_backlog_pump(struct ut_queue *queue)
{
    struct ut_queue_backlog *backlog = &queue->backlog;
    if (!may_read(queue))
        return;
    struct ut_keeping_place *place = place_of(queue);
    struct ut_queue_reader *reader = ut_pool_alloc(&queue->worker->pool, sizeof(*reader));
    if (reader == NULL) {
        read_later(queue, AGAIN_NS);
        return;
    }
    size_t most = backlog->memory_most / 2;
    *reader = (struct ut_queue_reader){
        .read = {.cursor = backlog->cursor,
                 .from = place->from,
                 .bytes_max = READ_BYTES < most ? READ_BYTES : most,
                 .take = on_take,
                 .damaged = on_damaged,
                 .done = on_read},
        .queue = queue,
        .keeping = backlog->keeping,
        .cursor = backlog->cursor,
    };
    backlog->whole = place->from == 0 || (backlog->whole && place->from == backlog->read_on);
    backlog->reader = reader;
    place->from = UINT64_MAX;
    ut_hold_read(backlog->keeping->hold, &reader->read);
}

static void on_again(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    ut_queue_backlog_pump(UT_CONTAINER_OF(timer, struct ut_queue, backlog.again));
}

/* ---- life ------------------------------------------------------------------------------------ */

uint64_t ut_queue_cursor_bit(const struct ut_queue *queue)
{
    UT_CHECK(queue->backlog.keeping != NULL);
    return UINT64_C(1) << queue->backlog.cursor;
}

static void on_changed(struct ut_keeping_owner *owner)
{
    struct ut_queue *queue = UT_CONTAINER_OF(owner, struct ut_queue, backlog.owner);
    struct ut_keeping_place *place = place_of(queue);
    queue->recovered += place->unclaimed;
    place->unclaimed = 0;
    read_later(queue, 0);
}

/* What it would have read back is the other's now. */
static void on_lost(struct ut_keeping_owner *owner)
{
    struct ut_queue *queue = UT_CONTAINER_OF(owner, struct ut_queue, backlog.owner);
    struct ut_keeping_place *place = place_of(queue);
    queue->backlog.left += place->stored;
    place->unclaimed += place->stored;
}

void ut_queue_backlog_init(struct ut_queue *queue, struct ut_keeping *keeping, uint32_t cursor)
{
    queue->backlog = (struct ut_queue_backlog){
        .keeping = keeping,
        .cursor = cursor,
        .owner = {.changed = on_changed, .lost = on_lost},
        .memory_most = queue->worker->budget.limit / MEMORY_SHARE,
        .again = {.fire = on_again},
    };
}

void ut_queue_own_backlog(struct ut_queue *queue)
{
    if (queue->backlog.keeping == NULL || is_owner(queue))
        return;
    struct ut_keeping_place *place = place_of(queue);
    if (place->owner != NULL)
        place->owner->lost(place->owner);
    place->owner = &queue->backlog.owner;
    on_changed(&queue->backlog.owner);
}

void ut_queue_backlog_done(struct ut_queue *queue)
{
    struct ut_queue_backlog *backlog = &queue->backlog;
    ut_timer_cancel(&queue->worker->timers, &backlog->again);
    if (backlog->reader != NULL)
        backlog->reader->queue = NULL;
    if (backlog->keeping == NULL)
        return;
    struct ut_keeping_place *place = place_of(queue);
    if (is_owner(queue)) {
        on_lost(&backlog->owner);
        place->owner = NULL;
    }
    if (place->owner == NULL && backlog->keeping->hold != NULL)
        ut_hold_unclaim(backlog->keeping->hold, backlog->cursor);
}
