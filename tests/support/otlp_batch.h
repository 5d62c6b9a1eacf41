/* SPDX-License-Identifier: Apache-2.0 */
/* A batch from the bytes of a request, as a receiver makes it. For tests that link ut_otlp. */
#ifndef UT_TEST_OTLP_BATCH_H
#define UT_TEST_OTLP_BATCH_H

#include <errno.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OTLP_HAS_POISON
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(OTLP_HAS_POISON)
#include <sanitizer/asan_interface.h>
#define OTLP_POISON(data, size) __asan_poison_memory_region(data, size)
#define OTLP_UNPOISON(data, size) __asan_unpoison_memory_region(data, size)
#else
#define OTLP_POISON(data, size) ((void)(data), (void)(size))
#define OTLP_UNPOISON(data, size) ((void)(data), (void)(size))
#endif

#include "model/batch.h"
#include "otlp/walk.h"
#include "otlp_builder.h"

/* Walks the body with all that lies behind its bytes in the segment out of bounds. */
static inline int otlp_walk_alone(struct ut_body *body, struct ut_walk_report *report)
{
    const struct ut_segment *segment = body->segment;
    OTLP_POISON(segment->data + segment->size, segment->capacity - segment->size);
    int error = ut_walk(body, report);
    OTLP_UNPOISON(segment->data + segment->size, segment->capacity - segment->size);
    return error;
}

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
    *error = otlp_walk_alone(batch->first, report);
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
