/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The config keys of every exporter's queue and retry, with the Collector's names and defaults.
 * They are a library of their own, below the plug-ins that include them in their tables.
 */
#include "component.h"

#define QUEUE_OFFSET(member)                                                                       \
    (offsetof(struct ut_exporter_settings, sending_queue.member) -                                 \
     offsetof(struct ut_exporter_settings, sending_queue))
#define RETRY_OFFSET(member)                                                                       \
    (offsetof(struct ut_exporter_settings, retry_on_failure.member) -                              \
     offsetof(struct ut_exporter_settings, retry_on_failure))

const struct ut_field ut_sending_queue_fields[] = {
    {
        .key = "num_consumers",
        .type = UT_FIELD_UINT,
        .offset = QUEUE_OFFSET(num_consumers),
        .fallback = "10",
        .least = 1,
        .most = 1000,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "queue_size",
        .type = UT_FIELD_UINT,
        .offset = QUEUE_OFFSET(queue_size),
        .fallback = "1000",
        .least = 1,
        .most = 10e6,
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_FIELD_END,
};

const struct ut_field ut_retry_on_failure_fields[] = {
    {
        .key = "enabled",
        .type = UT_FIELD_BOOL,
        .offset = RETRY_OFFSET(enabled),
        .fallback = "true",
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "initial_interval",
        .type = UT_FIELD_DURATION,
        .offset = RETRY_OFFSET(initial_interval_ns),
        .fallback = "5s",
        .least = 0.001,
        .most = 86400,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "max_interval",
        .type = UT_FIELD_DURATION,
        .offset = RETRY_OFFSET(max_interval_ns),
        .fallback = "30s",
        .least = 0.001,
        .most = 86400,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "max_elapsed_time",
        .type = UT_FIELD_DURATION,
        .offset = RETRY_OFFSET(max_elapsed_time_ns),
        .fallback = "0",
        .least = 0,
        .most = 30 * 86400,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "multiplier",
        .type = UT_FIELD_DOUBLE,
        .offset = RETRY_OFFSET(multiplier),
        .fallback = "1.5",
        .least = 1,
        .most = 100,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "randomization_factor",
        .type = UT_FIELD_DOUBLE,
        .offset = RETRY_OFFSET(randomization_factor),
        .fallback = "0.5",
        .least = 0,
        .most = 1,
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_FIELD_END,
};
