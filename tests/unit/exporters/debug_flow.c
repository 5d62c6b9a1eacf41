/* SPDX-License-Identifier: Apache-2.0 */
/* When the debug exporter prints, what bounds it, and what a reader who does not read costs. */
#include "debug_exporter/output.h"
#include "debug_exporter/text.h"
#include "debug_exporter/trace.h"
#include "debug_lab.h"

static struct lab lab;

static void close_lab(void)
{
    lab_close(&lab);
}

TestSuite(debug_flow, .fini = close_lab);

static void send_span(uint64_t trace_id, uint64_t span_id, const char *name)
{
    struct otlp_bytes request = {0};
    const struct otlp_span span = {trace_id, span_id, 0, name, 1, T0, T0 + MS, 0, NULL, NULL, 0};
    lab_resource(&request, "s", &span, 1);
    lab_send(&lab, lab_batch(&lab, &request));
}

Test(debug_flow, a_trace_is_printed_two_seconds_after_its_last_span)
{
    lab_open(&lab, DEBUG_NORMAL);
    send_span(1, 1, "one");
    virtual_worker_advance(&lab.worker, 1500);
    send_span(2, 1, "other");
    send_span(1, 2, "two");
    virtual_worker_advance(&lab.worker, 1999);
    cr_assert_str_empty(lab_read(&lab));
    virtual_worker_advance(&lab.worker, 1);
    const char *text = lab_read(&lab);
    cr_assert_eq(count_of(text, "trace "), 2);
    cr_assert_eq(count_of(text, "2 spans"), 1);
    virtual_worker_advance(&lab.worker, 10000);
    cr_assert_str_empty(lab_read(&lab));
}

static void on_stopped(void *arg)
{
    ++*(int *)arg;
}

Test(debug_flow, stop_prints_what_waits)
{
    lab_open(&lab, DEBUG_NORMAL);
    send_span(1, 1, "one");
    send_span(2, 1, "two");
    int stopped = 0;
    lab.exporter->type->stop(lab.exporter, on_stopped, &stopped);
    cr_assert_eq(stopped, 1);
    cr_assert_eq(count_of(lab_read(&lab), "trace "), 2);
}

