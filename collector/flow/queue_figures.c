/* SPDX-License-Identifier: Apache-2.0 */
/* How a queue stands: its books, its gauges, what `undertrace status` shows of it. */
#include "base/clock.h"
#include "flow/queue_parts.h"

void ut_queue_books(const struct ut_queue *queue, struct ut_queue_books *ret)
{
    *ret = (struct ut_queue_books){
        .accepted = queue->accepted,
        .recovered = queue->recovered,
        .sent = queue->sent,
        .held = queue->unfinished - queue->in_flight + ut_queue_backlog_stored(queue),
        .in_flight = queue->in_flight,
        .stored = ut_queue_backlog_stored(queue),
    };
    memcpy(ret->dropped, queue->dropped, sizeof(ret->dropped));
}

uint64_t ut_queue_failing(const struct ut_queue *queue, uint64_t *ret_spans)
{
    uint64_t since_ns = UINT64_MAX;
    *ret_spans = 0;
    for (const struct ut_entry *entry = queue->oldest; entry != NULL; entry = entry->newer) {
        if (entry->backoff.first_failure_ns == 0)
            continue;
        *ret_spans += entry->count - entry->withdrawn;
        if (entry->backoff.first_failure_ns < since_ns)
            since_ns = entry->backoff.first_failure_ns;
    }
    return since_ns;
}

static uint64_t oldest_ns(const struct ut_queue *queue)
{
    const struct ut_entry *oldest = queue->oldest;
    return oldest != NULL ? ut_worker_now(queue->worker) - oldest->put_ns + oldest->age_ns : 0;
}

static uint32_t count_down(const struct ut_queue *queue)
{
    uint32_t down = 0, count = ut_queue_endpoints(queue);
    for (uint32_t i = 0; i < count; i++)
        down += queue->circuits[i].state != UT_CIRCUIT_CLOSED;
    return down;
}

void ut_queue_figures(const struct ut_queue *queue, struct ut_queue_figures *ret)
{
    uint64_t now = ut_worker_now(queue->worker), gate_ns = ut_queue_gate_ns(queue);
    *ret = (struct ut_queue_figures){
        .sizer = (enum ut_sizer)queue->settings.sending_queue.sizer,
        .size = ut_queue_size(queue),
        .capacity = queue->settings.sending_queue.queue_size,
        .batches = queue->entries,
        .bytes = queue->bytes,
        .oldest_ns = oldest_ns(queue),
        .refused_spans = *queue->counters.enqueue_failed,
        .endpoints = ut_queue_endpoints(queue),
        .endpoints_down = count_down(queue),
        .silent_ns = gate_ns != UINT64_MAX && gate_ns > now ? gate_ns - now : 0,
        .words = queue->words,
        .words_ns = queue->words[0] != '\0' ? now - queue->failed_ns : 0,
    };
    uint64_t since_ns = ut_queue_failing(queue, &ret->failing_spans);
    ret->failing_ns = since_ns != UINT64_MAX ? now - since_ns : 0;
    for (int i = 0; i < UT_SETBACKS; i++)
        ret->retries[i] = *queue->counters.retries[i];
}

const char *ut_queue_words(const struct ut_queue *queue)
{
    return queue->words;
}

/* ---- gauges --------------------------------------------------------------------------------- */

static double read_size(void *arg)
{
    return (double)ut_queue_size(arg);
}

static double read_capacity(void *arg)
{
    return (double)((const struct ut_queue *)arg)->settings.sending_queue.queue_size;
}

static double read_held(void *arg)
{
    const struct ut_queue *queue = arg;
    return (double)(queue->unfinished - queue->in_flight + ut_queue_backlog_stored(queue));
}

static double read_stored(void *arg)
{
    return (double)ut_queue_backlog_stored(arg);
}

static double read_in_flight(void *arg)
{
    return (double)((const struct ut_queue *)arg)->in_flight;
}

static double read_bytes(void *arg)
{
    return (double)((const struct ut_queue *)arg)->bytes;
}

static double read_oldest(void *arg)
{
    return (double)oldest_ns(arg) / 1e9;
}

static double read_down(void *arg)
{
    return count_down(arg);
}

void ut_queue_register_gauges(struct ut_queue *queue)
{
    static const struct {
        const char *name, *help;
        double (*read)(void *arg);
    } gauges[] = {
        {"otelcol_exporter_queue_size",
         "What is in the queue and on the way to it, in units of its sizer.", read_size},
        {"otelcol_exporter_queue_capacity", "What the queue has room for, in the same units.",
         read_capacity},
        {"undertrace_exporter_held_spans", "Spans that wait in the queue.", read_held},
        {"undertrace_exporter_stored_spans", "Of these, those that are on the disk alone.",
         read_stored},
        {"undertrace_exporter_in_flight_spans", "Spans that were sent and not answered yet.",
         read_in_flight},
        {"undertrace_exporter_queue_bytes",
         "Bytes of the batches in the queue, as they were received.", read_bytes},
        {"undertrace_exporter_queue_oldest_seconds", "Age of the oldest batch in the queue.",
         read_oldest},
        {"undertrace_exporter_endpoints_down",
         "Endpoints that did not answer and are tried with one item at a time.", read_down},
    };
    char label[UT_QUEUE_LABEL_BYTES];
    (void)ut_queue_label(label, queue->id);
    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++)
        ut_metrics_gauge(queue->worker->metrics, gauges[i].name, label, gauges[i].help,
                         gauges[i].read, queue);
}
