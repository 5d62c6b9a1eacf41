/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * HTTP/1.1 in a stream of bytes that comes in pieces (RFC 9112): what is known of a stream, and the
 * work on each piece of a line. trace_context.bpf.c reads them out of packets that are sent,
 * answers.bpf.c out of what a server reads. Functions return 0, or the enum ut_trace_loss that ends
 * the following.
 *
 * At the end of each head the stream stands in HEAD_END; its owner takes what it wants to know of
 * the head and goes on with begin_request_body or begin_answer_body.
 *
 * The functions that are not inlined are so that the verifier looks at each once.
 */
#ifndef UT_BPF_HTTP1_H
#define UT_BPF_HTTP1_H

#include "output.bpf.h"
#include "trace_counters.h"

#define PIECE                                                                                      \
    128            /* bytes that are read at once, and the most that is kept of an unfinished line \
                    */
#define PREFIX 112 /* of a longer line its first bytes are kept, and behind them its last ones */
#define STEPS 4096 /* of one packet: pieces, lines and bodies */
#define HEAD_MAX (64 << 10)
#define MESSAGE_MAX (1 << 30)
#define UNTIL_CLOSED (~0ULL) /* a body that ends with its connection */

enum phase { FIRST_LINE, HEADER, HEAD_END, CHUNK_SIZE, CHUNK_END, TRAILER };

enum {
    HAS_LENGTH = 1,
    HAS_CHUNKED = 2,
    HAS_BAD_FRAMING = 4,
    HAS_TRACEPARENT = 8,
    HAS_BAD_TRACEPARENT = 16,
    HAS_EXPECT = 32,
    HAS_UPGRADE = 64,      /* or a tunnel */
    HAS_HEAD = 128,        /* the method: its answer has no body */
    HAS_OLD_VERSION = 256, /* HTTP/1.0, which knows no chunks */
};

/* One direction of a connection. */
struct stream {
    __u64 offset; /* of the next byte that has not been looked at; `next` is its number */
    __u64 skip;   /* bytes from there on that are body */
    __u64 head;   /* where the head at hand began */
    __u64 length; /* its Content-Length */
    __u32 next;
    __u32 at, end; /* in the packet at hand */
    __u32 lost;    /* enum ut_trace_loss; 0: it is followed */
    __u32 line;    /* bytes of the line at hand in `text` */
    __u16 status;  /* of the answer at hand */
    __u16 has;     /* of the head at hand */
    __u8 phase;
    __u8 answers;   /* not requests */
    __u8 long_line; /* `text` holds its first PREFIX bytes and its last ones */
    __u8 cr;        /* the line's CR has been seen, its LF not yet */
    ut_u8 trace_id[16];
    ut_u8 span_id[8];
    char text[2 * PIECE + 16];
};

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

static __always_inline void consume(struct stream *s, __u32 bytes)
{
    s->at += bytes;
    s->next += bytes;
    s->offset += bytes;
}

/* Goes on in a body whose bytes nobody looks at; returns how many of the `left` ones are of it. */
static __always_inline __u32 skip_body(struct stream *s, __u32 left)
{
    __u32 bytes = s->skip < left ? (__u32)s->skip : left;
    s->skip -= bytes;
    consume(s, bytes);
    return bytes;
}

/* Where in `text` the next piece goes and how many bytes it has, of [at, end). */
static __always_inline bool place_piece(struct stream *s, __u64 *ret_from, __u64 *ret_size)
{
    __u64 from = s->line, beyond_first = s->end - s->at - 1;
    if (beyond_first > PIECE - 1)
        beyond_first = PIECE - 1;
    /* Verifiers before 6.8 do not see from a test for 0 that a size is 1 at least. */
    asm volatile("%0 &= 0xff" : "+r"(from));
    asm volatile("%0 &= 0x7f" : "+r"(beyond_first));
    *ret_from = from;
    *ret_size = beyond_first + 1;
    return from <= PIECE && s->at < s->end;
}

/* These bytes of the line at hand are in `text`, and are consumed: to the line's end, or all. */
int on_piece(struct stream *s, __u32 from, __u32 size);
/* What follows the CR of a line. */
int on_line_feed(struct stream *s, __u8 c);
/* The head of a request, or of an answer to one whose head had `asked` (HAS_…), is whole: what
 * follows is its body. */
int begin_request_body(struct stream *s);
int begin_answer_body(struct stream *s, __u32 asked);

#endif
