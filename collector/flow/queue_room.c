/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and limits: who may come in, and when something goes out again. */
#include <inttypes.h>

#include "base/clock.h"
#include "flow/queue_parts.h"

enum {
    DELAY_MIN_MS = 1000,
    DELAY_MAX_MS = 30000,
};

void ut_queue_add_feed(struct ut_queue *queue, struct ut_queue_feed *feed)
{
    UT_CHECK(queue->feed_count < UT_QUEUE_FEEDS_MAX);
    queue->feeds[queue->feed_count++] = feed;
}

void ut_queue_remove_feed(struct ut_queue *queue, struct ut_queue_feed *feed)
{
    for (size_t i = 0; i < queue->feed_count; i++) {
        if (queue->feeds[i] == feed) {
            queue->feeds[i] = queue->feeds[--queue->feed_count];
            return;
        }
    }
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static uint64_t units_of(const struct ut_queue *queue, uint64_t requests, uint64_t spans,
                         uint64_t bytes)
{
    switch ((enum ut_sizer)queue->settings.sending_queue.sizer) {
    case UT_SIZER_REQUESTS:
        return requests;
    case UT_SIZER_ITEMS:
        return spans;
    case UT_SIZER_BYTES:
        return bytes;
    }
    return requests;
}

static uint64_t size_inside(const struct ut_queue *queue)
{
    return units_of(queue, queue->entries, queue->unfinished, queue->bytes);
}

uint64_t ut_queue_size(const struct ut_queue *queue)
{
    uint64_t size = size_inside(queue);
    for (size_t i = 0; i < queue->feed_count; i++) {
        const struct ut_on_the_way *way = queue->feeds[i]->on_the_way;
        size += units_of(queue, way->batches, way->spans, way->bytes);
    }
    return size;
}

uint64_t ut_queue_bytes(const struct ut_queue *queue)
{
    uint64_t bytes = queue->bytes;
    for (size_t i = 0; i < queue->feed_count; i++)
        bytes += queue->feeds[i]->on_the_way->bytes;
    return bytes;
}

static bool fits(const struct ut_queue *queue, uint64_t size, const struct ut_batch *batch)
{
    return size == 0 || size + units_of(queue, 1, batch->spans, batch->bytes) <=
                            queue->settings.sending_queue.queue_size;
}

bool ut_queue_fits(const struct ut_queue *queue, const struct ut_batch *batch)
{
    return fits(queue, size_inside(queue), batch);
}

/* ---- places ---------------------------------------------------------------------------------- */

static uint64_t batches_on_the_way(const struct ut_queue *queue)
{
    uint64_t batches = 0;
    for (size_t i = 0; i < queue->feed_count; i++)
        batches += queue->feeds[i]->on_the_way->batches;
    return batches;
}

bool ut_queue_prepare(struct ut_queue *queue)
{
    uint64_t wanted = batches_on_the_way(queue) + 1;
    while (queue->spare_count < wanted) {
        struct ut_entry *place = ut_pool_alloc(&queue->worker->pool, sizeof(*place));
        if (place == NULL)
            return false;
        place->next = queue->spares;
        queue->spares = place;
        queue->spare_count++;
    }
    return true;
}

static struct ut_entry *take_spare(struct ut_queue *queue)
{
    struct ut_entry *place = queue->spares;
    queue->spares = place->next;
    queue->spare_count--;
    return place;
}

struct ut_entry *ut_queue_take_place(struct ut_queue *queue)
{
    if (queue->spares == NULL)
        return ut_pool_alloc(&queue->worker->pool, sizeof(struct ut_entry));
    struct ut_entry *place = take_spare(queue);
    /* Batches that were joined on their way need one place. */
    ut_queue_trim_spares(queue, batches_on_the_way(queue));
    return place;
}

void ut_queue_trim_spares(struct ut_queue *queue, uint64_t count)
{
    while (queue->spare_count > count)
        ut_pool_free(&queue->worker->pool, take_spare(queue));
}

void ut_queue_log_no_memory(const struct ut_queue *queue, uint64_t spans)
{
    ut_log_cause(queue->worker->log, UT_LOG_ERROR, "export_no_memory", queue->id,
                 "exporter=%s spans=%" PRIu64 " text=\"the system has no memory for them: they "
                 "come again from the disk of `storage`, or are lost; let the process have more, "
                 "or make undertrace.memory.limit_mib smaller\"",
                 queue->id, spans);
}

/* ---- the way in ----------------------------------------------------------------------------- */

bool ut_queue_admits(const struct ut_queue *queue, const struct ut_batch *batch)
{
    if (queue->draining)
        return false;
    if (queue->backlog.keeping != NULL) /* the hold decides */
        return true;
    return queue->settings.sending_queue.on_full != UT_ON_FULL_REFUSE ||
           fits(queue, ut_queue_size(queue), batch);
}

/* What a queue without room did with spans, and what else it could do. */
static void log_full(const struct ut_queue *queue, uint64_t spans)
{
    static const char *const did[] = {
        [UT_ON_FULL_REFUSE] = "refused",
        [UT_ON_FULL_DROP_OLDEST] = "dropped_oldest",
        [UT_ON_FULL_DROP_NEWEST] = "dropped_newest",
    };
    static const char refused[] = "their senders are told to send them again; "
                                  "sending_queue.queue_size makes more room",
                      dropped[] = "they are lost; sending_queue.queue_size makes more room, and "
                                  "with on_full: refuse the senders keep them";
    int on_full = queue->settings.sending_queue.on_full;
    ut_log_cause(queue->worker->log, UT_LOG_WARN, "queue_full", queue->id,
                 "exporter=%s spans=%" PRIu64 " action=%s queue_size=%" PRIu64 " text=\"%s\"",
                 queue->id, spans, did[on_full], queue->settings.sending_queue.queue_size,
                 on_full == UT_ON_FULL_REFUSE ? refused : dropped);
}

void ut_queue_count_refused(struct ut_queue *queue, uint64_t spans)
{
    *queue->counters.enqueue_failed += spans;
    /* Else it is stopping, which is told elsewhere. */
    if (queue->settings.sending_queue.on_full == UT_ON_FULL_REFUSE && !queue->draining)
        log_full(queue, spans);
}

bool ut_queue_blocks(const struct ut_queue *queue)
{
    return queue->settings.sending_queue.block_on_overflow && !queue->draining;
}

/* The oldest entry that is not in flight; there are at most num_consumers before it. */
static struct ut_entry *find_oldest_idle(struct ut_queue *queue)
{
    struct ut_entry *entry = queue->oldest;
    while (entry != NULL && entry->list == NULL)
        entry = entry->newer;
    return entry;
}

bool ut_queue_make_room(struct ut_queue *queue, const struct ut_batch *batch)
{
    int on_full = queue->settings.sending_queue.on_full;
    uint64_t dropped = 0;
    bool has_room = on_full == UT_ON_FULL_REFUSE || ut_queue_fits(queue, batch);
    while (!has_room) {
        struct ut_entry *entry = on_full == UT_ON_FULL_DROP_OLDEST ? find_oldest_idle(queue) : NULL;
        if (entry == NULL)
            break;
        dropped += entry->count - entry->withdrawn;
        ut_queue_unlist(entry);
        ut_queue_drop_rest(entry, UT_DROP_QUEUE_FULL);
        has_room = ut_queue_fits(queue, batch);
    }
    if (!has_room || dropped > 0)
        log_full(queue, dropped + (has_room ? 0 : batch->spans));
    return has_room;
}

void ut_queue_tell_room(struct ut_queue *queue)
{
    if (!queue->gave_room || queue->draining)
        return;
    queue->gave_room = false;
    for (size_t i = 0; i < queue->feed_count; i++) {
        if (queue->feeds[i]->room != NULL)
            queue->feeds[i]->room(queue->feeds[i]);
    }
}

/* ---- the way out ---------------------------------------------------------------------------- */

uint64_t ut_queue_gate_ns(const struct ut_queue *queue)
{
    uint64_t now = ut_worker_now(queue->worker), due_ns = UINT64_MAX;
    uint32_t count = ut_queue_endpoints(queue);
    for (uint32_t i = 0; i < count; i++) {
        const struct ut_circuit *circuit = &queue->circuits[i];
        if (ut_circuit_allows(circuit, now))
            return 0;
        if (circuit->state != UT_CIRCUIT_HALF_OPEN && circuit->quiet_until_ns < due_ns)
            due_ns = circuit->quiet_until_ns;
    }
    return due_ns;
}

uint32_t ut_queue_delay_ms(const struct ut_queue *queue)
{
    uint64_t due_ns = ut_queue_gate_ns(queue);
    bool moving = queue->consumers > 0 || queue->fresh.first != NULL || queue->due.first != NULL;
    if (due_ns == 0 && !moving && queue->waiting.first != NULL)
        due_ns = queue->waiting.first->timer.due_ns;
    uint64_t now = ut_worker_now(queue->worker);
    if (due_ns == UINT64_MAX || due_ns <= now)
        return DELAY_MIN_MS;
    uint64_t ms = (due_ns - now + UT_NS_PER_MS - 1) / UT_NS_PER_MS;
    if (ms < DELAY_MIN_MS)
        return DELAY_MIN_MS;
    return ms < DELAY_MAX_MS ? (uint32_t)ms : DELAY_MAX_MS;
}
