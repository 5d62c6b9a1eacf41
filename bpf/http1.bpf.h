/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Requests of HTTP/1.1 in a stream of bytes that comes in pieces: what is known of a socket's
 * stream, and the work on each whole line (RFC 9112), for trace_context.bpf.c, which reads the
 * lines out of packets. A line's function returns 0, or the enum ut_trace_loss that ends the
 * following.
 *
 * The functions that are not inlined are so that the verifier looks at each once.
 */
#ifndef UT_BPF_HTTP1_H
#define UT_BPF_HTTP1_H

#include "output.bpf.h"

#define REQUESTS_KEPT 32 /* a power of two */
#define PIECE                                                                                      \
    128            /* bytes that are read at once, and the most that is kept of an unfinished line \
                    */
#define PREFIX 112 /* of a longer line its first bytes are kept, and behind them its last ones */
#define STEPS 4096 /* of one packet: pieces, lines and bodies */
#define HEAD_MAX (64 << 10)
#define MESSAGE_MAX (1 << 30)
#define FORGOTTEN_BEHIND (1 << 30) /* sequence numbers come again after 4 GiB */

struct request {
    __u64 start; /* of its head */
    __u32 size;  /* with its body, as far as it is known to reach */
    __u32 reserved;
    ut_u8 trace_id[16];
    ut_u8 span_id[8];
};

enum phase { REQUEST_LINE, HEADER, CHUNK_SIZE, CHUNK_END, TRAILER };

enum {
    HAS_LENGTH = 1,
    HAS_CHUNKED = 2,
    HAS_BAD_FRAMING = 4,
    HAS_TRACEPARENT = 8,
    HAS_BAD_TRACEPARENT = 16,
    HAS_EXPECT = 32,
    HAS_UPGRADE = 64, /* or a tunnel */
};

struct stream {
    __u64 offset;   /* of the next byte that has not been looked at; `next` is its number */
    __u64 skip;     /* bytes from there on that are body */
    __u64 head;     /* where the head at hand began */
    __u64 length;   /* its Content-Length */
    __u64 from, to; /* a retransmit's bytes */
    __u64 acked;    /* what lies before has arrived */
    __u32 next;
    __u32 at, end; /* in the packet at hand */
    __u32 found;   /* requests with ids so far; the latest ones are kept */
    __u32 lost;    /* enum ut_trace_loss; 0: it is followed */
    __u32 line;    /* bytes of the line at hand in `text` */
    __u32 hit_count, hits_more;
    __u8 hits[UT_TRACE_IDS_MAX];
    __u8 has; /* of the head at hand */
    __u8 phase;
    __u8 long_line; /* `text` holds its first PREFIX bytes and its last ones */
    __u8 cr;        /* the line's CR has been seen, its LF not yet */
    __u8 growing;   /* the latest request found is not over */
    __u32 busy;     /* somebody is at work on it */
    ut_u8 trace_id[16];
    ut_u8 span_id[8];
    char text[2 * PIECE + 16];
    struct request requests[REQUESTS_KEPT];
};

_Static_assert(sizeof(struct stream) <= 2048, "a socket's storage outgrew its limit");

struct trace_counters_map {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct ut_trace_counters);
};

extern struct trace_counters_map trace_counters SEC(".maps");

static __always_inline struct ut_trace_counters *trace_counted(void)
{
    __u32 zero = 0;
    return bpf_map_lookup_elem(&trace_counters, &zero);
}

static __always_inline __u8 text_at(const struct stream *s, __u64 at)
{
    asm volatile("%0 &= 0xff" : "+r"(at));
    return *(const volatile __u8 *)(s->text + at);
}

/* A line is whole: its bytes up to the CR are in `text`. */
int on_line(struct stream *s);

/* A packet goes out, with its link's header in front or without. Returns 0. */
int follow_packet(struct __sk_buff *skb, bool link_header);

#endif
