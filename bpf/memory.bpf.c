// SPDX-License-Identifier: GPL-2.0
/*
 * Memory: processes that the kernel killed for want of it, and the time that tasks spent on
 * reclaiming some before they got theirs.
 *
 * An OOM kill is a record; its owner is the victim's cgroup, because the tracepoint fires in
 * whatever task asked for memory. Stalls are far too many for records: they are summed per cgroup
 * and slot of 100 ms, in two tables of which user space reads and empties the one that is not being
 * written. Reclaim runs in the task that waits, so that the owner is `current`.
 *
 * The tracepoint of a cgroup's reclaim does not name the cgroup whose limit is met. It is taken to
 * be the one with the least room below its limit, among the task's own and those above it. Where
 * none of them is near its limit somebody made the cgroup smaller or forced the reclaim, and the
 * time is no stall of the task's workload.
 */
#include "output.bpf.h"

#include <bpf/bpf_tracing.h>

#define LEVELS_MAX 16
#define STALL_SLOTS_MAX 64 /* longer stalls lose their end, counted */
#define ROOM_PAGES 1024    /* with more than that a limit is not what stops the task */
#define NOBODYS_LIMIT LEVELS_MAX

/* Set by the loader. */
const volatile __u64 page_bytes = 4096;

/* Which of the two tables is being written; changed by user space. */
__u32 stall_table = 0;
/* Whether anything was written to each, so that empty ones need not be read. */
__u32 stalls_waiting[2] = {};

/* ---- OOM kills ------------------------------------------------------------------------------ */

struct process {
    __u64 start_boottime;
    __u64 tgid;
};

/* A process of several threads may be told of once for each of them. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 1024);
    __type(key, struct process);
    __type(value, __u8);
} victims SEC(".maps");

static __always_inline void record_kill(__u64 cgroup, __u32 pid, const struct mm_struct *mm)
{
    struct ut_record_oom_kill *record =
        begin_record(UT_RECORD_OOM_KILL, sizeof(*record), cgroup, cgroup);
    if (record == NULL)
        return;
    record->pid = pid;
    record->reserved = 0;
    record->bytes = 0;
    if (mm != NULL) {
        record->bytes = resident_pages(mm) * page_bytes;
        record->header.has = UT_HAS_SIZE;
    }
    end_record(record);
}

SEC("raw_tp/mark_victim")
int BPF_PROG(mark_victim)
{
    if (!victim_is_told()) {
        record_kill(0, (__u32)ctx[0], NULL);
        return 0;
    }
    const struct task_struct *task = (const void *)ctx[0];
    __u32 pid = (__u32)BPF_CORE_READ(task, tgid);
    struct process process = {BPF_CORE_READ(task, group_leader, start_boottime), pid};
    __u8 marked = 1;
    if (bpf_map_update_elem(&victims, &process, &marked, BPF_NOEXIST) == 0)
        record_kill(BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id), pid, BPF_CORE_READ(task, mm));
    return 0;
}

/* ---- stalls --------------------------------------------------------------------------------- */

struct stall_key {
    __u64 cgroup;
    __u64 slot; /* boot time in slots */
    __u32 level;
    __u32 reserved;
};

struct stall_sum {
    __u64 ns;
    __u32 first_ns, last_ns;
};

struct stall_map {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 8192);
    __type(key, struct stall_key);
    __type(value, struct stall_sum);
};

struct stall_map stalls_even SEC(".maps");
struct stall_map stalls_odd SEC(".maps");

struct reclaim {
    __u64 since_ns;
    __u32 level;
};

/* By thread, while it reclaims. Least recently used, because an end that the kernel skipped would
 * leave its entry for ever. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 8192);
    __type(key, __u32);
    __type(value, struct reclaim);
} reclaims SEC(".maps");

/* Pages that a cgroup may still take, for its limits on memory alone. */
static __always_inline __s64 room_of(const struct mem_cgroup *memcg)
{
    __u64 limit = BPF_CORE_READ(memcg, memory.max);
    if (bpf_core_field_exists(memcg->memory.high)) {
        __u64 high = BPF_CORE_READ(memcg, memory.high);
        limit = high < limit ? high : limit;
    }
    return (__s64)limit - BPF_CORE_READ(memcg, memory.usage.counter);
}

/* How far above the task's memory cgroup the limit stands that made it reclaim; NOBODYS_LIMIT where
 * none of them is near. */
