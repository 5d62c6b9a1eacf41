/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp_grpc exporter on a real loop against a backend in the same process. */
#include <criterion/criterion.h>
#include <signal.h>

#include "base/clock.h"
#include "component.h"
#include "grpc_backend.h"
#include "grpc_exporter.h"
#include "net/inflate.h"
#include "otlp_batch.h"

TestSuite(otlp_grpc, .timeout = 90);

extern const struct ut_exporter_type ut_exporter_otlp_grpc;

/* What has to come may take its time: the machine may be busy. */
enum { ITEMS_MAX = 64, TEXT = 600, PATIENCE_MS = 20000, LONG_MS = 30000, SHORT_MS = 400 };

struct test_item {
    struct ut_item item;
    struct ut_batch *batch;
    int done;
    struct ut_outcome outcome;
    char text[TEXT];
};

struct bench {
    struct ut_worker worker;
    struct backend backend;
    struct ut_exporter *exporter;
    struct ut_grpc_exporter_config config;
    char endpoint[64];
    struct otlp_bytes request;
    struct test_item items[ITEMS_MAX];
    bool stopped;
};

/* ---- the bench ------------------------------------------------------------------------------ */

static void make_request(struct bench *bench, size_t spans, size_t note_bytes)
{
    char *note = calloc(1, note_bytes + 1);
    memset(note, 'n', note_bytes);
    struct otlp_attribute attributes[] = {{"note", note, 0}, {0}};
    struct otlp_span *list = calloc(spans, sizeof(*list));
    for (size_t i = 0; i < spans; i++)
        list[i] = (struct otlp_span){.trace_id = 1,
                                     .span_id = i + 1,
                                     .name = "GET /",
                                     .start_ns = 1,
                                     .end_ns = 2,
                                     .attributes = attributes};
    otlp_free(&bench->request);
    otlp_resource_spans(&bench->request, NULL, list, spans);
    free(list);
    free(note);
}

static struct bench *open_bench(enum backend_manner manner)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    cr_assert_eq(ut_worker_init(&bench->worker, 64 << 20, NULL, ut_metrics_new()), 0);
    bench->backend.manner = manner;
    backend_start(&bench->backend, &bench->worker.uv);
    (void)snprintf(bench->endpoint, sizeof(bench->endpoint), "http://127.0.0.1:%d",
                   bench->backend.port);
    bench->config.grpc.endpoint = bench->endpoint;
    bench->config.grpc.timeout_ns = LONG_MS * UT_NS_PER_MS;
    bench->config.grpc.max_message_bytes = 4 << 20;
    make_request(bench, 10, 300);
    return bench;
}

