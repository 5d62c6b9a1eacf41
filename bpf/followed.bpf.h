/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What is kept of a socket whose messages of HTTP/1.1 are followed, for trace_context.bpf.c and
 * answers.bpf.c; one at a time is at work on it.
 *
 * `sent` are the requests of a connecting socket, or the answers of an accepted one, which reads
 * the requests from `received`. `messages` are the latest that have ids: on a connecting socket
 * requests; on an accepted one each stands for a request that was read and then for its answer, in
 * the order in which both come: the first `answered` have been answered or are just being, the
 * others up to `found` wait for it, and of those that wait `size` is 0.
 */
#ifndef UT_BPF_FOLLOWED_H
#define UT_BPF_FOLLOWED_H

#include "http1.bpf.h"
#include "sends.bpf.h"

#define MESSAGES_KEPT 16           /* a power of two */
#define FORGOTTEN_BEHIND (1 << 30) /* sequence numbers come again after 4 GiB */

struct message {
    __u64 start; /* of its head */
    __u32 size;  /* with its body, as far as it is known to reach; 0: nobody's */
    ut_u8 trace_id[16];
    ut_u8 span_id[8];
} __attribute__((packed, aligned(4)));

struct followed {
    /* The business of the socket's lock, whoever is at work on the rest. First, for the verifier:
     * it stands no sum that the compiler forms before it asks for NULL. */
    struct sent_kept kept;
    struct stream sent;
    struct stream received;
    __u64 from, to; /* a retransmit's bytes */
    __u64 acked;    /* of those sent, what lies before has arrived */
    __u32 busy;     /* somebody is at work on it */
    __u32 lost;     /* enum ut_trace_loss: the first of the two; 0: none */
    __u32 found, answered;
    __u32 hit_count, hits_more;
    __u8 hits[UT_TRACE_IDS_MAX];
    __u8 accepted;
    __u8 growing; /* what is being sent belongs to the message in this slot */
    __u8 slot;
    __u8 begun;                 /* the next answer, by one that is not final */
    __u16 asked[MESSAGES_KEPT]; /* HAS_…, of the requests */
    struct message messages[MESSAGES_KEPT];
};

/* What the kernel puts in front of a value (struct bpf_local_storage_elem), before it rounds up to
 * a power of two. */
#define STORAGE_HEADER 72
#define SOCKET_BYTES 2048

_Static_assert(sizeof(struct followed) + STORAGE_HEADER <= SOCKET_BYTES,
               "what is kept of a socket outgrew its limit");

struct streams_map {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct followed);
};

extern struct streams_map streams SEC(".maps");
extern const volatile bool messages_followed; /* there may be any in `streams` */

static __always_inline bool take(struct followed *f)
{
    return __sync_lock_test_and_set(&f->busy, 1) == 0;
}

static __always_inline void release(struct followed *f)
{
    __sync_lock_test_and_set(&f->busy, 0);
}

static __always_inline struct message *message_at(struct followed *f, __u32 index)
{
    return &f->messages[index % MESSAGES_KEPT];
}

/* A socket is counted once, by the first reason. */
static __always_inline void lose(struct followed *f, struct stream *s, __u32 why)
{
    struct ut_trace_counters *counted = trace_counted();
    s->lost = why;
    __builtin_memset(s->text, 0, sizeof(s->text));
    if (s == &f->sent)
        f->growing = 0;
    if (f->lost != 0)
        return;
    f->lost = why;
    if (counted != NULL && why < UT_TRACE_LOSSES)
        count(&counted->lost[why]);
}

static __always_inline bool is_traced(__u32 has)
{
    return (has & (HAS_TRACEPARENT | HAS_BAD_TRACEPARENT)) == HAS_TRACEPARENT;
}

/* The slot of the next message, with the ids of the head of `s`. */
static __always_inline struct message *take_slot(struct followed *f, const struct stream *s)
{
    struct ut_trace_counters *counted = trace_counted();
    struct message *message = message_at(f, f->found);
    if (f->found >= MESSAGES_KEPT && message->start + message->size > f->acked && counted != NULL)
        count(&counted->displaced);
    __builtin_memcpy(message->trace_id, s->trace_id, sizeof(message->trace_id));
    __builtin_memcpy(message->span_id, s->span_id, sizeof(message->span_id));
    message->start = 0;
    message->size = 0;
    f->found++;
    return message;
}

/* A packet goes out, with its link's header in front or without. Returns 0. */
int follow_packet(struct __sk_buff *skb, bool link_header);
/* answers.bpf.c: the head of an answer is whole. */
int end_answer_head(struct followed *f);

#endif
