/* SPDX-License-Identifier: Apache-2.0 */
#include "base/segment.h"

#include <criterion/criterion.h>
#include <signal.h>

static struct ut_pool pool;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)1 << 20);
}

static void tear_down(void)
{
    ut_pool_done(&pool);
}

TestSuite(segment, .init = set_up, .fini = tear_down);

Test(segment, appended_bytes_stand_one_behind_the_other)
{
    struct ut_segment *segment = ut_segment_new(&pool, 0);
    cr_assert_eq(ut_segment_append(&segment, UT_SLICE("abc")), 0);
    cr_assert_eq(ut_segment_append(&segment, UT_SLICE("")), 0);
    cr_assert_eq(ut_segment_append(&segment, UT_SLICE("def")), 0);
    cr_expect(ut_slice_equal(ut_slice_of(segment->data, segment->size), UT_SLICE("abcdef")));
    ut_segment_unref(segment);
}

Test(segment, grows_and_keeps_its_bytes)
{
    struct ut_segment *segment = ut_segment_new(&pool, 10);
    uint8_t piece[1000];
    for (int i = 0; i < 3000; i++) {
        memset(piece, i, sizeof(piece));
        cr_assert_eq(ut_segment_append(&segment, ut_slice_of(piece, sizeof(piece))), 0);
    }
    cr_assert_eq(segment->size, 3000000);
    for (int i = 0; i < 3000; i++) {
        cr_assert_eq(segment->data[i * 1000], (uint8_t)i);
        cr_assert_eq(segment->data[i * 1000 + 999], (uint8_t)i);
    }
    ut_segment_unref(segment);
}

Test(segment, a_declared_size_is_allocated_once)
{
    struct ut_segment *segment = ut_segment_new(&pool, 100000), *before = segment;
    cr_assert_geq(segment->capacity, 100000);
    uint8_t piece[10000] = {0};
    for (int i = 0; i < 10; i++)
        cr_assert_eq(ut_segment_append(&segment, ut_slice_of(piece, sizeof(piece))), 0);
    cr_expect_eq(segment, before);
    ut_segment_unref(segment);
}

Test(segment, lives_until_the_last_reference)
{
    struct ut_segment *segment = ut_segment_new(&pool, 10);
    cr_assert_eq(ut_segment_ref(segment), segment);
    ut_segment_unref(segment);
    cr_expect_neq(pool.in_use, 0);
    ut_segment_unref(segment);
    cr_expect_eq(pool.in_use, 0);
    ut_segment_unref(NULL);
}

Test(segment, no_memory_leaves_it_unchanged)
{
    struct ut_segment *segment = ut_segment_new(&pool, 10), *before = segment;
    cr_assert_eq(ut_segment_append(&segment, UT_SLICE("abc")), 0);
    uint8_t byte = 0;
    cr_expect_neq(ut_segment_append(&segment, ut_slice_of(&byte, SIZE_MAX / 2)), 0);
    cr_expect_neq(ut_segment_append(&segment, ut_slice_of(&byte, SIZE_MAX)), 0);
    cr_expect_eq(segment, before);
    cr_expect_eq(segment->size, 3);
    cr_expect_null(ut_segment_new(&pool, SIZE_MAX));
    ut_segment_unref(segment);
}

Test(segment, growing_a_shared_one_is_our_mistake, .signal = SIGABRT)
{
    struct ut_segment *segment = ut_segment_new(&pool, 10);
    uint8_t piece[1000] = {0};
    ut_segment_ref(segment);
    (void)!ut_segment_append(&segment, ut_slice_of(piece, sizeof(piece)));
}
