/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 without sockets: what comes in and what goes out, byte for byte where it matters. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "web/http_exchange.h"

static void serve_hello(void *arg, struct ut_http_response *response)
{
    ++*(int *)arg;
    response->body = strdup("hello\n");
    response->size = 6;
}

static void serve_nothing(void *arg, struct ut_http_response *response)
{
    (void)arg, (void)response;
}

static void serve_large(void *arg, struct ut_http_response *response)
{
    (void)arg;
    response->size = (size_t)1 << 20;
    response->body = calloc(1, response->size);
}

static const struct ut_http_route routes[] = {
    {"/hello", serve_hello, false},
    {"/none", serve_nothing, false},
    {"/large", serve_large, false},
    {"/act", serve_hello, true},
    {NULL, NULL, false},
};

static int served;

static void setup(struct ut_http_exchange *exchange)
{
    served = 0;
    ut_http_exchange_init(exchange, routes, &served);
}

/* Feeds the text `step` bytes at a time; the first error that comes. */
static int feed_size(struct ut_http_exchange *exchange, const char *text, size_t size, size_t step)
{
    for (size_t at = 0; at < size; at += step) {
        size_t piece = size - at < step ? size - at : step;
        int error = ut_http_exchange_take(exchange, ut_slice_of(text + at, piece));
        if (error != 0)
            return error;
    }
    return 0;
}

static int feed(struct ut_http_exchange *exchange, const char *text)
{
    return feed_size(exchange, text, strlen(text), strlen(text));
}

/* What is pending, as a text; it counts as sent. */
static const char *take_output(struct ut_http_exchange *exchange)
{
    static char text[4096];
    ut_slice pending = ut_http_exchange_pending(exchange);
    size_t size = pending.size < sizeof(text) - 1 ? pending.size : sizeof(text) - 1;
    if (size != 0)
        memcpy(text, pending.data, size);
    text[size] = '\0';
    ut_http_exchange_consumed(exchange, pending.size);
    return text;
}

#define HELLO                                                                                      \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n"          \
    "Cache-Control: no-store\r\n\r\n"

Test(http_exchange, a_request_is_answered_however_it_is_cut)
{
    static const char request[] = "GET /hello?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
    for (size_t step = 1; step < sizeof(request); step++) {
        struct ut_http_exchange exchange;
        setup(&exchange);
        cr_expect_eq(feed_size(&exchange, request, sizeof(request) - 1, step), 0);
        cr_expect_str_eq(take_output(&exchange), HELLO "hello\n");
        cr_expect_eq(served, 1);
        cr_expect_not(exchange.in_request);
        ut_http_exchange_done(&exchange);
    }
}

