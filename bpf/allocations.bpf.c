// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that tasks are given, counted as they are, per cgroup: for `memory: exact` alone, because
 * it costs something at each page.
 *
 * Each CPU adds up for one cgroup at a time and puts the sum into a table when another's turn
 * comes. Of both, the sum and the table, there are two, of which user space reads and empties the
 * one that is not being written. When it changes them it begins a window of time: nothing here
 * looks at a clock.
 *
 * What counts is memory that belongs to the task's cgroup: pages that can be moved, which are those
 * of user space and of files, and what the kernel charges by a flag. The allocation runs in the
 * task that asked, so that the owner is `current`. A program is not entered twice on a CPU, so the
 * sum needs no lock; the runs that the kernel skips for that are those of interrupts, whose pages
 * do not count.
 */
#include "output.bpf.h"

#include <bpf/bpf_tracing.h>

/* Set by the loader. */
const volatile __u32 charged_flags = 0x400008; /* __GFP_ACCOUNT | __GFP_MOVABLE until 6.9 */

/* Which of the two is being written; changed by user space. */
__u32 allocated_table = 0;

struct allocating {
    __u64 cgroup;
    __u64 pages;
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, struct allocating);
} allocating SEC(".maps");

struct allocated_map {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 8192);
    __type(key, __u64);
    __type(value, __u64);
};

struct allocated_map allocated_even SEC(".maps");
struct allocated_map allocated_odd SEC(".maps");

static __always_inline bool add_to_table(void *table, const __u64 *cgroup, __u64 pages)
{
    __u64 *sum = bpf_map_lookup_elem(table, cgroup);
    if (sum == NULL) {
        __u64 none = 0;
        bpf_map_update_elem(table, cgroup, &none, BPF_NOEXIST);
        sum = bpf_map_lookup_elem(table, cgroup);
        if (sum == NULL)
            return false;
    }
    __sync_fetch_and_add(sum, pages);
    return true;
}

static __noinline bool put_away(__u32 table, __u64 cgroup, __u64 pages)
{
    bool kept = (table & 1) != 0 ? add_to_table(&allocated_odd, &cgroup, pages)
                                 : add_to_table(&allocated_even, &cgroup, pages);
    __u32 zero = 0;
    struct ut_kernel_counters *counted = kept ? NULL : bpf_map_lookup_elem(&counters, &zero);
    if (counted != NULL)
        count(&counted->lost[UT_RECORD_ALLOCATED]);
    return kept;
}

SEC("raw_tp/mm_page_alloc")
int BPF_PROG(page_alloc)
{
    if (ctx[0] == 0 || !((__u32)ctx[2] & charged_flags))
        return 0; /* there was no page, or it is nobody's */
    __u32 table = *(volatile __u32 *)&allocated_table & 1;
    struct allocating *sum = bpf_map_lookup_elem(&allocating, &table);
    if (sum == NULL)
        return 0;
    __u64 cgroup = bpf_get_current_cgroup_id();
    if (sum->cgroup != cgroup) {
        if (sum->pages != 0)
            put_away(table, sum->cgroup, sum->pages);
        sum->cgroup = cgroup;
        sum->pages = 0;
    }
    sum->pages += 1ULL << (ctx[1] & 63);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
