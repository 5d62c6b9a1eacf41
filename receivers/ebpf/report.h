/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the receiver says in the log of its programs and of records that are missing: what works,
 * what does not, what that costs and what would help. Pure but for the log.
 */
#ifndef UT_EBPF_REPORT_H
#define UT_EBPF_REPORT_H

#include <stdint.h>

#include "base/log.h"
#include "doctor.h"

/* Once, behind the attaching. Each program that does not work has its line, however many they are;
 * those that are not wanted have none. */
void ut_ebpf_report_programs(struct ut_log *log,
                             const struct ut_ebpf_program states[UT_EBPF_PROGRAMS]);

/* Events that left no record, by what became of them. */
struct ut_ebpf_missing {
    uint64_t no_room, rate_limited, skipped_runs;
};

void ut_ebpf_report_missing(struct ut_log *log, const struct ut_ebpf_missing *missing);

#endif
