/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back-pressure is one number: bytes in flight against a hard limit. Bytes are charged as they
 * arrive, in steps, on the account of the connection that brings them; a finished request takes its
 * charge along (ut_budget_settle) and gives it back when its batch is done.
 *
 * Where a step finds no room, the account that is furthest above its share (limit / active
 * accounts, at least UT_BUDGET_SHARE_MIN) is refused first; nobody waits for bytes while holding a
 * charge.
 *
 * Invariants: 1. used = Σ charges ≤ limit; 2. an account is in the list exactly while its unsettled
 * charge is above 0; 3. `evict` gives back the whole unsettled charge of its account before it
 * returns.
 */
#ifndef UT_BASE_BUDGET_H
#define UT_BASE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

#define UT_BUDGET_STEP ((size_t)64 << 10)
#define UT_BUDGET_SHARE_MIN ((size_t)1 << 20)

struct ut_budget;

struct ut_budget_account {
    struct ut_budget *budget;
    size_t charged; /* bytes of requests that are still arriving */
    struct ut_budget_account *previous, *next;
    /* Refuses, retryably, what is arriving on this account and releases all its charge. */
    void (*evict)(struct ut_budget_account *account);
};

struct ut_budget {
    size_t limit, used; /* bytes */
    uint32_t active;
    uint64_t evictions;
    struct ut_budget_account *accounts;
};

void ut_budget_init(struct ut_budget *budget, size_t limit);

void ut_budget_account_init(struct ut_budget_account *account, struct ut_budget *budget,
                            void (*evict)(struct ut_budget_account *));

/* Charges `bytes` to the account. false: no room, also after others above their share (and above
 * this account) have been evicted; nothing is charged then, and the caller refuses its request. */
bool ut_budget_charge(struct ut_budget_account *account, size_t bytes) UT_MUST_USE;
/* Gives unsettled bytes back. */
void ut_budget_release(struct ut_budget_account *account, size_t bytes);
/* The bytes leave the account and stay in use: the batch owns them now and returns them with
 * ut_budget_return. */
void ut_budget_settle(struct ut_budget_account *account, size_t bytes);

/* For owners without an account (enrichment, tests): false where there is no room. */
bool ut_budget_take(struct ut_budget *budget, size_t bytes) UT_MUST_USE;
void ut_budget_return(struct ut_budget *budget, size_t bytes);

#endif
