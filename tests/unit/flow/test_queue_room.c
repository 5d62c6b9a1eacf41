/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, what happens when a queue is full, and batches joined and split when they are taken. */
#include "queue_lab.h"

TestSuite(room, .init = prepare, .fini = finish);

static bool admits(uint32_t spans)
{
    struct ut_batch *batch = fake_batch(&worker, spans);
    bool admitted = ut_queue_admits(queue, batch);
    ut_batch_unref(batch);
    return admitted;
}

static void answer_all(void)
{
    while (fake.held_count > 0)
        fake_answer(&fake, sent);
}

Test(room, can_be_counted_in_spans)
{
    settings.sending_queue.sizer = UT_SIZER_ITEMS;
    open_queue();
    fake.keeps = true;
    put(60);
    cr_assert(admits(40));
    cr_assert_not(admits(41));
    struct ut_on_the_way on_the_way = {.spans = 30};
    struct ut_queue_feed feed = {.on_the_way = &on_the_way};
    ut_queue_add_feed(queue, &feed);
    cr_assert(admits(10));
    cr_assert_not(admits(11));
    cr_assert_eq(metric("otelcol_exporter_queue_size{exporter=\"fake\"}"), 90);
    ut_queue_remove_feed(queue, &feed);
    answer_all();
}

Test(room, can_be_counted_in_bytes)
{
    settings.sending_queue.sizer = UT_SIZER_BYTES;
    settings.sending_queue.queue_size = 30; /* a fake batch has 13 */
    open_queue();
    fake.keeps = true;
    put(1);
    put(1);
    cr_assert_not(admits(1));
    cr_assert_eq(metric("undertrace_exporter_queue_bytes{exporter=\"fake\"}"), 26);
    answer_all();
    cr_assert(admits(1));
}

Test(room, a_batch_larger_than_the_queue_finds_it_when_the_queue_is_empty)
{
    settings.sending_queue.sizer = UT_SIZER_ITEMS;
    open_queue();
    fake.keeps = true;
    cr_assert(admits(1000));
    put(1000);
    cr_assert_not(admits(1));
    answer_all();
    cr_assert(admits(1));
}

static struct ut_batch *put_anyway(uint32_t spans)
{
    struct ut_batch *batch = fake_batch(&worker, spans);
    cr_assert(ut_queue_admits(queue, batch), "a queue that drops admits everything");
    ut_queue_put(queue, batch);
    (void)balanced_books(queue);
    return batch;
}

Test(room, drop_oldest_drops_what_waits_longest_and_nothing_in_flight)
{
    settings.sending_queue.queue_size = 4;
    settings.sending_queue.num_consumers = 2;
    settings.sending_queue.on_full = UT_ON_FULL_DROP_OLDEST;
    open_queue();
    fake.keeps = true;
    put_anyway(1); /* in flight */
    put_anyway(2); /* in flight */
    put_anyway(4);
    put_anyway(8);
    const struct ut_batch *last[] = {put_anyway(16), put_anyway(32)};
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.dropped[UT_DROP_QUEUE_FULL], 12);
    cr_assert_eq(books.in_flight, 3);
    answer_all();
    cr_assert_eq(fake.sends[2].batch, last[0]);
    cr_assert_eq(fake.sends[3].batch, last[1]);
    cr_assert_eq(balanced_books(queue).sent, 51);
    cr_assert_eq(
        metric("undertrace_exporter_dropped_spans{exporter=\"fake\",reason=\"queue_full\"}"), 12);
}

Test(room, drop_oldest_takes_those_that_were_tried_first)
{
    settings.sending_queue.queue_size = 2;
    settings.sending_queue.on_full = UT_ON_FULL_DROP_OLDEST;
    open_queue();
    fake.answer = retry;
    put_anyway(1);
    put_anyway(2);
    put_anyway(4);
    cr_assert_eq(balanced_books(queue).dropped[UT_DROP_QUEUE_FULL], 1);
}

Test(room, drop_oldest_with_all_in_flight_drops_the_new_one)
{
    settings.sending_queue.queue_size = 2;
    settings.sending_queue.on_full = UT_ON_FULL_DROP_OLDEST;
    open_queue();
    fake.keeps = true;
    put_anyway(1);
    put_anyway(2);
    put_anyway(4);
    cr_assert_eq(balanced_books(queue).dropped[UT_DROP_QUEUE_FULL], 4);
    answer_all();
    cr_assert_eq(balanced_books(queue).sent, 3);
}

Test(room, drop_newest_drops_what_comes)
{
    settings.sending_queue.queue_size = 2;
    settings.sending_queue.on_full = UT_ON_FULL_DROP_NEWEST;
    open_queue();
    fake.keeps = true;
    for (uint32_t i = 0; i < 5; i++)
        put_anyway(1U << i);
    cr_assert_eq(balanced_books(queue).dropped[UT_DROP_QUEUE_FULL], 4 + 8 + 16);
    answer_all();
    cr_assert_eq(balanced_books(queue).sent, 3);
}

