/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/pipeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct ut_pipeline {
    struct ut_push_target target;
    struct ut_consumer fan_out;
    struct ut_consumer *head; /* the first processor, or the fan-out */
    struct ut_worker *worker;
    struct ut_queue *queues[UT_PIPELINE_QUEUES_MAX];
    size_t queue_count;
    /* From the end of the array, so that processors[first …] is the order of the data. */
    struct ut_processor *processors[UT_PIPELINE_PROCESSORS_MAX];
    size_t first;
    uint64_t pending;    /* spans */
    uint32_t on_the_way; /* batches admitted and not yet at the fan-out */
};

/* The first queue that has no place for the batch, or NULL. */
static struct ut_queue *find_full(struct ut_pipeline *pipeline, const struct ut_batch *batch)
{
    for (size_t i = 0; i < pipeline->queue_count; i++) {
        if (!ut_queue_admits(pipeline->queues[i], batch))
            return pipeline->queues[i];
    }
    return NULL;
}

static void answer_busy(struct ut_push *push, const struct ut_queue *full)
{
    ut_batch_unref(push->batch);
    push->done(push, &(struct ut_answer){
                         .verdict = UT_BUSY,
                         .delay_ms = ut_queue_delay_ms(full),
                         .text = "the sending queue is full",
                     });
}

static void on_push(struct ut_push_target *target, struct ut_push *push)
{
    struct ut_pipeline *pipeline = UT_CONTAINER_OF(target, struct ut_pipeline, target);
    struct ut_batch *batch = push->batch;
    const struct ut_answer accepted = {.verdict = UT_ACCEPTED};
    if (batch->spans == 0) {
        ut_batch_unref(batch);
        push->done(push, &accepted);
        return;
    }
    struct ut_queue *full = find_full(pipeline, batch);
    if (full != NULL) {
        answer_busy(push, full);
        return;
    }
    pipeline->pending += batch->spans;
    pipeline->on_the_way++;
    batch->on_the_way = &pipeline->on_the_way;
    push->done(push, &accepted);
    pipeline->head->consume(pipeline->head, batch);
}

/* The batch came with one reference; each queue gets its own, the last one that which was there. */
static void on_fan_out(struct ut_consumer *consumer, struct ut_batch *batch)
{
    struct ut_pipeline *pipeline = UT_CONTAINER_OF(consumer, struct ut_pipeline, fan_out);
    UT_CHECK(pipeline->pending >= batch->spans);
    pipeline->pending -= batch->spans;
    pipeline->on_the_way--;
    batch->on_the_way = NULL;
    for (size_t i = 1; i < pipeline->queue_count; i++)
        ut_queue_put(pipeline->queues[i - 1], ut_batch_ref(batch));
    ut_queue_put(pipeline->queues[pipeline->queue_count - 1], batch);
}

static double read_pending(void *arg)
{
    return (double)((const struct ut_pipeline *)arg)->pending;
}

struct ut_pipeline *ut_pipeline_new(const struct ut_pipeline_config *config)
{
    UT_CHECK(config->queue_count > 0 && config->queue_count <= UT_PIPELINE_QUEUES_MAX);
    struct ut_pipeline *pipeline = calloc(1, sizeof(*pipeline));
    if (pipeline == NULL)
        return NULL;
    *pipeline = (struct ut_pipeline){
        .target = {.push = on_push},
        .fan_out = {.consume = on_fan_out},
        .worker = config->worker,
        .queue_count = config->queue_count,
        .first = UT_PIPELINE_PROCESSORS_MAX,
    };
    pipeline->head = &pipeline->fan_out;
    memcpy(pipeline->queues, config->queues, config->queue_count * sizeof(struct ut_queue *));
    for (size_t i = 0; i < config->queue_count; i++)
        ut_queue_add_feed(pipeline->queues[i], &pipeline->on_the_way);

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
    for (size_t i = pipeline->first; i < UT_PIPELINE_PROCESSORS_MAX; i++)
        pipeline->processors[i]->type->flush(pipeline->processors[i]);
}

uint64_t ut_pipeline_pending_spans(const struct ut_pipeline *pipeline)
{
    return pipeline->pending;
}

void ut_pipeline_free(struct ut_pipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    ut_metrics_remove(pipeline->worker->metrics, pipeline);
    for (size_t i = pipeline->first; i < UT_PIPELINE_PROCESSORS_MAX; i++)
        pipeline->processors[i]->type->free(pipeline->processors[i]);
    for (size_t i = 0; i < pipeline->queue_count; i++)
        ut_queue_remove_feed(pipeline->queues[i], &pipeline->on_the_way);
    free(pipeline);
}
