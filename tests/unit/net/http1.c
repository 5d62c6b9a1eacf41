/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 without a socket: the test gives the bytes, in pieces of its choice, and reads what the
 * connection has to say. What statuses wrong requests get is in integration/http_requests.c. */
#include "net/http1.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define MIB ((size_t)1 << 20)
#define HEAD "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"

static struct ut_pool pool;
static struct ut_budget budget;
static struct ut_calls calls;
static struct ut_http1 http1;
static char out[256 << 10];
static size_t out_size;

static struct {
    int messages, gone, refused[UT_REFUSALS], answered[600], wakes;
    size_t size;
    uint8_t sum;
    bool keep; /* the newest call, unanswered */
    struct ut_call *call;
} seen;

static void on_message(struct ut_call *call)
{
    seen.messages++;
    seen.size = call->segment->size;
    for (size_t i = 0; i < call->segment->size; i++)
        seen.sum = (uint8_t)(seen.sum * 31 + call->segment->data[i]);
    struct ut_segment *segment = call->segment;
    call->segment = NULL;
    ut_budget_return(&budget, ut_call_settle(call));
    ut_segment_unref(segment);
    if (seen.keep)
        seen.call = call;
    else
        ut_call_succeed(call, UT_SLICE("reply"));
}

static void on_gone(struct ut_call *call)
{
    (void)call;
    seen.gone++;
}

static void on_answered(struct ut_calls *c, enum ut_transport transport, int status)
{
    (void)c;
    cr_assert_eq(transport, UT_TRANSPORT_HTTP);
    seen.answered[status]++;
}

static void on_refused(struct ut_calls *c, enum ut_transport transport, enum ut_refusal why,
                       const char *text)
{
    (void)c, (void)transport;
    cr_assert_not_null(text);
    seen.refused[why]++;
}

static void wake(struct ut_calls *c)
{
    (void)c;
    seen.wakes++;
}

static const struct ut_service service = {
    .http_path = "/v1/traces",
    .http_metrics_path = "/v1/metrics",
    .http_logs_path = "/v1/logs",
    .body_bytes_max = 64 * MIB,
    .retry_after_ms = 1000,
    .on_message = on_message,
    .on_gone = on_gone,
    .on_answered = on_answered,
    .on_refused = on_refused,
    .wake = wake,
};

static const struct ut_http1_limits limits = {.header_bytes = 4096, .header_fields = 50};

static void set_up(void)
{
    ut_pool_init(&pool, 8 * MIB);
    ut_budget_init(&budget, 128 * MIB);
    ut_calls_init(&calls, &pool, &budget, &service);
    ut_http1_init(&http1, &calls, &limits);
    out_size = 0;
}

static void tear_down(void)
{
    ut_http1_done(&http1);
    cr_expect_eq(budget.used, 0, "every charge was given back");
    ut_pool_done(&pool);
}

TestSuite(http1, .init = set_up, .fini = tear_down);

/* Takes what is pending; it stays in `out` as one text. */
static void take(void)
{
    struct iovec runs[8];
    int count;
    while ((count = ut_http1_pending(&http1, runs, 8)) > 0) {
        size_t size = 0;
        for (int i = 0; i < count; i++) {
            cr_assert_lt(out_size + runs[i].iov_len, sizeof(out));
            memcpy(out + out_size, runs[i].iov_base, runs[i].iov_len);
            out_size += runs[i].iov_len;
            size += runs[i].iov_len;
        }
        ut_http1_consumed(&http1, size);
    }
    cr_assert_eq(count, 0);
    out[out_size] = '\0';
}

static bool give(const void *data, size_t size, size_t piece)
{
    const uint8_t *bytes = data;
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        /* An exact copy, so that a read beyond the piece is found. */
        uint8_t *copy = malloc(n);
        cr_assert_not_null(copy);
        memcpy(copy, bytes + at, n);
        int error = ut_http1_receive(&http1, ut_slice_of(copy, n), UT_NS_PER_S);
        free(copy);
        if (error != 0)
            return false;
        cr_assert_geq(calls.account.charged, calls.held);
        cr_assert_lt(calls.account.charged, calls.held + UT_BUDGET_STEP);
        take();
        if (ut_http1_is_full(&http1))
            return false;
    }
    return true;
}

