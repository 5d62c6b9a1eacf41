/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_exporter.h"
#include "flow/pipeline.h"
#include "virtual_worker.h"

#include <stdarg.h>
#include <stdlib.h>

extern const struct ut_processor_type ut_processor_batch;

static struct ut_worker worker;
static struct fake_exporter fake;
static struct ut_queue *queue;
static struct ut_pipeline *pipeline;

static uint64_t answers[3]; /* by verdict */

/* The config struct is filled as the config layer does it: by the table. */
static char config[256];

static void set_option(const char *key, uint64_t value)
{
    for (const struct ut_field *field = ut_processor_batch.fields; field->key != NULL; field++) {
        if (strcmp(field->key, key) != 0)
            continue;
        memcpy(config + field->offset, &value, sizeof(value));
        return;
    }
    cr_assert_fail("no option %s", key);
}

static void prepare(void)
{
    virtual_worker_init(&worker);
    fake_exporter_init(&fake, &worker);
    queue = ut_queue_new(
        &(struct ut_queue_config){.id = "fake", .worker = &worker, .exporter = &fake.base});
    pipeline = ut_pipeline_new(&(struct ut_pipeline_config){
        .id = "traces", .worker = &worker, .queues = &queue, .queue_count = 1});
    cr_assert(queue != NULL && pipeline != NULL);
    cr_assert_leq(ut_processor_batch.config_size, sizeof(config));
    set_option("timeout", 200 * UT_NS_PER_MS);
    set_option("send_batch_size", 100);
    set_option("send_batch_max_size", 0);
    struct ut_build build = {.id = "batch", .config = config, .worker = &worker};
    cr_assert_eq(ut_pipeline_prepend(pipeline, &ut_processor_batch, &build, NULL), 0);
}

static void finish(void)
{
    ut_pipeline_free(pipeline);
    (void)balanced_books(queue);
    ut_queue_free(queue);
    cr_assert_eq(worker.budget.used, 0);
    virtual_worker_done(&worker);
}

TestSuite(batch, .init = prepare, .fini = finish);

static void on_answer(struct ut_push *push, const struct ut_answer *answer)
{
    (void)push;
    answers[answer->verdict]++;
}

static void push(uint32_t spans)
{
    struct ut_push push = {.batch = fake_batch(&worker, spans), .done = on_answer};
    ut_pipeline_target(pipeline)->push(ut_pipeline_target(pipeline), &push);
    (void)balanced_books(queue);
}

