/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel programs as this process holds them: opened with their settings, loaded, attached.
 *
 * All are loaded in one step. Only where that fails each is tried alone, to learn which one is to
 * blame and why, and the rest are loaded without it; so a program that cannot run here costs
 * nothing but itself, and where all can, nothing is loaded twice.
 */
#ifndef UT_EBPF_PROGRAMS_H
#define UT_EBPF_PROGRAMS_H

#include <stdint.h>

#include "base/check.h"
#include "base/log.h"
#include "bpf/records.h"
#include "doctor.h"
#include "features.h"
#include "tc.h"

struct ut_bpf; /* the skeleton */

/* By which way packets are seen. */
enum ut_ebpf_trace { UT_EBPF_BY_CGROUP = 1, UT_EBPF_BY_TC = 2 };

struct ut_ebpf_settings {
    size_t ring_bytes; /* a power of two, at least a page */
    /* Records a second and cgroup, by record type; 0: no limit. Twice as many may come at once. */
    uint64_t per_second[UT_RECORD_TYPES];
    bool memory;          /* load the programs of memory.bpf.c */
    bool allocations;     /* and that of allocations.bpf.c */
    int trace_context;    /* load the programs of trace_context.bpf.c: bits of enum ut_ebpf_trace */
    uint32_t max_sockets; /* that those follow at a time, and that may be in recovery at a time */
    struct ut_tc_settings tc; /* where trace_tc is attached; without lists: nowhere */
};

struct ut_ebpf_programs {
    struct ut_ebpf_program states[UT_EBPF_PROGRAMS];
    struct ut_bpf *skeleton; /* NULL: nothing could be loaded */
    struct ut_tc *tc;        /* NULL: no interface has a program */
    struct ut_ebpf_features features;
};

enum { /* indices of `states` */
       UT_EBPF_RETRANSMIT,
       UT_EBPF_SYNACK,
       UT_EBPF_CONNECTIONS,
       UT_EBPF_CGROUP_CREATED,
       UT_EBPF_CGROUP_REMOVED,
       UT_EBPF_SNAPSHOT,
       UT_EBPF_OOM_KILL,
       UT_EBPF_LIMIT_STALL_BEGIN,
       UT_EBPF_LIMIT_STALL_END,
       UT_EBPF_GLOBAL_STALL_BEGIN,
       UT_EBPF_GLOBAL_STALL_END,
       UT_EBPF_MEMORY_USAGE,
       UT_EBPF_RESET_SENT,
       UT_EBPF_RESET_RECEIVED,
       UT_EBPF_ZERO_WINDOW,
       UT_EBPF_RECEIVE_DROP,
       UT_EBPF_UNDO,
       UT_EBPF_SENT_STAMPS,
       UT_EBPF_SEND_BEGINS,
       UT_EBPF_SEND_ENDS, /* of use only with the one before */
       UT_EBPF_TRACE_SOCKETS,
       UT_EBPF_TRACE_RETRANSMIT, /* behind RETRANSMIT: its records come in this order */
       UT_EBPF_TRACE_EGRESS,
       UT_EBPF_TRACE_TC,
       UT_EBPF_TRACE_READER,
       UT_EBPF_ALLOCATIONS,
       UT_EBPF_COOKIE_MADE, /* both only where the kernel tells the others no cookies */
       UT_EBPF_COOKIE_ACCEPTED,
};

const char *ut_ebpf_program_name(int index); /* as in `states` */

/* Loads what can be loaded and attaches it; never fails, `states` tells. The snapshot's program
 * and that of memory usage are only loaded: they run when they are asked. `log` gets the verifier's
 * words at debug level. */
void ut_ebpf_programs_init(struct ut_ebpf_programs *programs,
                           const struct ut_ebpf_settings *settings, struct ut_log *log);
void ut_ebpf_programs_done(struct ut_ebpf_programs *programs);

/* Tries every program and lets it go again; `wanted` tells only which of them have an `option`. */
void ut_ebpf_programs_probe(const struct ut_ebpf_settings *wanted,
                            struct ut_ebpf_program ret[UT_EBPF_PROGRAMS]);

/* How often the kernel skipped each program, since it was loaded, because one was running on that
 * CPU already: such an event leaves nothing but this count (kernel commit 9ed9e9ba2337, 5.12; 0
 * where the kernel does not tell). */
void ut_ebpf_programs_missed(const struct ut_ebpf_programs *programs,
                             uint64_t ret[UT_EBPF_PROGRAMS]);

/* 0 if no record can ever come; else the number of programs that work. */
int ut_ebpf_programs_working(const struct ut_ebpf_programs *programs);

#endif
