/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 client on a real socket for tests of the otlp receiver: it sends bytes as they are
 * written in the test and reads whole answers.
 */
#ifndef UT_TEST_HTTP_HARNESS_H
#define UT_TEST_HTTP_HARNESS_H

#include "grpc_harness.h"

struct http_client {
    int fd;
    bool ended; /* by the server, orderly or not */
    char in[64 << 10];
    size_t in_size;
};

struct http_answer {
    int status; /* 0: none came */
    char head[4096];
    char body[4096];
    size_t body_size;
};

static inline void http_harness_defaults(struct harness *harness)
{
    harness_defaults(harness, "localhost:0");
    harness->settings.protocols.has_http = true;
    struct ut_otlp_http_settings *http = &harness->settings.protocols.http;
    static char endpoint[] = "localhost:0", traces[] = "/v1/traces", metrics[] = "/v1/metrics",
                logs[] = "/v1/logs";
    http->endpoint = endpoint;
    http->traces_url_path = traces;
    http->metrics_url_path = metrics;
    http->logs_url_path = logs;
    http->max_request_body_size = 64 << 20;
    http->limits.max_concurrent_streams = 128;
    http->limits.max_connections = 64;
    http->limits.max_header_bytes = 16 << 10;
    http->limits.max_header_fields = 128;
    http->read_header_timeout_ns = 10 * UT_NS_PER_S;
    http->limits.read_timeout_ns = 60 * UT_NS_PER_S;
    http->limits.write_timeout_ns = 30 * UT_NS_PER_S;
    http->limits.receive_grace_ns = 10 * UT_NS_PER_S;
    http->keep_alives_enabled = true;
}

/* Starts the harness; its clients connect to the port of HTTP from now on. */
static inline void http_harness_start(struct harness *harness, size_t budget)
{
    harness_start(harness, budget);
    harness->port = UT_CONTAINER_OF(harness->receiver, struct ut_otlp_receiver, base)
                        ->ports[UT_TRANSPORT_HTTP]
                        .listener.port;
}

/* Why it does not start; the harness may be started again afterwards. */
static inline int harness_start_error(struct harness *harness, char error[UT_ERROR_TEXT])
{
    int code = harness_try_start(harness, 1 << 20, error);
    cr_assert_neq(code, 0);
    if (harness->receiver != NULL)
        ut_receiver_otlp.free(harness->receiver);
    ut_worker_done(&harness->worker);
    ut_metrics_free(harness->metrics);
    return code;
}

static inline struct http_client *http_connect(const struct harness *harness)
{
    struct http_client *client = calloc(1, sizeof(*client));
    cr_assert_not_null(client);
    client->fd = harness_socket(harness, false);
    return client;
}

static inline void http_disconnect(struct http_client *client)
{
    close(client->fd);
    free(client);
}

/* Sends all of it, in pieces; what the server no longer takes is let go. */
static inline void http_send_pieces(struct harness *harness, struct http_client *client,
                                    const void *data, size_t size, size_t piece)
{
    const char *bytes = data;
    uint64_t start_ns = ut_clock_monotonic_ns();
    for (size_t at = 0; at < size && !harness_late(start_ns, 20);) {
        size_t n = size - at < piece ? size - at : piece;
        ssize_t sent = send(client->fd, bytes + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            return;
        at += sent > 0 ? (size_t)sent : 0;
        harness_turn(harness);
    }
}

static inline void http_send(struct harness *harness, struct http_client *client, const char *text)
{
    http_send_pieces(harness, client, text, strlen(text), SIZE_MAX / 2);
}

static inline void http_read(struct http_client *client)
{
    ssize_t got = recv(client->fd, client->in + client->in_size,
                       sizeof(client->in) - client->in_size, MSG_DONTWAIT);
    if (got > 0)
        client->in_size += (size_t)got;
    else if (client->in_size < sizeof(client->in) && (got == 0 || errno != EAGAIN))
        client->ended = true;
}

static inline size_t http_number(const char *text)
{
    size_t number = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (size_t)(*text - '0');
    return number;
}

/* Takes one answer out of what was read; false: it is not whole yet. `head_only`: to HEAD. */
static inline bool http_take(struct http_client *client, struct http_answer *answer, bool head_only)
{
    char *end = memmem(client->in, client->in_size, "\r\n\r\n", 4);
    if (end == NULL)
        return false;
    size_t head = (size_t)(end - client->in) + 4;
    cr_assert_lt(head, sizeof(answer->head));
    memset(answer, 0, sizeof(*answer));
    memcpy(answer->head, client->in, head);
    cr_assert_eq(memcmp(answer->head, "HTTP/1.1 ", 9), 0, "%s", answer->head);
    answer->status = (int)http_number(answer->head + 9);
    const char *length = strstr(answer->head, "\r\nContent-Length: ");
    if (length != NULL && !head_only)
        answer->body_size = http_number(length + 18);
    cr_assert_lt(answer->body_size, sizeof(answer->body));
    if (client->in_size < head + answer->body_size)
        return false;
    memcpy(answer->body, client->in + head, answer->body_size);
    client->in_size -= head + answer->body_size;
    memmove(client->in, client->in + head + answer->body_size, client->in_size);
    return true;
}

/* The next answer; status 0 where the connection ends without one. */
static inline struct http_answer http_await(struct harness *harness, struct http_client *client,
                                            bool head_only)
{
    struct http_answer answer = {0};
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!http_take(client, &answer, head_only)) {
        answer.status = 0;
        if (client->ended)
            return answer;
        cr_assert(!harness_late(start_ns, 20), "an answer comes");
        harness_turn(harness);
        http_read(client);
    }
    return answer;
}

/* Whether the server ends the connection within a short while; half of it, where we still send. */
static inline bool http_is_ended(struct harness *harness, struct http_client *client)
{
    for (int i = 0; i < 200 && !client->ended; i++) {
        harness_turn(harness);
        http_read(client);
    }
    return client->ended;
}

static inline void http_post(struct harness *harness, struct http_client *client, const void *body,
                             size_t size)
{
    char head[256];
    int length = snprintf(head, sizeof(head),
                          "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
                          "Content-Type: application/x-protobuf\r\nContent-Length: %zu\r\n\r\n",
                          size);
    http_send_pieces(harness, client, head, (size_t)length, SIZE_MAX / 2);
    if (size > 0)
        http_send_pieces(harness, client, body, size, SIZE_MAX / 2);
}

/* The same in chunks of `piece` bytes. */
static inline void http_post_chunked(struct harness *harness, struct http_client *client,
                                     const void *body, size_t size, size_t piece)
{
    const uint8_t *bytes = body;
    http_send(harness, client,
              "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
              "Content-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        char line[24];
        int length = snprintf(line, sizeof(line), "%zx\r\n", n);
        http_send_pieces(harness, client, line, (size_t)length, SIZE_MAX / 2);
        http_send_pieces(harness, client, bytes + at, n, SIZE_MAX / 2);
        http_send(harness, client, "\r\n");
    }
    http_send(harness, client, "0\r\n\r\n");
}

#endif
