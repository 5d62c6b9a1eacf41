/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes out of spans and Resources what only Undertrace may say, whoever said it, and puts the
 * verified identity of the sender into Resources.
 */
#ifndef UT_EVIDENCE_STRIP_H
#define UT_EVIDENCE_STRIP_H

#include "evidence/identity.h"
#include "telemetry/metrics.h"

struct ut_strip_counters {
    uint64_t *removed; /* spans and Resources with forged keys */
    uint64_t *kept;    /* … whose keys stayed for want of memory */
};

void ut_strip_counters_init(struct ut_strip_counters *counters, struct ut_metrics *metrics);

/* Gives every span with forged keys the edit that leaves them out. `counters` may be NULL. */
void ut_strip_spans(struct ut_body *body, const struct ut_strip_counters *counters);

/* Gives the Resource its edit. `identity` NULL: only forged keys go; else what it claims under its
 * keys goes too and `encoded`, that identity in the body's arena, comes. */
void ut_strip_resource(struct ut_body *body, struct ut_resource *resource,
                       const struct ut_identity *identity, ut_slice encoded,
                       const struct ut_strip_counters *counters);

/* Charges the body's budget with what its arena has grown by since it was `before`, as far as there
 * is room: what only Undertrace may say has to go in any case. */
void ut_strip_charge(struct ut_body *body, size_t before);

#endif
