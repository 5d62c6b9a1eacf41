/* SPDX-License-Identifier: Apache-2.0 */
#include "net/link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/link_connection.h"

#define PAUSE_FIRST_NS (100 * UT_NS_PER_MS)
#define PAUSE_MOST_NS (5 * UT_NS_PER_S)
#define PROBE_NS (2500 * UT_NS_PER_MS)
/* Of PROBE_NS, without a byte from the peer. */
#define PROBE_TURNS 4

/* ---- pause between attempts ----------------------------------------------------------------- */

static void begin_connect(struct ut_link *link)
{
    const char *host = link->address[0] != '\0' ? link->address : link->options.endpoint.host;
    ut_connector_start(&link->connector, link->worker, host, link->options.endpoint.port,
                       link->options.connect_timeout_ns);
}

/* xorshift64: the jitter only has to differ between processes. */
static uint64_t next_random(struct ut_link *link)
{
    link->random ^= link->random << 13;
    link->random ^= link->random >> 7;
    link->random ^= link->random << 17;
    return link->random;
}

/* The attempt that has just ended brought nothing: the next one waits 100 ms × 2ⁿ, at most 5 s, of
 * which up to one half is taken off at random. */
static void count_failure(struct ut_link *link)
{
    uint64_t pause = PAUSE_FIRST_NS << (link->failures < 6 ? link->failures : 6);
    pause = pause < PAUSE_MOST_NS ? pause : PAUSE_MOST_NS;
    pause -= next_random(link) % (pause / 2);
    link->failures++;
    link->next_start_ns = ut_worker_now(link->worker) + pause;
}

static void on_pause_over(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    begin_connect(UT_CONTAINER_OF(timer, struct ut_link, pause));
}

void ut_link_praise(struct ut_link *link, const struct ut_link_call *call)
{
    call->connection->answered = true;
    link->failures = 0;
    link->next_start_ns = 0;
}

/* ---- stop ----------------------------------------------------------------------------------- */

static void on_stopped(struct ut_deferred *deferred)
{
    struct ut_link *link = UT_CONTAINER_OF(deferred, struct ut_link, stopped);
    link->options.on_stopped(link);
}

static void check_stopped(struct ut_link *link)
{
    if (link->stopping && link->connections == NULL && !link->connector.busy)
        ut_worker_defer(link->worker, &link->stopped);
}

/* ---- a connection --------------------------------------------------------------------------- */

static struct ut_link_connection *connection_of(struct ut_stream *stream)
{
    return UT_CONTAINER_OF(stream, struct ut_link_connection, stream);
}

/* It takes no more calls: the next ones go to a new connection, at once if this one was of use. */
static void retire(struct ut_link_connection *connection)
{
    struct ut_link *link = connection->link;
    char reason[160];
    link->current = NULL;
    if (!connection->answered && !connection->given_up)
        count_failure(link);
    ut_log(link->worker->log, UT_LOG_INFO, "export_connection_retired",
           "exporter=%s address=%s reason=%s calls=%" PRIu32, link->options.id, connection->where,
           ut_log_quote(reason, sizeof(reason),
                        connection->given_up ? "replaced" : connection->client.reason),
           ut_h2_client_calls(&connection->client));
    link->options.on_ready(link);
}

/* After anything that may have changed what the session can do. */
static void look_after(struct ut_link_connection *connection)
{
    struct ut_link *link = connection->link;
    if (ut_h2_client_accepts(&connection->client) && !connection->given_up)
        return;
    if (link->current == connection)
        retire(connection);
    if (ut_h2_client_calls(&connection->client) == 0)
        ut_stream_end_when_flushed(&connection->stream);
}

int ut_link_connection_receive(struct ut_link_connection *connection, ut_slice bytes)
{
    int error = ut_h2_client_receive(&connection->client, bytes);
    look_after(connection);
    return error;
}

