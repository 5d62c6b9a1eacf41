/* SPDX-License-Identifier: Apache-2.0 */
#include "queue_lab.h"

TestSuite(queue, .init = prepare, .fini = finish);

Test(queue, sends_and_gives_everything_back)
{
    open_queue();
    put(3);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.accepted, 3);
    cr_assert_eq(books.sent, 3);
    cr_assert_eq(room(), 100);
    cr_assert_eq(worker.budget.used, 0);
}

Test(queue, first_sends_keep_the_order)
{
    settings.sending_queue.num_consumers = 2;
    open_queue();
    fake.keeps = true;
    const struct ut_batch *batches[6];
    for (int i = 0; i < 6; i++)
        batches[i] = put(1);
    cr_assert_eq(fake.held_count, 2);
    while (fake.held_count > 0)
        fake_answer(&fake, sent);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(fake.sends[i].batch, batches[i], "send %d", i);
    cr_assert_eq(fake.held_most, 2);
}

Test(queue, room_is_held_until_the_exporter_is_done)
{
    open_queue();
    fake.keeps = true;
    for (int i = 0; i < 100; i++)
        put(1);
    struct ut_batch *one_more = fake_batch(&worker, 7);
    cr_assert_not(ut_queue_admits(queue, one_more));
    ut_queue_count_refused(queue, 7);
    cr_assert_eq(metric("otelcol_exporter_enqueue_failed_spans{exporter=\"fake\"}"), 7);
    cr_assert_eq(metric("otelcol_exporter_queue_size{exporter=\"fake\"}"), 100);
    cr_assert_eq(metric("undertrace_exporter_in_flight_spans{exporter=\"fake\"}"), 10);
    cr_assert_eq(metric("undertrace_exporter_held_spans{exporter=\"fake\"}"), 90);
    fake_answer(&fake, sent);
    cr_assert(ut_queue_admits(queue, one_more));
    ut_queue_put(queue, one_more);
    while (fake.held_count > 0)
        fake_answer(&fake, sent);
    cr_assert_eq(balanced_books(queue).sent, 107);
}

Test(queue, a_batch_on_the_way_has_its_place_and_two_that_are_merged_have_one)
{
    settings.sending_queue.queue_size = 2;
    open_queue();
    struct ut_on_the_way on_the_way = {0};
    struct ut_queue_feed feed = {.on_the_way = &on_the_way};
    ut_queue_add_feed(queue, &feed);
    struct ut_batch *batches[3];
    for (int i = 0; i < 2; i++) {
        batches[i] = fake_batch(&worker, 1);
        cr_assert(ut_queue_admits(queue, batches[i]));
        ut_batch_set_on_the_way(batches[i], &on_the_way);
    }
    batches[2] = fake_batch(&worker, 1);
    cr_assert_not(ut_queue_admits(queue, batches[2]));
    ut_batch_append(batches[0], batches[1]);
    cr_assert_eq(on_the_way.batches, 1);
    cr_assert(ut_queue_admits(queue, batches[2]));
    ut_batch_unref(batches[0]);
    cr_assert_eq(on_the_way.batches, 0);
    ut_batch_unref(batches[2]);
    ut_queue_remove_feed(queue, &feed);
}

Test(queue, a_batch_whose_spans_are_all_left_out_is_not_sent)
{
    open_queue();
    put(0);
    cr_assert_eq(fake.send_count, 0);
    cr_assert_eq(room(), 100);
}

Test(queue, an_item_in_back_off_does_not_hold_the_others)
{
    settings.sending_queue.num_consumers = 1;
    open_queue();
    fake.poison = fake_batch(&worker, 5);
    cr_assert(ut_queue_admits(queue, fake.poison));
    ut_queue_put(queue, (struct ut_batch *)(uintptr_t)fake.poison);
    put(1);
    put(1);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.sent, 2);
    cr_assert_eq(books.held, 5);
    fake.poison = NULL;
    virtual_worker_advance(&worker, 4999);
    cr_assert_eq(balanced_books(queue).sent, 2);
    virtual_worker_advance(&worker, 1);
    cr_assert_eq(balanced_books(queue).sent, 7);
    cr_assert_eq(metric("undertrace_exporter_retries{exporter=\"fake\",cause=\"backend\"}"), 1);
}

Test(queue, waits_as_long_as_the_backend_asks)
{
    open_queue();
    fake.answer = (struct ut_outcome){.result = UT_RETRY, .after_ms = 17000};
    put(1);
    fake.answer = sent;
    put(1); /* to the same endpoint */
    virtual_worker_advance(&worker, 16999);
    cr_assert_eq(fake.send_count, 1);
    virtual_worker_advance(&worker, 1);
    cr_assert_eq(fake.send_count, 3);
    cr_assert_eq(metric("undertrace_exporter_retries{exporter=\"fake\",cause=\"throttled\"}"), 1);
}

