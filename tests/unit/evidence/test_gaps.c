/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "evidence/gaps.h"

#define S UT_NS_PER_S

static const uint64_t of_one = UT_GAPS_OF_ONE_MAX, of_all = UT_GAPS_OF_ALL_MAX;
static struct ut_gaps gaps;

static struct ut_gap gap(uint64_t from_s, uint64_t to_s)
{
    return (struct ut_gap){.from_ns = from_s * S, .to_ns = to_s * S, .connections = true};
}

static void note(uint32_t workload, uint64_t from_s, uint64_t to_s)
{
    ut_gaps_note(&gaps, workload, gap(from_s, to_s));
}

static bool meets(uint32_t workload, uint64_t at_s)
{
    return ut_gaps_lack_connections(&gaps, workload, at_s * S, at_s * S);
}

Test(gaps, are_of_one_workload_or_of_all)
{
    note(5, 10, 20);
    cr_expect(meets(5, 10) && meets(5, 20));
    cr_expect(!meets(5, 9) && !meets(5, 21) && !meets(6, 15));
    note(0, 30, 40);
    cr_expect(meets(5, 35) && meets(6, 35) && !meets(6, 25));
    cr_expect_eq(gaps.noted_of_one, 1);
    cr_expect_eq(gaps.noted_of_all, 1);
}

Test(gaps, that_meet_become_one_in_whatever_order_they_come)
{
    struct ut_gap list[8];
    uint32_t count = 0;
    struct ut_gap some[] = {gap(50, 60), gap(10, 20), gap(30, 40), gap(70, 80), gap(15, 35)};
    for (int i = 0; i < 5; i++) {
        some[i].connections = i == 0;
        count = ut_gap_add(list, count, 8, &some[i]);
    }
    cr_assert_eq(count, 3);
    cr_expect(list[0].from_ns == 10 * S && list[0].to_ns == 40 * S);
    cr_expect(list[1].from_ns == 50 * S && list[1].to_ns == 60 * S);
    cr_expect(!list[0].connections && list[1].connections && !list[2].connections);
    struct ut_gap all = gap(5, 100);
    all.connections = false;
    count = ut_gap_add(list, count, 8, &all);
    cr_assert_eq(count, 1);
    cr_expect(list[0].from_ns == 5 * S && list[0].to_ns == 100 * S && list[0].connections);
}

Test(gaps, without_room_are_joined_and_never_forgotten)
{
    for (uint64_t i = 1; i <= 3 * of_one; i++) {
        note(5, 10 * i, 10 * i + 1);
        note(0, 10 * i + 5, 10 * i + 6);
    }
    for (uint64_t i = 1; i <= 3 * of_one; i++)
        cr_expect(meets(5, 10 * i), "%u", (unsigned)i);
    const uint64_t last = 30 * of_one;
    cr_expect(!meets(5, last + 3) && !meets(5, last - 7), "the latest stay as they are");
    for (uint64_t i = 4; i <= 3 * of_all; i++)
        note(0, 10 * i + 5, 10 * i + 6);
    for (uint64_t i = 1; i <= 3 * of_all; i++)
        cr_expect(meets(9, 10 * i + 5), "%u", (unsigned)i);
}

Test(gaps, full_list_that_is_only_made_longer_stays_as_it_is)
{
    for (uint64_t i = 1; i <= of_one; i++)
        note(5, 10 * i, 10 * i + 1);
    note(5, 10 * of_one + 1, 10 * of_one + 2);
    cr_expect(!meets(5, 15));
    cr_expect(meets(5, 10 * of_one + 2));
}

Test(gaps, of_more_workloads_than_there_is_room_for_are_everyones)
{
    for (uint32_t i = 1; i <= UT_GAPPED_MAX; i++)
        note(i, 10, 20);
    cr_expect_not(meets(5000, 15));
    note(UT_GAPPED_MAX + 1, 30, 40);
    cr_expect(meets(5000, 35));
    cr_expect_not(meets(5000, 15));
}

Test(gaps, of_the_one_that_had_none_for_longest_make_room_and_are_everyones)
{
    note(1, 10, 20);
    for (uint32_t i = 2; i <= UT_GAPPED_MAX; i++)
        note(i, 2000, 2001);
    note(UT_GAPPED_MAX + 1, 2002, 2003);
    cr_expect(meets(UT_GAPPED_MAX + 1, 2002));
    cr_expect_not(meets(5000, 2002));
    cr_expect(meets(5000, 15), "a span of that time is in doubt still");
}

Test(gaps, of_a_workload_that_is_forgotten_are_not_those_of_the_next_in_its_place)
{
    note(5, 10, 20);
    note(6, 30, 40);
    ut_gaps_forget_workload(&gaps, 5);
    note(5 | 1 << 16, 50, 60);
    cr_expect(meets(6, 35) && !meets(6, 55));
    cr_expect(!meets(5, 35) && !meets(5, 55) && meets(5 | 1 << 16, 55));
    cr_expect(meets(6, 15), "nobody knows any more whom it concerns");
}

Test(gaps, of_other_records_lack_no_connections)
{
    struct ut_gap some = gap(10, 20);
    some.connections = false;
    ut_gaps_note(&gaps, 5, some);
    ut_gaps_note(&gaps, 0, some);
    cr_expect(!meets(5, 15) && !meets(6, 15));
}
