// SPDX-License-Identifier: GPL-2.0
/* The maps and settings that all programs share; see output.bpf.h. */
#include "output.bpf.h"
#include "senders.bpf.h"

const volatile bool typed_arguments = true;
const volatile __u64 limit_interval_ns[UT_RECORD_TYPES] = {};
const volatile __u64 limit_burst_ns[UT_RECORD_TYPES] = {};
const volatile __u64 ring_high_water = 1 << 19;

struct ring_map ring SEC(".maps");
struct counters_map counters SEC(".maps");
struct limits_map limits SEC(".maps");
struct senders_map senders SEC(".maps");

char LICENSE[] SEC("license") = "GPL";
