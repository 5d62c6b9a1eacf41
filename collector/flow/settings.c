/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The config keys of every exporter's queue and retry, with the Collector's names and defaults.
 * They are a library of their own, below the plug-ins that include them in their tables.
 */
#include "component.h"

#define QUEUE_OFFSET(member)                                                                       \
    (offsetof(struct ut_exporter_settings, sending_queue.member) -                                 \
     offsetof(struct ut_exporter_settings, sending_queue))
#define BATCH_OFFSET(member)                                                                       \
    (offsetof(struct ut_exporter_settings, sending_queue.batch.member) -                           \
     offsetof(struct ut_exporter_settings, sending_queue.batch))
#define RETRY_OFFSET(member)                                                                       \
    (offsetof(struct ut_exporter_settings, retry_on_failure.member) -                              \
     offsetof(struct ut_exporter_settings, retry_on_failure))

static const char *const sizers[] = {"requests", "items", "bytes", NULL};
static const char *const batch_sizers[] = {"items", "bytes", NULL};
static const char *const on_full_words[] = {"refuse", "drop_oldest", "drop_newest", NULL};

static const struct ut_field batch_fields[] = {
    {
        .key = "min_size",
        .type = UT_FIELD_BYTES,
        .offset = BATCH_OFFSET(min_size),
        .fallback = "8192",
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "max_size",
        .type = UT_FIELD_BYTES,
        .offset = BATCH_OFFSET(max_size),
        .fallback = "0",
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "flush_timeout",
        .type = UT_FIELD_DURATION,
        .offset = BATCH_OFFSET(flush_timeout_ns),
        .fallback = "200ms",
        .least = 0.001,
        .most = 3600,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "sizer",
        .type = UT_FIELD_ENUM,
        .offset = BATCH_OFFSET(sizer),
        .fallback = "items",
        .words = batch_sizers,
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_FIELD_END,
};

const struct ut_field ut_sending_queue_fields[] = {
    {
        .key = "enabled",
        .type = UT_FIELD_BOOL,
        .offset = QUEUE_OFFSET(enabled),
        .fallback = "true",
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "num_consumers",
        .type = UT_FIELD_UINT,
        .offset = QUEUE_OFFSET(num_consumers),
        .fallback = "10",
        .least = 1,
        .most = 1000,
        .present = UT_FIELD_NO_PRESENT,
    },
    /* A number; or, where the sizer is bytes, a size. */
    {
        .key = "queue_size",
        .type = UT_FIELD_BYTES,
        .offset = QUEUE_OFFSET(queue_size),
        .fallback = "1000",
        .least = 1,
        .most = 1e12,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "storage",
        .type = UT_FIELD_STRING,
        .offset = QUEUE_OFFSET(storage),
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "sizer",
        .type = UT_FIELD_ENUM,
        .offset = QUEUE_OFFSET(sizer),
        .fallback = "requests",
        .words = sizers,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "wait_for_result",
        .type = UT_FIELD_BOOL,
        .offset = QUEUE_OFFSET(wait_for_result),
        .fallback = "false",
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "block_on_overflow",
        .type = UT_FIELD_BOOL,
        .offset = QUEUE_OFFSET(block_on_overflow),
        .fallback = "false",
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "on_full",
        .type = UT_FIELD_ENUM,
        .offset = QUEUE_OFFSET(on_full),
        .fallback = "refuse",
        .words = on_full_words,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "batch",
        .type = UT_FIELD_MAP,
        .offset = QUEUE_OFFSET(batch),
        .fields = batch_fields,
        .present = QUEUE_OFFSET(batch.present),
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

void ut_exporter_settings_check(const struct ut_exporter_settings *settings,
                                struct ut_config_report *report)
{
    uint64_t min_size = settings->sending_queue.batch.min_size;
    uint64_t max_size = settings->sending_queue.batch.max_size;
    bool drops = settings->sending_queue.on_full != UT_ON_FULL_REFUSE;
    if (settings->sending_queue.batch.present && max_size != 0 && max_size < min_size)
        report->error(report, "sending_queue.batch.max_size",
                      "must be 0 (no maximum) or at least min_size (%llu)",
                      (unsigned long long)min_size);
    if (drops && settings->sending_queue.block_on_overflow)
        report->error(
            report, "sending_queue.block_on_overflow",
            "a queue that drops when it is full holds nobody up: remove this, or on_full");
    if (drops && (settings->sending_queue.wait_for_result || !settings->sending_queue.enabled))
        report->error(report, "sending_queue.on_full",
                      "spans whose delivery is waited for must not be dropped: write refuse, or do "
                      "not wait for the result");
}
