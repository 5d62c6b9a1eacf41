/* SPDX-License-Identifier: Apache-2.0 */
/* The request that the load sends, and the sink's look at what arrives. */
#ifndef UT_BENCH_BODY_H
#define UT_BENCH_BODY_H

#include <stddef.h>
#include <stdint.h>

struct body_options {
    unsigned spans;
    unsigned attributes; /* a span; 8 make ~419 B */
    unsigned kind;       /* Span.kind */
    uint16_t peer_port;  /* ≠ 0: network.peer.address 127.0.0.1 and this port on every span, in
                          * place of two others, about as long together */
    uint64_t start_ns, end_ns; /* of every span; 0: a moment in the past */
};

/* The framed request with its message compressed, in place of `framed`, which is freed. `coding`:
 * gzip (zlib's level 6, most senders' default) or zstd (level 3). */
uint8_t *body_compress(uint8_t *framed, const char *coding, size_t *size);

/* One gRPC-framed ExportTraceServiceRequest of one Resource; the caller frees it. */
uint8_t *body_new(const struct body_options *options, size_t *ret_size);

struct body_count {
    uint64_t spans, with_key;
};

/* Counts the spans of a request, and those that hold the bytes of `key` (NULL: none). Ends the
 * program where the bytes do not parse. */
struct body_count body_count_spans(const uint8_t *data, size_t size, const char *key);

#endif
