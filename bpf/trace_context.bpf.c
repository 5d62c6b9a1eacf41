// SPDX-License-Identifier: GPL-2.0
/*
 * Which span's bytes lie where in a TCP stream: for plain HTTP/1.1 requests whose head carries a
 * `traceparent`, and the answers to them. Only sockets of workloads that send spans here
 * (`senders`) are followed, from their first byte on: those they connected, and where what servers
 * read can be seen (answers.bpf.c) those they accepted. Of a packet nothing is kept but the two ids
 * and, until its end has come, the line of a head at hand.
 *
 * `trace_sockets` gives such a socket a stream when it is established and takes it back when it is
 * closed. `trace_egress` sees its packets in order, before they are cut into segments, and goes
 * from message to message by their framing alone: where one ends the next begins, so that what
 * bodies hold is never looked at. `trace_retransmit` tells which of the messages found lie in a
 * segment that is sent again; it runs behind tcp_retransmit_skb, whose record it adds to.
 *
 * 1. Nothing is guessed. What is not surely the framing that both ends see (RFC 9112) ends the
 *    following of the socket, counted by its reason; what was found before stays true.
 * 2. One at a time touches a stream. That is mostly its socket's lock, but a packet that had to
 * wait for its neighbour's address or in another interface's queue goes out without: whoever finds
 *    the streams `busy` leaves them alone, and the packet will be missing in them.
 * 3. Positions are counted from the stream's first byte in 64 bits; sequence numbers only tell how
 *    far a packet is from `next`.
 */
#include "sent_kept.bpf.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

/* Set by the loader. */
const volatile __u32 max_streams = 32768;
const volatile bool answers_followed = false; /* what servers read can be seen */

__u32 streams_open = 0;

/* ---- packets -------------------------------------------------------------------------------- */

/* The head of a request is whole. */
__noinline int end_request_head(struct followed *f)
{
    if (f == NULL)
        return 0;
    struct stream *s = &f->sent;
    struct ut_trace_counters *counted = trace_counted();
    bool traced = is_traced(s->has), chunked = (s->has & HAS_CHUNKED) != 0;
    __u64 head_size = s->offset - s->head;
    int why = begin_request_body(s);
    if (counted != NULL)
        count(traced ? &counted->traced_requests : &counted->untraced_requests);
    if (!traced)
        return why;
    f->slot = f->found % MESSAGES_KEPT;
    struct message *message = take_slot(f, s);
    message->start = s->head;
    message->size = (__u32)(head_size + s->skip);
    f->growing = why == 0 && chunked;
    return why;
}

/* Reads on in the line at hand: to its end, or as far as the packet or a piece goes. */
__noinline int take_piece(struct __sk_buff *skb, struct stream *s)
{
    __u64 from, size;
    __u8 c = 0;
    if (s == NULL)
        return 0;
    if (s->cr) /* it was the last byte of the piece before */
        return bpf_skb_load_bytes(skb, s->at, &c, 1) == 0 ? on_line_feed(s, c)
                                                          : UT_TRACE_UNREADABLE;
    if (!place_piece(s, &from, &size) ||
        bpf_skb_load_bytes(skb, s->at, s->text + from, (__u32)size) != 0)
        return UT_TRACE_UNREADABLE;
    return on_piece(s, (__u32)from, (__u32)size);
}

struct walk {
    struct __sk_buff *skb;
    struct followed *followed;
};

/* Bytes of a message whose end is not known yet. */
static __always_inline void grow(struct followed *f, __u32 bytes)
{
    struct message *message = message_at(f, f->slot);
    if (f->growing && message->size < MESSAGE_MAX)
        message->size += bytes;
    else
        f->growing = 0;
}

static long step(__u32 index, struct walk *walk)
{
    struct followed *f = walk->followed;
    struct stream *s = &f->sent;
    __u32 left = s->end - s->at;
    if (s->lost != 0 || left == 0)
        return 1;
    if (s->skip > 0) {
        grow(f, skip_body(s, left));
        if (s->skip == 0 && s->phase == FIRST_LINE)
            f->growing = 0;
        return 0;
    }
    __u64 before = s->offset;
    int why = take_piece(walk->skb, s);
    if (why == 0) /* it does not own what nobody understands */
        grow(f, (__u32)(s->offset - before));
    if (s->phase == FIRST_LINE)
        f->growing = 0;
    if (why == 0 && s->phase == HEAD_END)
        why = f->accepted ? end_answer_head(f) : end_request_head(f);
    if (why != 0)
        lose(f, s, (__u32)why);
    return 0;
}

