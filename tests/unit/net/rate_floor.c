/* SPDX-License-Identifier: Apache-2.0 */
#include "net/rate_floor.h"

#include <criterion/criterion.h>

#include "base/clock.h"

#define S UT_NS_PER_S

static const struct ut_rate_floor_limits limits = {.rate = 100, .grace_ns = 10 * S};

static uint64_t due(struct ut_rate_floor *floor, uint64_t since_s, uint64_t bytes, uint64_t now_s)
{
    return ut_rate_floor_due(floor, &limits, since_s * S, bytes, now_s * S) / S;
}

Test(rate_floor, silence_is_let_pass_for_the_grace)
{
    struct ut_rate_floor floor = {0};
    cr_expect_eq(due(&floor, 50, 0, 52), 60);
    cr_expect_eq(due(&floor, 50, 0, 60), 60);
}

Test(rate_floor, bytes_give_time_but_never_more_than_the_grace)
{
    struct ut_rate_floor floor = {0};
    cr_expect_eq(due(&floor, 50, 0, 50), 60);
    cr_expect_eq(due(&floor, 50, 200, 55), 62, "two seconds' worth");
    cr_expect_eq(due(&floor, 50, 1000000, 56), 66, "not hours");
    cr_expect_eq(due(&floor, 50, UINT64_MAX, 57), 67);
}

Test(rate_floor, bytes_before_the_first_look_count)
{
    struct ut_rate_floor floor = {0};
    cr_expect_eq(due(&floor, 50, 500, 59), 65);
}

Test(rate_floor, sender_at_half_the_rate_is_cut_in_the_end_and_one_above_it_is_not)
{
    struct ut_rate_floor slow = {0}, fast = {0};
    uint64_t now = 1000, bytes = 0;
    while (due(&slow, 1000, bytes, now) > now && now < 2000)
        now++, bytes += 50;
    cr_expect_geq(now, 1018);
    cr_expect_leq(now, 1021);
    for (now = 1000, bytes = 0; now < 2000; now++, bytes += 101)
        cr_assert_gt(due(&fast, 1000, bytes, now), now);
}

Test(rate_floor, next_request_begins_with_the_grace)
{
    struct ut_rate_floor floor = {0};
    cr_expect_eq(due(&floor, 50, 0, 59), 60);
    cr_expect_eq(due(&floor, 61, 20, 62), 71);
    cr_expect_eq(due(&floor, 61, 20, 63), 71);
}

Test(rate_floor, no_rate_is_no_floor)
{
    struct ut_rate_floor floor = {0};
    const struct ut_rate_floor_limits none = {.grace_ns = S};
    cr_expect_eq(ut_rate_floor_due(&floor, &none, S, 0, 1000 * S), UINT64_MAX);
}
