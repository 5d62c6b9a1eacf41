/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One accepted connection: a stream, the gRPC server on it, and one timer for all its deadlines.
 * The timer is not moved with each request: it looks, when it fires, what is due by then.
 *
 * States: open → draining (the end is announced, requests in flight finish) → closed.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "receiver.h"

/* After the announcement: when the end becomes final, and when it is enforced. */
#define DRAIN_FINAL_NS UT_NS_PER_S
#define DRAIN_END_NS (5 * UT_NS_PER_S)

static struct ut_otlp_connection *connection_of(struct ut_stream *stream)
{
    return UT_CONTAINER_OF(stream, struct ut_otlp_connection, stream);
}

static void count_limit(struct ut_otlp_connection *connection, enum ut_otlp_limit limit)
{
    struct ut_otlp_receiver *receiver = connection->receiver;
    char address[UT_ADDRESS_TEXT];
    ++*receiver->counters.limits[limit];
    ut_log(receiver->worker->log, UT_LOG_WARN, "receiver_limit",
           "receiver=%s limit=%s peer=%s port=%u", receiver->id, ut_otlp_limit_name(limit),
           ut_address_text(address, &connection->peer.address), connection->peer.port);
}

/* ---- the stream ----------------------------------------------------------------------------- */

static int on_bytes(struct ut_stream *stream, ut_slice bytes)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    connection->moved_ns = ut_worker_now(stream->worker);
    int error = ut_h2_server_receive(&connection->grpc.h2, bytes, connection->moved_ns);
    ut_stream_flush_later(stream);
    return error;
}

static int on_pending(struct ut_stream *stream, struct iovec *runs, size_t room)
{
    struct ut_h2_server *h2 = &connection_of(stream)->grpc.h2;
    int count = ut_h2_server_pending(h2, runs, room);
    if (count == 0 && ut_h2_server_is_finished(h2))
        ut_stream_end_when_flushed(stream);
    return count;
}

static void on_consumed(struct ut_stream *stream, size_t bytes)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    connection->moved_ns = ut_worker_now(stream->worker);
    ut_h2_server_consumed(&connection->grpc.h2, bytes);
}

static void count_hits(struct ut_otlp_connection *connection)
{
    const struct ut_h2_server *h2 = &connection->grpc.h2;
    if (h2->ended_by == UT_H2_HIT_HEADERS)
        count_limit(connection, UT_OTLP_LIMIT_HEADERS);
    if (h2->hits[UT_H2_HIT_RESETS] > 0)
        count_limit(connection, UT_OTLP_LIMIT_RESETS);
    if (h2->hits[UT_H2_HIT_FRAMES] > 0)
        count_limit(connection, UT_OTLP_LIMIT_FRAMES);
    if (h2->hits[UT_H2_HIT_PROTOCOL] > 0)
        count_limit(connection, UT_OTLP_LIMIT_PROTOCOL);
}

static void on_end(struct ut_stream *stream, int error)
{
    (void)error;
    struct ut_otlp_connection *connection = connection_of(stream);
    count_hits(connection);
    ut_timer_cancel(&stream->worker->timers, &connection->timer);
    ut_grpc_server_done(&connection->grpc);
}

static void on_closed(struct ut_stream *stream)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    struct ut_otlp_receiver *receiver = connection->receiver;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        receiver->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    receiver->connection_count--;
    ut_pool_free(&receiver->worker->pool, connection);
    ut_otlp_receiver_settle(receiver);
}

static const struct ut_stream_ops stream_ops = {
    .on_bytes = on_bytes,
    .pending = on_pending,
    .consumed = on_consumed,
    .on_end = on_end,
    .on_closed = on_closed,
};

/* ---- deadlines ------------------------------------------------------------------------------ */

struct deadline {
    uint64_t due_ns; /* UINT64_MAX: none */
    enum ut_otlp_limit limit;
};

static uint64_t oldest_arriving(const struct ut_grpc_server *grpc)
{
    uint64_t oldest_ns = UINT64_MAX;
    for (const struct ut_grpc_call *call = grpc->arriving; call != NULL; call = call->next)
        oldest_ns = call->began_ns < oldest_ns ? call->began_ns : oldest_ns;
    return oldest_ns;
}

static struct deadline deadline_of(const struct ut_otlp_connection *connection)
{
    const struct ut_otlp_grpc_settings *settings = connection->receiver->settings;
    const struct ut_grpc_server *grpc = &connection->grpc;
    uint64_t idle_ns = settings->keepalive.server_parameters.max_connection_idle_ns;
    uint64_t since_ns = oldest_arriving(grpc);
    if (!grpc->h2.greeted || !grpc->h2.acknowledged)
        return (struct deadline){connection->opened_ns + settings->handshake_timeout_ns,
                                 UT_OTLP_LIMIT_HANDSHAKE};
    if (ut_h2_output_bytes(&grpc->h2.output) > 0 && connection->moved_ns < since_ns)
        since_ns = connection->moved_ns;
    if (since_ns != UINT64_MAX)
        return (struct deadline){since_ns + settings->request_timeout_ns,
                                 UT_OTLP_LIMIT_REQUEST_TIME};
    if (grpc->waiting == 0 && idle_ns > 0)
        return (struct deadline){connection->answered_ns + idle_ns, UT_OTLP_LIMIT_IDLE};
    return (struct deadline){UINT64_MAX, UT_OTLP_LIMIT_IDLE};
}