Test(queue, due_entries_do_not_starve_fresh_ones)
{
    settings.sending_queue.num_consumers = 1;
    open_queue();
    fake.answer = retry;
    for (int i = 0; i < 20; i++)
        put(1);
    fake.keeps = true;
    const struct ut_batch *fresh[] = {put(1), put(1)};
    virtual_worker_advance(&worker, 5000);
    for (int i = 0; i < 4; i++)
        fake_answer(&fake, sent);
    bool seen[2] = {false, false};
    for (size_t i = 20; i < fake.send_count; i++)
        for (int j = 0; j < 2; j++)
            seen[j] |= fake.sends[i].batch == fresh[j];
    cr_assert(seen[0] && seen[1]);
    while (fake.held_count > 0)
        fake_answer(&fake, sent);
    cr_assert_eq(balanced_books(queue).sent, 22);
}

Test(queue, gives_up_after_the_elapsed_time)
{
    settings.retry_on_failure.max_elapsed_time_ns = 60 * UT_NS_PER_S;
    open_queue();
    fake.answer = retry;
    put(4);
    virtual_worker_advance(&worker, 61000);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.dropped[UT_DROP_RETRY_ENDED], 4);
    /* At 0, 5, 15 and 35 s; the one at 65 s would be too late. */
    cr_assert_eq(fake.send_count, 4);
    cr_assert_eq(
        metric("undertrace_exporter_dropped_spans{exporter=\"fake\",reason=\"retry_ended\"}"), 4);
    cr_assert_eq(metric("otelcol_exporter_send_failed_spans{exporter=\"fake\"}"), 4);
    cr_assert_eq(room(), 100);
}

Test(queue, retry_disabled_drops_at_once)
{
    settings.retry_on_failure.enabled = false;
    open_queue();
    fake.answer = retry;
    put(4);
    cr_assert_eq(balanced_books(queue).dropped[UT_DROP_RETRY_ENDED], 4);
}

Test(queue, tries_for_days_where_told_to_and_delivers)
{
    settings.retry_on_failure.max_elapsed_time_ns = 0;
    settings.retry_on_failure.randomization_factor = 0.5;
    open_queue();
    fake.answer = retry;
    for (int i = 0; i < 100; i++)
        put(2);
    virtual_worker_advance(&worker, UINT64_C(3) * 86400 * 1000);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.held, 200);
    cr_assert_gt(fake.send_count, 100 * 3 * 86400 / 46);
    fake.answer = sent;
    virtual_worker_advance(&worker, 46000);
    cr_assert_eq(balanced_books(queue).sent, 200);
    cr_assert_eq(fake.spans, 200);
}

Test(queue, permanent_refusals_are_dropped_and_counted)
{
    open_queue();
    fake.answer = permanent;
    put(6);
    cr_assert_eq(balanced_books(queue).dropped[UT_DROP_PERMANENT], 6);
    cr_assert_eq(fake.send_count, 1);
}

Test(queue, partial_success_counts_the_rejected)
{
    open_queue();
    fake.answer = (struct ut_outcome){.result = UT_SENT, .rejected_spans = 2, .text = "bad ids"};
    put(6);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.sent, 4);
    cr_assert_eq(books.dropped[UT_DROP_REJECTED], 2);
}

Test(queue, a_backend_that_rejects_more_than_it_got_does_not_unbalance_the_books)
{
    open_queue();
    fake.answer = (struct ut_outcome){.result = UT_SENT, .rejected_spans = UINT64_MAX};
    put(6);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.sent, 0);
    cr_assert_eq(books.dropped[UT_DROP_REJECTED], 6);
}

/* Every span of 0 … count - 1 was sent in exactly one item that was small enough. */
static void assert_covered_once(uint32_t count, uint32_t largest)
{
    uint32_t next = 0;
    for (size_t i = 0; i < fake.send_count; i++) {
        const struct fake_send *send = &fake.sends[i];
        bool taken = send->count <= largest;
        bool giant = fake.giant != 0 && fake.giant - 1 >= send->first &&
                     fake.giant - 1 < send->first + send->count;
        cr_assert_eq(send->first, next, "send %zu begins at %u, not %u", i, send->first, next);
        if ((taken && !giant) || (giant && send->count == 1))
            next += send->count;
    }
    cr_assert_eq(next, count);
}

