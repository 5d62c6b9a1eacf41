/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree is walked depth first with one open directory a level. It changes while it is read: what
 * vanishes on the way is passed over, and what is made meanwhile comes by its own record.
 */
#include "evidence/cgroup_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 32, MOUNTINFO_MAX = 1 << 20 };

/* ---- mountinfo ------------------------------------------------------------------------------ */

static ut_slice next_word(ut_slice *line)
{
    size_t end = 0;
    while (end < line->size && line->data[end] != ' ')
        end++;
    ut_slice word = ut_slice_of(line->data, end);
    size_t used = end < line->size ? end + 1 : end;
    *line = ut_slice_of(line->data + used, line->size - used);
    return word;
}

/* mountinfo writes blanks and the like as \ooo. */
static bool unescape(char out[UT_CGROUP_ROOT_MAX], ut_slice text)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (size + 1 >= UT_CGROUP_ROOT_MAX)
            return false;
        unsigned c = text.data[i];
        if (c == '\\' && i + 3 < text.size) {
            c = (unsigned)((text.data[i + 1] & 7) << 6 | (text.data[i + 2] & 7) << 3 |
                           (text.data[i + 3] & 7));
            i += 3;
        }
        out[size++] = (char)c;
    }
    out[size] = '\0';
    return true;
}

struct mount {
    ut_slice part, point;
};

/* Fields: id, parent, device, part of the file system, mount point, options, optional fields, "-",
 * type, source, super options. */
static bool read_mount(struct mount *ret, ut_slice line)
{
    for (int i = 0; i < 3; i++)
        next_word(&line);
    ret->part = next_word(&line);
    ret->point = next_word(&line);
    while (line.size > 0) {
        if (ut_slice_equal(next_word(&line), UT_SLICE("-")))
            return ut_slice_equal(next_word(&line), UT_SLICE("cgroup2"));
    }
    return false;
}

/* How little of the hierarchy a mount shows: a part such as "/../.." lies above this process's
 * cgroup namespace, "/" is the namespace's own top, anything else lies below that. */
static size_t narrowness(ut_slice part)
{
    return ut_slice_starts(part, UT_SLICE("/..")) ? 0 : part.size;
}

static ut_slice next_line(ut_slice *text)
{
    size_t end = 0;
    while (end < text->size && text->data[end] != '\n')
        end++;
    ut_slice line = ut_slice_of(text->data, end);
    size_t used = end < text->size ? end + 1 : end;
    *text = ut_slice_of(text->data + used, text->size - used);
    return line;
}

int ut_cgroup_find_mount(ut_slice mountinfo, char root[UT_CGROUP_ROOT_MAX],
                         char prefix[UT_CGROUP_ROOT_MAX])
{
    struct mount best = {0};
    size_t narrowest = SIZE_MAX;
    while (mountinfo.size > 0) {
        struct mount mount;
        if (read_mount(&mount, next_line(&mountinfo)) && narrowness(mount.part) < narrowest) {
            best = mount;
            narrowest = narrowness(mount.part);
        }
    }
    if (narrowest == SIZE_MAX)
        return -ENOENT;
    ut_slice part = narrowest <= 1 ? (ut_slice){NULL, 0} : best.part;
    return unescape(root, best.point) && unescape(prefix, part) ? 0 : -ENAMETOOLONG;
}

static int find_mount(char root[UT_CGROUP_ROOT_MAX], char prefix[UT_CGROUP_ROOT_MAX])
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (file == NULL)
        return -errno;
    char *text = malloc(MOUNTINFO_MAX);
    size_t size = text != NULL ? fread(text, 1, MOUNTINFO_MAX, file) : 0;
    fclose(file);
    int result =
        text != NULL ? ut_cgroup_find_mount(ut_slice_of(text, size), root, prefix) : -ENOMEM;
    free(text);
    return result;
}

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

int ut_cgroup_scan(struct ut_workloads *workloads, const char *root, uint64_t now_ns)
{
    char found[UT_CGROUP_ROOT_MAX], prefix[UT_CGROUP_ROOT_MAX] = "";
    if (root == NULL) {
        int error = find_mount(found, prefix);
        if (error != 0)
            return error;
        root = found;
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
    ut_workloads_scan_end(workloads, error == 0, now_ns);
    return error;
}
