// SPDX-License-Identifier: GPL-2.0
/* Programs that do nothing: what a hook costs by itself. And one that lets nothing arrive. */
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

SEC("tp_btf/tcp_sendmsg_locked")
int empty_send_begins(void *ctx)
{
    return 0;
}

SEC("tp_btf/sock_send_length")
int empty_send_ends(void *ctx)
{
    return 0;
}

SEC("tp_btf/tcp_cong_state_set")
int empty_recovery(void *ctx)
{
    return 0;
}

SEC("cgroup_skb/ingress")
int drop_ingress(struct __sk_buff *skb)
{
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
