/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants: 1. a chunk is one of a series' or free; 2. all chunks of a series but its latest are
 * on the list from `oldest` to `youngest`, in the order in which they were filled; 3. a series'
 * own are in that order too, so that the first of them on the list is its oldest.
 */
#include "evidence/series.h"

#include <errno.h>
#include <stdlib.h>

/* Two times that were read one after the other but mean the same moment. */
#define SAME_NS UT_NS_PER_MS

struct ut_series_chunk {
    struct ut_series *series;
    uint16_t older, younger; /* of the list; `younger` also chains the free ones */
};

int ut_series_pool_init(struct ut_series_pool *pool, uint32_t chunks)
{
    UT_CHECK(chunks < UINT16_MAX);
    *pool = (struct ut_series_pool){.size = chunks};
    pool->points = calloc(((size_t)chunks + 1) * UT_SERIES_CHUNK, sizeof(pool->points[0]));
    pool->chunks = calloc((size_t)chunks + 1, sizeof(pool->chunks[0]));
    if (pool->points != NULL && pool->chunks != NULL)
        return 0;
    ut_series_pool_done(pool);
    return -ENOMEM;
}

void ut_series_pool_done(struct ut_series_pool *pool)
{
    free(pool->points);
    free(pool->chunks);
    *pool = (struct ut_series_pool){0};
}

/* ---- chunks --------------------------------------------------------------------------------- */

/* Where in the ring the chunk of the i-th point stands. */
static uint32_t place_of(const struct ut_series *series, uint32_t i)
{
    return (series->first + i / UT_SERIES_CHUNK) % UT_SERIES_CHUNKS;
}

static void release(struct ut_series_pool *pool, uint16_t chunk)
{
    pool->chunks[chunk].younger = pool->free;
    pool->free = chunk;
}

/* Its series goes on behind it. */
static void list(struct ut_series_pool *pool, uint16_t chunk)
{
    pool->chunks[chunk].older = pool->youngest;
    pool->chunks[chunk].younger = 0;
    *(pool->youngest != 0 ? &pool->chunks[pool->youngest].younger : &pool->oldest) = chunk;
    pool->youngest = chunk;
}

static void unlist(struct ut_series_pool *pool, uint16_t chunk)
{
    uint16_t older = pool->chunks[chunk].older, younger = pool->chunks[chunk].younger;
    *(older != 0 ? &pool->chunks[older].younger : &pool->oldest) = younger;
    *(younger != 0 ? &pool->chunks[younger].older : &pool->youngest) = older;
}

/* Which is not its latest. */
static void drop_oldest(struct ut_series *series)
{
    uint16_t chunk = series->chunks[series->first];
    unlist(series->pool, chunk);
    release(series->pool, chunk);
    series->first = (uint16_t)((series->first + 1) % UT_SERIES_CHUNKS);
    series->count -= UT_SERIES_CHUNK;
}

static void make_room(struct ut_series_pool *pool, uint64_t now_ns)
{
    UT_CHECK(pool->oldest != 0); /* there are more chunks than series */
    const struct ut_point *last =
        &pool->points[(size_t)pool->oldest * UT_SERIES_CHUNK + UT_SERIES_CHUNK - 1];
    if (last->unix_ns + UT_SERIES_KEPT_NS > now_ns)
        pool->evicted += UT_SERIES_CHUNK;
    drop_oldest(pool->chunks[pool->oldest].series);
}

static void extend(struct ut_series *series, uint64_t now_ns)
{
    struct ut_series_pool *pool = series->pool;
    if (series->count > 0)
        list(pool, series->chunks[place_of(series, series->count - 1)]);
    if (series->count == UT_SERIES_POINTS)
        drop_oldest(series);
    if (pool->free == 0 && pool->used == pool->size)
        make_room(pool, now_ns);
    uint16_t chunk = pool->free;
    if (chunk != 0)
        pool->free = pool->chunks[chunk].younger;
    else
        chunk = (uint16_t)++pool->used;
    pool->chunks[chunk].series = series;
    series->chunks[place_of(series, series->count)] = chunk;
}

/* ---- points --------------------------------------------------------------------------------- */

static struct ut_point *point_at(const struct ut_series *series, uint32_t i)
{
    uint16_t chunk = series->chunks[place_of(series, i)];
    return &series->pool->points[(size_t)chunk * UT_SERIES_CHUNK + i % UT_SERIES_CHUNK];
}

static struct ut_point *latest(const struct ut_series *series)
{
    return point_at(series, series->count - 1);
}

void ut_series_init(struct ut_series *series, struct ut_series_pool *pool)
{
    *series = (struct ut_series){.pool = pool};
}

void ut_series_clear(struct ut_series *series)
{
    while (series->count > UT_SERIES_CHUNK)
        drop_oldest(series);
    if (series->count > 0)
        release(series->pool, series->chunks[series->first]);
    series->count = 0;
}

void ut_series_add(struct ut_series *series, uint64_t unix_ns, uint64_t value, uint64_t apart_ns)
{
    if (series->count > 0 && latest(series)->unix_ns >= unix_ns)
        ut_series_clear(series);
    bool apart = series->count > 0 && unix_ns - latest(series)->unix_ns > apart_ns;
    if (series->count % UT_SERIES_CHUNK == 0)
        extend(series, unix_ns);
    series->count++;
    *latest(series) =
        (struct ut_point){.unix_ns = unix_ns, .value = value & INT64_MAX, .apart = apart};
}

void ut_series_grow(struct ut_series *series, uint64_t from_ns, uint64_t to_ns, uint64_t amount)
{
    uint64_t value = series->count > 0 ? latest(series)->value : 0;
    if (series->count == 0 || from_ns > latest(series)->unix_ns + SAME_NS ||
        from_ns + SAME_NS < latest(series)->unix_ns)
        ut_series_add(series, from_ns, value, UINT64_MAX);
    uint32_t kept = ut_series_kept(series);
    bool rests = amount == 0 && kept > 1 && ut_series_point(series, kept - 2)->value == value;
    if (rests && to_ns > latest(series)->unix_ns)
        latest(series)->unix_ns = to_ns; /* one point for a rest, however long */
    else
        ut_series_add(series, to_ns, value + amount, UINT64_MAX);
}

uint32_t ut_series_kept(const struct ut_series *series)
{
    return series->count;
}

const struct ut_point *ut_series_point(const struct ut_series *series, uint32_t i)
{
    return point_at(series, i);
}

uint32_t ut_series_first(const struct ut_series *series, uint64_t unix_ns)
{
    uint32_t low = 0, high = ut_series_kept(series);
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ut_series_point(series, middle)->unix_ns < unix_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ut_series_at(const struct ut_series *series, uint64_t unix_ns, uint64_t *ret)
{
    uint32_t next = ut_series_first(series, unix_ns);
    if (next == ut_series_kept(series))
        return false;
    const struct ut_point *after = ut_series_point(series, next);
    if (after->unix_ns == unix_ns) {
        *ret = after->value;
        return true;
    }
    if (next == 0 || after->apart)
        return false;
    const struct ut_point *before = ut_series_point(series, next - 1);
    uint64_t whole_ns = after->unix_ns - before->unix_ns;
    double part = (double)(unix_ns - before->unix_ns) / (double)whole_ns;
    *ret =
        (uint64_t)((double)before->value + ((double)after->value - (double)before->value) * part);
    return true;
}
