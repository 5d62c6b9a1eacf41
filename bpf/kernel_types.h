/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The few kernel types that the programs look at, and of each only the members they read. Layout is
 * not taken from here: every access is relocated by libbpf against the running kernel's BTF
 * (preserve_access_index), so order and omissions do not matter, only names and kinds. What differs
 * between kernels stands in flavors.bpf.h.
 */
#ifndef UT_BPF_KERNEL_TYPES_H
#define UT_BPF_KERNEL_TYPES_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define SOCK_STREAM 1 /* 2 on MIPS alone */

enum { TCP_ESTABLISHED = 1, TCP_SYN_SENT = 2, TCP_SYN_RECV = 3, TCP_TIME_WAIT = 6 };
enum { TCP_CLOSE = 7, TCP_LISTEN = 10, TCP_NEW_SYN_RECV = 12 };

enum { TCP_CA_OPEN = 0, TCP_CA_RECOVERY = 3, TCP_CA_LOSS = 4 };
enum { ICSK_TIME_LOSS_PROBE = 5 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
    __u64 id;
    void *priv; /* of a cgroup's directory: the cgroup */
};

struct cgroup_root {
    int hierarchy_id; /* 0: the v2 hierarchy, which is the first that the kernel makes */
};

struct cgroup {
    struct cgroup_subsys_state *subsys[1];
    struct kernfs_node *kn;
    struct cgroup_root *root;
};

enum cgroup_subsys_id { memory_cgrp_id = 4 };

struct cgroup_subsys_state {
    struct cgroup *cgroup;
    unsigned int flags;
    __u64 serial_nr;
    struct cgroup_subsys_state *parent;
};

struct css_set {
    struct cgroup_subsys_state *subsys[1];
    struct cgroup *dfl_cgrp; /* of the v2 hierarchy */
};

struct page_counter {
    struct {
        long counter;
    } usage;
    unsigned long high;
    unsigned long max;
};

struct mem_cgroup {
    struct cgroup_subsys_state css;
    struct page_counter memory;
};

struct percpu_counter {
    __s64 count;
};

struct mm_struct {
    struct percpu_counter rss_stat[4];
};

struct task_struct {
    struct mm_struct *mm;
    struct files_struct *files;
    int tgid;
    struct task_struct *group_leader;
    __u64 start_boottime;
    struct css_set *cgroups;
};

struct sock_cgroup_data {
    struct cgroup *cgroup;
};

struct ns_common {
    unsigned int inum;
};

struct net {
    __u64 net_cookie;
    struct ns_common ns;
};

typedef struct {
    struct net *net;
} possible_net_t;

struct in6_addr {
    union {
        __be32 u6_addr32[4];
    } in6_u;
};

struct sock_common {
    __be32 skc_daddr;
    __be32 skc_rcv_saddr;
    __be16 skc_dport;
    __u16 skc_num;
    unsigned short skc_family;
    volatile unsigned char skc_state;
    possible_net_t skc_net;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
    struct {
        __s64 counter;
    } skc_cookie;
};

struct sock {
    struct sock_common __sk_common;
    __u16 sk_type;
    __u16 sk_protocol;
    struct {
        struct {
            int counter;
        } refs;
    } sk_wmem_alloc;
    struct sock_cgroup_data sk_cgrp_data;
    __u32 sk_ack_backlog;
    __u32 sk_max_ack_backlog;
};

struct socket {
    struct sock *sk;
};

struct inet_sock {
    __be16 inet_sport;
};

struct inet_connection_sock {
    struct inet_sock icsk_inet;
    __u32 icsk_rto;
    __u8 icsk_ca_state : 5;
    __u8 icsk_retransmits;
    __u8 icsk_pending;
    struct {
        __u32 lrcvtime;
    } icsk_ack;
};

struct minmax_sample {
    __u32 v;
};

struct minmax {
    struct minmax_sample s[3];
};

struct tcp_sock {
    struct inet_connection_sock inet_conn;
    __u32 snd_cwnd;
    __u32 rcv_nxt;
    __u32 snd_una;
    __u32 srtt_us;
    __u64 bytes_acked;
    __u64 bytes_received;
    __u64 first_tx_mstamp;
    __u64 delivered_mstamp;
    struct minmax rtt_min;
    __u32 rate_delivered;
    __u32 rate_interval_us;
    __u32 mss_cache;
    __u32 snd_wnd;
    __u32 snd_nxt;
    __u32 write_seq;
    __u32 undo_marker;
    __u32 sacked_out;
    __u16 urg_data;
    bool is_mptcp; /* 5.6, where MPTCP is built in */
};

struct request_sock {
    struct sock_common __req_common;
    __u8 num_timeout : 7;
};

struct inet_request_sock {
    __u16 acked : 1;
};

struct tcp_request_sock {
    __u64 snt_synack;
    __u32 rcv_isn;
    __u32 snt_isn;
};

struct sk_buff {
    struct sock *sk;
    unsigned int len;
    __u8 pkt_type : 3;
    char cb[48];
    unsigned char *head;
    __u16 transport_header;
};

struct tcp_skb_cb {
    __u32 seq;
    __u32 end_seq;
    __u16 tcp_gso_segs;
    __u8 sacked;
};

struct tcphdr {
    __be16 window;
};

enum skb_drop_reason {
    SKB_DROP_REASON_SOCKET_RCVBUFF = 6,
    SKB_DROP_REASON_PROTO_MEM = 20,
    SKB_DROP_REASON_SOCKET_BACKLOG = 29,
    SKB_DROP_REASON_TCP_ZEROWINDOW = 32,
    SKB_DROP_REASON_TCP_OVERWINDOW = 34,
    SKB_DROP_REASON_TCP_OFO_QUEUE_PRUNE = 52,
};

struct file;

struct bpf_iter_meta {
    struct seq_file *seq;
};

struct bpf_iter__task_file {
    struct bpf_iter_meta *meta;
    struct file *file;
};

#pragma clang attribute pop

#endif