static void start_exporter(struct bench *bench)
{
    struct ut_build build = {.id = "otlp_grpc", .config = &bench->config, .worker = &bench->worker};
    char error[UT_ERROR_TEXT];
    cr_assert_eq(ut_exporter_otlp_grpc.create(&bench->exporter, &build), 0);
    cr_assert_eq(ut_exporter_otlp_grpc.start(bench->exporter, error), 0);
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

/* Turns the loop until `condition` holds, which is looked at after each turn. */
#define WAIT_UNTIL(bench, condition)                                                               \
    do {                                                                                           \
        uint64_t wait_end = ut_clock_monotonic_ns() + PATIENCE_MS * UT_NS_PER_MS;                  \
        while (!(condition) && ut_clock_monotonic_ns() < wait_end) {                               \
            if (uv_run(&(bench)->worker.uv, UV_RUN_NOWAIT) == 0 || !(condition))                   \
                (void)usleep(200);                                                                 \
        }                                                                                          \
        cr_assert(condition);                                                                      \
    } while (0)

static double connections(struct bench *bench)
{
    return ut_metrics_sum(bench->worker.metrics, "undertrace_exporter_connections");
}

static void on_item_done(struct ut_item *base, const struct ut_outcome *outcome)
{
    struct test_item *item = UT_CONTAINER_OF(base, struct test_item, item);
    item->done++;
    item->outcome = *outcome;
    item->text[0] = '\0';
    if (outcome->text != NULL)
        (void)snprintf(item->text, sizeof(item->text), "%s", outcome->text);
    /* Whoever still reads the bytes now reads what was freed. */
    ut_batch_unref(item->batch);
}

static struct test_item *send_to_endpoint(struct bench *bench, size_t index, uint32_t endpoint)
{
    struct test_item *item = &bench->items[index];
    *item = (struct test_item){.batch = otlp_batch(&bench->worker.pool, &bench->request)};
    item->item = (struct ut_item){.batch = item->batch,
                                  .first_span = 0,
                                  .span_count = item->batch->spans,
                                  .endpoint = endpoint,
                                  .done = on_item_done};
    ut_exporter_otlp_grpc.send(bench->exporter, &item->item);
    return item;
}

static struct test_item *send_item(struct bench *bench, size_t index)
{
    return send_to_endpoint(bench, index, 0);
}

static void on_stopped(void *arg)
{
    ((struct bench *)arg)->stopped = true;
}

static void close_bench(struct bench *bench)
{
    if (bench->exporter != NULL) {
        ut_exporter_otlp_grpc.stop(bench->exporter, on_stopped, bench);
        WAIT_UNTIL(bench, bench->stopped);
        ut_exporter_otlp_grpc.free(bench->exporter);
    }
    backend_stop(&bench->backend);
    struct ut_metrics *metrics = bench->worker.metrics;
    ut_worker_done(&bench->worker);
    ut_metrics_free(metrics);
    otlp_free(&bench->request);
    free(bench->backend.last_body);
    free(bench);
}

static void check_result(const struct test_item *item, enum ut_result result, const char *words)
{
    cr_assert_eq(item->done, 1, "done %d times", item->done);
    cr_assert_eq(item->outcome.result, result, "result %d: %s", (int)item->outcome.result,
                 item->text);
    cr_assert_not_null(strstr(item->text, words), "\"%s\" is not in \"%s\"", words, item->text);
}

/* ---- answers -------------------------------------------------------------------------------- */

Test(otlp_grpc, sends_the_bytes_as_they_came)
{
    struct bench *bench = open_bench(BACKEND_OK);
    struct ut_pair pair = {"X-Tenant", "blue"};
    bench->config.grpc.headers = (struct ut_pairs){&pair, 1};
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    const struct backend *backend = &bench->backend;
    cr_assert_eq(backend->last_size, bench->request.size + 5);
    cr_assert_eq(backend->last_body[0], 0);
    cr_assert_eq(backend->last_body[3] << 8 | backend->last_body[4], bench->request.size);
    cr_assert_eq(memcmp(backend->last_body + 5, bench->request.data, bench->request.size), 0);
    cr_assert_str_eq(backend->last_timeout, "30000m");
    cr_assert_str_eq(backend->last_agent, "undertrace/" UT_VERSION);
    cr_assert_str_eq(backend->last_authority, bench->endpoint + strlen("http://"));
    cr_assert_str_eq(backend->last_extra, "blue");
    close_bench(bench);
}

/* What the backend got last, inflated, is the request. */
static void check_inflated(struct bench *bench, enum ut_coding coding)
{
    struct ut_inflates inflates;
    struct backend *backend = &bench->backend;
    cr_assert_eq(backend->last_body[0], 1);
    cr_assert_eq(backend->last_body[2] << 16 | backend->last_body[3] << 8 | backend->last_body[4],
                 backend->last_size - 5);
    ut_inflates_init(&inflates, &bench->worker.pool);
    struct ut_inflate *inflate = ut_inflate_take(&inflates, coding);
    cr_assert_not_null(inflate);
    struct ut_inflate_body body = {.data = malloc(bench->request.size + (256 << 10)),
                                   .room = bench->request.size + (256 << 10)};
    cr_assert_not_null(body.data);
    ut_slice input = ut_slice_of(backend->last_body + 5, backend->last_size - 5);
    cr_assert_eq(ut_inflate_step(inflate, &input, &body), UT_INFLATE_MORE);
    cr_assert(ut_inflate_is_whole(inflate));
    cr_assert_eq(body.size, bench->request.size);
    cr_assert_eq(memcmp(body.data, bench->request.data, body.size), 0);
    free(body.data);
    ut_inflate_give(&inflates, inflate);
    ut_inflates_done(&inflates);
}

static void compressed_arrives(enum ut_coding coding, size_t spans, size_t note_bytes)
{
    char name[16];
    struct bench *bench = open_bench(BACKEND_OK);
    (void)snprintf(name, sizeof(name), "%s", ut_coding_name(coding));
    bench->config.grpc.compression = name;
    start_exporter(bench);
    make_request(bench, spans, note_bytes);
    for (size_t i = 0; i < 3; i++) {
        struct test_item *item = send_item(bench, i);
        turn(bench, i + 1, PATIENCE_MS);
        check_result(item, UT_SENT, "");
        cr_assert_str_eq(bench->backend.last_encoding, name);
        check_inflated(bench, coding);
    }
    close_bench(bench);
}

Test(otlp_grpc, compressed_message_is_the_same_inflated)
{
    for (enum ut_coding coding = UT_CODING_GZIP; coding < UT_CODINGS; coding++) {
        if (coding == UT_CODING_DEFLATE)
            continue;
        compressed_arrives(coding, 1, 0);
        compressed_arrives(coding, 10, 300);
        compressed_arrives(coding, 5000, 300);
    }
}

Test(otlp_grpc, compressed_sends_are_finished_whatever_becomes_of_them)
{
    static const enum backend_manner manners[] = {BACKEND_UNAVAILABLE, BACKEND_CLOSES,
                                                  BACKEND_RESETS, BACKEND_SILENT};
    char gzip[] = "gzip";
    for (size_t i = 0; i < sizeof(manners) / sizeof(manners[0]); i++) {
        struct bench *bench = open_bench(manners[i]);
        bench->config.grpc.compression = gzip;
        bench->config.grpc.timeout_ns = SHORT_MS * UT_NS_PER_MS;
        start_exporter(bench);
        struct test_item *item = send_item(bench, 0);
        turn(bench, 1, PATIENCE_MS);
        check_result(item, UT_RETRY, "");
        close_bench(bench);
    }
}

Test(otlp_grpc, many_items_share_one_connection)
{
    struct bench *bench = open_bench(BACKEND_OK);
    start_exporter(bench);
    for (size_t i = 0; i < ITEMS_MAX; i++)
        (void)send_item(bench, i);
    turn(bench, ITEMS_MAX, PATIENCE_MS);
    for (size_t i = 0; i < ITEMS_MAX; i++)
        check_result(&bench->items[i], UT_SENT, "");
    cr_assert_eq(bench->backend.accepted, 1);
    close_bench(bench);
}

static void answer_is(enum backend_manner manner, enum ut_result result, const char *words,
                      uint32_t after_ms)
{
    struct bench *bench = open_bench(manner);
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, result, words);
    cr_assert_eq(item->outcome.after_ms, after_ms);
    cr_assert_eq(item->outcome.rejected_spans, manner == BACKEND_PARTIAL ? 3 : 0);
    close_bench(bench);
}

