/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the otlp receiver, from the listener (otlp.c) over connections (connection.c) to
 * export calls (export_call.c).
 *
 * Invariant: the receiver outlives its connections and its pushes; stop ends when both are gone.
 */
#ifndef UT_OTLP_RECEIVER_RECEIVER_H
#define UT_OTLP_RECEIVER_RECEIVER_H

#include "component.h"
#include "counters.h"
#include "net/grpc_server.h"
#include "net/listener.h"
#include "net/stream.h"
#include "settings.h"

struct ut_otlp_connection;

extern const struct ut_receiver_type ut_receiver_otlp;

struct ut_otlp_receiver {
    struct ut_receiver base;
    const char *id;
    const struct ut_otlp_grpc_settings *settings;
    struct ut_worker *worker;
    struct ut_push_target *target;
    struct ut_grpc_service service;
    struct ut_otlp_counters counters;
    struct ut_listener listener;
    bool listening;
    struct ut_otlp_connection *connections;
    uint32_t connection_count;
    uint32_t pushes; /* not answered yet */
    bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

struct ut_otlp_connection {
    struct ut_stream stream;
    struct ut_grpc_server grpc;
    struct ut_otlp_receiver *receiver;
    struct ut_otlp_connection *previous, *next;
    struct ut_timer timer;
    struct ut_sender sender;
    struct ut_endpoint peer;
    /* Monotonic: when it was opened; when bytes last came or left; when a call was last answered,
     * which is what counts for idleness: a client's PINGs do not keep a connection. */
    uint64_t opened_ns, moved_ns, answered_ns;
    uint64_t drain_ns; /* when the end was announced; 0: not */
};

/* connection.c: takes the accepted socket over. */
void ut_otlp_connection_open(struct ut_otlp_receiver *receiver, int fd,
                             const struct ut_endpoint *peer);
/* Lets requests in flight finish, within bounds, then ends the connection. */
void ut_otlp_connection_drain(struct ut_otlp_connection *connection);

/* export_call.c: the two ends of a call that ut_grpc_service names. */
void ut_otlp_export(struct ut_grpc_call *call);
void ut_otlp_export_abandon(struct ut_grpc_call *call);

/* otlp.c: a connection or a push is gone; ends the stop where it was the last. */
void ut_otlp_receiver_settle(struct ut_otlp_receiver *receiver);

static inline struct ut_otlp_connection *ut_otlp_connection_of(struct ut_grpc_server *server)
{
    return UT_CONTAINER_OF(server, struct ut_otlp_connection, grpc);
}

#endif
