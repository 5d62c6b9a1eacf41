/* SPDX-License-Identifier: Apache-2.0 */
#include "counters.h"

#include <stdio.h>

enum { LABELS_BYTES = 256 };

static const char *const limit_names[UT_OTLP_LIMIT_H2] = {
    [UT_OTLP_LIMIT_CONNECTIONS] = "connections",
    [UT_OTLP_LIMIT_ADDRESS] = "connections_per_address",
    [UT_OTLP_LIMIT_RESOURCES] = "resources",
    [UT_OTLP_LIMIT_REQUESTS] = "requests_per_connection",
    [UT_OTLP_LIMIT_AGE] = "connection_age",
    [UT_OTLP_LIMIT_IDLE] = "idle",
    [UT_OTLP_LIMIT_KEEPALIVE] = "keepalive_timeout",
    [UT_OTLP_LIMIT_HANDSHAKE] = "handshake_timeout",
    [UT_OTLP_LIMIT_HEADER_TIME] = "header_timeout",
    [UT_OTLP_LIMIT_READ_TIME] = "read_timeout",
    [UT_OTLP_LIMIT_RATE] = "receive_rate",
    [UT_OTLP_LIMIT_WRITE_TIME] = "write_timeout",
    [UT_OTLP_LIMIT_MESSAGE] = "message_size",
    [UT_OTLP_LIMIT_BUDGET] = "memory",
};

/* The statuses that this receiver gives, and as what they are counted. */
static const struct status {
    int status;
    const char *name;
} statuses[UT_TRANSPORTS][UT_OTLP_STATUSES] = {
    [UT_TRANSPORT_GRPC] =
        {
            {UT_GRPC_OK, "OK"},
            {UT_GRPC_INVALID_ARGUMENT, "INVALID_ARGUMENT"},
            {UT_GRPC_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"},
            {UT_GRPC_UNIMPLEMENTED, "UNIMPLEMENTED"},
            {UT_GRPC_INTERNAL, "INTERNAL"},
            {UT_GRPC_UNAVAILABLE, "UNAVAILABLE"},
            {UT_GRPC_NOT_FOUND, "NOT_FOUND"},
            {UT_GRPC_ALREADY_EXISTS, "ALREADY_EXISTS"},
            {UT_GRPC_FAILED_PRECONDITION, "FAILED_PRECONDITION"},
            {UT_GRPC_UNAUTHENTICATED, "UNAUTHENTICATED"},
            {UT_GRPC_PERMISSION_DENIED, "PERMISSION_DENIED"},
            {UT_GRPC_UNKNOWN, "UNKNOWN"},
        },
    [UT_TRANSPORT_HTTP] =
        {
            {200, "200"},
            {204, "204"},
            {400, "400"},
            {401, "401"},
            {403, "403"},
            {404, "404"},
            {405, "405"},
            {413, "413"},
            {415, "415"},
            {503, "503"},
        },
};

uint64_t *ut_otlp_counters_request(struct ut_otlp_counters *counters, enum ut_transport transport,
                                   int status)
{
    const struct status *known = statuses[transport];
    int i = 0;
    while (known[i].status != status && known[i + 1].name != NULL)
        i++;
    return counters->requests[i];
}

const char *ut_otlp_transport_name(enum ut_transport transport)
{
    return transport == UT_TRANSPORT_HTTP ? "http" : "grpc";
}

const char *ut_otlp_limit_name(enum ut_otlp_limit limit)
{
    return limit < UT_OTLP_LIMIT_H2 ? limit_names[limit]
                                    : ut_h2_hit_name((enum ut_h2_hit)(limit - UT_OTLP_LIMIT_H2));
}

const char *ut_otlp_labels(char *out, size_t size, const char *id, enum ut_transport transport,
                           const char *extra)
{
    (void)snprintf(out, size, "receiver=\"%s\",transport=\"%s\"%s%s", id,
                   ut_otlp_transport_name(transport), extra[0] != '\0' ? "," : "", extra);
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

static void init_codings(struct ut_otlp_counters *counters, struct ut_metrics *metrics,
                         const char *id, enum ut_transport transport)
{
    char labels[LABELS_BYTES], extra[64];
    for (enum ut_coding coding = UT_CODING_GZIP; coding < UT_CODINGS; coding++) {
        (void)snprintf(extra, sizeof(extra), "coding=\"%s\"", ut_coding_name(coding));
        ut_otlp_labels(labels, sizeof(labels), id, transport, extra);
        counters->compressed[coding] =
            ut_metrics_counter(metrics, "undertrace_receiver_compressed_bytes_total", labels,
                               "Bytes of compressed requests, as they came");
        counters->inflated[coding] =
            ut_metrics_counter(metrics, "undertrace_receiver_inflated_bytes_total", labels,
                               "Bytes of compressed requests, inflated");
    }
}

void ut_otlp_counters_init(struct ut_otlp_counters *counters, struct ut_metrics *metrics,
                           const char *id, enum ut_transport transport)
{
    char labels[LABELS_BYTES], extra[64];
    init_spans(counters, metrics, ut_otlp_labels(labels, sizeof(labels), id, transport, ""));
    counters->open_connections =
        ut_metrics_level(metrics, "undertrace_receiver_connections", labels, "Open connections");
    counters->connections = ut_metrics_counter(metrics, "undertrace_receiver_connections_total",
                                               labels, "Connections that were accepted");
    counters->repaired =
        ut_metrics_counter(metrics, "undertrace_receiver_repaired_strings_total", labels,
                           "Strings that were not UTF-8 and were repaired");
    init_codings(counters, metrics, id, transport);
    for (int i = 0; i < UT_OTLP_STATUSES && statuses[transport][i].name != NULL; i++) {
        (void)snprintf(extra, sizeof(extra), "code=\"%s\"", statuses[transport][i].name);
        counters->requests[i] =
            ut_metrics_counter(metrics, "undertrace_receiver_requests_total",
                               ut_otlp_labels(labels, sizeof(labels), id, transport, extra),
                               "Requests answered, by status");
    }
    for (int limit = 0; limit < UT_OTLP_LIMITS; limit++) {
        (void)snprintf(extra, sizeof(extra), "limit=\"%s\"",
                       ut_otlp_limit_name((enum ut_otlp_limit)limit));
        counters->limits[limit] =
            ut_metrics_counter(metrics, "undertrace_receiver_limit_hits_total",
                               ut_otlp_labels(labels, sizeof(labels), id, transport, extra),
                               "Times that a limit was reached");
    }
}
