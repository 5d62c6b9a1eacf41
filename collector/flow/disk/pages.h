/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict walk over the pages of an LMDB data file (format 1, LMDB 0.9), with pread alone: it
 * cannot be killed by what it reads. LMDB itself believes every byte of its file; so this is done
 * before LMDB gets it.
 *
 * What is proven where it says 0, for the snapshot that LMDB would open: each page but the two meta
 * pages belongs to exactly one tree, value or list of free pages, or is the run of exactly one
 * large value; every page number, order of keys, size and count is right; every page in use lies
 * within the file (free ones need not: LMDB may never have written them). The values' own bytes are
 * not read: their records carry a checksum.
 *
 * LMDB's meta pages have no checksum. The two of them are of consecutive transactions; where they
 * are not, one of them was damaged or never written, and the last commit may be missing.
 */
#ifndef UT_FLOW_DISK_PAGES_H
#define UT_FLOW_DISK_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct ut_pages_report {
    const char *error;     /* with -EBADMSG: what, a constant text */
    uint64_t page;         /* … and on which page */
    bool commit_uncertain; /* the meta pages are not of consecutive transactions */
    uint64_t pages;        /* in all, both meta pages among them */
    uint64_t free;         /* listed as free */
    uint32_t page_size;
};

/* `fd` is open for reading. 0; -EBADMSG where the file is damaged; another negative errno where it
 * could not be read (-EIO: a bad sector). */
int ut_pages_check(int fd, struct ut_pages_report *report) UT_MUST_USE;

#endif
