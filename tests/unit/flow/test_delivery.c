/* SPDX-License-Identifier: Apache-2.0 */
/* `ack: delivered`, and requests that wait for room: the answers of a pipeline that come later. */
#include "fake_exporter.h"
#include "flow/pipeline.h"
#include "flow/retry.h"
#include "virtual_worker.h"

#include <stdlib.h>

enum { PUSHES_MAX = 8192, QUEUES = 2 };

struct push {
    struct ut_push base;
    unsigned answers;
    enum ut_verdict verdict;
    uint32_t delay_ms;
    uint8_t status;
    char text[256];
    uint64_t at_ms;
};

static struct ut_worker worker;
static struct fake_exporter fakes[QUEUES];
static struct ut_queue *queues[QUEUES];
static struct ut_exporter_settings settings[QUEUES];
static struct ut_pipeline *pipeline;
static struct push pushes[PUSHES_MAX];
static size_t push_count;

static const struct ut_outcome sent = {.result = UT_SENT};
static const struct ut_outcome retry = {.result = UT_RETRY, .text = "not now"};
static const struct ut_outcome permanent = {
    .result = UT_PERMANENT, .status = 16, .text = "UNAUTHENTICATED: no such tenant"};

static void prepare(void)
{
    virtual_worker_init(&worker);
    push_count = 0;
    for (int i = 0; i < QUEUES; i++) {
        fake_exporter_init(&fakes[i], &worker);
        fakes[i].keeps = true;
        settings[i] = ut_queue_defaults;
        settings[i].retry_on_failure.randomization_factor = 0;
    }
}

static void open_pipeline(uint64_t within_ms, size_t queue_count)
{
    for (size_t i = 0; i < queue_count; i++) {
        queues[i] = ut_queue_new(&(struct ut_queue_config){.id = i == 0 ? "first" : "second",
                                                           .worker = &worker,
                                                           .exporter = &fakes[i].base,
                                                           .settings = &settings[i],
                                                           .random_seed = i});
        cr_assert_not_null(queues[i]);
    }
    pipeline = ut_pipeline_new(
        &(struct ut_pipeline_config){.id = "traces",
                                     .worker = &worker,
                                     .queues = queues,
                                     .queue_count = queue_count,
                                     .delivered_within_ns = within_ms * UT_NS_PER_MS});
    cr_assert_not_null(pipeline);
}

/* Every push was answered once, and nothing is left anywhere. */
static void finish(void)
{
    for (int i = 0; i < QUEUES; i++) {
        if (queues[i] == NULL)
            continue;
        ut_queue_abandon(queues[i]);
        while (fakes[i].held_count > 0)
            fake_answer(&fakes[i], retry);
        (void)balanced_books(queues[i]);
    }
    ut_pipeline_free(pipeline);
    for (size_t i = 0; i < push_count; i++)
        cr_assert_eq(pushes[i].answers, 1, "push %zu", i);
    for (int i = 0; i < QUEUES; i++)
        ut_queue_free(queues[i]);
    cr_assert_eq(worker.budget.used, 0);
    cr_assert_eq(worker.timers.count, 0);
    virtual_worker_done(&worker);
}

TestSuite(delivery, .init = prepare, .fini = finish);

static void on_answer(struct ut_push *base, const struct ut_answer *answer)
{
    struct push *push = UT_CONTAINER_OF(base, struct push, base);
    push->answers++;
    push->verdict = answer->verdict;
    push->delay_ms = answer->delay_ms;
    push->status = answer->status;
    push->at_ms = worker.uv.time;
    (void)snprintf(push->text, sizeof(push->text), "%s", answer->text != NULL ? answer->text : "");
}

static struct push *push_until(uint32_t spans, uint64_t deadline_ms)
{
    struct ut_push_target *target = ut_pipeline_target(pipeline);
    struct push *push = &pushes[push_count++];
    *push = (struct push){.base = {.batch = fake_batch(&worker, spans), .done = on_answer}};
    push->base.deadline_ns = deadline_ms * UT_NS_PER_MS;
    target->push(target, &push->base);
    return push;
}

static struct push *push_spans(uint32_t spans)
{
    return push_until(spans, 0);
}

static void abandon(struct push *push)
{
    struct ut_push_target *target = ut_pipeline_target(pipeline);
    target->abandon(target, &push->base);
}

static void expect_answer(const struct push *push, enum ut_verdict verdict)
{
    cr_assert_eq(push->answers, 1);
    cr_assert_eq(push->verdict, verdict, "verdict %d: %s", push->verdict, push->text);
}