static bool say(const char *text)
{
    return give(text, strlen(text), SIZE_MAX / 2);
}

static int count_of(const char *part)
{
    int count = 0;
    for (const char *p = out; (p = strstr(p, part)) != NULL; p++)
        count++;
    return count;
}

/* A whole request with a body of `size` bytes, chunked by `chunk` where that is not 0. */
static uint8_t *make_request(size_t size, size_t chunk, size_t *ret_size)
{
    uint8_t *request = malloc(size * 8 + 1024);
    cr_assert_not_null(request);
    char *p = (char *)request;
    if (chunk == 0)
        p += snprintf(p, 512, HEAD "Content-Length: %zu\r\n\r\n", size);
    else
        p += snprintf(p, 512, HEAD "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < size;) {
        size_t n = chunk == 0 || size - at < chunk ? size - at : chunk;
        if (chunk > 0)
            p += snprintf(p, 32, "%zX\r\n", n);
        for (size_t end = at + n; at < end; at++)
            *p++ = (char)(at * 7 + at / 251);
        if (chunk > 0)
            p += snprintf(p, 8, "\r\n");
    }
    if (chunk > 0)
        p += snprintf(p, 8, "0\r\n\r\n");
    *ret_size = (size_t)(p - (char *)request);
    return request;
}

static void post(size_t size, size_t chunk, size_t piece)
{
    size_t whole;
    uint8_t *request = make_request(size, chunk, &whole);
    cr_assert(give(request, whole, piece));
    free(request);
}

Test(http1, message_is_the_same_however_its_bytes_are_cut)
{
    static const size_t pieces[] = {1, 2, 3, 7, 64, 4096, 16393, 262144};
    static const size_t chunks[] = {0, 1, 5, 4096, 100000};
    uint8_t sum = 0;
    for (size_t i = 0; i < 8; i++) {
        for (size_t k = 0; k < 5; k++) {
            seen.sum = 0;
            post(10000, chunks[k], pieces[i]);
            cr_assert_eq(seen.size, 10000, "pieces of %zu, chunks of %zu", pieces[i], chunks[k]);
            if (i == 0 && k == 0)
                sum = seen.sum;
            cr_assert_eq(seen.sum, sum, "pieces of %zu, chunks of %zu", pieces[i], chunks[k]);
        }
    }
    cr_expect_eq(seen.messages, 40);
    cr_expect_eq(count_of("HTTP/1.1 200 OK\r\n"), 40);
    cr_expect_eq(count_of("\r\n\r\nreply"), 40);
}

Test(http1, idle_connection_has_no_memory)
{
    post(1000, 0, 4096);
    post(200000, 1000, 65536);
    cr_expect_eq(pool.in_use, 0, "%zu", pool.in_use);
    cr_expect_leq(sizeof(http1), 400);
}

Test(http1, steady_requests_ask_the_system_for_no_memory)
{
    uint64_t before = 0;
    for (int i = 0; i < 200; i++) {
        if (i == 20)
            before = pool.system_calls;
        post(500, 0, 65536);
        post(200000, 0, 65536);
        post(200000, 30000, 65536);
        out_size = 0;
    }
    cr_expect_eq(pool.system_calls, before);
}

Test(http1, charge_follows_the_bytes_that_came)
{
    cr_assert(say(HEAD "Content-Length: 33554432\r\n\r\n"));
    cr_expect_eq(budget.used, 0, "32 MiB were only declared");
    uint8_t *some = calloc(1, MIB);
    cr_assert(give(some, MIB, 65536));
    free(some);
    cr_expect_geq(budget.used, MIB);
    cr_expect_leq(budget.used, MIB + 2 * UT_BUDGET_STEP);
}

Test(http1, chunked_body_costs_at_most_four_times_what_came)
{
    cr_assert(say(HEAD "Transfer-Encoding: chunked\r\n\r\n1000000\r\n"));
    cr_expect_eq(budget.used, 0);
    uint8_t *some = calloc(1, MIB);
    cr_assert(give(some, 3000, 1000));
    cr_expect_leq(budget.used, 3 * UT_BUDGET_STEP);
    cr_assert(give(some, MIB, 65536));
    cr_expect_leq(budget.used, 4 * MIB);
    free(some);
}