Test(queue, too_large_is_halved_until_it_fits)
{
    open_queue();
    fake.largest = 30;
    put(100);
    cr_assert_eq(balanced_books(queue).sent, 100);
    assert_covered_once(100, 30);
    cr_assert_lt(fake.send_count, 12);
}

Test(queue, a_single_span_that_is_too_large_is_dropped_alone)
{
    open_queue();
    fake.giant = 1 + 5000;
    put(8192);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.sent, 8191);
    cr_assert_eq(books.dropped[UT_DROP_TOO_LARGE], 1);
    assert_covered_once(8192, UINT32_MAX);
    cr_assert_lt(fake.send_count, 40);
}

Test(queue, pieces_grow_again_behind_a_fat_region)
{
    open_queue();
    fake.keeps = true;
    put(4096);
    uint64_t taken = 0;
    while (fake.held_count > 0) {
        const struct ut_item *item = fake.held[0];
        bool fits = item->first_span >= 16 || item->span_count <= 2;
        taken += fits ? item->span_count : 0;
        fake_answer(&fake, fits ? sent : too_large);
    }
    cr_assert_eq(taken, 4096);
    cr_assert_lt(fake.send_count, 60);
}

Test(queue, a_piece_is_retried_as_a_piece_and_the_back_off_starts_anew_after_it)
{
    open_queue();
    fake.keeps = true;
    put(2);
    fake_answer(&fake, too_large);
    fake_answer(&fake, retry);
    virtual_worker_advance(&worker, 5000);
    fake_answer(&fake, retry);
    virtual_worker_advance(&worker, 10000);
    fake_answer(&fake, sent);
    cr_assert_eq(balanced_books(queue).sent, 1);
    cr_assert_eq(fake.held[0]->first_span, 1);
    fake_answer(&fake, retry);
    virtual_worker_advance(&worker, 5000);
    fake_answer(&fake, sent);
    cr_assert_eq(balanced_books(queue).sent, 2);
}

Test(queue, an_exporter_that_finishes_in_send_does_not_recurse)
{
    settings.sending_queue.queue_size = 3000;
    settings.sending_queue.num_consumers = 1;
    open_queue();
    fake.keeps = true;
    for (int i = 0; i < 3000; i++)
        put(1);
    fake.keeps = false;
    fake_answer(&fake, sent);
    cr_assert_eq(balanced_books(queue).sent, 3000);
    cr_assert_eq(fake.depth_most, 1);
}

Test(queue, delay_for_the_refused_is_the_wait_of_the_oldest)
{
    settings.sending_queue.queue_size = 1;
    settings.retry_on_failure.max_elapsed_time_ns = 0;
    open_queue();
    fake.keeps = true;
    put(1);
    cr_assert_eq(ut_queue_delay_ms(queue), 1000);
    fake_answer(&fake, (struct ut_outcome){.result = UT_RETRY, .after_ms = 12345});
    cr_assert_eq(ut_queue_delay_ms(queue), 12345);
    virtual_worker_advance(&worker, 12000);
    cr_assert_eq(ut_queue_delay_ms(queue), 1000);
    virtual_worker_advance(&worker, 345);
    fake_answer(&fake, (struct ut_outcome){.result = UT_RETRY, .after_ms = 600000});
    cr_assert_eq(ut_queue_delay_ms(queue), 30000);
}

/* ---- stop ----------------------------------------------------------------------------------- */

static void count_call(void *arg)
{
    ++*(int *)arg;
}

Test(queue, drain_of_an_empty_queue_is_done_at_once)
{
    open_queue();
    int drained = 0;
    ut_queue_drain(queue, count_call, &drained);
    cr_assert_eq(drained, 1);
}

Test(queue, drain_sends_the_rest_and_says_so_once)
{
    settings.sending_queue.num_consumers = 1;
    open_queue();
    fake.keeps = true;
    put(1);
    put(2);
    int drained = 0;
    ut_queue_drain(queue, count_call, &drained);
    struct ut_batch *late = fake_batch(&worker, 1);
    cr_assert_not(ut_queue_admits(queue, late));
    ut_batch_unref(late);
    fake_answer(&fake, sent);
    cr_assert_eq(drained, 0);
    fake_answer(&fake, sent);
    cr_assert_eq(drained, 1);
    cr_assert_eq(balanced_books(queue).sent, 3);
}

Test(queue, drain_tries_at_once_what_waits_of_our_own_accord)
{
    open_queue();
    fake.answer = retry;
    put(1);
    put(2);
    fake.answer = sent;
    int drained = 0;
    ut_queue_drain(queue, count_call, &drained);
    cr_assert_eq(balanced_books(queue).sent, 3);
    cr_assert_eq(drained, 1);
}