/* ---- delivered ------------------------------------------------------------------------------ */

Test(delivery, is_answered_when_the_last_exporter_has_all_spans)
{
    open_pipeline(10000, 2);
    struct push *push = push_spans(5);
    cr_assert_eq(push->answers, 0);
    fake_answer(&fakes[0], sent);
    cr_assert_eq(push->answers, 0);
    fake_answer(&fakes[1], sent);
    expect_answer(push, UT_ACCEPTED);
}

Test(delivery, is_answered_inside_the_push_where_the_exporters_are_that_quick)
{
    fakes[0].keeps = fakes[1].keeps = false;
    open_pipeline(10000, 2);
    expect_answer(push_spans(5), UT_ACCEPTED);
}

Test(delivery, a_request_in_pieces_is_done_when_all_of_them_are)
{
    open_pipeline(10000, 1);
    struct push *push = push_spans(4);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_TOO_LARGE});
    fake_answer(&fakes[0], sent);
    cr_assert_eq(push->answers, 0);
    fake_answer(&fakes[0], sent);
    expect_answer(push, UT_ACCEPTED);
}

Test(delivery, requests_that_were_joined_are_answered_each)
{
    settings[0].sending_queue.batch.present = true;
    settings[0].sending_queue.batch.min_size = 9;
    open_pipeline(10000, 1);
    struct push *first = push_spans(4), *second = push_spans(5);
    cr_assert_eq(fakes[0].held_count, 1);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_TOO_LARGE});
    fake_answer(&fakes[0], sent); /* spans 0 … 3 */
    expect_answer(first, UT_ACCEPTED);
    cr_assert_eq(second->answers, 0);
    while (fakes[0].held_count > 0)
        fake_answer(&fakes[0], sent);
    expect_answer(second, UT_ACCEPTED);
}

Test(delivery, what_every_backend_refuses_is_rejected_in_its_words)
{
    open_pipeline(10000, 2);
    struct push *push = push_spans(3);
    fake_answer(&fakes[0], permanent);
    fake_answer(&fakes[1], (struct ut_outcome){.result = UT_PERMANENT, .text = "nor I"});
    expect_answer(push, UT_REJECTED);
    cr_assert_eq(push->status, 16);
    cr_assert_str_eq(push->text, "UNAUTHENTICATED: no such tenant");
    cr_assert_eq(balanced_books(queues[0]).dropped[UT_DROP_PERMANENT], 3);
}

Test(delivery, what_one_backend_refuses_is_its_loss_and_accepted)
{
    open_pipeline(10000, 2);
    struct push *push = push_spans(3);
    fake_answer(&fakes[0], permanent);
    fake_answer(&fakes[1], sent);
    expect_answer(push, UT_ACCEPTED);
    cr_assert_eq(balanced_books(queues[0]).dropped[UT_DROP_PERMANENT], 3);
    cr_assert_eq(balanced_books(queues[1]).sent, 3);
}

Test(delivery, what_is_given_up_is_to_be_sent_again)
{
    settings[0].retry_on_failure.enabled = false;
    open_pipeline(10000, 1);
    struct push *push = push_spans(3);
    fake_answer(&fakes[0], retry);
    expect_answer(push, UT_BUSY);
    cr_assert_geq(push->delay_ms, 1000);
    cr_assert_str_eq(push->text, "not delivered: not now");
}

Test(delivery, the_deadline_withdraws_what_is_not_in_flight)
{
    settings[0].sending_queue.num_consumers = 1;
    open_pipeline(10000, 1);
    struct push *flying = push_spans(1), *waiting = push_spans(2);
    virtual_worker_advance(&worker, 9999);
    cr_assert_eq(flying->answers + waiting->answers, 0);
    virtual_worker_advance(&worker, 1);
    expect_answer(flying, UT_BUSY);
    expect_answer(waiting, UT_BUSY);
    virtual_worker_advance(&worker, 100);
    struct ut_queue_books books = balanced_books(queues[0]);
    cr_assert_eq(books.dropped[UT_DROP_WITHDRAWN], 2);
    cr_assert_eq(books.in_flight, 1);
    fake_answer(&fakes[0], sent);
    cr_assert_eq(balanced_books(queues[0]).sent, 1, "what was under way may still arrive");
}

Test(delivery, what_comes_back_after_its_deadline_is_not_sent_again)
{
    open_pipeline(10000, 1);
    struct push *push = push_spans(4);
    virtual_worker_advance(&worker, 10000);
    expect_answer(push, UT_BUSY);
    fake_answer(&fakes[0], retry);
    cr_assert_eq(balanced_books(queues[0]).dropped[UT_DROP_WITHDRAWN], 4);
    virtual_worker_advance(&worker, 60000);
    cr_assert_eq(fakes[0].send_count, 1);
    cr_assert_eq(worker.budget.used, 0);
}