struct tcp_head {
    __be16 source, destination;
    __be32 seq, ack;
    __u8 size, flags;
    __be16 window;
};

enum { TCP_FLAG_SYN = 2, HOP_BY_HOP = 0, BARE_MOST = 14 + 4 + 40 + 60 };

/* Where the payload lies in a packet whose network header is at `base`. False: it is none of TCP;
 * what a tunnel makes of one still names the socket. */
static __always_inline bool find_payload(struct __sk_buff *skb, __u32 base, __u32 *ret_at,
                                         struct tcp_head *tcp)
{
    __u8 ip[10], options[2];
    if (bpf_skb_load_bytes(skb, base, ip, sizeof(ip)) != 0)
        return false;
    bool v6 = ip[0] >> 4 == 6;
    __u32 at = base + (v6 ? 40 : (__u32)(ip[0] & 15) * 4);
    __u8 protocol = v6 ? ip[6] : ip[9];
    if (v6 && protocol == HOP_BY_HOP) {
        if (bpf_skb_load_bytes(skb, at, options, sizeof(options)) != 0)
            return false;
        protocol = options[0];
        at += 8 + (__u32)options[1] * 8;
    }
    if (protocol != IPPROTO_TCP || bpf_skb_load_bytes(skb, at, tcp, sizeof(*tcp)) != 0)
        return false;
    *ret_at = at + (__u32)(tcp->size >> 4) * 4;
    return true;
}

/* The packet's bytes from `seq` on lie at [at, end); those before `acked` have arrived. */
static __always_inline void follow(struct __sk_buff *skb, struct followed *f, __u32 seq,
                                   __u32 acked, __u32 at, __u32 end)
{
    struct stream *s = &f->sent;
    __s32 known = (__s32)(s->next - seq);
    if (known >= (__s32)(end - at))
        return; /* it has been here before */
    if (known < 0) {
        lose(f, s, UT_TRACE_GAP);
        return;
    }
    f->acked = s->offset - (__u32)(s->next - acked);
    s->at = at + (__u32)known;
    s->end = end;
    struct walk walk = {.skb = skb, .followed = f};
    bpf_loop(STEPS, step, &walk, 0);
    if (s->at != s->end && s->lost == 0)
        lose(f, s, UT_TRACE_TOO_LONG);
}

/* No retransmit that may still come has anything to tell, and nothing new will be known. */
static __always_inline bool is_over(const struct followed *f, __u32 seq)
{
    return f->sent.lost != 0 && ((f->accepted ? f->answered : f->found) == 0 ||
                                 (__s32)(seq - f->sent.next) > FORGOTTEN_BEHIND);
}

static __always_inline bool is_network_header(struct __sk_buff *skb, __u32 at,
                                              const __u32 network[5])
{
    __u32 words[5];
    if (bpf_skb_load_bytes(skb, at, words, sizeof(words)) != 0)
        return false;
    return words[0] == network[0] && words[1] == network[1] && words[2] == network[2] &&
           words[3] == network[3] && words[4] == network[4];
}

/* Where the network header lies behind its link's: Ethernet's, with a VLAN or without, or none as
 * of a tunnel's. Nothing tells the number, but the same bytes are to be had without it. */
static __always_inline bool find_network(struct __sk_buff *skb, __u32 *ret_at)
{
    __u32 network[5];
    if (bpf_skb_load_bytes_relative(skb, 0, network, sizeof(network), BPF_HDR_START_NET) != 0)
        return false;
    *ret_at = 14;
    if (is_network_header(skb, 14, network))
        return true;
    *ret_at = 0;
    if (is_network_header(skb, 0, network))
        return true;
    *ret_at = 18;
    return is_network_header(skb, 18, network);
}

/* Where a packet's bytes are. */
struct payload {
    __u32 at, end, seq;
    bool readable;
};

