/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's sums of stalls (bpf/memory.bpf.c). There are two tables of them: the programs write
 * one while the other is read and emptied, so that no sum is lost between the two. What a program
 * adds is therefore told by the second call of ut_ebpf_take_stalls after it.
 */
#ifndef UT_EBPF_STALLS_H
#define UT_EBPF_STALLS_H

#include "base/check.h"
#include "bpf/records.h"

struct ut_bpf; /* the skeleton */

/* Hands over each sum of the table that is not being written, empties it and changes the tables.
 * 0 or a negative errno; then what was not read stays for the next time. To be called at most every
 * few milliseconds: a program may have just begun to write. */
int ut_ebpf_take_stalls(struct ut_bpf *skeleton,
                        void (*record)(void *arg, const struct ut_record_header *record),
                        void *arg) UT_MUST_USE;

#endif
