/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Where kernels differ: each difference once, with the kernel's commit, chosen by what the running
 * kernel's BTF holds and never by its version. The branches that do not apply are removed by the
 * verifier, because the CO-RE relocations are constants by then.
 */
#ifndef UT_BPF_FLAVORS_H
#define UT_BPF_FLAVORS_H

#include "kernel_types.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Whether a tracepoint's arguments are pointers whose types the verifier knows (tp_btf). Set by the
 * loader: the kernel may have no such programs, or lack bpf_skc_to_tcp_sock for them (478cfbdf5f13,
 * 5.9), and then the same programs are loaded as raw tracepoints, to which the arguments are mere
 * numbers. What stands behind those can only be copied; the way that is not taken is removed. */
extern const volatile bool typed_arguments;

/* A member of a kernel object, `(source)->field`, whichever way it can be read. */
#define GET(source, field)                                                                         \
    ({                                                                                             \
        __typeof__(((void)0, (source)->field)) value_;                                             \
        if (typed_arguments)                                                                       \
            value_ = (source)->field;                                                              \
        else                                                                                       \
            bpf_core_read(&value_, sizeof(value_), &(source)->field);                              \
        value_;                                                                                    \
    })

#define GET_BITS(source, field)                                                                    \
    (typed_arguments ? BPF_CORE_READ_BITFIELD(source, field)                                       \
                     : BPF_CORE_READ_BITFIELD_PROBED(source, field))

/* The tracepoint's prototype with the result of the send, which came between 6.14 and 6.18. libbpf
 * compares the parameters one by one, so the type exists only where the third argument does.
 * Before, the tracepoint fired only for segments that were sent. */
typedef void (*btf_trace_tcp_retransmit_skb)(void *, const struct sock *, const struct sk_buff *,
                                             int);

static __always_inline bool retransmit_tells_error(void)
{
    return bpf_core_type_exists(btf_trace_tcp_retransmit_skb);
}

/* 8520e224f547 ("bpf, cgroups: Fix cgroup v2 fallback on v1/v2 mixed mode", 5.15) made the pointer
 * a member; before, it shared a word with the v1 numbers, told apart by the lowest bit. */
struct sock_cgroup_data___before_5_15 {
    __u64 val;
} __attribute__((preserve_access_index));

struct sock___before_5_15 {
    struct sock_cgroup_data___before_5_15 sk_cgrp_data;
} __attribute__((preserve_access_index));

/* The cgroup v2 id of the socket's owner, 0 where there is none. */
static __always_inline __u64 socket_cgroup(const struct sock *sk)
{
    if (bpf_core_field_exists(sk->sk_cgrp_data.cgroup)) {
        const struct cgroup *cgroup = GET(sk, sk_cgrp_data.cgroup);
        if (cgroup == NULL)
            return 0;
        const struct kernfs_node *node = GET(cgroup, kn);
        return GET(node, id);
    }
    const struct sock___before_5_15 *old = (const void *)sk;
    __u64 value = BPF_CORE_READ(old, sk_cgrp_data.val);
    if (value & 1)
        return 0;
    const struct cgroup *cgroup = (const void *)(value & ~3ULL);
    return cgroup != NULL ? BPF_CORE_READ(cgroup, kn, id) : 0;
}

/* 3d368ab87cf6 ("net: initialize net->net_cookie at netns setup", 5.12) made the cookie a plain
 * number; before, it was given at the first question and could be missing. There the number of the
 * namespace's inode stands for it, which may come again once the namespace is gone. */
static __always_inline bool netns_cookie(const struct sock_common *common, __u64 *ret)
{
    const struct net *net = GET(common, skc_net.net);
    *ret = bpf_core_field_exists(struct net, net_cookie) ? GET(net, net_cookie) : GET(net, ns.inum);
    return *ret != 0;
}