/* False: there is nothing in it to look at. */
static __always_inline bool has_payload(struct __sk_buff *skb, bool link_header,
                                        struct payload *ret)
{
    struct tcp_head tcp;
    __u32 base = 0;
    ret->end = skb->len;
    ret->readable = !link_header || find_network(skb, &base);
    if (!ret->readable)
        return true;
    if (!find_payload(skb, base, &ret->at, &tcp) || ret->at >= ret->end)
        return false;
    ret->seq = bpf_ntohl(tcp.seq);
    return (tcp.flags & TCP_FLAG_SYN) == 0;
}

/* Returns whether the streams are of no more use. */
static __always_inline bool look_at(struct __sk_buff *skb, struct bpf_sock *sk, struct followed *f,
                                    const struct payload *payload)
{
    if (!payload->readable) {
        if (f->sent.lost == 0)
            lose(f, &f->sent, UT_TRACE_UNREADABLE);
        return f->found == 0;
    }
    __u32 seq = payload->seq;
    struct bpf_tcp_sock *state = bpf_tcp_sock(sk);
    __u32 acked = state != NULL ? state->snd_una : seq;
    if (f->sent.lost == 0)
        follow(skb, f, seq, acked, payload->at, payload->end);
    return is_over(f, seq);
}

/* A packet that is seen by one read to hold headers alone, as the acknowledgements do that are the
 * most of what a client sends: the usual headers, of no more than `BARE_MOST` bytes. */
static __always_inline bool is_bare(struct __sk_buff *skb)
{
    __u8 packet[40], tcp_size = 0;
    if (skb->len > BARE_MOST ||
        bpf_skb_load_bytes_relative(skb, 0, packet, sizeof(packet), BPF_HDR_START_NET) != 0)
        return false;
    if (packet[0] == 0x45) /* IPv4 without options */
        return packet[9] == IPPROTO_TCP &&
               (packet[2] << 8 | packet[3]) == 20 + (packet[32] >> 4) * 4;
    if (packet[0] >> 4 != 6 || packet[6] != IPPROTO_TCP ||
        bpf_skb_load_bytes_relative(skb, 52, &tcp_size, 1, BPF_HDR_START_NET) != 0)
        return false;
    return (packet[4] << 8 | packet[5]) == (tcp_size >> 4) * 4;
}

__noinline int follow_packet(struct __sk_buff *skb, bool link_header)
{
    struct payload payload;
    struct bpf_sock *sk = skb->sk;
    if (sk == NULL || is_bare(skb))
        return 0;
    sk = bpf_sk_fullsock(sk);
    if (sk == NULL)
        return 0;
    struct followed *f = bpf_sk_storage_get(&streams, sk, NULL, 0);
    if (f == NULL || !has_payload(skb, link_header, &payload) || !take(f))
        return 0;
    bool useless = look_at(skb, sk, f, &payload);
    release(f);
    if (useless && bpf_sk_storage_delete(&streams, sk) == 0)
        __sync_fetch_and_sub(&streams_open, 1);
    return 0;
}

SEC("cgroup_skb/egress")
int trace_egress(struct __sk_buff *skb)
{
    follow_packet(skb, false);
    return 1;
}

/* ---- sockets -------------------------------------------------------------------------------- */

static __always_inline bool is_multipath(const struct tcp_sock *tcp)
{
    return bpf_core_field_exists(tcp->is_mptcp) && tcp->is_mptcp;
}

