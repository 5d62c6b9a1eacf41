/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * How records leave the kernel, for every program: the ring, the rate limit of each cgroup that
 * stands before it, and the counters of what was recorded, limited and lost. That a limit holds
 * records back is itself told by one, so that only the spans of that cgroup are in doubt.
 *
 * A program calls begin_record, fills all that it got, and end_record. Nothing wakes user space,
 * which looks on a timer, unless the ring is more than half full.
 */
#ifndef UT_BPF_OUTPUT_H
#define UT_BPF_OUTPUT_H

#include "flavors.bpf.h"
#include "records.h"

#define CGROUPS_LIMITED 2048 /* the least recently active one beyond loses its state, no record */

/* Set by the loader before the programs are loaded. An interval of 0: no limit. */
extern const volatile __u64 limit_interval_ns[UT_RECORD_TYPES]; /* between two records */
extern const volatile __u64 limit_burst_ns[UT_RECORD_TYPES];    /* how far ahead of it one may be */
extern const volatile __u64 ring_high_water;                    /* bytes */

/* Of one cgroup. Per record type the time at which the next record would be due if all came evenly
 * spaced; and when it was last told that connections, or others, are held back. */
struct limit {
    __u64 due_ns[UT_RECORD_TYPES];
    __u64 told_others_ns, told_connections_ns;
};

struct ring_map {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 20);
};

struct counters_map {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct ut_kernel_counters);
};

struct limits_map {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, CGROUPS_LIMITED);
    __type(key, __u64);
    __type(value, struct limit);
};

extern struct ring_map ring SEC(".maps");
extern struct counters_map counters SEC(".maps");
extern struct limits_map limits SEC(".maps");

static __always_inline void count(__u64 *counter)
{
    /* Atomic, because a softirq may interrupt a program on its own CPU. */
    __sync_fetch_and_add(counter, 1);
}

/* Room for a record with its header filled, or NULL after counting it as lost. */
static __always_inline void *reserve(struct ut_kernel_counters *counted, __u32 type, __u32 size,
                                     __u64 owner, __u64 now)
{
    struct ut_record_header *header = bpf_ringbuf_reserve(&ring, size, 0);
    if (header == NULL) {
        count(&counted->lost[type]);
        return NULL;
    }
    count(&counted->recorded[type]);
    header->size = (ut_u16)size;
    header->version = UT_RECORD_VERSION;
    header->type = (ut_u8)type;
    header->has = 0;
    header->boot_ns = now;
    header->cgroup_id = owner;
    return header;
}

static __always_inline void end_record(void *record)
{
    /* A wake-up costs 1.4 µs: the few records that cross the mark make one each, not all above. */
    __u64 waiting = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
    bool wake = waiting > ring_high_water && waiting - ring_high_water < 4096;
    bpf_ringbuf_submit(record, wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

/* Where there is no room, that is counted as a loss, and the next one that is held back tries
 * again; so does whoever finds the state of a cgroup fresh that others had displaced. */
static __always_inline void tell_held_back(struct ut_kernel_counters *counted, struct limit *limit,
                                           __u64 cgroup, __u32 type, __u64 now)
{
    __u64 *told_ns =
        type == UT_RECORD_CONNECTION ? &limit->told_connections_ns : &limit->told_others_ns;
    if (!UT_RECORD_HELD_BACK_IS_TOLD(type) || now - *(volatile __u64 *)told_ns < UT_HELD_BACK_NS)
        return;
    struct ut_record_held_back *record =
        reserve(counted, UT_RECORD_HELD_BACK, sizeof(*record), cgroup, now);
    if (record == NULL)
        return;
    record->type = type;
    record->reserved = 0;
    *(volatile __u64 *)told_ns = now;
    end_record(record);
}

/* A token bucket in one word (GCRA): `due` moves on by the interval with each record and may run
 * ahead of now by the burst. CPUs at the same moment may spend the same token, one each: kernels
 * before 5.12 refuse a program in which there is a compare-and-swap, even where it is never run. */
static __always_inline bool within_limit(struct ut_kernel_counters *counted, __u64 cgroup,
                                         __u32 type, __u64 now)
{
    __u64 interval = limit_interval_ns[type];
    if (interval == 0)
        return true;
    struct limit *limit = bpf_map_lookup_elem(&limits, &cgroup);
    if (limit == NULL) {
        struct limit fresh = {};
        bpf_map_update_elem(&limits, &cgroup, &fresh, BPF_NOEXIST);
        limit = bpf_map_lookup_elem(&limits, &cgroup);
        if (limit == NULL)
            return true;
    }
    __u64 *due_ns = &limit->due_ns[type];
    __u64 due = *(volatile __u64 *)due_ns;
    if (due > now && due - now > limit_burst_ns[type]) {
        tell_held_back(counted, limit, cgroup, type, now);
        return false;
    }
    if (due < now)
        *(volatile __u64 *)due_ns = now;
    __sync_fetch_and_add(due_ns, interval);
    return true;
}

/* Room for a record of `size` bytes with its header filled, or NULL after counting why not.
 * `charged` is the cgroup whose limit the record counts against. */
static __always_inline void *begin_record(__u32 type, __u32 size, __u64 owner, __u64 charged)
{
    __u32 zero = 0;
    struct ut_kernel_counters *counted = bpf_map_lookup_elem(&counters, &zero);
    if (counted == NULL)
        return NULL;
    __u64 now = bpf_ktime_get_boot_ns();
    if (!within_limit(counted, charged, type, now)) {
        count(&counted->limited[type]);
        return NULL;
    }
    void *record = reserve(counted, type, size, owner, now);
    if (record != NULL && owner == 0)
        count(&counted->unowned);
    return record;
}

#endif
