/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cgroup_mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MOUNTINFO_MAX = 1 << 20 };

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
static bool unescape(char out[UT_CGROUP_MOUNT_PATH], ut_slice text)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (size + 1 >= UT_CGROUP_MOUNT_PATH)
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
static bool has_option(ut_slice options, ut_slice wanted)
{
    while (options.size > 0) {
        size_t end = 0;
        while (end < options.size && options.data[end] != ',')
            end++;
        if (ut_slice_equal(ut_slice_of(options.data, end), wanted))
            return true;
        size_t used = end < options.size ? end + 1 : end;
        options = ut_slice_of(options.data + used, options.size - used);
    }
    return false;
}

/* `controller`: of the v1 hierarchy that is meant; empty: v2. */
static bool is_meant(ut_slice rest, ut_slice controller)
{
    ut_slice type = next_word(&rest);
    if (controller.size == 0)
        return ut_slice_equal(type, UT_SLICE("cgroup2"));
    next_word(&rest); /* source */
    return ut_slice_equal(type, UT_SLICE("cgroup")) && has_option(next_word(&rest), controller);
}

static bool read_mount(struct mount *ret, ut_slice line, ut_slice controller)
{
    for (int i = 0; i < 3; i++)
        next_word(&line);
    ret->part = next_word(&line);
    ret->point = next_word(&line);
    while (line.size > 0) {
        if (ut_slice_equal(next_word(&line), UT_SLICE("-")))
            return is_meant(line, controller);
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

static int find(struct ut_cgroup_mount *ret, ut_slice mountinfo, ut_slice controller)
{
    struct mount best = {0};
    size_t narrowest = SIZE_MAX;
    while (mountinfo.size > 0) {
        struct mount mount;
        if (read_mount(&mount, next_line(&mountinfo), controller) &&
            narrowness(mount.part) < narrowest) {
            best = mount;
            narrowest = narrowness(mount.part);
        }
    }
    if (narrowest == SIZE_MAX)
        return -ENOENT;
    return unescape(ret->point, best.point) && unescape(ret->part, best.part) ? 0 : -ENAMETOOLONG;
}

int ut_cgroup_mount_find(struct ut_cgroup_mount *ret, ut_slice mountinfo)
{
    return find(ret, mountinfo, UT_SLICE(""));
}

int ut_cgroup_mount_find_memory(struct ut_cgroup_mount *ret, bool *v1, ut_slice mountinfo)
{
    int error = find(ret, mountinfo, UT_SLICE("memory"));
    *v1 = error != -ENOENT;
    return *v1 ? error : find(ret, mountinfo, UT_SLICE(""));
}

/* This process's mountinfo, to be freed; NULL with errno. */
static char *read_mountinfo(size_t *ret_size)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *text = file != NULL ? malloc(MOUNTINFO_MAX) : NULL;
    *ret_size = text != NULL ? fread(text, 1, MOUNTINFO_MAX, file) : 0;
    int error = errno;
    if (file != NULL)
        fclose(file);
    errno = error;
    return text;
}

int ut_cgroup_mount_read(struct ut_cgroup_mount *ret)
{
    size_t size;
    char *text = read_mountinfo(&size);
    if (text == NULL)
        return -errno;
    int result = ut_cgroup_mount_find(ret, ut_slice_of(text, size));
    free(text);
    return result;
}

int ut_cgroup_mount_read_memory(struct ut_cgroup_mount *ret, bool *v1)
{
    size_t size;
    char *text = read_mountinfo(&size);
    if (text == NULL)
        return -errno;
    int result = ut_cgroup_mount_find_memory(ret, v1, ut_slice_of(text, size));
    free(text);
    return result;
}

/* What is left of `path` below the part that is mounted. A path that leads out of it again, or lies
 * beside it, cannot be told. */
static bool below(const char *part, ut_slice path, ut_slice *ret)
{
    size_t size = strcmp(part, "/") == 0 ? 0 : strlen(part);
    if (!ut_slice_starts(path, ut_slice_of(part, size)))
        return false;
    *ret = ut_slice_of(path.data + size, path.size - size);
    return ret->size == 0 || (ret->data[0] == '/' && !ut_slice_starts(*ret, UT_SLICE("/..")));
}

uint64_t ut_cgroup_mount_id(const struct ut_cgroup_mount *mount, ut_slice path)
{
    char directory[2 * UT_CGROUP_MOUNT_PATH + 2];
    struct stat info;
    ut_slice rest;
    if (path.size == 0 || path.size > UT_CGROUP_MOUNT_PATH || !below(mount->part, path, &rest))
        return 0;
    int length = snprintf(directory, sizeof(directory), "%s%.*s", mount->point, (int)rest.size,
                          (const char *)rest.data);
    if (length < 0 || (size_t)length >= sizeof(directory) || lstat(directory, &info) != 0)
        return 0;
    return S_ISDIR(info.st_mode) ? info.st_ino : 0;
}

bool ut_cgroup_mount_file(const struct ut_cgroup_mount *mount, ut_slice path, const char *file,
                          char *out, size_t room)
{
    ut_slice rest;
    bool whole = ut_slice_starts(ut_slice_str(mount->part), UT_SLICE("/.."));
    if (whole)
        rest = path;
    else if (!below(mount->part, path, &rest))
        return false;
    int length = snprintf(out, room, "%s%.*s/%s", mount->point, (int)rest.size,
                          (const char *)rest.data, file);
    return length > 0 && (size_t)length < room;
}
