// SPDX-License-Identifier: GPL-2.0
/*
 * Which span's bytes lie where in a TCP stream: for plain HTTP/1.1 requests whose head carries a
 * `traceparent`. Only sockets that were connected by workloads that send spans here (`senders`) are
 * followed, from their first byte on; of a packet nothing is kept but the two ids and, until its
 * end has come, the line of a head at hand.
 *
 * `trace_sockets` gives such a socket a stream when it is established and takes it back when it is
 * closed. `trace_egress` sees its packets in order, before they are cut into segments, and goes
 * from request to request by their framing alone: where one ends the next begins, so that what
 * bodies hold is never looked at. `trace_retransmit` tells which of the requests found lie in a
 * segment that is sent again; it runs behind tcp_retransmit_skb, whose record it adds to.
 *
 * 1. Nothing is guessed. What is not surely the framing that both ends see (RFC 9112) ends the
 *    following of the socket, counted by its reason; what was found before stays true.
 * 2. One at a time touches a stream. That is mostly its socket's lock, but a packet that had to
 * wait for its neighbour's address or in another interface's queue goes out without: whoever finds
 *    the stream `busy` leaves it alone, and the packet will be missing in it.
 * 3. Positions are counted from the stream's first byte in 64 bits; sequence numbers only tell how
 *    far a packet is from `next`.
 */
#include "http1.bpf.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

/* Set by the loader. */
const volatile __u32 max_streams = 32768;

__u32 streams_open = 0;

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct stream);
} streams SEC(".maps");

/* The cgroups whose sockets are followed; user space writes it. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, __u64);
    __type(value, __u8);
} senders SEC(".maps");

static __always_inline void lose(struct stream *s, __u32 why)
{
    struct ut_trace_counters *counted = trace_counted();
    s->lost = why;
    s->growing = 0;
    __builtin_memset(s->text, 0, sizeof(s->text));
    if (counted != NULL && why < UT_TRACE_LOSSES)
        count(&counted->lost[why]);
}

#define SPACES 0x2020202020202020ULL
#define BELOW_SPACE(w) (((w)-SPACES) & ~(w)&0x8080808080808080ULL) /* its lowest bit is right */

/* Where the first control byte of text[from, from + size) is; ≥ 256: there is none. */
__noinline int find_control(const struct stream *s, __u32 from, __u32 size)
{
    if (s == NULL)
        return 256;
    for (__u32 i = 0; i < PIECE; i += 8) {
        if (i >= size)
            break;
        __u64 at = from + i;
        asm volatile("%0 &= 0xff" : "+r"(at));
        __u64 word = *(const volatile __u64 *)(s->text + at);
        __u64 found = BELOW_SPACE(word);
        if (found == 0)
            continue;
        __u32 byte = 0;
        if ((found & 0xffffffff) == 0) {
            byte += 4;
            found >>= 32;
        }
        if ((found & 0xffff) == 0) {
            byte += 2;
            found >>= 16;
        }
        if ((found & 0xff) == 0)
            byte += 1;
        return i + byte < size ? (int)(at + byte) : 256;
    }
    return 256;
}

/* ---- packets -------------------------------------------------------------------------------- */

static __always_inline void consume(struct stream *s, __u32 bytes)
{
    s->at += bytes;
    s->next += bytes;
    s->offset += bytes;
    if (s->growing)
        s->requests[(s->found - 1) % REQUESTS_KEPT].size += bytes;
}

/* The line goes on in the next piece. Of a long one its first bytes stay, and its last ones before
 * the next piece, so that its end can be read in one. */
static __always_inline void on_unfinished(struct stream *s, __u64 total)
{
    if (total <= PIECE) {
        s->line = (__u32)total;
        return;
    }
    __u64 last = total - (PIECE - PREFIX);
    asm volatile("%0 &= 0xff" : "+r"(last));
    volatile __u64 *kept = (volatile __u64 *)(s->text + PREFIX);
    const volatile __u64 *from = (const volatile __u64 *)(s->text + last);
    kept[0] = from[0];
    kept[1] = from[1];
    s->line = PIECE;
    s->long_line = 1;
}

static __always_inline bool in_head(const struct stream *s)
{
    return s->phase == REQUEST_LINE || s->phase == HEADER;
}

/* The LF of a line whose CR was the last byte of the piece before. */
static __always_inline int finish_line(struct __sk_buff *skb, struct stream *s)
{
    char c = 0;
    if (bpf_skb_load_bytes(skb, s->at, &c, 1) != 0)
        return UT_TRACE_UNREADABLE;
    if (c != '\n')
        return UT_TRACE_MALFORMED;
    s->cr = 0;
    consume(s, 1);
    return on_line(s);
}

/* Reads on in the line at hand: to its end, or as far as the packet or a piece goes. Any control
 * byte but one CR before one LF is not framing that all understand alike. */
