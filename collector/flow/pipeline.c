/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/pipeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "flow/delivery.h"

/* How long a request waits for room where the queue blocks, and how many may. Their bytes are in
 * the budget, as those of all requests are. */
#define BLOCK_NS UT_NS_PER_S
enum { BLOCKED_MAX = 4096 };

struct feed {
    struct ut_queue_feed base;
    struct ut_pipeline *pipeline;
};

struct ut_pipeline {
    struct ut_push_target target;
    struct ut_consumer fan_out;
    struct ut_consumer *head; /* the first processor, or the fan-out */
    struct ut_worker *worker;
    struct ut_queue *queues[UT_PIPELINE_QUEUES_MAX];
    struct feed feeds[UT_PIPELINE_QUEUES_MAX];
    size_t queue_count;
    /* From the end of the array, so that processors[first …] is the order of the data. */
    struct ut_processor *processors[UT_PIPELINE_PROCESSORS_MAX];
    size_t first;
    struct ut_on_the_way on_the_way;
    struct ut_deliveries deliveries;
    struct ut_keeping_client keeping;              /* .keeping NULL: there is no disk hold */
    struct ut_push *blocked_first, **blocked_last; /* pushes that wait for room, in order */
    uint32_t blocked;
    struct ut_timer unblock;
    bool admitting;
};

/* ---- admission ------------------------------------------------------------------------------ */

/* The first queue that has no room for the batch, or NULL. */
static struct ut_queue *find_full(struct ut_pipeline *pipeline, const struct ut_batch *batch)
{
    for (size_t i = 0; i < pipeline->queue_count; i++) {
        if (!ut_queue_admits(pipeline->queues[i], batch))
            return pipeline->queues[i];
    }
    return NULL;
}

static void answer_busy(struct ut_push *push, uint32_t delay_ms, const char *text)
{
    ut_batch_unref(push->batch);
    push->done(push, &(struct ut_answer){.verdict = UT_BUSY, .delay_ms = delay_ms, .text = text});
}

static void refuse(struct ut_push *push, struct ut_queue *full)
{
    ut_queue_count_refused(full, push->batch->spans);
    answer_busy(push, ut_queue_delay_ms(full), "the sending queue is full");
}

/* What is accepted has its place in each queue, whatever becomes of the memory meanwhile. */
static bool prepare(struct ut_pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->queue_count; i++) {
        if (!ut_queue_prepare(pipeline->queues[i]))
            return false;
    }
    return true;
}

static void admit(struct ut_pipeline *pipeline, struct ut_push *push)
{
    struct ut_batch *batch = push->batch;
    bool waits = pipeline->deliveries.timeout_ns != 0;
    if (!prepare(pipeline)) {
        answer_busy(push, 0, "out of memory");
        return;
    }
    if (waits && ut_delivery_begin(&pipeline->deliveries, push) != 0) {
        answer_busy(push, 0, "out of memory");
        return;
    }
    ut_batch_set_on_the_way(batch, &pipeline->on_the_way);
    if (pipeline->keeping.keeping != NULL) {
        ut_keeping_store(&pipeline->keeping, push);
        return;
    }
    if (!waits)
        push->done(push, &(struct ut_answer){.verdict = UT_ACCEPTED});
    pipeline->head->consume(pipeline->head, batch);
}

/* ---- waiting for room ----------------------------------------------------------------------- */

static bool may_block(const struct ut_pipeline *pipeline, const struct ut_batch *batch)
{
    if (pipeline->blocked == BLOCKED_MAX)
        return false;
    for (size_t i = 0; i < pipeline->queue_count; i++) {
        const struct ut_queue *queue = pipeline->queues[i];
        if (!ut_queue_admits(queue, batch) && !ut_queue_blocks(queue))
            return false;
    }
    return true;
}

static void block(struct ut_pipeline *pipeline, struct ut_push *push)
{
    uint64_t until_ns = ut_worker_now(pipeline->worker) + BLOCK_NS;
    if (push->deadline_ns != 0 && push->deadline_ns < until_ns)
        until_ns = push->deadline_ns;
    push->next = NULL;
    push->held_by = NULL;
    push->held_until_ns = until_ns;
    *pipeline->blocked_last = push;
    pipeline->blocked_last = &push->next;
    pipeline->blocked++;
    if (!ut_timer_is_set(&pipeline->unblock) || until_ns < pipeline->unblock.due_ns)
        ut_timer_set(&pipeline->worker->timers, &pipeline->unblock, until_ns);
}

