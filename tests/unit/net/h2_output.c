/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_output.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct ut_pool pool;
static struct ut_h2_output output;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)1 << 20);
    ut_h2_output_init(&output, &pool);
}

static void tear_down(void)
{
    ut_h2_output_done(&output);
    ut_pool_done(&pool);
}

TestSuite(h2_output, .init = set_up, .fini = tear_down);

static size_t flatten(char *out)
{
    struct iovec runs[512];
    size_t count = ut_h2_output_peek(&output, runs, 512), size = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(out + size, runs[i].iov_base, runs[i].iov_len);
        size += runs[i].iov_len;
    }
    return size;
}

Test(h2_output, idle_output_holds_no_memory)
{
    cr_expect_eq(pool.in_use, 0);
    cr_assert_eq(ut_h2_output_copy(&output, UT_SLICE("abc")), 0);
    cr_expect_gt(pool.in_use, 0);
    ut_h2_output_consume(&output, 3);
    cr_expect_eq(pool.in_use, 0);
}

Test(h2_output, copies_and_references_keep_their_order)
{
    char text[64];
    cr_assert_eq(ut_h2_output_copy(&output, UT_SLICE("one ")), 0);
    cr_assert_eq(ut_h2_output_refer(&output, UT_SLICE("two ")), 0);
    cr_assert_eq(ut_h2_output_refer(&output, (ut_slice){0}), 0);
    cr_assert_eq(ut_h2_output_copy(&output, UT_SLICE("three ")), 0);
    cr_assert_eq(ut_h2_output_copy(&output, UT_SLICE("four")), 0);
    cr_expect_eq(flatten(text), 18);
    cr_expect_eq(memcmp(text, "one two three four", 18), 0);
    struct iovec runs[8];
    cr_expect_eq(ut_h2_output_peek(&output, runs, 8), 3, "neighbouring copies share a run");
    cr_expect_eq(ut_h2_output_peek(&output, runs, 2), 2);
}

Test(h2_output, partial_consumption_at_every_byte)
{
    for (size_t at = 0; at <= 11; at++) {
        char text[64];
        cr_assert_eq(ut_h2_output_copy(&output, UT_SLICE("abcd")), 0);
        cr_assert_eq(ut_h2_output_refer(&output, UT_SLICE("efgh")), 0);
        cr_assert_eq(ut_h2_output_copy(&output, UT_SLICE("ijk")), 0);
        ut_h2_output_consume(&output, at);
        cr_expect_eq(ut_h2_output_bytes(&output), 11 - at);
        cr_expect_eq(flatten(text), 11 - at);
        cr_expect_eq(memcmp(text, "abcdefghijk" + at, 11 - at), 0);
        ut_h2_output_consume(&output, 11 - at);
    }
    cr_expect_eq(output.gone, output.pushed);
}

Test(h2_output, is_bounded_in_bytes_and_runs)
{
    static char block[4096], other[8];
    int copies = 0, references = 0;
    while (ut_h2_output_copy(&output, ut_slice_of(block, sizeof(block))) == 0 && copies < 100)
        copies++;
    cr_expect_eq(copies, 3);
    cr_expect_not(ut_h2_output_has_room(&output, sizeof(block), 1));
    while (ut_h2_output_refer(&output, ut_slice_of(other, 1)) == 0 && references < 10000)
        references++;
    cr_expect_lt(references, 2000);
    cr_expect_eq(ut_h2_output_refer(&output, UT_SLICE("x")), -ENOBUFS);
    ut_h2_output_consume(&output, ut_h2_output_bytes(&output));
    cr_expect(ut_h2_output_has_room(&output, sizeof(block), 1));
}
