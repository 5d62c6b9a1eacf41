/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/queue.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "flow/queue_counters.h"
#include "flow/retry.h"

enum {
    DELAY_MIN_MS = 1000,
    DELAY_MAX_MS = 30000,
    LOG_TEXT = 240,
    /* Pieces in a row that the backend takes before the next one is twice as large. */
    PIECES_BEFORE_GROWTH = 2,
};

/* One batch that the exporter has not finished. The spans before `first` are finished. */
struct entry {
    struct ut_item item; /* the piece in flight */
    struct ut_queue *queue;
    struct entry *previous, *next; /* in the list of its state; in none while in flight */
    struct ut_timer timer;         /* set while the entry waits */
    struct ut_backoff backoff;
    struct ut_batch *batch;
    uint32_t first, count; /* spans */
    uint32_t piece_max;    /* spans to send at once; UINT32_MAX: no limit known */
    uint32_t pieces_taken; /* in a row */
    bool asked;            /* the backend named the time that it waits for */
};

struct entry_list {
    struct entry *first, *last;
};

struct ut_queue {
    const char *id;
    struct ut_worker *worker;
    struct ut_exporter *exporter;
    struct ut_exporter_settings settings;
    uint64_t random;
    struct entry_list fresh, due, waiting;
    const uint32_t *feeds[UT_QUEUE_FEEDS_MAX]; /* batches on the way, one count a pipeline */
    size_t feed_count;
    uint64_t entries;
    uint64_t consumers;             /* entries in flight */
    uint64_t unfinished, in_flight; /* spans; those in flight are among the unfinished */
    uint64_t accepted, sent;        /* spans */
    uint64_t dropped[UT_DROP_REASONS];
    struct ut_queue_counters counters;
    bool due_went_last, pumping, draining, abandoned;
    void (*drained)(void *arg);
    void *drained_arg;
};