__noinline int take_piece(struct __sk_buff *skb, struct stream *s)
{
    if (s == NULL)
        return 0;
    if (s->cr)
        return finish_line(skb, s);
    __u64 from = s->line, last = s->end - s->at - 1;
    if (last > PIECE - 1)
        last = PIECE - 1;
    if (s->phase == REQUEST_LINE && from == 0)
        s->head = s->offset;
    /* Verifiers before 6.8 do not see from a test for 0 that a size is 1 at least. */
    asm volatile("%0 &= 0xff" : "+r"(from));
    asm volatile("%0 &= 0x7f" : "+r"(last));
    __u64 size = last + 1;
    if (from > PIECE || s->at >= s->end ||
        bpf_skb_load_bytes(skb, s->at, s->text + from, (__u32)size))
        return UT_TRACE_UNREADABLE;
    __u8 first = text_at(s, 0);
    if (s->phase == REQUEST_LINE && first != '\r' && (first < 'A' || first > 'Z'))
        return UT_TRACE_NOT_HTTP;
    __u32 found = (__u32)find_control(s, (__u32)from, (__u32)size);
    if (found >= 2 * PIECE) {
        consume(s, (__u32)size);
        on_unfinished(s, from + size);
        return in_head(s) && s->offset - s->head > HEAD_MAX ? UT_TRACE_TOO_LONG : 0;
    }
    if (text_at(s, found) != '\r')
        return UT_TRACE_MALFORMED;
    __u32 taken = found + 1 - (__u32)from;
    s->line = found;
    if (taken == size) {
        consume(s, taken);
        s->cr = 1;
        return 0;
    }
    if (text_at(s, found + 1) != '\n')
        return UT_TRACE_MALFORMED;
    consume(s, taken + 1);
    if (in_head(s) && s->offset - s->head > HEAD_MAX)
        return UT_TRACE_TOO_LONG;
    return on_line(s);
}

struct walk {
    struct __sk_buff *skb;
    struct stream *stream;
};

static long step(__u32 index, struct walk *walk)
{
    struct stream *s = walk->stream;
    __u32 left = s->end - s->at;
    if (s->lost != 0 || left == 0)
        return 1;
    if (s->skip > 0) {
        __u32 bytes = s->skip < left ? (__u32)s->skip : left;
        s->skip -= bytes;
        consume(s, bytes);
        return 0;
    }
    __u64 before = s->offset;
    int why = take_piece(walk->skb, s);
    if (why == 0)
        return 0;
    if (s->growing) /* it does not own what nobody understands */
        s->requests[(s->found - 1) % REQUESTS_KEPT].size -= (__u32)(s->offset - before);
    lose(s, (__u32)why);
    return 0;
}

struct tcp_head {
    __be16 source, destination;
    __be32 seq, ack;
    __u8 size, flags;
    __be16 window;
};

