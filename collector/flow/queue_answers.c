/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a piece: one function a result. */
#include <inttypes.h>

#include "base/clock.h"
#include "flow/queue_parts.h"
#include "net/grpc_status.h"

enum {
    LOG_TEXT = UT_QUEUE_WORDS + 32,
    /* Pieces in a row that the backend takes before the next one is twice as large. */
    PIECES_BEFORE_GROWTH = 2,
};

/* How often it is told of that something is tried in vain. */
#define STUCK_NS (600 * UT_NS_PER_S)

/* ---- words ---------------------------------------------------------------------------------- */

/* Where what the backend refuses for good, whatever the spans are, may be put right by us. */
static const char *advise(const struct ut_outcome *outcome)
{
    if (outcome->result != UT_PERMANENT)
        return "";
    switch (outcome->status) {
    case UT_GRPC_UNAUTHENTICATED:
    case UT_GRPC_PERMISSION_DENIED:
        return "look at `auth` and `headers` of the exporter, or at who may send to the backend";
    case UT_GRPC_UNIMPLEMENTED:
        return "are the port and the path of the endpoint those for such spans?";
    default:
        return "";
    }
}

/* Spans that go no further say so: `done` is what became of them. */
static void log_outcome(const struct ut_entry *entry, const char *event,
                        const struct ut_outcome *outcome, uint64_t spans, const char *done)
{
    char text[LOG_TEXT];
    const char *advice = advise(outcome);
    ut_log_cause(entry->queue->worker->log, UT_LOG_WARN, event, entry->queue->id,
                 "exporter=%s spans=%" PRIu64 "%s text=%s%s%s%s", entry->queue->id, spans, done,
                 ut_log_quote(text, sizeof(text), outcome->text != NULL ? outcome->text : ""),
                 advice[0] != '\0' ? " advice=\"" : "", advice, advice[0] != '\0' ? "\"" : "");
}

static void log_given_up(const struct ut_queue *queue, uint64_t spans, const char *words)
{
    char text[LOG_TEXT];
    bool enabled = queue->settings.retry_on_failure.enabled;
    ut_log_cause(queue->worker->log, UT_LOG_WARN, "export_given_up", queue->id,
                 "exporter=%s spans=%" PRIu64 " setting=retry_on_failure.%s text=%s", queue->id,
                 spans, enabled ? "max_elapsed_time" : "enabled",
                 ut_log_quote(text, sizeof(text), words != NULL ? words : ""));
}

static void keep_words(struct ut_queue *queue, const struct ut_outcome *outcome)
{
    const char *advice = advise(outcome);
    if (outcome->text == NULL)
        return;
    (void)snprintf(queue->words, sizeof(queue->words), "%s%s%s", outcome->text,
                   advice[0] != '\0' ? "; " : "", advice);
    queue->failed_ns = ut_worker_now(queue->worker);
}

static void log_endpoint(struct ut_queue *queue, uint32_t endpoint, enum ut_circuit_change change)
{
    char text[LOG_TEXT];
    if (change == UT_CIRCUIT_OPENED)
        ut_log_cause(queue->worker->log, UT_LOG_WARN, "endpoint_down", queue->id,
                     "exporter=%s endpoint=%u failures=%d text=%s", queue->id, endpoint,
                     UT_CIRCUIT_FAILURES, ut_log_quote(text, sizeof(text), queue->words));
    else if (change == UT_CIRCUIT_RECOVERED)
        ut_log_cause(queue->worker->log, UT_LOG_INFO, "endpoint_up", queue->id,
                     "exporter=%s endpoint=%u", queue->id, endpoint);
}

/* ---- the way on ----------------------------------------------------------------------------- */

/* Back to the front of those that may be sent now, unless nothing is sent any more. */
static void go_on(struct ut_entry *entry)
{
    if (entry->queue->abandoned)
        ut_queue_drop_rest(entry, UT_DROP_SHUTDOWN);
    else if (!ut_queue_settle(entry))
        ut_entry_prepend(&entry->queue->due, entry);
}

