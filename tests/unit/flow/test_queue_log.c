/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue says of spans that it refuses or loses: each way has its line, with the exporter,
 * how many, and the setting; and is counted as what it is. */
#include <fcntl.h>
#include <unistd.h>

#include "net/grpc_status.h"
#include "queue_lab.h"

static int ends[2];

static void start(void)
{
    prepare();
    cr_assert_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    worker.log = ut_log_new(ends[1], UT_LOG_INFO);
    cr_assert_not_null(worker.log);
}

static void stop(void)
{
    struct ut_log *log = worker.log;
    finish();
    ut_log_free(log);
    close(ends[0]);
    close(ends[1]);
}

TestSuite(queue_log, .init = start, .fini = stop);

static void expect_said(const char *words)
{
    static char text[64 << 10];
    size_t size = strlen(text);
    ssize_t got = read(ends[0], text + size, sizeof(text) - 1 - size);
    text[size + (got > 0 ? (size_t)got : 0)] = '\0';
    cr_expect_not_null(strstr(text, words), "no \"%s\" in:\n%s", words, text);
}

static uint64_t all_retries(void)
{
    return (uint64_t)ut_metrics_sum(worker.metrics, "undertrace_exporter_retries");
}

Test(queue_log, a_refusal_for_want_of_room_names_the_setting)
{
    settings.sending_queue.queue_size = 1;
    open_queue();
    ut_queue_count_refused(queue, 7);
    expect_said(
        " event=queue_full exporter=fake spans=7 action=refused queue_size=1 text=\"their "
        "senders are told to send them again; sending_queue.queue_size makes more room\"\n");
}

static void put_thrice(enum ut_on_full on_full)
{
    settings.sending_queue.queue_size = 2;
    settings.sending_queue.num_consumers = 1;
    settings.sending_queue.on_full = on_full;
    open_queue();
    fake.keeps = true;
    put(1); /* in flight */
    put(2);
    put(4);
    while (fake.held_count > 0)
        fake_answer(&fake, sent);
}

Test(queue_log, spans_that_are_dropped_for_newer_ones_are_told_of)
{
    put_thrice(UT_ON_FULL_DROP_OLDEST);
    expect_said(" event=queue_full exporter=fake spans=2 action=dropped_oldest queue_size=2 ");
    expect_said(" and with on_full: refuse the senders keep them\"\n");
}

Test(queue_log, spans_that_come_too_late_are_told_of)
{
    put_thrice(UT_ON_FULL_DROP_NEWEST);
    expect_said(" event=queue_full exporter=fake spans=4 action=dropped_newest queue_size=2 ");
}

/* Without retries nothing is put off. */
Test(queue_log, a_drop_is_no_retry)
{
    settings.retry_on_failure.enabled = false;
    open_queue();
    fake.answer = retry;
    put(3);
    cr_expect_eq(balanced_books(queue).dropped[UT_DROP_RETRY_ENDED], 3);
    cr_expect_eq(all_retries(), 0);
    expect_said(" event=export_given_up exporter=fake spans=3 setting=retry_on_failure.enabled "
                "text=\"try again\\nplease\"\n");
}

Test(queue_log, what_a_stop_leaves_unsent_is_no_retry)
{
    open_queue();
    fake.keeps = true;
    put(3);
    ut_queue_drain(queue, NULL, NULL);
    ut_queue_abandon(queue);
    fake_answer(&fake, retry);
    cr_expect_eq(balanced_books(queue).dropped[UT_DROP_SHUTDOWN], 3);
    cr_expect_eq(all_retries(), 0);
}

