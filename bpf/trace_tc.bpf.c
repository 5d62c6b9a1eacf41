// SPDX-License-Identifier: GPL-2.0
/*
 * The other way to the packets of trace_context.bpf.c: the egress hook of interfaces, for where
 * the root of the cgroups cannot be had. It sees the packets of sockets of its own network
 * namespace, because those of others lose their socket on the way here (except through macvlan and
 * the like). A packet that goes through several interfaces comes by several times; all but the
 * first find nothing new in it.
 */
#include "followed.bpf.h"

enum { TC_ACT_UNSPEC = -1 }; /* the next program or filter decides, as if ours were not there */

SEC("tc")
int trace_tc(struct __sk_buff *skb)
{
    follow_packet(skb, true);
    return TC_ACT_UNSPEC;
}
