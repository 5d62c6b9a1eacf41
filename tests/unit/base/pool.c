/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

enum { MIB = 1 << 20 };

static struct ut_pool pool;

static void set_up(void)
{
    ut_pool_init(&pool, 4 * MIB);
}

static void tear_down(void)
{
    ut_pool_done(&pool);
}

TestSuite(pool, .init = set_up, .fini = tear_down);

Test(pool, blocks_hold_what_was_asked_for_and_are_aligned)
{
    static const size_t sizes[] = {0,     1,     111,      112,      113,      128, 1000,   4096,
                                   65520, 65521, MIB - 17, MIB - 16, MIB - 15, MIB, 5 * MIB};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *block = ut_pool_alloc(&pool, sizes[i]);
        cr_assert_not_null(block);
        cr_expect_eq((uintptr_t)block % 16, 0);
        cr_expect_geq(ut_pool_usable(block), sizes[i]);
        memset(block, 0xa5, ut_pool_usable(block));
        ut_pool_free(&pool, block);
    }
    cr_expect_eq(pool.in_use, 0);
}

Test(pool, a_freed_block_is_used_again_without_the_system)
{
    void *block = ut_pool_alloc(&pool, 3000);
    uint64_t calls = pool.system_calls;
    ut_pool_free(&pool, block);
    void *again = ut_pool_alloc(&pool, 2500);
    cr_expect_eq(again, block);
    cr_expect_eq(pool.system_calls, calls);
    ut_pool_free(&pool, again);
}

Test(pool, counts_what_is_out_and_what_is_kept)
{
    void *small = ut_pool_alloc(&pool, 100), *large = ut_pool_alloc(&pool, 100000);
    cr_expect_eq(pool.in_use, 128 + (128 << 10));
    ut_pool_free(&pool, large);
    cr_expect_eq(pool.in_use, 128);
    cr_expect_eq(pool.retained, 128 << 10);
    ut_pool_free(&pool, small);
    cr_expect_eq(pool.in_use, 0);
    cr_expect_eq(pool.retained, 128 + (128 << 10));
}

Test(pool, an_exact_block_is_not_rounded_up_and_not_kept)
{
    char *block = ut_pool_alloc_exact(&pool, 16394);
    cr_assert_not_null(block);
    memset(block, 0xa5, ut_pool_usable(block));
    cr_expect_eq(ut_pool_usable(block), 16394);
    cr_expect_eq(pool.in_use, 16394 + 16);
    ut_pool_free(&pool, block);
    cr_expect_eq(pool.in_use, 0);
    cr_expect_eq(pool.retained, 0);
}

Test(pool, never_keeps_more_than_its_limit)
{
    void *blocks[10];
    for (int i = 0; i < 10; i++)
        blocks[i] = ut_pool_alloc(&pool, MIB - 16);
    for (int i = 0; i < 10; i++)
        ut_pool_free(&pool, blocks[i]);
    cr_expect_eq(pool.retained, 4 * MIB);
    cr_expect_eq(pool.in_use, 0);
}

Test(pool, large_blocks_are_not_kept)
{
    void *block = ut_pool_alloc(&pool, 2 * MIB);
    cr_expect_geq(pool.in_use, 2 * MIB);
    ut_pool_free(&pool, block);
    cr_expect_eq(pool.retained, 0);
    cr_expect_eq(pool.in_use, 0);
}

Test(pool, absurd_sizes_are_no_memory)
{
    cr_expect_null(ut_pool_alloc(&pool, SIZE_MAX));
    cr_expect_null(ut_pool_alloc(&pool, SIZE_MAX - 15));
    cr_expect_null(ut_pool_alloc(&pool, SIZE_MAX / 2));
    cr_expect_eq(pool.in_use, 0);
    ut_pool_free(&pool, NULL);
}

Test(pool, done_with_a_block_out_is_our_mistake, .signal = SIGABRT)
{
    (void)!ut_pool_alloc(&pool, 1);
    ut_pool_done(&pool);
}