/* The first bytes' numbers follow from how far the connection has come, as in tcp.bpf.c. */
static __always_inline void begin_stream(struct sock *sk, struct tcp_sock *tcp, bool accepted)
{
    struct ut_trace_counters *counted = trace_counted();
    if (counted == NULL || !sends_spans(sk))
        return;
    if (is_multipath(tcp)) {
        count(&counted->lost[UT_TRACE_MULTIPATH]);
        return;
    }
    if (!accepted && tcp->bytes_acked == 0)
        return; /* its SYN never was: it was restored in the middle of its bytes (TCP_REPAIR) */
    struct followed *f = NULL;
    if (__sync_fetch_and_add(&streams_open, 1) < max_streams)
        f = bpf_sk_storage_get(&streams, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (f == NULL) {
        __sync_fetch_and_sub(&streams_open, 1);
        count(&counted->lost[UT_TRACE_NO_ROOM]);
        return;
    }
    end_alone(sk);
    f->accepted = f->sent.answers = accepted;
    f->sent.next = tcp->snd_una - (__u32)tcp->bytes_acked + (accepted ? 0 : 1);
    f->received.next = tcp->rcv_nxt - (__u32)tcp->bytes_received;
    count(&counted->sockets);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(trace_sockets, struct sock *sk, int old_state, int new_state)
{
    struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    if (tcp == NULL)
        return 0;
    if (new_state == TCP_ESTABLISHED && old_state == TCP_SYN_SENT)
        begin_stream(sk, tcp, false);
    else if (new_state == TCP_ESTABLISHED && old_state == TCP_SYN_RECV && answers_followed)
        begin_stream(sk, tcp, true);
    else if (new_state == TCP_CLOSE && bpf_sk_storage_delete(&streams, sk) == 0)
        __sync_fetch_and_sub(&streams_open, 1);
    return 0;
}

/* ---- retransmits ---------------------------------------------------------------------------- */

static long find_hit(__u32 index, struct walk *walk)
{
    struct followed *f = walk->followed;
    __u32 kept = f->found < MESSAGES_KEPT ? f->found : MESSAGES_KEPT;
    if (index >= kept)
        return 1;
    __u32 slot = (f->found - kept + index) % MESSAGES_KEPT;
    const struct message *message = &f->messages[slot];
    if (message->start >= f->to || message->start + message->size <= f->from)
        return 0;
    if (f->hit_count >= UT_TRACE_IDS_MAX) {
        f->hits_more++;
        return 0;
    }
    f->hits[f->hit_count % UT_TRACE_IDS_MAX] = (__u8)slot;
    f->hit_count++;
    return 0;
}

static __always_inline void write_id(struct ut_trace_id *out, const struct followed *f,
                                     const struct message *message)
{
    __u64 end = message->start + message->size;
    __u64 first = message->start > f->from ? message->start : f->from;
    __u64 last = end < f->to ? end : f->to;
    __builtin_memcpy(out->trace_id, message->trace_id, sizeof(out->trace_id));
    __builtin_memcpy(out->span_id, message->span_id, sizeof(out->span_id));
    out->bytes = (ut_u32)(last - first);
    out->offset = (ut_u32)(first - f->from);
}

/* Which messages lie in the segment, and where it lies itself. */
static __always_inline void find_hits(struct followed *f, __u32 seq, __u32 bytes)
{
    f->from = f->sent.offset + (__u64)(__s64)(__s32)(seq - f->sent.next);
    f->to = f->from + bytes;
    f->hit_count = f->hits_more = 0;
    struct walk walk = {.followed = f};
    bpf_loop(MESSAGES_KEPT, find_hit, &walk, 0);
}

static __always_inline void tell_hits(struct sock *sk, const struct followed *f, __u32 seq,
                                      __u32 bytes)
{
    __u64 owner = socket_cgroup(sk);
    struct ut_record_trace_ids *record =
        begin_record(UT_RECORD_TRACE_IDS, sizeof(*record), owner, owner);
    if (record == NULL)
        return;
    record->cookie = bpf_get_socket_cookie(sk);
    record->seq = seq;
    record->bytes = bytes;
    record->count = f->hit_count;
    record->more = f->hits_more;
    __builtin_memset(record->ids, 0, sizeof(record->ids));
    for (__u32 i = 0; i < UT_TRACE_IDS_MAX; i++) {
        if (i < f->hit_count)
            write_id(&record->ids[i], f, &f->messages[f->hits[i] % MESSAGES_KEPT]);
    }
    end_record(record);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(trace_retransmit, struct sock *sk, struct sk_buff *skb)
{
    if (retransmit_tells_error() && (int)ctx[2] != 0)
        return 0;
    struct followed *f = bpf_sk_storage_get(&streams, sk, NULL, 0);
    if (f == NULL || f->found == 0 || !take(f))
        return 0;
    const struct tcp_skb_cb *segment = (const void *)&skb->cb[0];
    __u32 seq = BPF_CORE_READ(segment, seq), bytes = skb->len;
    find_hits(f, seq, bytes);
    if (f->hit_count > 0)
        tell_hits(sk, f, seq, bytes);
    release(f);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
