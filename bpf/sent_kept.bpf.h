/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Where it is kept what a socket sent (sent.bpf.h, sends.bpf.h): with all else that is, where its
 * messages are followed (followed.bpf.h), else alone. Never both, so that a socket takes at most
 * SOCKET_BYTES of the kernel.
 */
#ifndef UT_BPF_SENT_KEPT_H
#define UT_BPF_SENT_KEPT_H

#include "followed.bpf.h"
#include "senders.bpf.h"

_Static_assert(sizeof(struct sent_kept) + STORAGE_HEADER <= 512,
               "what is kept of a socket alone outgrew its limit");

struct kept_alone_map {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct sent_kept);
};

extern struct kept_alone_map kept_alone SEC(".maps");
extern __u32 kept_alone_count;
extern const volatile __u32 max_kept; /* alone */
/* For want of room for another socket: recoveries of which nothing was noted, and sends. */
extern __u64 sent_refused;
extern __u64 sends_refused;

/* NULL: nothing is kept of the socket. */
static __always_inline struct sent_kept *find_kept(struct sock *sk)
{
    if (!has_socket_storage())
        return NULL;
    if (messages_followed) {
        struct followed *f = bpf_sk_storage_get(&streams, sk, NULL, 0);
        if (f != NULL)
            return &f->kept;
    }
    return bpf_sk_storage_get(&kept_alone, sk, NULL, 0);
}

/* Of a socket of which nothing is kept. NULL: `most` are. CPUs at the same moment may take one too
 * many: kernels before 5.12 refuse a program with an addition that tells what was there before. */
static __always_inline struct sent_kept *keep_alone(struct sock *sk, __u32 most)
{
    struct sent_kept *kept = NULL;
    if (*(volatile __u32 *)&kept_alone_count < most)
        kept = bpf_sk_storage_get(&kept_alone, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (kept != NULL)
        __sync_fetch_and_add(&kept_alone_count, 1);
    return kept;
}

/* The socket's ranges, in order; made where there are none yet. NULL: nothing is kept of it. */
static __always_inline struct sent_ring *begin_sent(struct sock *sk, const struct tcp_sock *tcp)
{
    struct sent_kept *kept = find_kept(sk);
    if (kept == NULL) {
        if (!sends_spans(sk))
            return NULL;
        kept = keep_alone(sk, max_kept);
        if (kept == NULL) {
            count(&sent_refused);
            return NULL;
        }
    }
    put_sent_in_order(&kept->ring, tcp);
    return &kept->ring;
}

static __always_inline void end_alone(struct sock *sk)
{
    if (has_socket_storage() && bpf_sk_storage_delete(&kept_alone, sk) == 0)
        __sync_fetch_and_sub(&kept_alone_count, 1);
}

/* The recovery is over. */
static __always_inline void forget_ring(struct sock *sk, struct sent_kept *kept)
{
    kept->ring.count = 0;
    if (kept->sends.base_us == 0)
        end_alone(sk);
}

#endif
