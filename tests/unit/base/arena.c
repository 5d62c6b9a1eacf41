/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <criterion/criterion.h>
#include <string.h>

static struct ut_pool pool;
static struct ut_arena arena;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)1 << 20);
    ut_arena_init(&arena, &pool);
}

static void tear_down(void)
{
    ut_arena_done(&arena);
    ut_pool_done(&pool);
}

TestSuite(arena, .init = set_up, .fini = tear_down);

Test(arena, blocks_are_aligned_and_do_not_overlap)
{
    enum { COUNT = 500 };
    uint8_t *blocks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = ut_arena_alloc(&arena, (size_t)i);
        cr_assert_not_null(blocks[i]);
        cr_assert_eq((uintptr_t)blocks[i] % 8, 0);
        memset(blocks[i], i, (size_t)i);
    }
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < i; j++)
            cr_assert_eq(blocks[i][j], (uint8_t)i);
    }
}

Test(arena, takes_few_blocks_of_the_pool)
{
    for (int i = 0; i < 10000; i++)
        cr_assert_not_null(ut_arena_alloc(&arena, 64));
    cr_expect_leq(pool.system_calls, 20);
    cr_expect_geq(arena.bytes, 640000);
    cr_expect_leq(arena.bytes, 4 * 640000);
}

Test(arena, the_newest_block_grows_in_place)
{
    uint8_t *block = ut_arena_alloc(&arena, 10);
    memset(block, 7, 10);
    cr_expect_eq(ut_arena_grow(&arena, block, 10, 100), block);
    cr_expect_eq(block[9], 7);
    uint8_t *next = ut_arena_alloc(&arena, 8);
    cr_expect_eq(next, block + 104, "what the block grew by is its own");
}

Test(arena, another_block_moves_when_it_grows)
{
    uint8_t *block = ut_arena_alloc(&arena, 10);
    memset(block, 7, 10);
    uint8_t *after = ut_arena_alloc(&arena, 10);
    memset(after, 8, 10);
    uint8_t *moved = ut_arena_grow(&arena, block, 10, 5000);
    cr_assert_not_null(moved);
    cr_expect_neq(moved, block);
    cr_expect_eq(moved[9], 7);
    memset(moved, 9, 5000);
    cr_expect_eq(after[0], 8);
}

Test(arena, the_newest_block_gives_back_what_it_does_not_need)
{
    uint8_t *block = ut_arena_alloc(&arena, 200);
    cr_expect(ut_arena_is_newest(&arena, block, 200));
    cr_expect_eq(ut_arena_grow(&arena, block, 200, 20), block);
    uint8_t *next = ut_arena_alloc(&arena, 8);
    cr_expect_eq(next, block + 24);
    cr_expect_not(ut_arena_is_newest(&arena, block, 20));
    cr_expect_not(ut_arena_is_newest(&arena, NULL, 0));
}

Test(arena, grow_of_nothing_is_alloc)
{
    uint8_t *block = ut_arena_grow(&arena, NULL, 0, 50);
    cr_assert_not_null(block);
    memset(block, 1, 50);
}

Test(arena, nothing_of_size_nothing_is_not_out_of_memory)
{
    cr_expect_not_null(ut_arena_alloc(&arena, 0));
}

Test(arena, absurd_sizes_are_no_memory)
{
    cr_expect_null(ut_arena_alloc(&arena, SIZE_MAX));
    cr_expect_null(ut_arena_alloc(&arena, SIZE_MAX / 4 + 1));
    void *block = ut_arena_alloc(&arena, 8);
    cr_expect_null(ut_arena_grow(&arena, block, 8, SIZE_MAX));
    cr_expect_null(ut_arena_grow(&arena, block, 8, SIZE_MAX / 4));
}

Test(arena, done_gives_all_back)
{
    for (size_t size = 1; size < 4000000; size *= 3)
        cr_assert_not_null(ut_arena_alloc(&arena, size));
    ut_arena_done(&arena);
    cr_expect_eq(pool.in_use, 0);
    cr_expect_eq(arena.bytes, 0);
    ut_arena_done(&arena);
}
