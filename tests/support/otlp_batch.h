/* SPDX-License-Identifier: Apache-2.0 */
/* A batch from the bytes of a request, as a receiver makes it. For tests that link ut_otlp. */
#ifndef UT_TEST_OTLP_BATCH_H
#define UT_TEST_OTLP_BATCH_H

#include <errno.h>

#include "model/batch.h"
#include "otlp/walk.h"
#include "otlp_builder.h"

/* Copies the bytes, walks and measures them. NULL and -errno in `error` where the walk says no;
 * `report` and `error` may be NULL. */
static inline struct ut_batch *otlp_batch_of(struct ut_pool *pool, const void *data, size_t size,
                                             struct ut_walk_report *report, int *error)
{
    struct ut_walk_report unseen;
    int unseen_error;
    report = report != NULL ? report : &unseen;
    error = error != NULL ? error : &unseen_error;
    *error = -ENOMEM;
    /* The segment is exactly as large as the bytes, so that a sanitizer sees a read behind them
     * where the pool's block ends there too. */
    struct ut_segment *segment = ut_segment_new(pool, size);
    if (segment == NULL)
        return NULL;
    if (ut_segment_append(&segment, ut_slice_of(data, size)) != 0) {
        ut_segment_unref(segment);
        return NULL;
    }
    struct ut_batch *batch = ut_batch_new(pool, segment);
    if (batch == NULL) {
        ut_segment_unref(segment);
        return NULL;
    }
    *error = ut_walk(batch->first, report);
    if (*error != 0) {
        ut_batch_unref(batch);
        return NULL;
    }
    ut_batch_measure(batch);
    return batch;
}

/* As above, of a builder's bytes that are known to be right: ends the program otherwise. */
static inline struct ut_batch *otlp_batch(struct ut_pool *pool, const struct otlp_bytes *request)
{
    struct ut_batch *batch = otlp_batch_of(pool, request->data, request->size, NULL, NULL);
    if (batch == NULL)
        abort();
    return batch;
}

#endif
