/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened to each workload, counted, for the metrics: at most UT_TALLY_ROWS workloads have
 * counts of their own, by the path that names them, and all beyond share one row, "other". Events
 * that belong to nobody are "unowned", and counted besides. What workloads hold is told by the same
 * rows.
 *
 * A row stays when its workload is forgotten, and goes to another one when all others are taken: a
 * series ends then, and counts are never added to a row that did not see them.
 */
#ifndef UT_EVIDENCE_TALLY_H
#define UT_EVIDENCE_TALLY_H

#include "evidence/held.h"
#include "evidence/memory_store.h"
#include "evidence/workloads.h"
#include "telemetry/metrics.h"

enum {
    UT_TALLY_ROWS = UT_TABLE_SIZE(128, 3),
    UT_TALLY_FAMILIES = 9,
    UT_TALLY_CLASSES = 5, /* as many as enum ut_match_class has */
    UT_TALLY_LABEL = 600, /* a path of 255 bytes, each escaped, and what stands around it */
};

enum ut_tally_figure {
    UT_TALLY_SPANS,
    UT_TALLY_JOINED,                                           /* + enum ut_match_class */
    UT_TALLY_RETRANSMITS = UT_TALLY_JOINED + UT_TALLY_CLASSES, /* segments; + enum ut_tcp_cause */
    UT_TALLY_RESETS = UT_TALLY_RETRANSMITS + UT_CAUSE_SYN_ACK + 1, /* + enum ut_reset */
    UT_TALLY_ZERO_WINDOW_NS = UT_TALLY_RESETS + UT_RESET_RECEIVED + 1,
    UT_TALLY_RECEIVE_DROPS,
    UT_TALLY_LISTEN_OVERFLOWS,
    UT_TALLY_STALLED_NS, /* + enum ut_stall_scope */
    UT_TALLY_OOM_KILLS = UT_TALLY_STALLED_NS + UT_SCOPES,
    UT_TALLY_FIGURES,
};

struct ut_tally_row {
    uint32_t slots; /* of workloads that count here; 0: another path may have the row */
    char path[256]; /* "": never used */
    uint64_t counts[UT_TALLY_FIGURES];
};

struct ut_tally {
    struct ut_tally_row *rows; /* nobody's, all others', then UT_TALLY_ROWS of their own */
    uint8_t *row_of;           /* by workload slot; 0: none yet */
    const struct ut_workloads *workloads; /* borrowed, as is `held` */
    const struct ut_held *held;
    uint64_t unowned_events;
    struct ut_tally_family {
        struct ut_tally *tally;
        int index;
    } families[UT_TALLY_FAMILIES];
};

int ut_tally_init(struct ut_tally *tally, const struct ut_workloads *workloads,
                  const struct ut_held *held) UT_MUST_USE; /* 0 or -ENOMEM */
void ut_tally_done(struct ut_tally *tally);

/* `workload` 0: nobody's. */
void ut_tally_add(struct ut_tally *tally, uint32_t workload, int figure, uint64_t amount);
/* A workload's slot will be used again. */
void ut_tally_forget_workload(struct ut_tally *tally, uint32_t slot);

/* The families undertrace_workload_… and undertrace_unowned_events_total; counts of zero are left
 * out. The tally stays where it is until it is hidden. */
void ut_tally_show(struct ut_tally *tally, struct ut_metrics *metrics);
void ut_tally_hide(struct ut_tally *tally, struct ut_metrics *metrics);

#endif
