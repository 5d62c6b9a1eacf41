/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS between a connection and its stream: moves bytes, and says why a connection failed.
 *
 * A connection that failed, or came without TLS, is answered (an alert, or a 400) and reads on for
 * a moment, so that the answer is not lost to a reset.
 */
#include <errno.h>

#include "receiver.h"

struct secured {
    struct ut_tls tls;
    struct ut_otlp_connection *connection;
};

static struct secured *secured_of(struct ut_tls *tls)
{
    return UT_CONTAINER_OF(tls, struct secured, tls);
}

static void on_open(struct ut_tls *tls)
{
    struct ut_otlp_connection *connection = secured_of(tls)->connection;
    ++*connection->port->tls.handshakes[ut_tls_is_resumed(tls)];
    connection->calls.certificate = ut_otlp_auth_certificate(connection->port->auth.names, tls);
    const struct ut_config_identity *identity = connection->receiver->build.identity;
    if (identity != NULL && ut_otlp_auth_certificate(&identity->forwarders.cert_names, tls) ==
                                UT_AUTH_CERTIFICATE_ALLOWED)
        connection->sender.is_forwarder = true;
}

static int on_bytes(struct ut_tls *tls, ut_slice bytes)
{
    return ut_otlp_connection_receive(secured_of(tls)->connection, bytes);
}

static int on_pending(struct ut_tls *tls, struct iovec *runs, size_t room)
{
    return ut_otlp_connection_pending(secured_of(tls)->connection, runs, room);
}

static void on_consumed(struct ut_tls *tls, size_t bytes)
{
    ut_otlp_connection_consumed(secured_of(tls)->connection, bytes);
}

static const struct ut_tls_ops tls_ops = {
    .on_open = on_open,
    .on_bytes = on_bytes,
    .pending = on_pending,
    .consumed = on_consumed,
};

int ut_otlp_secure_open(struct ut_otlp_connection *connection)
{
    struct ut_tls_end *end = &connection->port->tls;
    struct secured *secured = ut_pool_alloc(&end->worker->pool, sizeof(*secured));
    if (secured == NULL)
        return -ENOMEM;
    secured->connection = connection;
    ut_tls_init(&secured->tls, end->context, end->channel, &tls_ops);
    connection->tls = &secured->tls;
    return 0;
}

void ut_otlp_secure_close(struct ut_otlp_connection *connection, int error)
{
    struct ut_tls *tls = connection->tls;
    struct ut_tls_end *end = &connection->port->tls;
    if (tls == NULL)
        return;
    /* One that was too slow is counted as that. */
    if (tls->state == UT_TLS_HANDSHAKE && error != -ETIMEDOUT)
        ++*end->failures[UT_TLS_FAILURE_CLOSED];
    ut_tls_done(tls);
    ut_pool_free(&end->worker->pool, secured_of(tls));
    connection->tls = NULL;
}

static void log_failure(const struct ut_otlp_connection *connection, const struct ut_tls_why *why)
{
    char peer[UT_OTLP_PEER_TEXT];
    const struct ut_otlp_receiver *receiver = connection->receiver;
    ut_log_cause(
        receiver->worker->log, UT_LOG_WARN, "tls_failed", ut_tls_failure_name(why->failure),
        "receiver=%s transport=%s reason=%s detail=\"%s\" %s advice=\"%s\"", receiver->id,
        ut_otlp_transport_name(connection->port->transport), ut_tls_failure_name(why->failure),
        why->detail, ut_otlp_peer_text(peer, connection), ut_tls_failure_advice(why));
}

int ut_otlp_secure_receive(struct ut_otlp_connection *connection, ut_slice bytes)
{
    struct ut_tls *tls = connection->tls;
    bool failed = tls->state == UT_TLS_FAILED;
    int error = ut_tls_receive(tls, bytes);
    if (connection->tls == NULL) /* an answer has closed the connection */
        return 0;
    if (tls->state == UT_TLS_FAILED) {
        if (!failed) {
            ++*connection->port->tls.failures[tls->why.failure];
            log_failure(connection, &tls->why);
        }
        ut_stream_finish(&connection->stream);
        return 0;
    }
    if (tls->state == UT_TLS_CLOSED) /* as where the peer closes its half of the socket */
        ut_stream_end_when_flushed(&connection->stream);
    return error;
}

int ut_otlp_secure_pending(struct ut_otlp_connection *connection, struct iovec *runs, size_t room)
{
    const struct ut_stream *stream = &connection->stream;
    int count = ut_tls_pending(connection->tls, runs, room);
    if (count != 0 || (!stream->end_when_flushed && !stream->finishing))
        return count;
    ut_tls_close(connection->tls);
    return ut_tls_pending(connection->tls, runs, room);
}