static __always_inline __u32 limiting_level(void)
{
    const struct task_struct *task = (const void *)bpf_get_current_task();
    const char *set = (const char *)BPF_CORE_READ(task, cgroups);
    const struct cgroup_subsys_state *css = NULL;
    __u64 index = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
    bpf_probe_read_kernel(&css, sizeof(css),
                          set + bpf_core_field_offset(struct css_set, subsys) +
                              index * sizeof(css));
    __s64 least = ROOM_PAGES + 1;
    __u32 found = NOBODYS_LIMIT;
    for (__u32 level = 0; level < LEVELS_MAX && css != NULL; level++) {
        __s64 room = room_of(
            (const void *)((const char *)css - bpf_core_field_offset(struct mem_cgroup, css)));
        if (room < least) {
            least = room;
            found = level;
        }
        css = BPF_CORE_READ(css, parent);
    }
    return found;
}

static __always_inline void begin_stall(__u64 since_ns, __u32 level)
{
    __u32 thread = (__u32)bpf_get_current_pid_tgid();
    struct reclaim reclaim = {.since_ns = since_ns, .level = level};
    bpf_map_update_elem(&reclaims, &thread, &reclaim, BPF_ANY);
}

static __always_inline bool add_to_table(void *table, const struct stall_key *key, __u64 from_ns,
                                         __u64 until_ns)
{
    __u32 first_ns = (__u32)(from_ns - key->slot * UT_STALL_SLOT_NS);
    __u32 last_ns = (__u32)(until_ns - key->slot * UT_STALL_SLOT_NS);
    struct stall_sum *sum = bpf_map_lookup_elem(table, key);
    if (sum == NULL) {
        struct stall_sum fresh = {0, first_ns, last_ns};
        bpf_map_update_elem(table, key, &fresh, BPF_NOEXIST);
        sum = bpf_map_lookup_elem(table, key);
        if (sum == NULL)
            return false;
    }
    __sync_fetch_and_add(&sum->ns, until_ns - from_ns);
    /* Two CPUs at once may leave the window a little too narrow, never the sum wrong. */
    if (first_ns < sum->first_ns)
        sum->first_ns = first_ns;
    if (last_ns > sum->last_ns)
        sum->last_ns = last_ns;
    return true;
}

/* Sums up what lies in one slot. False: there was no room. */
static __noinline bool add_stall(__u64 cgroup, __u32 level, __u64 from_ns, __u64 until_ns)
{
    struct stall_key key = {
        .cgroup = cgroup,
        .slot = from_ns / UT_STALL_SLOT_NS,
        .level = level,
    };
    __u32 table = *(volatile __u32 *)&stall_table & 1;
    stalls_waiting[table] = 1;
    return table != 0 ? add_to_table(&stalls_odd, &key, from_ns, until_ns)
                      : add_to_table(&stalls_even, &key, from_ns, until_ns);
}

static __always_inline void end_stall(bool global)
{
    __u32 thread = (__u32)bpf_get_current_pid_tgid();
    struct reclaim *reclaim = bpf_map_lookup_elem(&reclaims, &thread);
    if (reclaim == NULL || (reclaim->level == UT_STALL_GLOBAL) != global)
        return;
    __u64 cgroup = bpf_get_current_cgroup_id();
    __u64 now_ns = bpf_ktime_get_boot_ns();
    __u64 from_ns = reclaim->since_ns;
    __u32 level = reclaim->level;
    bool whole = true;
    bpf_map_delete_elem(&reclaims, &thread);
    for (int i = 0; i < STALL_SLOTS_MAX && from_ns < now_ns; i++) {
        __u64 end_ns = (from_ns / UT_STALL_SLOT_NS + 1) * UT_STALL_SLOT_NS;
        __u64 until_ns = end_ns < now_ns ? end_ns : now_ns;
        whole &= add_stall(cgroup, level, from_ns, until_ns);
        from_ns = until_ns;
    }
    __u32 zero = 0;
    struct ut_kernel_counters *counted = bpf_map_lookup_elem(&counters, &zero);
    if (counted != NULL && (!whole || from_ns < now_ns))
        count(&counted->lost[UT_RECORD_STALL]);
}

SEC("raw_tp/mm_vmscan_memcg_reclaim_begin")
int BPF_PROG(memcg_reclaim_begin)
{
    /* The time first: the task waits for this program too. */
    __u64 now_ns = bpf_ktime_get_boot_ns();
    __u32 level = limiting_level();
    if (level != NOBODYS_LIMIT)
        begin_stall(now_ns, level);
    return 0;
}

SEC("raw_tp/mm_vmscan_memcg_reclaim_end")
int BPF_PROG(memcg_reclaim_end)
{
    end_stall(false);
    return 0;
}

SEC("raw_tp/mm_vmscan_direct_reclaim_begin")
int BPF_PROG(direct_reclaim_begin)
{
    begin_stall(bpf_ktime_get_boot_ns(), UT_STALL_GLOBAL);
    return 0;
}

SEC("raw_tp/mm_vmscan_direct_reclaim_end")
int BPF_PROG(direct_reclaim_end)
{
    end_stall(true);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
