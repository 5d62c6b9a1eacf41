/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kernel programs there are, of what kinds, and which of them settings and the running kernel
 * ask for. For programs.c, which loads them.
 */
#ifndef UT_EBPF_CATALOGUE_H
#define UT_EBPF_CATALOGUE_H

#include "features.h"
#include "programs.h"

enum { /* sets of programs, as bits */
       UT_EBPF_COOKIE_PROGRAMS = 1 << UT_EBPF_COOKIE_MADE | 1 << UT_EBPF_COOKIE_ACCEPTED,
       /* Those that go to the root of the cgroups. */
       UT_EBPF_ROOT_PROGRAMS = 1 << UT_EBPF_TRACE_EGRESS | UT_EBPF_COOKIE_PROGRAMS,
       UT_EBPF_NET_ADMIN_PROGRAMS = UT_EBPF_ROOT_PROGRAMS | 1 << UT_EBPF_TRACE_TC,
       /* Those of tracepoints that need no types of their arguments. */
       UT_EBPF_RAW_PROGRAMS =
           1 << UT_EBPF_RETRANSMIT | 1 << UT_EBPF_SYNACK | 1 << UT_EBPF_CONNECTIONS |
           1 << UT_EBPF_CGROUP_CREATED | 1 << UT_EBPF_CGROUP_REMOVED | 1 << UT_EBPF_OOM_KILL |
           1 << UT_EBPF_LIMIT_STALL_BEGIN | 1 << UT_EBPF_LIMIT_STALL_END |
           1 << UT_EBPF_GLOBAL_STALL_BEGIN | 1 << UT_EBPF_GLOBAL_STALL_END |
           1 << UT_EBPF_RESET_SENT | 1 << UT_EBPF_RESET_RECEIVED | 1 << UT_EBPF_ZERO_WINDOW |
           1 << UT_EBPF_RECEIVE_DROP | 1 << UT_EBPF_UNDO | 1 << UT_EBPF_ALLOCATIONS,
};

static inline bool ut_ebpf_is_one_of(int index, int set)
{
    return (set >> index & 1) != 0;
}

/* Every program's name, release and use, with nothing yet of what became of it. */
void ut_ebpf_catalogue_read(struct ut_ebpf_program ret[UT_EBPF_PROGRAMS]);

/* The programs that are of use, as bits. */
int ut_ebpf_catalogue_wanted(const struct ut_ebpf_settings *settings,
                             const struct ut_ebpf_features *features);

/* The setting that asks for a program (constant); NULL: it is always asked for. */
const char *ut_ebpf_catalogue_option(int index);

#endif
