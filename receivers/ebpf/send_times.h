/* SPDX-License-Identifier: Apache-2.0 */
/* User space's part of bpf/sent.bpf.c and bpf/sends.bpf.c: what they counted, and the cgroups of
 * the workloads that send spans, whose sockets alone are looked at; by trace_context.bpf.c too. */
#ifndef UT_EBPF_SEND_TIMES_H
#define UT_EBPF_SEND_TIMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "telemetry/metrics.h"

struct ut_bpf;

struct ut_send_times {
    uint64_t *whole, *in_part, *refused, *sends_refused; /* metrics */
};

void ut_send_times_init(struct ut_send_times *times, struct ut_metrics *metrics);
/* Brings the metrics up to what the kernel counted. */
void ut_send_times_count(struct ut_send_times *times, const struct ut_bpf *skeleton);

/* Whether more is kept of the sockets of this cgroup. 0 or a negative errno. */
int ut_ebpf_follow(struct ut_bpf *skeleton, uint64_t cgroup_id, bool follow) UT_MUST_USE;

#endif
