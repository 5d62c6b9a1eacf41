/* SPDX-License-Identifier: Apache-2.0 */
/* A pipeline with a disk hold and queues into fake exporters, on a real loop. */
#ifndef UT_TEST_DURABLE_LAB_H
#define UT_TEST_DURABLE_LAB_H

#include "base/clock.h"
#include "disk_scratch.h"
#include "fake_exporter.h"
#include "flow/pipeline.h"
#include "otlp_batch.h"

enum { CURSORS = 2 };

struct sent {
    struct ut_push push;
    int verdict; /* -1: not answered */
    char text[128];
};

static struct disk_scratch scratch;
static struct ut_worker worker;
static struct ut_hold *hold;
static struct ut_keeping keeping;
static struct fake_exporter fakes[CURSORS];
static struct ut_queue *queues[CURSORS];
static struct ut_pipeline *pipeline;
static size_t exporters = 1, budget = (size_t)64 << 20;
static uint64_t durable_ns = 10 * UT_NS_PER_S;
static struct ut_exporter_settings settings;
static struct sent sent[2000];
static size_t sent_count;
static bool closed;

/* ---- the parts ------------------------------------------------------------------------------- */

static void open_parts(void)
{
    static const char *const names[] = {"fake/one", "fake/two"};
    char error[UT_DISK_ERROR_TEXT];
    cr_assert_eq(ut_worker_init(&worker, budget, NULL, ut_metrics_new()), 0);
    const struct ut_hold_config config = {&worker, scratch.path, (uint64_t)64 << 20, true, true};
    cr_assert_eq(ut_hold_open(&hold, &config, error), 0, "%s", error);
    ut_keeping_init(&keeping, &worker, hold);
    for (size_t i = 0; i < exporters; i++) {
        fake_exporter_init(&fakes[i], &worker);
        int cursor = ut_hold_claim(hold, names[i]);
        cr_assert_geq(cursor, 0);
        queues[i] = ut_queue_new(&(struct ut_queue_config){
            .id = names[i],
            .worker = &worker,
            .exporter = &fakes[i].base,
            .settings = &settings,
            .keeping = &keeping,
            .cursor = (uint32_t)cursor,
        });
        ut_queue_own_backlog(queues[i]);
    }
    pipeline = ut_pipeline_new(&(struct ut_pipeline_config){
        .id = "traces",
        .worker = &worker,
        .queues = queues,
        .queue_count = exporters,
        .durable_within_ns = durable_ns,
        .keeping = &keeping,
    });
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

/* Turns the loop until `condition` holds, 20 s at most. */
#define WAIT(condition)                                                                            \
    do {                                                                                           \
        uint64_t wait_end = ut_clock_monotonic_ns() + 20 * UT_NS_PER_S;                            \
        while (!(condition) && ut_clock_monotonic_ns() < wait_end)                                 \
            (void)uv_run(&worker.uv, UV_RUN_ONCE);                                                 \
        cr_assert(condition);                                                                      \
    } while (0)

/* As the program stops: what is in flight is answered, the hold closed, the rest freed. */
static void close_parts(void)
{
    for (size_t i = 0; i < exporters; i++) {
        ut_queue_abandon(queues[i]);
        while (fakes[i].held_count > 0)
            fake_answer(&fakes[i], (struct ut_outcome){.result = UT_RETRY});
    }
    ut_keeping_close(&keeping);
    closed = false;
    ut_hold_close(hold, on_closed, &closed);
    WAIT(closed);
    ut_pipeline_free(pipeline);
    for (size_t i = 0; i < exporters; i++) {
        (void)balanced_books(queues[i]);
        ut_queue_free(queues[i]);
    }
    cr_expect_eq(keeping.open, 0);
    cr_expect_eq(worker.budget.used, 0);
    struct ut_metrics *metrics = worker.metrics;
    ut_worker_done(&worker);
    ut_metrics_free(metrics);
    sent_count = 0;
}

/* ---- pushes ---------------------------------------------------------------------------------- */

static void on_answer(struct ut_push *push, const struct ut_answer *answer)
{
    struct sent *self = UT_CONTAINER_OF(push, struct sent, push);
    cr_assert_eq(self->verdict, -1, "answered twice");
    self->verdict = (int)answer->verdict;
    (void)snprintf(self->text, sizeof(self->text), "%s", answer->text != NULL ? answer->text : "");
}

/* A request of `spans` spans with an attribute that makes it large, charged as a receiver does. */
static struct ut_batch *make_batch(uint64_t id, int spans, size_t padding)
{
    struct otlp_bytes request = {0};
    char *text = calloc(1, padding + 1);
    memset(text, 'x', padding);
    size_t resource_spans = otlp_begin(&request, 1);
    size_t resource = otlp_begin(&request, 1);
    otlp_text_attribute(&request, 1, "padding", text);
    otlp_end(&request, resource);
    size_t scope_spans = otlp_begin(&request, 2);
    for (int i = 0; i < spans; i++)
        otlp_span(&request, &(struct otlp_span){.trace_id = id,
                                                .span_id = (uint64_t)i + 1,
                                                .name = "GET /",
                                                .start_ns = 1,
                                                .end_ns = 2});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    struct ut_batch *batch = otlp_batch(&worker.pool, &request);
    size_t charge = batch->first->segment->capacity;
    cr_assert(ut_budget_take(&worker.budget, charge));
    batch->first->budget = &worker.budget;
    batch->first->charge = charge;
    otlp_free(&request);
    free(text);
    return batch;
}

static struct sent *push_batch(struct ut_batch *batch)
{
    struct sent *self = &sent[sent_count++];
    *self = (struct sent){.push = {.batch = batch, .done = on_answer}, .verdict = -1};
    ut_pipeline_target(pipeline)->push(ut_pipeline_target(pipeline), &self->push);
    return self;
}

static struct ut_queue_books books(size_t i)
{
    return balanced_books(queues[i]);
}

#endif
