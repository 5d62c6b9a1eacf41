/* SPDX-License-Identifier: Apache-2.0 */
#include "file_exporter/backups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    STAMP_SIZE = 23,       /* "2026-11-21T10-30-00.000" */
    STAMP_ROOM = 40,       /* what the compiler wants to be sure of */
    NAMES_TRIED = 1000,    /* milliseconds; more backups are not made in one second */
    BACKUPS_MAX = 1 << 17, /* looked at in one directory */
    MS_PER_S = 1000,
    MS_PER_DAY = 86400 * 1000,
};

/* A path in parts: directory with its slash, name, extension with its point. */
struct parts {
    const char *path;
    int directory, stem; /* sizes */
    const char *name, *extension;
};

static struct parts split(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct parts parts = {.path = path, .name = slash != NULL ? slash + 1 : path};
    const char *point = strrchr(parts.name, '.');
    parts.extension = point != NULL ? point : parts.name + strlen(parts.name);
    parts.directory = (int)(parts.name - path);
    parts.stem = (int)(parts.extension - parts.name);
    return parts;
}

static void write_stamp(char out[STAMP_ROOM], uint64_t unix_ms, bool localtime)
{
    time_t seconds = (time_t)(unix_ms / MS_PER_S);
    struct tm tm = {0};
    if (localtime)
        (void)localtime_r(&seconds, &tm);
    else
        (void)gmtime_r(&seconds, &tm);
    size_t size = strftime(out, STAMP_ROOM, "%Y-%m-%dT%H-%M-%S", &tm);
    (void)snprintf(out + size, STAMP_ROOM - size, ".%03u", (unsigned)(unix_ms % MS_PER_S));
}

int ut_file_backup(const char *path, uint64_t unix_ms, bool localtime)
{
    struct parts parts = split(path);
    char stamp[STAMP_ROOM], to[PATH_MAX];
    for (int i = 0; i < NAMES_TRIED; i++) {
        write_stamp(stamp, unix_ms + (uint64_t)i, localtime);
        int size = snprintf(to, sizeof(to), "%.*s%.*s-%s%s", parts.directory, path, parts.stem,
                            parts.name, stamp, parts.extension);
        if (size >= (int)sizeof(to))
            return -ENAMETOOLONG;
        /* Only to a name that is free, where the file system knows how; else the old way. */
        if (renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno == EINVAL && access(to, F_OK) != 0)
            return rename(path, to) == 0 ? 0 : -errno;
        if (errno != EEXIST && errno != EINVAL)
            return -errno;
    }
    return -EEXIST;
}

/* ---- pruning --------------------------------------------------------------------------------- */

struct backups {
    char (*stamps)[STAMP_SIZE + 1];
    size_t count, room;
};

static bool is_stamp(const char *text)
{
    static const char form[] = "dddd-dd-ddTdd-dd-dd.ddd";
    for (int i = 0; i < STAMP_SIZE; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (form[i] == 'd' ? !digit : text[i] != form[i])
            return false;
    }
    return true;
}

/* The stamp in the name of a backup of ours; NULL: it is another file. */
static const char *stamp_of(const struct parts *parts, const char *name)
{
    size_t size = strlen(name), stem = (size_t)parts->stem;
    if (size != stem + 1 + STAMP_SIZE + strlen(parts->extension) ||
        memcmp(name, parts->name, stem) != 0 || name[stem] != '-')
        return NULL;
    const char *stamp = name + stem + 1;
    return is_stamp(stamp) && strcmp(stamp + STAMP_SIZE, parts->extension) == 0 ? stamp : NULL;
}

static bool add(struct backups *backups, const char *stamp)
{
    if (backups->count == backups->room) {
        size_t room = backups->room == 0 ? 64 : backups->room * 2;
        void *larger = room > BACKUPS_MAX
                           ? NULL
                           : reallocarray(backups->stamps, room, sizeof(*backups->stamps));
        if (larger == NULL)
            return false;
        backups->stamps = larger;
        backups->room = room;
    }
    char *to = backups->stamps[backups->count++];
    memcpy(to, stamp, STAMP_SIZE);
    to[STAMP_SIZE] = '\0';
    return true;
}

static void find(struct backups *backups, const struct parts *parts, DIR *directory)
{
    for (;;) {
        const struct dirent *entry = readdir(directory);
        if (entry == NULL)
            return;
        const char *stamp = stamp_of(parts, entry->d_name);
        if (stamp != NULL && !add(backups, stamp))
            return;
    }
}

static int newest_first(const void *a, const void *b)
{
    return strcmp(b, a);
}

static void drop(const struct parts *parts, const char *stamp)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof(path), "%.*s%.*s-%s%s", parts->directory, parts->path,
                        parts->stem, parts->name, stamp, parts->extension);
    if (size < (int)sizeof(path))
        (void)unlink(path);
}

void ut_file_prune(const char *path, const struct ut_file_rotation *rotation, uint64_t unix_ms)
{
    struct parts parts = split(path);
    struct backups backups = {0};
    char folder[PATH_MAX], oldest[STAMP_ROOM] = "";
    (void)snprintf(folder, sizeof(folder), "%.*s", parts.directory, path);
    DIR *directory = opendir(parts.directory > 0 ? folder : ".");
    if (directory == NULL)
        return;
    find(&backups, &parts, directory);
    (void)closedir(directory);
    if (rotation->max_days != 0 && unix_ms > rotation->max_days * MS_PER_DAY)
        write_stamp(oldest, unix_ms - rotation->max_days * MS_PER_DAY, rotation->localtime);
    if (backups.count > 0)
        qsort(backups.stamps, backups.count, sizeof(*backups.stamps), newest_first);
    for (size_t i = 0; i < backups.count; i++) {
        bool many = rotation->max_backups != 0 && i >= rotation->max_backups;
        if (many || strcmp(backups.stamps[i], oldest) < 0)
            drop(&parts, backups.stamps[i]);
    }
    free(backups.stamps);
}
