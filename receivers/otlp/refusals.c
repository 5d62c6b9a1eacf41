/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log lines for connections and requests that are not taken, or not as a whole. What is counted
 * stands in counters.h. Each cause has a limit of its own in the log: a stranger who runs into one
 * as often as he likes hides no other.
 */
#include "receiver.h"

enum { REASON_TEXT = 320 };

static void log_call(const struct ut_otlp_connection *connection, enum ut_transport transport,
                     const char *event, const char *cause, const char *reason)
{
    char peer[UT_OTLP_PEER_TEXT], shown[REASON_TEXT];
    const struct ut_otlp_receiver *receiver = connection->receiver;
    ut_log_cause(receiver->worker->log, UT_LOG_WARN, event, cause,
                 "receiver=%s transport=%s reason=%s %s", receiver->id,
                 ut_otlp_transport_name(transport), ut_log_quote(shown, sizeof(shown), reason),
                 ut_otlp_peer_text(peer, connection));
}

void ut_otlp_log_refused(const struct ut_otlp_connection *connection, enum ut_transport transport,
                         enum ut_refusal why, const char *reason)
{
    static const char *const causes[UT_REFUSALS] = {
        [UT_REFUSED_HEADERS] = "headers", [UT_REFUSED_SIZE] = "size",
        [UT_REFUSED_BUDGET] = "memory",   [UT_REFUSED_PROTOCOL] = "protocol",
        [UT_REFUSED_METRICS] = "metrics", [UT_REFUSED_LOGS] = "logs",
        [UT_REFUSED_AUTH] = "auth",
    };
    log_call(connection, transport, "request_refused", causes[why], reason);
}

void ut_otlp_log_malformed(const struct ut_call *call, const char *reason)
{
    log_call(ut_otlp_connection_of(call->calls), call->ops->transport, "request_refused",
             "malformed", reason);
}

void ut_otlp_log_left_out(const struct ut_call *call, uint32_t spans, const char *reason)
{
    char peer[UT_OTLP_PEER_TEXT], shown[REASON_TEXT];
    const struct ut_otlp_connection *connection = ut_otlp_connection_of(call->calls);
    const struct ut_otlp_receiver *receiver = connection->receiver;
    ut_log(receiver->worker->log, UT_LOG_WARN, "spans_left_out",
           "receiver=%s transport=%s spans=%u reason=%s %s text=\"bad spans are not passed on, and "
           "the sender is told so; the rest of the request is\"",
           receiver->id, ut_otlp_transport_name(call->ops->transport), spans,
           ut_log_quote(shown, sizeof(shown), reason), ut_otlp_peer_text(peer, connection));
}

void ut_otlp_log_turned_away(const struct ut_otlp_port *port, enum ut_otlp_limit limit, int error)
{
    static const char closed[] = "closed at once: max_connections allows more",
                      crowded[] = "closed at once: max_connections_per_address allows more",
                      unopened[] = "closed at once, for memory or descriptors are short: see "
                                   "RLIMIT_NOFILE and undertrace.memory.limit_mib";
    const struct ut_otlp_receiver *receiver = port->receiver;
    const char *name = ut_otlp_limit_name(limit);
    ut_log_cause(receiver->worker->log, UT_LOG_WARN, "connection_refused", name,
                 "receiver=%s limit=%s open=%u error=\"%s\" text=\"%s\"", receiver->id, name,
                 port->connection_count, error != 0 ? strerror(-error) : "none",
                 limit == UT_OTLP_LIMIT_CONNECTIONS ? closed
                 : limit == UT_OTLP_LIMIT_ADDRESS   ? crowded
                                                    : unopened);
}
