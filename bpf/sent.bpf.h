/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * When the bytes that a socket has in flight were first sent: as ranges of sequence numbers, one
 * behind the other. sent.bpf.c fills them in, tcp.bpf.c asks when it records a retransmit; where a
 * socket's are kept is told by sent_kept.bpf.h.
 *
 * 1. What is first sent is sent in the order of its numbers, so ranges are only ever added at the
 *    end, and never change; what has been acknowledged goes from the front.
 * 2. A range whose time nobody knows says so: SENT_UNKNOWN.
 * 3. They are the business of whoever holds the socket's lock.
 */
#ifndef UT_BPF_SENT_H
#define UT_BPF_SENT_H

#include "output.bpf.h"

#define SENT_RANGES 32 /* a power of two */
#define SENT_UNKNOWN 0
#define SENT_TOGETHER_US 100            /* sends that share a range */
#define SENT_AGE_US (1ULL << 31)        /* 36 minutes: of older ones nothing is told */
#define SENT_FORGOTTEN_BEHIND (1 << 30) /* sequence numbers come again after 4 GiB */

struct sent_range {
    __u32 end;     /* the number of the first byte beyond */
    __u32 sent_us; /* since the ring's base, at least SENT_TOGETHER_US + 1; or SENT_UNKNOWN */
};

struct sent_ring {
    __u64 base_us; /* CLOCK_MONOTONIC */
    __u64 acked;   /* what the socket's bytes_acked was when the ring was last put in order */
    __u32 from;    /* the first byte of the first range … */
    __u32 to;      /* … and the end of the last */
    __u32 first, count;
    struct sent_range ranges[SENT_RANGES];
};

static __always_inline struct sent_range *sent_range_at(struct sent_ring *ring, __u32 index)
{
    return &ring->ranges[(ring->first + index) % SENT_RANGES];
}

/* How many ranges end at this byte or before it. Without branches, so that the verifier has one way
 * to go and not one for each outcome. */
static __always_inline __u32 sent_ranges_before(struct sent_ring *ring, __u32 byte)
{
    __u32 before = 0;
    for (__u32 step = SENT_RANGES; step > 0; step /= 2) {
        __s64 left = (__s64)ring->count - before - step;
        __s64 beyond = (__s32)(byte - sent_range_at(ring, before + step - 1)->end);
        before += step & (__u32) ~((left | beyond) >> 63);
    }
    return before;
}

/* Whether the ring's numbers are still those of now. */
static __always_inline bool sent_ring_holds(const struct sent_ring *ring,
                                            const struct tcp_sock *tcp)
{
    return ring->count > 0 && tcp->bytes_acked - ring->acked < SENT_FORGOTTEN_BEHIND;
}

/* When the first and the last byte of a segment were first sent, CLOCK_MONOTONIC; 0: not known.
 * Whether the first is. */
static __always_inline bool find_sent(struct sent_ring *ring, const struct tcp_sock *tcp, __u32 seq,
                                      __u32 end_seq, __u64 ret_us[2])
{
    if (!sent_ring_holds(ring, tcp) || (__s32)(seq - ring->from) < 0 ||
        (__s32)(end_seq - ring->to) > 0)
        return false;
    __u32 first_us = sent_range_at(ring, sent_ranges_before(ring, seq))->sent_us;
    __u32 last_us = sent_range_at(ring, sent_ranges_before(ring, end_seq - 1))->sent_us;
    ret_us[0] = first_us != SENT_UNKNOWN ? ring->base_us + first_us : 0;
    ret_us[1] = last_us != SENT_UNKNOWN ? ring->base_us + last_us : 0;
    return first_us != SENT_UNKNOWN;
}

/* A time of CLOCK_MONOTONIC as ranges hold it. */
static __always_inline __u32 sent_stamp(const struct sent_ring *ring, __u64 us)
{
    us -= ring->base_us;
    return us > SENT_TOGETHER_US && us <= 0xffffffffULL ? (__u32)us : SENT_UNKNOWN;
}

/* The bytes from the last range's end up to `end`. */
static __always_inline bool add_sent_range(struct sent_ring *ring, __u32 end, __u32 sent_us)
{
    struct sent_range *last = sent_range_at(ring, ring->count - 1);
    if (ring->count > 0 && sent_us - last->sent_us <= SENT_TOGETHER_US) {
        last->end = ring->to = end;
        return true;
    }
    if (ring->count >= SENT_RANGES)
        return false;
    struct sent_range *next = sent_range_at(ring, ring->count);
    next->end = ring->to = end;
    next->sent_us = sent_us;
    ring->count++;
    return true;
}

/* What has arrived goes, and so does what the numbers do not stand for any more. */
static __always_inline void put_sent_in_order(struct sent_ring *ring, const struct tcp_sock *tcp)
{
    __u32 una = tcp->snd_una;
    if (sent_ring_holds(ring, tcp)) {
        __u32 gone = sent_ranges_before(ring, una);
        ring->first = (ring->first + gone) % SENT_RANGES;
        ring->count -= gone;
    } else {
        ring->count = 0;
    }
    ring->acked = tcp->bytes_acked;
    ring->from = una;
    if (ring->count == 0) {
        ring->to = una;
        ring->base_us = bpf_ktime_get_ns() / 1000 - SENT_AGE_US;
    }
}

#endif
