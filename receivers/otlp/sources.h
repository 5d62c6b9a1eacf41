/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections each address has, so that one cannot take them all. An IPv6 sender is its
 * /64, as whoever has one of its addresses has them all; on a unix socket a sender is its cgroup.
 * Bounded by the number of connections.
 */
#ifndef UT_OTLP_RECEIVER_SOURCES_H
#define UT_OTLP_RECEIVER_SOURCES_H

#include "base/pool.h"
#include "model/address.h"

enum { UT_OTLP_SOURCE_BUCKETS = 1024 };

struct ut_otlp_source {
    struct ut_otlp_source *next;
    struct ut_address address;
    uint32_t connections;
};

struct ut_otlp_sources {
    struct ut_pool *pool;
    uint64_t seed; /* so that nobody can choose addresses of one bucket */
    struct ut_otlp_source *buckets[UT_OTLP_SOURCE_BUCKETS];
};

void ut_otlp_sources_init(struct ut_otlp_sources *sources, struct ut_pool *pool);

/* One more connection of `address`; NULL where it has `most` already, or there is no memory
 * (*ret_full tells). To be given to leave when the connection ends. */
struct ut_otlp_source *ut_otlp_sources_enter(struct ut_otlp_sources *sources,
                                             const struct ut_address *address, uint64_t most,
                                             bool *ret_full);
void ut_otlp_sources_leave(struct ut_otlp_sources *sources, struct ut_otlp_source *source);

#endif
