/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One accepted connection: a stream, the protocol that its first bytes ask for, and one timer for
 * all its deadlines. The timer is not moved with each request: it looks, when it fires, what is due
 * by then.
 *
 * States: open (undecided → HTTP/2 or HTTP/1.1) → draining (the end is announced, requests in
 * flight finish) → closed.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
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

void ut_otlp_connection_count(struct ut_otlp_connection *connection, enum ut_otlp_limit limit)
{
    struct ut_otlp_receiver *receiver = connection->receiver;
    char peer[UT_OTLP_PEER_TEXT];
    ++*receiver->counters[connection->port->transport].limits[limit];
    ut_log(receiver->worker->log, UT_LOG_WARN, "receiver_limit", "receiver=%s limit=%s %s",
           receiver->id, ut_otlp_limit_name(limit), ut_otlp_peer_text(peer, connection));
}

/* ---- the stream ----------------------------------------------------------------------------- */

/* Gives the bytes of the opening to the protocol that they are of. */
static int decide(struct ut_otlp_connection *connection, ut_slice bytes)
{
    uint8_t opening[UT_OTLP_OPENING];
    size_t had = connection->opening_size, size = UT_OTLP_OPENING - had;
    size = size < bytes.size ? size : bytes.size;
    memcpy(opening, connection->opening, had);
    memcpy(opening + had, bytes.data, size);
    bool wrong;
    const struct ut_otlp_protocol *protocol =
        ut_otlp_protocol_of(ut_slice_of(opening, had + size), &wrong);
    if (wrong) {
        ut_otlp_connection_count(connection, UT_OTLP_LIMIT_PROTOCOL);
        return -EPROTO;
    }
    if (protocol == NULL) {
        memcpy(connection->opening, opening, had + size);
        connection->opening_size = (uint8_t)(had + size);
        return 0;
    }
    int error = protocol->init(connection);
    if (error != 0)
        return error;
    connection->protocol = protocol;
    return had > 0 ? protocol->receive(connection, ut_slice_of(opening, had)) : 0;
}

static int on_bytes(struct ut_stream *stream, ut_slice bytes)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    connection->moved_ns = ut_worker_now(stream->worker);
    int error = connection->protocol == NULL ? decide(connection, bytes) : 0;
    if (error == 0 && connection->protocol != NULL)
        error = connection->protocol->receive(connection, bytes);
    ut_stream_flush_later(stream);
    return error;
}

static int on_pending(struct ut_stream *stream, struct iovec *runs, size_t room)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    if (connection->protocol == NULL)
        return 0;
    return connection->protocol->pending(connection, runs, room);
}

static void on_consumed(struct ut_stream *stream, size_t bytes)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    connection->moved_ns = ut_worker_now(stream->worker);
    connection->protocol->consumed(connection, bytes);
}