/* The endpoint wants to be left alone beyond their time: a timer ends it. */
Test(queue_log, spans_that_time_out_while_nothing_is_sent_are_told_of)
{
    settings.retry_on_failure.max_elapsed_time_ns = 20 * UT_NS_PER_S;
    open_queue();
    fake.keeps = true;
    put(5);
    put(6);
    fake_answer(&fake, (struct ut_outcome){.result = UT_RETRY, .after_ms = 15000, .text = "later"});
    fake_answer(&fake, (struct ut_outcome){.result = UT_RETRY, .after_ms = 60000, .text = "never"});
    cr_expect_eq(balanced_books(queue).dropped[UT_DROP_RETRY_ENDED], 6, "by its answer");
    virtual_worker_advance(&worker, 20000);
    cr_expect_eq(balanced_books(queue).dropped[UT_DROP_RETRY_ENDED], 11);
    cr_expect_eq(all_retries(), 1);
    expect_said(" event=export_given_up exporter=fake spans=5 "
                "setting=retry_on_failure.max_elapsed_time text=never\n");
}

/* Spans that a backend refuses whatever they are: somebody has to put that right, and has to be
 * told that they are gone. */
Test(queue_log, a_refusal_for_good_says_what_became_of_the_spans_and_what_to_look_at)
{
    static const struct {
        uint8_t status;
        const char *advice;
    } rows[] = {
        {UT_GRPC_UNAUTHENTICATED, " advice=\"look at `auth` and `headers` of the exporter"},
        {UT_GRPC_PERMISSION_DENIED, " advice=\"look at `auth` and `headers` of the exporter"},
        {UT_GRPC_UNIMPLEMENTED, " advice=\"are the port and the path of the endpoint"},
        {UT_GRPC_INVALID_ARGUMENT, "\n"},
    };
    char line[160];
    open_queue();
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake.answer = permanent;
        fake.answer.status = rows[i].status;
        put(i + 1);
        (void)snprintf(line, sizeof(line),
                       " event=export_refused exporter=fake spans=%u action=dropped "
                       "text=\"no such tenant\"%s",
                       i + 1, rows[i].advice);
        expect_said(line);
    }
    cr_expect_str_eq(ut_queue_words(queue), "no such tenant");
    fake.answer.status = UT_GRPC_UNIMPLEMENTED;
    put(1);
    virtual_worker_advance(&worker, 1500);
    struct ut_queue_figures figures;
    ut_queue_figures(queue, &figures);
    cr_expect_str_eq(figures.words, "no such tenant; are the port and the path of the endpoint "
                                    "those for such spans?");
    cr_expect_eq(figures.words_ns, 1500 * UT_NS_PER_MS);
}

/* The log lets five lines of a cause through at once: each exporter is a cause of its own. */
Test(queue_log, of_many_exporters_that_are_down_each_is_named)
{
    char id[16], line[64];
    fake.answer = (struct ut_outcome){
        .result = UT_RETRY, .cause = UT_SETBACK_TRANSPORT, .text = "nobody there"};
    for (int i = 0; i < 9; i++) {
        (void)snprintf(id, sizeof(id), "fake/%d", i);
        queue = ut_queue_new(&(struct ut_queue_config){.id = id,
                                                       .worker = &worker,
                                                       .exporter = &fake.base,
                                                       .settings = &settings,
                                                       .random_seed = 1});
        cr_assert_not_null(queue);
        for (uint32_t j = 0; j < 5; j++)
            put(1);
        (void)snprintf(line, sizeof(line), " event=endpoint_down exporter=%s ", id);
        expect_said(line);
        virtual_worker_advance(&worker, 601000);
        (void)snprintf(line, sizeof(line), " event=export_stuck exporter=%s spans=5 ", id);
        expect_said(line);
        ut_queue_free(queue);
    }
    open_queue();
}

/* The advice stands at the end, where a cut would take it. */
Test(queue_log, words_of_some_length_are_not_cut)
{
    char words[401];
    memset(words, 'w', sizeof(words) - 1);
    words[sizeof(words) - 1] = '\0';
    memcpy(words + sizeof(words) - 5, "tail", 4);
    open_queue();
    fake.answer = retry;
    fake.answer.text = words;
    put(1);
    expect_said("wwwtail\n");
    cr_expect_str_eq(ut_queue_words(queue), words);
}
