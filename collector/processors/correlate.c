/* SPDX-License-Identifier: Apache-2.0 */
/*
 * correlate: joins spans with what the kernel saw under them (evidence/join.c). Answered early,
 * correlated late: a batch waits here until the events of its newest span can have been recorded.
 *
 * A batch is due `settle` after its newest span's end. Batches that are due on arrival go through
 * at once; the others stand in a heap by due time, which one timer empties. At most
 * UT_CORRELATE_HELD bytes wait; beyond that the one that is due first goes unsettled, and is
 * counted. Batches may overtake each other: nothing downstream asks for an order.
 *
 * Small requests that are due within a sixteenth of `settle` wait as one batch: each batch on the
 * way has a place in every queue, and a thousand one-span requests should not need a thousand.
 *
 * Before batches are joined the kernel's ring is drained, once per turn of the timer.
 *
 * Invariants: 1. held_bytes = Σ bytes of the heap's batches; 2. the timer is set exactly while the
 * heap holds something, at the due time of its root; 3. the processor owns the batches in the heap;
 * 4. `open` is in the heap, or NULL.
 */
#include "correlate_processor/correlate.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "evidence/evidence.h"
#include "evidence/strip.h"

/* Bytes of messages that may wait, and how many batches: a table of fixed size. */
enum { HELD_BYTES_MAX = 8 << 20, HELD_MAX = 8192 };

/* Batches up to this many bytes are merged while they wait, and how far apart they may be due. */
enum { MERGED_BYTES_MAX = 64 << 10, MERGE_SHARE = 16 };

struct config {
    uint64_t settle_ns, slack_ns;
    bool resource_attributes;
};

