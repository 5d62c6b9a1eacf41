/* SPDX-License-Identifier: Apache-2.0 */
/* The file exporter on a real loop: what stands in the file once an item is done, and what becomes
 * of items when the disk takes nothing. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "file_exporter/settings.h"
#include "otlp/json.h"
#include "otlp_batch.h"

TestSuite(file, .timeout = 60);

extern const struct ut_exporter_type ut_exporter_file;

enum { ITEMS = 40, SPANS = 3 };

struct test_item {
    struct ut_item item;
    struct ut_batch *batch;
    struct bench *bench;
    int done;
    enum ut_result result;
    char text[400];
};

struct bench {
    struct ut_worker worker;
    struct ut_file_config config;
    struct ut_exporter *exporter;
    char folder[64], path[96];
    struct otlp_bytes request, file;
    struct test_item items[ITEMS];
    int done;
    bool stopped;
};

static struct bench *open_bench(void)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    (void)signal(SIGXFSZ, SIG_IGN); /* as the program does */
    cr_assert_eq(ut_worker_init(&bench->worker, 64 << 20, NULL, ut_metrics_new()), 0);
    (void)snprintf(bench->folder, sizeof(bench->folder), "/tmp/undertrace-file-XXXXXX");
    cr_assert_not_null(mkdtemp(bench->folder));
    (void)snprintf(bench->path, sizeof(bench->path), "%s/spans", bench->folder);
    bench->config = (struct ut_file_config){.path = bench->path, .append = true};
    struct otlp_attribute attributes[] = {{"note", "line\n\"two\"", 0}, {0}};
    struct otlp_span spans[SPANS];
    for (size_t i = 0; i < SPANS; i++)
        spans[i] = (struct otlp_span){.trace_id = 1,
                                      .span_id = i + 1,
                                      .name = "GET /",
                                      .kind = 2,
                                      .start_ns = 1,
                                      .end_ns = 2,
                                      .attributes = attributes};
    otlp_resource_spans(&bench->request, NULL, spans, SPANS);
    return bench;
}

static void start_exporter(struct bench *bench)
{
    struct ut_build build = {.id = "file", .config = &bench->config, .worker = &bench->worker};
    char error[UT_ERROR_TEXT] = "";
    cr_assert_eq(ut_exporter_file.create(&bench->exporter, &build), 0);
    cr_assert_eq(ut_exporter_file.start(bench->exporter, error), 0, "%s", error);
}

static void on_done(struct ut_item *base, const struct ut_outcome *outcome)
{
    struct test_item *item = UT_CONTAINER_OF(base, struct test_item, item);
    item->done++;
    item->bench->done++;
    item->result = outcome->result;
    (void)snprintf(item->text, sizeof(item->text), "%s", outcome->text ? outcome->text : "");
    ut_batch_unref(item->batch);
}

static struct test_item *send_item(struct bench *bench, int index, uint32_t first, uint32_t count)
{
    struct test_item *item = &bench->items[index];
    *item = (struct test_item){.bench = bench,
                               .batch = otlp_batch(&bench->worker.pool, &bench->request)};
    item->item = (struct ut_item){
        .batch = item->batch, .first_span = first, .span_count = count, .done = on_done};
    ut_exporter_file.send(bench->exporter, &item->item);
    return item;
}

static void turn_until_done(struct bench *bench, int count)
{
    while (bench->done < count)
        (void)uv_run(&bench->worker.uv, UV_RUN_ONCE);
}

static void on_stopped(void *arg)
{
    ((struct bench *)arg)->stopped = true;
}

static void close_bench(struct bench *bench)
{
    ut_exporter_file.stop(bench->exporter, on_stopped, bench);
    while (!bench->stopped)
        (void)uv_run(&bench->worker.uv, UV_RUN_ONCE);
    ut_exporter_file.free(bench->exporter);
    struct ut_metrics *metrics = bench->worker.metrics;
    ut_worker_done(&bench->worker);
    ut_metrics_free(metrics);
    (void)unlink(bench->path);
    (void)rmdir(bench->folder);
    otlp_free(&bench->request);
    otlp_free(&bench->file);
    free(bench);
}

static void read_file(struct bench *bench)
{
    char part[4096];
    FILE *file = fopen(bench->path, "r");
    cr_assert_not_null(file);
    bench->file.size = 0;
    for (size_t n; (n = fread(part, 1, sizeof(part), file)) > 0;)
        otlp_raw(&bench->file, part, n);
    (void)fclose(file);
}

