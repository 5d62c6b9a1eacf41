/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue, one fake exporter, virtual time. A test sets the switches of `settings`, opens the
 * queue and puts. At its end the books must balance, and nothing may be left anywhere.
 */
#ifndef UT_TEST_QUEUE_LAB_H
#define UT_TEST_QUEUE_LAB_H

#include <stdlib.h>

#include "fake_exporter.h"
#include "flow/retry.h"
#include "virtual_worker.h"

static struct ut_worker worker;
static struct fake_exporter fake;
static struct ut_queue *queue;

__attribute__((unused)) static const struct ut_outcome sent = {.result = UT_SENT};
__attribute__((unused)) static const struct ut_outcome retry = {.result = UT_RETRY,
                                                                .text = "try again\nplease"};
__attribute__((unused)) static const struct ut_outcome permanent = {.result = UT_PERMANENT,
                                                                    .text = "no such tenant"};
__attribute__((unused)) static const struct ut_outcome too_large = {.result = UT_TOO_LARGE};

/* Tests set the switches of `settings` before they open. */
static struct ut_exporter_settings settings;

static inline void prepare(void)
{
    virtual_worker_init(&worker);
    fake_exporter_init(&fake, &worker);
    settings = ut_queue_defaults;
    settings.sending_queue.queue_size = 100;
    settings.retry_on_failure.randomization_factor = 0;
    settings.retry_on_failure.multiplier = 2;
}

static inline void open_queue(void)
{
    queue = ut_queue_new(&(struct ut_queue_config){
        .id = "fake",
        .worker = &worker,
        .exporter = &fake.base,
        .settings = &settings,
        .random_seed = 1,
    });
    cr_assert_not_null(queue);
}

/* Whatever the test did: the books balance, nothing leaks, no slot and no charge is left. */
static inline void finish(void)
{
    (void)balanced_books(queue);
    ut_queue_free(queue);
    cr_assert_eq(worker.budget.used, 0);
    virtual_worker_done(&worker);
}

static inline struct ut_batch *put(uint32_t spans)
{
    struct ut_batch *batch = fake_batch(&worker, spans);
    cr_assert(ut_queue_admits(queue, batch));
    ut_queue_put(queue, batch);
    (void)balanced_books(queue);
    return batch;
}

static inline uint64_t metric(const char *name)
{
    size_t size;
    char *text = ut_metrics_text(worker.metrics, &size);
    cr_assert_not_null(text);
    char line[160];
    (void)snprintf(line, sizeof(line), "\n%s ", name);
    const char *found = strstr(text, line);
    cr_assert_not_null(found, "%s in\n%s", name, text);
    double value = strtod(found + strlen(line), NULL);
    free(text);
    return (uint64_t)value;
}

/* Batches that the queue has places for now. */
static inline uint64_t room(void)
{
    return metric("otelcol_exporter_queue_capacity{exporter=\"fake\"}") -
           metric("otelcol_exporter_queue_size{exporter=\"fake\"}");
}

#endif
