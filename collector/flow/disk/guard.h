/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens when reading a mapped file kills: a bad sector or a file that was cut under us is a
 * bus error, a page gone bad after the check at the start may be a segmentation fault. Neither can
 * be survived in the middle of LMDB. So the process ends with one line on stderr and a marker
 * beside the file; whoever starts next finds the marker and sets the file aside.
 *
 * A signal handler has no argument. What it must know is therefore kept in the thread: between
 * enter and leave, which file is being used. Everywhere else a signal does what it did before.
 */
#ifndef UT_FLOW_DISK_GUARD_H
#define UT_FLOW_DISK_GUARD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct ut_disk_guard {
    char marker[PATH_MAX]; /* of the file that tells of it */
    char line[PATH_MAX + 128];
};

/* `path` is the data file's. */
void ut_disk_guard_init(struct ut_disk_guard *guard, const char *path);
/* Watches SIGBUS and SIGSEGV from now on. Several calls are as good as one. */
void ut_disk_guard_watch(void);
/* This thread uses the file; not nested. */
void ut_disk_guard_enter(const struct ut_disk_guard *guard);
void ut_disk_guard_leave(void);
/* Ends the process as a signal would; for LMDB's own assertions. */
__attribute__((noreturn)) void ut_disk_guard_end(const struct ut_disk_guard *guard);

/* Whether an earlier process left the marker; takes it away. */
bool ut_disk_guard_take_marker(const struct ut_disk_guard *guard);

#endif
