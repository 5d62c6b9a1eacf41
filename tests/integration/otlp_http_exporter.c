/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp_http exporter on a real loop against a backend in the same process. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "http_backend.h"
#include "otlp/json.h"
#include "otlp_batch.h"
#include "otlp_http_exporter/settings.h"

TestSuite(otlp_http, .timeout = 60);

extern const struct ut_exporter_type ut_exporter_otlp_http;

enum { ITEMS_MAX = 64, TEXT = 600, SPANS = 10 };

struct test_item {
    struct ut_item item;
    struct ut_batch *batch;
    int done;
    struct ut_outcome outcome;
    char text[TEXT];
};

struct bench {
    struct ut_worker worker;
    struct http_backend backend;
    struct ut_exporter *exporter;
    struct ut_otlp_http_config config;
    char endpoint[64];
    struct otlp_bytes request;
    struct test_item items[ITEMS_MAX];
    bool stopped;
};

/* ---- the bench ------------------------------------------------------------------------------ */

static void make_request(struct bench *bench, size_t note_bytes)
{
    char *note = calloc(1, note_bytes + 1);
    memset(note, 'n', note_bytes);
    struct otlp_attribute attributes[] = {{"note", note, 0}, {0}};
    struct otlp_span spans[SPANS];
    for (size_t i = 0; i < SPANS; i++)
        spans[i] = (struct otlp_span){.trace_id = 1,
                                      .span_id = i + 1,
                                      .name = "GET /",
                                      .start_ns = 1,
                                      .end_ns = 2,
                                      .attributes = attributes};
    otlp_free(&bench->request);
    otlp_resource_spans(&bench->request, NULL, spans, SPANS);
    free(note);
}

static struct bench *open_bench(const char *answer)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    cr_assert_eq(ut_worker_init(&bench->worker, 64 << 20, NULL, ut_metrics_new()), 0);
    bench->backend.answer = answer;
    http_backend_start(&bench->backend, &bench->worker.uv);
    (void)snprintf(bench->endpoint, sizeof(bench->endpoint), "http://127.0.0.1:%d",
                   bench->backend.port);
    bench->config.endpoint = bench->endpoint;
    bench->config.http.timeout_ns = 30 * UT_NS_PER_S; /* the machine may be busy */
    bench->config.max_message_bytes = 4 << 20;
    make_request(bench, 300);
    return bench;
}

static void start_exporter(struct bench *bench)
{
    struct ut_build build = {.id = "otlp_http", .config = &bench->config, .worker = &bench->worker};
    char error[UT_ERROR_TEXT];
    cr_assert_eq(ut_exporter_otlp_http.create(&bench->exporter, &build), 0);
    cr_assert_eq(ut_exporter_otlp_http.start(bench->exporter, error), 0);
}

static void on_turned(uv_timer_t *timer)
{
    (void)timer;
}

/* Turns the loop for `ms`, or until `count` of the items from the first on are done. */
static void turn(struct bench *bench, size_t count, uint64_t ms)
{
    uv_timer_t timer;
    cr_assert_eq(uv_timer_init(&bench->worker.uv, &timer), 0);
    uv_update_time(&bench->worker.uv);
    uint64_t end_ms = uv_now(&bench->worker.uv) + ms;
    /* A turn that begins with what was waited for would wait for more. */
    cr_assert_eq(uv_timer_start(&timer, on_turned, 5, 5), 0);
    for (bool enough = false; uv_now(&bench->worker.uv) < end_ms && !enough;) {
        (void)uv_run(&bench->worker.uv, UV_RUN_ONCE);
        enough = count > 0;
        for (size_t i = 0; i < count; i++)
            enough = enough && bench->items[i].done > 0;
    }
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&bench->worker.uv, UV_RUN_NOWAIT);
}

