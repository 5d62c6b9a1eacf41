/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/queue.h"

#include <stdlib.h>

#include "base/clock.h"
#include "flow/queue_parts.h"

/* How soon withdrawn spans are dropped: one pass for all that were withdrawn meanwhile. */
#define SWEEP_NS (100 * UT_NS_PER_MS)

const struct ut_exporter_settings ut_queue_defaults = {
    .sending_queue =
        {
            .enabled = true,
            .num_consumers = 10,
            .queue_size = 1000,
            .sizer = UT_SIZER_REQUESTS,
            .on_full = UT_ON_FULL_REFUSE,
            .batch = {.min_size = 8192, .flush_timeout_ns = 200 * UT_NS_PER_MS},
        },
    .retry_on_failure =
        {
            .enabled = true,
            .initial_interval_ns = 5 * UT_NS_PER_S,
            .max_interval_ns = 30 * UT_NS_PER_S,
            .max_elapsed_time_ns = 0, /* for ever: what was accepted is not given up by time */
            .multiplier = 1.5,
            .randomization_factor = 0.5,
        },
};

/* ---- the end of spans and entries ----------------------------------------------------------- */

void ut_queue_count_dropped(struct ut_queue *queue, enum ut_drop_reason reason, uint64_t spans)
{
    bool failed = reason != UT_DROP_SHUTDOWN && reason != UT_DROP_MEMORY &&
                  reason != UT_DROP_QUEUE_FULL && reason != UT_DROP_WITHDRAWN &&
                  reason != UT_DROP_DAMAGED;
    queue->dropped[reason] += spans;
    *queue->counters.dropped[reason] += spans;
    if (failed)
        *queue->counters.send_failed += spans;
}

void ut_queue_unlist(struct ut_entry *entry)
{
    struct ut_queue *queue = entry->queue;
    if (entry->list == &queue->fresh) {
        queue->fresh_spans -= entry->count;
        queue->fresh_bytes -= entry->bytes;
    }
    ut_timer_cancel(&queue->worker->timers, &entry->timer);
    ut_entry_take_out(entry);
}

void ut_queue_finish(struct ut_entry *entry)
{
    struct ut_queue *queue = entry->queue;
    queue->entries--;
    queue->bytes -= entry->bytes;
    queue->gave_room = true;
    *(entry->older != NULL ? &entry->older->newer : &queue->oldest) = entry->newer;
    *(entry->newer != NULL ? &entry->newer->older : &queue->newest) = entry->older;
    ut_batch_unref(entry->batch);
    ut_pool_free(&queue->worker->pool, entry);
}

void ut_queue_drop_rest(struct ut_entry *entry, enum ut_drop_reason reason)
{
    const struct ut_outcome outcome = {
        .result = UT_RETRY, .cause = UT_SETBACK_LOCAL, .text = ut_drop_reason_name(reason)};
    uint32_t live = entry->count - entry->withdrawn;
    bool goes_on = reason == UT_DROP_SHUTDOWN;
    entry->queue->unfinished -= live;
    if (goes_on)
        live -= ut_queue_backlog_leave(entry);
    else
        ut_entry_finish_kept(entry, entry->count, entry->queue->backlog.cursor);
    ut_queue_count_dropped(entry->queue, reason, live);
    ut_entry_report(entry, entry->count, &outcome);
    ut_queue_finish(entry);
}

bool ut_queue_settle(struct ut_entry *entry)
{
    struct ut_queue *queue = entry->queue;
    uint32_t withdrawn = ut_entry_settle(entry);
    if (withdrawn == 0)
        return false;
    ut_queue_count_dropped(queue, UT_DROP_WITHDRAWN, withdrawn);
    queue->unfinished -= withdrawn;
    if (entry->withdrawn < entry->count)
        return false;
    ut_queue_finish(entry);
    return true;
}

/* ---- taking --------------------------------------------------------------------------------- */

/* In units of the batch's sizer. */
static uint64_t batch_units(const struct ut_queue *queue, uint64_t spans, uint64_t bytes)
{
    return queue->settings.sending_queue.batch.sizer == UT_BATCH_SIZER_BYTES ? bytes : spans;
}

/* Whether fresh entries are to be sent as they are: there are enough of them, or the oldest has
 * waited long enough for others. */
static bool is_ripe(const struct ut_queue *queue)
{
    if (!queue->settings.sending_queue.batch.present || queue->draining)
        return true;
    uint64_t timeout_ns = queue->settings.sending_queue.batch.flush_timeout_ns;
    return batch_units(queue, queue->fresh_spans, queue->fresh_bytes) >=
               queue->settings.sending_queue.batch.min_size ||
           ut_worker_now(queue->worker) >= queue->fresh.first->put_ns + timeout_ns;
}

