/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The latest sends of a program on a socket: which bytes it handed over, when, and by which of its
 * threads. sends.bpf.c notes them down, tcp.bpf.c asks when it records a retransmit.
 *
 * 1. A note is made under the socket's lock, before the bytes are taken: they were first sent no
 *    earlier, and no other thread's bytes are among them. Each begins where the one before ended or
 *    later; what lies between two, nobody saw.
 * 2. `reached` is written without the lock, in one piece, when a send is over: up to which number
 *    the program had handed over bytes by then and, if all of those had left, the time.
 */
#ifndef UT_BPF_SENDS_H
#define UT_BPF_SENDS_H

#include "sent.bpf.h"

#define SENDS_KEPT 8                 /* a power of two */
#define SEND_LONGEST (1U << 27)      /* bytes; what goes on for longer is noted again */
#define SENDS_AGE_US (1ULL << 31)    /* 36 minutes, then all are forgotten */
#define SENT_AT_ONCE_US 100          /* to leave after so long is to leave when handed over */
#define SEND_LEFT_AT_ONCE (1U << 31) /* beside the thread's number, which is below 2^22 */
#define SENT_NEVER 0xffffffffU
#define SEND_THREAD (SEND_LEFT_AT_ONCE - 1)

struct send {
    __u32 begin, end; /* numbers of the first byte and the one beyond; equal: no note */
    __u32 us;         /* since the base */
    __u32 thread;     /* 0: none of a program; and SEND_LEFT_AT_ONCE */
};

struct sends {
    __u64 base_us; /* CLOCK_MONOTONIC */
    __u64 reached; /* the number, and above it the time since the base, or SENT_NEVER */
    __u32 next;    /* the slot of the next note, and before that of the oldest */
    __u32 acked;   /* the socket's bytes_acked at the last note, in KiB */
    struct send kept[SENDS_KEPT];
};

static __always_inline struct send *send_at(struct sends *sends, __u32 index)
{
    return &sends->kept[index % SENDS_KEPT];
}

/* Sequence numbers come again after 4 GiB: whether those of the notes are still those of now. */
static __always_inline bool sends_hold(const struct sends *sends, const struct tcp_sock *tcp,
                                       __u64 now_us)
{
    return sends->base_us != 0 && now_us - sends->base_us < SENDS_AGE_US &&
           (__u32)(GET(tcp, bytes_acked) >> 10) - sends->acked <= SEND_LONGEST >> 10;
}

/* Where the send ended: it may have been cut short. */
static __always_inline __u32 send_end(const struct sends *sends, const struct send *send)
{
    __u32 reached = (__u32)sends->reached;
    bool within = (__s32)(reached - send->begin) >= 0 && (__s32)(send->end - reached) > 0;
    return within ? reached : send->end;
}

/* Whether all of it had left by SENT_AT_ONCE_US. */
static __always_inline bool left_at_once(const struct sends *sends, const struct send *send)
{
    __u64 reached = sends->reached;
    __u32 us = (__u32)(reached >> 32);
    return (send->thread & SEND_LEFT_AT_ONCE) != 0 ||
           (us != SENT_NEVER && us - send->us <= SENT_AT_ONCE_US &&
            (__s32)((__u32)reached - send_end(sends, send)) >= 0);
}

static __always_inline void forget_sends(struct sends *sends, __u64 now_us)
{
    __builtin_memset(sends->kept, 0, sizeof(sends->kept));
    sends->base_us = now_us;
}

/* The thread hands over the `left` bytes from `begin` on. */
static __always_inline void note_send(struct sends *sends, const struct tcp_sock *tcp, __u64 left,
                                      __u32 thread, __u64 now_us)
{
    __u32 begin = tcp->write_seq, us;
    if (!sends_hold(sends, tcp, now_us))
        forget_sends(sends, now_us);
    sends->acked = (__u32)(tcp->bytes_acked >> 10);
    us = (__u32)(now_us - sends->base_us);
    struct send *last = send_at(sends, sends->next - 1);
    __u32 end = begin + (__u32)(left < SEND_LONGEST ? left : SEND_LONGEST);
    bool same = (last->thread & SEND_THREAD) == thread && last->end == end;
    if (same && us - last->us <= SENT_AT_ONCE_US && (__s32)(begin - last->begin) > 0)
        return; /* it goes on with what it began */
    if (last->begin != last->end && left_at_once(sends, last))
        last->thread |= SEND_LEFT_AT_ONCE;
    last->end = send_end(sends, last);
    if ((__s32)(last->end - begin) > 0)
        last->end = begin;
    if (last->begin != last->end || last->thread == 0)
        sends->next++;
    struct send *send = send_at(sends, sends->next - 1);
    send->begin = begin;
    send->end = end;
    send->us = us;
    send->thread = thread;
    *(volatile __u64 *)&sends->reached = (__u64)SENT_NEVER << 32 | end;
}

/* All that is kept of what a socket sent. */
struct sent_kept {
    struct sent_ring ring;
    struct sends sends;
};

/* What is known of when bytes were handed over. */
struct sent_by {
    __u64 first_us, last_us;    /* the first of them and the last, CLOCK_MONOTONIC; 0: not known */
    bool first_left, last_left; /* and left at once */
    __u32 thread;               /* of all of them; 0: not known, or several */
};

/* False: nothing is known of the first byte. */
static __always_inline bool find_send(struct sends *sends, const struct tcp_sock *tcp, __u32 seq,
                                      __u32 bytes, __u64 now_us, struct sent_by *ret)
{
    __u32 at = seq, end = seq + bytes;
    if (bytes == 0 || !sends_hold(sends, tcp, now_us))
        return false;
    for (__u32 i = 0; i < SENDS_KEPT; i++) {
        const struct send *send = send_at(sends, sends->next + i);
        __u32 send_ended = send_end(sends, send);
        if ((__s32)(at - send->begin) < 0 || (__s32)(at - send_ended) >= 0)
            continue;
        __u32 thread = send->thread & SEND_THREAD;
        if (at == seq) {
            ret->first_us = sends->base_us + send->us;
            ret->first_left = left_at_once(sends, send);
            ret->thread = thread;
        } else if (ret->thread != thread) {
            ret->thread = 0;
        }
        at = send_ended;
        if ((__s32)(end - at) > 0)
            continue;
        ret->last_us = sends->base_us + send->us;
        ret->last_left = left_at_once(sends, send);
        break;
    }
    if (ret->last_us == 0)
        ret->thread = 0;
    return ret->first_us != 0;
}

#endif
