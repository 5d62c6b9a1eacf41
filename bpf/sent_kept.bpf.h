/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Where the ranges of a socket (sent.bpf.h) are kept: with all else that is, where its messages are
 * followed (followed.bpf.h), else by themselves. Never both, so that a socket takes at most
 * SOCKET_BYTES of the kernel.
 */
#ifndef UT_BPF_SENT_KEPT_H
#define UT_BPF_SENT_KEPT_H

#include "followed.bpf.h"
#include "senders.bpf.h"

_Static_assert(sizeof(struct sent_ring) + STORAGE_HEADER <= 512,
               "what is kept of a socket alone outgrew its limit");

struct sent_rings_map {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct sent_ring);
};

extern struct sent_rings_map sent_rings SEC(".maps");
extern __u32 sent_rings_open; /* of those that are kept by themselves */
extern __u64 sent_refused;    /* for want of room for another socket */
extern const volatile __u32 max_sent_rings;

/* NULL: nothing is kept of the socket. */
static __always_inline struct sent_ring *kept_ring(struct sock *sk)
{
    if (!has_socket_storage())
        return NULL;
    if (messages_followed) {
        struct followed *f = bpf_sk_storage_get(&streams, sk, NULL, 0);
        if (f != NULL)
            return &f->ring;
    }
    return bpf_sk_storage_get(&sent_rings, sk, NULL, 0);
}

/* The socket's ranges, in order; made where there are none yet. NULL: nothing is kept of it. */
static __always_inline struct sent_ring *begin_sent(struct sock *sk, const struct tcp_sock *tcp)
{
    struct sent_ring *ring = kept_ring(sk);
    if (ring == NULL) {
        if (!sends_spans(sk))
            return NULL;
        /* CPUs at the same moment may take one too many: kernels before 5.12 refuse a program with
         * an addition that tells what was there before. */
        if (*(volatile __u32 *)&sent_rings_open < max_sent_rings)
            ring = bpf_sk_storage_get(&sent_rings, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
        if (ring == NULL) {
            count(&sent_refused);
            return NULL;
        }
        __sync_fetch_and_add(&sent_rings_open, 1);
    }
    put_sent_in_order(ring, tcp);
    return ring;
}

/* Nothing of what is noted can be asked for any more. */
static __always_inline void forget_sent(struct sock *sk)
{
    struct sent_ring *ring = kept_ring(sk);
    if (ring == NULL)
        return;
    ring->count = 0;
    if (bpf_sk_storage_delete(&sent_rings, sk) == 0)
        __sync_fetch_and_sub(&sent_rings_open, 1);
}

#endif