void ut_link_connection_consumed(struct ut_link_connection *connection, size_t bytes)
{
    ut_h2_client_consumed(&connection->client, bytes);
    look_after(connection);
}

static int on_bytes(struct ut_stream *stream, ut_slice bytes)
{
    struct ut_link_connection *connection = connection_of(stream);
    int error = connection->secure ? ut_link_secure_receive(connection, bytes)
                                   : ut_link_connection_receive(connection, bytes);
    ut_stream_flush_later(stream);
    return error;
}

static int on_pending(struct ut_stream *stream, struct iovec *runs, size_t room)
{
    struct ut_link_connection *connection = connection_of(stream);
    return connection->secure ? ut_link_secure_pending(connection, runs, room)
                              : ut_h2_client_pending(&connection->client, runs, room);
}

static void on_consumed(struct ut_stream *stream, size_t bytes)
{
    struct ut_link_connection *connection = connection_of(stream);
    *connection->link->sent_bytes += bytes;
    if (connection->secure)
        ut_tls_consumed(&connection->tls, bytes);
    else
        ut_link_connection_consumed(connection, bytes);
}

/* What to look at when a connection has ended with `error`. */
static const char *advice_for(const struct ut_link_connection *connection, int error)
{
    bool was_heard = connection->stream.bytes_in > 0;
    if (was_heard || connection->secure || connection->link->stopping)
        return "";
    return error == 0 || error == -ECONNRESET
               ? " before it said a word: if it wants TLS, write the endpoint with https://"
               : "";
}

/* Why the connection has ended, into the link's `trouble`. Whether TLS was the reason. */
static bool describe_end(struct ut_link_connection *connection, int error)
{
    struct ut_link *link = connection->link;
    const char *reason = connection->client.reason;
    char text[304];
    bool by_tls = connection->secure && ut_link_secure_ended(connection, error, text, sizeof(text));
    if (by_tls)
        (void)snprintf(link->trouble, sizeof(link->trouble), "no TLS with %s: %s",
                       connection->where, text);
    else
        (void)snprintf(link->trouble, sizeof(link->trouble), "connection to %s lost: %s%s%s%s",
                       connection->where,
                       link->stopping ? "stopping"
                       : error == 0   ? "closed by the backend"
                                      : ut_connector_error_text(error),
                       advice_for(connection, error), reason[0] != '\0' ? ": " : "", reason);
    return by_tls;
}

static void on_end(struct ut_stream *stream, int error)
{
    struct ut_link_connection *connection = connection_of(stream);
    struct ut_link *link = connection->link;
    char text[sizeof(link->trouble) + 32];
    bool expected =
        !describe_end(connection, error) &&
        (link->stopping || (error == 0 && ut_h2_client_calls(&connection->client) == 0));
    ut_log_cause(link->worker->log, expected ? UT_LOG_DEBUG : UT_LOG_WARN, "export_connection_lost",
                 link->options.id, "exporter=%s calls=%" PRIu32 " error=%s", link->options.id,
                 ut_h2_client_calls(&connection->client),
                 ut_log_quote(text, sizeof(text), link->trouble));
    ut_patience_cancel(&connection->probe);
    ut_patience_cancel(&connection->keepalive);
    if (link->securing == connection)
        (*link->connect_failures)++;
    if (link->current == connection || link->securing == connection) {
        link->current = link->securing = NULL;
        if (!connection->answered)
            count_failure(link);
    }
    ut_h2_client_lost(&connection->client);
    if (!link->stopping)
        link->options.on_ready(link);
}

static void on_closed(struct ut_stream *stream)
{
    struct ut_link_connection *connection = connection_of(stream);
    struct ut_link *link = connection->link;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        link->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    link->connection_count--;
    ut_h2_client_done(&connection->client);
    ut_pool_free(&link->worker->pool, connection);
    check_stopped(link);
}

static const struct ut_stream_ops stream_ops = {
    .on_bytes = on_bytes,
    .pending = on_pending,
    .consumed = on_consumed,
    .on_end = on_end,
    .on_closed = on_closed,
};