Test(queue, drain_leaves_a_backend_alone_that_asks_for_it)
{
    open_queue();
    fake.answer = (struct ut_outcome){.result = UT_RETRY, .after_ms = 8000};
    put(2);
    fake.answer = sent;
    int drained = 0;
    ut_queue_drain(queue, count_call, &drained);
    virtual_worker_advance(&worker, 7999);
    cr_assert_eq(balanced_books(queue).sent, 0);
    virtual_worker_advance(&worker, 1);
    cr_assert_eq(balanced_books(queue).sent, 2);
    cr_assert_eq(drained, 1);
}

Test(queue, what_is_left_at_the_deadline_is_counted)
{
    settings.sending_queue.num_consumers = 2;
    open_queue();
    fake.answer = retry;
    put(1); /* waits */
    fake.keeps = true;
    put(2); /* in flight */
    put(4); /* in flight */
    put(8); /* fresh */
    int drained = 0;
    ut_queue_drain(queue, count_call, &drained);
    ut_queue_abandon(queue);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.dropped[UT_DROP_SHUTDOWN], 9);
    cr_assert_eq(books.in_flight, 6);
    cr_assert_eq(drained, 0);
    /* The exporter's stop ends what is in flight; one of them was just delivered. */
    fake_answer(&fake, retry);
    fake_answer(&fake, sent);
    books = balanced_books(queue);
    cr_assert_eq(books.dropped[UT_DROP_SHUTDOWN], 11);
    cr_assert_eq(books.sent, 4);
    cr_assert_eq(drained, 1);
    cr_assert_eq(metric("otelcol_exporter_send_failed_spans{exporter=\"fake\"}"), 0);
    cr_assert_eq(metric("otelcol_exporter_queue_size{exporter=\"fake\"}"), 0);
}

Test(queue, the_rest_of_a_split_batch_is_counted_at_the_deadline)
{
    open_queue();
    fake.keeps = true;
    put(10);
    fake_answer(&fake, too_large);
    ut_queue_abandon(queue);
    cr_assert_eq(balanced_books(queue).in_flight, 5);
    fake_answer(&fake, sent);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.sent, 5);
    cr_assert_eq(books.dropped[UT_DROP_SHUTDOWN], 5);
}

Test(queue, what_comes_after_the_deadline_is_counted)
{
    open_queue();
    struct ut_batch *batch = fake_batch(&worker, 3);
    cr_assert(ut_queue_admits(queue, batch));
    ut_queue_abandon(queue);
    ut_queue_put(queue, batch);
    cr_assert_eq(balanced_books(queue).dropped[UT_DROP_SHUTDOWN], 3);
}

/* ---- memory and storms ---------------------------------------------------------------------- */

Test(queue, steady_flow_asks_the_system_for_no_memory)
{
    open_queue();
    for (int i = 0; i < 20; i++)
        put(1);
    uint64_t before = worker.pool.system_calls;
    for (int i = 0; i < 10000; i++) {
        fake.answer = i % 10 == 0 ? retry : sent;
        put(3);
        fake.answer = sent;
        if (i % 10 == 0)
            virtual_worker_advance(&worker, 5000);
    }
    cr_assert_eq(worker.pool.system_calls, before);
    cr_assert_eq(balanced_books(queue).sent, 30020);
}

Test(queue, books_balance_through_a_storm_of_answers)
{
    settings.retry_on_failure.max_elapsed_time_ns = 40 * UT_NS_PER_S;
    open_queue();
    fake.keeps = true;
    uint64_t random = 99, accepted = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t r = ut_retry_random(&random);
        if (r % 3 == 0 && room() > 0) {
            uint32_t spans = (uint32_t)(r >> 8) % 20;
            put(spans);
            accepted += spans;
        } else if (r % 3 == 1) {
            virtual_worker_advance(&worker, (r >> 8) % 3000);
        } else if (fake.held_count > 0) {
            struct ut_outcome outcome = {
                .result = (enum ut_result)((r >> 8) % 4),
                .cause = (enum ut_setback)((r >> 40) % UT_SETBACKS),
                .after_ms = (r >> 16) % 2 ? (uint32_t)(r >> 24) % 9000 : 0,
                .rejected_spans = (r >> 32) % 3,
            };
            fake_answer(&fake, outcome);
        }
        (void)balanced_books(queue);
    }
    ut_queue_drain(queue, NULL, NULL);
    ut_queue_abandon(queue);
    while (fake.held_count > 0)
        fake_answer(&fake, retry);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.accepted, accepted);
    cr_assert_eq(books.held + books.in_flight, 0);
    cr_assert_eq(worker.timers.count, 0);
}
