/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_exporter.h"
#include "flow/pipeline.h"
#include "virtual_worker.h"

#include <errno.h>
#include <stdlib.h>

static struct ut_worker worker;
static struct fake_exporter fakes[2];
static struct ut_queue *queues[2];
static struct ut_pipeline *pipeline;

struct push {
    struct ut_push base;
    unsigned answers;
    struct ut_answer answer;
    const struct keeper *seen_by; /* the processor that must not have seen the batch yet */
    uint64_t consumed_before_answer;
};

/* A processor that keeps what it gets until it is flushed. */
struct keeper {
    struct ut_processor base;
    struct ut_batch *first, **last;
    uint64_t consumed;
    bool passes;
};

static void keep(struct ut_consumer *consumer, struct ut_batch *batch)
{
    struct keeper *keeper = UT_CONTAINER_OF(consumer, struct keeper, base.in);
    keeper->consumed++;
    if (keeper->passes) {
        keeper->base.out->consume(keeper->base.out, batch);
        return;
    }
    batch->next = NULL;
    *keeper->last = batch;
    keeper->last = &batch->next;
}

static void flush_keeper(struct ut_processor *processor)
{
    struct keeper *keeper = UT_CONTAINER_OF(processor, struct keeper, base);
    struct ut_batch *batch = keeper->first;
    keeper->first = NULL;
    keeper->last = &keeper->first;
    while (batch != NULL) {
        struct ut_batch *next = batch->next;
        batch->next = NULL;
        keeper->base.out->consume(keeper->base.out, batch);
        batch = next;
    }
}

static void free_keeper(struct ut_processor *processor)
{
    free(UT_CONTAINER_OF(processor, struct keeper, base));
}

static int create_keeper(struct ut_processor **ret, const struct ut_build *build,
                         struct ut_evidence *evidence, struct ut_consumer *out);

static const struct ut_processor_type keeper_type = {
    .name = "keeper",
    .create = create_keeper,
    .flush = flush_keeper,
    .free = free_keeper,
};

/* `config` is where the test wants the pointer. */
static int create_keeper(struct ut_processor **ret, const struct ut_build *build,
                         struct ut_evidence *evidence, struct ut_consumer *out)
{
    (void)evidence;
    struct keeper *keeper = calloc(1, sizeof(*keeper));
    if (keeper == NULL)
        return -ENOMEM;
    keeper->base = (struct ut_processor){&keeper_type, {.consume = keep}, out};
    keeper->last = &keeper->first;
    struct keeper **const *where = build->config;
    **where = keeper;
    *ret = &keeper->base;
    return 0;
}

static struct keeper *add_keeper(void)
{
    struct keeper *keeper = NULL, **where = &keeper;
    struct ut_build build = {.id = "keeper", .config = &where, .worker = &worker};
    cr_assert_eq(ut_pipeline_prepend(pipeline, &keeper_type, &build, NULL), 0);
    return keeper;
}

static void on_answer(struct ut_push *base, const struct ut_answer *answer)
{
    struct push *push = UT_CONTAINER_OF(base, struct push, base);
    push->answers++;
    push->answer = *answer;
    if (push->seen_by != NULL)
        push->consumed_before_answer = push->seen_by->consumed;
}

static struct push push_batch(struct ut_batch *batch)
{
    struct push push = {.base = {.batch = batch, .done = on_answer}};
    struct ut_push_target *target = ut_pipeline_target(pipeline);
    target->push(target, &push.base);
    cr_assert_eq(push.answers, 1);
    for (int i = 0; i < 2; i++)
        (void)balanced_books(queues[i]);
    return push;
}

static struct push push_spans(uint32_t spans)
{
    return push_batch(fake_batch(&worker, spans));
}

static void prepare(void)
{
    virtual_worker_init(&worker);
    for (int i = 0; i < 2; i++) {
        struct ut_exporter_settings settings = ut_queue_defaults;
        settings.sending_queue.queue_size = i == 0 ? 5 : 3;
        fake_exporter_init(&fakes[i], &worker);
        queues[i] = ut_queue_new(&(struct ut_queue_config){
            .id = i == 0 ? "first" : "second",
            .worker = &worker,
            .exporter = &fakes[i].base,
            .settings = &settings,
        });
        cr_assert_not_null(queues[i]);
    }
    pipeline = ut_pipeline_new(&(struct ut_pipeline_config){
        .id = "traces", .worker = &worker, .queues = queues, .queue_count = 2});
    cr_assert_not_null(pipeline);
}

static void finish(void)
{
    ut_pipeline_free(pipeline);
    for (int i = 0; i < 2; i++) {
        (void)balanced_books(queues[i]);
        ut_queue_free(queues[i]);
    }
    cr_assert_eq(worker.budget.used, 0);
    virtual_worker_done(&worker);
}

TestSuite(pipeline, .init = prepare, .fini = finish);

