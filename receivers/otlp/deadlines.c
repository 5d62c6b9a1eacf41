/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bounds a connection in time. Nothing here is told when a request begins or an answer goes: a
 * timer looks at what goes on (ut_otlp_progress), once in ut_otlp_longest_look at least, and cuts
 * what is due by then.
 */
#include "base/clock.h"
#include "receiver.h"

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* `since_ns` UINT64_MAX: nothing that could be due. */
static void bound(struct ut_otlp_deadline *deadline, uint64_t since_ns, uint64_t most_ns,
                  enum ut_otlp_limit limit)
{
    if (since_ns == UINT64_MAX || most_ns == UINT64_MAX || since_ns + most_ns >= deadline->due_ns)
        return;
    *deadline = (struct ut_otlp_deadline){since_ns + most_ns, limit};
}

static size_t waiting_bytes(const struct ut_otlp_connection *connection,
                            const struct ut_h2_output *output)
{
    size_t encrypted = connection->tls != NULL ? ut_tls_port_bytes(&connection->tls->port) : 0;
    return ut_h2_output_bytes(output) + encrypted;
}

/* Since when the socket takes nothing. A peer that reads a byte now and then is not let off: what
 * was to go out at the first look must have gone. */
static uint64_t output_since(struct ut_otlp_connection *connection,
                             const struct ut_h2_output *output, uint64_t now_ns)
{
    const struct ut_stream *stream = &connection->stream;
    size_t waiting = waiting_bytes(connection, output);
    /* All may have gone and the socket be full: what comes next cannot go. */
    if (waiting == 0 && !stream->write_blocked)
        return connection->output_since_ns = UINT64_MAX;
    if (connection->output_since_ns == UINT64_MAX || stream->bytes_out >= connection->output_mark) {
        connection->output_since_ns = now_ns;
        connection->output_mark = stream->bytes_out + (waiting > 0 ? waiting : 1);
    }
    return connection->output_since_ns;
}

/* Not all at once where all were opened at once: a tenth earlier or later, as it happens. */
static uint64_t age_of(const struct ut_otlp_connection *connection)
{
    uint64_t age_ns = connection->port->age_ns;
    uint64_t random = connection->sender.socket_cookie * UINT64_C(0x9e3779b97f4a7c15) >> 44;
    return age_ns - age_ns / 10 + age_ns / 5 * random / (1 << 20);
}

static void bound_silence(struct ut_otlp_connection *connection, struct ut_otlp_deadline *deadline)
{
    const struct ut_otlp_port *port = connection->port;
    if (port->ping_after_ns == 0 || connection->protocol->ping == NULL)
        return;
    if (connection->pinged_ns > connection->heard_ns)
        bound(deadline, connection->pinged_ns, port->ping_grace_ns, UT_OTLP_LIMIT_KEEPALIVE);
    else
        bound(deadline, connection->heard_ns, port->ping_after_ns, UT_OTLP_LIMIT_KEEPALIVE);
}

struct ut_otlp_deadline ut_otlp_deadline_of(struct ut_otlp_connection *connection, uint64_t now_ns)
{
    const struct ut_otlp_port *port = connection->port;
    struct ut_otlp_deadline deadline = {UINT64_MAX, UT_OTLP_LIMIT_IDLE};
    struct ut_otlp_progress progress = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, NULL};
    if (connection->protocol == NULL) {
        bound(&deadline, connection->opened_ns, port->handshake_timeout_ns,
              UT_OTLP_LIMIT_HANDSHAKE);
        return deadline;
    }
    connection->protocol->progress(connection, now_ns, &progress);
    uint64_t output_ns = output_since(connection, progress.output, now_ns);
    bound(&deadline, progress.handshake_ns, port->handshake_timeout_ns, UT_OTLP_LIMIT_HANDSHAKE);
    bound(&deadline, progress.header_ns, port->handshake_timeout_ns, UT_OTLP_LIMIT_HEADER_TIME);
    bound(&deadline, progress.body_ns, port->read_timeout_ns, UT_OTLP_LIMIT_READ_TIME);
    bound(&deadline, smaller(progress.answer_ns, output_ns), port->write_timeout_ns,
          UT_OTLP_LIMIT_WRITE_TIME);
    if (progress.body_ns != UINT64_MAX)
        bound(&deadline,
              ut_rate_floor_due(&connection->floor, &port->rate, progress.body_ns,
                                connection->stream.bytes_in, now_ns),
              0, UT_OTLP_LIMIT_RATE);
    if (deadline.due_ns == UINT64_MAX && connection->calls.waiting == 0 && port->idle_ns > 0)
        bound(&deadline, connection->answered_ns, port->idle_ns, UT_OTLP_LIMIT_IDLE);
    if (port->age_ns > 0)
        bound(&deadline, connection->opened_ns, age_of(connection), UT_OTLP_LIMIT_AGE);
    bound_silence(connection, &deadline);
    return deadline;
}

uint64_t ut_otlp_longest_look(const struct ut_otlp_port *port)
{
    uint64_t body_ns = smaller(port->read_timeout_ns, port->handshake_timeout_ns);
    uint64_t rate_ns = port->rate.rate > 0 ? port->rate.grace_ns : UINT64_MAX;
    return smaller(smaller(body_ns, rate_ns), port->write_timeout_ns);
}
