/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the cgroup v2 hierarchy can be seen, and where in it a cgroup is that the kernel names by a
 * path (/proc/PID/cgroup). Paths and mounts are both told as seen from this process's cgroup
 * namespace (cgroup_namespaces(7)).
 */
#ifndef UT_BASE_CGROUP_MOUNT_H
#define UT_BASE_CGROUP_MOUNT_H

#include <stdbool.h>

#include "base/check.h"
#include "base/slice.h"

#define UT_CGROUP_MOUNT_PATH 1024

struct ut_cgroup_mount {
    char point[UT_CGROUP_MOUNT_PATH]; /* the directory it is mounted at */
    /* Which part of the hierarchy it shows: "/" from this namespace's top on, "/.." and the like
     * from above it, else from below it. */
    char part[UT_CGROUP_MOUNT_PATH];
};

/* From the text of a mountinfo file (proc(5)); of several mounts the one that shows most. 0,
 * -ENOENT, or -ENAMETOOLONG. */
int ut_cgroup_mount_find(struct ut_cgroup_mount *ret, ut_slice mountinfo) UT_MUST_USE;
/* The same of this process; -ENOMEM and errors of the file besides. */
int ut_cgroup_mount_read(struct ut_cgroup_mount *ret) UT_MUST_USE;

/* Where the memory controller counts: its v1 hierarchy where there is one (`*v1`), else v2. Paths
 * name the same groups in both, ids do not. As ut_cgroup_mount_find, and of this process. */
int ut_cgroup_mount_find_memory(struct ut_cgroup_mount *ret, bool *v1,
                                ut_slice mountinfo) UT_MUST_USE;
int ut_cgroup_mount_read_memory(struct ut_cgroup_mount *ret, bool *v1) UT_MUST_USE;

/* Writes the name of `file` in the directory of the cgroup at `path`; false: the mount does not
 * show it, or there is no room. */
bool ut_cgroup_mount_file(const struct ut_cgroup_mount *mount, ut_slice path, const char *file,
                          char *out, size_t room);

/* The id of the cgroup at `path`, which is its directory's inode; 0 where the mount does not show
 * it or it is gone. */
uint64_t ut_cgroup_mount_id(const struct ut_cgroup_mount *mount, ut_slice path);

#endif
