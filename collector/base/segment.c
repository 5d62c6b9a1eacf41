/* SPDX-License-Identifier: Apache-2.0 */
#include "base/segment.h"

#include <errno.h>

struct ut_segment *ut_segment_new(struct ut_pool *pool, size_t capacity)
{
    if (capacity > SIZE_MAX / 4)
        return NULL;
    struct ut_segment *segment = ut_pool_alloc(pool, sizeof(*segment) + capacity);
    if (segment == NULL)
        return NULL;
    *segment = (struct ut_segment){
        .pool = pool,
        .refs = 1,
        .capacity = ut_pool_usable(segment) - sizeof(*segment),
        .data = (uint8_t *)(segment + 1),
    };
    return segment;
}

static int grow(struct ut_segment **segment, size_t size)
{
    struct ut_segment *old = *segment;
    UT_CHECK(old->refs == 1);
    size_t doubled = old->capacity * 2;
    struct ut_segment *bigger = ut_segment_new(old->pool, size > doubled ? size : doubled);
    if (bigger == NULL)
        return -ENOMEM;
    memcpy(bigger->data, old->data, old->size);
    bigger->size = old->size;
    ut_segment_unref(old);
    *segment = bigger;
    return 0;
}

int ut_segment_append(struct ut_segment **segment, ut_slice bytes)
{
    if (bytes.size == 0)
        return 0;
    if (bytes.size > (*segment)->capacity - (*segment)->size) {
        if (bytes.size > SIZE_MAX / 4)
            return -ENOMEM;
        int error = grow(segment, (*segment)->size + bytes.size);
        if (error != 0)
            return error;
    }
    memcpy((*segment)->data + (*segment)->size, bytes.data, bytes.size);
    (*segment)->size += bytes.size;
    return 0;
}

struct ut_segment *ut_segment_ref(struct ut_segment *segment)
{
    segment->refs++;
    return segment;
}

void ut_segment_unref(struct ut_segment *segment)
{
    if (segment != NULL && --segment->refs == 0)
        ut_pool_free(segment->pool, segment);
}
