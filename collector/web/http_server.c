/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of the server: it is counted by its open handles (listeners and connections); after
 * ut_http_server_close the last one that goes takes the server along.
 */
#include "web/http_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/listener.h"
#include "net/stream.h"

struct connection {
    struct ut_stream stream;
    struct ut_http_server *server;
    struct ut_http_exchange exchange;
    struct ut_timer deadline;
    bool busy; /* the deadline is a request's */
    uint64_t used_ns;
    struct connection *previous, *next;
};

struct ut_http_server {
    struct ut_worker *worker;
    const struct ut_http_route *routes;
    void *arg;
    struct ut_listener listener;
    bool listening, closing;
    struct connection *connections;
    size_t count; /* of the list */
    size_t alive; /* handles whose memory is still needed */
};

static void drop_handle(struct ut_http_server *server)
{
    if (--server->alive != 0 || !server->closing)
        return;
    free(server);
}

/* ---- connections ----------------------------------------------------------------------------- */

static struct connection *connection_of(struct ut_stream *stream)
{
    return UT_CONTAINER_OF(stream, struct connection, stream);
}

static void set_deadline(struct connection *connection, uint32_t ms)
{
    struct ut_worker *worker = connection->server->worker;
    connection->used_ns = ut_worker_now(worker);
    ut_timer_set(&worker->timers, &connection->deadline, connection->used_ns + ms * UT_NS_PER_MS);
}

/* A request's time runs from its first byte until its answer has left, however slowly either
 * trickles; then the idle time runs. */
static void note_progress(struct connection *connection)
{
    bool busy = connection->exchange.in_request ||
                ut_http_exchange_pending(&connection->exchange).size != 0;
    if (busy && !connection->busy)
        set_deadline(connection, UT_HTTP_REQUEST_MS);
    else if (!busy)
        set_deadline(connection, UT_HTTP_IDLE_MS);
    connection->busy = busy;
}

static int on_bytes(struct ut_stream *stream, ut_slice bytes)
{
    struct connection *connection = connection_of(stream);
    int error = ut_http_exchange_take(&connection->exchange, bytes);
    note_progress(connection);
    ut_stream_flush_later(stream);
    return error;
}

static int pending(struct ut_stream *stream, struct iovec *runs, size_t room)
{
    ut_slice bytes = ut_http_exchange_pending(&connection_of(stream)->exchange);
    if (bytes.size == 0 || room == 0)
        return 0;
    runs[0] = (struct iovec){.iov_base = (void *)bytes.data, .iov_len = bytes.size};
    return 1;
}

static void consumed(struct ut_stream *stream, size_t bytes)
{
    ut_http_exchange_consumed(&connection_of(stream)->exchange, bytes);
    note_progress(connection_of(stream));
}

static void on_end(struct ut_stream *stream, int error)
{
    (void)error; /* a scraper that went away is nobody's problem */
    struct connection *connection = connection_of(stream);
    struct ut_http_server *server = connection->server;
    ut_timer_cancel(&server->worker->timers, &connection->deadline);
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    server->count--;
}

static void on_closed(struct ut_stream *stream)
{
    struct connection *connection = connection_of(stream);
    struct ut_http_server *server = connection->server;
    ut_http_exchange_done(&connection->exchange);
    free(connection);
    drop_handle(server);
}

static const struct ut_stream_ops stream_ops = {
    .on_bytes = on_bytes,
    .pending = pending,
    .consumed = consumed,
    .on_end = on_end,
    .on_closed = on_closed,
};

static void on_deadline(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    ut_stream_close(&UT_CONTAINER_OF(timer, struct connection, deadline)->stream, -ETIMEDOUT);
}

/* Makes room for one more connection; false where every one is busy. */
static bool evict_idle(struct ut_http_server *server)
{
    struct connection *idlest = NULL;
    for (struct connection *at = server->connections; at != NULL; at = at->next) {
        if (!at->busy && (idlest == NULL || at->used_ns < idlest->used_ns))
            idlest = at;
    }
    if (idlest != NULL)
        ut_stream_close(&idlest->stream, 0);
    return idlest != NULL;
}

static void take_socket(struct ut_http_server *server, int fd)
{
    struct connection *connection = NULL;
    if (server->count < UT_HTTP_CONNECTIONS_MAX || evict_idle(server))
        connection = calloc(1, sizeof(*connection));
    if (connection == NULL ||
        ut_stream_open(&connection->stream, server->worker, fd, &stream_ops)) {
        free(connection);
        close(fd);
        return;
    }
    connection->server = server;
    connection->deadline.fire = on_deadline;
    ut_http_exchange_init(&connection->exchange, server->routes, server->arg);
    connection->next = server->connections;
    if (server->connections != NULL)
        server->connections->previous = connection;
    server->connections = connection;
    server->count++;
    server->alive++;
    /* Who connects and says nothing has no more time than a request. */
    set_deadline(connection, UT_HTTP_REQUEST_MS);
}

/* ---- listening ------------------------------------------------------------------------------- */

struct ut_http_server *ut_http_server_new(struct ut_worker *worker,
                                          const struct ut_http_route *routes, void *arg)
{
    struct ut_http_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return NULL;
    server->worker = worker;
    server->routes = routes;
    server->arg = arg;
    server->alive = 1; /* until it is closed */
    return server;
}

static void on_accept(struct ut_listener *listener, int fd, const struct ut_endpoint *peer)
{
    (void)peer;
    take_socket(UT_CONTAINER_OF(listener, struct ut_http_server, listener), fd);
}

static void on_listener_closed(struct ut_listener *listener)
{
    drop_handle(UT_CONTAINER_OF(listener, struct ut_http_server, listener));
}

int ut_http_server_listen(struct ut_http_server *server, const char *endpoint, char *error,
                          size_t error_size)
{
    static const struct ut_listener_ops ops = {
        .on_accept = on_accept,
        .on_closed = on_listener_closed,
    };
    int code =
        ut_listener_open(&server->listener, server->worker, endpoint, &ops, error, error_size);
    if (code != 0)
        return code;
    server->listening = true;
    server->alive++;
    return 0;
}

uint16_t ut_http_server_port(const struct ut_http_server *server)
{
    return server->listening ? server->listener.port : 0;
}

void ut_http_server_close(struct ut_http_server *server)
{
    if (server == NULL || server->closing)
        return;
    server->closing = true;
    if (server->listening)
        ut_listener_close(&server->listener);
    for (struct connection *at = server->connections, *next; at != NULL; at = next) {
        next = at->next;
        ut_stream_close(&at->stream, 0);
    }
    drop_handle(server);
}
