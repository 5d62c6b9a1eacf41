/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tags of one Zipkin span: texts by key, each key once. They come from the Resource, the scope,
 * the span and from what Zipkin has no other place for; of several with one key the one that was
 * added last counts.
 */
#ifndef UT_ZIPKIN_TAGS_H
#define UT_ZIPKIN_TAGS_H

#include "otlp/visit.h"

struct ut_zipkin_tag {
    ut_slice key, value; /* owned by whoever added it */
    bool is_any;         /* the value is an AnyValue's content, else it is text */
};

struct ut_zipkin_tags {
    struct ut_pool *pool;
    struct ut_zipkin_tag *items; /* a block of the pool, as is `slots` */
    uint32_t *slots;             /* index + 1 of an item by the hash of its key; 0: free */
    size_t count, room, slot_count;
    uint64_t seed; /* of the hash: keys are chosen by strangers */
    bool failed;   /* out of memory */
};

void ut_zipkin_tags_init(struct ut_zipkin_tags *tags, struct ut_pool *pool);
void ut_zipkin_tags_done(struct ut_zipkin_tags *tags);
/* Makes it empty; the memory stays. */
void ut_zipkin_tags_clear(struct ut_zipkin_tags *tags);
void ut_zipkin_tags_add(struct ut_zipkin_tags *tags, ut_slice key, ut_slice text);
void ut_zipkin_tags_add_any(struct ut_zipkin_tags *tags, ut_slice key, ut_slice any);
/* Writes `,"tags":{…}`, or nothing where there are none. */
void ut_zipkin_tags_write(struct ut_zipkin_tags *tags, struct ut_blocks *out);

#endif
