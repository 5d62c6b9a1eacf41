/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The otlp receiver: OTLP over gRPC. This file is its life; receiver.h says where the rest is.
 *
 * States: created → started → stopping (listener closed, connections drain) → stopped.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "receiver.h"

#define EXPORT_PATH "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

enum { RETRY_AFTER_MS = 1000 };

static struct ut_otlp_receiver *receiver_of(struct ut_receiver *receiver)
{
    return UT_CONTAINER_OF(receiver, struct ut_otlp_receiver, base);
}

/* ---- what the gRPC server tells ------------------------------------------------------------- */

static void on_answered(struct ut_grpc_server *server, enum ut_grpc_code code)
{
    struct ut_otlp_connection *connection = ut_otlp_connection_of(server);
    uint64_t *cell = connection->receiver->counters.requests[code];
    UT_CHECK(cell != NULL);
    ++*cell;
    connection->answered_ns = ut_worker_now(connection->receiver->worker);
}

static void on_refused(struct ut_grpc_server *server, enum ut_grpc_refusal why, const char *text)
{
    static const enum ut_otlp_limit limits[UT_GRPC_REFUSALS] = {
        [UT_GRPC_REFUSED_HEADERS] = UT_OTLP_LIMIT_HEADERS,
        [UT_GRPC_REFUSED_SIZE] = UT_OTLP_LIMIT_MESSAGE,
        [UT_GRPC_REFUSED_BUDGET] = UT_OTLP_LIMIT_BUDGET,
    };
    struct ut_otlp_connection *connection = ut_otlp_connection_of(server);
    struct ut_otlp_receiver *receiver = connection->receiver;
    char address[UT_ADDRESS_TEXT];
    /* Metrics and logs to the same port are every SDK's default: by status they are counted. */
    if (why != UT_GRPC_REFUSED_PROTOCOL)
        ++*receiver->counters.limits[limits[why]];
    ut_log(receiver->worker->log, UT_LOG_WARN, "request_refused",
           "receiver=%s reason=\"%s\" peer=%s port=%u", receiver->id, text,
           ut_address_text(address, &connection->peer.address), connection->peer.port);
}

static void wake(struct ut_grpc_server *server)
{
    ut_stream_flush_later(&ut_otlp_connection_of(server)->stream);
}

/* ---- the listener --------------------------------------------------------------------------- */

static void on_accept(struct ut_listener *listener, int fd, const struct ut_endpoint *peer)
{
    ut_otlp_connection_open(UT_CONTAINER_OF(listener, struct ut_otlp_receiver, listener), fd, peer);
}

static void on_listener_closed(struct ut_listener *listener)
{
    struct ut_otlp_receiver *receiver =
        UT_CONTAINER_OF(listener, struct ut_otlp_receiver, listener);
    receiver->listening = false;
    ut_otlp_receiver_settle(receiver);
}

static const struct ut_listener_ops listener_ops = {
    .on_accept = on_accept,
    .on_closed = on_listener_closed,
};

/* ---- life ----------------------------------------------------------------------------------- */

static double read_connections(void *arg)
{
    return ((const struct ut_otlp_receiver *)arg)->connection_count;
}

static double read_exhausted(void *arg)
{
    return (double)((const struct ut_otlp_receiver *)arg)->listener.exhausted;
}

static void register_gauges(struct ut_otlp_receiver *receiver)
{
    char labels[256];
    struct ut_metrics *metrics = receiver->worker->metrics;
    ut_otlp_labels(labels, sizeof(labels), receiver->id, "");
    ut_metrics_gauge(metrics, "undertrace_receiver_connections", labels, "Open connections",
                     read_connections, receiver);
    ut_metrics_counter_read(metrics, "undertrace_receiver_accept_paused_total", labels,
                            "Times that descriptors or memory for connections ran out",
                            read_exhausted, receiver);
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
    receiver->id = build->id;
    receiver->settings = &settings->protocols.grpc;
    receiver->worker = build->worker;
    receiver->target = target;
    receiver->service = (struct ut_grpc_service){
        .path = EXPORT_PATH,
        .message_bytes_max = (size_t)receiver->settings->max_recv_msg_size_mib << 20,
        .retry_after_ms = RETRY_AFTER_MS,
        .on_message = ut_otlp_export,
        .on_gone = ut_otlp_export_abandon,
        .on_answered = on_answered,
        .on_refused = on_refused,
        .wake = wake,
    };
    ut_otlp_counters_init(&receiver->counters, build->worker->metrics, build->id);
    register_gauges(receiver);
    *ret = &receiver->base;
    return 0;
}

static int start(struct ut_receiver *base, char error[UT_ERROR_TEXT])
{
    struct ut_otlp_receiver *receiver = receiver_of(base);
    int result =
        ut_listener_open(&receiver->listener, receiver->worker, receiver->settings->endpoint,
                         &listener_ops, error, UT_ERROR_TEXT);
    if (result != 0)
        return result;
    receiver->listening = true;
    ut_log(receiver->worker->log, UT_LOG_INFO, "listening",
           "receiver=%s protocol=grpc endpoint=%s port=%u", receiver->id,
           receiver->settings->endpoint, receiver->listener.port);
    return 0;
}

void ut_otlp_receiver_settle(struct ut_otlp_receiver *receiver)
{
    if (!receiver->stopping || receiver->listening || receiver->connections != NULL ||
        receiver->pushes > 0)
        return;
    receiver->stopping = false;
    receiver->stopped(receiver->stopped_arg);
}

static void stop(struct ut_receiver *base, void (*stopped)(void *arg), void *arg)
{
    struct ut_otlp_receiver *receiver = receiver_of(base);
    receiver->stopping = true;
    receiver->stopped = stopped;
    receiver->stopped_arg = arg;
    ut_listener_close(&receiver->listener);
    for (struct ut_otlp_connection *c = receiver->connections; c != NULL; c = c->next)
        ut_otlp_connection_drain(c);
    ut_otlp_receiver_settle(receiver);
}

static void free_receiver(struct ut_receiver *base)
{
    struct ut_otlp_receiver *receiver = receiver_of(base);
    ut_metrics_remove(receiver->worker->metrics, receiver);
    free(receiver);
}

static size_t endpoints(const void *config, const char **out, size_t room)
{
    const struct ut_otlp_receiver_settings *settings = config;
    if (room == 0 || !settings->protocols.has_grpc)
        return 0;
    out[0] = settings->protocols.grpc.endpoint;
    return 1;
}

const struct ut_receiver_type ut_receiver_otlp = {
    .name = "otlp",
    .fields = ut_otlp_receiver_fields,
    .config_size = sizeof(struct ut_otlp_receiver_settings),
    .check = ut_otlp_receiver_check,
    .endpoints = endpoints,
    .create = create,
    .start = start,
    .stop = stop,
    .free = free_receiver,
};
