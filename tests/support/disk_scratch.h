/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of a test's own, gone at its end with all that is in it. */
#ifndef UT_TEST_DISK_SCRATCH_H
#define UT_TEST_DISK_SCRATCH_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct disk_scratch {
    char path[PATH_MAX - 128]; /* exists, mode 0700 */
};

static inline int disk_scratch_remove(const char *path, const struct stat *info, int flag,
                                      struct FTW *ftw)
{
    (void)info;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void disk_scratch_done(struct disk_scratch *scratch)
{
    (void)nftw(scratch->path, disk_scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Below TMPDIR or /var/tmp, which is a disk where /tmp may not be. */
static inline void disk_scratch_init(struct disk_scratch *scratch)
{
    const char *parent = getenv("TMPDIR");
    if (parent == NULL)
        parent = "/var/tmp";
    (void)snprintf(scratch->path, sizeof(scratch->path), "%s/undertrace-disk-XXXXXX", parent);
    if (mkdtemp(scratch->path) == NULL)
        abort();
}

static inline const char *disk_scratch_file(const struct disk_scratch *scratch, const char *name,
                                            char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/%s", scratch->path, name);
    return out;
}

#endif
