/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/trace_ids.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = UT_TABLE_SIZE(16384, 4) };

int ut_trace_ids_init(struct ut_trace_ids *ids)
{
    *ids = (struct ut_trace_ids){0};
    ids->slots = calloc(UT_TRACED_MAX + 1, sizeof(ids->slots[0]));
    ids->buckets = calloc(BUCKETS, sizeof(ids->buckets[0]));
    if (ids->slots != NULL && ids->buckets != NULL)
        return 0;
    ut_trace_ids_done(ids);
    return -ENOMEM;
}

void ut_trace_ids_done(struct ut_trace_ids *ids)
{
    free(ids->slots);
    free(ids->buckets);
    *ids = (struct ut_trace_ids){0};
}

/* Ids come from other people's programs: all of both take part, and a multiplier spreads them. */
static uint32_t *bucket_of(const struct ut_trace_ids *ids, const uint8_t trace_id[16],
                           const uint8_t span_id[8])
{
    uint64_t words[3];
    memcpy(words, trace_id, 16);
    memcpy(&words[2], span_id, 8);
    uint64_t hash = words[0] * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ words[1]) * UINT64_C(0xc2b2ae3d27d4eb4f);
    hash = (hash ^ words[2] ^ hash >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    return &ids->buckets[(hash >> 40) % BUCKETS];
}

uint32_t ut_trace_ids_add(struct ut_trace_ids *ids, uint32_t first, const struct ut_trace_id *id,
                          uint32_t event)
{
    if (ids->free == 0 && ids->ever_used == UT_TRACED_MAX) {
        ids->refused++;
        return first;
    }
    uint32_t slot = ids->free != 0 ? ids->free : ++ids->ever_used;
    struct ut_traced *traced = &ids->slots[slot];
    if (slot == ids->free)
        ids->free = traced->next;
    uint32_t *bucket = bucket_of(ids, id->trace_id, id->span_id);
    *traced = (struct ut_traced){
        .event = event,
        .bytes = id->bytes,
        .offset = id->offset,
        .next = first,
        .next_in_bucket = *bucket,
    };
    memcpy(traced->trace_id, id->trace_id, sizeof(traced->trace_id));
    memcpy(traced->span_id, id->span_id, sizeof(traced->span_id));
    *bucket = slot;
    ids->count++;
    return slot;
}

void ut_trace_ids_release(struct ut_trace_ids *ids, uint32_t first)
{
    while (first != 0) {
        struct ut_traced *traced = &ids->slots[first];
        uint32_t *at = bucket_of(ids, traced->trace_id, traced->span_id), next = traced->next;
        while (*at != first)
            at = &ids->slots[*at].next_in_bucket;
        *at = traced->next_in_bucket;
        traced->next = ids->free;
        ids->free = first;
        ids->count--;
        first = next;
    }
}

struct ut_traced *ut_trace_ids_next(const struct ut_trace_ids *ids, const uint8_t trace_id[16],
                                    const uint8_t span_id[8], const struct ut_traced *previous)
{
    uint32_t slot =
        previous != NULL ? previous->next_in_bucket : *bucket_of(ids, trace_id, span_id);
    while (slot != 0) {
        struct ut_traced *traced = &ids->slots[slot];
        if (memcmp(traced->span_id, span_id, 8) == 0 && memcmp(traced->trace_id, trace_id, 16) == 0)
            return traced;
        slot = traced->next_in_bucket;
    }
    return NULL;
}
