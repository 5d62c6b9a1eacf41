/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ids that retransmitted bytes carried on the wire, found by the span that they name. Each
 * stands for one request in one kernel event and goes with the event. Of more than
 * UT_TRACED_MAX the later ones are not kept, counted.
 */
#ifndef UT_EVIDENCE_TRACE_IDS_H
#define UT_EVIDENCE_TRACE_IDS_H

#include <stdbool.h>

#include "base/check.h"
#include "bpf/records.h"
#include "evidence/table_size.h"

#define UT_TRACED_MAX UT_TABLE_SIZE(16384, 24)

struct ut_traced {
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint32_t event;  /* its slot */
    uint32_t bytes;  /* of the event's, that are this request's */
    uint32_t offset; /* of their first one */
    uint32_t next;   /* slot: of the same event, or free */
    uint32_t next_in_bucket;
    /* Of the server spans whose parent this is, on the accepting end: the first that came, and
     * whether there was another. */
    uint8_t server[8];
    bool several;
};

struct ut_trace_ids {
    struct ut_traced *slots; /* from index 1 */
    uint32_t *buckets;
    uint32_t ever_used, free, count;
    uint64_t refused; /* found no room */
};

int ut_trace_ids_init(struct ut_trace_ids *ids) UT_MUST_USE; /* 0 or -ENOMEM */
void ut_trace_ids_done(struct ut_trace_ids *ids);

/* Puts an id before the list that begins at `first`, for the event in that slot; returns where the
 * list begins then. */
uint32_t ut_trace_ids_add(struct ut_trace_ids *ids, uint32_t first, const struct ut_trace_id *id,
                          uint32_t event);
/* Lets a whole list go. */
void ut_trace_ids_release(struct ut_trace_ids *ids, uint32_t first);

/* The entries that name this span: NULL begins, NULL ends. */
struct ut_traced *ut_trace_ids_next(const struct ut_trace_ids *ids, const uint8_t trace_id[16],
                                    const uint8_t span_id[8], const struct ut_traced *previous);

#endif
