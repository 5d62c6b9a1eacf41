// SPDX-License-Identifier: GPL-2.0
/* Programs that do nothing: what a hook costs by itself. */
#include "kernel_types.h"

#include <bpf/bpf_helpers.h>

SEC("cgroup_skb/egress")
int empty_egress(struct __sk_buff *skb)
{
    return 1;
}

SEC("tc")
int empty_tc(struct __sk_buff *skb)
{
    return -1; /* TC_ACT_UNSPEC */
}

SEC("tp_btf/skb_copy_datagram_iovec")
int empty_read(void *ctx)
{
    return 0;
}

SEC("tp_btf/mm_page_alloc")
int empty_page_alloc(void *ctx)
{
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
