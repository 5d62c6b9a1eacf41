/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_guard.h"

#include <criterion/criterion.h>

#include "base/clock.h"

static struct ut_h2_guard guard;

static void set_up(void)
{
    ut_h2_guard_init(&guard, 0, true);
}

TestSuite(h2_guard, .init = set_up);

static unsigned take_all(enum ut_h2_hit kind, uint64_t now_ns)
{
    unsigned taken = 0;
    while (taken < 5000 && ut_h2_guard_take(&guard, kind, now_ns, false))
        taken++;
    return taken;
}

Test(h2_guard, each_kind_has_its_own_bucket)
{
    static const unsigned full[UT_H2_BUCKETS] = {
        [UT_H2_HIT_CANCELS] = 100,        [UT_H2_HIT_RESETS] = 100,
        [UT_H2_HIT_EARLY_STREAMS] = 1000, [UT_H2_HIT_SETTINGS] = 100,
        [UT_H2_HIT_PINGS] = 100,          [UT_H2_HIT_WINDOWS] = 1000,
        [UT_H2_HIT_EMPTY_FRAMES] = 100,   [UT_H2_HIT_OTHER_FRAMES] = 100,
    };
    for (int kind = 0; kind < UT_H2_BUCKETS; kind++)
        cr_expect_eq(take_all((enum ut_h2_hit)kind, UT_NS_PER_S), full[kind], "%s",
                     ut_h2_hit_name((enum ut_h2_hit)kind));
}

Test(h2_guard, answer_gives_one_back_and_never_more_than_at_first)
{
    for (int i = 0; i < 10; i++)
        ut_h2_guard_credit(&guard);
    cr_expect_eq(take_all(UT_H2_HIT_CANCELS, UT_NS_PER_S), 100);
    ut_h2_guard_credit(&guard);
    ut_h2_guard_credit(&guard);
    cr_expect_eq(take_all(UT_H2_HIT_CANCELS, UT_NS_PER_S), 2);
    cr_expect_eq(take_all(UT_H2_HIT_WINDOWS, UT_NS_PER_S), 1000);
    ut_h2_guard_credit(&guard);
    cr_expect_eq(take_all(UT_H2_HIT_WINDOWS, UT_NS_PER_S), 8);
    cr_expect_eq(take_all(UT_H2_HIT_EARLY_STREAMS, UT_NS_PER_S), 1000);
    ut_h2_guard_credit(&guard);
    cr_expect_eq(take_all(UT_H2_HIT_EARLY_STREAMS, UT_NS_PER_S), 0);
}

Test(h2_guard, time_gives_back_too_in_whole_seconds)
{
    uint64_t now_ns = 10 * UT_NS_PER_S;
    take_all(UT_H2_HIT_RESETS, now_ns);
    cr_expect_eq(take_all(UT_H2_HIT_RESETS, now_ns + UT_NS_PER_S - 1), 0);
    cr_expect_eq(take_all(UT_H2_HIT_RESETS, now_ns + UT_NS_PER_S), 1);
    cr_expect_eq(take_all(UT_H2_HIT_RESETS, now_ns + 5 * UT_NS_PER_S / 2), 1);
    cr_expect_eq(take_all(UT_H2_HIT_RESETS, now_ns + 3 * UT_NS_PER_S), 1, "halves are not lost");
    cr_expect_eq(take_all(UT_H2_HIT_RESETS, now_ns + 3600 * UT_NS_PER_S), 100);
    cr_expect_eq(take_all(UT_H2_HIT_RESETS, now_ns), 0, "a clock behind gives nothing");
}

Test(h2_guard, pings_come_back_by_their_own_interval)
{
    ut_h2_guard_init(&guard, 10 * UT_NS_PER_S, false);
    uint64_t now_ns = 100 * UT_NS_PER_S;
    cr_expect_eq(take_all(UT_H2_HIT_PINGS, now_ns), 100);
    now_ns += 20 * UT_NS_PER_S;
    cr_expect_not(ut_h2_guard_take(&guard, UT_H2_HIT_PINGS, now_ns, false), "no request is open");
    now_ns += 20 * UT_NS_PER_S;
    cr_expect(ut_h2_guard_take(&guard, UT_H2_HIT_PINGS, now_ns, true));
    cr_expect(ut_h2_guard_take(&guard, UT_H2_HIT_PINGS, now_ns, true));
    cr_expect_not(ut_h2_guard_take(&guard, UT_H2_HIT_PINGS, now_ns, true));
}

Test(h2_guard, client_that_pings_with_each_request_and_when_idle_is_never_cut)
{
    uint64_t now_ns = UT_NS_PER_S;
    for (int i = 0; i < 100000; i++) {
        cr_assert(ut_h2_guard_take(&guard, UT_H2_HIT_PINGS, now_ns, true));
        cr_assert(ut_h2_guard_take(&guard, UT_H2_HIT_CANCELS, now_ns, true));
        for (int w = 0; w < 8; w++)
            cr_assert(ut_h2_guard_take(&guard, UT_H2_HIT_WINDOWS, now_ns, true));
        ut_h2_guard_credit(&guard);
    }
    for (int i = 0; i < 1000; i++) {
        now_ns += 10 * UT_NS_PER_S;
        cr_assert(ut_h2_guard_take(&guard, UT_H2_HIT_PINGS, now_ns, false));
    }
}
