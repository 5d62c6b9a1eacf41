/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was read of one figure in the course of time, the latest UT_SERIES_POINTS of it, in order of
 * time. Between two points the figure is taken to change evenly. A clock that is set back begins a
 * series anew.
 */
#ifndef UT_EVIDENCE_SERIES_H
#define UT_EVIDENCE_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "evidence/table_size.h"
#define UT_SERIES_POINTS UT_TABLE_SIZE(1200, 12)

struct ut_point {
    uint64_t unix_ns, value;
};

struct ut_series {
    struct ut_point *points; /* borrowed: room for UT_SERIES_POINTS */
    uint32_t count;          /* ever; the latest is at (count − 1) % UT_SERIES_POINTS */
};

void ut_series_add(struct ut_series *series, uint64_t unix_ns, uint64_t value);
/* For a figure that only grows: by so much between the two times, and by nothing since its latest
 * point. A `from_ns` a little before that is taken for it. */
void ut_series_grow(struct ut_series *series, uint64_t from_ns, uint64_t to_ns, uint64_t amount);

uint32_t ut_series_kept(const struct ut_series *series);
/* The i-th oldest that is kept. */
const struct ut_point *ut_series_point(const struct ut_series *series, uint32_t i);
/* The first of them that is not before the time; ut_series_kept where all are. */
uint32_t ut_series_first(const struct ut_series *series, uint64_t unix_ns);
/* Between two points that are at most `apart_ns` apart; false where there are none. */
bool ut_series_at(const struct ut_series *series, uint64_t unix_ns, uint64_t apart_ns,
                  uint64_t *ret);

#endif
