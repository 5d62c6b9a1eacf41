/* SPDX-License-Identifier: Apache-2.0 */
/* The zipkin exporter on a real loop against a backend in the same process. What it shares with
 * otlp_http is tested there. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http_backend.h"
#include "otlp_batch.h"
#include "zipkin_exporter/settings.h"

TestSuite(zipkin_exporter, .timeout = 60);

extern const struct ut_exporter_type ut_exporter_zipkin;

struct bench {
    struct ut_worker worker;
    struct http_backend backend;
    struct ut_exporter *exporter;
    struct ut_zipkin_config config;
    char endpoint[64];
    struct otlp_bytes request;
    struct ut_item item;
    struct ut_batch *batch;
    int done;
    struct ut_outcome outcome;
    bool stopped;
};

static struct bench *open_bench(const char *answer, uint64_t max_message_bytes)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    cr_assert_eq(ut_worker_init(&bench->worker, 64 << 20, NULL, ut_metrics_new()), 0);
    bench->backend.answer = answer;
    http_backend_start(&bench->backend, &bench->worker.uv);
    (void)snprintf(bench->endpoint, sizeof(bench->endpoint), "http://127.0.0.1:%d/api/v2/spans",
                   bench->backend.port);
    bench->config.endpoint = bench->endpoint;
    bench->config.default_service_name = (char *)(uintptr_t) "nobody";
    bench->config.http.timeout_ns = 5 * UT_NS_PER_S;
    bench->config.max_message_bytes = max_message_bytes;
    struct otlp_span spans[] = {{.trace_id = 1, .span_id = 1, .name = "one"},
                                {.trace_id = 1, .span_id = 2, .parent_id = 1, .name = "two"}};
    otlp_resource_spans(&bench->request, NULL, spans, 2);
    struct ut_build build = {.id = "zipkin", .config = &bench->config, .worker = &bench->worker};
    char error[UT_ERROR_TEXT];
    cr_assert_eq(ut_exporter_zipkin.create(&bench->exporter, &build), 0);
    cr_assert_eq(ut_exporter_zipkin.start(bench->exporter, error), 0);
    return bench;
}

static void on_done(struct ut_item *item, const struct ut_outcome *outcome)
{
    struct bench *bench = UT_CONTAINER_OF(item, struct bench, item);
    bench->done++;
    bench->outcome = *outcome;
    ut_batch_unref(bench->batch);
}

static enum ut_result ask(struct bench *bench, uint32_t first, uint32_t count)
{
    bench->done = 0;
    bench->batch = otlp_batch(&bench->worker.pool, &bench->request);
    bench->item = (struct ut_item){
        .batch = bench->batch, .first_span = first, .span_count = count, .done = on_done};
    ut_exporter_zipkin.send(bench->exporter, &bench->item);
    while (bench->done == 0)
        ut_worker_turn(&bench->worker);
    return bench->outcome.result;
}

static void on_stopped(void *arg)
{
    ((struct bench *)arg)->stopped = true;
}

static void close_bench(struct bench *bench)
{
    ut_exporter_zipkin.stop(bench->exporter, on_stopped, bench);
    while (!bench->stopped)
        (void)uv_run(&bench->worker.uv, UV_RUN_NOWAIT);
    ut_exporter_zipkin.free(bench->exporter);
    http_backend_stop(&bench->backend);
    struct ut_metrics *metrics = bench->worker.metrics;
    ut_worker_done(&bench->worker);
    ut_metrics_free(metrics);
    otlp_free(&bench->request);
    free(bench);
}

Test(zipkin_exporter, spans_are_posted_to_the_endpoint_itself)
{
    struct bench *bench = open_bench("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 1 << 20);
    cr_assert_eq(ask(bench, 0, 2), UT_SENT);
    cr_assert_eq(strncmp(bench->backend.head, "/api/v2/spans\n", 14), 0, "%s", bench->backend.head);
    cr_assert(strstr(bench->backend.head, "\ncontent-type: application/json\n") != NULL);
    cr_assert(memmem(bench->backend.body, bench->backend.body_size, "\"name\":\"one\"", 12) !=
              NULL);
    cr_assert(memmem(bench->backend.body, bench->backend.body_size, "\"name\":\"two\"", 12) !=
              NULL);
    cr_assert_eq(ask(bench, 1, 1), UT_SENT);
    cr_assert(memmem(bench->backend.body, bench->backend.body_size, "\"name\":\"one\"", 12) ==
              NULL);
    close_bench(bench);
}

Test(zipkin_exporter, storage_that_is_down_is_waited_for_and_bad_spans_are_not)
{
    struct bench *bench = open_bench("HTTP/1.1 500 E\r\nContent-Length: 0\r\n\r\n", 1 << 20);
    cr_assert_eq(ask(bench, 0, 2), UT_RETRY);
    bench->backend.answer = "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n";
    cr_assert_eq(ask(bench, 0, 2), UT_PERMANENT);
    close_bench(bench);
}

Test(zipkin_exporter, request_above_the_limit_is_not_sent)
{
    struct bench *bench = open_bench(NULL, 10);
    cr_assert_eq(ask(bench, 0, 2), UT_TOO_LARGE);
    cr_assert_eq(bench->backend.requests, 0);
    close_bench(bench);
}
