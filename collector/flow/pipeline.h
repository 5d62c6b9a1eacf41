/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline: admission, the memory hold, a chain of processors and the fan-out to the queues of
 * its exporters. Receivers push at its front.
 *
 * Admission is one decision per request over every exporter that it reaches: room in all queues, or
 * BUSY with a delay and nothing taken anywhere. Where all the full queues block (block_on_overflow)
 * the request waits for room first, at most 1 s, behind those that came before it.
 *
 *     push ─► admission ─┬─► done(ACCEPTED) ─► processor ─► … ─► fan-out ═► queues    ack: queued
 *                        ├─► disk, and processor ─► … ─► done(ACCEPTED) by either  ack: durable
 *                        └─► processor ─► … ─► fan-out ═► queues ─► done(…)        ack: delivered
 *
 * With `ack: queued` the answer is given before any processor has seen the batch: answer early,
 * correlate late. From then on the batch keeps its room in the queues and its bytes in the budget
 * until the last exporter is done with it. With `ack: durable`, and with `ack: queued` where there
 * is a disk hold, see keeping.h; with `ack: delivered` see delivery.h.
 *
 * A request without spans is accepted and released at once.
 *
 * Built from its end: the queues are given first, then the processors, the last one first.
 *
 * Invariants: 1. each push is answered exactly once; 2. pending spans = admitted less those that
 * came out at the fan-out; 3. processors neither make nor drop requests (they may merge them).
 */
#ifndef UT_FLOW_PIPELINE_H
#define UT_FLOW_PIPELINE_H

#include "component.h"
#include "flow/keeping.h"
#include "flow/queue.h"

#define UT_PIPELINE_QUEUES_MAX 16
#define UT_PIPELINE_PROCESSORS_MAX 16

struct ut_pipeline;

struct ut_pipeline_config {
    const char *id; /* "traces" or "traces/name", for metrics; lives as long as the pipeline */
    struct ut_worker *worker;
    struct ut_queue *const *queues; /* borrowed, the array is copied; they outlive the pipeline */
    size_t queue_count;             /* 1 … UT_PIPELINE_QUEUES_MAX */
    uint64_t delivered_within_ns;   /* ack: delivered, and its ack_timeout; else 0 */
    uint64_t durable_within_ns;     /* ack: durable, and its ack_timeout; else 0 */
    struct ut_keeping *keeping; /* of the disk hold, which the queues have as well; NULL: none */
};

/* NULL when out of memory. */
struct ut_pipeline *ut_pipeline_new(const struct ut_pipeline_config *config) UT_MUST_USE;
/* Frees the processors too; what they still hold is released and lost: flush before. No push may
 * be waiting for a queue's answer: abandon the queues before. NULL is fine. */
void ut_pipeline_free(struct ut_pipeline *pipeline);

/* Creates a processor in front of those that are there, so the last one of the config comes first.
 * `build` and `evidence` as in struct ut_processor_type. 0 or the negative errno of its `create`;
 * -E2BIG above UT_PIPELINE_PROCESSORS_MAX. */
int ut_pipeline_prepend(struct ut_pipeline *pipeline, const struct ut_processor_type *type,
                        const struct ut_build *build, struct ut_evidence *evidence) UT_MUST_USE;

/* Where receivers push; lives as long as the pipeline. */
struct ut_push_target *ut_pipeline_target(struct ut_pipeline *pipeline);

/* Every processor passes on what it holds, front to back: nothing is pending afterwards. What is
 * being stored on disk is answered, and left there. */
void ut_pipeline_flush(struct ut_pipeline *pipeline);
/* Spans that the processors hold. */
uint64_t ut_pipeline_pending_spans(const struct ut_pipeline *pipeline);

#endif