static void on_end(struct ut_stream *stream, int error)
{
    (void)error;
    struct ut_otlp_connection *connection = connection_of(stream);
    ut_timer_cancel(&stream->worker->timers, &connection->timer);
    if (connection->protocol != NULL)
        connection->protocol->done(connection);
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
    connection->port->connection_count--;
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

static struct ut_otlp_deadline deadline_of(const struct ut_otlp_connection *connection)
{
    if (connection->protocol != NULL)
        return connection->protocol->deadline(connection);
    return (struct ut_otlp_deadline){connection->opened_ns + connection->port->handshake_timeout_ns,
                                     UT_OTLP_LIMIT_HANDSHAKE};
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
    connection->protocol->drain(connection);
    ut_stream_flush_later(&connection->stream);
    set_timer(connection, connection->drain_ns + DRAIN_END_NS);
}

/* A request may begin right after the timer was set for an idle connection, so it never sleeps
 * longer than a request, or its header, may take. */
static void set_look(struct ut_otlp_connection *connection, uint64_t now_ns, uint64_t due_ns)
{
    const struct ut_otlp_port *port = connection->port;
    uint64_t longest_ns = port->request_timeout_ns < port->handshake_timeout_ns
                              ? port->request_timeout_ns
                              : port->handshake_timeout_ns;
    uint64_t look_ns = now_ns + longest_ns;
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
    struct ut_otlp_deadline deadline = deadline_of(connection);
    if (now_ns < deadline.due_ns) {
        set_look(connection, now_ns, deadline.due_ns);
    } else if (deadline.limit == UT_OTLP_LIMIT_IDLE) {
        ++*connection->receiver->counters[connection->port->transport].limits[UT_OTLP_LIMIT_IDLE];
        ut_otlp_connection_drain(connection);
    } else {
        ut_otlp_connection_count(connection, deadline.limit);
        ut_stream_close(&connection->stream, -ETIMEDOUT);
    }
}

void ut_otlp_connection_drain(struct ut_otlp_connection *connection)
{
    /* One that has ended, and whose handle is closing, has no session left. */
    if (connection->drain_ns != 0 || connection->stream.ended)
        return;
    if (connection->protocol == NULL) { /* it has not said a word */
        ut_stream_close(&connection->stream, 0);
        return;
    }
    connection->drain_ns = ut_worker_now(connection->receiver->worker);
    connection->protocol->drain(connection);
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
    connection->port->connection_count++;
    ++*receiver->counters[connection->port->transport].connections;
}

static struct ut_otlp_connection *new_connection(struct ut_otlp_port *port, int fd,
                                                 const struct ut_endpoint *peer,
                                                 const struct ut_unix_peer *unix_peer)
{
    struct ut_worker *worker = port->receiver->worker;
    struct ut_otlp_connection *connection = ut_pool_alloc(&worker->pool, sizeof(*connection));
    if (connection == NULL)
        return NULL;
    *connection = (struct ut_otlp_connection){
        .port = port,
        .receiver = port->receiver,
        .timer = {.fire = on_timer},
        .sender = ut_otlp_peer_sender(fd, unix_peer),
        .peer = *peer,
        .opened_ns = ut_worker_now(worker),
        .moved_ns = ut_worker_now(worker),
        .answered_ns = ut_worker_now(worker),
    };
    if (unix_peer != NULL)
        connection->unix_peer = *unix_peer;
    ut_calls_init(&connection->calls, &worker->pool, &worker->budget, &port->service);
    if (ut_stream_open(&connection->stream, worker, fd, &stream_ops) == 0)
        return connection;
    ut_pool_free(&worker->pool, connection);
    return NULL;
}

/* Whether the peer of a unix socket may send here; it is said and counted where it may not. */
static bool is_admitted(struct ut_otlp_port *port, int fd, struct ut_unix_peer *ret)
{
    int error = ut_otlp_access_admit(&port->access, fd, ret);
    if (error == 0)
        return true;
    ut_log(port->receiver->worker->log, UT_LOG_WARN, "connection_refused",
           "receiver=%s reason=\"%s\" peer=unix pid=%d uid=%u gid=%u", port->receiver->id,
           error == -EACCES ? "the user is not among auth.allowed_uids" : strerror(-error),
           (int)ret->pid, ret->uid, ret->gid);
    return false;
}

void ut_otlp_connection_open(struct ut_otlp_port *port, int fd, const struct ut_endpoint *peer)
{
    struct ut_otlp_receiver *receiver = port->receiver;
    bool is_unix = port->listener.port == 0;
    struct ut_unix_peer unix_peer = {0};
    if (is_unix && !is_admitted(port, fd, &unix_peer)) {
        close(fd);
        return;
    }
    bool full = port->connection_count >= port->connections_max;
    struct ut_otlp_connection *connection =
        full ? NULL : new_connection(port, fd, peer, is_unix ? &unix_peer : NULL);
    if (connection == NULL) {
        close(fd);
        ++*receiver->counters[port->transport].limits[UT_OTLP_LIMIT_CONNECTIONS];
        ut_log(receiver->worker->log, UT_LOG_WARN, "connection_refused", "receiver=%s open=%u",
               receiver->id, port->connection_count);
        return;
    }
    link_connection(connection);
    set_look(connection, connection->opened_ns, connection->opened_ns + port->handshake_timeout_ns);
}