Test(otlp_grpc, maps_what_the_backend_says)
{
    answer_is(BACKEND_PARTIAL, UT_SENT, "drift", 0);
    answer_is(BACKEND_UNAVAILABLE, UT_RETRY, "UNAVAILABLE: try later", 0);
    answer_is(BACKEND_RETRY_INFO, UT_RETRY, "RESOURCE_EXHAUSTED: slow down", 1500);
    answer_is(BACKEND_PERMANENT, UT_PERMANENT, "INVALID_ARGUMENT: bad span\\x0ain batch", 0);
}

Test(otlp_grpc, answer_before_the_body_has_gone_asks_for_smaller_pieces)
{
    struct bench *bench = open_bench(BACKEND_TOO_LARGE);
    make_request(bench, 1000, 3000);
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_TOO_LARGE, "larger than max");
    bench->backend.manner = BACKEND_OK;
    make_request(bench, 3, 100);
    item = send_item(bench, 1);
    turn(bench, 2, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    cr_assert_eq(bench->backend.accepted, 1, "the connection lives on");
    close_bench(bench);
}

Test(otlp_grpc, message_above_the_limit_is_not_sent)
{
    struct bench *bench = open_bench(BACKEND_OK);
    bench->config.grpc.max_message_bytes = 1024;
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    check_result(item, UT_TOO_LARGE, "max_message_bytes");
    turn(bench, 0, 50);
    cr_assert_eq(bench->backend.body_bytes, 0);
    close_bench(bench);
}

/* ---- backends that fail --------------------------------------------------------------------- */

Test(otlp_grpc, backend_that_is_not_there_yet_gets_the_item_when_it_comes)
{
    struct bench *bench = open_bench(BACKEND_OK);
    backend_stop(&bench->backend);
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, 300);
    cr_assert_eq(item->done, 0, "it waits");
    backend_start(&bench->backend, &bench->worker.uv);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    close_bench(bench);
}

