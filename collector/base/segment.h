/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment owns the contiguous bytes of one received message body, counted by references. Bytes
 * are appended while the body arrives; after the first reference is handed on they never change.
 */
#ifndef UT_BASE_SEGMENT_H
#define UT_BASE_SEGMENT_H

#include "base/pool.h"
#include "base/slice.h"

struct ut_segment {
    struct ut_pool *pool;
    uint32_t refs;
    size_t size, capacity; /* bytes */
    uint8_t *data;
};

/* One reference is the caller's. NULL when the pool has none. */
struct ut_segment *ut_segment_new(struct ut_pool *pool, size_t capacity) UT_MUST_USE;
/* Appends a copy of `bytes`; where the capacity does not hold them it grows (the segment may move,
 * so only the sole owner appends). 0, or -ENOMEM with the segment unchanged. */
int ut_segment_append(struct ut_segment **segment, ut_slice bytes) UT_MUST_USE;
struct ut_segment *ut_segment_ref(struct ut_segment *segment);
void ut_segment_unref(struct ut_segment *segment); /* NULL is fine */

#endif
