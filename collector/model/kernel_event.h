/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel side hands to whoever keeps kernel events: raw records (bpf/records.h),
 * untrusted, and what was lost. The ebpf receiver writes; the evidence layer reads.
 */
#ifndef UT_MODEL_KERNEL_EVENT_H
#define UT_MODEL_KERNEL_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/records.h"

struct ut_event_sink {
    /* One record of `size` bytes, valid during the call. `unix_offset_ns` added to the record's
     * boot time gives its UNIX time. Malformed records are counted by the sink, never trusted. */
    void (*record)(struct ut_event_sink *sink, const void *data, size_t size,
                   int64_t unix_offset_ns);
    /* Up to so many records, of anybody, were lost since the last call: evidence around `unix_ns`
     * is partial. Those that were held back are told by records. */
    void (*lost)(struct ut_event_sink *sink, uint64_t records, uint64_t unix_ns);
    /* From `unix_ns` on the kernel is watched; before it nothing is known. */
    void (*attached)(struct ut_event_sink *sink, uint64_t unix_ns);
    /* Time to read the counters that the kernel keeps itself, each drain interval where memory is
     * watched. NULL: nobody does. */
    void (*sample)(struct ut_event_sink *sink, uint64_t unix_ns);
    /* Cgroups have come or gone without a record: the tree of them tells which. NULL: nobody
     * minds. */
    void (*cgroups_missed)(struct ut_event_sink *sink);
};

/* The other direction: brings the sink up to date with all that the kernel has recorded so far. */
struct ut_event_source {
    void (*drain)(struct ut_event_source *source);
    /* A cgroup whose workload sends spans, so that what it sends may be looked at, or one that is
     * gone. NULL: nothing is ever looked at. */
    void (*follow)(struct ut_event_source *source, uint64_t cgroup_id, bool follow);
    /* How much memory cgroups hold, of many at a time. From now on `slot` stands for the cgroup
     * whose directory in the memory controller's hierarchy this thread has open as `directory`;
     * it may be closed afterwards. 0, or a negative errno: it has to be read in another way. NULL:
     * always. */
    int (*watch_usage)(struct ut_event_source *source, uint32_t slot, int directory);
    /* The bytes of slots 0 … count − 1, UINT64_MAX of one whose cgroup is gone; valid until the
     * next call. NULL: they cannot be read now. Only after watch_usage has returned 0. */
    const uint64_t *(*read_usage)(struct ut_event_source *source, uint32_t count);
};

#endif