Test(delivery, a_withdrawn_request_leaves_its_neighbours_in_the_batch)
{
    settings[0].sending_queue.num_consumers = 1;
    settings[0].sending_queue.batch.present = true;
    settings[0].sending_queue.batch.min_size = 7;
    open_pipeline(10000, 1);
    uint64_t now = worker.uv.time;
    struct push *before = push_spans(1), *gone = push_until(2, now + 500), *after = push_spans(4);
    fake_answer(&fakes[0], retry);
    virtual_worker_advance(&worker, 5000);
    expect_answer(gone, UT_BUSY);
    fake_answer(&fakes[0], sent);
    expect_answer(before, UT_ACCEPTED);
    cr_assert_eq(after->answers, 0);
    fake_answer(&fakes[0], sent);
    expect_answer(after, UT_ACCEPTED);
    cr_assert_eq(fakes[0].sends[0].count, 7);
    cr_assert_eq(fakes[0].sends[1].count, 1);
    cr_assert_eq(fakes[0].sends[2].first, 3);
    struct ut_queue_books books = balanced_books(queues[0]);
    cr_assert_eq(books.sent, 5);
    cr_assert_eq(books.dropped[UT_DROP_WITHDRAWN], 2);
}

Test(delivery, a_clients_own_deadline_counts_where_it_is_shorter)
{
    open_pipeline(10000, 1);
    struct push *hasty = push_until(1, worker.uv.time + 300);
    struct push *patient = push_until(1, worker.uv.time + 60000);
    virtual_worker_advance(&worker, 300);
    expect_answer(hasty, UT_BUSY);
    virtual_worker_advance(&worker, 9699);
    cr_assert_eq(patient->answers, 0);
    virtual_worker_advance(&worker, 1);
    expect_answer(patient, UT_BUSY);
}

Test(delivery, the_refusal_says_when_to_come_again_and_what_is_wrong)
{
    open_pipeline(10000, 1);
    struct push *push = push_spans(1);
    fake_answer(&fakes[0], (struct ut_outcome){
                               .result = UT_RETRY, .after_ms = 25000, .text = "quota is used up"});
    virtual_worker_advance(&worker, 10000);
    expect_answer(push, UT_BUSY);
    cr_assert_eq(push->delay_ms, 15000);
    cr_assert_str_eq(push->text, "not delivered within the time for it: quota is used up");
}

Test(delivery, a_full_queue_refuses_before_anything_is_taken)
{
    settings[1].sending_queue.queue_size = 1;
    open_pipeline(10000, 2);
    struct push *first = push_spans(1), *second = push_spans(1);
    expect_answer(second, UT_BUSY);
    cr_assert_eq(first->answers, 0);
    cr_assert_eq(balanced_books(queues[0]).accepted, 1);
}

Test(delivery, a_client_that_is_gone_loses_the_answer_not_the_batch)
{
    open_pipeline(10000, 1);
    struct push *push = push_spans(3);
    abandon(push);
    expect_answer(push, UT_ACCEPTED);
    fake_answer(&fakes[0], retry);
    virtual_worker_advance(&worker, 60000);
    fake_answer(&fakes[0], sent);
    cr_assert_eq(balanced_books(queues[0]).sent, 3);
}

Test(delivery, a_stop_answers_what_it_drops)
{
    open_pipeline(10000, 1);
    settings[0].sending_queue.num_consumers = 1;
    struct push *push = push_spans(3);
    fake_answer(&fakes[0], retry);
    ut_queue_abandon(queues[0]);
    expect_answer(push, UT_BUSY);
    cr_assert_eq(balanced_books(queues[0]).dropped[UT_DROP_SHUTDOWN], 3);
}

Test(delivery, thousands_that_are_withdrawn_together_cost_one_pass)
{
    settings[0].sending_queue.num_consumers = 1;
    settings[0].sending_queue.queue_size = PUSHES_MAX;
    open_pipeline(1000, 1);
    for (int i = 0; i < 4000; i++)
        push_spans(1);
    virtual_worker_advance(&worker, 1100);
    cr_assert_eq(balanced_books(queues[0]).dropped[UT_DROP_WITHDRAWN], 3999);
    cr_assert_eq(worker.budget.used, 100);
}

