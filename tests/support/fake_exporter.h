/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exporter with fault switches, batches for it, and the balance of its queue's books. It answers
 * inside `send`, or keeps the items until the test answers them.
 */
#ifndef UT_TEST_FAKE_EXPORTER_H
#define UT_TEST_FAKE_EXPORTER_H

#include <criterion/criterion.h>

#include "flow/queue.h"

#define FAKE_HELD_MAX 64
#define FAKE_SENDS_MAX 4096

struct fake_send {
    const struct ut_batch *batch;
    uint32_t first, count, endpoint;
    uint64_t at_ms;
};

struct fake_exporter {
    struct ut_exporter base;
    struct ut_worker *worker;
    /* Switches. */
    bool keeps;                    /* items wait in `held` for the test */
    struct ut_outcome answer;      /* otherwise given at once */
    uint32_t largest;              /* spans an item may have; 0: any number */
    uint32_t giant;                /* 1 + the span that is too large alone; 0: none */
    const struct ut_batch *poison; /* this batch alone is answered with RETRY */
    uint32_t endpoints;            /* 0: one */
    uint32_t dead;                 /* bits of endpoints that are not there */
    /* What was seen. */
    struct ut_item *held[FAKE_HELD_MAX];
    size_t held_count, held_most;
    struct fake_send sends[FAKE_SENDS_MAX];
    size_t send_count;
    uint64_t spans; /* in items that were answered with SENT */
    int depth, depth_most;
};

static inline struct ut_outcome fake_outcome(const struct fake_exporter *fake,
                                             const struct ut_item *item)
{
    if ((fake->dead >> item->endpoint & 1) != 0)
        return (struct ut_outcome){
            .result = UT_RETRY, .cause = UT_SETBACK_TRANSPORT, .text = "connection refused"};
    bool has_giant = fake->giant != 0 && fake->giant - 1 >= item->first_span &&
                     fake->giant - 1 < item->first_span + item->span_count;
    if (has_giant || (fake->largest != 0 && item->span_count > fake->largest))
        return (struct ut_outcome){.result = UT_TOO_LARGE, .text = "too large"};
    if (fake->poison != NULL && item->batch == fake->poison)
        return (struct ut_outcome){.result = UT_RETRY, .text = "not this one"};
    return fake->answer;
}

static inline void fake_send(struct ut_exporter *exporter, struct ut_item *item)
{
    struct fake_exporter *fake = UT_CONTAINER_OF(exporter, struct fake_exporter, base);
    cr_assert_null(item->exporter_data);
    cr_assert_gt(item->span_count, 0);
    cr_assert_leq((uint64_t)item->first_span + item->span_count, item->batch->spans);
    fake->sends[fake->send_count++ % FAKE_SENDS_MAX] =
        (struct fake_send){.batch = item->batch,
                           .first = item->first_span,
                           .count = item->span_count,
                           .endpoint = item->endpoint,
                           .at_ms = fake->worker->uv.time};
    if (fake->keeps) {
        cr_assert_lt(fake->held_count, FAKE_HELD_MAX);
        fake->held[fake->held_count++] = item;
        if (fake->held_count > fake->held_most)
            fake->held_most = fake->held_count;
        return;
    }
    if (++fake->depth > fake->depth_most)
        fake->depth_most = fake->depth;
    struct ut_outcome outcome = fake_outcome(fake, item);
    if (outcome.result == UT_SENT)
        fake->spans += item->span_count;
    item->done(item, &outcome);
    fake->depth--;
}

/* Answers the oldest item that is held. */
static inline void fake_answer(struct fake_exporter *fake, struct ut_outcome outcome)
{
    cr_assert_gt(fake->held_count, 0);
    struct ut_item *item = fake->held[0];
    memmove(&fake->held[0], &fake->held[1], --fake->held_count * sizeof(fake->held[0]));
    if (outcome.result == UT_SENT)
        fake->spans += item->span_count;
    item->done(item, &outcome);
}

static inline uint32_t fake_endpoints(const struct ut_exporter *exporter)
{
    const struct fake_exporter *fake =
        UT_CONTAINER_OF((struct ut_exporter *)(uintptr_t)exporter, struct fake_exporter, base);
    return fake->endpoints != 0 ? fake->endpoints : 1;
}

static const struct ut_exporter_type fake_exporter_type = {
    .name = "fake", .endpoints = fake_endpoints, .send = fake_send};

static inline void fake_exporter_init(struct fake_exporter *fake, struct ut_worker *worker)
{
    *fake = (struct fake_exporter){.base = {.type = &fake_exporter_type}, .worker = worker};
}

/* A batch that says it has `spans` spans; nothing between the pipeline and the exporter looks at
 * them. Its bytes are charged to the worker's budget. */
static inline struct ut_batch *fake_batch(struct ut_worker *worker, uint32_t spans)
{
    struct ut_segment *segment = ut_segment_new(&worker->pool, 100);
    cr_assert_not_null(segment);
    cr_assert_eq(ut_segment_append(&segment, UT_SLICE("not looked at")), 0);
    struct ut_batch *batch = ut_batch_new(&worker->pool, segment);
    cr_assert_not_null(batch);
    cr_assert(ut_budget_take(&worker->budget, 100));
    batch->first->budget = &worker->budget;
    batch->first->charge = 100;
    batch->first->span_count = spans;
    batch->spans = spans;
    batch->bytes = segment->size;
    return batch;
}

static inline uint64_t dropped_in_all(const struct ut_queue_books *books)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < UT_DROP_REASONS; i++)
        sum += books->dropped[i];
    return sum;
}

/* The books balance; returns them. */
static inline struct ut_queue_books balanced_books(const struct ut_queue *queue)
{
    struct ut_queue_books books;
    ut_queue_books(queue, &books);
    cr_assert_eq(books.accepted + books.recovered,
                 books.sent + books.held + books.in_flight + dropped_in_all(&books),
                 "accepted %lu, sent %lu, held %lu, in flight %lu, dropped %lu", books.accepted,
                 books.sent, books.held, books.in_flight, dropped_in_all(&books));
    return books;
}

#endif