/* The handshake, or a PING, is unanswered. As long as bytes leave, the peer is slow but there; its
 * host may also take for ever what it reads no more, while sends that are tried again keep leaving.
 */
static void on_probe(struct ut_patience *patience, uint64_t now_ns)
{
    struct ut_link_connection *connection =
        UT_CONTAINER_OF(patience, struct ut_link_connection, probe);
    if (connection->link->securing == connection) {
        ut_stream_close(&connection->stream, -ETIMEDOUT);
        return;
    }
    if (!connection->client.ping_outstanding)
        return;
    const struct ut_stream *stream = &connection->stream;
    bool silent = stream->bytes_in == connection->probe_bytes_in;
    if (stream->bytes_out == connection->probe_bytes_out ||
        (silent && --connection->probe_turns == 0)) {
        ut_stream_close(&connection->stream, -ETIMEDOUT);
        return;
    }
    connection->probe_bytes_out = stream->bytes_out;
    ut_patience_begin(patience, &connection->link->worker->timers, now_ns, PROBE_NS);
}

static void probe(struct ut_link_connection *connection)
{
    struct ut_worker *worker = connection->link->worker;
    if (ut_patience_has_begun(&connection->probe))
        return;
    ut_h2_client_ping(&connection->client);
    connection->probe_bytes_out = connection->stream.bytes_out;
    connection->probe_bytes_in = connection->stream.bytes_in;
    connection->probe_turns = PROBE_TURNS;
    ut_patience_begin(&connection->probe, &worker->timers, ut_worker_now(worker), PROBE_NS);
}

/* ---- signs of life --------------------------------------------------------------------------- */

static void watch_life(struct ut_link_connection *connection, uint64_t after_ns, bool asked)
{
    struct ut_worker *worker = connection->link->worker;
    connection->keepalive_asked = asked;
    connection->keepalive_bytes_in = connection->stream.bytes_in;
    ut_patience_begin(&connection->keepalive, &worker->timers, ut_worker_now(worker), after_ns);
}

/* Nothing may have come for a while. Whatever comes is an answer. */
static void on_keepalive(struct ut_patience *patience, uint64_t now_ns)
{
    struct ut_link_connection *connection =
        UT_CONTAINER_OF(patience, struct ut_link_connection, keepalive);
    const struct ut_link_keepalive *keepalive = &connection->link->options.keepalive;
    bool silent = connection->stream.bytes_in == connection->keepalive_bytes_in;
    bool wanted = keepalive->permit_without_stream || ut_h2_client_calls(&connection->client) > 0;
    (void)now_ns;
    if (silent && connection->keepalive_asked) {
        ut_stream_close(&connection->stream, -ETIMEDOUT);
    } else if (silent && wanted) {
        ut_h2_client_ping(&connection->client);
        ut_stream_flush_later(&connection->stream);
        watch_life(connection, keepalive->timeout_ns, true);
    } else {
        watch_life(connection, keepalive->time_ns, false);
    }
}

void ut_link_connection_ready(struct ut_link_connection *connection)
{
    struct ut_link *link = connection->link;
    if (link->options.keepalive.time_ns > 0)
        watch_life(connection, link->options.keepalive.time_ns, false);
    ut_patience_cancel(&connection->probe);
    link->securing = NULL;
    link->current = connection;
    link->trouble[0] = '\0';
    (*link->connects)++;
    ut_log_cause(link->worker->log, UT_LOG_INFO, "export_connected", link->options.id,
                 "exporter=%s address=%s tls=%s", link->options.id, connection->where,
                 connection->secure ? SSL_get_version(connection->tls.ssl) : "no");
    /* The sends that wait can go. */
    link->options.on_ready(link);
}