static void set_timer(struct ut_otlp_connection *connection, uint64_t due_ns)
{
    ut_timer_set(&connection->receiver->worker->timers, &connection->timer, due_ns);
}

static void on_drain_timer(struct ut_otlp_connection *connection, uint64_t now_ns)
{
    if (now_ns >= connection->drain_ns + DRAIN_END_NS) {
        ut_stream_close(&connection->stream, 0);
        return;
    }
    ut_h2_server_drain(&connection->grpc.h2);
    ut_stream_flush_later(&connection->stream);
    set_timer(connection, connection->drain_ns + DRAIN_END_NS);
}

/* A request may begin right after the timer was set for an idle connection, so it never sleeps
 * longer than a request may take. */
static void set_look(struct ut_otlp_connection *connection, uint64_t now_ns, uint64_t due_ns)
{
    uint64_t look_ns = now_ns + connection->receiver->settings->request_timeout_ns;
    set_timer(connection, due_ns < look_ns ? due_ns : look_ns);
}

static void on_timer(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_otlp_connection *connection =
        UT_CONTAINER_OF(timer, struct ut_otlp_connection, timer);
    if (connection->drain_ns != 0) {
        on_drain_timer(connection, now_ns);
        return;
    }
    struct deadline deadline = deadline_of(connection);
    if (now_ns < deadline.due_ns) {
        set_look(connection, now_ns, deadline.due_ns);
    } else if (deadline.limit == UT_OTLP_LIMIT_IDLE) {
        ++*connection->receiver->counters.limits[UT_OTLP_LIMIT_IDLE];
        ut_otlp_connection_drain(connection);
    } else {
        count_limit(connection, deadline.limit);
        ut_stream_close(&connection->stream, -ETIMEDOUT);
    }
}

void ut_otlp_connection_drain(struct ut_otlp_connection *connection)
{
    /* One that has ended, and whose handle is closing, has no session left. */
    if (connection->drain_ns != 0 || connection->stream.ended)
        return;
    connection->drain_ns = ut_worker_now(connection->receiver->worker);
    ut_h2_server_drain(&connection->grpc.h2);
    ut_stream_flush_later(&connection->stream);
    set_timer(connection, connection->drain_ns + DRAIN_FINAL_NS);
}

/* ---- opening -------------------------------------------------------------------------------- */

static void link_connection(struct ut_otlp_connection *connection)
{
    struct ut_otlp_receiver *receiver = connection->receiver;
    connection->next = receiver->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    receiver->connections = connection;
    receiver->connection_count++;
    ++*receiver->counters.connections;
}

static struct ut_sender sender_of(int fd)
{
    struct ut_sender sender = {.connected_boot_ns = ut_clock_boot_ns()};
    socklen_t size = sizeof(sender.socket_cookie);
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &sender.socket_cookie, &size) != 0)
        sender.socket_cookie = 0;
    return sender;
}

static int start(struct ut_otlp_connection *connection, int fd)
{
    struct ut_otlp_receiver *receiver = connection->receiver;
    struct ut_worker *worker = receiver->worker;
    const struct ut_h2_limits limits = {
        .streams = (uint32_t)receiver->settings->max_concurrent_streams,
        .header_bytes = (uint32_t)receiver->settings->max_header_bytes,
        .header_fields = (uint32_t)receiver->settings->max_header_fields,
    };
    int error = ut_grpc_server_init(&connection->grpc, &worker->pool, &worker->budget, &limits,
                                    &receiver->service);
    if (error != 0)
        return error;
    error = ut_stream_open(&connection->stream, worker, fd, &stream_ops);
    if (error != 0)
        ut_grpc_server_done(&connection->grpc);
    return error;
}

static struct ut_otlp_connection *new_connection(struct ut_otlp_receiver *receiver, int fd,
                                                 const struct ut_endpoint *peer)
{
    struct ut_worker *worker = receiver->worker;
    struct ut_otlp_connection *connection = ut_pool_alloc(&worker->pool, sizeof(*connection));
    if (connection == NULL)
        return NULL;
    *connection = (struct ut_otlp_connection){
        .receiver = receiver,
        .timer = {.fire = on_timer},
        .sender = sender_of(fd),
        .peer = *peer,
        .opened_ns = ut_worker_now(worker),
        .moved_ns = ut_worker_now(worker),
        .answered_ns = ut_worker_now(worker),
    };
    if (start(connection, fd) == 0)
        return connection;
    ut_pool_free(&worker->pool, connection);
    return NULL;
}

void ut_otlp_connection_open(struct ut_otlp_receiver *receiver, int fd,
                             const struct ut_endpoint *peer)
{
    bool full = receiver->connection_count >= receiver->settings->max_connections;
    struct ut_otlp_connection *connection = full ? NULL : new_connection(receiver, fd, peer);
    if (connection == NULL) {
        close(fd);
        ++*receiver->counters.limits[UT_OTLP_LIMIT_CONNECTIONS];
        ut_log(receiver->worker->log, UT_LOG_WARN, "connection_refused", "receiver=%s open=%u",
               receiver->id, receiver->connection_count);
        return;
    }
    link_connection(connection);
    set_look(connection, connection->opened_ns,
             connection->opened_ns + receiver->settings->handshake_timeout_ns);
    /* Our SETTINGS need no byte of the client's to go out. */
    ut_stream_flush_later(&connection->stream);
}
