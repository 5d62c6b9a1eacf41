/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a disk hold: whether it is fit for one, locked against a second process, and
 * where a damaged file is put.
 *
 *     DIRECTORY/hold.lock                 locked (flock) while a process has the hold open
 *     DIRECTORY/hold.mdb                  LMDB's file; hold.mdb-lock is LMDB's own
 *     DIRECTORY/hold.mdb.new              one that is being made, with its hold.mdb.new-lock;
 *                                         the next start removes what a crash left of it
 *     DIRECTORY/hold.mdb.bad              the marker of guard.h
 *     DIRECTORY/hold.mdb.damaged-TIME     set aside; never read or removed by us
 *     DIRECTORY/damaged-SEQUENCE          a value whose record was damaged, set aside
 */
#ifndef UT_FLOW_DISK_DIRECTORY_H
#define UT_FLOW_DISK_DIRECTORY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

#define UT_DISK_ERROR_TEXT 256
/* Longest path of a directory, so that the names in it have room. */
#define UT_DISK_PATH_MAX (PATH_MAX - 64)
/* Values that are set aside in one directory; beyond it they are counted only. */
#define UT_DISK_ASIDE_MAX 64

struct ut_disk_directory {
    char path[UT_DISK_PATH_MAX];
    int fd;      /* of the directory; -1: not open */
    int lock_fd; /* -1: not locked */
};

/* Makes the directory (one level, mode 0700) where it is missing, checks it and locks it.
 * `durable`: what is synced must be on a disk of this machine. On failure a negative errno, in
 * `error` what to do about it, and nothing is open. */
int ut_disk_directory_open(struct ut_disk_directory *directory, const char *path, bool durable,
                           char error[UT_DISK_ERROR_TEXT]) UT_MUST_USE;
void ut_disk_directory_close(struct ut_disk_directory *directory);

/* Whether the file system has room for `bytes` beside what the data file takes already; -ENOSPC
 * with a text. */
int ut_disk_directory_has_room(const struct ut_disk_directory *directory, uint64_t bytes,
                               char error[UT_DISK_ERROR_TEXT]) UT_MUST_USE;

/* "DIRECTORY/name" */
void ut_disk_directory_name(const struct ut_disk_directory *directory, const char *name,
                            char out[PATH_MAX]);
/* Names changed in the directory are on the disk when it returns 0. */
int ut_disk_directory_sync(const struct ut_disk_directory *directory) UT_MUST_USE;
/* Moves the data file out of the way; its new path in `ret`. */
int ut_disk_directory_set_aside(const struct ut_disk_directory *directory,
                                char ret[PATH_MAX]) UT_MUST_USE;
/* Keeps the bytes of a damaged value, if there is room for one more. */
void ut_disk_directory_keep(const struct ut_disk_directory *directory, uint64_t sequence,
                            ut_slice bytes);

#endif
