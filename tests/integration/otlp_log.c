/* SPDX-License-Identifier: Apache-2.0 */
/* What the otlp receiver says of what it does not take: one cause hides no other, and each line
 * names what was reached and who came. The limit is one of real time: a slow machine may write more
 * lines of a flood than its burst. */
#include "base/log_limit.h"
#include "http_harness.h"
#include "otlp_builder.h"
#include <sys/resource.h>

#define MIB ((size_t)1 << 20)

static struct harness harness;
static int ends[2];
static char text[64 << 10];

static void set_up(void)
{
    http_harness_defaults(&harness);
}

static void tear_down(void)
{
    struct ut_log *log = harness.worker.log;
    harness_done(&harness);
    ut_log_free(log);
    close(ends[0]);
    close(ends[1]);
}

TestSuite(otlp_log, .init = set_up, .fini = tear_down);

/* From now on the log goes into a pipe. */
static void start(void)
{
    http_harness_start(&harness, 64 * MIB);
    cr_assert_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    harness.worker.log = ut_log_new(ends[1], UT_LOG_INFO);
    cr_assert_not_null(harness.worker.log);
}

/* How many lines hold `words`, of all that were written so far. */
static unsigned lines_with(const char *words)
{
    size_t size = strlen(text);
    ssize_t got = read(ends[0], text + size, sizeof(text) - 1 - size);
    unsigned count = 0;
    text[size + (got > 0 ? (size_t)got : 0)] = '\0';
    for (const char *at = text; (at = strstr(at, words)) != NULL; at++)
        count++;
    return count;
}

static struct ut_otlp_port *http_port(void)
{
    return &UT_CONTAINER_OF(harness.receiver, struct ut_otlp_receiver, base)
                ->ports[UT_TRANSPORT_HTTP];
}

static double hits(const char *limit)
{
    char line[160];
    snprintf(line, sizeof(line),
             "undertrace_receiver_limit_hits_total{receiver=\"otlp\",transport=\"http\","
             "limit=\"%s\"",
             limit);
    return harness_metric(&harness, line);
}

static void await_connections(uint32_t count)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (http_port()->connection_count != count && !harness_late(start_ns, 10)) {
        harness_turn(&harness);
        usleep(200);
    }
    cr_assert_eq(http_port()->connection_count, count);
}

/* The server ends the connection, if not before, then once it has these bytes. */
static void expect_cut(const char *bytes)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, bytes);
    while (!client->ended && !harness_late(start_ns, 10)) {
        harness_turn(&harness);
        http_read(client);
    }
    cr_expect(client->ended, "%s", bytes);
    http_disconnect(client);
}

Test(otlp_log, a_flood_at_one_limit_does_not_hide_another)
{
    start();
    for (int i = 0; i < 10; i++)
        expect_cut("\x16\x03\x01\x02"); /* TLS where there is none */
    cr_expect_eq(lines_with("event=receiver_limit receiver=otlp limit=protocol peer=127.0.0.1 "),
                 5);
    await_connections(0);
    http_port()->connections_per_address = 1;
    struct http_client *first = http_connect(&harness);
    await_connections(1);
    for (int i = 0; i < 10; i++)
        expect_cut("");
    cr_expect_geq(lines_with("event=connection_refused receiver=otlp "
                             "limit=connections_per_address open=1 "),
                  UT_LOG_LIMIT_BURST);
    http_port()->connections_max = 1;
    expect_cut("");
    cr_expect_eq(lines_with("event=connection_refused receiver=otlp limit=connections open=1 "), 1);
    cr_expect_eq(hits("connections"), 1);
    cr_expect_eq(hits("connections_per_address"), 10);
    http_disconnect(first);
}

Test(otlp_log, noise_about_wrong_requests_hides_no_body_that_does_not_parse)
{
    static const uint8_t bytes[] = {0xff, 0xff};
    start();
    struct http_client *client = http_connect(&harness);
    for (int i = 0; i < 10; i++) {
        http_send(&harness, client,
                  "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        cr_expect_eq(http_await(&harness, client, false).status, 404);
    }
    http_post(&harness, client, bytes, sizeof(bytes));
    cr_expect_eq(http_await(&harness, client, false).status, 400);
    http_send(&harness, client,
              "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
              "Content-Length: 5\r\n\r\n{\"a\n\"");
    cr_expect_eq(http_await(&harness, client, false).status, 400);
    cr_expect_geq(lines_with("event=request_refused receiver=otlp transport=http reason="),
                  UT_LOG_LIMIT_BURST + 2);
    cr_expect_eq(lines_with("reason=\"the request does not parse: "), 1);
    cr_expect_eq(lines_with("reason=\"the request is not OTLP's JSON: "), 1);
    cr_expect_geq(lines_with(" peer=127.0.0.1 port="), UT_LOG_LIMIT_BURST + 2);
    http_disconnect(client);
}

Test(otlp_log, spans_that_are_left_out_are_told_of)
{
    start();
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = otlp_request_of(2, 0);
    http_post(&harness, client, request.data, request.size);
    cr_expect_eq(http_await(&harness, client, false).status, 200);
    cr_expect_eq(lines_with("event=spans_left_out"), 0);
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    for (int i = 0; i < 3; i++)
        otlp_end(&request, otlp_begin(&request, 2)); /* a span without ids */
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    http_post(&harness, client, request.data, request.size);
    cr_expect_eq(http_await(&harness, client, false).status, 200);
    cr_expect_eq(harness.target.spans, 4);
    cr_expect_eq(lines_with("event=spans_left_out receiver=otlp transport=http spans=3 reason=\""),
                 1);
    otlp_free(&request);
    http_disconnect(client);
}

Test(otlp_log, descriptors_that_run_out_are_told_of_with_what_helps)
{
    struct rlimit limit;
    start();
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct http_client *client = http_connect(&harness);
    struct rlimit low = {.rlim_cur = (rlim_t)client->fd + 1, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (lines_with(" event=accept_paused reason=\"Too many open files\" ") == 0 &&
           !harness_late(start_ns, 10))
        harness_turn(&harness);
    setrlimit(RLIMIT_NOFILE, &limit);
    cr_expect_geq(lines_with("text=\"connections wait unaccepted; descriptors are short where "
                             "RLIMIT_NOFILE "),
                  1);
    await_connections(1);
    http_disconnect(client);
}

/* A file is nothing that the loop can poll. */
Test(otlp_log, a_connection_that_cannot_be_opened_is_not_counted_as_one_too_many)
{
    start();
    const struct ut_endpoint peer = {.port = 4711};
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    ut_otlp_connection_open(http_port(), fd, &peer);
    cr_expect_eq(fcntl(fd, F_GETFD), -1, "it is closed");
    cr_expect_eq(hits("resources"), 1);
    cr_expect_eq(hits("connections"), 0);
    cr_expect_eq(http_port()->connection_count, 0);
    cr_expect_eq(lines_with("event=connection_refused receiver=otlp limit=resources open=0 "
                            "error=\"Operation not permitted\" text=\"closed at once, for memory"),
                 1);
}