/* Every write to /dev/full fails for want of room. */
Test(debug_flow, an_output_that_fails_is_told_of_once)
{
    int ends[2];
    char said[4096];
    lab_open(&lab, DEBUG_NORMAL);
    cr_assert_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    lab.worker.log = ut_log_new(ends[1], UT_LOG_INFO);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert_geq(full, 0);
    uint64_t left_out = 0;
    struct debug_output output;
    debug_output_init(&output, &lab.worker, full, &left_out);
    for (int i = 0; i < 3; i++)
        debug_output_write(&output, "text", 4);
    debug_output_done(&output);
    cr_expect_eq(left_out, 3);
    ssize_t size = read(ends[0], said, sizeof(said) - 1);
    said[size > 0 ? size : 0] = '\0';
    cr_expect_eq(count_of(said, "event=debug_output_failed error=\"No space left on device\" "
                                "text=\"nothing more is printed"),
                 1, "%s", said);
    ut_log_free(lab.worker.log);
    lab.worker.log = NULL;
    (void)close(full);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

Test(debug_flow, over_its_traces_the_oldest_is_printed_early)
{
    lab_open(&lab, DEBUG_NORMAL);
    for (uint64_t i = 1; i <= DEBUG_TRACES_MAX; i++)
        send_span(i, 1, "x");
    send_span(1, 2, "the first trace is the newest again");
    cr_assert_str_empty(lab_read(&lab));
    send_span(5000, 1, "x");
    const char *text = lab_read(&lab);
    cr_assert_eq(count_of(text, "trace "), 1);
    cr_assert_not_null(strstr(text, "trace 00000000000000000000000000000002 "), "%s", text);
}

Test(debug_flow, over_its_bytes_even_the_only_trace_is_printed_early)
{
    lab_open(&lab, DEBUG_NORMAL);
    char name[200];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    size_t most = 0;
    for (uint64_t i = 1; i <= 60000; i++) {
        send_span(1, i, name);
        most = lab.worker.pool.in_use > most ? lab.worker.pool.in_use : most;
    }
    cr_assert_gt(count_of(lab_read(&lab), "trace "), 0);
    cr_assert_lt(most, DEBUG_BYTES_MAX + ((size_t)8 << 20));
}

Test(debug_flow, steady_flow_asks_the_system_for_no_memory)
{
    lab_open(&lab, DEBUG_NORMAL);
    uint64_t before = 0;
    for (uint64_t i = 1; i < 2000; i++) {
        if (i == 200)
            before = lab.worker.pool.system_calls;
        send_span(i, 1, "x");
        virtual_worker_advance(&lab.worker, 100);
        (void)lab_read(&lab);
    }
    cr_assert_eq(lab.worker.pool.system_calls, before);
}

Test(debug_flow, a_reader_that_does_not_read_holds_nothing_up_and_is_told)
{
    lab_open(&lab, DEBUG_NORMAL);
    for (uint64_t i = 1; i <= 40000; i++) {
        send_span(i, 1, "a span that nobody reads about");
        if (i % 500 == 0)
            virtual_worker_advance(&lab.worker, 2000);
    }
    virtual_worker_advance(&lab.worker, 2000);
    size_t size;
    char *metrics = ut_metrics_text(lab.worker.metrics, &size);
    const char *line = strstr(metrics, "\nundertrace_debug_left_out_texts ");
    cr_assert_not_null(line);
    unsigned long left_out =
        (unsigned long)strtod(line + strlen("\nundertrace_debug_left_out_texts "), NULL);
    free(metrics);
    cr_assert_gt(left_out, 1000);

    unsigned printed = 0;
    char told[64];
    (void)snprintf(told, sizeof(told), "… %lu left out", left_out);
    bool was_told = false;
    for (int i = 0; i < 100; i++) {
        const char *text = lab_read(&lab);
        printed += count_of(text, "trace ");
        was_told |= strstr(text, told) != NULL;
        virtual_worker_advance(&lab.worker, 50);
    }
    cr_assert(was_told);
    cr_assert_eq(printed + (unsigned)left_out, 40000);
    send_span(99999, 1, "and on it goes");
    virtual_worker_advance(&lab.worker, 2000);
    cr_assert_not_null(strstr(lab_read(&lab), "and on it goes"));
}

Test(debug_flow, a_reader_that_is_gone_costs_nothing)
{
    lab_open(&lab, DEBUG_NORMAL);
    (void)close(lab.read_fd);
    for (uint64_t i = 1; i <= 100; i++)
        send_span(i, 1, "x");
    virtual_worker_advance(&lab.worker, 10000);
    cr_assert_eq(lab.worker.timers.count, 0);
    lab.read_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- forms of numbers -------------------------------------------------------------------------
 */

Test(debug_text, durations_have_three_digits)
{
    const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {
        {0, "0.00 µs"},
        {1, "0.00 µs"},
        {999, "1.00 µs"},
        {9994, "9.99 µs"},
        {9996, "10.0 µs"},
        {840000, "840 µs"},
        {999499, "999 µs"},
        {999500, "1.00 ms"},
        {12100000, "12.1 ms"},
        {99960000, "100 ms"},
        {212000000, "212 ms"},
        {999499999, "999 ms"},
        {999500000, "1.00 s"},
        {3020000000, "3.02 s"},
        {59900000000, "59.9 s"},
        {60000000000, "1 min 0 s"},
        {250000000000, "4 min 10 s"},
        {UINT64_MAX, "307445734 min 33 s"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[DEBUG_NUMBER_BYTES];
        size_t columns = debug_duration(out, rows[i].ns);
        cr_assert_str_eq(out, rows[i].text);
        cr_assert_eq(columns, strlen(out) - (strstr(out, "µ") != NULL ? 1 : 0));
    }
}

Test(debug_text, sizes_have_three_digits)
{
    const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {800, "800 B"},
        {1023, "1023 B"},
        {1024, "1.00 KiB"},
        {12595, "12.3 KiB"},
        {1023 * 1024, "1.00 MiB"},
        {1 << 20, "1.00 MiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[DEBUG_NUMBER_BYTES];
        cr_assert_str_eq(debug_size(out, rows[i].bytes), rows[i].text);
    }
}

Test(debug_text, bytes_that_are_not_utf_8_are_escaped)
{
    struct ut_pool pool;
    struct debug_text text;
    ut_pool_init(&pool, 1 << 20);
    debug_text_init(&text, &pool, 1000);
    size_t columns = debug_text_foreign(
        &text, UT_SLICE("ok \xff\xc0\xaf\xed\xa0\x80\xe2\x82 \xf4\x90\x80\x80\x7f\xe2\x82"));
    debug_text_append(&text, "", 1);
    cr_assert_str_eq(text.data, "ok \\xff\\xc0\\xaf\\xed\\xa0\\x80\\xe2\\x82 "
                                "\\xf4\\x90\\x80\\x80\\x7f\\xe2\\x82");
    cr_assert_eq(columns, strlen(text.data));
    debug_text_done(&text);
    ut_pool_done(&pool);
}

Test(debug_text, a_text_never_grows_above_its_maximum)
{
    struct ut_pool pool;
    struct debug_text text;
    ut_pool_init(&pool, 1 << 20);
    debug_text_init(&text, &pool, 10000);
    for (int i = 0; i < 3000; i++)
        debug_text_add(&text, "12345");
    cr_assert_eq(text.size, 10000);
    cr_assert(text.full);
    debug_text_clear(&text);
    debug_text_add(&text, "again");
    cr_assert_eq(text.size, 5);
    debug_text_done(&text);
    ut_pool_done(&pool);
}
