/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The otlp receiver: OTLP over gRPC and HTTP. This file is its life; receiver.h says where the rest
 * is.
 *
 * States: created → started → stopping (listeners closed, connections drain) → stopped.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "net/endpoint.h"
#include "receiver.h"

#define COLLECTOR "/opentelemetry.proto.collector."

enum { RETRY_AFTER_MS = 1000 };

static struct ut_otlp_receiver *receiver_of(struct ut_receiver *receiver)
{
    return UT_CONTAINER_OF(receiver, struct ut_otlp_receiver, base);
}

/* ---- what the protocols tell ---------------------------------------------------------------- */

static void on_answered(struct ut_calls *calls, enum ut_transport transport, int status)
{
    struct ut_otlp_connection *connection = ut_otlp_connection_of(calls);
    struct ut_otlp_receiver *receiver = connection->receiver;
    ++*ut_otlp_counters_request(&receiver->counters[transport], transport, status);
    ut_otlp_connection_answered(connection);
}

static void on_refused(struct ut_calls *calls, enum ut_transport transport, enum ut_refusal why,
                       const char *text)
{
    static const enum ut_otlp_limit limits[UT_REFUSALS] = {
        [UT_REFUSED_HEADERS] = UT_OTLP_LIMIT_HEADERS,
        [UT_REFUSED_SIZE] = UT_OTLP_LIMIT_MESSAGE,
        [UT_REFUSED_BUDGET] = UT_OTLP_LIMIT_BUDGET,
    };
    struct ut_otlp_connection *connection = ut_otlp_connection_of(calls);
    struct ut_otlp_receiver *receiver = connection->receiver;
    if (why < UT_REFUSED_PROTOCOL)
        ++*receiver->counters[transport].limits[limits[why]];
    if (why == UT_REFUSED_METRICS || why == UT_REFUSED_LOGS)
        ut_otlp_signal_refused(connection, transport, why, text);
    else
        ut_otlp_log_refused(connection, transport, why, text);
}

static void wake(struct ut_calls *calls)
{
    ut_stream_flush_later(&ut_otlp_connection_of(calls)->stream);
}

/* ---- the listeners -------------------------------------------------------------------------- */

static bool is_listening(const struct ut_otlp_receiver *receiver)
{
    for (int i = 0; i < UT_TRANSPORTS; i++) {
        if (receiver->ports[i].listening)
            return true;
    }
    return false;
}

static void free_when_closed(struct ut_otlp_receiver *receiver)
{
    if (!is_listening(receiver))
        free(receiver);
}

static void on_accept(struct ut_listener *listener, int fd, const struct ut_endpoint *peer)
{
    ut_otlp_connection_open(UT_CONTAINER_OF(listener, struct ut_otlp_port, listener), fd, peer);
}

static void on_listener_closed(struct ut_listener *listener)
{
    struct ut_otlp_port *port = UT_CONTAINER_OF(listener, struct ut_otlp_port, listener);
    port->listening = false;
    if (port->receiver->abandoned)
        free_when_closed(port->receiver);
    else
        ut_otlp_receiver_settle(port->receiver);
}

static const struct ut_listener_ops listener_ops = {
    .on_accept = on_accept,
    .on_closed = on_listener_closed,
};

/* ---- ports ---------------------------------------------------------------------------------- */

static double read_exhausted(void *arg)
{
    return (double)((const struct ut_otlp_port *)arg)->listener.exhausted;
}

static void register_gauges(struct ut_otlp_port *port)
{
    char labels[256];
    struct ut_metrics *metrics = port->receiver->worker->metrics;
    ut_otlp_labels(labels, sizeof(labels), port->receiver->id, port->transport, "");
    ut_metrics_counter_read(metrics, "undertrace_receiver_accept_paused_total", labels,
                            "Times that descriptors or memory for connections ran out",
                            read_exhausted, port);
}