/* Adds to the entry, just taken, the fresh ones behind it, up to the batch's size. */
static void join_fresh(struct ut_queue *queue, struct ut_entry *entry)
{
    uint64_t min_size = queue->settings.sending_queue.batch.min_size;
    uint64_t max_size = queue->settings.sending_queue.batch.max_size;
    while (queue->fresh.first != NULL &&
           batch_units(queue, entry->count, entry->bytes) < min_size) {
        struct ut_entry *other = queue->fresh.first;
        uint64_t units =
            batch_units(queue, (uint64_t)entry->count + other->count, entry->bytes + other->bytes);
        if (max_size != 0 && units > max_size)
            break;
        if (!ut_entry_join(entry, other))
            break;
        ut_queue_unlist(other);
        queue->bytes += other->bytes; /* they are the entry's now; `other` takes them off again */
        ut_queue_finish(other);
    }
}

static struct ut_entry *take_next(struct ut_queue *queue)
{
    bool fresh = queue->fresh.first != NULL && is_ripe(queue);
    bool due = queue->due.first != NULL && (!fresh || !queue->due_went_last);
    if (!fresh && !due)
        return NULL;
    struct ut_entry *entry = due ? queue->due.first : queue->fresh.first;
    queue->due_went_last = due;
    ut_queue_unlist(entry);
    if (!due && queue->settings.sending_queue.batch.present)
        join_fresh(queue, entry);
    return entry;
}

/* ---- sending -------------------------------------------------------------------------------- */

/* Round robin over the endpoints that take something now. false: none does. */
static bool pick_endpoint(struct ut_queue *queue, uint32_t *ret)
{
    uint32_t count = ut_queue_endpoints(queue);
    uint64_t now = ut_worker_now(queue->worker);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t endpoint = (queue->next_endpoint + i) % count;
        if (ut_circuit_allows(&queue->circuits[endpoint], now)) {
            *ret = endpoint;
            return true;
        }
    }
    return false;
}

static void send_piece(struct ut_entry *entry, uint32_t endpoint)
{
    struct ut_queue *queue = entry->queue;
    bool has_batch = queue->settings.sending_queue.batch.present;
    bool by_bytes = queue->settings.sending_queue.batch.sizer == UT_BATCH_SIZER_BYTES;
    uint64_t most = has_batch ? queue->settings.sending_queue.batch.max_size : 0;
    uint32_t spans = ut_entry_choose(entry, by_bytes ? 0 : most, by_bytes ? most : 0);
    entry->item.first_span = entry->first;
    entry->item.span_count = spans;
    entry->item.endpoint = endpoint;
    entry->item.exporter_data = NULL;
    entry->probe = ut_circuit_send(&queue->circuits[endpoint]);
    queue->next_endpoint = endpoint + 1;
    queue->consumers++;
    queue->in_flight += spans;
    queue->exporter->type->send(queue->exporter, &entry->item);
}

/* The gate wakes the pump where time alone will let it go on. */
static void set_gate(struct ut_queue *queue)
{
    uint64_t due_ns = UINT64_MAX;
    if (queue->due.first != NULL || queue->fresh.first != NULL)
        due_ns = ut_queue_gate_ns(queue);
    if (due_ns == 0)
        due_ns =
            queue->fresh.first != NULL && !is_ripe(queue)
                ? queue->fresh.first->put_ns + queue->settings.sending_queue.batch.flush_timeout_ns
                : UINT64_MAX; /* an answer makes room for the next piece */
    if (due_ns != UINT64_MAX)
        ut_timer_set(&queue->worker->timers, &queue->gate, due_ns);
    else
        ut_timer_cancel(&queue->worker->timers, &queue->gate);
}

/* Called again from below (an exporter that finishes at once) it leaves the work to the loop that
 * runs already. */
void ut_queue_pump(struct ut_queue *queue)
{
    if (queue->pumping)
        return;
    queue->pumping = true;
    uint32_t endpoint;
    while (queue->consumers < queue->settings.sending_queue.num_consumers &&
           pick_endpoint(queue, &endpoint)) {
        struct ut_entry *entry = take_next(queue);
        if (entry == NULL)
            break;
        if (!ut_queue_settle(entry))
            send_piece(entry, endpoint);
    }
    queue->pumping = false;
    set_gate(queue);
    ut_queue_backlog_pump(queue);
    ut_queue_tell_room(queue);
    if (queue->drained != NULL && queue->entries == 0) {
        void (*drained)(void *) = queue->drained;
        queue->drained = NULL;
        drained(queue->drained_arg);
    }
}

static void on_gate(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    ut_queue_pump(UT_CONTAINER_OF(timer, struct ut_queue, gate));
}

/* ---- the way in ----------------------------------------------------------------------------- */

static void see_bodies(struct ut_entry *entry, const struct ut_batch *batch)
{
    for (const struct ut_body *body = batch->first; body != NULL; body = body->next) {
        entry->watched |= body->watch != NULL;
        entry->kept |= body->keep != NULL;
    }
}

static void drop_batch(struct ut_queue *queue, struct ut_batch *batch, enum ut_drop_reason reason)
{
    const struct ut_outcome outcome = {.result = UT_RETRY, .text = ut_drop_reason_name(reason)};
    ut_queue_count_dropped(queue, reason, batch->spans);
    for (const struct ut_body *body = batch->first; body != NULL; body = body->next) {
        if (body->watch != NULL && !body->watch->withdrawn)
            body->watch->finished(body->watch, ut_body_spans(body), &outcome);
    }
    ut_batch_unref(batch);
}

