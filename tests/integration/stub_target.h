/* SPDX-License-Identifier: Apache-2.0 */
/* What a receiver pushes to in tests: a pipeline that answers as it is told, now or later. */
#ifndef UT_TEST_STUB_TARGET_H
#define UT_TEST_STUB_TARGET_H

#include "component.h"

struct stub_target {
    struct ut_push_target base;
    enum ut_verdict verdict;
    bool keep;      /* batches stay with the stub, as with a sink that stands still */
    uint8_t status; /* with UT_REJECTED */
    bool delay;     /* the answer comes by stub_answer */
    struct ut_batch *kept[4096];
    size_t kept_count;
    struct ut_push *delayed[256];
    size_t delayed_count;
    size_t abandoned; /* pushes whose client has gone */
    uint64_t batches, spans;
    struct ut_sender sender; /* of the newest */
};

static inline void stub_answer(struct stub_target *target, struct ut_push *push)
{
    struct ut_answer answer = {.verdict = target->verdict};
    struct ut_batch *batch = push->batch;
    if (target->verdict != UT_ACCEPTED) {
        answer.text = "stub says no";
        answer.delay_ms = target->verdict == UT_BUSY ? 1500 : 0;
        answer.status = target->status;
    } else {
        target->batches++;
        target->spans += batch->spans;
        target->sender = batch->first->sender;
        if (target->keep)
            target->kept[target->kept_count++] = ut_batch_ref(batch);
    }
    ut_batch_unref(batch);
    push->done(push, &answer);
}

static inline void stub_push(struct ut_push_target *base, struct ut_push *push)
{
    struct stub_target *target = UT_CONTAINER_OF(base, struct stub_target, base);
    if (target->delay)
        target->delayed[target->delayed_count++] = push;
    else
        stub_answer(target, push);
}

/* As a pipeline with `ack: delivered` does: the batch is kept, the push is over. */
static inline void stub_abandon(struct ut_push_target *base, struct ut_push *push)
{
    struct stub_target *target = UT_CONTAINER_OF(base, struct stub_target, base);
    target->abandoned++;
    stub_answer(target, push);
}

static inline void stub_release(struct stub_target *target)
{
    while (target->kept_count > 0)
        ut_batch_unref(target->kept[--target->kept_count]);
}

#endif
