/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the receiver counts. The books of spans: received = accepted + refused + rejected. Spans of
 * requests that were refused before they were walked are unknown and in none of them; the requests
 * are counted by status.
 */
#ifndef UT_OTLP_RECEIVER_COUNTERS_H
#define UT_OTLP_RECEIVER_COUNTERS_H

#include <stdint.h>

#include "net/call.h"
#include "net/h2_guard.h"
#include "telemetry/metrics.h"

/* What a client can run into. The kinds of h2_guard.h are counted under the same metric. */
enum ut_otlp_limit {
    UT_OTLP_LIMIT_CONNECTIONS,
    UT_OTLP_LIMIT_ADDRESS,
    UT_OTLP_LIMIT_RESOURCES, /* what a connection needs of us could not be had */
    UT_OTLP_LIMIT_REQUESTS,
    UT_OTLP_LIMIT_AGE,
    UT_OTLP_LIMIT_IDLE,
    UT_OTLP_LIMIT_KEEPALIVE,
    UT_OTLP_LIMIT_HANDSHAKE,
    UT_OTLP_LIMIT_HEADER_TIME,
    UT_OTLP_LIMIT_READ_TIME,
    UT_OTLP_LIMIT_RATE,
    UT_OTLP_LIMIT_WRITE_TIME,
    UT_OTLP_LIMIT_MESSAGE,
    UT_OTLP_LIMIT_BUDGET,
    UT_OTLP_LIMIT_H2, /* and enum ut_h2_hit on top */
    UT_OTLP_LIMIT_HEADERS = UT_OTLP_LIMIT_H2 + UT_H2_HIT_HEADERS,
    UT_OTLP_LIMIT_PROTOCOL = UT_OTLP_LIMIT_H2 + UT_H2_HIT_PROTOCOL,
    UT_OTLP_LIMITS = UT_OTLP_LIMIT_H2 + UT_H2_HITS,
};

enum { UT_OTLP_STATUSES = 13 };

/* Of one transport: a request is counted under what it is, a connection under its port's name. */
struct ut_otlp_counters {
    uint64_t *received, *accepted, *refused, *rejected; /* spans */
    uint64_t *requests[UT_OTLP_STATUSES];               /* by status */
    uint64_t *limits[UT_OTLP_LIMITS];
    uint64_t *connections, *open_connections;
    uint64_t *repaired; /* strings that were no UTF-8 */
    /* Bytes of whole bodies in a coding; none of identity. */
    uint64_t *compressed[UT_CODINGS], *inflated[UT_CODINGS];
};

/* `id` is the receiver's, as in the config. */
void ut_otlp_counters_init(struct ut_otlp_counters *counters, struct ut_metrics *metrics,
                           const char *id, enum ut_transport transport);
/* The cell of a status that was answered: HTTP's, or gRPC's code. */
uint64_t *ut_otlp_counters_request(struct ut_otlp_counters *counters, enum ut_transport transport,
                                   int status);
/* A constant text for logs and labels. */
const char *ut_otlp_limit_name(enum ut_otlp_limit limit);
/* The labels of the receiver's metrics, `extra` (may be "") behind them; returns `out`. */
const char *ut_otlp_labels(char *out, size_t size, const char *id, enum ut_transport transport,
                           const char *extra);
const char *ut_otlp_transport_name(enum ut_transport transport);

#endif