/* Takes the push that `link` points to out of the list. */
static struct ut_push *take_blocked(struct ut_pipeline *pipeline, struct ut_push **link)
{
    struct ut_push *push = *link;
    *link = push->next;
    if (pipeline->blocked_last == &push->next)
        pipeline->blocked_last = link;
    pipeline->blocked--;
    push->next = NULL;
    return push;
}

/* Those that have waited long enough are refused. The list is short, and a client may have its own
 * deadline, so each is looked at. */
static void on_unblock(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_pipeline *pipeline = UT_CONTAINER_OF(timer, struct ut_pipeline, unblock);
    uint64_t next_ns = UINT64_MAX;
    for (struct ut_push **link = &pipeline->blocked_first; *link != NULL;) {
        if ((*link)->held_until_ns <= now_ns) {
            struct ut_push *push = take_blocked(pipeline, link);
            struct ut_queue *full = find_full(pipeline, push->batch);
            refuse(push, full != NULL ? full : pipeline->queues[0]);
        } else {
            next_ns = (*link)->held_until_ns < next_ns ? (*link)->held_until_ns : next_ns;
            link = &(*link)->next;
        }
    }
    if (next_ns != UINT64_MAX)
        ut_timer_set(&pipeline->worker->timers, timer, next_ns);
}

/* An exporter that finishes at once calls this again from below: the loop runs already. */
static void on_room(struct ut_queue_feed *feed)
{
    struct ut_pipeline *pipeline = UT_CONTAINER_OF(feed, struct feed, base)->pipeline;
    if (pipeline->admitting)
        return;
    pipeline->admitting = true;
    while (pipeline->blocked_first != NULL &&
           find_full(pipeline, pipeline->blocked_first->batch) == NULL)
        admit(pipeline, take_blocked(pipeline, &pipeline->blocked_first));
    pipeline->admitting = false;
}

/* ---- the front and the end ------------------------------------------------------------------ */

static void on_push(struct ut_push_target *target, struct ut_push *push)
{
    struct ut_pipeline *pipeline = UT_CONTAINER_OF(target, struct ut_pipeline, target);
    if (push->batch->spans == 0) {
        ut_batch_unref(push->batch);
        push->done(push, &(struct ut_answer){.verdict = UT_ACCEPTED});
        return;
    }
    struct ut_queue *full = find_full(pipeline, push->batch);
    if (full == NULL && pipeline->blocked == 0)
        admit(pipeline, push);
    else if (may_block(pipeline, push->batch))
        block(pipeline, push);
    else
        refuse(push, full != NULL ? full : pipeline->queues[0]);
}

static void on_abandon(struct ut_push_target *target, struct ut_push *push)
{
    const struct ut_pipeline *pipeline = UT_CONTAINER_OF(target, struct ut_pipeline, target);
    if (push->held_by == NULL) /* it waits for room, and not long */
        return;
    if (pipeline->keeping.keeping != NULL)
        ut_keeping_abandon(push);
    else
        ut_delivery_abandon(push);
}

/* ---- the disk hold -------------------------------------------------------------------------- */

static void on_go_on(struct ut_keeping_client *client, struct ut_batch *batch)
{
    struct ut_pipeline *pipeline = UT_CONTAINER_OF(client, struct ut_pipeline, keeping);
    pipeline->head->consume(pipeline->head, batch);
}

static bool on_keeps_up(struct ut_keeping_client *client)
{
    const struct ut_pipeline *pipeline = UT_CONTAINER_OF(client, struct ut_pipeline, keeping);
    for (size_t i = 0; i < pipeline->queue_count; i++) {
        if (!ut_queue_keeps_up(pipeline->queues[i]))
            return false;
    }
    return true;
}

static uint32_t on_delay(struct ut_keeping_client *client)
{
    struct ut_pipeline *pipeline = UT_CONTAINER_OF(client, struct ut_pipeline, keeping);
    uint32_t longest = 0;
    for (size_t i = 0; i < pipeline->queue_count; i++) {
        uint32_t delay = ut_queue_delay_ms(pipeline->queues[i]);
        longest = delay > longest ? delay : longest;
    }
    return longest;
}