static void on_item_done(struct ut_item *base, const struct ut_outcome *outcome)
{
    struct test_item *item = UT_CONTAINER_OF(base, struct test_item, item);
    item->done++;
    item->outcome = *outcome;
    (void)snprintf(item->text, sizeof(item->text), "%s", outcome->text ? outcome->text : "");
    /* Whoever still reads the bytes now reads what was freed. */
    ut_batch_unref(item->batch);
}

static struct test_item *send_item(struct bench *bench, size_t index)
{
    struct test_item *item = &bench->items[index];
    *item = (struct test_item){.batch = otlp_batch(&bench->worker.pool, &bench->request)};
    item->item = (struct ut_item){.batch = item->batch, .span_count = SPANS, .done = on_item_done};
    ut_exporter_otlp_http.send(bench->exporter, &item->item);
    return item;
}

/* Sends one and waits for what becomes of it. */
static struct test_item *ask(struct bench *bench)
{
    struct test_item *item = send_item(bench, 0);
    if (item->done == 0)
        turn(bench, 1, 10000);
    cr_assert_eq(item->done, 1);
    return item;
}

static double connect_failures(const struct bench *bench)
{
    return ut_metrics_sum(bench->worker.metrics, "undertrace_exporter_connect_failures");
}

static void on_stopped(void *arg)
{
    ((struct bench *)arg)->stopped = true;
}

static void close_bench(struct bench *bench)
{
    ut_exporter_otlp_http.stop(bench->exporter, on_stopped, bench);
    for (int i = 0; i < 100 && !bench->stopped; i++)
        turn(bench, 0, 10);
    cr_assert(bench->stopped);
    ut_exporter_otlp_http.free(bench->exporter);
    http_backend_stop(&bench->backend);
    struct ut_metrics *metrics = bench->worker.metrics;
    ut_worker_done(&bench->worker);
    ut_metrics_free(metrics);
    otlp_free(&bench->request);
    free(bench);
}

/* ---- requests ------------------------------------------------------------------------------- */

Test(otlp_http, request_is_the_bytes_of_the_spans)
{
    struct bench *bench = open_bench(NULL);
    struct ut_pair headers[] = {{"X-Tenant", "a b"}, {"X-Empty", ""}, {"User-Agent", "mine"}};
    bench->config.http.headers = (struct ut_pairs){headers, 3};
    start_exporter(bench);
    cr_assert_eq(ask(bench)->outcome.result, UT_SENT);
    const struct http_backend *backend = &bench->backend;
    cr_assert_eq(backend->body_size, bench->request.size);
    cr_assert_eq(memcmp(backend->body, bench->request.data, backend->body_size), 0);
    cr_assert_eq(strncmp(backend->head, "/v1/traces\n", 11), 0, "%s", backend->head);
    cr_assert(strstr(backend->head, "\ncontent-type: application/x-protobuf\n") != NULL);
    cr_assert(strstr(backend->head, "\nx-tenant: a b\n") != NULL, "%s", backend->head);
    cr_assert(strstr(backend->head, "\nx-empty: \n") != NULL, "%s", backend->head);
    cr_assert(strstr(backend->head, "\nuser-agent: mine\n") != NULL, "%s", backend->head);
    cr_assert(strstr(backend->head, "\nexpect") == NULL);
    close_bench(bench);
}

Test(otlp_http, json_is_what_the_reader_takes)
{
    static const struct ut_writer_limits limits = {.bytes_max = 1 << 20};
    struct bench *bench = open_bench(NULL);
    bench->config.encoding = UT_OTLP_HTTP_JSON;
    make_request(bench, 30000);
    start_exporter(bench);
    cr_assert_eq(ask(bench)->outcome.result, UT_SENT);
    const struct http_backend *backend = &bench->backend;
    struct ut_segment *segment;
    struct ut_json_report report;
    cr_assert(strstr(backend->head, "\ncontent-type: application/json\n") != NULL);
    cr_assert_eq(ut_json_to_wire(ut_slice_of(backend->body, backend->body_size),
                                 &bench->worker.pool, &limits, &segment, &report),
                 0);
    cr_assert(ut_slice_equal(ut_slice_of(segment->data, segment->size),
                             ut_slice_of(bench->request.data, bench->request.size)));
    ut_segment_unref(segment);
    close_bench(bench);
}

