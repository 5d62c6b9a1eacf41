/* SPDX-License-Identifier: Apache-2.0 */
#include "base/budget.h"

#include <criterion/criterion.h>
#include <signal.h>

enum { MIB = 1 << 20 };

static struct ut_budget budget;
static struct ut_budget_account accounts[4];
static int evicted[4];

static void evict(struct ut_budget_account *account)
{
    evicted[account - accounts]++;
    ut_budget_release(account, account->charged);
}

static void set_up(void)
{
    ut_budget_init(&budget, 8 * MIB);
    for (int i = 0; i < 4; i++) {
        ut_budget_account_init(&accounts[i], &budget, evict);
        evicted[i] = 0;
    }
}

TestSuite(budget, .init = set_up);

Test(budget, charges_up_to_its_limit_and_not_a_byte_more)
{
    cr_expect(ut_budget_charge(&accounts[0], 8 * MIB));
    cr_expect_eq(budget.used, 8 * MIB);
    cr_expect_not(ut_budget_charge(&accounts[0], 1));
    cr_expect_eq(budget.used, 8 * MIB);
    cr_expect_eq(accounts[0].charged, 8 * MIB);
    cr_expect_eq(evicted[0], 0, "who asks is refused, not evicted");
}

Test(budget, the_account_furthest_above_its_share_goes_first)
{
    cr_assert(ut_budget_charge(&accounts[0], 3 * MIB));
    cr_assert(ut_budget_charge(&accounts[1], 4 * MIB));
    cr_assert(ut_budget_charge(&accounts[2], 1 * MIB));
    cr_expect(ut_budget_charge(&accounts[2], 64 << 10));
    cr_expect_eq(evicted[1], 1);
    cr_expect_eq(evicted[0], 0);
    cr_expect_eq(budget.used, 4 * MIB + (64 << 10));
    cr_expect_eq(budget.evictions, 1);
    cr_expect_eq(budget.active, 2);
}

Test(budget, who_is_within_its_share_is_safe)
{
    cr_assert(ut_budget_charge(&accounts[0], 2 * MIB));
    cr_assert(ut_budget_charge(&accounts[1], 2 * MIB));
    cr_assert(ut_budget_charge(&accounts[2], 2 * MIB));
    cr_assert(ut_budget_charge(&accounts[3], 2 * MIB));
    cr_expect_not(ut_budget_charge(&accounts[0], 1), "who asks is the one above its share");
    for (int i = 0; i < 4; i++)
        cr_expect_eq(evicted[i], 0);
}

Test(budget, a_newcomer_finds_room_where_one_holds_all)
{
    cr_assert(ut_budget_charge(&accounts[0], 8 * MIB));
    cr_expect(ut_budget_charge(&accounts[1], 64 << 10));
    cr_expect_eq(evicted[0], 1);
    cr_expect_eq(budget.used, 64 << 10);
}

Test(budget, settled_bytes_stay_in_use_and_are_nobodys)
{
    cr_assert(ut_budget_charge(&accounts[0], 6 * MIB));
    ut_budget_settle(&accounts[0], 6 * MIB);
    cr_expect_eq(budget.active, 0);
    cr_expect_eq(budget.used, 6 * MIB);
    cr_expect_not(ut_budget_charge(&accounts[1], 3 * MIB), "there is nobody to evict");
    cr_expect_eq(evicted[0], 0);
    ut_budget_return(&budget, 6 * MIB);
    cr_expect(ut_budget_charge(&accounts[1], 3 * MIB));
}

Test(budget, released_bytes_are_free)
{
    cr_assert(ut_budget_charge(&accounts[0], 5 * MIB));
    ut_budget_release(&accounts[0], 2 * MIB);
    cr_expect_eq(accounts[0].charged, 3 * MIB);
    cr_expect_eq(budget.used, 3 * MIB);
    cr_expect_eq(budget.active, 1);
    ut_budget_release(&accounts[0], 3 * MIB);
    cr_expect_eq(budget.active, 0);
    cr_expect_null(budget.accounts);
}

Test(budget, accounts_leave_the_list_in_any_order)
{
    for (int i = 0; i < 4; i++)
        cr_assert(ut_budget_charge(&accounts[i], 1000));
    ut_budget_release(&accounts[1], 1000);
    ut_budget_release(&accounts[3], 1000);
    ut_budget_release(&accounts[0], 1000);
    cr_expect_eq(budget.accounts, &accounts[2]);
    cr_expect_null(accounts[2].next);
    cr_expect_null(accounts[2].previous);
    cr_assert(ut_budget_charge(&accounts[1], 1000));
    cr_expect_eq(budget.active, 2);
}

Test(budget, nothing_charged_is_nothing_listed)
{
    cr_expect(ut_budget_charge(&accounts[0], 0));
    ut_budget_release(&accounts[0], 0);
    cr_expect_eq(budget.active, 0);
    cr_expect_null(budget.accounts);
}

Test(budget, take_without_account)
{
    cr_expect(ut_budget_take(&budget, 8 * MIB));
    cr_expect_not(ut_budget_take(&budget, 1));
    cr_expect_not(ut_budget_take(&budget, SIZE_MAX));
    ut_budget_return(&budget, 8 * MIB);
    cr_expect_eq(budget.used, 0);
}

Test(budget, returning_more_than_is_used_is_our_mistake, .signal = SIGABRT)
{
    ut_budget_return(&budget, 1);
}