/* The socket as one of TCP; NULL: it is another, or not a whole one. The helper asks the same. */
static __always_inline struct tcp_sock *tcp_sock_of(struct sock *sk)
{
    if (typed_arguments)
        return bpf_skc_to_tcp_sock(sk);
    if (sk == NULL)
        return NULL;
    __u8 state = GET(sk, __sk_common.skc_state);
    if (state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV)
        return NULL;
    bool tcp = GET(sk, sk_type) == SOCK_STREAM && GET(sk, sk_protocol) == IPPROTO_TCP;
    return tcp ? (struct tcp_sock *)sk : NULL;
}

/* 8e4597c627fb ("bpf: Allow using bpf_sk_storage in FENTRY/FEXIT/RAW_TP", 5.11). No type tells of
 * it; the helper that is asked for is of the same release. */
static __always_inline bool has_socket_storage(void)
{
    return typed_arguments && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_sock_from_file);
}

/* c5dbb89fc2ac ("bpf: Expose bpf_get_socket_cookie to tracing programs", 5.12), likewise. Before, a
 * cookie can only be read, and is 0 until it has been asked for: cookies.bpf.c sees to that. */
static __always_inline __u64 socket_cookie(struct sock *sk)
{
    if (typed_arguments && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_check_mtu))
        return bpf_get_socket_cookie(sk);
    return (__u64)GET(sk, __sk_common.skc_cookie.counter);
}

/* For a program that may ask whatever those of tracepoints may: so that they can read it. */
static __always_inline void draw_socket_cookie(struct sock *sk)
{
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_check_mtu))
        bpf_get_socket_cookie(sk);
}

/* Requests have a timeout of their own since "tcp: Use BPF timeout setting for SYN ACK RTO". */
struct request_sock___with_timeout {
    __u32 timeout;
} __attribute__((preserve_access_index));

/* The timeout, in ticks, after which this SYN-ACK is sent again; 0 where the kernel does not tell.
 */
static __always_inline __u64 request_timeout(const struct request_sock *request)
{
    const struct request_sock___with_timeout *timed = (const void *)request;
    if (!bpf_core_field_exists(timed->timeout))
        return 0;
    __u64 retries = BPF_CORE_READ_BITFIELD_PROBED(request, num_timeout);
    return (__u64)BPF_CORE_READ(timed, timeout) << (retries & 31);
}

/* 72ba14deb40a ("mm: update mark_victim tracepoints fields", 6.9) handed the task over; before, the
 * tracepoint told a number alone. */
typedef void (*btf_trace_mark_victim)(void *, struct task_struct *, __u32);

static __always_inline bool victim_is_told(void)
{
    return bpf_core_type_exists(btf_trace_mark_victim);
}

/* f1a7941243c1 ("mm: convert mm's rss stats into percpu_counter", 6.2) */
struct mm_struct___before_6_2 {
    struct {
        struct {
            long counter;
        } count[4];
    } rss_stat;
} __attribute__((preserve_access_index));

/* Pages that are in memory: of files, anonymous and shared ones (enum in mm_types_task.h), which
 * are the first, second and fourth count. Each lacks what single CPUs have not added to it yet. */
static __always_inline __u64 resident_pages(const struct mm_struct *mm)
{
    const struct mm_struct___before_6_2 *old = (const void *)mm;
    __s64 file, anonymous, shared;
    if (bpf_core_field_exists(old->rss_stat.count)) {
        __s64 counts[4] = {};
        bpf_probe_read_kernel(counts, sizeof(counts),
                              (const char *)mm + bpf_core_field_offset(old->rss_stat.count));
        file = counts[0], anonymous = counts[1], shared = counts[3];
    } else {
        file = BPF_CORE_READ(mm, rss_stat[0].count);
        anonymous = BPF_CORE_READ(mm, rss_stat[1].count);
        shared = BPF_CORE_READ(mm, rss_stat[3].count);
    }
    return (file > 0 ? file : 0) + (anonymous > 0 ? anonymous : 0) + (shared > 0 ? shared : 0);
}

#endif
