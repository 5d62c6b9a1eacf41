/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the memory system did to workloads, kept for the spans that come later: how long their tasks
 * stalled, per workload, slot of 100 ms and scope, and which processes were killed.
 *
 * Stalls stand UT_MEMORY_KEPT_NS. Where they find no room, the oldest of the workload that has most
 * go: nobody blinds a neighbour. What a workload loses raises its horizon: before that its evidence
 * is partial.
 */
#ifndef UT_EVIDENCE_MEMORY_STORE_H
#define UT_EVIDENCE_MEMORY_STORE_H

#include "bpf/records.h"
#include "evidence/workloads.h"

#define UT_STALLS_MAX UT_TABLE_SIZE(32768, 16)
#define UT_OOM_KILLS_MAX UT_TABLE_SIZE(4096, 8)
#define UT_MEMORY_KEPT_NS (900 * UT_NS_PER_S)

/* Whose want of memory it was: a limit of the workload's own, one above it, the machine's. */
enum ut_stall_scope { UT_SCOPE_OWN, UT_SCOPE_ANCESTOR, UT_SCOPE_GLOBAL, UT_SCOPES };

/* Task time: several tasks of the workload may have stalled for longer than the time between. */
struct ut_stall {
    uint64_t from_ns, to_ns; /* UNIX; all of it lies between these */
    uint64_t ns;
    uint64_t slot; /* of boot time */
    uint32_t workload;
    uint32_t newer, older; /* of the workload; `older` also chains the free ones */
    uint8_t scope;         /* enum ut_stall_scope */
};

struct ut_oom_kill {
    uint64_t seen_ns;  /* UNIX */
    uint64_t bytes;    /* what the victim held */
    uint32_t workload; /* the victim's; 0: nobody's, or forgotten */
    uint32_t pid;
    bool has_bytes;
};

struct ut_stall_list {
    uint32_t newest, oldest, count;
};

struct ut_memory_store {
    struct ut_stall *stalls;     /* from index 1 */
    struct ut_stall_list *lists; /* by workload slot; those of nobody are not kept */
    uint64_t *horizon_ns;        /* by workload slot */
    struct ut_oom_kill *kills;   /* a ring */
    uint32_t ever_used, free, count;
    uint32_t kill_count; /* ever; the latest is at (kill_count − 1) % UT_OOM_KILLS_MAX */
    /* Since start, for the metrics. */
    uint64_t stalled_ns[UT_SCOPES], unowned_stalled_ns;
    uint64_t kills_owned, kills_unowned;
    uint64_t allocated_bytes, unowned_allocated_bytes;
    uint64_t evicted; /* sums that went before their time */
};

int ut_memory_store_init(struct ut_memory_store *store) UT_MUST_USE; /* 0 or -ENOMEM */
void ut_memory_store_done(struct ut_memory_store *store);

/* Adds a copy's own fields to what the workload has of that slot and scope. */
void ut_memory_store_stall(struct ut_memory_store *store, const struct ut_stall *stall);
void ut_memory_store_kill(struct ut_memory_store *store, const struct ut_oom_kill *kill);
/* A workload's slot will be used again. */
void ut_memory_store_forget_workload(struct ut_memory_store *store, uint32_t slot);
void ut_memory_store_age(struct ut_memory_store *store, uint64_t now_ns);

/* Before when the memory evidence of a workload is not whole; 0: it is. */
static inline uint64_t ut_memory_store_horizon(const struct ut_memory_store *store,
                                               uint32_t workload)
{
    return store->horizon_ns[UT_WORKLOAD_SLOT(workload)];
}

#endif
