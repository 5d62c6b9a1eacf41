/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/queue_counters.h"

#include <stdio.h>

static const char *const reason_names[UT_DROP_REASONS] = {
    [UT_DROP_PERMANENT] = "permanent",   [UT_DROP_REJECTED] = "rejected",
    [UT_DROP_TOO_LARGE] = "too_large",   [UT_DROP_RETRY_ENDED] = "retry_ended",
    [UT_DROP_QUEUE_FULL] = "queue_full", [UT_DROP_WITHDRAWN] = "withdrawn",
    [UT_DROP_DAMAGED] = "damaged",       [UT_DROP_SHUTDOWN] = "shutdown",
    [UT_DROP_MEMORY] = "memory",
};

static const char *const cause_names[UT_SETBACKS] = {
    [UT_SETBACK_BACKEND] = "backend",         [UT_SETBACK_TRANSPORT] = "transport",
    [UT_SETBACK_UNAVAILABLE] = "unavailable", [UT_SETBACK_TIMEOUT] = "timeout",
    [UT_SETBACK_THROTTLED] = "throttled",     [UT_SETBACK_LOCAL] = "local",
};

const char *ut_drop_reason_name(enum ut_drop_reason reason)
{
    UT_CHECK(reason < UT_DROP_REASONS);
    return reason_names[reason];
}

const char *ut_setback_name(enum ut_setback cause)
{
    UT_CHECK(cause < UT_SETBACKS);
    return cause_names[cause];
}

const char *ut_queue_label(char out[UT_QUEUE_LABEL_BYTES], const char *id)
{
    static const char start[] = "exporter=\"";
    size_t size = sizeof(start) - 1;
    memcpy(out, start, size);
    /* Room for an escaped character, the closing quote and the terminator. */
    for (; *id != '\0' && size + 4 <= UT_QUEUE_LABEL_BYTES; id++) {
        if (*id == '"' || *id == '\\')
            out[size++] = '\\';
        out[size++] = *id == '\n' ? ' ' : *id;
    }
    out[size++] = '"';
    out[size] = '\0';
    return out;
}

void ut_queue_counters_init(struct ut_queue_counters *counters, struct ut_metrics *metrics,
                            const char *id)
{
    char label[UT_QUEUE_LABEL_BYTES];
    (void)ut_queue_label(label, id);
    counters->sent = ut_metrics_counter(metrics, "otelcol_exporter_sent_spans", label,
                                        "Spans that the backend has taken.");
    counters->send_failed =
        ut_metrics_counter(metrics, "otelcol_exporter_send_failed_spans", label,
                           "Spans that were given up after the backend did not take them.");
    counters->enqueue_failed = ut_metrics_counter(
        metrics, "otelcol_exporter_enqueue_failed_spans", label,
        "Spans of requests that were refused, retryably, because the queue had no room.");
    counters->unjoined = ut_metrics_counter(
        metrics, "undertrace_exporter_unjoined_spans", label,
        "Spans read back from the disk without what the processors had found out about them.");
    for (size_t i = 0; i < UT_SETBACKS; i++) {
        char labels[UT_QUEUE_LABEL_BYTES + 32];
        (void)snprintf(labels, sizeof(labels), "%s,cause=\"%s\"", label, cause_names[i]);
        counters->retries[i] =
            ut_metrics_counter(metrics, "undertrace_exporter_retries", labels,
                               "Times that a send was put off to be tried again.");
    }
    for (size_t i = 0; i < UT_DROP_REASONS; i++) {
        char labels[UT_QUEUE_LABEL_BYTES + 32];
        (void)snprintf(labels, sizeof(labels), "%s,reason=\"%s\"", label, reason_names[i]);
        counters->dropped[i] =
            ut_metrics_counter(metrics, "undertrace_exporter_dropped_spans", labels,
                               "Accepted spans that were not delivered.");
    }
}
