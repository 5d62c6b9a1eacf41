// SPDX-License-Identifier: GPL-2.0
/*
 * How much memory cgroups hold, read where the kernel counts it: for many of them in one run, which
 * user space asks for (BPF_PROG_TEST_RUN; of raw tracepoints since 5.10). The files that tell the
 * same cost one system call each and touch a dozen cold lines of the kernel's; this touches two.
 *
 * A slot is pointed at a cgroup by the directory of it that user space has open. Nothing keeps the
 * cgroup from going away afterwards: so what is behind a slot's pointer is believed only while it
 * bears the number that it had, which no other ever gets, and is marked as online. It is read by
 * copies that may fail, never directly.
 */
#include "kernel_types.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define SLOTS 1024 /* a power of two */
#define GONE (~0ULL)

enum { CSS_ONLINE = 1 << 1 };

/* On the way from a task to what it has open. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct inode {
    void *i_private;
};

struct file {
    struct inode *f_inode;
};

struct fdtable {
    struct file **fd;
};

struct files_struct {
    struct fdtable *fdt;
};

#pragma clang attribute pop

/* Set by the loader. */
extern const volatile __u64 page_bytes;

/* What user space asks for. Either a directory, by its number among the open files of the task that
 * runs this: then `usage_slot` is pointed at it. Or −1: then the slots below `usage_count` are
 * read. */
int usage_directory = -1;
__u32 usage_slot = 0;
__u32 usage_count = 0;
/* Bytes, by slot; all ones: its cgroup is gone. */
__u64 usage_bytes[SLOTS] = {};

struct counted {
    __u64 memcg;
    __u64 serial;
};

/* Kernel addresses, so not where user space reads. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SLOTS);
    __type(key, __u32);
    __type(value, struct counted);
} usage_counters SEC(".maps");

/* The memory controller's side of the cgroup; NULL: the controller does not count it. */
static __always_inline const struct cgroup_subsys_state *find_memory(__u32 directory)
{
    const struct task_struct *task = (const void *)bpf_get_current_task();
    const char *files = (const char *)BPF_CORE_READ(task, files, fdt, fd);
    const struct cgroup_subsys_state *css = NULL;
    const struct file *file = NULL;
    __u64 index = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
    bpf_probe_read_kernel(&file, sizeof(file), files + (__u64)directory * sizeof(file));
    const struct kernfs_node *node = BPF_CORE_READ(file, f_inode, i_private);
    const struct cgroup *cgroup = BPF_CORE_READ(node, priv);
    bpf_probe_read_kernel(&css, sizeof(css),
                          (const char *)cgroup + bpf_core_field_offset(struct cgroup, subsys) +
                              index * sizeof(css));
    /* It may be no cgroup's directory at all. The root's counter is not what its file tells. */
    if (css == NULL || BPF_CORE_READ(css, cgroup) != cgroup || BPF_CORE_READ(css, parent) == NULL)
        return NULL;
    return css;
}

static __always_inline bool point_slot(__u32 slot, __u32 directory)
{
    struct counted *counted = bpf_map_lookup_elem(&usage_counters, &slot);
    const struct cgroup_subsys_state *css = find_memory(directory);
    if (counted == NULL)
        return false;
    counted->memcg = 0;
    if (css == NULL)
        return false;
    counted->serial = BPF_CORE_READ(css, serial_nr);
    counted->memcg = (__u64)css - bpf_core_field_offset(struct mem_cgroup, css);
    return true;
}

__noinline int read_slot(__u32 slot)
{
    const struct counted *counted = bpf_map_lookup_elem(&usage_counters, &slot);
    __u64 *bytes = &usage_bytes[slot % SLOTS];
    *bytes = GONE;
    if (counted == NULL || counted->memcg == 0)
        return 0;
    const struct mem_cgroup *memcg = (const void *)counted->memcg;
    if (BPF_CORE_READ(memcg, css.serial_nr) != counted->serial ||
        (BPF_CORE_READ(memcg, css.flags) & CSS_ONLINE) == 0)
        return 0;
    *bytes = (__u64)BPF_CORE_READ(memcg, memory.usage.counter) * page_bytes;
    return 0;
}

/* Returns 1 if what was asked for is done. */
SEC("raw_tp")
int memory_usage(void *ctx)
{
    if (usage_directory >= 0)
        return point_slot(usage_slot, (__u32)usage_directory);
    for (__u32 slot = 0; slot < SLOTS && slot < usage_count; slot++)
        read_slot(slot);
    return 1;
}

char LICENSE[] SEC("license") = "GPL";