const struct ut_exporter_settings ut_queue_defaults = {
    .sending_queue = {.num_consumers = 10, .queue_size = 1000},
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

/* ---- lists ---------------------------------------------------------------------------------- */

static void append(struct entry_list *list, struct entry *entry)
{
    entry->previous = list->last;
    entry->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = entry;
    list->last = entry;
}

static void prepend(struct entry_list *list, struct entry *entry)
{
    entry->previous = NULL;
    entry->next = list->first;
    *(list->first != NULL ? &list->first->previous : &list->last) = entry;
    list->first = entry;
}

static void take_out(struct entry_list *list, struct entry *entry)
{
    *(entry->previous != NULL ? &entry->previous->next : &list->first) = entry->next;
    *(entry->next != NULL ? &entry->next->previous : &list->last) = entry->previous;
    entry->previous = entry->next = NULL;
}

/* ---- the end of spans and entries ----------------------------------------------------------- */

static void count_dropped(struct ut_queue *queue, enum ut_drop_reason reason, uint64_t spans)
{
    queue->dropped[reason] += spans;
    *queue->counters.dropped[reason] += spans;
    if (reason != UT_DROP_SHUTDOWN && reason != UT_DROP_MEMORY)
        *queue->counters.send_failed += spans;
}

static void finish(struct entry *entry)
{
    struct ut_queue *queue = entry->queue;
    queue->entries--;
    ut_batch_unref(entry->batch);
    ut_pool_free(&queue->worker->pool, entry);
}

/* The entry is in no list and not in flight. */
static void drop_rest(struct entry *entry, enum ut_drop_reason reason)
{
    count_dropped(entry->queue, reason, entry->count);
    entry->queue->unfinished -= entry->count;
    finish(entry);
}

/* Back to the front of those that may be sent now, unless nothing is sent any more. */
static void go_on(struct entry *entry)
{
    if (entry->queue->abandoned)
        drop_rest(entry, UT_DROP_SHUTDOWN);
    else
        prepend(&entry->queue->due, entry);
}

/* The first `spans` of the entry are finished, whatever became of them. */
static void advance(struct entry *entry, uint32_t spans)
{
    entry->first += spans;
    entry->count -= spans;
    entry->queue->unfinished -= spans;
    entry->backoff = (struct ut_backoff){0};
    if (entry->count == 0)
        finish(entry);
    else
        go_on(entry);
}

/* ---- answers: one function a result --------------------------------------------------------- */

static void log_outcome(const struct entry *entry, const char *event,
                        const struct ut_outcome *outcome, uint64_t spans)
{
    char text[LOG_TEXT];
    ut_log(entry->queue->worker->log, UT_LOG_WARN, event, "exporter=%s spans=%" PRIu64 " text=%s",
           entry->queue->id, spans,
           ut_log_quote(text, sizeof(text), outcome->text != NULL ? outcome->text : ""));
}

static void on_sent(struct entry *entry, const struct ut_outcome *outcome)
{
    struct ut_queue *queue = entry->queue;
    uint32_t spans = entry->item.span_count;
    /* The backend may claim to have rejected more than it was given. */
    uint64_t rejected = outcome->rejected_spans < spans ? outcome->rejected_spans : spans;
    if (rejected > 0) {
        count_dropped(queue, UT_DROP_REJECTED, rejected);
        log_outcome(entry, "export_partly_rejected", outcome, rejected);
    }
    queue->sent += spans - rejected;
    *queue->counters.sent += spans - rejected;
    if (entry->piece_max != UINT32_MAX && ++entry->pieces_taken == PIECES_BEFORE_GROWTH) {
        entry->piece_max = entry->piece_max < UINT32_MAX / 2 ? entry->piece_max * 2 : UINT32_MAX;
        entry->pieces_taken = 0;
    }
    advance(entry, spans);
}

static void on_retry(struct entry *entry, const struct ut_outcome *outcome)
{
    struct ut_queue *queue = entry->queue;
    uint64_t now = ut_worker_now(queue->worker), delay;
    if (queue->abandoned) {
        drop_rest(entry, UT_DROP_SHUTDOWN);
        return;
    }
    if (!ut_retry_next(&queue->settings, &entry->backoff, now, outcome->after_ms, &queue->random,
                       &delay)) {
        count_dropped(queue, UT_DROP_RETRY_ENDED, entry->item.span_count);
        log_outcome(entry, "export_given_up", outcome, entry->item.span_count);
        advance(entry, entry->item.span_count);
        return;
    }
    log_outcome(entry, "export_retry", outcome, entry->item.span_count);
    ++*queue->counters.retries;
    entry->asked = outcome->after_ms != 0;
    append(&queue->waiting, entry);
    ut_timer_set(&queue->worker->timers, &entry->timer, now + delay);
}

static void on_too_large(struct entry *entry, const struct ut_outcome *outcome)
{
    uint32_t spans = entry->item.span_count;
    entry->pieces_taken = 0;
    if (spans > 1) {
        entry->piece_max = spans / 2;
        go_on(entry);
        return;
    }
    count_dropped(entry->queue, UT_DROP_TOO_LARGE, 1);
    log_outcome(entry, "export_span_too_large", outcome, 1);
    /* The odd one is out; the spans after it need not be sent one by one. */
    entry->piece_max = UINT32_MAX;
    advance(entry, 1);
}

static void on_permanent(struct entry *entry, const struct ut_outcome *outcome)
{
    count_dropped(entry->queue, UT_DROP_PERMANENT, entry->item.span_count);
    log_outcome(entry, "export_refused", outcome, entry->item.span_count);
    advance(entry, entry->item.span_count);
}

/* ---- sending -------------------------------------------------------------------------------- */

static bool is_empty(const struct ut_queue *queue)
{
    return queue->consumers == 0 && queue->fresh.first == NULL && queue->due.first == NULL &&
           queue->waiting.first == NULL;
}

static struct entry *take_next(struct ut_queue *queue)
{
    bool due = queue->due.first != NULL && (queue->fresh.first == NULL || !queue->due_went_last);
    struct entry_list *list = due ? &queue->due : &queue->fresh;
    struct entry *entry = list->first;
    if (entry == NULL)
        return NULL;
    queue->due_went_last = due;
    take_out(list, entry);
    return entry;
}

static void send_piece(struct entry *entry)
{
    struct ut_queue *queue = entry->queue;
    entry->item.first_span = entry->first;
    entry->item.span_count = entry->count < entry->piece_max ? entry->count : entry->piece_max;
    entry->item.exporter_data = NULL;
    queue->consumers++;
    queue->in_flight += entry->item.span_count;
    queue->exporter->type->send(queue->exporter, &entry->item);
}

/* Called again from below (an exporter that finishes at once) it leaves the work to the loop that
 * runs already. */
static void pump(struct ut_queue *queue)
{
    if (queue->pumping)
        return;
    queue->pumping = true;
    while (queue->consumers < queue->settings.sending_queue.num_consumers) {
        struct entry *entry = take_next(queue);
        if (entry == NULL)
            break;
        send_piece(entry);
    }
    queue->pumping = false;
    if (queue->drained != NULL && is_empty(queue)) {
        void (*drained)(void *) = queue->drained;
        queue->drained = NULL;
        drained(queue->drained_arg);
    }
}

static void on_done(struct ut_item *item, const struct ut_outcome *outcome)
{
    static void (*const handlers[])(struct entry *, const struct ut_outcome *) = {
        [UT_SENT] = on_sent,
        [UT_RETRY] = on_retry,
        [UT_TOO_LARGE] = on_too_large,
        [UT_PERMANENT] = on_permanent,
    };
    struct entry *entry = UT_CONTAINER_OF(item, struct entry, item);
    struct ut_queue *queue = entry->queue;
    UT_CHECK(outcome->result <= UT_PERMANENT);
    queue->consumers--;
    queue->in_flight -= item->span_count;
    handlers[outcome->result](entry, outcome);
    pump(queue);
}

static void on_timer(struct ut_timer *timer, uint64_t now_ns)
{
    struct entry *entry = UT_CONTAINER_OF(timer, struct entry, timer);
    struct ut_queue *queue = entry->queue;
    (void)now_ns;
    take_out(&queue->waiting, entry);
    append(&queue->due, entry);
    pump(queue);
}

/* ---- the front ------------------------------------------------------------------------------ */

void ut_queue_add_feed(struct ut_queue *queue, const uint32_t *on_the_way)
{
    UT_CHECK(queue->feed_count < UT_QUEUE_FEEDS_MAX);
    queue->feeds[queue->feed_count++] = on_the_way;
}

void ut_queue_remove_feed(struct ut_queue *queue, const uint32_t *on_the_way)
{
    for (size_t i = 0; i < queue->feed_count; i++) {
        if (queue->feeds[i] == on_the_way) {
            queue->feeds[i] = queue->feeds[--queue->feed_count];
            return;
        }
    }
}

static uint64_t places_taken(const struct ut_queue *queue)
{
    uint64_t taken = queue->entries;
    for (size_t i = 0; i < queue->feed_count; i++)
        taken += *queue->feeds[i];
    return taken;
}

bool ut_queue_admits(struct ut_queue *queue, const struct ut_batch *batch)
{
    if (!queue->draining && places_taken(queue) < queue->settings.sending_queue.queue_size)
        return true;
    *queue->counters.enqueue_failed += batch->spans;
    return false;
}

uint32_t ut_queue_delay_ms(const struct ut_queue *queue)
{
    const struct entry *oldest = queue->waiting.first;
    uint64_t now = ut_worker_now(queue->worker);
    if (oldest == NULL || oldest->timer.due_ns <= now)
        return DELAY_MIN_MS;
    uint64_t ms = (oldest->timer.due_ns - now + UT_NS_PER_MS - 1) / UT_NS_PER_MS;
    if (ms < DELAY_MIN_MS)
        return DELAY_MIN_MS;
    return ms < DELAY_MAX_MS ? (uint32_t)ms : DELAY_MAX_MS;
}

void ut_queue_put(struct ut_queue *queue, struct ut_batch *batch)
{
    queue->accepted += batch->spans;
    struct entry *entry = ut_pool_alloc(&queue->worker->pool, sizeof(*entry));
    if (entry == NULL) {
        count_dropped(queue, UT_DROP_MEMORY, batch->spans);
        ut_batch_unref(batch);
        return;
    }
    *entry = (struct entry){
        .item = {.batch = batch, .done = on_done},
        .queue = queue,
        .timer = {.fire = on_timer},
        .batch = batch,
        .count = batch->spans,
        .piece_max = UINT32_MAX,
    };
    queue->entries++;
    queue->unfinished += entry->count;
    if (entry->count == 0) {
        finish(entry);
    } else if (queue->abandoned) {
        drop_rest(entry, UT_DROP_SHUTDOWN);
    } else {
        append(&queue->fresh, entry);
        pump(queue);
    }
}

/* ---- stop ----------------------------------------------------------------------------------- */

static void wake_waiting(struct ut_queue *queue)
{
    for (struct entry *entry = queue->waiting.first; entry != NULL;) {
        struct entry *next = entry->next;
        if (!entry->asked) {
            ut_timer_cancel(&queue->worker->timers, &entry->timer);
            take_out(&queue->waiting, entry);
            append(&queue->due, entry);
        }
        entry = next;
    }
}

static void drop_list(struct ut_queue *queue, struct entry_list *list)
{
    while (list->first != NULL) {
        struct entry *entry = list->first;
        ut_timer_cancel(&queue->worker->timers, &entry->timer);
        take_out(list, entry);
        drop_rest(entry, UT_DROP_SHUTDOWN);
    }
}

void ut_queue_drain(struct ut_queue *queue, void (*drained)(void *arg), void *arg)
{
    queue->draining = true;
    queue->drained = drained;
    queue->drained_arg = arg;
    wake_waiting(queue);
    pump(queue);
}

void ut_queue_abandon(struct ut_queue *queue)
{
    queue->draining = true;
    queue->abandoned = true;
    drop_list(queue, &queue->due);
    drop_list(queue, &queue->waiting);
    drop_list(queue, &queue->fresh);
    pump(queue);
}

void ut_queue_books(const struct ut_queue *queue, struct ut_queue_books *ret)
{
    *ret = (struct ut_queue_books){
        .accepted = queue->accepted,
        .sent = queue->sent,
        .held = queue->unfinished - queue->in_flight,
        .in_flight = queue->in_flight,
    };
    memcpy(ret->dropped, queue->dropped, sizeof(ret->dropped));
}

/* ---- life ----------------------------------------------------------------------------------- */

static double read_size(void *arg)
{
    return (double)places_taken(arg);
}

static double read_capacity(void *arg)
{
    return (double)((const struct ut_queue *)arg)->settings.sending_queue.queue_size;
}

static double read_held(void *arg)
{
    const struct ut_queue *queue = arg;
    return (double)(queue->unfinished - queue->in_flight);
}

static double read_in_flight(void *arg)
{
    return (double)((const struct ut_queue *)arg)->in_flight;
}

static void register_gauges(struct ut_queue *queue)
{
    struct ut_metrics *metrics = queue->worker->metrics;
    char label[UT_QUEUE_LABEL_BYTES];
    (void)ut_queue_label(label, queue->id);
    ut_metrics_gauge(metrics, "otelcol_exporter_queue_size", label,
                     "Batches in the queue and on the way to it.", read_size, queue);
    ut_metrics_gauge(metrics, "otelcol_exporter_queue_capacity", label,
                     "Batches that the queue has places for.", read_capacity, queue);
    ut_metrics_gauge(metrics, "undertrace_exporter_held_spans", label,
                     "Spans that wait in the queue.", read_held, queue);
    ut_metrics_gauge(metrics, "undertrace_exporter_in_flight_spans", label,
                     "Spans that were sent and not answered yet.", read_in_flight, queue);
}

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
    };
    UT_CHECK(queue->settings.sending_queue.num_consumers > 0);
    ut_queue_counters_init(&queue->counters, config->worker->metrics, config->id);
    register_gauges(queue);
    return queue;
}

void ut_queue_free(struct ut_queue *queue)
{
    if (queue == NULL)
        return;
    UT_CHECK(queue->consumers == 0);
    queue->drained = NULL;
    ut_queue_abandon(queue);
    ut_metrics_remove(queue->worker->metrics, queue);
    free(queue);
}