/* A share of the descriptors that the process may have: the rest is for exporters and files. */
static uint64_t connections_of(const struct ut_otlp_port *port, uint64_t asked)
{
    enum { RESERVED = 256, LEAST = 64, MOST = 100000 };
    struct rlimit limit;
    if (asked > 0)
        return asked;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / 4 > MOST)
        return MOST;
    const struct ut_otlp_port *ports = port->receiver->ports;
    uint64_t shares =
        ports[UT_TRANSPORT_GRPC].configured && ports[UT_TRANSPORT_HTTP].configured ? 2 : 1;
    uint64_t most = limit.rlim_cur > RESERVED ? (limit.rlim_cur - RESERVED) / 4 * 3 / shares : 0;
    return most > LEAST ? most : LEAST;
}

static void set_limits(struct ut_otlp_port *port, const struct ut_otlp_limit_settings *limits)
{
    port->h2_limits = (struct ut_h2_limits){
        .streams = (uint32_t)limits->max_concurrent_streams,
        .header_bytes = (uint32_t)limits->max_header_bytes,
        .header_fields = (uint32_t)limits->max_header_fields,
        .ping_idle = true,
    };
    port->http1_limits = (struct ut_http1_limits){
        .header_bytes = (uint32_t)limits->max_header_bytes,
        .header_fields = (uint32_t)limits->max_header_fields,
        .requests = limits->max_requests_per_connection,
    };
    port->connections_max = connections_of(port, limits->max_connections);
    port->connections_per_address = limits->max_connections_per_address;
    if (port->connections_per_address == 0)
        port->connections_per_address = (port->connections_max + 1) / 2;
    port->requests_max = limits->max_requests_per_connection;
    port->read_timeout_ns = limits->read_timeout_ns;
    port->write_timeout_ns = limits->write_timeout_ns;
    port->rate.rate = limits->min_receive_rate;
    port->rate.grace_ns = limits->receive_grace_ns;
}

/* A certificate is one way among others where auth says so. */
static void set_tls(struct ut_otlp_port *port, const struct ut_tls_settings *tls, bool has_tls)
{
    port->tls_own = *tls;
    port->tls_own.client_optional = ut_otlp_auth_is_optional(&port->access_settings->auth);
    port->tls_settings = has_tls ? &port->tls_own : NULL;
}

static void set_grpc_limits(struct ut_otlp_port *port, const struct ut_otlp_grpc_settings *grpc)
{
    port->endpoint = grpc->endpoint;
    port->access_settings = &grpc->access;
    set_limits(port, &grpc->limits);
    set_tls(port, &grpc->tls, grpc->has_tls);
    port->handshake_timeout_ns = grpc->handshake_timeout_ns;
    port->idle_ns = grpc->keepalive.server_parameters.max_connection_idle_ns;
    port->age_ns = grpc->keepalive.server_parameters.max_connection_age_ns;
    port->age_grace_ns = grpc->keepalive.server_parameters.max_connection_age_grace_ns;
    port->ping_after_ns = grpc->keepalive.server_parameters.time_ns;
    port->ping_grace_ns = grpc->keepalive.server_parameters.timeout_ns;
    port->h2_limits.ping_interval_ns = grpc->keepalive.enforcement_policy.min_time_ns;
    port->h2_limits.ping_idle = grpc->keepalive.enforcement_policy.permit_without_stream;
    port->service.body_bytes_max = (size_t)grpc->max_recv_msg_size_mib << 20;
}

static void set_http_limits(struct ut_otlp_port *port, const struct ut_otlp_http_settings *http)
{
    port->endpoint = http->endpoint;
    port->access_settings = &http->access;
    set_limits(port, &http->limits);
    set_tls(port, &http->tls, http->has_tls);
    port->handshake_timeout_ns = http->read_header_timeout_ns;
    port->idle_ns = http->idle_timeout_ns;
    port->age_grace_ns = http->limits.read_timeout_ns;
    port->service.body_bytes_max = http->max_request_body_size;
    port->service.close_each = !http->keep_alives_enabled;
}

