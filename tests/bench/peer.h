/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bench peer: one HTTP/2 connection (of a client: or HTTP/1.1) on an epoll loop, no more than the
 * load, the sink and the floor need. It trusts both ends and waits where a product may not: what it
 * costs is the least that nghttp2 and the socket cost.
 */
#ifndef UT_BENCH_PEER_H
#define UT_BENCH_PEER_H

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct peer;

/* One exchange: what was received on a stream, and what is sent on it. */
struct exchange {
    struct peer *peer;
    int32_t stream;
    uint8_t *in; /* given back when on_request returns */
    size_t in_size;
    const uint8_t *out;
    size_t out_size, out_sent;
    int status; /* grpc-status received, or 0 for HTTP's 200 and 1 for others; -1 before */
    void *user;
    struct exchange *next; /* free list */
};

struct peer_ops {
    void (*on_request)(struct exchange *exchange);  /* server: the request is whole */
    void (*on_response)(struct exchange *exchange); /* client: the stream is closed */
    void (*on_gone)(struct peer *peer);
};

#define PEER_RUNS 64

struct peer {
    int fd;
    SSL *tls; /* NULL: without */
    bool client, accepting;
    const struct peer_ops *ops;
    const char *coding;       /* NULL: none */
    nghttp2_session *session; /* NULL: HTTP/1.1 */
    struct http1 *http1;
    struct iovec runs[PEER_RUNS];
    int run_count;
    uint8_t small[8192];
    size_t small_size;
    struct peer *next;
};

struct bench_loop {
    int epoll;
    struct peer *peers;
    uint8_t *read_buffer;
    SSL_CTX *tls; /* for bench_connect; NULL: without */
    bool http1;   /* for bench_connect */
    bool stop;
};

void bench_loop_init(struct bench_loop *loop);
/* Waits up to timeout_ms for one round of events, then sends what is pending on all peers. */
void bench_loop_turn(struct bench_loop *loop, int timeout_ms);

/* Listens on 127.0.0.1:port; accepted peers get `ops`. */
void bench_listen(struct bench_loop *loop, uint16_t port, const struct peer_ops *ops);
/* Connects to 127.0.0.1:port, trying for 10 s; ends the program if nobody listens. */
struct peer *bench_connect(struct bench_loop *loop, uint16_t port, const struct peer_ops *ops);

#define BENCH_BUFFER (1 << 20) /* bytes */
uint8_t *bench_take_buffer(void);
void bench_give_buffer(uint8_t *buffer);

/* Sends a gRPC Export request whose framed bytes are out[0..size), borrowed until on_response;
 * `peer->coding` is what its message is compressed with. Over HTTP/1.1 they are the whole request,
 * one at a time. */
void bench_request(struct peer *peer, const uint8_t *out, size_t size, void *user);
/* Answers with an empty message and grpc-status 0. */
void bench_answer(struct exchange *exchange);

#endif
