/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that records go to: opened, written, rotated. No loop and no clock but the one that
 * names backups; called by one thread at a time, which may wait for the disk.
 *
 * A record is in the file whole or not at all: where the disk takes only a part of it, that part is
 * cut off again, and before it is nothing else is written. A pipe or a terminal cannot be cut: what
 * was left unfinished there is ended with a line feed, and the record comes again, whole, after it.
 *
 * A file that was moved or removed by somebody else is made anew under its name. It is locked
 * (flock) against a second writer.
 */
#ifndef UT_FILE_TARGET_H
#define UT_FILE_TARGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "file_exporter/settings.h"

#define UT_FILE_TEXT 320

struct ut_file_target {
    const struct ut_file_config *config;
    const atomic_bool *give_up; /* true: no longer wait for a reader */
    unsigned patience_ms;       /* how long a reader that takes nothing is waited for */
    int fd;                     /* -1: not open */
    bool is_regular;
    bool truncated;     /* `append: false` has been obeyed */
    bool torn;          /* a part of a record stands at the end */
    off_t size;         /* of a regular file, without that part */
    struct stat opened; /* as it was when it was opened: which file it is */
    uint64_t rotations;
};

void ut_file_target_init(struct ut_file_target *target, const struct ut_file_config *config,
                         const atomic_bool *give_up);
/* 0, or a negative errno and in `text` what could not be done. */
int ut_file_target_open(struct ut_file_target *target, char text[UT_FILE_TEXT]) UT_MUST_USE;
/* Appends the record, of `bytes` in all. 0: it is written; a negative errno: it is not, and `text`
 * says why. May be tried again after any error. */
int ut_file_target_write(struct ut_file_target *target, const struct iovec *runs, size_t count,
                         size_t bytes, char text[UT_FILE_TEXT]) UT_MUST_USE;
void ut_file_target_close(struct ut_file_target *target);

#endif