static void assert_sends(size_t count, const uint32_t *spans)
{
    cr_assert_eq(fake.send_count, count, "%zu sends", fake.send_count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(fake.sends[i].count, spans[i], "send %zu: %u spans", i, fake.sends[i].count);
}
#define SENDS(...)                                                                                 \
    assert_sends(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (uint32_t[]){__VA_ARGS__})

Test(batch, goes_on_when_it_has_its_size)
{
    for (int i = 0; i < 9; i++)
        push(11);
    cr_assert_eq(fake.send_count, 0);
    push(11);
    SENDS(110);
    cr_assert_eq(worker.timers.count, 0);
}

Test(batch, goes_on_when_its_first_request_has_waited_for_the_timeout)
{
    push(1);
    virtual_worker_advance(&worker, 150);
    push(2);
    virtual_worker_advance(&worker, 49);
    cr_assert_eq(fake.send_count, 0);
    virtual_worker_advance(&worker, 1);
    SENDS(3);
    virtual_worker_advance(&worker, 10000);
    SENDS(3);
}

Test(batch, a_new_batch_has_a_new_timeout)
{
    push(100);
    virtual_worker_advance(&worker, 100);
    push(1);
    virtual_worker_advance(&worker, 199);
    SENDS(100);
    virtual_worker_advance(&worker, 1);
    SENDS(100, 1);
}

Test(batch, without_a_timeout_every_request_goes_on_at_once)
{
    set_option("timeout", 0);
    push(1);
    push(2);
    SENDS(1, 2);
}

Test(batch, with_a_size_of_zero_every_request_goes_on_at_once)
{
    set_option("send_batch_size", 0);
    push(1);
    push(2);
    SENDS(1, 2);
}

Test(batch, the_maximum_is_kept_at_the_borders_of_requests)
{
    set_option("send_batch_max_size", 120);
    push(90);
    push(40);
    SENDS(90);
    push(70);
    SENDS(90, 110);
    push(500);
    SENDS(90, 110, 500);
}

Test(batch, merging_keeps_every_body_in_order)
{
    fake.keeps = true;
    struct ut_batch *first = fake_batch(&worker, 60), *second = fake_batch(&worker, 60);
    const struct ut_body *bodies[] = {first->first, second->first};
    struct ut_batch *batches[] = {first, second};
    for (int i = 0; i < 2; i++) {
        struct ut_push push = {.batch = batches[i], .done = on_answer};
        ut_pipeline_target(pipeline)->push(ut_pipeline_target(pipeline), &push);
    }
    const struct ut_batch *merged = fake.held[0]->batch;
    cr_assert_eq(merged->first, bodies[0]);
    cr_assert_eq(merged->first->next, bodies[1]);
    fake_answer(&fake, (struct ut_outcome){.result = UT_SENT});
}

Test(batch, small_requests_that_wait_for_company_have_one_place_together)
{
    set_option("send_batch_size", 8192);
    fake.keeps = true;
    for (int i = 0; i < 20000; i++) {
        push(1);
        /* The backend answers a while later. */
        if (fake.held_count > 1)
            fake_answer(&fake, (struct ut_outcome){.result = UT_SENT});
    }
    cr_assert_eq(answers[UT_BUSY], 0);
    cr_assert_eq(answers[UT_ACCEPTED], 20000);
    cr_assert_lt(fake.send_count, 100, "%zu sends: merging has ended", fake.send_count);
    ut_pipeline_flush(pipeline);
    while (fake.held_count > 0)
        fake_answer(&fake, (struct ut_outcome){.result = UT_SENT});
    cr_assert_eq(balanced_books(queue).sent, 20000);
}

Test(batch, flush_passes_on_what_waits)
{
    push(7);
    ut_pipeline_flush(pipeline);
    SENDS(7);
    ut_pipeline_flush(pipeline);
    SENDS(7);
    cr_assert_eq(worker.timers.count, 0);
}

Test(batch, what_was_never_flushed_is_released)
{
    push(7);
    cr_assert_eq(worker.budget.used, 100);
    /* `finish` frees the pipeline and finds the budget empty. */
}

static char report_path[64];

static void on_report(struct ut_config_report *report, const char *path, const char *format, ...)
{
    (void)report;
    va_list arguments;
    char text[200];
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)snprintf(report_path, sizeof(report_path), "%s", path);
    cr_assert_not_null(strstr(text, "(100)"), "%s", text);
}

Test(batch, a_maximum_below_the_size_is_an_error)
{
    struct ut_config_report report = {.error = on_report};
    ut_processor_batch.check(config, &report);
    cr_assert_str_empty(report_path);
    set_option("send_batch_max_size", 99);
    ut_processor_batch.check(config, &report);
    cr_assert_str_eq(report_path, "send_batch_max_size");
}

/* Requests in, merged, sent, some of them put off and tried again: once warm, the system is asked
 * for no memory at all. */
Test(batch, the_way_through_pipeline_batch_and_queue_asks_the_system_for_no_memory)
{
    uint64_t before = 0;
    for (int round = 0; round < 2000; round++) {
        if (round == 100)
            before = worker.pool.system_calls;
        fake.answer.result = round % 7 == 0 ? UT_RETRY : UT_SENT;
        for (int i = 0; i < 10; i++)
            push(11);
        fake.answer.result = UT_SENT;
        if (round % 7 == 0)
            virtual_worker_advance(&worker, 8000);
    }
    cr_assert_eq(worker.pool.system_calls, before);
    cr_assert_eq(balanced_books(queue).sent, 2000 * 110);
    cr_assert_eq(answers[UT_ACCEPTED], 20000);
}