Test(otlp_grpc, backend_that_never_comes_is_named)
{
    struct bench *bench = open_bench(BACKEND_OK);
    backend_stop(&bench->backend);
    bench->config.grpc.timeout_ns = 1500 * UT_NS_PER_MS;
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_RETRY, "connection refused: nobody listens there: ");
    check_result(item, UT_RETRY, bench->endpoint + strlen("http://"));
    close_bench(bench);
}

Test(otlp_grpc, name_that_does_not_resolve_is_named)
{
    struct bench *bench = open_bench(BACKEND_OK);
    (void)snprintf(bench->endpoint, sizeof(bench->endpoint), "http://nowhere.invalid:4317");
    bench->config.grpc.timeout_ns = 1500 * UT_NS_PER_MS;
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_RETRY, "nowhere.invalid");
    close_bench(bench);
}

Test(otlp_grpc, tries_the_addresses_of_a_name_in_turn)
{
    struct bench *bench = open_bench(BACKEND_OK);
    (void)snprintf(bench->endpoint, sizeof(bench->endpoint), "http://localhost:%d",
                   bench->backend.port);
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    close_bench(bench);
}

Test(otlp_grpc, silent_backend_costs_the_timeout_and_the_connection_lives_on)
{
    struct bench *bench = open_bench(BACKEND_OK);
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    bench->backend.manner = BACKEND_SILENT;
    bench->config.grpc.timeout_ns = SHORT_MS * UT_NS_PER_MS;
    uint64_t begin = ut_clock_monotonic_ns();
    item = send_item(bench, 1);
    turn(bench, 2, PATIENCE_MS);
    check_result(item, UT_RETRY, "did not answer within 400 ms");
    cr_assert_geq(ut_clock_monotonic_ns() - begin, 390 * UT_NS_PER_MS);
    bench->backend.manner = BACKEND_OK;
    bench->config.grpc.timeout_ns = LONG_MS * UT_NS_PER_MS;
    turn(bench, 0, 3000); /* the probe's time */
    item = send_item(bench, 2);
    turn(bench, 3, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    cr_assert_eq(bench->backend.accepted, 1);
    close_bench(bench);
}

/* An answer is overdue, the backend is asked for a sign of life, and then we are stopped for longer
 * than it has for that. */
Test(otlp_grpc, a_process_that_did_not_run_gives_no_connection_up)
{
    struct bench *bench = open_bench(BACKEND_SILENT);
    bench->config.grpc.timeout_ns = SHORT_MS * UT_NS_PER_MS;
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    WAIT_UNTIL(bench, connections(bench) == 1);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_RETRY, "did not answer within 400 ms");
    ut_timers_run(&bench->worker.timers, ut_worker_now(&bench->worker) + 60 * UT_NS_PER_S);
    bench->backend.manner = BACKEND_OK;
    bench->config.grpc.timeout_ns = LONG_MS * UT_NS_PER_MS;
    item = send_item(bench, 1);
    turn(bench, 2, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    cr_expect_eq(bench->backend.accepted, 1, "it is the connection that there was");
    close_bench(bench);
}

/* The backend answers while we are stopped for longer than it has for that. */
Test(otlp_grpc, a_process_that_did_not_run_sends_nothing_twice)
{
    struct bench *bench = open_bench(BACKEND_OK);
    start_exporter(bench);
    WAIT_UNTIL(bench, connections(bench) == 1);
    struct test_item *item = send_item(bench, 0);
    ut_timers_run(&bench->worker.timers, ut_worker_now(&bench->worker) + 60 * UT_NS_PER_S);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    close_bench(bench);
}

Test(otlp_grpc, frozen_backend_is_given_up_and_the_bytes_are_kept_till_then)
{
    struct bench *bench = open_bench(BACKEND_FROZEN);
    bench->config.grpc.timeout_ns = SHORT_MS * UT_NS_PER_MS;
    make_request(bench, 1000, 3900);
    start_exporter(bench);
    /* HTTP/2 windows alone would hold the client back: fill the socket with many calls. */
    for (size_t i = 0; i < ITEMS_MAX; i++)
        (void)send_item(bench, i);
    turn(bench, ITEMS_MAX, PATIENCE_MS);
    for (size_t i = 0; i < ITEMS_MAX; i++)
        check_result(&bench->items[i], UT_RETRY, "");
    close_bench(bench);
}

Test(otlp_grpc, connection_lost_in_flight_is_retried_at_once_by_the_queue)
{
    struct bench *bench = open_bench(BACKEND_CLOSES);
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS); /* which is less than its timeout */
    check_result(item, UT_RETRY, "lost");
    bench->backend.manner = BACKEND_OK;
    item = send_item(bench, 1);
    turn(bench, 2, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    cr_assert_eq(bench->backend.accepted, 2);
    close_bench(bench);
}

Test(otlp_grpc, connection_that_is_reset_is_called_so)
{
    struct bench *bench = open_bench(BACKEND_RESETS);
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_RETRY, "connection reset");
    close_bench(bench);
}

