/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was read of one figure in the course of time, in order of time. Between two points the
 * figure is taken to change evenly, unless they are `apart`: then nothing is known of the time
 * between them. A clock that is set back begins a series anew.
 *
 * Points stand in chunks of a pool that many series share. A series takes one more when its latest
 * is full; it has UT_SERIES_CHUNKS at most, and then its oldest goes. Where the pool is empty the
 * chunk that was filled longest ago goes, whosever it is: so a few series reach far back, and many
 * busy ones all equally far. The latest chunk of a series is never taken from it, so that a pool
 * has to have more chunks than series.
 */
#ifndef UT_EVIDENCE_SERIES_H
#define UT_EVIDENCE_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/clock.h"
#include "evidence/table_size.h"

#define UT_SERIES_CHUNK UT_TABLE_SIZE(32, 2)  /* points */
#define UT_SERIES_CHUNKS UT_TABLE_SIZE(39, 7) /* of one series; all but one are full */
enum { UT_SERIES_POINTS = UT_SERIES_CHUNKS * UT_SERIES_CHUNK }; /* of one, at most */
/* For how long points are meant to stay. */
#define UT_SERIES_KEPT_NS (120 * UT_NS_PER_S)

struct ut_point {
    uint64_t unix_ns;
    uint64_t value : 63;
    uint64_t apart : 1; /* from the point before it */
};

struct ut_series {
    struct ut_series_pool *pool; /* borrowed */
    uint32_t count;              /* of points kept */
    uint16_t first;              /* the oldest of `chunks`, a ring */
    uint16_t chunks[UT_SERIES_CHUNKS];
};

struct ut_series_pool {
    struct ut_point *points;         /* UT_SERIES_CHUNK for each chunk */
    struct ut_series_chunk *chunks;  /* from index 1 */
    uint32_t size, used;             /* chunks there are; that were ever in use */
    uint16_t free, oldest, youngest; /* the last two: of those behind which their series went on */
    uint64_t evicted;                /* points that went before UT_SERIES_KEPT_NS had passed */
};

/* Below 65,536 chunks; memory is touched as they come into use. 0 or -ENOMEM. */
int ut_series_pool_init(struct ut_series_pool *pool, uint32_t chunks) UT_MUST_USE;
void ut_series_pool_done(struct ut_series_pool *pool); /* all its series are lost */

/* A series stays where it is until it is cleared: then it is empty, and has no chunk. */
void ut_series_init(struct ut_series *series, struct ut_series_pool *pool);
void ut_series_clear(struct ut_series *series);

/* `value` is below 2^63. The point is apart from the one before where that is further away than
 * `apart_ns`. */
void ut_series_add(struct ut_series *series, uint64_t unix_ns, uint64_t value, uint64_t apart_ns);
/* For a figure that only grows: by so much between the two times, and by nothing since its latest
 * point. A `from_ns` a little before that is taken for it. */
void ut_series_grow(struct ut_series *series, uint64_t from_ns, uint64_t to_ns, uint64_t amount);

uint32_t ut_series_kept(const struct ut_series *series); /* points, UT_SERIES_POINTS at most */
/* The i-th oldest that is kept; valid until one is added to any series of the pool. */
const struct ut_point *ut_series_point(const struct ut_series *series, uint32_t i);
/* The first of them that is not before the time; ut_series_kept where all are. */
uint32_t ut_series_first(const struct ut_series *series, uint64_t unix_ns);
/* At a point, or between two that are not apart; false where there are none. */
bool ut_series_at(const struct ut_series *series, uint64_t unix_ns, uint64_t *ret);

#endif