/* TLS first, where the link has it; the connection takes calls when the handshake is through. */
static int secure(struct ut_link_connection *connection)
{
    struct ut_link *link = connection->link;
    if (link->options.tls == NULL)
        return 0;
    link->securing = connection;
    int error = ut_link_secure_open(connection);
    if (error != 0)
        return error;
    ut_patience_begin(&connection->probe, &link->worker->timers, ut_worker_now(link->worker),
                      link->options.connect_timeout_ns);
    return 0;
}

/* Takes the descriptor over, also on failure. */
static int open_connection(struct ut_link *link, int fd)
{
    struct ut_worker *worker = link->worker;
    const struct ut_h2_client_options options = {.headers = link->options.headers,
                                                 .header_count = link->options.header_count};
    struct ut_link_connection *connection = ut_pool_alloc(&worker->pool, sizeof(*connection));
    int error = -ENOMEM;
    if (connection == NULL)
        goto fail;
    *connection = (struct ut_link_connection){
        .link = link, .probe = {.over = on_probe}, .keepalive = {.over = on_keepalive}};
    memcpy(connection->where, link->connector.where, sizeof(connection->where));
    error = ut_h2_client_init(&connection->client, &worker->pool, &options);
    if (error != 0)
        goto fail;
    error = ut_stream_open(&connection->stream, worker, fd, &stream_ops);
    if (error != 0) {
        ut_h2_client_done(&connection->client);
        goto fail;
    }
    connection->next = link->connections;
    if (link->connections != NULL)
        link->connections->previous = connection;
    link->connections = connection;
    link->connection_count++;
    error = secure(connection);
    if (error != 0) { /* which ends in on_end */
        ut_stream_close(&connection->stream, error);
        return 0;
    }
    ut_stream_flush_later(&connection->stream);
    if (!connection->secure)
        ut_link_connection_ready(connection);
    return 0;
fail:
    ut_pool_free(&worker->pool, connection);
    close(fd);
    return error;
}

/* ---- connecting ----------------------------------------------------------------------------- */

static void report_failure(struct ut_link *link, int error)
{
    const struct ut_endpoint_text *endpoint = &link->options.endpoint;
    const char *where = link->connector.where;
    char text[sizeof(link->trouble) + 32];
    (*link->connect_failures)++;
    count_failure(link);
    (void)snprintf(link->trouble, sizeof(link->trouble), "cannot %s %.100s: %s%s",
                   where[0] != '\0' ? "connect to" : "resolve",
                   where[0] != '\0' ? where : endpoint->host, ut_connector_error_text(error),
                   ut_connector_advice(error));
    ut_log_cause(link->worker->log, UT_LOG_WARN, "export_connect_failed", link->options.id,
                 "exporter=%s endpoint=%s:%u error=%s retry_ms=%" PRIu64, link->options.id,
                 endpoint->host, endpoint->port, ut_log_quote(text, sizeof(text), link->trouble),
                 (link->next_start_ns - ut_worker_now(link->worker)) / UT_NS_PER_MS);
}

static void on_connector_done(struct ut_connector *connector, int fd, int error)
{
    struct ut_link *link = UT_CONTAINER_OF(connector, struct ut_link, connector);
    if (link->stopping) {
        if (fd >= 0)
            close(fd);
        check_stopped(link);
        return;
    }
    if (error == 0)
        error = open_connection(link, fd);
    if (error == 0)
        return;
    if (error == -ECANCELED) /* by ut_link_move: there is an address now */
        ut_link_connect(link);
    else
        report_failure(link, error);
    /* The sends that wait ask for the next attempt. */
    link->options.on_ready(link);
}

void ut_link_connect(struct ut_link *link)
{
    struct ut_worker *worker = link->worker;
    if (link->stopping || link->current != NULL || link->securing != NULL || link->connector.busy ||
        ut_timer_is_set(&link->pause))
        return;
    if (ut_worker_now(worker) < link->next_start_ns)
        ut_timer_set(&worker->timers, &link->pause, link->next_start_ns);
    else
        begin_connect(link);
}