/* What HTTP is asked for is the same on both ports. */
static struct ut_service service_of(struct ut_otlp_receiver *receiver,
                                    const struct ut_otlp_http_settings *http)
{
    return (struct ut_service){
        .grpc_path = COLLECTOR "trace.v1.TraceService/Export",
        .grpc_metrics_path = COLLECTOR "metrics.v1.MetricsService/Export",
        .grpc_logs_path = COLLECTOR "logs.v1.LogsService/Export",
        .http_path = http->traces_url_path,
        .http_metrics_path = http->metrics_url_path,
        .http_logs_path = http->logs_url_path,
        .cors = http->cors.allowed_origins.count > 0 ? &receiver->cors : NULL,
        .http_codings = ut_otlp_http_codings(http),
        .http_codings_text = receiver->http_codings_text,
        .retry_after_ms = RETRY_AFTER_MS,
        .inflates = &receiver->inflates,
        .on_message = ut_otlp_export,
        .on_gone = ut_otlp_export_abandon,
        .on_answered = on_answered,
        .on_refused = on_refused,
        .wake = wake,
    };
}

/* No list: what a browser sends with OTLP. A list with "*": whatever is asked for. */
static void init_cors(struct ut_otlp_receiver *receiver, const struct ut_otlp_cors_settings *cors)
{
    receiver->cors = (struct ut_http_cors){
        .allowed_origins = (const char *const *)cors->allowed_origins.items,
        .allowed_origin_count = cors->allowed_origins.count,
        .allowed_headers = receiver->cors_headers,
        .max_age_s = cors->max_age_s,
    };
    FILE *out = fmemopen(receiver->cors_headers, sizeof(receiver->cors_headers), "w");
    UT_CHECK_MEMORY(out != NULL);
    fputs("Content-Type", out);
    for (size_t i = 0; i < cors->allowed_headers.count; i++) {
        if (strcmp(cors->allowed_headers.items[i], "*") == 0)
            receiver->cors.allowed_headers = NULL;
        fprintf(out, ", %s", cors->allowed_headers.items[i]);
    }
    UT_CHECK_MEMORY(fclose(out) == 0);
}

