/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory many cgroups hold, in one system call (bpf/usage.bpf.c). Slots are pointed at
 * cgroups, and read together. The caller is the only one that runs the program.
 */
#ifndef UT_EBPF_USAGE_H
#define UT_EBPF_USAGE_H

#include <stdint.h>

#include "base/check.h"

struct ut_bpf; /* the skeleton */

/* The slot stands from now on for the cgroup whose directory this thread has open as `directory`,
 * which may be closed afterwards. 0; -ENODATA: the memory controller does not count it; -ENOSPC:
 * there is no such slot; errors of bpf(2). */
int ut_ebpf_usage_point(struct ut_bpf *skeleton, uint32_t slot, int directory) UT_MUST_USE;

/* Reads the slots below `count`: bytes, UINT64_MAX where the cgroup is gone or nothing was pointed
 * at; valid until the next call. 0 or as above; -EOPNOTSUPP before Linux 5.10. */
int ut_ebpf_usage_read(struct ut_bpf *skeleton, uint32_t count, const uint64_t **ret) UT_MUST_USE;

#endif
