/* SPDX-License-Identifier: Apache-2.0 */
/* Whether there may have been more for a span than is known. Only for the files of the join. */
#ifndef UT_EVIDENCE_JOIN_DOUBTS_H
#define UT_EVIDENCE_JOIN_DOUBTS_H

#include "evidence/gaps.h"
#include "model/batch.h"

enum { UT_DOUBTS_MAX = UT_TABLE_SIZE(32, 2) };

struct ut_join;

/* Of the body at hand. */
struct ut_join_doubts {
    uint64_t from_ns, to_ns; /* when its spans were open */
    bool known;              /* looked for: only if one of them has evidence */
    uint32_t count;
    struct ut_gap gaps[UT_DOUBTS_MAX]; /* that concern its workload */
};

/* The join of a body begins, whose spans were open within that time. */
void ut_join_begin_doubts(struct ut_join *join, uint64_t from_ns, uint64_t to_ns);
bool ut_join_is_partial(struct ut_join *join, const struct ut_span *span);

#endif
