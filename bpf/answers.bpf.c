// SPDX-License-Identifier: GPL-2.0
/*
 * Whose answers an accepted socket sends (RFC 9112, 9.3: in the order of the requests).
 * `trace_reader` sees the bytes that its program reads, in order and without holes, and takes from
 * each request's head what its answer belongs to; trace_context.bpf.c goes from answer to answer in
 * what is sent, and asks here at the end of each head.
 *
 * Bytes that are read in another way (splice, zero copy) are missed, which shows in the sequence
 * numbers of what is read next, or in an answer to nothing that was seen: both end the following.
 *
 * The tracepoint lets a program read the packet since 6.12 (bpf_dynptr_from_skb in tp_btf); before,
 * this program cannot be loaded and accepted sockets are not followed.
 */
#include "followed.bpf.h"

#include <bpf/bpf_tracing.h>

enum { PACKET_OUTGOING = 4 };

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags,
                               struct bpf_dynptr *ret) __ksym __weak;

/* ---- what is read --------------------------------------------------------------------------- */

/* The head of a request is whole: its answer comes after those to the requests before it. */
__noinline int end_asked_head(struct followed *f)
{
    if (f == NULL)
        return 0;
    struct stream *s = &f->received;
    /* One more than wait, because what is being sent may still grow. */
    if (f->found - f->answered >= MESSAGES_KEPT - 1)
        return UT_TRACE_TOO_LONG;
    f->asked[f->found % MESSAGES_KEPT] = s->has;
    take_slot(f, s);
    return begin_request_body(s);
}

struct reading {
    struct bpf_dynptr bytes;
    struct followed *followed;
};

static __always_inline int take_read_piece(const struct bpf_dynptr *bytes, struct stream *s)
{
    __u64 from, size;
    __u8 c = 0;
    if (s->cr) /* it was the last byte of the piece before */
        return bpf_dynptr_read(&c, 1, bytes, s->at, 0) == 0 ? on_line_feed(s, c)
                                                            : UT_TRACE_UNREADABLE;
    if (!place_piece(s, &from, &size) ||
        bpf_dynptr_read(s->text + from, (__u32)size, bytes, s->at, 0) != 0)
        return UT_TRACE_UNREADABLE;
    return on_piece(s, (__u32)from, (__u32)size);
}

static long read_step(__u32 index, struct reading *reading)
{
    struct followed *f = reading->followed;
    struct stream *s = &f->received;
    __u32 left = s->end - s->at;
    if (s->lost != 0 || left == 0)
        return 1;
    if (s->skip > 0) {
        skip_body(s, left);
        return 0;
    }
    int why = take_read_piece(&reading->bytes, s);
    if (why == 0 && s->phase == HEAD_END)
        why = end_asked_head(f);
    if (why != 0)
        lose(f, s, (__u32)why);
    return 0;
}

/* All of the packet is looked at, also what the program has not taken of it yet: packets stand in
 * the receive queue in order. */
static __always_inline void read_packet(const struct sk_buff *skb, struct followed *f)
{
    struct stream *s = &f->received;
    const struct tcp_skb_cb *segment = (const void *)&skb->cb[0];
    __s32 known = (__s32)(s->next - BPF_CORE_READ(segment, seq));
    if (known >= (__s32)skb->len)
        return; /* it has been here before */
    struct reading reading = {.followed = f};
    if (known < 0) {
        lose(f, s, UT_TRACE_GAP);
        return;
    }
    if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &reading.bytes) != 0) {
        lose(f, s, UT_TRACE_UNREADABLE);
        return;
    }
    s->at = (__u32)known;
    s->end = skb->len;
    bpf_loop(STEPS, read_step, &reading, 0);
    if (s->at != s->end && s->lost == 0)
        lose(f, s, UT_TRACE_TOO_LONG);
}

SEC("tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(trace_reader, const struct sk_buff *skb)
{
    struct sock *sk = skb->sk;
    if (sk == NULL)
        return 0;
    struct followed *f = bpf_sk_storage_get(&streams, sk, NULL, 0);
    if (f == NULL || !f->accepted || f->received.lost != 0 || f->sent.lost != 0)
        return 0;
    /* What is so marked comes from the error queue, read without the socket's lock. */
    if (BPF_CORE_READ_BITFIELD(skb, pkt_type) == PACKET_OUTGOING)
        return 0;
    if (!take(f))
        return 0;
    const struct tcp_sock *tcp = (const void *)sk;
    if (BPF_CORE_READ(tcp, urg_data) != 0) /* the program may not be given all that is there */
        lose(f, &f->received, UT_TRACE_MALFORMED);
    else
        read_packet(skb, f);
    release(f);
    return 0;
}

/* ---- what is sent --------------------------------------------------------------------------- */

__noinline int end_answer_head(struct followed *f)
{
    if (f == NULL)
        return 0;
    struct stream *s = &f->sent;
    struct ut_trace_counters *counted = trace_counted();
    if (f->answered == f->found)
        return UT_TRACE_UNASKED;
    __u32 slot = f->answered % MESSAGES_KEPT, asked = f->asked[slot];
    struct message *message = &f->messages[slot];
    __u64 head_size = s->offset - s->head;
    bool traced = is_traced(asked), is_final = s->status >= 200 || s->status == 101;
    int why = begin_answer_body(s, asked);
    if (is_final)
        f->answered++;
    bool begun = f->begun;
    f->begun = !is_final;
    if (!traced)
        return why;
    if (!begun) {
        message->start = s->head;
        if (counted != NULL)
            count(&counted->traced_answers);
    }
    message->size += (__u32)head_size;
    f->slot = (__u8)slot;
    f->growing = is_final && why == 0 && (s->skip > 0 || s->phase == CHUNK_SIZE);
    return why;
}

char LICENSE[] SEC("license") = "GPL";
