/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many bytes evidence may add to spans: `undertrace.max_bytes_per_hour` of them in any hour. A
 * sixth may come at once, the rest is spread evenly, so that a storm is told of while it lasts and
 * what comes after it is not left without a word for an hour.
 *
 * Where it gets short, what says least goes first: span events of class `workload`, of `peer`,
 * `connection`, `exact`, then the counts in the same order. Each of these stops being told while
 * there is still something left for those behind it.
 *
 * 1. It never goes below zero: who asks says how much it may become at most. 2. What was left out
 * is counted by whoever asked; nothing here is about totals.
 */
#ifndef UT_EVIDENCE_ALLOWANCE_H
#define UT_EVIDENCE_ALLOWANCE_H

#include <stdint.h>

struct ut_allowance {
    uint64_t per_hour; /* bytes; 0: no limit */
    double bytes;      /* there are now */
    uint64_t filled_ns;
};

/* The weakest classes (enum ut_match_class) of which events and counts may be told. */
struct ut_allowed {
    uint8_t events, counts;
};

/* Also for a change while it runs; what has been spent stays spent. */
void ut_allowance_set(struct ut_allowance *allowance, uint64_t per_hour, uint64_t now_ns);
/* What may be told in a span that gains `most_bytes` at most. Times that go backwards add nothing.
 */
struct ut_allowed ut_allowance_ask(struct ut_allowance *allowance, uint64_t most_bytes,
                                   uint64_t now_ns);
void ut_allowance_spend(struct ut_allowance *allowance, uint64_t bytes);

#endif
