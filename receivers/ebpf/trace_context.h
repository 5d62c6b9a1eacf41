/* SPDX-License-Identifier: Apache-2.0 */
/* User space's part of bpf/trace_context.bpf.c: its settings and what it counted. */
#ifndef UT_EBPF_TRACE_CONTEXT_H
#define UT_EBPF_TRACE_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "bpf/trace_counters.h"
#include "config/field.h"
#include "telemetry/metrics.h"

struct ut_ebpf_programs;

enum ut_trace_attach { UT_TRACE_ATTACH_CGROUP, UT_TRACE_ATTACH_TC };

struct ut_trace_context_config {
    bool enabled;
    int attach; /* enum ut_trace_attach */
    uint64_t max_sockets;
    struct ut_strings interfaces, namespaces; /* as in tc.h */
};

extern const struct ut_field ut_trace_context_fields[];
void ut_trace_context_check(const struct ut_trace_context_config *config,
                            struct ut_config_report *report);
int ut_trace_context_ways(const struct ut_trace_context_config *config); /* enum ut_ebpf_trace */
bool ut_trace_context_same(const struct ut_trace_context_config *a,
                           const struct ut_trace_context_config *b);
/* Makes the lists of a plain copy its own; false where there is no memory, with none of them. */
bool ut_trace_context_own(struct ut_trace_context_config *config);
void ut_trace_context_disown(struct ut_trace_context_config *config);

struct ut_trace_context {
    uint64_t *sockets, *traced, *untraced, *answers, *displaced; /* metrics */
    uint64_t *lost[UT_TRACE_LOSSES];
    struct ut_trace_counters *per_cpu; /* room for a reading of all CPUs; NULL: not started */
    int cpus;
    struct ut_trace_counters counted;    /* sums as of the last reading */
    uint64_t *links, *filters, *refused; /* metrics of interfaces; NULL: not by these */
};

void ut_trace_context_init(struct ut_trace_context *context,
                           const struct ut_trace_context_config *config,
                           struct ut_metrics *metrics);
int ut_trace_context_start(struct ut_trace_context *context, int cpus) UT_MUST_USE; /* or -ENOMEM */
void ut_trace_context_done(struct ut_trace_context *context); /* a cleared one too */

/* Brings the metrics up to the kernel's counters, and the interfaces to what was asked for. */
void ut_trace_context_count(struct ut_trace_context *context,
                            const struct ut_ebpf_programs *programs);

#endif
