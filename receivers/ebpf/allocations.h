/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes what the kernel program of allocations.bpf.c has added up. There are two sets of sums; each
 * call reads the one that has been idle since the call before, and changes them. So what is read is
 * whole, and belongs to the window between the calls before and before that.
 */
#ifndef UT_EBPF_ALLOCATIONS_H
#define UT_EBPF_ALLOCATIONS_H

#include <stdint.h>

#include "base/check.h"
#include "base/log.h"
#include "bpf/records.h"

struct ut_bpf; /* the skeleton */

struct ut_ebpf_allocations {
    uint64_t began_ns, ended_ns; /* of the window that the idle set is of; boot time; 0: of none */
    uint64_t turned_ns;          /* when the window began that goes on */
    void *per_cpu;               /* room for a reading of all CPUs */
    int cpus;
    uint64_t page_bytes;
    struct ut_log *log;
};

/* 0 or -ENOMEM. `log` is borrowed. */
int ut_ebpf_allocations_init(struct ut_ebpf_allocations *allocations, int cpus,
                             struct ut_log *log) UT_MUST_USE;
void ut_ebpf_allocations_done(struct ut_ebpf_allocations *allocations);

/* Hands over the records of the window before, its closing one last. Windows are 90 ms long at
 * least, because each of them is kept: called too early it does nothing. */
void ut_ebpf_take_allocations(struct ut_ebpf_allocations *allocations, struct ut_bpf *skeleton,
                              void (*record)(void *arg, const struct ut_record_header *record),
                              void *arg);

#endif
