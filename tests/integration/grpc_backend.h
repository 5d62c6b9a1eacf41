/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OTLP/gRPC backend for tests, on the test's own loop and a port of its own on loopback. It
 * answers as it is told, and can be stopped and started again on the same port.
 */
#ifndef UT_TEST_GRPC_BACKEND_H
#define UT_TEST_GRPC_BACKEND_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <uv.h>

enum backend_manner {
    BACKEND_OK,
    BACKEND_PARTIAL, /* rejects 3 spans */
    BACKEND_UNAVAILABLE,
    BACKEND_RETRY_INFO, /* RESOURCE_EXHAUSTED with RetryInfo of 1.5 s */
    BACKEND_PERMANENT,
    BACKEND_TOO_LARGE, /* RESOURCE_EXHAUSTED at the request's headers, without its body */
    BACKEND_SILENT,    /* reads and never answers */
    BACKEND_FROZEN,    /* does not even read */
    BACKEND_CLOSES,    /* closes the connection at the first DATA frame */
    BACKEND_RESETS,    /* resets the connection at the first DATA frame */
    BACKEND_GARBAGE,   /* is no HTTP/2 server at all */
};

struct backend_connection {
    uv_tcp_t tcp;
    struct backend *backend;
    nghttp2_session *session;
    struct backend_connection *next;
    bool closing;
    uint32_t requests;   /* streams begun on this connection */
    int32_t last_stream; /* GOAWAY said so; 0: it has not been sent */
};

struct backend {
    uv_loop_t *loop;
    uv_tcp_t listener;
    bool listening;
    int port;
    struct backend_connection *connections;
    char read_buffer[1 << 16];
    /* Switches. */
    enum backend_manner manner;
    uint32_t goaway_after; /* so many streams of a connection are served, then GOAWAY; 0: off */
    uint32_t refuse;       /* the next so many streams are reset with REFUSED_STREAM */
    /* What was seen. */
    uint32_t accepted, open, answered, refused;
    uint64_t body_bytes;
    uint8_t *last_body; /* of the newest stream */
    size_t last_size;
    int32_t last_stream;
    char last_timeout[32], last_agent[64], last_authority[64], last_extra[64], last_encoding[32];
};

/* Listens on its port; the first time on a free one. */
void backend_start(struct backend *backend, uv_loop_t *loop);
/* Stops listening and closes every connection. */
void backend_stop(struct backend *backend);

#endif