/* With the client's retry after each refusal, whatever a request met before: delivered or refused,
 * never silent. */
Test(delivery, a_request_is_accepted_only_if_the_backend_had_it)
{
    uint64_t random = 11, delivered = 0, accepted = 0;
    settings[0].sending_queue.num_consumers = 3;
    open_pipeline(5000, 1);
    for (int i = 0; i < 6000 && push_count < PUSHES_MAX; i++) {
        uint64_t r = ut_retry_random(&random);
        if (r % 4 == 0)
            push_spans(1 + (uint32_t)(r >> 8) % 3);
        else if (r % 4 == 1)
            virtual_worker_advance(&worker, (r >> 8) % 700);
        else if (fakes[0].held_count > 0)
            fake_answer(&fakes[0], (r >> 8) % 2 == 0 ? sent : retry);
    }
    virtual_worker_advance(&worker, 6000);
    for (size_t i = 0; i < push_count; i++) {
        cr_assert_eq(pushes[i].answers, 1);
        accepted += pushes[i].verdict == UT_ACCEPTED ? pushes[i].base.batch != NULL : 0;
    }
    struct ut_queue_books books = balanced_books(queues[0]);
    delivered = books.sent;
    cr_assert_leq(accepted, delivered);
    cr_assert_gt(accepted, 100);
    cr_assert_gt(books.dropped[UT_DROP_WITHDRAWN], 100);
}

/* ---- waiting for room ------------------------------------------------------------------------ */

static void open_blocking(uint64_t queue_size)
{
    settings[0].sending_queue.block_on_overflow = true;
    settings[0].sending_queue.queue_size = queue_size;
    open_pipeline(0, 1);
}

Test(delivery, a_full_queue_that_blocks_holds_the_answer_until_there_is_room)
{
    open_blocking(1);
    expect_answer(push_spans(1), UT_ACCEPTED);
    struct push *second = push_spans(1), *third = push_spans(1);
    cr_assert_eq(second->answers + third->answers, 0);
    virtual_worker_advance(&worker, 500);
    fake_answer(&fakes[0], sent);
    expect_answer(second, UT_ACCEPTED);
    cr_assert_eq(third->answers, 0, "in order");
    fake_answer(&fakes[0], sent);
    expect_answer(third, UT_ACCEPTED);
}

Test(delivery, it_holds_the_answer_for_a_second_at_most)
{
    open_blocking(1);
    push_spans(1);
    struct push *first = push_spans(1);
    virtual_worker_advance(&worker, 300);
    struct push *second = push_spans(2), *hasty = push_until(1, worker.uv.time + 100);
    virtual_worker_advance(&worker, 100);
    expect_answer(hasty, UT_BUSY);
    virtual_worker_advance(&worker, 599);
    cr_assert_eq(first->answers, 0);
    virtual_worker_advance(&worker, 1);
    expect_answer(first, UT_BUSY);
    cr_assert_geq(first->delay_ms, 1000);
    cr_assert_eq(second->answers, 0);
    virtual_worker_advance(&worker, 300);
    expect_answer(second, UT_BUSY);
    cr_assert_eq(second->at_ms - pushes[0].at_ms, 1300);
}

Test(delivery, exporters_that_finish_at_once_let_all_waiting_in_without_recursion)
{
    open_blocking(1);
    push_spans(1);
    for (int i = 0; i < 3000; i++)
        push_spans(1);
    fakes[0].keeps = false;
    fake_answer(&fakes[0], sent);
    for (size_t i = 0; i < push_count; i++)
        expect_answer(&pushes[i], UT_ACCEPTED);
    cr_assert_leq(fakes[0].depth_most, 2);
}

Test(delivery, a_full_queue_that_does_not_block_decides_for_all)
{
    settings[1].sending_queue.queue_size = 1;
    settings[0].sending_queue.block_on_overflow = true;
    settings[0].sending_queue.queue_size = 1;
    open_pipeline(0, 2);
    push_spans(1);
    expect_answer(push_spans(1), UT_BUSY);
}

Test(delivery, a_queue_that_drops_does_not_refuse_for_the_others)
{
    settings[1].sending_queue.queue_size = 1;
    settings[1].sending_queue.on_full = UT_ON_FULL_DROP_NEWEST;
    open_pipeline(0, 2);
    for (int i = 0; i < 3; i++)
        expect_answer(push_spans(1), UT_ACCEPTED);
    cr_assert_eq(balanced_books(queues[0]).accepted, 3);
    cr_assert_eq(balanced_books(queues[1]).dropped[UT_DROP_QUEUE_FULL], 2);
}