Test(otlp_grpc, backend_that_speaks_no_http2_is_not_stormed)
{
    struct bench *bench = open_bench(BACKEND_GARBAGE);
    bench->config.grpc.timeout_ns = SHORT_MS * UT_NS_PER_MS;
    start_exporter(bench);
    for (size_t i = 0; i < 5; i++)
        (void)send_item(bench, i);
    turn(bench, 5, PATIENCE_MS);
    for (size_t i = 0; i < 5; i++)
        check_result(&bench->items[i], UT_RETRY, "");
    turn(bench, 0, 200);
    cr_assert_leq(bench->backend.accepted, 8);
    close_bench(bench);
}

/* ---- what is sent again --------------------------------------------------------------------- */

Test(otlp_grpc, goaway_moves_refused_calls_to_a_new_connection_without_duplicates)
{
    struct bench *bench = open_bench(BACKEND_OK);
    bench->backend.goaway_after = 7;
    start_exporter(bench);
    for (size_t i = 0; i < 30; i++)
        (void)send_item(bench, i);
    turn(bench, 30, PATIENCE_MS);
    for (size_t i = 0; i < 30; i++)
        check_result(&bench->items[i], UT_SENT, "");
    cr_assert_eq(bench->backend.answered, 30);
    cr_assert_geq(bench->backend.accepted, 4);
    WAIT_UNTIL(bench, bench->backend.open <= 1); /* retired connections are closed */
    close_bench(bench);
}

Test(otlp_grpc, refused_streams_are_sent_again_without_a_retry)
{
    struct bench *bench = open_bench(BACKEND_OK);
    bench->backend.refuse = 4;
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    check_result(item, UT_SENT, "");
    cr_assert_eq(bench->backend.refused, 4);
    bench->backend.refuse = 1000;
    item = send_item(bench, 1);
    turn(bench, 2, PATIENCE_MS);
    check_result(item, UT_RETRY, "refuses");
    cr_assert_leq(bench->backend.refused, 4 + 9);
    close_bench(bench);
}

/* ---- stop, and steady state ----------------------------------------------------------------- */

Test(otlp_grpc, stop_finishes_what_is_in_flight_at_once)
{
    struct bench *bench = open_bench(BACKEND_SILENT);
    bench->config.grpc.timeout_ns = 60 * UT_NS_PER_S;
    start_exporter(bench);
    for (size_t i = 0; i < 5; i++)
        (void)send_item(bench, i);
    turn(bench, 0, 100);
    ut_exporter_otlp_grpc.stop(bench->exporter, on_stopped, bench);
    for (size_t i = 0; i < 5; i++)
        check_result(&bench->items[i], UT_RETRY, "stopping");
    struct test_item *late = send_item(bench, 5);
    check_result(late, UT_RETRY, "stopping");
    WAIT_UNTIL(bench, bench->stopped);
    ut_exporter_otlp_grpc.free(bench->exporter);
    bench->exporter = NULL;
    close_bench(bench);
}

Test(otlp_grpc, stop_while_connecting_or_waiting_finishes)
{
    struct bench *bench = open_bench(BACKEND_OK);
    backend_stop(&bench->backend);
    (void)snprintf(bench->endpoint, sizeof(bench->endpoint), "http://localhost:%d",
                   bench->backend.port);
    bench->config.grpc.timeout_ns = 60 * UT_NS_PER_S;
    start_exporter(bench);
    struct test_item *item = send_item(bench, 0);
    ut_exporter_otlp_grpc.stop(bench->exporter, on_stopped, bench);
    check_result(item, UT_RETRY, "stopping");
    WAIT_UNTIL(bench, bench->stopped);
    ut_exporter_otlp_grpc.free(bench->exporter);
    bench->exporter = NULL;
    close_bench(bench);
}

