/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of which kernel records are missing. Those that were lost may have been anybody's: such a
 * gap is everyone's. Those that the rate limit of a cgroup held back are of one workload: the gap
 * is its own, and concerns others as far as they have connections with it (join_doubts.c).
 *
 * Where there is no room for another gap, the two oldest become one, with all between them; where
 * there is none for another workload, the gaps are everyone's. So what is in doubt may grow by
 * that, and never shrinks.
 */
#ifndef UT_EVIDENCE_GAPS_H
#define UT_EVIDENCE_GAPS_H

#include <stdbool.h>

#include "evidence/table_size.h"
#include "evidence/workloads.h"
#include "telemetry/metrics.h"

enum {
    UT_GAPS_OF_ALL_MAX = UT_TABLE_SIZE(64, 4),
    UT_GAPS_OF_ONE_MAX = UT_TABLE_SIZE(8, 2),
    UT_GAPPED_MAX = UT_TABLE_SIZE(256, 3), /* workloads with gaps of their own */
};

struct ut_gap {
    uint64_t from_ns, to_ns; /* UNIX */
    bool connections;        /* openings and closings among what is missing */
};

struct ut_gapped {
    uint32_t workload; /* id */
    uint32_t count;
    struct ut_gap gaps[UT_GAPS_OF_ONE_MAX];
};

struct ut_gaps {
    struct ut_gap of_all[UT_GAPS_OF_ALL_MAX];
    struct ut_gapped gapped[UT_GAPPED_MAX]; /* in no order */
    uint32_t of_all_count, gapped_count;
    uint64_t latest_ns;                  /* where the latest of all ends */
    uint64_t noted_of_all, noted_of_one; /* since start */
};

/* Records of that time are missing: anybody's, or the workload's; 0: nobody knows whose. */
void ut_gaps_note(struct ut_gaps *gaps, uint32_t workload, struct ut_gap gap);

/* Whether openings or closings of the workload's connections may be missing in that time. */
bool ut_gaps_lack_connections(const struct ut_gaps *gaps, uint32_t workload, uint64_t from_ns,
                              uint64_t to_ns);

/* A workload's slot will be used again. */
void ut_gaps_forget_workload(struct ut_gaps *gaps, uint32_t slot);

static inline bool ut_gap_meets(const struct ut_gap *gap, uint64_t from_ns, uint64_t to_ns)
{
    return gap->from_ns <= to_ns && gap->to_ns >= from_ns;
}

/* Adds it to `count` gaps, of which each ends before the next begins and at most `max`, 2 or more,
 * have room; returns how many there are then. */
uint32_t ut_gap_add(struct ut_gap *list, uint32_t count, uint32_t max, const struct ut_gap *gap);

/* undertrace_kernel_gaps_total; the gaps stay where they are until they are hidden. */
void ut_gaps_show(struct ut_gaps *gaps, struct ut_metrics *metrics);
void ut_gaps_hide(struct ut_gaps *gaps, struct ut_metrics *metrics);

#endif