Test(http1, eviction_refuses_what_arrives_and_the_connection_goes_on)
{
    cr_assert(say(HEAD "Content-Length: 2000\r\n\r\n"));
    static char body[2000];
    cr_assert(give(body, 1000, 1000));
    cr_assert_gt(calls.account.charged, 0);
    calls.account.evict(&calls.account);
    cr_expect_eq(calls.account.charged, 0);
    cr_expect_eq(seen.wakes, 1);
    take();
    cr_expect_eq(count_of("HTTP/1.1 503 Service Unavailable\r\n"), 1);
    cr_expect_eq(count_of("\r\nRetry-After: 1\r\n"), 1);
    cr_assert(give(body, 1000, 100));
    post(10, 0, 100);
    cr_expect_eq(count_of("HTTP/1.1 200 OK\r\n"), 1);
    cr_expect_eq(count_of("Connection: close"), 0);
}

Test(http1, what_comes_behind_a_late_answer_is_kept_and_paid_for)
{
    static uint8_t bytes[4096];
    size_t first, second;
    uint8_t *request = make_request(10, 0, &first);
    memcpy(bytes, request, first);
    free(request);
    request = make_request(700, 0, &second);
    memcpy(bytes + first, request, second);
    free(request);
    seen.keep = true;
    cr_expect_not(give(bytes, first + second, sizeof(bytes)));
    cr_expect(ut_http1_is_full(&http1));
    cr_expect_geq(budget.used, second);
    cr_expect_eq(seen.messages, 1);
    seen.keep = false;
    ut_call_succeed(seen.call, (ut_slice){0});
    take();
    cr_expect_not(ut_http1_is_full(&http1));
    cr_expect_eq(seen.messages, 2);
    cr_expect_eq(seen.size, 700);
    cr_expect_eq(count_of("HTTP/1.1 200 OK\r\n"), 2);
    cr_expect_eq(budget.used, 0);
}

Test(http1, what_cannot_be_kept_ends_the_connection_without_a_word)
{
    seen.keep = true;
    budget.limit = 2 * UT_BUDGET_STEP;
    cr_assert(ut_budget_take(&budget, UT_BUDGET_STEP));
    cr_assert(say(HEAD "\r\n"));
    cr_assert(ut_budget_take(&budget, UT_BUDGET_STEP));
    cr_expect_eq(ut_http1_receive(&http1, UT_SLICE(HEAD "\r\n"), 1), -ENOMEM);
    ut_budget_return(&budget, 2 * UT_BUDGET_STEP);
}