bool ut_link_rests(const struct ut_link *link)
{
    return ut_timer_is_set(&link->pause);
}

void ut_link_renew(struct ut_link *link)
{
    struct ut_link_connection *connection = link->current;
    if (connection == NULL)
        return;
    connection->given_up = true;
    look_after(connection);
}

void ut_link_move(struct ut_link *link, const char *address)
{
    if (strcmp(link->address, address) == 0)
        return;
    (void)snprintf(link->address, sizeof(link->address), "%s", address);
    link->failures = 0;
    link->next_start_ns = 0;
    ut_connector_cancel(&link->connector);
    if (link->securing != NULL)
        ut_stream_close(&link->securing->stream, -ECANCELED);
    ut_link_renew(link);
}

/* ---- calls ---------------------------------------------------------------------------------- */

int ut_link_submit(struct ut_link *link, struct ut_link_call *call)
{
    struct ut_link_connection *connection = link->current;
    if (connection == NULL || ut_h2_client_submit(&connection->client, &call->call) != 0)
        return -EAGAIN;
    call->connection = connection;
    ut_stream_flush_later(&connection->stream);
    return 0;
}

void ut_link_cancel(struct ut_link *link, struct ut_link_call *call)
{
    (void)link;
    struct ut_link_connection *connection = call->connection;
    ut_h2_client_cancel(&connection->client, &call->call);
    probe(connection);
    ut_stream_flush_later(&connection->stream);
    ut_h2_client_deliver(&connection->client);
    look_after(connection);
}

/* ---- life ----------------------------------------------------------------------------------- */

static double read_connections(void *arg)
{
    const struct ut_link *link = arg;
    return link->connection_count;
}

static void register_metrics(struct ut_link *link)
{
    struct ut_metrics *metrics = link->worker->metrics;
    char label[160];
    char number[32] = "";
    if (link->options.number >= 0)
        (void)snprintf(number, sizeof(number), ",connection=\"%d\"", link->options.number);
    (void)snprintf(label, sizeof(label), "exporter=\"%.100s\"%s", link->options.id, number);
    link->connects = ut_metrics_counter(metrics, "undertrace_exporter_connects", label,
                                        "Connections opened to the backend.");
    link->connect_failures = ut_metrics_counter(metrics, "undertrace_exporter_connect_failures",
                                                label, "Attempts to connect that failed.");
    link->sent_bytes = ut_metrics_counter(metrics, "undertrace_exporter_sent_bytes", label,
                                          "Bytes written to the backend.");
    ut_metrics_gauge(metrics, "undertrace_exporter_connections", label,
                     "Open connections to the backend.", read_connections, link);
}

void ut_link_init(struct ut_link *link, struct ut_worker *worker,
                  const struct ut_link_options *options)
{
    *link = (struct ut_link){
        .worker = worker,
        .options = *options,
        .connector = {.done = on_connector_done},
        .pause = {.fire = on_pause_over},
        .stopped = {.run = on_stopped},
        .random = (ut_clock_unix_ns() ^ (uint64_t)(uintptr_t)link ^ (uint64_t)getpid() << 40) | 1,
    };
    register_metrics(link);
}

void ut_link_done(struct ut_link *link)
{
    UT_CHECK(link->connections == NULL && !link->connector.busy);
    ut_timer_cancel(&link->worker->timers, &link->pause);
    ut_worker_undefer(link->worker, &link->stopped);
    ut_metrics_remove(link->worker->metrics, link);
}

void ut_link_stop(struct ut_link *link)
{
    link->stopping = true;
    ut_timer_cancel(&link->worker->timers, &link->pause);
    ut_connector_cancel(&link->connector);
    struct ut_link_connection *next;
    for (struct ut_link_connection *connection = link->connections; connection != NULL;
         connection = next) {
        next = connection->next;
        ut_stream_close(&connection->stream, 0);
    }
    check_stopped(link);
}
