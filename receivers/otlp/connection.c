/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One accepted connection: a stream, TLS on it where the port has it, the protocol that its first
 * bytes ask for (or that TLS agreed on), and one timer for all its deadlines. The timer is not
 * moved with each request: it looks, when it fires, what is due by then.
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

/* After the announcement: when the end becomes final. */
#define DRAIN_FINAL_NS UT_NS_PER_S
/* So much behind its time, a look tells of us and not of the peer. */
#define LATE_NS (UT_NS_PER_S / 10)

static struct ut_otlp_connection *connection_of(struct ut_stream *stream)
{
    return UT_CONTAINER_OF(stream, struct ut_otlp_connection, stream);
}

void ut_otlp_connection_count(struct ut_otlp_connection *connection, enum ut_otlp_limit limit)
{
    struct ut_otlp_receiver *receiver = connection->receiver;
    char peer[UT_OTLP_PEER_TEXT];
    ++*receiver->counters[connection->port->transport].limits[limit];
    ut_log_cause(receiver->worker->log, UT_LOG_WARN, "receiver_limit", ut_otlp_limit_name(limit),
                 "receiver=%s limit=%s %s", receiver->id, ut_otlp_limit_name(limit),
                 ut_otlp_peer_text(peer, connection));
}

/* ---- the stream ----------------------------------------------------------------------------- */

static int begin(struct ut_otlp_connection *connection, const struct ut_otlp_protocol *protocol)
{
    int error = protocol->init(connection);
    if (error == 0)
        connection->protocol = protocol;
    return error;
}

/* Gives the bytes of the opening to the protocol that they are of. */
static int decide(struct ut_otlp_connection *connection, ut_slice bytes)
{
    uint8_t opening[UT_OTLP_OPENING];
    const struct ut_otlp_protocol *agreed =
        connection->tls != NULL ? ut_otlp_protocol_agreed(ut_tls_protocol(connection->tls)) : NULL;
    if (agreed != NULL)
        return begin(connection, agreed);
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
    int error = begin(connection, protocol);
    if (error != 0)
        return error;
    return had > 0 ? protocol->receive(connection, ut_slice_of(opening, had)) : 0;
}

int ut_otlp_connection_receive(struct ut_otlp_connection *connection, ut_slice bytes)
{
    int error = connection->protocol == NULL ? decide(connection, bytes) : 0;
    if (error == 0 && connection->protocol != NULL)
        error = connection->protocol->receive(connection, bytes);
    return error;
}

int ut_otlp_connection_pending(struct ut_otlp_connection *connection, struct iovec *runs,
                               size_t room)
{
    if (connection->protocol == NULL)
        return 0;
    return connection->protocol->pending(connection, runs, room);
}

void ut_otlp_connection_consumed(struct ut_otlp_connection *connection, size_t bytes)
{
    connection->protocol->consumed(connection, bytes);
}

static int on_bytes(struct ut_stream *stream, ut_slice bytes)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    connection->heard_ns = ut_worker_now(stream->worker);
    int error = connection->tls != NULL ? ut_otlp_secure_receive(connection, bytes)
                                        : ut_otlp_connection_receive(connection, bytes);
    ut_stream_flush_later(stream);
    return error;
}

static int on_pending(struct ut_stream *stream, struct iovec *runs, size_t room)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    return connection->tls != NULL ? ut_otlp_secure_pending(connection, runs, room)
                                   : ut_otlp_connection_pending(connection, runs, room);
}

static void on_consumed(struct ut_stream *stream, size_t bytes)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    if (connection->tls != NULL)
        ut_tls_consumed(connection->tls, bytes);
    else
        ut_otlp_connection_consumed(connection, bytes);
}