Test(otlp_grpc, steady_flow_asks_the_system_for_no_memory)
{
    struct bench *bench = open_bench(BACKEND_OK);
    make_request(bench, 200, 300);
    start_exporter(bench);
    uint64_t before = 0;
    for (int round = 0; round < 200; round++) {
        if (round == 20)
            before = bench->worker.pool.system_calls;
        for (size_t i = 0; i < 10; i++)
            (void)send_item(bench, i);
        turn(bench, 10, PATIENCE_MS);
        for (size_t i = 0; i < 10; i++)
            check_result(&bench->items[i], UT_SENT, "");
    }
    cr_assert_eq(bench->worker.pool.system_calls, before);
    close_bench(bench);
}

/* ---- several connections -------------------------------------------------------------------- */

Test(otlp_grpc, calls_take_several_connections_in_turn)
{
    enum { CONNECTIONS = 4, ITEMS = 16 };
    struct bench *bench = open_bench(BACKEND_OK);
    bench->config.grpc.connections = CONNECTIONS;
    start_exporter(bench);
    cr_assert_eq(ut_exporter_otlp_grpc.endpoints(bench->exporter), 1);
    for (size_t i = 0; i < ITEMS; i++)
        (void)send_item(bench, i);
    turn(bench, ITEMS, PATIENCE_MS);
    for (size_t i = 0; i < ITEMS; i++)
        cr_expect(bench->items[i].done == 1 && bench->items[i].outcome.result == UT_SENT);
    /* What is quick is sent before the last of them is open. */
    WAIT_UNTIL(bench, connections(bench) == CONNECTIONS);
    WAIT_UNTIL(bench, bench->backend.accepted == CONNECTIONS);
    close_bench(bench);
}

Test(otlp_grpc, each_address_of_a_name_is_an_endpoint)
{
    struct bench *bench = open_bench(BACKEND_OK);
    bench->config.grpc.tls.insecure = true;
    bench->config.grpc.timeout_ns = 60 * UT_NS_PER_S;
    (void)snprintf(bench->endpoint, sizeof(bench->endpoint), "dns:///localhost:%d",
                   bench->backend.port);
    start_exporter(bench);
    WAIT_UNTIL(bench, bench->backend.accepted > 0);
    uint32_t endpoints = ut_exporter_otlp_grpc.endpoints(bench->exporter);
    /* 127.0.0.1 stands before ::1, where nobody listens and which not every machine has. */
    cr_assert(endpoints == 1 || endpoints == 2);
    struct test_item *item = send_item(bench, 0);
    turn(bench, 1, PATIENCE_MS);
    cr_expect_eq(item->outcome.result, UT_SENT, "%s", item->text);
    if (endpoints == 2) { /* what goes to the other comes back at once */
        item = send_to_endpoint(bench, 0, 1);
        turn(bench, 1, PATIENCE_MS);
        cr_expect_eq(item->outcome.result, UT_RETRY);
        cr_expect_eq(item->outcome.cause, UT_SETBACK_TRANSPORT);
        cr_expect(strstr(item->text, "[::1]") != NULL, "%s", item->text);
    }
    close_bench(bench);
}

Test(otlp_grpc, silent_connection_is_asked_for_a_sign_of_life)
{
    struct bench *bench = open_bench(BACKEND_FROZEN);
    bench->config.grpc.keepalive = (struct ut_link_keepalive){
        .time_ns = 100 * UT_NS_PER_MS,
        .timeout_ns = 100 * UT_NS_PER_MS,
        .permit_without_stream = true,
    };
    start_exporter(bench);
    WAIT_UNTIL(bench, connections(bench) == 1);
    WAIT_UNTIL(bench, connections(bench) == 0);
    close_bench(bench);
}

Test(otlp_grpc, connection_that_gives_signs_of_life_stays)
{
    struct bench *bench = open_bench(BACKEND_OK);
    bench->config.grpc.keepalive = (struct ut_link_keepalive){
        .time_ns = 50 * UT_NS_PER_MS,
        .timeout_ns = 5 * UT_NS_PER_S,
        .permit_without_stream = true,
    };
    start_exporter(bench);
    WAIT_UNTIL(bench, connections(bench) == 1);
    turn(bench, 0, 600);
    cr_expect_eq(bench->backend.accepted, 1);
    cr_expect_eq(connections(bench), 1);
    close_bench(bench);
}