Test(room, a_stopping_queue_that_drops_refuses_too)
{
    settings.sending_queue.on_full = UT_ON_FULL_DROP_OLDEST;
    open_queue();
    ut_queue_drain(queue, NULL, NULL);
    cr_assert_not(admits(1));
}

/* ---- batches -------------------------------------------------------------------------------- */

static void open_joining(uint64_t min_size, uint64_t max_size)
{
    settings.sending_queue.batch.present = true;
    settings.sending_queue.batch.min_size = min_size;
    settings.sending_queue.batch.max_size = max_size;
    open_queue();
}

Test(room, batches_are_joined_when_they_are_taken)
{
    open_joining(10, 0);
    for (int i = 0; i < 3; i++)
        put(3);
    cr_assert_eq(fake.send_count, 0);
    put(3);
    cr_assert_eq(fake.send_count, 1);
    cr_assert_eq(fake.sends[0].count, 12);
    cr_assert_eq(balanced_books(queue).sent, 12);
}

Test(room, what_is_too_little_goes_after_the_flush_timeout)
{
    open_joining(10, 0);
    put(3);
    virtual_worker_advance(&worker, 199);
    put(3);
    cr_assert_eq(fake.send_count, 0);
    virtual_worker_advance(&worker, 1);
    cr_assert_eq(fake.send_count, 1);
    cr_assert_eq(fake.sends[0].count, 6);
    cr_assert_eq(worker.timers.count, 0);
}

Test(room, draining_does_not_wait_for_the_flush_timeout)
{
    open_joining(10, 0);
    put(3);
    ut_queue_drain(queue, NULL, NULL);
    cr_assert_eq(balanced_books(queue).sent, 3);
}

Test(room, batches_are_split_when_they_are_taken)
{
    open_joining(1, 10);
    put(25);
    const uint32_t counts[] = {10, 10, 5};
    cr_assert_eq(fake.send_count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(fake.sends[i].count, counts[i]);
    cr_assert_eq(balanced_books(queue).sent, 25);
}

Test(room, joining_stops_at_the_maximum)
{
    open_joining(10, 12);
    fake.keeps = true;
    put(9);
    put(9);
    cr_assert_eq(fake.send_count, 1);
    cr_assert_eq(fake.sends[0].count, 9, "18 would be too many");
    virtual_worker_advance(&worker, 200);
    cr_assert_eq(fake.send_count, 2);
    answer_all();
}

Test(room, a_shared_batch_is_joined_by_views_of_its_bodies)
{
    open_joining(10, 0);
    fake.keeps = true;
    struct ut_batch *shared[2];
    for (int i = 0; i < 2; i++) {
        shared[i] = fake_batch(&worker, 5);
        cr_assert(ut_queue_admits(queue, shared[i]));
        ut_queue_put(queue, ut_batch_ref(shared[i]));
    }
    const struct ut_batch *joined = fake.held[0]->batch;
    cr_assert_eq(joined->spans, 10);
    cr_assert_eq(joined->first->segment, shared[0]->first->segment);
    cr_assert_eq(joined->first->next->segment, shared[1]->first->segment);
    cr_assert_null(shared[0]->first->next, "the others see their own batch");
    ut_batch_unref(shared[0]); /* the other exporter is done with it */
    answer_all();
    cr_assert_eq(balanced_books(queue).sent, 10);
    cr_assert_eq(worker.budget.used, 100);
    ut_batch_unref(shared[1]);
}

/* A batch whose spans take 100 bytes each, the header included; every third is left out. */
static struct ut_batch *batch_with_rows(uint32_t rows)
{
    struct ut_batch *batch = fake_batch(&worker, 0);
    struct ut_body *body = batch->first;
    body->spans = ut_arena_alloc(&body->arena, rows * sizeof(struct ut_span));
    cr_assert_not_null(body->spans);
    body->span_count = rows;
    for (uint32_t i = 0; i < rows; i++) {
        body->spans[i] = (struct ut_span){.size = 97, .header = 3};
        if (i % 3 == 2) {
            body->spans[i].flags = UT_SPAN_LEFT_OUT;
            body->left_out++;
        }
    }
    batch->spans = rows - body->left_out;
    batch->bytes = rows * 100;
    return batch;
}

Test(room, batches_can_be_split_by_bytes)
{
    settings.sending_queue.batch.sizer = UT_BATCH_SIZER_BYTES;
    open_joining(1, 350);
    ut_queue_put(queue, batch_with_rows(15));
    const uint32_t counts[] = {3, 3, 3, 1};
    cr_assert_eq(fake.send_count, 4);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(fake.sends[i].count, counts[i], "piece %d", i);
    cr_assert_eq(balanced_books(queue).sent, 10);
}

Test(room, a_span_above_the_maximum_of_bytes_goes_alone)
{
    settings.sending_queue.batch.sizer = UT_BATCH_SIZER_BYTES;
    open_joining(1, 50);
    ut_queue_put(queue, batch_with_rows(6));
    cr_assert_eq(fake.send_count, 4);
    cr_assert_eq(balanced_books(queue).sent, 4);
}
