/* SPDX-License-Identifier: Apache-2.0 */
/* The request that the load sends, and the sink's look at what arrives. */
#ifndef UT_BENCH_BODY_H
#define UT_BENCH_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BODY_ATTRIBUTES = 8, BODY_RESOURCE = 6 };

struct body_attribute {
    const char *key, *text; /* text NULL: the number */
    unsigned number;
    bool replaced_by_peer; /* spans that name a peer stay about as long as the others */
};

extern const struct body_attribute body_attributes[BODY_ATTRIBUTES];
extern const struct body_attribute body_resource[BODY_RESOURCE];

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

/* A whole HTTP/1.1 request, in place of `framed`, which is freed. `form`: "protobuf"; "chunked",
 * the same in the one chunk that Node's HTTP client makes of it; "json", spans with the same values
 * as the SDK for Node writes them. */
uint8_t *body_http(uint8_t *framed, const struct body_options *options, const char *form,
                   size_t *size);

struct body_count {
    uint64_t spans, with_key;
};

/* Counts the spans of a request, and those that hold the bytes of `key` (NULL: none). Ends the
 * program where the bytes do not parse. */
struct body_count body_count_spans(const uint8_t *data, size_t size, const char *key);

#endif