/* Lines of the file, each of which must be the request again. */
static int count_lines(struct bench *bench)
{
    static const struct ut_writer_limits limits = {.bytes_max = 1 << 20};
    int count = 0;
    read_file(bench);
    const uint8_t *p = bench->file.data, *end = p + bench->file.size;
    while (p < end) {
        const uint8_t *line_end = memchr(p, '\n', (size_t)(end - p));
        struct ut_segment *segment;
        struct ut_json_report report;
        cr_assert_not_null(line_end, "the last line is cut off");
        cr_assert_eq(ut_json_to_wire(ut_slice_of(p, (size_t)(line_end - p)), &bench->worker.pool,
                                     &limits, &segment, &report),
                     0, "%s", report.error);
        cr_expect(ut_slice_equal(ut_slice_of(segment->data, segment->size),
                                 ut_slice_of(bench->request.data, bench->request.size)));
        ut_segment_unref(segment);
        p = line_end + 1;
        count++;
    }
    return count;
}

Test(file, item_is_a_line_in_the_order_of_sending)
{
    struct bench *bench = open_bench();
    start_exporter(bench);
    for (int i = 0; i < ITEMS; i++)
        (void)send_item(bench, i, 0, SPANS);
    turn_until_done(bench, ITEMS);
    for (int i = 0; i < ITEMS; i++)
        cr_expect(bench->items[i].done == 1 && bench->items[i].result == UT_SENT);
    cr_assert_eq(count_lines(bench), ITEMS);
    cr_assert_eq(ut_metrics_sum(bench->worker.metrics, "undertrace_exporter_sent_bytes"),
                 bench->file.size);
    close_bench(bench);
}

Test(file, proto_has_the_length_before_the_bytes)
{
    struct bench *bench = open_bench();
    bench->config.format = UT_FILE_PROTO;
    start_exporter(bench);
    (void)send_item(bench, 0, 0, SPANS);
    (void)send_item(bench, 1, 0, SPANS);
    turn_until_done(bench, 2);
    read_file(bench);
    size_t size = bench->request.size;
    cr_assert_eq(bench->file.size, 2 * (4 + size));
    const uint8_t *second = bench->file.data + 4 + size;
    cr_assert_eq((size_t)second[0] << 24 | (size_t)second[1] << 16 | (size_t)second[2] << 8 |
                     second[3],
                 size);
    cr_assert_eq(memcmp(second + 4, bench->request.data, size), 0);
    close_bench(bench);
}

Test(file, disk_that_is_full_is_retried_and_nothing_is_half_written)
{
    struct bench *bench = open_bench();
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    start_exporter(bench);
    (void)send_item(bench, 0, 0, SPANS);
    turn_until_done(bench, 1);
    read_file(bench);
    limit.rlim_cur = bench->file.size + bench->file.size / 2;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct test_item *item = send_item(bench, 1, 0, SPANS);
    turn_until_done(bench, 2);
    cr_assert_eq(item->result, UT_RETRY);
    cr_assert(strstr(item->text, "File too large") != NULL, "%s", item->text);
    cr_assert_eq(count_lines(bench), 1);
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    item = send_item(bench, 1, 0, SPANS);
    turn_until_done(bench, 3);
    cr_assert_eq(item->result, UT_SENT);
    cr_assert_eq(count_lines(bench), 2);
    close_bench(bench);
}

Test(file, stop_finishes_what_is_being_written_and_keeps_the_rest)
{
    struct bench *bench = open_bench();
    start_exporter(bench);
    for (int i = 0; i < ITEMS; i++)
        (void)send_item(bench, i, 0, SPANS);
    ut_exporter_file.stop(bench->exporter, on_stopped, bench);
    while (!bench->stopped)
        (void)uv_run(&bench->worker.uv, UV_RUN_ONCE);
    int sent = 0;
    for (int i = 0; i < ITEMS; i++) {
        cr_expect_eq(bench->items[i].done, 1);
        sent += bench->items[i].result == UT_SENT;
    }
    cr_assert_eq(sent, 1);
    cr_assert_eq(count_lines(bench), 1);
    bench->stopped = false;
    close_bench(bench);
}

Test(file, file_that_cannot_be_opened_fails_at_the_start)
{
    struct bench *bench = open_bench();
    struct ut_build build = {.id = "file", .config = &bench->config, .worker = &bench->worker};
    char error[UT_ERROR_TEXT] = "";
    (void)snprintf(bench->path, sizeof(bench->path), "%s/none/spans", bench->folder);
    cr_assert_eq(ut_exporter_file.create(&bench->exporter, &build), 0);
    cr_assert_eq(ut_exporter_file.start(bench->exporter, error), -ENOENT);
    cr_assert(strstr(error, "No such file or directory") != NULL, "%s", error);
    close_bench(bench);
}
