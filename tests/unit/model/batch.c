/* SPDX-License-Identifier: Apache-2.0 */
#include "model/batch.h"

#include <criterion/criterion.h>
#include <signal.h>

static struct ut_pool pool;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)1 << 20);
}

/* Every block that was not given back fails the test here. */
static void tear_down(void)
{
    ut_pool_done(&pool);
}

TestSuite(batch, .init = set_up, .fini = tear_down);

static struct ut_segment *segment_of(const char *text)
{
    struct ut_segment *segment = ut_segment_new(&pool, 16);
    cr_assert_not_null(segment);
    cr_assert_eq(ut_segment_append(&segment, ut_slice_str(text)), 0);
    return segment;
}

/* A batch of one body with an index as the walk might leave it. */
static struct ut_batch *batch_of(const char *text, uint32_t spans, uint32_t left_out,
                                 uint64_t newest_end_ns)
{
    struct ut_batch *batch = ut_batch_new(&pool, segment_of(text));
    cr_assert_not_null(batch);
    struct ut_body *body = batch->first;
    body->spans = ut_arena_alloc(&body->arena, spans * sizeof(body->spans[0]));
    body->span_count = spans;
    body->left_out = left_out;
    body->newest_end_ns = newest_end_ns;
    ut_batch_measure(batch);
    return batch;
}

Test(batch, new_takes_the_segment_over)
{
    struct ut_segment *segment = segment_of("abc");
    struct ut_batch *batch = ut_batch_new(&pool, segment);
    cr_assert_eq(segment->refs, 1);
    cr_expect_eq(batch->first->start, 0);
    cr_expect_eq(batch->first->end, 3);
    cr_expect(ut_slice_equal(ut_body_slice(batch->first, 1, 2), UT_SLICE("bc")));
    ut_batch_unref(batch);
    cr_expect_eq(pool.in_use, 0);
}

Test(batch, measure_counts_what_is_not_left_out)
{
    struct ut_batch *batch = batch_of("abcd", 5, 2, 77);
    cr_expect_eq(batch->spans, 3);
    cr_expect_eq(batch->bytes, 4);
    cr_expect_eq(batch->newest_end_ns, 77);
    ut_batch_unref(batch);
}

Test(batch, append_moves_all_bodies_and_adds_up)
{
    struct ut_batch *batch = batch_of("a", 1, 0, 10);
    struct ut_batch *second = batch_of("bb", 2, 0, 30), *third = batch_of("ccc", 3, 0, 20);
    batch->received_ns = 5, second->received_ns = 4, third->received_ns = 6;
    struct ut_body *bodies[] = {batch->first, second->first, third->first};
    ut_batch_append(second, third);
    ut_batch_append(batch, second);
    cr_expect_eq(batch->spans, 6);
    cr_expect_eq(batch->bytes, 6);
    cr_expect_eq(batch->newest_end_ns, 30);
    cr_expect_eq(batch->received_ns, 4, "of the oldest");
    const struct ut_body *body = batch->first;
    for (int i = 0; i < 3; i++, body = body->next)
        cr_expect_eq(body, bodies[i]);
    cr_expect_null(body);
    ut_batch_append(batch, batch_of("d", 1, 0, 0));
    cr_expect_not_null(bodies[2]->next, "the end of the list was moved along");
    ut_batch_unref(batch);
}

Test(batch, lives_until_the_last_reference)
{
    struct ut_batch *batch = batch_of("abc", 1, 0, 0);
    cr_assert_eq(ut_batch_ref(batch), batch);
    ut_batch_unref(batch);
    cr_expect_neq(pool.in_use, 0);
    cr_expect_eq(batch->spans, 1);
    ut_batch_unref(batch);
    cr_expect_eq(pool.in_use, 0);
    ut_batch_unref(NULL);
}

Test(batch, returns_its_charge_when_it_is_gone)
{
    struct ut_budget budget;
    ut_budget_init(&budget, 1000);
    cr_assert(ut_budget_take(&budget, 600));
    struct ut_batch *batch = batch_of("abc", 1, 0, 0);
    batch->first->budget = &budget;
    batch->first->charge = 600;
    ut_batch_append(batch, batch_of("d", 1, 0, 0));
    cr_expect_eq(budget.used, 600);
    ut_batch_unref(batch);
    cr_expect_eq(budget.used, 0);
}

