// SPDX-License-Identifier: GPL-2.0
/*
 * Cgroups that come and go, with their paths, so that an id can be named also after its cgroup is
 * gone. Only the v2 hierarchy: the numbers of the v1 ones overlap with its ids.
 *
 * Both tracepoints fire in the task that made or removed the directory; its cgroup's rate limit is
 * the one that counts, so that a container with a delegated subtree cannot flood the ring.
 */
#include "output.bpf.h"

#include <bpf/bpf_tracing.h>

static __always_inline void record_cgroup(struct cgroup *cgroup, const char *path, __u32 change)
{
    if (BPF_CORE_READ(cgroup, root, hierarchy_id) != 0)
        return;
    __u64 id = BPF_CORE_READ(cgroup, kn, id);
    struct ut_record_cgroup *record =
        begin_record(UT_RECORD_CGROUP, sizeof(*record), id, bpf_get_current_cgroup_id());
    if (record == NULL)
        return;
    record->change = change;
    __builtin_memset(record->path, 0, sizeof(record->path));
    long read = bpf_probe_read_kernel_str(record->path, sizeof(record->path), path);
    /* A full buffer may hold a path that was cut, which would be the name of another cgroup. */
    bool whole = read > 1 && read < (long)sizeof(record->path);
    record->path_size = whole ? (ut_u32)(read - 1) : 0;
    end_record(record);
}

SEC("raw_tp/cgroup_mkdir")
int BPF_PROG(cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
    record_cgroup(cgroup, path, UT_CGROUP_CREATED);
    return 0;
}

SEC("raw_tp/cgroup_rmdir")
int BPF_PROG(cgroup_rmdir, struct cgroup *cgroup, const char *path)
{
    record_cgroup(cgroup, path, UT_CGROUP_REMOVED);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