static void init_ports(struct ut_otlp_receiver *receiver, const struct ut_otlp_protocols *protocols)
{
    init_cors(receiver, &protocols->http.cors);
    ut_inflates_init(&receiver->inflates, &receiver->worker->pool);
    ut_otlp_codings_text(receiver->http_codings_text, ut_otlp_http_codings(&protocols->http));
    receiver->ports[UT_TRANSPORT_GRPC].configured = protocols->has_grpc;
    receiver->ports[UT_TRANSPORT_HTTP].configured = protocols->has_http;
    for (enum ut_transport transport = 0; transport < UT_TRANSPORTS; transport++) {
        struct ut_otlp_port *port = &receiver->ports[transport];
        port->receiver = receiver;
        port->transport = transport;
        port->service = service_of(receiver, &protocols->http);
        ut_otlp_sources_init(&port->sources, &receiver->worker->pool);
        if (transport == UT_TRANSPORT_HTTP)
            set_http_limits(port, &protocols->http);
        else
            set_grpc_limits(port, &protocols->grpc);
        ut_otlp_counters_init(&receiver->counters[transport], receiver->worker->metrics,
                              receiver->id, transport);
        if (port->configured)
            register_gauges(port);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static int init_auth(struct ut_otlp_receiver *receiver)
{
    int result = 0;
    for (int i = 0; i < UT_TRANSPORTS && result == 0; i++) {
        struct ut_otlp_port *port = &receiver->ports[i];
        if (port->configured)
            result = ut_otlp_auth_init(&port->auth, &port->access_settings->auth, &receiver->build);
        port->service.auth = port->auth.wanted ? &port->auth.auth : NULL;
    }
    return result;
}

static void free_receiver(struct ut_receiver *base)
{
    struct ut_otlp_receiver *receiver = receiver_of(base);
    if (receiver->latter != NULL)
        receiver->latter->former = receiver->former;
    if (receiver->former != NULL)
        receiver->former->latter = receiver->latter;
    for (int i = 0; i < UT_TRANSPORTS; i++) {
        ut_metrics_remove(receiver->worker->metrics, &receiver->ports[i]);
        ut_otlp_auth_stop(&receiver->ports[i].auth);
        ut_tls_end_done(&receiver->ports[i].tls);
    }
    ut_inflates_done(&receiver->inflates);
    receiver->abandoned = true;
    free_when_closed(receiver);
}

static int create(struct ut_receiver **ret, const struct ut_build *build,
                  struct ut_push_target *target, struct ut_event_sink *sink)
{
    (void)sink;
    const struct ut_otlp_receiver_settings *settings = build->config;
    struct ut_otlp_receiver *receiver = calloc(1, sizeof(*receiver));
    if (receiver == NULL)
        return -ENOMEM;
    receiver->base.type = &ut_receiver_otlp;
    receiver->build = *build;
    receiver->id = build->id;
    receiver->worker = build->worker;
    receiver->target = target;
    receiver->invalid_utf8 = (enum ut_otlp_invalid_utf8)settings->invalid_utf8;
    init_ports(receiver, &settings->protocols);
    int result = init_auth(receiver);
    if (result != 0)
        free_receiver(&receiver->base);
    else
        *ret = &receiver->base;
    return result;
}

/* `beside`: the port of a receiver that this one may take over from, or NULL. */
static bool shares(const struct ut_otlp_port *port, const struct ut_otlp_port *beside)
{
    return beside != NULL && beside->listening && strcmp(port->endpoint, beside->endpoint) == 0 &&
           port->access_settings->transport == beside->access_settings->transport;
}

static int listen_on(struct ut_otlp_port *port, const struct ut_otlp_port *beside,
                     const char *labels, char error[UT_ERROR_TEXT])
{
    struct ut_worker *worker = port->receiver->worker;
    bool is_unix = ut_otlp_access_is_unix(port->access_settings, port->endpoint);
    if (!is_unix && shares(port, beside))
        return ut_listener_share(&port->listener, &beside->listener, &listener_ops, error,
                                 UT_ERROR_TEXT);
    if (!is_unix)
        return ut_listener_open(&port->listener, worker, port->endpoint, &listener_ops, error,
                                UT_ERROR_TEXT);
    int result = ut_otlp_access_init(&port->access, port->access_settings, port->endpoint, error,
                                     UT_ERROR_TEXT);
    const struct ut_config_identity *identity = port->receiver->build.identity;
    if (result == 0 && identity != NULL)
        result =
            ut_otlp_access_trust(&port->access, &identity->forwarders.uids, error, UT_ERROR_TEXT);
    if (result != 0)
        return result;
    ut_otlp_access_count(&port->access, worker->metrics, labels);
    if (shares(port, beside))
        return ut_listener_share(&port->listener, &beside->listener, &listener_ops, error,
                                 UT_ERROR_TEXT);
    return ut_listener_open_unix(&port->listener, worker, &port->access.place, &listener_ops, error,
                                 UT_ERROR_TEXT);
}

/* Every address of this host, and nobody is asked who he is. */
static void warn_open(const struct ut_otlp_port *port)
{
    struct ut_endpoint_text text;
    bool certified = port->tls_settings != NULL && port->tls_settings->ca_file != NULL;
    if (port->auth.wanted || certified || ut_endpoint_parse(&text, port->endpoint, 0, NULL) != 0)
        return;
    if (text.host[0] == '\0' || strcmp(text.host, "::") == 0 || strcmp(text.host, "0.0.0.0") == 0)
        ut_log_cause(
            port->receiver->worker->log, UT_LOG_WARN, "listening_open", port->receiver->id,
            "receiver=%s protocol=%s endpoint=%s text=\"whoever reaches this host may send: "
            "listen on localhost or one address, or ask for credentials (auth, "
            "tls.client_ca_file)\"",
            port->receiver->id, ut_otlp_transport_name(port->transport), port->endpoint);
}

static int open_tls(struct ut_otlp_port *port, const char *labels, char error[UT_ERROR_TEXT])
{
    struct ut_tls_error why;
    struct ut_otlp_receiver *receiver = port->receiver;
    if (port->tls_settings == NULL)
        return 0;
    const struct ut_tls_end_config config = {
        .worker = receiver->worker,
        .role = UT_TLS_SERVER,
        .settings = port->tls_settings,
        .id = receiver->id,
        .labels = labels,
    };
    int result = ut_tls_end_init(&port->tls, &config, &why);
    if (result != 0)
        (void)snprintf(error, UT_ERROR_TEXT, "tls.%.16s: %s", why.key, why.text);
    return result;
}

static int open_port(struct ut_otlp_port *port, const struct ut_otlp_port *beside,
                     char error[UT_ERROR_TEXT])
{
    struct ut_otlp_receiver *receiver = port->receiver;
    char labels[256];
    ut_otlp_labels(labels, sizeof(labels), receiver->id, port->transport, "");
    int result = ut_otlp_auth_start(&port->auth, &receiver->build, labels, error);
    if (result == 0)
        result = open_tls(port, labels, error);
    if (result == 0)
        result = listen_on(port, beside, labels, error);
    if (result != 0)
        return result;
    port->listening = true;
    ut_log_cause(receiver->worker->log, UT_LOG_INFO, "listening", receiver->id,
                 "receiver=%s protocol=%s endpoint=%s port=%u tls=%s", receiver->id,
                 ut_otlp_transport_name(port->transport), port->endpoint, port->listener.port,
                 port->tls_settings != NULL ? "yes" : "no");
    ut_log_cause(receiver->worker->log, UT_LOG_INFO, "limits", receiver->id,
                 "receiver=%s protocol=%s connections=%llu connections_per_address=%llu",
                 receiver->id, ut_otlp_transport_name(port->transport),
                 (unsigned long long)port->connections_max,
                 (unsigned long long)port->connections_per_address);
    warn_open(port);
    return 0;
}

static void close_ports(struct ut_otlp_receiver *receiver)
{
    for (int i = 0; i < UT_TRANSPORTS; i++) {
        if (receiver->ports[i].listening)
            ut_listener_close(&receiver->ports[i].listener);
    }
}

static int open_ports(struct ut_otlp_receiver *receiver, const struct ut_otlp_receiver *beside,
                      char error[UT_ERROR_TEXT])
{
    int result = 0;
    for (int i = 0; i < UT_TRANSPORTS && result == 0; i++) {
        if (receiver->ports[i].configured)
            result =
                open_port(&receiver->ports[i], beside != NULL ? &beside->ports[i] : NULL, error);
    }
    if (result != 0)
        close_ports(receiver);
    return result;
}

static int start(struct ut_receiver *base, char error[UT_ERROR_TEXT])
{
    return open_ports(receiver_of(base), NULL, error);
}

static int start_beside(struct ut_receiver *base, struct ut_receiver *old,
                        char error[UT_ERROR_TEXT])
{
    return open_ports(receiver_of(base), receiver_of(old), error);
}

/* Who was let in under other rules is to come again, under those that hold now. */
static void send_away(const struct ut_otlp_port *port, const struct ut_otlp_port *before)
{
    if (ut_otlp_auth_is_same(&port->auth, &before->auth) &&
        ut_otlp_access_is_same(&port->access, &before->access))
        return;
    /* Receivers before that one have connections only if they had the same rules. */
    for (struct ut_otlp_receiver *r = before->receiver; r != NULL; r = r->former) {
        for (struct ut_otlp_connection *c = r->connections; c != NULL; c = c->next) {
            if (c->port->transport == port->transport)
                ut_otlp_connection_drain(c, UT_AUTH_GRACE_NS);
        }
    }
}

static void take_over(struct ut_receiver *base, struct ut_receiver *old)
{
    struct ut_otlp_receiver *receiver = receiver_of(base), *from = receiver_of(old);
    receiver->signals = from->signals;
    receiver->former = from;
    from->latter = receiver;
    for (int i = 0; i < UT_TRANSPORTS; i++) {
        struct ut_otlp_port *port = &receiver->ports[i], *before = &from->ports[i];
        if (!port->listening || !shares(port, before))
            continue;
        ut_listener_inherit(&port->listener, &before->listener);
        ut_otlp_auth_inherit(&port->auth, &before->auth);
        send_away(port, before);
        if (port->tls_settings != NULL && before->tls_settings != NULL)
            ut_tls_end_inherit(&port->tls, &before->tls);
    }
}

void ut_otlp_receiver_settle(struct ut_otlp_receiver *receiver)
{
    if (!receiver->stopping || is_listening(receiver) || receiver->connections != NULL ||
        receiver->pushes > 0)
        return;
    receiver->stopping = false;
    receiver->stopped(receiver->stopped_arg);
}

static void retire(struct ut_receiver *base, struct ut_push_target *target,
                   void (*stopped)(void *arg), void *arg)
{
    struct ut_otlp_receiver *receiver = receiver_of(base);
    receiver->target = target;
    receiver->stopping = true;
    receiver->stopped = stopped;
    receiver->stopped_arg = arg;
    close_ports(receiver);
    ut_otlp_receiver_settle(receiver);
}

static void stop(struct ut_receiver *base, void (*stopped)(void *arg), void *arg)
{
    struct ut_otlp_receiver *receiver = receiver_of(base);
    for (struct ut_otlp_connection *c = receiver->connections; c != NULL; c = c->next)
        ut_otlp_connection_drain(c, UT_OTLP_STOP_GRACE_NS);
    retire(base, receiver->target, stopped, arg);
}

static size_t endpoints(const void *config, const char **out, size_t room)
{
    const struct ut_otlp_protocols *protocols =
        &((const struct ut_otlp_receiver_settings *)config)->protocols;
    size_t count = 0;
    if (protocols->has_grpc && count < room)
        out[count++] = protocols->grpc.endpoint;
    if (protocols->has_http && count < room)
        out[count++] = protocols->http.endpoint;
    return count;
}

static size_t extensions(const void *config, const char **out, size_t room)
{
    const struct ut_otlp_protocols *protocols =
        &((const struct ut_otlp_receiver_settings *)config)->protocols;
    const char *grpc = protocols->grpc.access.auth.authenticator;
    const char *http = protocols->http.access.auth.authenticator;
    size_t count = 0;
    if (protocols->has_grpc && grpc != NULL && count < room)
        out[count++] = grpc;
    if (protocols->has_http && http != NULL && count < room)
        out[count++] = http;
    return count;
}

/* Somebody says that files have changed. */
static void reread_files(struct ut_receiver *base)
{
    struct ut_otlp_receiver *receiver = receiver_of(base);
    for (int i = 0; i < UT_TRANSPORTS; i++) {
        ut_otlp_auth_reread(&receiver->ports[i].auth);
        ut_tls_end_look(&receiver->ports[i].tls);
    }
}

const struct ut_receiver_type ut_receiver_otlp = {
    .name = "otlp",
    .fields = ut_otlp_receiver_fields,
    .config_size = sizeof(struct ut_otlp_receiver_settings),
    .check = ut_otlp_receiver_check,
    .endpoints = endpoints,
    .extensions = extensions,
    .create = create,
    .start = start,
    .start_beside = start_beside,
    .take_over = take_over,
    .retire = retire,
    .reread_files = reread_files,
    .stop = stop,
    .free = free_receiver,
};