Test(batch, a_shared_segment_outlives_one_of_its_batches)
{
    struct ut_segment *segment = segment_of("abc");
    struct ut_batch *batch = ut_batch_new(&pool, ut_segment_ref(segment));
    ut_batch_unref(batch);
    cr_expect_eq(segment->refs, 1);
    cr_expect_eq(segment->data[2], 'c');
    ut_segment_unref(segment);
}

Test(batch, the_first_edit_makes_the_table_for_all_spans)
{
    struct ut_batch *batch = batch_of("abc", 3, 0, 0);
    struct ut_body *body = batch->first;
    struct ut_edit edit = {0}, other = {0};
    cr_expect_null(ut_body_edit(body, 1));
    cr_assert_eq(ut_body_set_edit(body, 1, &edit), 0);
    cr_expect_eq(ut_body_edit(body, 1), &edit);
    cr_expect_null(ut_body_edit(body, 0));
    cr_expect_null(ut_body_edit(body, 2));
    const struct ut_edit **table = body->span_edits;
    cr_assert_eq(ut_body_set_edit(body, 1, &other), 0);
    cr_expect_eq(ut_body_edit(body, 1), &other);
    cr_expect_eq(body->span_edits, table);
    ut_batch_unref(batch);
}

Test(batch, a_row_is_a_cache_line)
{
    cr_assert_eq(sizeof(struct ut_span), 64);
}

Test(batch, appending_a_shared_batch_is_our_mistake, .signal = SIGABRT)
{
    struct ut_batch *batch = batch_of("abc", 1, 0, 0);
    ut_batch_append(batch, ut_batch_ref(batch_of("abc", 1, 0, 0)));
}

Test(batch, a_view_of_a_shared_batch_can_be_appended_to)
{
    struct ut_batch *shared = ut_batch_ref(batch_of("abc", 3, 1, 0));
    struct ut_batch *view = ut_batch_view(ut_batch_ref(shared));
    cr_assert_not_null(view);
    cr_assert_neq(view, shared);
    cr_assert_eq(view->refs, 1);
    cr_assert_eq(view->spans, 2);
    ut_batch_append(view, batch_of("de", 1, 0, 0));
    cr_assert_eq(view->spans, 3);
    cr_assert_null(shared->first->next);
    ut_batch_unref(shared);
    ut_batch_unref(shared);
    cr_assert_eq(memcmp(view->first->segment->data, "abc", 3), 0, "it lives as long as the view");
    ut_batch_unref(view);
    cr_expect_eq(pool.in_use, 0);
}

Test(batch, a_batch_that_is_not_shared_is_its_own_view)
{
    struct ut_batch *batch = batch_of("abc", 1, 0, 0);
    cr_assert_eq(ut_batch_view(batch), batch);
    ut_batch_unref(batch);
}

static unsigned released;

static void on_released(struct ut_watch *watch)
{
    (void)watch;
    released++;
}

Test(batch, a_watch_is_told_of_the_body_and_not_of_its_views)
{
    struct ut_watch watch = {.released = on_released};
    struct ut_batch *shared = ut_batch_ref(batch_of("abc", 1, 0, 0));
    shared->first->watch = &watch;
    ut_batch_unref(ut_batch_view(shared));
    cr_expect_eq(released, 0);
    ut_batch_unref(shared);
    cr_expect_eq(released, 1);
}

Test(batch, what_is_on_the_way_is_counted_through_merges_and_measures)
{
    struct ut_on_the_way way = {0};
    struct ut_batch *a = batch_of("abc", 3, 0, 0), *b = batch_of("de", 2, 0, 0);
    ut_batch_set_on_the_way(a, &way);
    ut_batch_set_on_the_way(b, &way);
    cr_expect_eq(way.batches, 2);
    cr_expect_eq(way.spans, 5);
    cr_expect_eq(way.bytes, 5);
    ut_batch_append(a, b);
    cr_expect_eq(way.batches, 1);
    cr_expect_eq(way.spans, 5);
    a->first->left_out = 2; /* as a processor that samples does */
    ut_batch_measure(a);
    cr_expect_eq(way.spans, 3);
    ut_batch_unref(a);
    cr_expect_eq(way.batches + way.spans + way.bytes, 0);
}