Test(http1, answers_wait_for_a_client_that_does_not_read)
{
    static char text[16 << 10];
    size_t size = 0;
    while (size < sizeof(text) - 128)
        size += (size_t)snprintf(text + size, 128, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_assert_eq(ut_http1_receive(&http1, ut_slice_of(text, size), 1), 0);
    cr_expect(ut_http1_is_full(&http1), "no more are taken than there is room for answers");
    cr_expect_leq(pool.in_use, 64 << 10);
    take();
    cr_expect_eq((size_t)count_of("HTTP/1.1 404 Not Found\r\n"), size / 28);
    cr_expect_eq(seen.answered[404], count_of("HTTP/1.1 404 Not Found\r\n"));
}

Test(http1, client_that_goes_away_is_told_once_and_only_while_unanswered)
{
    seen.keep = true;
    cr_assert(say(HEAD "\r\n"));
    ut_http1_done(&http1);
    cr_expect_eq(seen.gone, 1);
    cr_expect_eq(calls.waiting, 0);
    ut_http1_init(&http1, &calls, &limits);
    cr_assert(say(HEAD "\r\n"));
    ut_call_fail(seen.call, UT_GRPC_UNAVAILABLE, 20, "later");
    ut_http1_done(&http1);
    cr_expect_eq(seen.gone, 1);
    cr_expect_eq(seen.answered[503], 1);
    ut_http1_init(&http1, &calls, &limits);
}

Test(http1, expectation_is_answered_only_where_the_body_waits_for_it)
{
    cr_assert(say(HEAD "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    cr_expect_str_eq(out, "HTTP/1.1 100 Continue\r\n\r\n");
    cr_assert(say("ab"));
    cr_expect_eq(count_of("200 OK"), 1);
    cr_assert(say(HEAD "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab"));
    cr_expect_eq(count_of("100 Continue"), 1);
    cr_assert(say(HEAD "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"));
    cr_expect_eq(count_of("100 Continue"), 1);
    cr_expect_eq(count_of("200 OK"), 3);
    cr_assert(say(HEAD "Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"));
    cr_expect_eq(count_of("413 Content Too Large"), 1);
    cr_expect(ut_http1_is_finished(&http1));
}

Test(http1, drain_lets_the_present_request_finish)
{
    seen.keep = true;
    cr_assert(say(HEAD "\r\n"));
    ut_http1_drain(&http1);
    cr_expect_not(ut_http1_is_finished(&http1));
    ut_call_succeed(seen.call, (ut_slice){0});
    take();
    cr_expect_eq(count_of("\r\nConnection: close\r\n"), 1);
    cr_expect(ut_http1_is_finished(&http1));
    cr_expect(http1.whole);
    cr_assert(say(HEAD "\r\n"));
    cr_expect_eq(seen.messages, 1, "what comes after it is thrown away");
}

Test(http1, drain_ends_an_idle_connection_at_once)
{
    post(10, 0, 1000);
    ut_http1_drain(&http1);
    cr_expect(ut_http1_is_finished(&http1));
}

Test(http1, arriving_tells_header_from_body)
{
    bool body;
    cr_expect_eq(ut_http1_arriving_since(&http1, &body), UINT64_MAX);
    cr_assert(say("POST /v1/tra"));
    cr_expect_eq(ut_http1_arriving_since(&http1, &body), UT_NS_PER_S);
    cr_expect_not(body);
    cr_assert(say("ces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                  "Content-Length: 2\r\n\r\n"));
    cr_expect_eq(ut_http1_arriving_since(&http1, &body), UT_NS_PER_S);
    cr_expect(body);
    cr_assert(say("ab"));
    cr_expect_eq(ut_http1_arriving_since(&http1, &body), UINT64_MAX);
}

Test(http1, endless_header_is_cut_at_its_limit)
{
    size_t sent = 0;
    cr_assert(say("GET / HTTP/1.1\r\n"));
    while (!http1.ending && sent < 100000) {
        (void)say("X-Filler: 0123456789\r\n");
        sent += 22;
    }
    cr_expect_leq(sent, limits.header_bytes + 22);
    cr_expect_eq(seen.refused[UT_REFUSED_HEADERS], 1);
    cr_expect_eq(count_of("HTTP/1.1 400"), 1);
}

Test(http1, endless_trailers_are_cut_at_their_limit)
{
    size_t sent = 0;
    cr_assert(say(HEAD "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"));
    while (!http1.ending && sent < 100000) {
        (void)say("X-Filler: 0123456789\r\n");
        sent += 22;
    }
    cr_expect_leq(sent, limits.header_bytes + 22);
}

Test(http1, many_small_chunks_are_no_header)
{
    post(20000, 1, 65536);
    cr_expect_eq(seen.messages, 1);
    cr_expect_eq(count_of("200 OK"), 1);
}

Test(http1, random_bytes_do_no_harm)
{
    uint32_t random = 12345;
    for (int round = 0; round < 2000; round++) {
        tear_down();
        memset(&seen, 0, sizeof(seen));
        set_up();
        size_t size;
        uint8_t *request = make_request(300, round % 2 == 0 ? 0 : 37, &size);
        for (int i = 0; i < 1 + round % 5; i++) {
            random = random * 1664525 + 1013904223;
            request[(random >> 8) % size] ^= (uint8_t)(1u << (random >> 29));
        }
        if (give(request, size, 1 + random % 200))
            (void)give(request, size, size);
        free(request);
        cr_assert_leq(pool.in_use, MIB);
    }
}