static const struct ut_field fields[] = {
    {
        .key = "settle",
        .type = UT_FIELD_DURATION,
        .offset = offsetof(struct config, settle_ns),
        .fallback = "300ms",
        .least = 0,
        .most = 60,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "slack",
        .type = UT_FIELD_DURATION,
        .offset = offsetof(struct config, slack_ns),
        .fallback = "5ms",
        .least = 0,
        .most = 1,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "resource_attributes",
        .type = UT_FIELD_BOOL,
        .offset = offsetof(struct config, resource_attributes),
        .fallback = "true",
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_FIELD_END,
};

struct held {
    uint64_t due_ns; /* monotonic */
    struct ut_batch *batch;
};

struct correlate {
    struct ut_processor processor;
    struct ut_worker *worker;
    struct ut_evidence *evidence; /* borrowed; NULL: forged keys are removed, nothing is joined */
    struct ut_join_options options;
    struct ut_strip_counters strip; /* where there is no evidence */
    uint64_t settle_ns;
    uint64_t (*unix_ns)(void);
    struct ut_timer timer;
    struct held *heap; /* from index 0 */
    size_t held;
    size_t held_bytes;
    struct ut_batch *open; /* the newest small batch, to which others may be added */
    uint64_t open_until_ns;
    uint64_t *unsettled;
};

static struct correlate *correlate_of(struct ut_consumer *consumer)
{
    return UT_CONTAINER_OF(consumer, struct correlate, processor.in);
}

static void push_held(struct correlate *c, struct held item)
{
    size_t i = c->held++;
    for (; i > 0 && c->heap[(i - 1) / 2].due_ns > item.due_ns; i = (i - 1) / 2)
        c->heap[i] = c->heap[(i - 1) / 2];
    c->heap[i] = item;
    c->held_bytes += item.batch->bytes;
}

/* Puts `item` at place i, or below it where others are due before it. */
static void sift_down(struct correlate *c, size_t i, struct held item)
{
    for (size_t child; (child = 2 * i + 1) < c->held; i = child) {
        if (child + 1 < c->held && c->heap[child + 1].due_ns < c->heap[child].due_ns)
            child++;
        if (c->heap[child].due_ns >= item.due_ns)
            break;
        c->heap[i] = c->heap[child];
    }
    c->heap[i] = item;
}

static struct ut_batch *pop_held(struct correlate *c)
{
    struct ut_batch *batch = c->heap[0].batch;
    struct held last = c->heap[--c->held];
    sift_down(c, 0, last);
    c->held_bytes -= batch->bytes;
    if (batch == c->open)
        c->open = NULL;
    return batch;
}

/* Adds the item to the open batch, which is then due when both are. */
static bool merge_held(struct correlate *c, struct held item)
{
    if (c->open == NULL || item.due_ns > c->open_until_ns ||
        c->open->bytes + item.batch->bytes > MERGED_BYTES_MAX)
        return false;
    size_t i = 0;
    while (c->heap[i].batch != c->open)
        i++;
    if (item.due_ns + c->settle_ns / MERGE_SHARE < c->heap[i].due_ns)
        return false;
    c->held_bytes += item.batch->bytes;
    ut_batch_append(c->open, item.batch);
    if (item.due_ns > c->heap[i].due_ns)
        sift_down(c, i, (struct held){item.due_ns, c->open});
    return true;
}

static void hold(struct correlate *c, struct held item)
{
    if (merge_held(c, item))
        return;
    push_held(c, item);
    if (item.batch->bytes < MERGED_BYTES_MAX) {
        c->open = item.batch;
        c->open_until_ns = item.due_ns + c->settle_ns / MERGE_SHARE;
    }
}

static void set_timer(struct correlate *c)
{
    if (c->held > 0)
        ut_timer_set(&c->worker->timers, &c->timer, c->heap[0].due_ns);
    else
        ut_timer_cancel(&c->worker->timers, &c->timer);
}

static void join_and_pass(struct correlate *c, struct ut_batch *batch)
{
    ut_evidence_join(c->evidence, batch, &c->options, c->unix_ns());
    c->processor.out->consume(c->processor.out, batch);
}

static void drain(struct correlate *c)
{
    if (c->evidence != NULL)
        ut_evidence_drain(c->evidence);
}

static void on_due(struct ut_timer *timer, uint64_t now_ns)
{
    struct correlate *c = UT_CONTAINER_OF(timer, struct correlate, timer);
    drain(c);
    while (c->held > 0 && c->heap[0].due_ns <= now_ns)
        join_and_pass(c, pop_held(c));
    set_timer(c);
}

/* How long the batch still has to wait, in nanoseconds. A span that says it ends in the future is
 * not joined and holds nobody up. */
static uint64_t unsettled_for(const struct correlate *c, const struct ut_batch *batch)
{
    uint64_t now_ns = c->unix_ns();
    uint64_t end_ns = batch->newest_end_ns;
    if (c->evidence == NULL || batch->spans == 0)
        return 0;
    if (end_ns > now_ns)
        end_ns = now_ns;
    uint64_t age_ns = now_ns - end_ns;
    return age_ns < c->settle_ns ? c->settle_ns - age_ns : 0;
}

static void consume(struct ut_consumer *consumer, struct ut_batch *batch)
{
    struct correlate *c = correlate_of(consumer);
    uint64_t wait_ns = unsettled_for(c, batch);
    if (wait_ns == 0) {
        drain(c);
        join_and_pass(c, batch);
        return;
    }
    if (c->held == HELD_MAX || batch->bytes > HELD_BYTES_MAX) {
        *c->unsettled += batch->spans;
        drain(c);
        join_and_pass(c, batch);
        return;
    }
    hold(c, (struct held){ut_worker_now(c->worker) + wait_ns, batch});
    while (c->held_bytes > HELD_BYTES_MAX) {
        struct ut_batch *first = pop_held(c);
        *c->unsettled += first->spans;
        drain(c);
        join_and_pass(c, first);
    }
    set_timer(c);
}

static void flush(struct ut_processor *processor)
{
    struct correlate *c = UT_CONTAINER_OF(processor, struct correlate, processor);
    if (c->held > 0)
        drain(c);
    while (c->held > 0) {
        struct ut_batch *batch = pop_held(c);
        *c->unsettled += batch->spans;
        join_and_pass(c, batch);
    }
    set_timer(c);
}

static void free_correlate(struct ut_processor *processor)
{
    struct correlate *c = UT_CONTAINER_OF(processor, struct correlate, processor);
    ut_timer_cancel(&c->worker->timers, &c->timer);
    while (c->held > 0)
        ut_batch_unref(pop_held(c));
    free(c->heap);
    free(c);
}

static int create(struct ut_processor **ret, const struct ut_build *build,
                  struct ut_evidence *evidence, struct ut_consumer *out)
{
    const struct config *config = build->config;
    struct correlate *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    c->heap = calloc(HELD_MAX, sizeof(c->heap[0]));
    if (c->heap == NULL) {
        free(c);
        return -ENOMEM;
    }
    c->processor = (struct ut_processor){&ut_processor_correlate, {consume}, out};
    c->worker = build->worker;
    c->evidence = evidence;
    c->options = (struct ut_join_options){config->slack_ns, config->resource_attributes,
                                          build->identity, &c->strip};
    ut_strip_counters_init(&c->strip, build->worker->metrics);
    c->settle_ns = config->settle_ns;
    c->unix_ns = ut_clock_unix_ns;
    c->timer.fire = on_due;
    c->unsettled = ut_metrics_counter(
        build->worker->metrics, "undertrace_correlate_unsettled_spans_total", "",
        "Spans that were joined before `settle` had passed, for want of room or at the end.");
    *ret = &c->processor;
    return 0;
}

void ut_correlate_set_clock(struct ut_processor *processor, uint64_t (*unix_ns)(void))
{
    UT_CONTAINER_OF(processor, struct correlate, processor)->unix_ns = unix_ns;
}

const struct ut_processor_type ut_processor_correlate = {
    .name = "correlate",
    .fields = fields,
    .config_size = sizeof(struct config),
    .create = create,
    .flush = flush,
    .free = free_correlate,
};
