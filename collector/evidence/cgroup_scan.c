/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree is walked depth first with one open directory a level. It changes while it is read: what
 * vanishes on the way is passed over, and what is made meanwhile comes by its own record.
 */
#include "evidence/cgroup_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup_mount.h"

enum {
    DEPTH_MAX = 32,
    ROOT_ID = 1, /* of the whole hierarchy; no other cgroup has it */
};

/* ---- the walk ------------------------------------------------------------------------------- */

struct walk {
    struct ut_workloads *workloads;
    uint64_t now_ns;
    char path[UT_WORKLOAD_PATH_MAX]; /* of the directory at hand; "" is the hierarchy's root */
    size_t path_size;
    DIR *stack[DEPTH_MAX];
    size_t path_sizes[DEPTH_MAX];
    int depth;
    uint32_t seen;
    bool whole; /* its root is the hierarchy's */
};

static int enter(struct walk *walk, int fd)
{
    struct stat status;
    DIR *directory = NULL;
    if (fstat(fd, &status) == 0)
        directory = fdopendir(fd);
    if (directory == NULL) {
        int error = -errno;
        close(fd);
        return error;
    }
    ut_slice path = walk->path_size > 0 ? ut_slice_of(walk->path, walk->path_size) : UT_SLICE("/");
    ut_workloads_created(walk->workloads, status.st_ino, path, walk->now_ns);
    walk->whole |= status.st_ino == ROOT_ID;
    walk->seen++;
    walk->stack[walk->depth] = directory;
    walk->path_sizes[walk->depth++] = walk->path_size;
    return 0;
}

static void descend(struct walk *walk, DIR *parent, const char *name)
{
    size_t name_size = strlen(name);
    if (walk->depth == DEPTH_MAX || walk->path_size + 1 + name_size >= sizeof(walk->path))
        return;
    int fd = openat(dirfd(parent), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    walk->path[walk->path_size] = '/';
    memcpy(walk->path + walk->path_size + 1, name, name_size);
    walk->path_size += 1 + name_size;
    if (enter(walk, fd) != 0)
        walk->path_size -= 1 + name_size;
}

static void walk_tree(struct walk *walk)
{
    while (walk->depth > 0 && walk->seen <= UT_CGROUPS_MAX) {
        DIR *directory = walk->stack[walk->depth - 1];
        walk->path_size = walk->path_sizes[walk->depth - 1];
        struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            closedir(directory);
            walk->depth--;
        } else if (entry->d_type == DT_DIR && strcmp(entry->d_name, ".") != 0 &&
                   strcmp(entry->d_name, "..") != 0) {
            descend(walk, directory, entry->d_name);
        }
    }
    while (walk->depth > 0)
        closedir(walk->stack[--walk->depth]);
}

/* "" for the whole hierarchy, else the path that the mount's top has in it. */
static const char *prefix_of(const struct ut_cgroup_mount *mount)
{
    bool whole = strcmp(mount->part, "/") == 0 || strncmp(mount->part, "/..", 3) == 0;
    return whole ? "" : mount->part;
}

int ut_cgroup_scan(struct ut_workloads *workloads, const char *root, uint64_t now_ns)
{
    struct ut_cgroup_mount found;
    const char *prefix = "";
    if (root == NULL) {
        int error = ut_cgroup_mount_read(&found);
        if (error != 0)
            return error;
        root = found.point;
        prefix = prefix_of(&found);
    }
    struct walk walk = {.workloads = workloads, .now_ns = now_ns, .path_size = strlen(prefix)};
    if (walk.path_size >= sizeof(walk.path))
        return -ENAMETOOLONG;
    memcpy(walk.path, prefix, walk.path_size);
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ut_workloads_scan_begin(workloads);
    int error = enter(&walk, fd);
    if (error == 0)
        walk_tree(&walk);
    if (error == 0 && walk.seen > UT_CGROUPS_MAX)
        error = -E2BIG;
    workloads->seen = walk.seen;
    ut_workloads_scan_end(workloads,
                          error != 0   ? UT_SCAN_BROKEN
                          : walk.whole ? UT_SCAN_WHOLE
                                       : UT_SCAN_PART,
                          now_ns);
    return error;
}