Test(pipeline, every_exporter_gets_the_same_batch)
{
    fakes[0].keeps = fakes[1].keeps = true;
    struct push push = push_spans(7);
    cr_assert_eq(push.answer.verdict, UT_ACCEPTED);
    cr_assert_null(push.answer.text);
    cr_assert_eq(fakes[0].held[0]->batch, fakes[1].held[0]->batch);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    cr_assert_eq(worker.budget.used, 100, "the second exporter still needs the bytes");
    fake_answer(&fakes[1], (struct ut_outcome){.result = UT_PERMANENT});
    cr_assert_eq(worker.budget.used, 0);
    cr_assert_eq(balanced_books(queues[0]).sent, 7);
    cr_assert_eq(balanced_books(queues[1]).dropped[UT_DROP_PERMANENT], 7);
}

Test(pipeline, answers_before_a_processor_sees_the_batch)
{
    struct keeper *keeper = add_keeper();
    struct push push = {
        .base = {.batch = fake_batch(&worker, 1), .done = on_answer},
        .seen_by = keeper,
    };
    ut_pipeline_target(pipeline)->push(ut_pipeline_target(pipeline), &push.base);
    cr_assert_eq(push.answers, 1);
    cr_assert_eq(push.consumed_before_answer, 0);
    cr_assert_eq(keeper->consumed, 1);
    ut_pipeline_flush(pipeline);
}

Test(pipeline, a_full_queue_takes_nothing_anywhere)
{
    fakes[0].keeps = fakes[1].keeps = true;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(push_spans(1).answer.verdict, UT_ACCEPTED);
    for (int i = 0; i < 10; i++) {
        struct push push = push_spans(1);
        cr_assert_eq(push.answer.verdict, UT_BUSY);
        cr_assert_eq(push.answer.delay_ms, 1000);
        cr_assert_not_null(push.answer.text);
    }
    cr_assert_eq(balanced_books(queues[0]).accepted, 3);
    cr_assert_eq(worker.budget.used, 300, "what is refused holds no bytes");
    /* The first queue kept no slot for the refused: two more than the second's three. */
    for (int i = 0; i < 3; i++)
        fake_answer(&fakes[1], (struct ut_outcome){.result = UT_SENT});
    for (int i = 0; i < 2; i++)
        cr_assert_eq(push_spans(1).answer.verdict, UT_ACCEPTED);
    cr_assert_eq(push_spans(1).answer.verdict, UT_BUSY);
    for (int i = 0; i < 2; i++)
        while (fakes[i].held_count > 0)
            fake_answer(&fakes[i], (struct ut_outcome){.result = UT_SENT});
}

Test(pipeline, busy_names_the_wait_of_the_queue_that_is_full)
{
    fakes[1].answer = (struct ut_outcome){.result = UT_RETRY, .after_ms = 20000};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(push_spans(1).answer.verdict, UT_ACCEPTED);
    cr_assert_eq(push_spans(1).answer.delay_ms, 20000);
}

Test(pipeline, an_empty_request_is_accepted_and_released_at_once)
{
    fakes[0].keeps = fakes[1].keeps = true;
    for (int i = 0; i < 10; i++)
        cr_assert_eq(push_spans(0).answer.verdict, UT_ACCEPTED);
    cr_assert_eq(worker.budget.used, 0);
    cr_assert_eq(fakes[0].send_count, 0);
}

Test(pipeline, room_is_taken_at_admission_not_behind_the_processors)
{
    struct keeper *keeper = add_keeper();
    for (int i = 0; i < 3; i++)
        cr_assert_eq(push_spans(2).answer.verdict, UT_ACCEPTED);
    cr_assert_eq(push_spans(2).answer.verdict, UT_BUSY);
    cr_assert_eq(keeper->consumed, 3);
    cr_assert_eq(ut_pipeline_pending_spans(pipeline), 6);
    ut_pipeline_flush(pipeline);
    cr_assert_eq(ut_pipeline_pending_spans(pipeline), 0);
    cr_assert_eq(balanced_books(queues[0]).sent, 6);
    cr_assert_eq(push_spans(2).answer.verdict, UT_ACCEPTED);
    ut_pipeline_flush(pipeline);
}

Test(pipeline, flush_goes_from_front_to_back)
{
    struct keeper *back = add_keeper(), *front = add_keeper();
    push_spans(1);
    cr_assert_eq(front->consumed, 1);
    cr_assert_eq(back->consumed, 0);
    ut_pipeline_flush(pipeline);
    cr_assert_eq(back->consumed, 1);
    cr_assert_eq(balanced_books(queues[1]).sent, 1);
}

Test(pipeline, stopping_queues_make_pushes_busy)
{
    ut_queue_drain(queues[1], NULL, NULL);
    cr_assert_eq(push_spans(1).answer.verdict, UT_BUSY);
    cr_assert_eq(balanced_books(queues[0]).accepted, 0);
}

Test(pipeline, too_many_processors_are_refused)
{
    for (int i = 0; i < UT_PIPELINE_PROCESSORS_MAX; i++)
        add_keeper()->passes = true;
    struct keeper *keeper, **where = &keeper;
    struct ut_build build = {.id = "keeper", .config = &where, .worker = &worker};
    cr_assert_eq(ut_pipeline_prepend(pipeline, &keeper_type, &build, NULL), -E2BIG);
    push_spans(1);
    cr_assert_eq(balanced_books(queues[0]).sent, 1);
}
