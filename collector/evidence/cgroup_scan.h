/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the cgroup v2 tree into the workload table. The layer's only look at the system. */
#ifndef UT_EVIDENCE_CGROUP_SCAN_H
#define UT_EVIDENCE_CGROUP_SCAN_H

#include "evidence/workloads.h"

#define UT_CGROUP_ROOT_MAX 1024

/* Where the cgroup v2 hierarchy is mounted and which part of it, from the text of a mountinfo file
 * (proc(5)); of several mounts the one that shows most. `prefix` is "" for the whole hierarchy,
 * else the path that the mount's top has in it. 0, -ENOENT, or -ENAMETOOLONG. */
int ut_cgroup_find_mount(ut_slice mountinfo, char root[UT_CGROUP_ROOT_MAX],
                         char prefix[UT_CGROUP_ROOT_MAX]) UT_MUST_USE;

/* Tells the table of every directory below `root` (NULL: found through /proc/self/mountinfo),
 * itself among them; its inode is the cgroup's id. 0 or a negative errno; what was read until then
 * is in the table, but nothing is taken out of it. */
int ut_cgroup_scan(struct ut_workloads *workloads, const char *root, uint64_t now_ns) UT_MUST_USE;

#endif
