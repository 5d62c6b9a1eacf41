// SPDX-License-Identifier: GPL-2.0
/*
 * When bytes that are about to be sent again were first sent. The kernel stamps every segment when
 * it goes out, and overwrites the stamp when it goes out again; so the stamps of all that a socket
 * has in flight are noted down at the moment when it begins to send again, before the first of them
 * is lost. Nothing is done, and nothing kept, while a connection loses nothing.
 *
 * The moment is the change of the congestion state to recovery or loss, which comes before their
 * first retransmit, and again with each further timeout. The probe of a flight's tail, and what is
 * first sent while a recovery lasts and lost in it, come without one: of those nothing is known,
 * unless the probe was of a flight's first bytes, which tcp.bpf.c adds by itself.
 *
 * Only sockets of workloads that send spans here (`senders`), at most `max_kept` at a time.
 * The segments in flight stand in a red-black tree by their sequence numbers. It is walked under
 * the socket's lock, which the kernel holds here.
 */
#include "sent_kept.bpf.h"

#include <bpf/bpf_tracing.h>

/* The parts of kernel types that only these programs look at. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct rb_node {
    unsigned long __rb_parent_color;
    struct rb_node *rb_right, *rb_left;
};

struct sock___sending {
    struct {
        struct rb_node *rb_node;
    } tcp_rtx_queue;
};

struct sk_buff___sent {
    struct rb_node rbnode;
    __u64 skb_mstamp_ns;
    char cb[48];
};
#pragma clang attribute pop

enum {
    EDGES = 512, /* of the tree that are walked: two for each segment */
    TCPCB_SACKED_ACKED = 1,
    TCPCB_EVER_RETRANS = 0x80,
};

/* Recoveries of which what was in flight was noted down, all of it, or only what came first. */
__u64 sent_noted = 0;
__u64 sent_noted_in_part = 0;

struct walk {
    struct sent_ring *ring;
    const struct rb_node *node;
    __u32 climbing; /* from the node, below which all has been seen */
    __u32 full;
};

static __always_inline __u32 stamp_of(const struct sent_ring *ring,
                                      const struct sk_buff___sent *skb, __u8 sacked)
{
    /* It has been sent again before, or arrived: then it may have been joined to another. */
    if (sacked & (TCPCB_SACKED_ACKED | TCPCB_EVER_RETRANS))
        return SENT_UNKNOWN;
    return sent_stamp(ring, BPF_CORE_READ(skb, skb_mstamp_ns) / 1000);
}

/* False: there is no room for more. */
static __always_inline bool note_segment(struct sent_ring *ring, const struct rb_node *node)
{
    const struct sk_buff___sent *skb =
        (const void *)node - bpf_core_field_offset(struct sk_buff___sent, rbnode);
    const struct tcp_skb_cb *segment =
        (const void *)skb + bpf_core_field_offset(struct sk_buff___sent, cb);
    __u32 seq = BPF_CORE_READ(segment, seq), end = BPF_CORE_READ(segment, end_seq);
    if ((__s32)(end - ring->to) <= 0)
        return true;
    if ((__s32)(seq - ring->to) > 0 && !add_sent_range(ring, seq, SENT_UNKNOWN))
        return false;
    return add_sent_range(ring, end, stamp_of(ring, skb, BPF_CORE_READ(segment, sacked)));
}

/* One edge of the tree further, in the order of the sequence numbers. */
static long step(__u32 index, struct walk *walk)
{
    const struct rb_node *node = walk->node;
    if (!walk->climbing) {
        const struct rb_node *left = BPF_CORE_READ(node, rb_left);
        if (left != NULL) {
            walk->node = left;
            return 0;
        }
    } else {
        const struct rb_node *parent =
            (const void *)(BPF_CORE_READ(node, __rb_parent_color) & ~3ULL);
        if (parent == NULL)
            return 1;
        walk->node = parent;
        if (BPF_CORE_READ(parent, rb_left) != node)
            return 0;
        node = parent;
    }
    if (!note_segment(walk->ring, node)) {
        walk->full = 1;
        return 1;
    }
    const struct rb_node *right = BPF_CORE_READ(node, rb_right);
    walk->climbing = right == NULL;
    if (right != NULL)
        walk->node = right;
    return 0;
}

SEC("tp_btf/tcp_cong_state_set")
int BPF_PROG(sent_stamps, struct sock *sk, __u8 new_state)
{
    struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    __u8 state = sk->__sk_common.skc_state;
    if (tcp == NULL || state == TCP_SYN_SENT || state == TCP_SYN_RECV)
        return 0;
    if (new_state < TCP_CA_RECOVERY) {
        struct sent_kept *kept = find_kept(sk);
        if (kept != NULL && (__s32)(tcp->snd_una - kept->ring.to) >= 0)
            forget_ring(sk, kept);
        return 0;
    }
    struct sent_ring *ring = begin_sent(sk, tcp);
    if (ring == NULL)
        return 0;
    const struct sock___sending *queue = (const void *)sk;
    struct walk walk = {.ring = ring, .node = BPF_CORE_READ(queue, tcp_rtx_queue.rb_node)};
    if (walk.node != NULL && bpf_loop(EDGES, step, &walk, 0) == EDGES)
        walk.full = 1;
    count(walk.full ? &sent_noted_in_part : &sent_noted);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
