/* SPDX-License-Identifier: Apache-2.0 */
#include "sources.h"

#include <sys/random.h>

void ut_otlp_sources_init(struct ut_otlp_sources *sources, struct ut_pool *pool)
{
    *sources = (struct ut_otlp_sources){.pool = pool};
    /* Without the kernel's random bytes the table still works. */
    (void)!getrandom(&sources->seed, sizeof(sources->seed), GRND_NONBLOCK);
}

static struct ut_address network_of(const struct ut_address *address)
{
    struct ut_address network = *address;
    if (!ut_address_is_v4(address))
        memset(network.bytes + 8, 0, 8);
    return network;
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 31) * UINT64_C(0x9e3779b97f4a7c15);
    return value ^ value >> 29;
}

static struct ut_otlp_source **bucket_of(struct ut_otlp_sources *sources,
                                         const struct ut_address *network)
{
    uint64_t halves[2];
    memcpy(halves, network->bytes, sizeof(halves));
    uint64_t hash = mix(mix(sources->seed ^ halves[0]) + halves[1]);
    return &sources->buckets[(hash >> 20) % UT_OTLP_SOURCE_BUCKETS];
}

static struct ut_otlp_source *add(struct ut_otlp_sources *sources, struct ut_otlp_source **bucket,
                                  const struct ut_address *network)
{
    struct ut_otlp_source *source = ut_pool_alloc(sources->pool, sizeof(*source));
    if (source == NULL)
        return NULL;
    *source = (struct ut_otlp_source){.next = *bucket, .address = *network, .connections = 1};
    *bucket = source;
    return source;
}

struct ut_otlp_source *ut_otlp_sources_enter(struct ut_otlp_sources *sources,
                                             const struct ut_address *address, uint64_t most,
                                             bool *ret_full)
{
    struct ut_address network = network_of(address);
    struct ut_otlp_source **bucket = bucket_of(sources, &network), *source = *bucket;
    while (source != NULL && !ut_address_equal(&source->address, &network))
        source = source->next;
    *ret_full = source != NULL && source->connections >= most;
    if (*ret_full)
        return NULL;
    if (source == NULL)
        return add(sources, bucket, &network);
    source->connections++;
    return source;
}

void ut_otlp_sources_leave(struct ut_otlp_sources *sources, struct ut_otlp_source *source)
{
    if (--source->connections > 0)
        return;
    struct ut_otlp_source **link = bucket_of(sources, &source->address);
    while (*link != source)
        link = &(*link)->next;
    *link = source->next;
    ut_pool_free(sources->pool, source);
}
