/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check of a data file before it is used: in a child process, so that whatever the file does to
 * its reader happens to the child. The child takes the strict walk (pages.h), then opens the file
 * with LMDB itself, for reading, and steps through every key.
 */
#ifndef UT_FLOW_DISK_CHECK_H
#define UT_FLOW_DISK_CHECK_H

#include "flow/disk/pages.h"

#define UT_DISK_CHECK_TEXT 160

struct ut_disk_check {
    bool commit_uncertain;         /* see pages.h */
    char text[UT_DISK_CHECK_TEXT]; /* with -EBADMSG: what is wrong */
};

/* Blocks until the child is done. 0: sound; -EBADMSG: damaged; -ETIMEDOUT after `timeout_ms`; or
 * another negative errno where no child could be had or the file could not be opened. Called while
 * the process has one thread, or at least none that is inside malloc for good. */
int ut_disk_check(const char *path, int timeout_ms, struct ut_disk_check *ret) UT_MUST_USE;

#endif
