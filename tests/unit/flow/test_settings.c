/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "config/fill.h"
#include "flow/queue.h"

static const struct ut_field fields[] = {UT_EXPORTER_FIELDS, UT_FIELD_END};

/* An exporter that brings the tables, and one that brings none, behave alike by default. */
Test(settings, defaults_of_the_tables_are_those_of_the_queue)
{
    struct ut_exporter_settings settings = {0};
    struct ut_config_fill fill = {0};
    ut_config_fill(&fill, fields, &settings, NULL);
    const struct ut_exporter_settings *queue = &ut_queue_defaults;
    cr_assert_eq(settings.sending_queue.num_consumers, queue->sending_queue.num_consumers);
    cr_assert_eq(settings.sending_queue.queue_size, queue->sending_queue.queue_size);
    cr_assert_eq(settings.sending_queue.enabled, queue->sending_queue.enabled);
    cr_assert_eq(settings.sending_queue.sizer, queue->sending_queue.sizer);
    cr_assert_eq(settings.sending_queue.on_full, queue->sending_queue.on_full);
    cr_assert_eq(settings.sending_queue.wait_for_result, queue->sending_queue.wait_for_result);
    cr_assert_eq(settings.sending_queue.block_on_overflow, queue->sending_queue.block_on_overflow);
    cr_assert_not(settings.sending_queue.batch.present);
    cr_assert_eq(settings.sending_queue.batch.min_size, queue->sending_queue.batch.min_size);
    cr_assert_eq(settings.sending_queue.batch.max_size, queue->sending_queue.batch.max_size);
    cr_assert_eq(settings.sending_queue.batch.flush_timeout_ns,
                 queue->sending_queue.batch.flush_timeout_ns);
    cr_assert_eq(settings.sending_queue.batch.sizer, queue->sending_queue.batch.sizer);
    cr_assert_eq(settings.retry_on_failure.enabled, queue->retry_on_failure.enabled);
    cr_assert_eq(settings.retry_on_failure.initial_interval_ns,
                 queue->retry_on_failure.initial_interval_ns);
    cr_assert_eq(settings.retry_on_failure.max_interval_ns,
                 queue->retry_on_failure.max_interval_ns);
    cr_assert_eq(settings.retry_on_failure.max_elapsed_time_ns,
                 queue->retry_on_failure.max_elapsed_time_ns);
    cr_assert_float_eq(settings.retry_on_failure.multiplier, queue->retry_on_failure.multiplier, 0);
    cr_assert_float_eq(settings.retry_on_failure.randomization_factor,
                       queue->retry_on_failure.randomization_factor, 0);
}

struct report {
    struct ut_config_report base;
    char path[64];
    unsigned errors;
};

static void __attribute__((format(printf, 3, 4)))
take_error(struct ut_config_report *base, const char *path, const char *format, ...)
{
    struct report *report = UT_CONTAINER_OF(base, struct report, base);
    (void)format;
    (void)snprintf(report->path, sizeof(report->path), "%s", path);
    report->errors++;
}

static void expect_error(const struct ut_exporter_settings *settings, const char *path)
{
    struct report report = {.base = {.error = take_error}};
    ut_exporter_settings_check(settings, &report.base);
    cr_assert_eq(report.errors, path != NULL ? 1 : 0, "%s", report.path);
    if (path != NULL)
        cr_assert_str_eq(report.path, path);
}

Test(settings, combinations_that_cannot_be_meant_are_refused)
{
    struct ut_exporter_settings settings = ut_queue_defaults;
    expect_error(&settings, NULL);
    settings.sending_queue.batch.max_size = 100;
    expect_error(&settings, NULL);
    settings.sending_queue.batch.present = true;
    expect_error(&settings, "sending_queue.batch.max_size");
    settings = ut_queue_defaults;
    settings.sending_queue.on_full = UT_ON_FULL_DROP_OLDEST;
    expect_error(&settings, NULL);
    settings.sending_queue.block_on_overflow = true;
    expect_error(&settings, "sending_queue.block_on_overflow");
    settings.sending_queue.block_on_overflow = false;
    settings.sending_queue.wait_for_result = true;
    expect_error(&settings, "sending_queue.on_full");
    settings.sending_queue.wait_for_result = false;
    settings.sending_queue.enabled = false;
    expect_error(&settings, "sending_queue.on_full");
}