/* The first `spans` of the entry are finished; those who wait for them are told how. */
static void advance(struct ut_entry *entry, uint32_t spans, const struct ut_outcome *outcome)
{
    ut_entry_report(entry, spans, outcome);
    ut_entry_finish_kept(entry, spans, entry->queue->backlog.cursor);
    entry->first += spans;
    entry->count -= spans;
    entry->queue->unfinished -= spans;
    entry->backoff = (struct ut_backoff){0};
    entry->endpoints_tried = 0;
    if (entry->count == entry->withdrawn)
        ut_queue_finish(entry);
    else
        go_on(entry);
}

/* ---- results -------------------------------------------------------------------------------- */

static void on_sent(struct ut_entry *entry, const struct ut_outcome *outcome)
{
    struct ut_queue *queue = entry->queue;
    uint32_t spans = entry->item.span_count;
    /* The backend may claim to have rejected more than it was given. */
    uint64_t rejected = outcome->rejected_spans < spans ? outcome->rejected_spans : spans;
    if (rejected > 0) {
        ut_queue_count_dropped(queue, UT_DROP_REJECTED, rejected);
        log_outcome(entry, "export_partly_rejected", outcome, rejected, " action=dropped");
    }
    queue->sent += spans - rejected;
    *queue->counters.sent += spans - rejected;
    if (entry->piece_max != UINT32_MAX && ++entry->pieces_taken == PIECES_BEFORE_GROWTH) {
        entry->piece_max = entry->piece_max < UINT32_MAX / 2 ? entry->piece_max * 2 : UINT32_MAX;
        entry->pieces_taken = 0;
    }
    advance(entry, spans, outcome);
}

static void tell_when_stuck(struct ut_queue *queue, uint64_t now_ns)
{
    if (!ut_timer_is_set(&queue->stuck))
        ut_timer_set(&queue->worker->timers, &queue->stuck, now_ns + STUCK_NS);
}

static void wait_until(struct ut_entry *entry, uint64_t due_ns)
{
    struct ut_queue *queue = entry->queue;
    ut_entry_append(&queue->waiting, entry);
    ut_timer_set(&queue->worker->timers, &entry->timer, due_ns);
}

/* May be sent again as soon as an endpoint takes it. */
static void become_due(struct ut_entry *entry)
{
    struct ut_queue *queue = entry->queue;
    uint64_t limit_ns = queue->settings.retry_on_failure.max_elapsed_time_ns;
    ut_entry_append(&queue->due, entry);
    if (limit_ns != 0)
        ut_timer_set(&queue->worker->timers, &entry->timer,
                     entry->backoff.first_failure_ns + limit_ns);
}

/* Another endpoint may do better; each of them is tried once before the entry waits. */
static bool try_elsewhere(struct ut_entry *entry)
{
    if (++entry->endpoints_tried < ut_queue_endpoints(entry->queue))
        return true;
    entry->endpoints_tried = 0;
    return false;
}

static void give_up(struct ut_entry *entry, const struct ut_outcome *outcome)
{
    ut_queue_count_dropped(entry->queue, UT_DROP_RETRY_ENDED, entry->item.span_count);
    log_given_up(entry->queue, entry->item.span_count, outcome->text);
    advance(entry, entry->item.span_count, outcome);
}

static void on_retry(struct ut_entry *entry, const struct ut_outcome *outcome)
{
    struct ut_queue *queue = entry->queue;
    struct ut_retry_clock clock = ut_queue_clock(queue);
    uint64_t delay;
    if (queue->abandoned) {
        ut_queue_drop_rest(entry, UT_DROP_SHUTDOWN);
        return;
    }
    if (!ut_retry_next(&entry->backoff, &clock, outcome->after_ms, &delay)) {
        give_up(entry, outcome);
        return;
    }
    if (ut_queue_settle(entry))
        return;
    ++*queue->counters.retries[outcome->after_ms != 0 ? UT_SETBACK_THROTTLED : outcome->cause];
    log_outcome(entry, "export_retry", outcome, entry->item.span_count, "");
    tell_when_stuck(queue, clock.now_ns);
    /* A pause that was asked for is the endpoint's, not the entry's. */
    if (outcome->after_ms != 0 || try_elsewhere(entry))
        become_due(entry);
    else
        wait_until(entry, clock.now_ns + delay);
}