static void expect_packed(const char *compression, enum ut_coding coding)
{
    struct bench *bench = open_bench(NULL);
    bench->config.http.compression = (char *)(uintptr_t)compression;
    make_request(bench, 30000);
    start_exporter(bench);
    cr_assert_eq(ask(bench)->outcome.result, UT_SENT);
    cr_assert_eq(ask(bench)->outcome.result, UT_SENT);
    const struct http_backend *backend = &bench->backend;
    char field[64];
    (void)snprintf(field, sizeof(field), "\ncontent-encoding: %s\n", compression);
    cr_expect(strstr(backend->head, field) != NULL, "%s", backend->head);
    cr_expect_lt(backend->body_size, bench->request.size / 10);
    struct ut_inflates inflates;
    ut_inflates_init(&inflates, &bench->worker.pool);
    struct ut_inflate *inflate = ut_inflate_take(&inflates, coding);
    size_t room = bench->request.size + (256 << 10);
    struct ut_inflate_body body = {.data = malloc(room), .room = room};
    ut_slice input = ut_slice_of(backend->body, backend->body_size);
    cr_assert_eq(ut_inflate_step(inflate, &input, &body), UT_INFLATE_MORE);
    cr_assert(ut_inflate_is_whole(inflate));
    cr_expect(ut_slice_equal(ut_slice_of(body.data, body.size),
                             ut_slice_of(bench->request.data, bench->request.size)));
    free(body.data);
    ut_inflate_give(&inflates, inflate);
    ut_inflates_done(&inflates);
    close_bench(bench);
}

Test(otlp_http, bodies_are_compressed_where_that_is_wanted)
{
    expect_packed("gzip", UT_CODING_GZIP);
    expect_packed("deflate", UT_CODING_DEFLATE);
    expect_packed("zstd", UT_CODING_ZSTD);
}

Test(otlp_http, connections_are_used_again)
{
    struct bench *bench = open_bench(NULL);
    start_exporter(bench);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(ask(bench)->outcome.result, UT_SENT);
    cr_assert_eq(bench->backend.accepted, 1);
    cr_assert_eq(ut_metrics_sum(bench->worker.metrics, "undertrace_exporter_connects"), 1);
    for (size_t i = 0; i < 30; i++)
        (void)send_item(bench, i);
    turn(bench, 30, 10000);
    for (size_t i = 0; i < 30; i++)
        cr_expect(bench->items[i].done == 1 && bench->items[i].outcome.result == UT_SENT);
    cr_assert_eq(bench->backend.requests, 50);
    close_bench(bench);
}

Test(otlp_http, connection_that_the_backend_gave_up_meanwhile_costs_no_attempt)
{
    struct bench *bench = open_bench(NULL);
    bench->backend.manner = HTTP_STALE;
    start_exporter(bench);
    cr_assert_eq(ask(bench)->outcome.result, UT_SENT);
    cr_assert_eq(ask(bench)->outcome.result, UT_SENT);
    cr_assert_eq(bench->backend.body_size, bench->request.size);
    close_bench(bench);
}

Test(otlp_http, traces_endpoint_is_the_whole_url)
{
    struct bench *bench = open_bench(NULL);
    char url[96];
    (void)snprintf(url, sizeof(url), "%s/other/path?key=1", bench->endpoint);
    bench->config.traces_endpoint = url;
    start_exporter(bench);
    cr_assert_eq(ask(bench)->outcome.result, UT_SENT);
    cr_assert_eq(strncmp(bench->backend.head, "/other/path?key=1\n", 18), 0);
    close_bench(bench);
}

