/* SPDX-License-Identifier: Apache-2.0 */
#include "base/budget.h"

void ut_budget_init(struct ut_budget *budget, size_t limit)
{
    *budget = (struct ut_budget){.limit = limit};
}

void ut_budget_account_init(struct ut_budget_account *account, struct ut_budget *budget,
                            void (*evict)(struct ut_budget_account *))
{
    *account = (struct ut_budget_account){.budget = budget, .evict = evict};
}

static void link_account(struct ut_budget_account *account)
{
    struct ut_budget *budget = account->budget;
    account->previous = NULL;
    account->next = budget->accounts;
    if (account->next != NULL)
        account->next->previous = account;
    budget->accounts = account;
    budget->active++;
}

static void unlink_account(struct ut_budget_account *account)
{
    if (account->previous != NULL)
        account->previous->next = account->next;
    else
        account->budget->accounts = account->next;
    if (account->next != NULL)
        account->next->previous = account->previous;
    account->budget->active--;
}

static size_t share_of(const struct ut_budget *budget, const struct ut_budget_account *asking)
{
    uint32_t active = budget->active + (asking->charged == 0 ? 1 : 0);
    size_t share = budget->limit / active;
    return share > UT_BUDGET_SHARE_MIN ? share : UT_BUDGET_SHARE_MIN;
}

/* The account that is furthest above its share. The one that asks counts with what it asks for. */
static struct ut_budget_account *furthest_above(const struct ut_budget_account *asking,
                                                size_t bytes)
{
    size_t most = share_of(asking->budget, asking);
    struct ut_budget_account *found = NULL;
    for (struct ut_budget_account *a = asking->budget->accounts; a != NULL; a = a->next) {
        size_t charged = a->charged + (a == asking ? bytes : 0);
        if (charged > most) {
            most = charged;
            found = a;
        }
    }
    return found;
}

bool ut_budget_charge(struct ut_budget_account *account, size_t bytes)
{
    struct ut_budget *budget = account->budget;
    while (bytes > budget->limit - budget->used) {
        struct ut_budget_account *victim = furthest_above(account, bytes);
        if (victim == NULL || victim == account)
            return false;
        budget->evictions++;
        victim->evict(victim);
        UT_CHECK(victim->charged == 0);
    }
    if (account->charged == 0 && bytes > 0)
        link_account(account);
    account->charged += bytes;
    budget->used += bytes;
    return true;
}

void ut_budget_settle(struct ut_budget_account *account, size_t bytes)
{
    UT_CHECK(account->charged >= bytes);
    account->charged -= bytes;
    if (account->charged == 0 && bytes > 0)
        unlink_account(account);
}

void ut_budget_release(struct ut_budget_account *account, size_t bytes)
{
    ut_budget_settle(account, bytes);
    ut_budget_return(account->budget, bytes);
}

bool ut_budget_take(struct ut_budget *budget, size_t bytes)
{
    if (bytes > budget->limit - budget->used)
        return false;
    budget->used += bytes;
    return true;
}

void ut_budget_return(struct ut_budget *budget, size_t bytes)
{
    UT_CHECK(budget->used >= bytes);
    budget->used -= bytes;
}
