/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants: 1. a stall is on the list of its workload, or it is free; 2. a list is ordered by the
 * slot of boot time, and has one stall at most for a slot and scope.
 */
#include "evidence/memory_store.h"

#include <errno.h>
#include <stdlib.h>

/* How many go at once where there is no room, so that the search for the largest list is rare. */
enum { EVICTED_AT_ONCE = 64 };

int ut_memory_store_init(struct ut_memory_store *s)
{
    *s = (struct ut_memory_store){0};
    s->stalls = calloc(UT_STALLS_MAX + 1, sizeof(s->stalls[0]));
    s->lists = calloc(UT_WORKLOADS_MAX, sizeof(s->lists[0]));
    s->horizon_ns = calloc(UT_WORKLOADS_MAX, sizeof(s->horizon_ns[0]));
    s->kills = calloc(UT_OOM_KILLS_MAX, sizeof(s->kills[0]));
    if (s->stalls == NULL || s->lists == NULL || s->horizon_ns == NULL || s->kills == NULL) {
        ut_memory_store_done(s);
        return -ENOMEM;
    }
    return 0;
}

void ut_memory_store_done(struct ut_memory_store *s)
{
    free(s->stalls);
    free(s->lists);
    free(s->horizon_ns);
    free(s->kills);
    *s = (struct ut_memory_store){0};
}

static void raise_horizon(struct ut_memory_store *s, uint32_t workload, uint64_t until_ns)
{
    uint64_t *horizon_ns = &s->horizon_ns[UT_WORKLOAD_SLOT(workload)];
    if (until_ns > *horizon_ns)
        *horizon_ns = until_ns;
}

/* ---- stalls --------------------------------------------------------------------------------- */

static void release_oldest(struct ut_memory_store *s, struct ut_stall_list *list)
{
    uint32_t index = list->oldest;
    struct ut_stall *stall = &s->stalls[index];
    raise_horizon(s, stall->workload, stall->to_ns);
    list->oldest = stall->newer;
    *(stall->newer != 0 ? &s->stalls[stall->newer].older : &list->newest) = 0;
    list->count--;
    stall->older = s->free;
    s->free = index;
    s->count--;
}

static void make_room(struct ut_memory_store *s)
{
    struct ut_stall_list *largest = &s->lists[0];
    for (uint32_t i = 1; i < UT_WORKLOADS_MAX; i++) {
        if (s->lists[i].count > largest->count)
            largest = &s->lists[i];
    }
    for (int i = 0; i < EVICTED_AT_ONCE && largest->count > 0; i++, s->evicted++)
        release_oldest(s, largest);
}

static uint32_t take_stall(struct ut_memory_store *s)
{
    s->count++;
    if (s->free == 0)
        return ++s->ever_used;
    uint32_t index = s->free;
    s->free = s->stalls[index].older;
    return index;
}

static void merge(struct ut_stall *into, const struct ut_stall *from)
{
    into->ns += from->ns;
    if (from->from_ns < into->from_ns)
        into->from_ns = from->from_ns;
    if (from->to_ns > into->to_ns)
        into->to_ns = from->to_ns;
}

void ut_memory_store_stall(struct ut_memory_store *s, const struct ut_stall *stall)
{
    if (stall->workload == 0) {
        s->unowned_stalled_ns += stall->ns;
        return;
    }
    s->stalled_ns[stall->scope] += stall->ns;
    if (s->free == 0 && s->ever_used == UT_STALLS_MAX)
        make_room(s); /* first, because it may take what the place is found by */
    struct ut_stall_list *list = &s->lists[UT_WORKLOAD_SLOT(stall->workload)];
    uint32_t before = list->newest;
    while (before != 0 && s->stalls[before].slot > stall->slot)
        before = s->stalls[before].older;
    for (uint32_t i = before; i != 0 && s->stalls[i].slot == stall->slot; i = s->stalls[i].older) {
        if (s->stalls[i].scope == stall->scope) {
            merge(&s->stalls[i], stall);
            return;
        }
    }
    uint32_t index = take_stall(s);
    uint32_t after = before != 0 ? s->stalls[before].newer : list->oldest;
    s->stalls[index] = *stall;
    s->stalls[index].older = before;
    s->stalls[index].newer = after;
    *(before != 0 ? &s->stalls[before].newer : &list->oldest) = index;
    *(after != 0 ? &s->stalls[after].older : &list->newest) = index;
    list->count++;
}

/* ---- OOM kills ------------------------------------------------------------------------------ */

void ut_memory_store_kill(struct ut_memory_store *s, const struct ut_oom_kill *kill)
{
    struct ut_oom_kill *slot = &s->kills[s->kill_count % UT_OOM_KILLS_MAX];
    if (s->kill_count >= UT_OOM_KILLS_MAX && slot->workload != 0)
        raise_horizon(s, slot->workload, slot->seen_ns);
    *slot = *kill;
    s->kill_count++;
    ++*(kill->workload != 0 ? &s->kills_owned : &s->kills_unowned);
}

/* ---- what goes ------------------------------------------------------------------------------ */

void ut_memory_store_forget_workload(struct ut_memory_store *s, uint32_t slot)
{
    struct ut_stall_list *list = &s->lists[slot];
    while (list->count > 0)
        release_oldest(s, list);
    for (uint32_t i = 0; i < UT_OOM_KILLS_MAX; i++) {
        if (UT_WORKLOAD_SLOT(s->kills[i].workload) == slot)
            s->kills[i].workload = 0;
    }
    s->horizon_ns[slot] = 0;
}

void ut_memory_store_age(struct ut_memory_store *s, uint64_t now_ns)
{
    if (now_ns < UT_MEMORY_KEPT_NS)
        return;
    for (uint32_t i = 1; i < UT_WORKLOADS_MAX; i++) {
        struct ut_stall_list *list = &s->lists[i];
        while (list->oldest != 0 && s->stalls[list->oldest].to_ns < now_ns - UT_MEMORY_KEPT_NS)
            release_oldest(s, list);
    }
}
