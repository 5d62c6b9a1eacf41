/* SPDX-License-Identifier: Apache-2.0 */
#include "base/blocks.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

Test(blocks, bytes_come_out_in_runs_in_the_order_of_writing)
{
    enum { ROUNDS = 40000 };
    struct ut_pool pool;
    struct ut_blocks blocks;
    ut_pool_init(&pool, 0);
    ut_blocks_init(&blocks, &pool);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        ut_blocks_put(&blocks, ut_slice_of(&i, sizeof(i)));
        ut_blocks_byte(&blocks, '.');
    }
    const struct iovec *runs;
    int count = ut_blocks_runs(&blocks, &runs);
    cr_assert_gt(count, 2);
    size_t size = ut_blocks_bytes(&blocks), at = 0;
    cr_assert_eq(size, (size_t)ROUNDS * 5);
    char *all = malloc(size);
    for (int i = 0; i < count; i++) {
        cr_assert(runs[i].iov_len > 0 && at + runs[i].iov_len <= size);
        memcpy(all + at, runs[i].iov_base, runs[i].iov_len);
        at += runs[i].iov_len;
    }
    cr_assert_eq(at, size);
    for (uint32_t i = 0; i < ROUNDS; i++)
        cr_assert(memcmp(all + (size_t)i * 5, &i, sizeof(i)) == 0 && all[i * 5 + 4] == '.');
    free(all);
    ut_blocks_done(&blocks);
    cr_assert_eq(pool.in_use, 0);
    ut_pool_done(&pool);
}

Test(blocks, nothing_written_is_no_run)
{
    struct ut_pool pool;
    struct ut_blocks blocks;
    const struct iovec *runs;
    ut_pool_init(&pool, 0);
    ut_blocks_init(&blocks, &pool);
    cr_assert_eq(ut_blocks_runs(&blocks, &runs), 0);
    cr_assert(ut_blocks_room(&blocks, UT_BLOCKS_ROOM_MOST));
    cr_assert_eq(ut_blocks_runs(&blocks, &runs), 0);
    ut_blocks_done(&blocks);
    ut_pool_done(&pool);
}

Test(blocks, failure_is_remembered)
{
    struct ut_pool pool;
    struct ut_blocks blocks;
    const struct iovec *runs;
    ut_pool_init(&pool, 0);
    ut_blocks_init(&blocks, &pool);
    UT_BLOCKS_LITERAL(&blocks, "some");
    ut_blocks_fail(&blocks);
    UT_BLOCKS_LITERAL(&blocks, "more");
    ut_blocks_byte(&blocks, 'x');
    cr_assert_eq(ut_blocks_runs(&blocks, &runs), -ENOMEM);
    ut_blocks_done(&blocks);
    cr_assert_eq(pool.in_use, 0);
    ut_pool_done(&pool);
}
