/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <inttypes.h>

static void report_program(struct ut_log *log, const struct ut_ebpf_program *program)
{
    char reason[UT_EBPF_REASON + 32], without[256];
    ut_log_cause(log, UT_LOG_WARN, "ebpf_program_missing", program->name,
                 "program=%s effect=%s reason=%s", program->name,
                 ut_log_quote(without, sizeof(without), program->without),
                 ut_log_quote(reason, sizeof(reason), program->reason));
}

/* The first that was to work: where none does, its reason is mostly that of all. */
static const char *first_reason(const struct ut_ebpf_program states[UT_EBPF_PROGRAMS])
{
    int i = 0;
    while (i < UT_EBPF_PROGRAMS - 1 && states[i].unwanted)
        i++;
    return states[i].reason;
}

void ut_ebpf_report_programs(struct ut_log *log,
                             const struct ut_ebpf_program states[UT_EBPF_PROGRAMS])
{
    char reason[UT_EBPF_REASON + 32];
    int working = 0, missing = 0;
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        working += states[i].works;
        missing += !states[i].works && !states[i].unwanted;
    }
    if (missing == 0) {
        ut_log(log, UT_LOG_INFO, "ebpf_attached", "programs=%d", working);
        return;
    }
    if (working == 0) {
        ut_log(log, UT_LOG_WARN, "ebpf_unavailable",
               "effect=\"spans are forwarded without kernel evidence\" reason=%s",
               ut_log_quote(reason, sizeof(reason), first_reason(states)));
        return;
    }
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if (!states[i].works && !states[i].unwanted)
            report_program(log, &states[i]);
    }
}

void ut_ebpf_report_missing(struct ut_log *log, const struct ut_ebpf_missing *missing)
{
    ut_log(log, UT_LOG_WARN, "ebpf_records_missing",
           "no_room=%" PRIu64 " rate_limited=%" PRIu64 " skipped_runs=%" PRIu64
           " text=\"evidence of this time is marked as partial: everyone's where records found no "
           "room "
           "or runs were skipped, receivers.ebpf.ring_size makes room; else that of the workloads "
           "over "
           "their limits, retransmits_per_second and connections_per_second\"",
           missing->no_room, missing->rate_limited, missing->skipped_runs);
}