enum { TCP_FLAG_SYN = 2, HOP_BY_HOP = 0 };

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
static __always_inline void follow(struct __sk_buff *skb, struct stream *s, __u32 seq, __u32 acked,
                                   __u32 at, __u32 end)
{
    __s32 known = (__s32)(s->next - seq);
    if (known >= (__s32)(end - at))
        return; /* it has been here before */
    if (known < 0) {
        lose(s, UT_TRACE_GAP);
        return;
    }
    s->acked = s->offset - (__u32)(s->next - acked);
    s->at = at + (__u32)known;
    s->end = end;
    struct walk walk = {.skb = skb, .stream = s};
    bpf_loop(STEPS, step, &walk, 0);
    if (s->at != s->end && s->lost == 0)
        lose(s, UT_TRACE_TOO_LONG);
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

static __always_inline bool take(struct stream *s)
{
    return __sync_lock_test_and_set(&s->busy, 1) == 0;
}

static __always_inline void release(struct stream *s)
{
    __sync_lock_test_and_set(&s->busy, 0);
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

/* Returns whether the stream is of no more use. */
static __always_inline bool look_at(struct __sk_buff *skb, struct bpf_sock *sk, struct stream *s,
                                    const struct payload *payload)
{
    if (!payload->readable) {
        if (s->lost == 0)
            lose(s, UT_TRACE_UNREADABLE);
        return s->found == 0;
    }
    __u32 seq = payload->seq;
    struct bpf_tcp_sock *state = bpf_tcp_sock(sk);
    __u32 acked = state != NULL ? state->snd_una : seq;
    if (s->lost == 0)
        follow(skb, s, seq, acked, payload->at, payload->end);
    return s->lost != 0 && (s->found == 0 || (__s32)(seq - s->next) > FORGOTTEN_BEHIND);
}

__noinline int follow_packet(struct __sk_buff *skb, bool link_header)
{
    struct payload payload;
    struct bpf_sock *sk = skb->sk;
    if (sk == NULL)
        return 0;
    sk = bpf_sk_fullsock(sk);
    if (sk == NULL)
        return 0;
    struct stream *s = bpf_sk_storage_get(&streams, sk, NULL, 0);
    if (s == NULL || !has_payload(skb, link_header, &payload) || !take(s))
        return 0;
    bool useless = look_at(skb, sk, s, &payload);
    release(s);
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

/* The first byte's number follows from how far the connection has come, as in tcp.bpf.c. */
static __always_inline void begin_stream(struct sock *sk, struct tcp_sock *tcp)
{
    struct ut_trace_counters *counted = trace_counted();
    __u64 cgroup = socket_cgroup(sk);
    if (counted == NULL || bpf_map_lookup_elem(&senders, &cgroup) == NULL)
        return;
    if (is_multipath(tcp)) {
        count(&counted->lost[UT_TRACE_MULTIPATH]);
        return;
    }
    struct stream *s = NULL;
    if (__sync_fetch_and_add(&streams_open, 1) < max_streams)
        s = bpf_sk_storage_get(&streams, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (s == NULL) {
        __sync_fetch_and_sub(&streams_open, 1);
        count(&counted->lost[UT_TRACE_NO_ROOM]);
        return;
    }
    s->next = tcp->snd_una - (__u32)tcp->bytes_acked + 1;
    count(&counted->sockets);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(trace_sockets, struct sock *sk, int old_state, int new_state)
{
    struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    if (tcp == NULL)
        return 0;
    if (new_state == TCP_ESTABLISHED && old_state == TCP_SYN_SENT)
        begin_stream(sk, tcp);
    else if (new_state == TCP_CLOSE && bpf_sk_storage_delete(&streams, sk) == 0)
        __sync_fetch_and_sub(&streams_open, 1);
    return 0;
}

/* ---- retransmits ---------------------------------------------------------------------------- */

static long find_hit(__u32 index, struct walk *walk)
{
    struct stream *s = walk->stream;
    __u32 kept = s->found < REQUESTS_KEPT ? s->found : REQUESTS_KEPT;
    if (index >= kept)
        return 1;
    __u32 slot = (s->found - kept + index) % REQUESTS_KEPT;
    const struct request *request = &s->requests[slot];
    if (request->start >= s->to || request->start + request->size <= s->from)
        return 0;
    if (s->hit_count >= UT_TRACE_IDS_MAX) {
        s->hits_more++;
        return 0;
    }
    s->hits[s->hit_count % UT_TRACE_IDS_MAX] = (__u8)slot;
    s->hit_count++;
    return 0;
}

static __always_inline void write_id(struct ut_trace_id *out, const struct stream *s,
                                     const struct request *request)
{
    __u64 end = request->start + request->size;
    __u64 first = request->start > s->from ? request->start : s->from;
    __u64 last = end < s->to ? end : s->to;
    __builtin_memcpy(out->trace_id, request->trace_id, sizeof(out->trace_id));
    __builtin_memcpy(out->span_id, request->span_id, sizeof(out->span_id));
    out->bytes = (ut_u32)(last - first);
    out->offset = (ut_u32)(first - s->from);
}

/* Which requests lie in the segment, and where it lies itself. */
static __always_inline void find_hits(struct stream *s, __u32 seq, __u32 bytes)
{
    s->from = s->offset + (__u64)(__s64)(__s32)(seq - s->next);
    s->to = s->from + bytes;
    s->hit_count = s->hits_more = 0;
    struct walk walk = {.stream = s};
    bpf_loop(REQUESTS_KEPT, find_hit, &walk, 0);
}

static __always_inline void tell_hits(struct sock *sk, const struct stream *s, __u32 seq,
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
    record->count = s->hit_count;
    record->more = s->hits_more;
    __builtin_memset(record->ids, 0, sizeof(record->ids));
    for (__u32 i = 0; i < UT_TRACE_IDS_MAX; i++) {
        if (i < s->hit_count)
            write_id(&record->ids[i], s, &s->requests[s->hits[i] % REQUESTS_KEPT]);
    }
    end_record(record);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(trace_retransmit, struct sock *sk, struct sk_buff *skb)
{
    if (retransmit_tells_error() && (int)ctx[2] != 0)
        return 0;
    struct stream *s = bpf_sk_storage_get(&streams, sk, NULL, 0);
    if (s == NULL || s->found == 0 || !take(s))
        return 0;
    const struct tcp_skb_cb *segment = (const void *)&skb->cb[0];
    __u32 seq = BPF_CORE_READ(segment, seq), bytes = skb->len;
    find_hits(s, seq, bytes);
    if (s->hit_count > 0)
        tell_hits(sk, s, seq, bytes);
    release(s);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
