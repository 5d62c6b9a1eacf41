/* SPDX-License-Identifier: Apache-2.0 */
#include "counters.h"

#include <stdio.h>

enum { LABELS_BYTES = 256 };

static const char *const limit_names[UT_OTLP_LIMITS] = {
    [UT_OTLP_LIMIT_CONNECTIONS] = "connections",
    [UT_OTLP_LIMIT_HANDSHAKE] = "handshake_timeout",
    [UT_OTLP_LIMIT_REQUEST_TIME] = "request_timeout",
    [UT_OTLP_LIMIT_IDLE] = "idle",
    [UT_OTLP_LIMIT_HEADERS] = "headers",
    [UT_OTLP_LIMIT_MESSAGE] = "message_size",
    [UT_OTLP_LIMIT_BUDGET] = "memory",
    [UT_OTLP_LIMIT_RESETS] = "stream_resets",
    [UT_OTLP_LIMIT_FRAMES] = "idle_frames",
    [UT_OTLP_LIMIT_PROTOCOL] = "protocol",
};

/* The statuses that this receiver gives; the others have no cell. */
static const char *const code_names[UT_GRPC_CODES] = {
    [UT_GRPC_OK] = "OK",
    [UT_GRPC_UNKNOWN] = "UNKNOWN",
    [UT_GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
    [UT_GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
    [UT_GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
    [UT_GRPC_INTERNAL] = "INTERNAL",
    [UT_GRPC_UNAVAILABLE] = "UNAVAILABLE",
};

const char *ut_otlp_limit_name(enum ut_otlp_limit limit)
{
    return limit_names[limit];
}

const char *ut_otlp_labels(char *out, size_t size, const char *id, const char *extra)
{
    (void)snprintf(out, size, "receiver=\"%s\",transport=\"grpc\"%s%s", id,
                   extra[0] != '\0' ? "," : "", extra);
    return out;
}

static void init_spans(struct ut_otlp_counters *counters, struct ut_metrics *metrics,
                       const char *labels)
{
    counters->received = ut_metrics_counter(metrics, "undertrace_receiver_received_spans", labels,
                                            "Spans in requests that were read");
    counters->accepted = ut_metrics_counter(metrics, "otelcol_receiver_accepted_spans", labels,
                                            "Spans that a pipeline has taken");
    counters->refused = ut_metrics_counter(metrics, "otelcol_receiver_refused_spans", labels,
                                           "Spans that the client may send again");
    counters->rejected = ut_metrics_counter(metrics, "undertrace_receiver_rejected_spans", labels,
                                            "Spans that are bad and not to be sent again");
}

void ut_otlp_counters_init(struct ut_otlp_counters *counters, struct ut_metrics *metrics,
                           const char *id)
{
    char labels[LABELS_BYTES], extra[64];
    init_spans(counters, metrics, ut_otlp_labels(labels, sizeof(labels), id, ""));
    counters->connections = ut_metrics_counter(metrics, "undertrace_receiver_connections_total",
                                               labels, "Connections that were accepted");
    for (int code = 0; code < UT_GRPC_CODES; code++) {
        counters->requests[code] = NULL;
        if (code_names[code] == NULL)
            continue;
        (void)snprintf(extra, sizeof(extra), "code=\"%s\"", code_names[code]);
        counters->requests[code] = ut_metrics_counter(
            metrics, "undertrace_receiver_requests_total",
            ut_otlp_labels(labels, sizeof(labels), id, extra), "Requests answered, by status");
    }
    for (int limit = 0; limit < UT_OTLP_LIMITS; limit++) {
        (void)snprintf(extra, sizeof(extra), "limit=\"%s\"", limit_names[limit]);
        counters->limits[limit] = ut_metrics_counter(
            metrics, "undertrace_receiver_limit_hits_total",
            ut_otlp_labels(labels, sizeof(labels), id, extra), "Times that a limit was reached");
    }
}