Test(http_exchange, keep_alive_and_pipelining_answer_in_order)
{
    struct ut_http_exchange exchange;
    setup(&exchange);
    cr_expect_eq(feed(&exchange, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                                 "GET /nope HTTP/1.1\r\nHost: a\r\n\r\n"
                                 "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
                 0);
    const char *out = take_output(&exchange);
    const char *second = strstr(out, "hello\nHTTP/1.1 404 Not Found\r\n");
    cr_assert_not_null(second, "%s", out);
    cr_expect_not_null(strstr(second, "404 Not Found\n" HELLO));
    cr_expect_str_eq(out + strlen(out) - strlen(HELLO), HELLO, "HEAD has no body");
    cr_expect_eq(served, 2);
    ut_http_exchange_done(&exchange);
}

Test(http_exchange, closing_is_the_clients_choice)
{
    struct ut_http_exchange exchange;
    setup(&exchange);
    cr_expect_neq(feed(&exchange, "GET /hello HTTP/1.1\r\nConnection: close\r\n\r\nGET /hello"), 0);
    cr_expect_not_null(strstr(take_output(&exchange), "Connection: close\r\n\r\nhello\n"));
    cr_expect_eq(served, 1, "nothing is read behind the last request");
    ut_http_exchange_done(&exchange);
    setup(&exchange);
    cr_expect_neq(feed(&exchange, "GET /hello HTTP/1.0\r\n\r\n"), 0);
    ut_http_exchange_done(&exchange);
}

Test(http_exchange, an_offer_to_upgrade_is_left_aside)
{
    struct ut_http_exchange exchange;
    setup(&exchange);
    cr_expect_eq(feed(&exchange, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, "
                                 "HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
                                 "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
                 0);
    cr_expect_eq(served, 2);
    cr_expect_not_null(strstr(take_output(&exchange), HELLO "hello\n"));
    ut_http_exchange_done(&exchange);
}

static void expect_status(const char *request, int error, const char *status)
{
    struct ut_http_exchange exchange;
    setup(&exchange);
    cr_expect_eq(feed(&exchange, request), error, "%.40s", request);
    const char *out = take_output(&exchange);
    cr_expect(strncmp(out, status, strlen(status)) == 0, "%.40s: %.40s", request, out);
    cr_expect_eq(strstr(out, "Connection: close") != NULL, error != 0);
    ut_http_exchange_done(&exchange);
}

Test(http_exchange, other_requests_are_refused_with_their_status)
{
    expect_status("POST /hello HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", 0,
                  "HTTP/1.1 405 Method Not Allowed\r\n");
    expect_status("GET / HTTP/1.1\r\n\r\n", 0, "HTTP/1.1 404 Not Found\r\n");
    expect_status("GET /hell HTTP/1.1\r\n\r\n", 0, "HTTP/1.1 404 Not Found\r\n");
    expect_status("GET /none HTTP/1.1\r\n\r\n", 0, "HTTP/1.1 500 Internal Server Error\r\n");
    expect_status("\x16\x03\x01 hello", -EBADMSG, "HTTP/1.1 400 Bad Request\r\n");
    expect_status("GET /hello HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
                  -EBADMSG, "HTTP/1.1 400 Bad Request\r\n");
    expect_status("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", -EBADMSG, "HTTP/1.1 400 Bad Request\r\n");
}

Test(http_exchange, what_acts_is_asked_for_by_post_alone)
{
    expect_status("POST /act HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 0, "HTTP/1.1 200 OK\r\n");
    struct ut_http_exchange exchange;
    setup(&exchange);
    cr_expect_eq(feed(&exchange, "GET /act HTTP/1.1\r\n\r\n"), 0);
    const char *out = take_output(&exchange);
    cr_expect_not_null(strstr(out, "HTTP/1.1 405 Method Not Allowed\r\n"), "%s", out);
    cr_expect_not_null(strstr(out, "\r\nAllow: POST\r\n"), "%s", out);
    cr_expect_eq(served, 0);
    ut_http_exchange_done(&exchange);
}

Test(http_exchange, a_long_path_is_known_nowhere)
{
    char request[1024] = "GET /hello";
    memset(request + 10, 'x', 500);
    snprintf(request + 510, sizeof(request) - 510, " HTTP/1.1\r\n\r\n");
    expect_status(request, 0, "HTTP/1.1 404 Not Found\r\n");
}

Test(http_exchange, heads_and_bodies_are_bounded)
{
    size_t size = 64 << 10;
    char *request = malloc(size);
    cr_assert_not_null(request);
    int head = snprintf(request, size, "GET /hello HTTP/1.1\r\nX: ");
    memset(request + head, 'x', size - (size_t)head - 1);
    request[size - 1] = '\0';
    expect_status(request, -EBADMSG, "HTTP/1.1 431 Request Header Fields Too Large\r\n");

    head = snprintf(request, size, "GET /hello HTTP/1.1\r\n");
    for (int i = 0; i < 4000; i++)
        head += snprintf(request + head, size - (size_t)head, "a:b\r\n");
    expect_status(request, -EBADMSG, "HTTP/1.1 431 Request Header Fields Too Large\r\n");

    head = snprintf(request, size, "POST /hello HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
    memset(request + head, 'x', size - (size_t)head - 1);
    request[size - 1] = '\0';
    expect_status(request, -EBADMSG, "HTTP/1.1 413 Content Too Large\r\n");
    free(request);
}

Test(http_exchange, answers_that_nobody_takes_are_bounded)
{
    struct ut_http_exchange exchange;
    setup(&exchange);
    int error = 0, requests = 0;
    for (; error == 0 && requests < 100; requests++)
        error = feed(&exchange, "GET /large HTTP/1.1\r\n\r\n");
    cr_expect_eq(error, -ENOBUFS);
    cr_expect_leq(ut_http_exchange_pending(&exchange).size, UT_HTTP_OUTPUT_MAX);
    ut_http_exchange_done(&exchange);
}

Test(http_exchange, an_idle_connection_keeps_no_memory)
{
    struct ut_http_exchange exchange;
    setup(&exchange);
    cr_expect_eq(feed(&exchange, "GET /large HTTP/1.1\r\n\r\n"), 0);
    cr_expect_not_null(exchange.output);
    (void)take_output(&exchange);
    cr_expect_null(exchange.output);
}
