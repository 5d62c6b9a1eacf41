/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "evidence/series.h"

enum { CHUNKS = 8, SERIES = 4 };

static struct ut_series_pool pool;
static struct ut_series series[SERIES];

static void begin(void)
{
    cr_assert_eq(ut_series_pool_init(&pool, CHUNKS), 0);
    for (int i = 0; i < SERIES; i++)
        ut_series_init(&series[i], &pool);
}

static void end(void)
{
    ut_series_pool_done(&pool);
}

TestSuite(series, .init = begin, .fini = end);

/* As many points as a chunk has, a nanosecond apart; the value is the time. */
static void fill(struct ut_series *of, uint64_t from, uint32_t chunks)
{
    for (uint64_t at = from; at < from + (uint64_t)chunks * UT_SERIES_CHUNK; at++)
        ut_series_add(of, at, at, UINT64_MAX);
}

static void expect_whole(const struct ut_series *of, uint64_t from, uint32_t chunks)
{
    cr_assert_eq(ut_series_kept(of), chunks * UT_SERIES_CHUNK);
    for (uint32_t i = 0; i < ut_series_kept(of); i++) {
        cr_assert_eq(ut_series_point(of, i)->unix_ns, from + i, "point %u", i);
        cr_assert_eq(ut_series_point(of, i)->value, from + i, "point %u", i);
    }
}

Test(series, one_alone_may_fill_the_pool_and_loses_its_oldest)
{
    fill(&series[0], 1000, CHUNKS);
    expect_whole(&series[0], 1000, CHUNKS);
    cr_expect_eq(pool.evicted, 0);
    fill(&series[0], 1000 + CHUNKS * UT_SERIES_CHUNK, 2);
    expect_whole(&series[0], 1000 + 2 * UT_SERIES_CHUNK, CHUNKS);
    cr_expect_eq(pool.evicted, 2 * UT_SERIES_CHUNK);
}

Test(series, what_was_filled_longest_ago_makes_room_whosever_it_is)
{
    fill(&series[0], 1000, 3);
    fill(&series[1], 2000, 3);
    fill(&series[2], 3000, 2);
    fill(&series[3], 4000, 1);
    expect_whole(&series[0], 1000 + UT_SERIES_CHUNK, 2);
    fill(&series[3], 4000 + UT_SERIES_CHUNK, 2);
    expect_whole(&series[0], 1000 + 2 * UT_SERIES_CHUNK, 1);
    expect_whole(&series[1], 2000 + UT_SERIES_CHUNK, 2);
    expect_whole(&series[2], 3000, 2);
    expect_whole(&series[3], 4000, 3);
}

Test(series, latest_chunk_is_never_taken_from_one_that_rests)
{
    fill(&series[0], 1000, 1); /* full, and the oldest there is */
    ut_series_add(&series[1], 1500, 7, UINT64_MAX);
    fill(&series[2], 2000, 3 * CHUNKS);
    expect_whole(&series[0], 1000, 1);
    cr_expect_eq(ut_series_kept(&series[1]), 1);
    expect_whole(&series[2], 2000 + (2 * CHUNKS + 2) * UT_SERIES_CHUNK, CHUNKS - 2);
}

Test(series, what_one_gives_back_serves_others)
{
    fill(&series[0], 1000, CHUNKS);
    ut_series_clear(&series[0]);
    cr_expect_eq(ut_series_kept(&series[0]), 0);
    fill(&series[1], 2000, CHUNKS / 2);
    fill(&series[0], 3000, CHUNKS / 2);
    expect_whole(&series[1], 2000, CHUNKS / 2);
    expect_whole(&series[0], 3000, CHUNKS / 2);
    cr_expect_eq(pool.evicted, 0);
    ut_series_clear(&series[0]);
    ut_series_clear(&series[1]);
    cr_expect_eq(pool.oldest, 0);
    cr_expect_eq(pool.youngest, 0);
}

Test(series, clock_that_was_set_back_begins_anew)
{
    fill(&series[0], 1000, CHUNKS);
    ut_series_add(&series[0], 500, 7, UINT64_MAX);
    cr_expect_eq(ut_series_kept(&series[0]), 1);
    fill(&series[1], 2000, CHUNKS - 1);
    expect_whole(&series[1], 2000, CHUNKS - 1);
    cr_expect_eq(pool.evicted, 0);
}

Test(series, one_has_its_own_limit_in_a_larger_pool)
{
    struct ut_series_pool larger;
    struct ut_series alone;
    cr_assert_eq(ut_series_pool_init(&larger, 2 * UT_SERIES_CHUNKS), 0);
    ut_series_init(&alone, &larger);
    fill(&alone, 1000, UT_SERIES_CHUNKS + 3);
    expect_whole(&alone, 1000 + 3 * UT_SERIES_CHUNK, UT_SERIES_CHUNKS);
    cr_expect_eq(larger.used, UT_SERIES_CHUNKS);
    cr_expect_eq(larger.evicted, 0);
    ut_series_pool_done(&larger);
}

Test(series, points_that_had_their_time_are_no_loss)
{
    fill(&series[0], 1000, CHUNKS);
    ut_series_add(&series[0], 2000 + UT_SERIES_KEPT_NS, 0, UINT64_MAX);
    cr_expect_eq(pool.evicted, 0);
    cr_expect_eq(ut_series_kept(&series[0]), (CHUNKS - 1) * UT_SERIES_CHUNK + 1);
}

Test(series, nothing_is_known_between_points_that_are_apart)
{
    uint64_t value;
    ut_series_add(&series[0], 1000, 10, 100);
    ut_series_add(&series[0], 1100, 20, 100);
    ut_series_add(&series[0], 1201, 30, 100);
    ut_series_add(&series[0], 1401, 50, 400);
    cr_expect(ut_series_at(&series[0], 1050, &value));
    cr_expect_eq(value, 15);
    cr_expect_not(ut_series_at(&series[0], 1150, &value));
    cr_expect(ut_series_at(&series[0], 1201, &value));
    cr_expect_eq(value, 30);
    cr_expect(ut_series_at(&series[0], 1301, &value));
    cr_expect_eq(value, 40);
    cr_expect_not(ut_series_at(&series[0], 1402, &value));
    cr_expect_not(ut_series_at(&series[0], 999, &value));
}
