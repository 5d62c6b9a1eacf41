/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The join of one body's spans with the kernel events of the workload that sent them. A pure
 * function of (body, tables, now): it gives spans their edits and lets the events remember what
 * took them. The algorithm in prose stands at the head of join.c.
 */
#ifndef UT_EVIDENCE_JOIN_H
#define UT_EVIDENCE_JOIN_H

#include "evidence/allowance.h"
#include "evidence/evidence.h"
#include "evidence/tables.h"

struct ut_join_counters {
    /* Spans, by the weakest class among their TCP events; without any: workload. */
    uint64_t *joined[UT_MATCH_CLASSES];
    uint64_t *joined_memory; /* spans among them with memory evidence */
    uint64_t *contradicted;  /* pairs of span and event */
    uint64_t *unmatched;     /* spans whose named end no connection led to */
    uint64_t *ids_untrusted; /* pairs again: named on the wire, by a connection of others */
    uint64_t *ends_before_start, *in_future;
    uint64_t *late;                            /* spans that began when not all is known any more */
    uint64_t *dropped_budget, *dropped_memory; /* spans whose evidence found no room */
    uint64_t *views_exceeded;                  /* bodies that met more events than are looked at */
    uint64_t *added_bytes;                     /* to spans */
    /* What the allowance had no bytes for: kernel events, and spans whose counts were left out. */
    uint64_t *withheld_events[UT_MATCH_CLASSES], *withheld_counts[UT_MATCH_CLASSES];
};

struct ut_join;

/* The working memory of a join, taken once. `allowance` is borrowed. NULL when out of memory. */
struct ut_join *ut_join_new(struct ut_tables *tables, struct ut_allowance *allowance,
                            const struct ut_join_counters *counters) UT_MUST_USE;
void ut_join_free(struct ut_join *join);

/* What the joins so far met of ends that no connection led to. */
const struct ut_unmatched_ends *ut_join_unmatched(const struct ut_join *join);

/* Joins the spans of one Resource of a body. */
void ut_join_resource(struct ut_join *join, struct ut_body *body,
                      const struct ut_resource *resource);
/* Before the first and behind the last resource of a body: gathers the events of `workload` that
 * its spans may meet. False: there are none, and nothing is to be joined. */
bool ut_join_begin(struct ut_join *join, const struct ut_body *body,
                   const struct ut_workload *workload, const struct ut_join_options *options,
                   uint64_t now_ns);
void ut_join_end(struct ut_join *join, struct ut_body *body);

#endif