static void keep_on_disk(struct ut_pipeline *pipeline, const struct ut_pipeline_config *config)
{
    pipeline->keeping = (struct ut_keeping_client){
        .keeping = config->keeping,
        .timeout_ns = config->durable_within_ns,
        .go_on = on_go_on,
        .keeps_up = on_keeps_up,
        .delay_ms = on_delay,
    };
    for (size_t i = 0; i < config->queue_count; i++)
        pipeline->keeping.cursors |= ut_queue_cursor_bit(config->queues[i]);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* The batch came with one reference; each queue gets its own, the last one that which was there. */
static void on_fan_out(struct ut_consumer *consumer, struct ut_batch *batch)
{
    struct ut_pipeline *pipeline = UT_CONTAINER_OF(consumer, struct ut_pipeline, fan_out);
    ut_batch_set_on_the_way(batch, NULL);
    if (pipeline->deliveries.timeout_ns != 0)
        ut_delivery_expect(&pipeline->deliveries, batch);
    if (pipeline->keeping.keeping != NULL)
        ut_keeping_note(batch);
    /* The references first: a queue that finishes at once must not take it for its own. */
    for (size_t i = 1; i < pipeline->queue_count; i++)
        (void)ut_batch_ref(batch);
    for (size_t i = 0; i < pipeline->queue_count; i++)
        ut_queue_put(pipeline->queues[i], batch);
}

static double read_pending(void *arg)
{
    return (double)((const struct ut_pipeline *)arg)->on_the_way.spans;
}

struct ut_pipeline *ut_pipeline_new(const struct ut_pipeline_config *config)
{
    UT_CHECK(config->queue_count > 0 && config->queue_count <= UT_PIPELINE_QUEUES_MAX);
    struct ut_pipeline *pipeline = calloc(1, sizeof(*pipeline));
    if (pipeline == NULL)
        return NULL;
    *pipeline = (struct ut_pipeline){
        .target = {.push = on_push, .abandon = on_abandon},
        .fan_out = {.consume = on_fan_out},
        .worker = config->worker,
        .queue_count = config->queue_count,
        .first = UT_PIPELINE_PROCESSORS_MAX,
        .deliveries = {.worker = config->worker,
                       .queue_count = config->queue_count,
                       .timeout_ns = config->delivered_within_ns},
        .unblock = {.fire = on_unblock},
    };
    UT_CHECK(config->durable_within_ns == 0 || config->keeping != NULL);
    pipeline->deliveries.queues = pipeline->queues;
    /* What is answered when it is delivered need not be kept. */
    if (config->keeping != NULL && config->delivered_within_ns == 0)
        keep_on_disk(pipeline, config);
    pipeline->blocked_last = &pipeline->blocked_first;
    pipeline->head = &pipeline->fan_out;
    memcpy(pipeline->queues, config->queues, config->queue_count * sizeof(struct ut_queue *));
    for (size_t i = 0; i < config->queue_count; i++) {
        pipeline->feeds[i] = (struct feed){{&pipeline->on_the_way, on_room}, pipeline};
        ut_queue_add_feed(pipeline->queues[i], &pipeline->feeds[i].base);
    }

    char label[128];
    (void)snprintf(label, sizeof(label), "pipeline=\"%s\"", config->id);
    ut_metrics_gauge(config->worker->metrics, "undertrace_pipeline_pending_spans", label,
                     "Accepted spans that the processors hold.", read_pending, pipeline);
    return pipeline;
}

int ut_pipeline_prepend(struct ut_pipeline *pipeline, const struct ut_processor_type *type,
                        const struct ut_build *build, struct ut_evidence *evidence)
{
    struct ut_processor *processor = NULL;
    if (pipeline->first == 0)
        return -E2BIG;
    int error = type->create(&processor, build, evidence, pipeline->head);
    if (error != 0)
        return error;
    pipeline->processors[--pipeline->first] = processor;
    pipeline->head = &processor->in;
    return 0;
}

struct ut_push_target *ut_pipeline_target(struct ut_pipeline *pipeline)
{
    return &pipeline->target;
}

void ut_pipeline_flush(struct ut_pipeline *pipeline)
{
    ut_keeping_leave(&pipeline->keeping);
    for (size_t i = pipeline->first; i < UT_PIPELINE_PROCESSORS_MAX; i++)
        pipeline->processors[i]->type->flush(pipeline->processors[i]);
}

uint64_t ut_pipeline_pending_spans(const struct ut_pipeline *pipeline)
{
    return pipeline->on_the_way.spans;
}

void ut_pipeline_free(struct ut_pipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    ut_metrics_remove(pipeline->worker->metrics, pipeline);
    for (size_t i = pipeline->first; i < UT_PIPELINE_PROCESSORS_MAX; i++)
        pipeline->processors[i]->type->free(pipeline->processors[i]);
    while (pipeline->blocked_first != NULL)
        refuse(take_blocked(pipeline, &pipeline->blocked_first), pipeline->queues[0]);
    ut_timer_cancel(&pipeline->worker->timers, &pipeline->unblock);
    ut_keeping_leave(&pipeline->keeping);
    UT_CHECK(pipeline->deliveries.open == 0);
    for (size_t i = 0; i < pipeline->queue_count; i++)
        ut_queue_remove_feed(pipeline->queues[i], &pipeline->feeds[i].base);
    free(pipeline);
}
