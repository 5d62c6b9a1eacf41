/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver's metrics, as cells that it counts in; they are the metrics' own and live as long.
 */
#ifndef UT_EBPF_COUNTERS_H
#define UT_EBPF_COUNTERS_H

#include "bpf/records.h"
#include "doctor.h"
#include "telemetry/metrics.h"

struct ut_ebpf_counters {
    uint64_t *records[UT_RECORD_TYPES]; /* handed to the sink */
    uint64_t *limited[UT_RECORD_TYPES];
    uint64_t *lost[UT_RECORD_TYPES];
    uint64_t *missed[UT_EBPF_PROGRAMS];
    uint64_t *unowned;
    uint64_t *bad;
    uint64_t *snapshot;
};

void ut_ebpf_counters_init(struct ut_ebpf_counters *counters, struct ut_metrics *metrics);

#endif
