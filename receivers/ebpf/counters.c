/* SPDX-License-Identifier: Apache-2.0 */
#include "counters.h"

#include <stdio.h>

#include "programs.h"

static void count_by_type(struct ut_metrics *metrics, uint64_t *cells[UT_RECORD_TYPES],
                          const char *name, const char *help)
{
    static const char *const labels[UT_RECORD_TYPES] = {
        [UT_RECORD_RETRANSMIT] = "type=\"retransmit\"",
        [UT_RECORD_CONNECTION] = "type=\"connection\"",
        [UT_RECORD_CGROUP] = "type=\"cgroup\"",
        [UT_RECORD_OOM_KILL] = "type=\"oom_kill\"",
        [UT_RECORD_STALL] = "type=\"stall\"",
        [UT_RECORD_RESET] = "type=\"reset\"",
        [UT_RECORD_ZERO_WINDOW] = "type=\"zero_window\"",
        [UT_RECORD_RECEIVE_DROP] = "type=\"receive_drop\"",
        [UT_RECORD_LISTEN_OVERFLOW] = "type=\"listen_overflow\"",
        [UT_RECORD_UNDO] = "type=\"undo\"",
        [UT_RECORD_TRACE_IDS] = "type=\"trace_ids\"",
        [UT_RECORD_ALLOCATED] = "type=\"allocated\"",
        [UT_RECORD_HELD_BACK] = "type=\"held_back\"",
    };
    for (int type = 1; type < UT_RECORD_TYPES; type++)
        cells[type] = ut_metrics_counter(metrics, name, labels[type], help);
}

void ut_ebpf_counters_init(struct ut_ebpf_counters *counters, struct ut_metrics *metrics)
{
    count_by_type(metrics, counters->records, "undertrace_ebpf_records_total",
                  "Records read from the kernel's ring and its tables.");
    count_by_type(metrics, counters->limited, "undertrace_ebpf_rate_limited_total",
                  "Events that the rate limit of their cgroup held back.");
    count_by_type(metrics, counters->lost, "undertrace_ebpf_lost_total",
                  "Events that found no room in the ring or a table.");
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        char label[64];
        snprintf(label, sizeof(label), "program=\"%s\"", ut_ebpf_program_name(i));
        counters->missed[i] =
            ut_metrics_counter(metrics, "undertrace_ebpf_missed_runs_total", label,
                               "Runs that the kernel skipped because the program was at work on "
                               "that CPU; what they would have told is lost.");
    }
    counters->unowned = ut_metrics_counter(metrics, "undertrace_ebpf_unowned_total", "",
                                           "Events of sockets without a cgroup.");
    counters->bad = ut_metrics_counter(metrics, "undertrace_ebpf_bad_records_total", "",
                                       "Records of an unknown type, version or size.");
    counters->snapshot =
        ut_metrics_counter(metrics, "undertrace_ebpf_snapshot_connections_total", "",
                           "Connections that were open when the programs were attached, or whose "
                           "opening was lost.");
}
