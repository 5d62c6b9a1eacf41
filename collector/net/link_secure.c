/* SPDX-License-Identifier: Apache-2.0 */
/* TLS between a connection's HTTP/2 and its stream. */
#include <errno.h>
#include <stdio.h>

#include "net/link_connection.h"

static struct ut_link_connection *connection_of(struct ut_tls *tls)
{
    return UT_CONTAINER_OF(tls, struct ut_link_connection, tls);
}

static void on_open(struct ut_tls *tls)
{
    struct ut_link_connection *connection = connection_of(tls);
    ++*connection->link->options.tls->handshakes[ut_tls_is_resumed(tls)];
    ut_link_connection_ready(connection);
}

static int on_bytes(struct ut_tls *tls, ut_slice bytes)
{
    return ut_link_connection_receive(connection_of(tls), bytes);
}

static int on_pending(struct ut_tls *tls, struct iovec *runs, size_t room)
{
    return ut_h2_client_pending(&connection_of(tls)->client, runs, room);
}

static void on_consumed(struct ut_tls *tls, size_t bytes)
{
    ut_link_connection_consumed(connection_of(tls), bytes);
}

static const struct ut_tls_ops tls_ops = {
    .on_open = on_open,
    .on_bytes = on_bytes,
    .pending = on_pending,
    .consumed = on_consumed,
};

static const char *host_of(const struct ut_link *link)
{
    const char *name = link->options.tls->settings->server_name_override;
    return name != NULL ? name : link->options.endpoint.host;
}

int ut_link_secure_open(struct ut_link_connection *connection)
{
    const struct ut_tls_end *end = connection->link->options.tls;
    int error = ut_tls_init_client(&connection->tls, end->context, end->channel, &tls_ops,
                                   host_of(connection->link));
    connection->secure = error == 0;
    return error;
}

static enum ut_tls_failure failure_of(const struct ut_tls *tls)
{
    if (tls->state == UT_TLS_FAILED)
        return tls->why.failure;
    return tls->state == UT_TLS_HANDSHAKE ? UT_TLS_FAILURE_CLOSED : UT_TLS_FAILURE_NONE;
}

bool ut_link_secure_ended(struct ut_link_connection *connection, int error, char *out, size_t size)
{
    struct ut_link *link = connection->link;
    struct ut_tls *tls = &connection->tls;
    enum ut_tls_failure failure = link->stopping ? UT_TLS_FAILURE_NONE : failure_of(tls);
    bool late = failure == UT_TLS_FAILURE_CLOSED && error == -ETIMEDOUT;
    if (failure != UT_TLS_FAILURE_NONE && !late)
        ++*link->options.tls->failures[failure];
    if (late)
        (void)snprintf(out, size, "the backend did not finish the TLS handshake in time");
    else if (failure != UT_TLS_FAILURE_NONE)
        (void)ut_tls_client_trouble(tls, out, size);
    ut_tls_done(tls);
    return failure != UT_TLS_FAILURE_NONE;
}

int ut_link_secure_receive(struct ut_link_connection *connection, ut_slice bytes)
{
    int error = ut_tls_receive(&connection->tls, bytes);
    if (error == 0 && connection->tls.state == UT_TLS_CLOSED)
        ut_stream_end_when_flushed(&connection->stream);
    return error;
}

int ut_link_secure_pending(struct ut_link_connection *connection, struct iovec *runs, size_t room)
{
    int count = ut_tls_pending(&connection->tls, runs, room);
    if (count != 0 || !connection->stream.end_when_flushed)
        return count;
    ut_tls_close(&connection->tls);
    return ut_tls_pending(&connection->tls, runs, room);
}