Test(otlp_http, message_above_the_limit_is_not_sent)
{
    struct bench *bench = open_bench(NULL);
    bench->config.max_message_bytes = 2000;
    start_exporter(bench);
    cr_assert_eq(ask(bench)->outcome.result, UT_TOO_LARGE);
    cr_assert_eq(bench->backend.requests, 0);
    close_bench(bench);
}

/* ---- answers -------------------------------------------------------------------------------- */

static struct test_item *answer_with(struct bench **ret, const char *answer)
{
    *ret = open_bench(answer);
    start_exporter(*ret);
    return ask(*ret);
}

Test(otlp_http, retry_after_is_obeyed_in_both_forms)
{
    struct bench *bench;
    struct test_item *item = answer_with(&bench, "HTTP/1.1 503 Unavailable\r\nRetry-After: 7\r\n"
                                                 "Content-Length: 0\r\n\r\n");
    cr_expect(item->outcome.result == UT_RETRY && item->outcome.after_ms == 7000);
    cr_expect_str_eq(item->text, "HTTP status 503");
    char answer[200];
    struct tm tm;
    time_t then = time(NULL) + 60;
    (void)gmtime_r(&then, &tm);
    (void)strftime(answer, sizeof(answer),
                   "HTTP/1.1 429 Slow Down\r\nRetry-After: %a, %d %b %Y %H:%M:%S GMT\r\n"
                   "Content-Length: 0\r\n\r\n",
                   &tm);
    bench->backend.answer = answer;
    item = ask(bench);
    cr_expect_eq(item->outcome.result, UT_RETRY);
    cr_expect(item->outcome.after_ms >= 50000 && item->outcome.after_ms <= 60000, "%u",
              item->outcome.after_ms);
    close_bench(bench);
}

Test(otlp_http, backends_own_words_are_told)
{
    struct bench *bench;
    struct test_item *item = answer_with(
        &bench, "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n"
                "{\"code\":3,\"message\":\"span 7 \\\"bad\\\" at all\"}");
    cr_expect_eq(item->outcome.result, UT_PERMANENT);
    cr_expect_str_eq(item->text, "HTTP status 400: span 7 \"bad\" at all");
    bench->backend.answer = "HTTP/1.1 500 E\r\nContent-Type: application/x-protobuf\r\n"
                            "Content-Length: 10\r\n\r\n\x08\x0d\x12\x06no way";
    item = ask(bench);
    cr_expect_eq(item->outcome.result, UT_PERMANENT);
    cr_expect_str_eq(item->text, "HTTP status 500: no way");
    close_bench(bench);
}

Test(otlp_http, partial_success_is_counted_in_both_encodings)
{
    struct bench *bench;
    struct test_item *item =
        answer_with(&bench, "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
                            "Content-Length: 9\r\n\r\n\x0a\x07\x08\x03\x12\x03old");
    cr_expect(item->outcome.result == UT_SENT && item->outcome.rejected_spans == 3);
    cr_expect_str_eq(item->text, "old");
    bench->backend.answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: "
        "61\r\n\r\n{\"partialSuccess\":{\"rejectedSpans\":\"400\",\"errorMessage\":\"x\"}}";
    item = ask(bench);
    cr_expect(item->outcome.result == UT_SENT && item->outcome.rejected_spans == SPANS);
    close_bench(bench);
}

