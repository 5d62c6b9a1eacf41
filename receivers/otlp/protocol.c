/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 and HTTP/1.1 under one table, for connection.c. */
#include <errno.h>

#include "receiver.h"

static uint64_t oldest_arriving(const struct ut_calls *calls)
{
    uint64_t oldest_ns = UINT64_MAX;
    for (const struct ut_call *call = calls->arriving; call != NULL; call = call->next)
        oldest_ns = call->began_ns < oldest_ns ? call->began_ns : oldest_ns;
    return oldest_ns;
}

/* ---- HTTP/2 --------------------------------------------------------------------------------- */

static int init_h2(struct ut_otlp_connection *connection)
{
    return ut_h2_calls_init(&connection->h2, &connection->calls, &connection->port->h2_limits);
}

static void count_hit(struct ut_otlp_connection *connection)
{
    const struct ut_h2_server *h2 = &connection->h2.h2;
    enum ut_h2_hit hit = h2->ended_by;
    if (hit == UT_H2_HIT_NONE && h2->broken)
        hit = UT_H2_HIT_PROTOCOL;
    if (hit != UT_H2_HIT_NONE)
        ut_otlp_connection_count(connection,
                                 (enum ut_otlp_limit)(UT_OTLP_LIMIT_H2 + (unsigned)hit));
}

static void done_h2(struct ut_otlp_connection *connection)
{
    count_hit(connection);
    ut_h2_calls_done(&connection->h2);
}

static int receive_h2(struct ut_otlp_connection *connection, ut_slice bytes)
{
    return ut_h2_server_receive(&connection->h2.h2, bytes, connection->heard_ns);
}

static int pending_h2(struct ut_otlp_connection *connection, struct iovec *runs, size_t room)
{
    struct ut_h2_server *h2 = &connection->h2.h2;
    int count = ut_h2_server_pending(h2, runs, room);
    if (count == 0 && ut_h2_server_is_finished(h2))
        ut_stream_end_when_flushed(&connection->stream);
    return count;
}

static void consumed_h2(struct ut_otlp_connection *connection, size_t bytes)
{
    ut_h2_server_consumed(&connection->h2.h2, bytes);
}

static void drain_h2(struct ut_otlp_connection *connection)
{
    ut_h2_server_drain(&connection->h2.h2);
}

static void progress_h2(struct ut_otlp_connection *connection, uint64_t now_ns,
                        struct ut_otlp_progress *out)
{
    struct ut_h2_server *h2 = &connection->h2.h2;
    if (!h2->greeted || !h2->acknowledged)
        out->handshake_ns = connection->opened_ns;
    if (h2->header_since_ns != 0)
        out->header_ns = h2->header_since_ns;
    out->body_ns = oldest_arriving(&connection->calls);
    out->answer_ns = ut_h2_server_answer_since(h2, now_ns);
    out->output = &h2->output;
}

static void ping_h2(struct ut_otlp_connection *connection)
{
    ut_h2_server_ping(&connection->h2.h2);
}

static const struct ut_otlp_protocol h2_protocol = {
    .init = init_h2,
    .done = done_h2,
    .receive = receive_h2,
    .pending = pending_h2,
    .consumed = consumed_h2,
    .drain = drain_h2,
    .ping = ping_h2,
    .progress = progress_h2,
};

/* ---- HTTP/1.1 ------------------------------------------------------------------------------- */

static int init_http1(struct ut_otlp_connection *connection)
{
    ut_http1_init(&connection->http1, &connection->calls, &connection->port->http1_limits);
    return 0;
}

static void done_http1(struct ut_otlp_connection *connection)
{
    ut_http1_done(&connection->http1);
}

static int receive_http1(struct ut_otlp_connection *connection, ut_slice bytes)
{
    int error = ut_http1_receive(&connection->http1, bytes, connection->heard_ns);
    if (ut_http1_is_full(&connection->http1))
        ut_stream_pause(&connection->stream, true);
    return error;
}

static int pending_http1(struct ut_otlp_connection *connection, struct iovec *runs, size_t room)
{
    struct ut_http1 *http1 = &connection->http1;
    int count = ut_http1_pending(http1, runs, room);
    if (connection->stream.read_paused && !ut_http1_is_full(http1))
        ut_stream_pause(&connection->stream, false);
    if (count != 0 || !ut_http1_is_finished(http1))
        return count;
    if (http1->whole)
        ut_stream_end_when_flushed(&connection->stream);
    else
        ut_stream_finish(&connection->stream);
    return 0;
}

static void consumed_http1(struct ut_otlp_connection *connection, size_t bytes)
{
    ut_http1_consumed(&connection->http1, bytes);
}

static void drain_http1(struct ut_otlp_connection *connection)
{
    ut_http1_drain(&connection->http1);
}

static void progress_http1(struct ut_otlp_connection *connection, uint64_t now_ns,
                           struct ut_otlp_progress *out)
{
    (void)now_ns;
    const struct ut_http1 *http1 = &connection->http1;
    bool body;
    uint64_t since_ns = ut_http1_arriving_since(http1, &body);
    *(body ? &out->body_ns : &out->header_ns) = since_ns;
    out->output = &http1->output;
}

static const struct ut_otlp_protocol http1_protocol = {
    .init = init_http1,
    .done = done_http1,
    .receive = receive_http1,
    .pending = pending_http1,
    .consumed = consumed_http1,
    .drain = drain_http1,
    .progress = progress_http1,
};

/* ---- which of them -------------------------------------------------------------------------- */

const struct ut_otlp_protocol *ut_otlp_protocol_of(ut_slice opening, bool *ret_wrong)
{
    /* The preface of RFC 9113 3.4 up to where no method of HTTP/1 can be. */
    static const char preface[] = "PRI ";
    enum { TLS_HANDSHAKE = 0x16 };
    size_t size = opening.size < UT_OTLP_OPENING ? opening.size : UT_OTLP_OPENING;
    *ret_wrong = size > 0 && opening.data[0] == TLS_HANDSHAKE;
    if (*ret_wrong || size == 0)
        return NULL;
    if (memcmp(opening.data, preface, size) != 0)
        return &http1_protocol;
    return size == UT_OTLP_OPENING ? &h2_protocol : NULL;
}

const struct ut_otlp_protocol *ut_otlp_protocol_agreed(enum ut_tls_protocol agreed)
{
    static const struct ut_otlp_protocol *const protocols[] = {
        [UT_TLS_ALPN_NONE] = NULL,
        [UT_TLS_ALPN_H2] = &h2_protocol,
        [UT_TLS_ALPN_HTTP1] = &http1_protocol,
    };
    return protocols[agreed];
}
