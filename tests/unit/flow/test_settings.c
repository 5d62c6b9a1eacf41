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