Test(otlp_http, too_large_may_be_tried_in_pieces)
{
    struct bench *bench;
    struct test_item *item =
        answer_with(&bench, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    cr_expect_eq(item->outcome.result, UT_TOO_LARGE);
    close_bench(bench);
}

Test(otlp_http, redirect_is_not_followed)
{
    struct bench *bench;
    struct test_item *item = answer_with(
        &bench, "HTTP/1.1 307 Elsewhere\r\nLocation: https://other.example/v1/traces\r\n"
                "Content-Length: 0\r\n\r\n");
    cr_expect_eq(item->outcome.result, UT_PERMANENT);
    cr_expect(strstr(item->text, "send to https://other.example/v1/traces") != NULL, "%s",
              item->text);
    cr_expect_eq(bench->backend.requests, 1);
    close_bench(bench);
}

Test(otlp_http, answer_without_end_is_cut)
{
    struct bench *bench = open_bench("HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n");
    bench->config.http.timeout_ns = 10 * UT_NS_PER_S;
    bench->backend.endless = 20 << 20;
    start_exporter(bench);
    struct test_item *item = ask(bench);
    cr_expect_eq(item->outcome.result, UT_PERMANENT);
    cr_expect(strstr(item->text, "HTTP status 400: xxxx") != NULL, "%s", item->text);
    close_bench(bench);
}

/* ---- trouble -------------------------------------------------------------------------------- */

Test(otlp_http, silent_backend_is_timed_out)
{
    struct bench *bench = open_bench(NULL);
    bench->config.http.timeout_ns = 400 * UT_NS_PER_MS;
    bench->backend.manner = HTTP_SILENT;
    start_exporter(bench);
    struct test_item *item = ask(bench);
    cr_expect_eq(item->outcome.result, UT_RETRY);
    cr_expect(strstr(item->text, "did not answer within 400 ms: ") != NULL, "%s", item->text);
    cr_expect_eq(connect_failures(bench), 0);
    close_bench(bench);
}

/* The backend answers while we are stopped for longer than it has for that. */
Test(otlp_http, a_process_that_did_not_run_sends_nothing_twice)
{
    struct bench *bench = open_bench(NULL);
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    ut_timers_run(&bench->worker.timers, ut_worker_now(&bench->worker) + 60 * UT_NS_PER_S);
    turn(bench, 1, 10000);
    cr_assert_eq(item->done, 1);
    cr_expect_eq(item->outcome.result, UT_SENT, "%s", item->text);
    close_bench(bench);
}

Test(otlp_http, lost_connection_and_garbage_are_retried)
{
    struct bench *bench = open_bench("this is no HTTP\r\n\r\n");
    start_exporter(bench);
    cr_expect_eq(ask(bench)->outcome.result, UT_RETRY);
    bench->backend.manner = HTTP_CLOSES;
    struct test_item *item = ask(bench);
    cr_expect_eq(item->outcome.result, UT_RETRY);
    cr_expect(item->text[0] != '\0');
    close_bench(bench);
}

Test(otlp_http, backend_that_is_not_there_is_named)
{
    struct bench *bench = open_bench(NULL);
    http_backend_stop(&bench->backend);
    start_exporter(bench);
    struct test_item *item = ask(bench);
    cr_expect_eq(item->outcome.result, UT_RETRY);
    cr_expect(strstr(item->text, "127.0.0.1") != NULL &&
                  strstr(item->text, "Connection refused: nobody listens there: ") != NULL,
              "%s", item->text);
    http_backend_start(&bench->backend, &bench->worker.uv);
    cr_expect_eq(ask(bench)->outcome.result, UT_SENT);
    close_bench(bench);
}

static struct {
    sem_t may_answer;
    atomic_bool answered;
} name_server;

/* In place of the system's, which libcurl's threads ask. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    static int (*system)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    struct timespec end;
    if (strcmp(host, "no-such-host.invalid") == 0)
        return EAI_NONAME;
    if (strcmp(host, "slow.invalid") == 0) {
        (void)clock_gettime(CLOCK_REALTIME, &end);
        end.tv_sec += 40;
        (void)sem_timedwait(&name_server.may_answer, &end);
        name_server.answered = true;
        return EAI_AGAIN;
    }
    *(void **)&system = dlsym(RTLD_NEXT, "getaddrinfo");
    return system(host, service, hints, ret);
}

/* Else all that we do would stand still with it. */
Test(otlp_http, name_server_that_does_not_answer_is_not_waited_for)
{
    struct bench *bench = open_bench(NULL);
    cr_assert_eq(sem_init(&name_server.may_answer, 0, 0), 0);
    bench->config.endpoint = (char *)(uintptr_t) "http://slow.invalid:4318";
    bench->config.http.timeout_ns = 400 * UT_NS_PER_MS;
    start_exporter(bench);
    struct test_item *item = ask(bench);
    cr_expect_eq(item->outcome.result, UT_RETRY);
    cr_expect(strstr(item->text, "no connection within 400 ms: ") != NULL, "%s", item->text);
    cr_expect_eq(connect_failures(bench), 1);
    (void)send_item(bench, 1);
    turn(bench, 0, 50);
    close_bench(bench);
    cr_expect_not(name_server.answered);
    cr_assert_eq(sem_post(&name_server.may_answer), 0);
    cr_assert_eq(sem_post(&name_server.may_answer), 0);
}

Test(otlp_http, name_that_does_not_resolve_is_named)
{
    struct bench *bench = open_bench(NULL);
    bench->config.endpoint = (char *)(uintptr_t) "http://no-such-host.invalid:4318";
    bench->config.http.timeout_ns = 5 * UT_NS_PER_S;
    start_exporter(bench);
    struct test_item *item = ask(bench);
    cr_expect_eq(item->outcome.result, UT_RETRY);
    cr_expect(strstr(item->text, "no-such-host.invalid: is the name in the endpoint") != NULL, "%s",
              item->text);
    close_bench(bench);
}

Test(otlp_http, loopback_is_never_asked_of_a_proxy)
{
    struct bench *bench = open_bench(NULL);
    cr_assert_eq(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    cr_assert_eq(setenv("HTTP_PROXY", "http://127.0.0.1:1", 1), 0);
    start_exporter(bench);
    cr_expect_eq(ask(bench)->outcome.result, UT_SENT);
    close_bench(bench);
}

Test(otlp_http, others_are_asked_of_the_proxy_that_is_named)
{
    struct bench *bench = open_bench(NULL);
    char proxy[64];
    (void)snprintf(proxy, sizeof(proxy), "%s", bench->endpoint);
    cr_assert_eq(unsetenv("http_proxy"), 0);
    cr_assert_eq(unsetenv("no_proxy"), 0);
    cr_assert_eq(unsetenv("NO_PROXY"), 0);
    cr_assert_eq(setenv("HTTP_PROXY", proxy, 1), 0);
    bench->config.endpoint = (char *)(uintptr_t) "http://backend.example:4318";
    start_exporter(bench);
    cr_expect_eq(ask(bench)->outcome.result, UT_SENT);
    cr_expect_eq(strncmp(bench->backend.head, "http://backend.example:4318/v1/traces\n", 38), 0,
                 "%s", bench->backend.head);
    close_bench(bench);
}

Test(otlp_http, stop_gives_back_what_is_in_flight)
{
    struct bench *bench = open_bench(NULL);
    bench->backend.manner = HTTP_SILENT;
    start_exporter(bench);
    for (size_t i = 0; i < 8; i++)
        (void)send_item(bench, i);
    turn(bench, 0, 50);
    ut_exporter_otlp_http.stop(bench->exporter, on_stopped, bench);
    for (size_t i = 0; i < 8; i++) {
        cr_expect_eq(bench->items[i].done, 1);
        cr_expect_eq(bench->items[i].outcome.result, UT_RETRY);
    }
    struct test_item *late = send_item(bench, 9);
    cr_expect(late->done == 1 && late->outcome.result == UT_RETRY);
    turn(bench, 0, 50);
    cr_assert(bench->stopped);
    ut_exporter_otlp_http.free(bench->exporter);
    http_backend_stop(&bench->backend);
    struct ut_metrics *metrics = bench->worker.metrics;
    ut_worker_done(&bench->worker);
    ut_metrics_free(metrics);
    otlp_free(&bench->request);
    free(bench);
}