static void begin_entry(struct ut_queue *queue, struct ut_entry *entry, struct ut_batch *batch)
{
    *entry = (struct ut_entry){
        .item = {.batch = batch, .done = ut_queue_on_done},
        .queue = queue,
        .older = queue->newest,
        .timer = {.fire = ut_queue_on_entry_timer},
        .batch = batch,
        .body = batch->first,
        .count = batch->spans,
        .piece_max = UINT32_MAX,
        .bytes = batch->bytes,
        .put_ns = ut_worker_now(queue->worker),
    };
    see_bodies(entry, batch);
    *(queue->newest != NULL ? &queue->newest->newer : &queue->oldest) = entry;
    queue->newest = entry;
    queue->entries++;
    queue->bytes += entry->bytes;
    queue->unfinished += entry->count;
}

struct ut_entry *ut_queue_new_entry(struct ut_queue *queue, struct ut_batch *batch)
{
    struct ut_entry *entry = ut_pool_alloc(&queue->worker->pool, sizeof(*entry));
    if (entry != NULL)
        begin_entry(queue, entry, batch);
    return entry;
}

void ut_queue_add_fresh(struct ut_entry *entry)
{
    struct ut_queue *queue = entry->queue;
    ut_entry_append(&queue->fresh, entry);
    queue->fresh_spans += entry->count;
    queue->fresh_bytes += entry->bytes;
}

void ut_queue_put(struct ut_queue *queue, struct ut_batch *batch)
{
    queue->accepted += batch->spans;
    if (batch->spans == 0) {
        ut_batch_unref(batch);
        return;
    }
    if (ut_queue_backlog_takes(queue, batch)) {
        ut_queue_pump(queue);
        return;
    }
    if (queue->abandoned) {
        drop_batch(queue, batch, UT_DROP_SHUTDOWN);
        return;
    }
    if (!ut_queue_make_room(queue, batch)) {
        drop_batch(queue, batch, UT_DROP_QUEUE_FULL);
        return;
    }
    struct ut_entry *entry = ut_queue_take_place(queue);
    if (entry == NULL) {
        ut_queue_log_no_memory(queue, batch->spans);
        drop_batch(queue, batch, UT_DROP_MEMORY);
        return;
    }
    begin_entry(queue, entry, batch);
    if (ut_queue_settle(entry))
        return;
    ut_queue_add_fresh(entry);
    ut_queue_pump(queue);
}

/* ---- withdrawing ---------------------------------------------------------------------------- */

void ut_queue_withdraw(struct ut_queue *queue)
{
    if (!ut_timer_is_set(&queue->sweep))
        ut_timer_set(&queue->worker->timers, &queue->sweep,
                     ut_worker_now(queue->worker) + SWEEP_NS);
}

static void on_sweep(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_queue *queue = UT_CONTAINER_OF(timer, struct ut_queue, sweep);
    (void)now_ns;
    for (struct ut_entry *entry = queue->oldest; entry != NULL;) {
        struct ut_entry *newer = entry->newer;
        uint32_t found = entry->list != NULL ? ut_entry_settle(entry) : 0;
        if (found > 0) {
            ut_queue_count_dropped(queue, UT_DROP_WITHDRAWN, found);
            queue->unfinished -= found;
        }
        if (entry->list != NULL && entry->withdrawn == entry->count) {
            ut_queue_unlist(entry);
            ut_queue_finish(entry);
        }
        entry = newer;
    }
    ut_queue_pump(queue);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct ut_queue *ut_queue_new(const struct ut_queue_config *config)
{
    struct ut_queue *queue = calloc(1, sizeof(*queue));
    if (queue == NULL)
        return NULL;
    *queue = (struct ut_queue){
        .id = config->id,
        .worker = config->worker,
        .exporter = config->exporter,
        .settings = config->settings != NULL ? *config->settings : ut_queue_defaults,
        .random = config->random_seed,
        .gate = {.fire = on_gate},
        .sweep = {.fire = on_sweep},
        .stuck = {.fire = ut_queue_on_stuck},
    };
    UT_CHECK(queue->settings.sending_queue.num_consumers > 0);
    ut_queue_counters_init(&queue->counters, config->worker->metrics, config->id);
    if (config->keeping != NULL)
        ut_queue_backlog_init(queue, config->keeping, config->cursor);
    ut_queue_register_gauges(queue);
    return queue;
}

void ut_queue_free(struct ut_queue *queue)
{
    if (queue == NULL)
        return;
    UT_CHECK(queue->consumers == 0);
    queue->drained = NULL;
    ut_queue_abandon(queue);
    ut_timer_cancel(&queue->worker->timers, &queue->gate);
    ut_timer_cancel(&queue->worker->timers, &queue->sweep);
    ut_timer_cancel(&queue->worker->timers, &queue->stuck);
    ut_queue_backlog_done(queue);
    ut_queue_trim_spares(queue, 0);
    ut_metrics_remove(queue->worker->metrics, queue);
    free(queue);
}
