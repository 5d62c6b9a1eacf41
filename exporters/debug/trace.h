/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces that are put together before they are printed: copies of the little that a tree shows, in
 * an arena per trace.
 *
 * A trace is complete when no span of it has come for a while; the store keeps traces in the order
 * of their last arrival, so the oldest is always the next one to print. Over its limits the store
 * gives up the oldest at once.
 *
 * Invariants: 1. count ≤ DEBUG_TRACES_MAX and bytes ≤ DEBUG_BYTES_MAX after each add; 2. a trace is
 * in its bucket and in the list, or in neither.
 */
#ifndef UT_DEBUG_TRACE_H
#define UT_DEBUG_TRACE_H

#include "base/arena.h"
#include "base/slice.h"

#define DEBUG_TRACES_MAX 1000
#define DEBUG_BYTES_MAX ((size_t)8 << 20)
#define DEBUG_BUCKETS 1024

/* One retransmission as a span event tells it. Slices live in the trace's arena; absent texts are
 * empty, absent numbers -1. */
struct debug_event {
    struct debug_event *next;
    uint64_t time_ns;
    ut_slice side, match, type;
    ut_slice local_address, peer_address;
    int64_t local_port, peer_port;
    int64_t seq, bytes, segments, waited_min_ns;
    int64_t omitted; /* of the closing event: how many there was no room for */
};

/* The attributes undertrace.tcp.* of the span itself, likewise. */
struct debug_counts {
    ut_slice match, side; /* match is empty where there is no evidence */
    int64_t retransmits, bytes, timeouts, probes, shared_by;
    int64_t resets, connect_ns, zero_window_ns, receive_drops, listen_overflows;
    bool partial;
};

struct debug_span {
    struct debug_span *next;
    uint8_t id[8], parent[8];
    uint64_t start_ns, end_ns;
    uint8_t kind, status;
    ut_slice name, service;
    struct debug_counts counts;
    struct debug_event *events; /* of evidence, in order of the message */
    ut_slice fields;            /* for `detailed`: encoded attributes and events */
};

struct debug_trace {
    struct debug_trace *same_bucket;
    struct debug_trace *older, *newer; /* by last arrival */
    uint8_t id[16];
    struct ut_arena arena;
    struct debug_span *first, **last;
    uint32_t span_count;
    uint64_t arrived_ns; /* of the newest span, monotonic */
};

struct debug_store {
    struct ut_pool *pool;
    struct debug_trace *buckets[DEBUG_BUCKETS];
    struct debug_trace *oldest, *newest;
    size_t count, bytes;
};

/* The trace with this id, which becomes the newest; made where there is none. NULL: out of memory.
 */
struct debug_trace *debug_store_touch(struct debug_store *store, const uint8_t id[16],
                                      uint64_t now_ns) UT_MUST_USE;
bool debug_store_is_over(const struct debug_store *store);
/* The arena of `trace` has grown to what it is now. */
void debug_store_account(struct debug_store *store, const struct debug_trace *trace,
                         size_t bytes_before);
void debug_store_remove(struct debug_store *store, struct debug_trace *trace);

/* Copies into the trace's arena; false where there is no memory. */
bool debug_copy(struct debug_trace *trace, ut_slice bytes, size_t most, ut_slice *ret) UT_MUST_USE;

static inline uint64_t debug_span_duration(const struct debug_span *span)
{
    return span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0;
}

#endif
