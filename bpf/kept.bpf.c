// SPDX-License-Identifier: GPL-2.0
/* What is kept of sockets by themselves, for the programs that share it; see sent_kept.bpf.h. */
#include "sent_kept.bpf.h"

/* Set by the loader. */
const volatile __u32 max_kept = 32768;
const volatile bool messages_followed = false;

__u32 kept_alone_count = 0;
__u64 sent_refused = 0;
__u64 sends_refused = 0;

struct streams_map streams SEC(".maps");
struct kept_alone_map kept_alone SEC(".maps");

char LICENSE[] SEC("license") = "GPL";