static void on_end(struct ut_stream *stream, int error)
{
    struct ut_otlp_connection *connection = connection_of(stream);
    ut_timer_cancel(&stream->worker->timers, &connection->timer);
    if (connection->protocol != NULL)
        connection->protocol->done(connection);
    ut_otlp_secure_close(connection, error);
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
    --*receiver->counters[connection->port->transport].open_connections;
    ut_otlp_sources_leave(&connection->port->sources, connection->source);
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

static void set_timer(struct ut_otlp_connection *connection, uint64_t due_ns)
{
    ut_timer_set(&connection->receiver->worker->timers, &connection->timer, due_ns);
}

static void on_drain_timer(struct ut_otlp_connection *connection, uint64_t now_ns)
{
    if (now_ns >= connection->drain_end_ns) {
        ut_stream_close(&connection->stream, 0);
        return;
    }
    connection->protocol->drain(connection);
    ut_stream_flush_later(&connection->stream);
    set_timer(connection, connection->drain_end_ns);
}

static void set_look(struct ut_otlp_connection *connection, uint64_t now_ns, uint64_t due_ns)
{
    uint64_t look_ns = now_ns + ut_otlp_longest_look(connection->port);
    set_timer(connection, due_ns < look_ns ? due_ns : look_ns);
}

/* An end that is no offence: counted, announced, and requests in flight finish. */
static void retire(struct ut_otlp_connection *connection, enum ut_otlp_limit limit)
{
    const struct ut_otlp_port *port = connection->port;
    ++*connection->receiver->counters[port->transport].limits[limit];
    ut_otlp_connection_drain(connection, port->age_grace_ns);
}

static void end_at(struct ut_otlp_connection *connection, enum ut_otlp_limit limit, uint64_t now_ns)
{
    if (limit == UT_OTLP_LIMIT_IDLE || limit == UT_OTLP_LIMIT_AGE) {
        retire(connection, limit);
    } else if (limit == UT_OTLP_LIMIT_KEEPALIVE && connection->pinged_ns <= connection->heard_ns) {
        connection->pinged_ns = now_ns;
        connection->protocol->ping(connection);
        ut_stream_flush_later(&connection->stream);
        set_look(connection, now_ns, now_ns + connection->port->ping_grace_ns);
    } else {
        ut_otlp_connection_count(connection, limit);
        ut_stream_close(&connection->stream, -ETIMEDOUT);
    }
}

/* Where it is we who are late (a busy machine, a halted one), what the peer has sent may wait in
 * the socket: it is read before anybody is cut for it, which the next turn of the loop does. */
static void on_timer(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_otlp_connection *connection =
        UT_CONTAINER_OF(timer, struct ut_otlp_connection, timer);
    if (connection->drain_ns != 0) {
        on_drain_timer(connection, now_ns);
        return;
    }
    struct ut_otlp_deadline deadline = ut_otlp_deadline_of(connection, now_ns);
    bool due = now_ns >= deadline.due_ns;
    bool excuse = due && !connection->excused && now_ns - timer->due_ns >= LATE_NS;
    connection->excused = excuse;
    if (excuse)
        set_timer(connection, now_ns + 1);
    else if (due)
        end_at(connection, deadline.limit, now_ns);
    else
        set_look(connection, now_ns, deadline.due_ns);
}

void ut_otlp_connection_drain(struct ut_otlp_connection *connection, uint64_t grace_ns)
{
    /* One that has ended, and whose handle is closing, has no session left. */
    if (connection->drain_ns != 0 || connection->stream.ended)
        return;
    if (connection->protocol == NULL) { /* it has not said a word */
        ut_stream_close(&connection->stream, 0);
        return;
    }
    connection->drain_ns = ut_worker_now(connection->receiver->worker);
    connection->drain_end_ns = connection->drain_ns + grace_ns;
    connection->protocol->drain(connection);
    ut_stream_flush_later(&connection->stream);
    uint64_t final_ns = connection->drain_ns + DRAIN_FINAL_NS;
    set_timer(connection,
              final_ns < connection->drain_end_ns ? final_ns : connection->drain_end_ns);
}

void ut_otlp_connection_answered(struct ut_otlp_connection *connection)
{
    connection->answered_ns = ut_worker_now(connection->receiver->worker);
    if (++connection->requests == connection->port->requests_max)
        retire(connection, UT_OTLP_LIMIT_REQUESTS);
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
    ++*receiver->counters[connection->port->transport].open_connections;
}

/* 0 or a negative errno; `fd` is the caller's then. */
static int new_connection(struct ut_otlp_connection **ret, struct ut_otlp_port *port, int fd,
                          const struct ut_endpoint *peer, const struct ut_unix_peer *unix_peer)
{
    struct ut_worker *worker = port->receiver->worker;
    struct ut_otlp_connection *connection = ut_pool_alloc(&worker->pool, sizeof(*connection));
    if (connection == NULL)
        return -ENOMEM;
    *connection = (struct ut_otlp_connection){
        .port = port,
        .receiver = port->receiver,
        .timer = {.fire = on_timer},
        .sender = ut_otlp_peer_sender(fd, unix_peer, &port->access.forwarders),
        .peer = *peer,
        .opened_ns = ut_worker_now(worker),
        .heard_ns = ut_worker_now(worker),
        .answered_ns = ut_worker_now(worker),
        .output_since_ns = UINT64_MAX,
    };
    if (unix_peer != NULL)
        connection->unix_peer = *unix_peer;
    ut_calls_init(&connection->calls, &worker->pool, &worker->budget, &port->service);
    int error = port->tls_settings != NULL ? ut_otlp_secure_open(connection) : 0;
    if (error == 0)
        error = ut_stream_open(&connection->stream, worker, fd, &stream_ops);
    if (error == 0) {
        *ret = connection;
        return 0;
    }
    ut_otlp_secure_close(connection, 0);
    ut_pool_free(&worker->pool, connection);
    return error;
}

/* Whether the peer of a unix socket may send here; it is said and counted where it may not. */
static bool is_admitted(struct ut_otlp_port *port, int fd, struct ut_unix_peer *ret)
{
    int error = ut_otlp_access_admit(&port->access, fd, ret);
    if (error == 0)
        return true;
    ut_log_cause(port->receiver->worker->log, UT_LOG_WARN, "connection_refused", "user",
                 "receiver=%s reason=\"%s\" peer=unix pid=%d uid=%u gid=%u", port->receiver->id,
                 error == -EACCES ? "the user is not among auth.allowed_uids" : strerror(-error),
                 (int)ret->pid, ret->uid, ret->gid);
    return false;
}

static void refuse(struct ut_otlp_port *port, int fd, enum ut_otlp_limit limit, int error)
{
    close(fd);
    ++*port->receiver->counters[port->transport].limits[limit];
    ut_otlp_log_turned_away(port, limit, error);
}

/* A place for one more connection of the peer: by address or, on a unix socket, by cgroup. */
static struct ut_otlp_source *find_place(struct ut_otlp_port *port, const struct ut_endpoint *peer,
                                         const struct ut_unix_peer *unix_peer,
                                         enum ut_otlp_limit *ret_limit)
{
    struct ut_address key = peer->address;
    bool full = port->connection_count >= port->connections_max, crowded = false;
    if (unix_peer != NULL)
        memcpy(key.bytes, &unix_peer->cgroup_id, sizeof(unix_peer->cgroup_id));
    struct ut_otlp_source *source =
        full ? NULL
             : ut_otlp_sources_enter(&port->sources, &key, port->connections_per_address, &crowded);
    *ret_limit = full      ? UT_OTLP_LIMIT_CONNECTIONS
                 : crowded ? UT_OTLP_LIMIT_ADDRESS
                           : UT_OTLP_LIMIT_RESOURCES;
    return source;
}

void ut_otlp_connection_open(struct ut_otlp_port *port, int fd, const struct ut_endpoint *peer)
{
    struct ut_unix_peer unix_peer = {0}, *on_unix = port->listener.port == 0 ? &unix_peer : NULL;
    enum ut_otlp_limit limit;
    if (on_unix != NULL && !is_admitted(port, fd, on_unix)) {
        close(fd);
        return;
    }
    struct ut_otlp_source *source = find_place(port, peer, on_unix, &limit);
    if (source == NULL) {
        refuse(port, fd, limit, limit == UT_OTLP_LIMIT_RESOURCES ? -ENOMEM : 0);
        return;
    }
    struct ut_otlp_connection *connection;
    int error = new_connection(&connection, port, fd, peer, on_unix);
    if (error != 0) {
        ut_otlp_sources_leave(&port->sources, source);
        refuse(port, fd, UT_OTLP_LIMIT_RESOURCES, error);
        return;
    }
    connection->source = source;
    link_connection(connection);
    set_look(connection, connection->opened_ns, connection->opened_ns + port->handshake_timeout_ns);
}