static void on_too_large(struct ut_entry *entry, const struct ut_outcome *outcome)
{
    static const struct ut_outcome refused = {.result = UT_PERMANENT,
                                              .text = "the span is too large for the backend"};
    uint32_t spans = entry->item.span_count;
    entry->pieces_taken = 0;
    if (spans > 1) {
        entry->piece_max = spans / 2;
        go_on(entry);
        return;
    }
    ut_queue_count_dropped(entry->queue, UT_DROP_TOO_LARGE, 1);
    log_outcome(entry, "export_span_too_large", outcome, 1, " action=dropped");
    /* The odd one is out; the spans after it need not be sent one by one. */
    entry->piece_max = UINT32_MAX;
    advance(entry, 1, &refused);
}

static void on_permanent(struct ut_entry *entry, const struct ut_outcome *outcome)
{
    ut_queue_count_dropped(entry->queue, UT_DROP_PERMANENT, entry->item.span_count);
    log_outcome(entry, "export_refused", outcome, entry->item.span_count, " action=dropped");
    advance(entry, entry->item.span_count, outcome);
}

static void judge_endpoint(struct ut_entry *entry, const struct ut_outcome *outcome)
{
    struct ut_queue *queue = entry->queue;
    const struct ut_retry_clock clock = ut_queue_clock(queue);
    uint32_t endpoint = entry->item.endpoint;
    enum ut_circuit_change change =
        ut_circuit_answer(&queue->circuits[endpoint], outcome, entry->probe, &clock);
    log_endpoint(queue, endpoint, change);
    if (change == UT_CIRCUIT_RECOVERED)
        ut_queue_wake_waiting(queue);
}

void ut_queue_on_done(struct ut_item *item, const struct ut_outcome *outcome)
{
    static void (*const handlers[])(struct ut_entry *, const struct ut_outcome *) = {
        [UT_SENT] = on_sent,
        [UT_RETRY] = on_retry,
        [UT_TOO_LARGE] = on_too_large,
        [UT_PERMANENT] = on_permanent,
    };
    struct ut_entry *entry = UT_CONTAINER_OF(item, struct ut_entry, item);
    struct ut_queue *queue = entry->queue;
    UT_CHECK(outcome->result <= UT_PERMANENT && outcome->cause < UT_SETBACKS);
    queue->consumers--;
    queue->in_flight -= item->span_count;
    if (outcome->result != UT_SENT)
        keep_words(queue, outcome);
    judge_endpoint(entry, outcome);
    handlers[outcome->result](entry, outcome);
    ut_queue_pump(queue);
}

/* ---- timers --------------------------------------------------------------------------------- */

/* The back-off of an entry is over; or, where it is due already, the time to try it in. */
void ut_queue_on_entry_timer(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_entry *entry = UT_CONTAINER_OF(timer, struct ut_entry, timer);
    struct ut_queue *queue = entry->queue;
    bool waited = entry->list == &queue->waiting;
    uint64_t limit_ns = queue->settings.retry_on_failure.max_elapsed_time_ns;
    ut_queue_unlist(entry);
    if (waited || now_ns - entry->backoff.first_failure_ns < limit_ns) {
        become_due(entry);
    } else if (!ut_queue_settle(entry)) {
        log_given_up(queue, entry->count - entry->withdrawn, queue->words);
        ut_queue_drop_rest(entry, UT_DROP_RETRY_ENDED);
    }
    ut_queue_pump(queue);
}

void ut_queue_on_stuck(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_queue *queue = UT_CONTAINER_OF(timer, struct ut_queue, stuck);
    uint64_t spans, since_ns = ut_queue_failing(queue, &spans);
    char text[LOG_TEXT];
    if (spans == 0)
        return;
    if (now_ns - since_ns < STUCK_NS) { /* what failed then has been sent; this failed later */
        ut_timer_set(&queue->worker->timers, timer, since_ns + STUCK_NS);
        return;
    }
    ut_timer_set(&queue->worker->timers, timer, now_ns + STUCK_NS);
    ut_log_cause(queue->worker->log, UT_LOG_WARN, "export_stuck", queue->id,
                 "exporter=%s spans=%" PRIu64 " tried_for_s=%" PRIu64 " text=%s", queue->id, spans,
                 (now_ns - since_ns) / UT_NS_PER_S, ut_log_quote(text, sizeof(text), queue->words));
}
