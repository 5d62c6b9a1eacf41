/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC client for tests, on an nghttp2 client session without a socket: the test moves the bytes
 * between grpc_peer_output and grpc_peer_input. It keeps what every stream was answered. Running
 * out of memory or of replies ends the test program.
 */
#ifndef UT_TEST_GRPC_PEER_H
#define UT_TEST_GRPC_PEER_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRPC_PEER_REPLIES 4096
#define GRPC_PEER_PATH "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

struct grpc_reply {
    int32_t stream;
    bool closed;
    uint32_t reset_code;          /* with which the stream was closed */
    int http_status, grpc_status; /* -1: none came */
    bool has_trailers;            /* a second header block came */
    char message[512], details[512], accept_encoding[64], content_type[64];
    uint8_t body[512];
    size_t body_size;
    /* The request's body that is still to be sent; `hold` keeps its end back. */
    uint8_t *data;
    size_t size, sent;
    bool hold;
};

struct grpc_peer {
    nghttp2_session *session;
    struct grpc_reply *replies;
    size_t count;
    uint32_t goaway_code; /* UINT32_MAX: no GOAWAY came */
    uint32_t pings_answered;
    uint32_t streams_max; /* of the server's SETTINGS */
};

struct grpc_request {
    const char *method, *path, *content_type, *encoding; /* NULL: as it should be; "": left out */
    const void *body;                                    /* framed already */
    size_t size;
    bool hold; /* END_STREAM does not come until grpc_peer_more */
    const nghttp2_nv *extra;
    size_t extra_count;
};

void grpc_peer_init(struct grpc_peer *peer);
void grpc_peer_done(struct grpc_peer *peer);

/* The reply fills as the answer comes; it lives as long as the peer. */
struct grpc_reply *grpc_peer_send(struct grpc_peer *peer, const struct grpc_request *request);
/* A message behind its five bytes of prefix. */
struct grpc_reply *grpc_peer_export(struct grpc_peer *peer, const void *message, size_t size);
/* Adds bytes to a request that was held; `last` lets it end. */
void grpc_peer_more(struct grpc_peer *peer, struct grpc_reply *reply, const void *data, size_t size,
                    bool last);

/* Up to `room` bytes for the server; 0: nothing to send now. `room` is at least 32 KiB. */
size_t grpc_peer_output(struct grpc_peer *peer, uint8_t *out, size_t room);
/* false: the server broke the protocol. */
bool grpc_peer_input(struct grpc_peer *peer, const uint8_t *data, size_t size);

#endif
