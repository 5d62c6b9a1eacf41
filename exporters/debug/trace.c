/* SPDX-License-Identifier: Apache-2.0 */
#include "debug_exporter/trace.h"

static struct debug_trace **bucket_of(struct debug_store *store, const uint8_t id[16])
{
    uint64_t half;
    memcpy(&half, id + 8, sizeof(half));
    return &store->buckets[half % DEBUG_BUCKETS];
}

static void unlink_age(struct debug_store *store, struct debug_trace *trace)
{
    *(trace->older != NULL ? &trace->older->newer : &store->oldest) = trace->newer;
    *(trace->newer != NULL ? &trace->newer->older : &store->newest) = trace->older;
}

static void link_newest(struct debug_store *store, struct debug_trace *trace)
{
    trace->older = store->newest;
    trace->newer = NULL;
    *(store->newest != NULL ? &store->newest->newer : &store->oldest) = trace;
    store->newest = trace;
}

static struct debug_trace *make(struct debug_store *store, const uint8_t id[16])
{
    struct debug_trace *trace = ut_pool_alloc(store->pool, sizeof(*trace));
    if (trace == NULL)
        return NULL;
    struct debug_trace **bucket = bucket_of(store, id);
    *trace = (struct debug_trace){.same_bucket = *bucket, .last = &trace->first};
    memcpy(trace->id, id, sizeof(trace->id));
    ut_arena_init(&trace->arena, store->pool);
    *bucket = trace;
    link_newest(store, trace);
    store->count++;
    store->bytes += sizeof(*trace);
    return trace;
}

struct debug_trace *debug_store_touch(struct debug_store *store, const uint8_t id[16],
                                      uint64_t now_ns)
{
    struct debug_trace *trace = *bucket_of(store, id);
    while (trace != NULL && memcmp(trace->id, id, sizeof(trace->id)) != 0)
        trace = trace->same_bucket;
    if (trace == NULL) {
        trace = make(store, id);
    } else if (trace != store->newest) {
        unlink_age(store, trace);
        link_newest(store, trace);
    }
    if (trace != NULL)
        trace->arrived_ns = now_ns;
    return trace;
}

bool debug_store_is_over(const struct debug_store *store)
{
    return store->count > DEBUG_TRACES_MAX || store->bytes > DEBUG_BYTES_MAX;
}

void debug_store_account(struct debug_store *store, const struct debug_trace *trace,
                         size_t bytes_before)
{
    store->bytes += trace->arena.bytes - bytes_before;
}

void debug_store_remove(struct debug_store *store, struct debug_trace *trace)
{
    struct debug_trace **at = bucket_of(store, trace->id);
    while (*at != trace)
        at = &(*at)->same_bucket;
    *at = trace->same_bucket;
    unlink_age(store, trace);
    store->count--;
    store->bytes -= trace->arena.bytes + sizeof(*trace);
    ut_arena_done(&trace->arena);
    ut_pool_free(store->pool, trace);
}

/* Not in the middle of a UTF-8 character: the text would end in an escape that nobody sent. */
static size_t cut(ut_slice bytes, size_t most)
{
    if (bytes.size <= most)
        return bytes.size;
    size_t size = most;
    while (size > 0 && most - size < 4 && (bytes.data[size] & 0xc0) == 0x80)
        size--;
    return size;
}

bool debug_copy(struct debug_trace *trace, ut_slice bytes, size_t most, ut_slice *ret)
{
    *ret = (ut_slice){0};
    size_t size = cut(bytes, most);
    if (size == 0)
        return true;
    uint8_t *copy = ut_arena_alloc(&trace->arena, size);
    if (copy == NULL)
        return false;
    memcpy(copy, bytes.data, size);
    *ret = ut_slice_of(copy, size);
    return true;
}
