/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the cgroup v2 tree into the workload table. The layer's only look at the system. */
#ifndef UT_EVIDENCE_CGROUP_SCAN_H
#define UT_EVIDENCE_CGROUP_SCAN_H

#include "evidence/workloads.h"

/* Tells the table of every directory below `root` (NULL: found through /proc/self/mountinfo),
 * itself among them; its inode is the cgroup's id. 0 or a negative errno; what was read until then
 * is in the table, but nothing is taken out of it. */
int ut_cgroup_scan(struct ut_workloads *workloads, const char *root, uint64_t now_ns) UT_MUST_USE;

#endif
