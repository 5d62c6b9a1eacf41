/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client session's peer in tests: a server session of nghttp2, and a wire between them that
 * moves as many bytes as a test wants, so that answers, resets and cancels come while bytes of a
 * call are still in the output. Bodies stand in blocks that are freed in `done`: a reference kept
 * too long is a use after free.
 */
#ifndef UT_TEST_H2_WIRE_H
#define UT_TEST_H2_WIRE_H

#include <nghttp2/nghttp2.h>

#include "net/h2_client.h"

enum { WIRE_STREAMS = 64 };

/* How the server behaves; all off: it answers each complete request. */
struct manner {
    uint32_t window, max_frame, max_streams; /* SETTINGS; 0: the default */
    bool silent;                             /* never answers */
    bool answers_early;                      /* at the request's headers, and ends the stream */
    uint32_t resets_with;                    /* RST_STREAM at the request's headers; 0: none */
    size_t header_fields;                    /* that many more in each response */
};

struct test_call {
    struct ut_h2_call call;
    struct iovec *runs;
    uint8_t *body;
    int *done_count;
    int status;
    char trailer[32];
    size_t response_bytes;
    enum ut_h2_end end;
    uint32_t error_code;
    bool over;
    void (*then)(struct test_call *call);
    void *then_arg;
};

struct wire {
    struct ut_pool pool;
    struct ut_h2_client client;
    nghttp2_session *server;
    struct manner manner;
    uint8_t *received[WIRE_STREAMS]; /* by stream id / 2 */
    size_t received_bytes[WIRE_STREAMS];
    int headers_seen, pings_seen;
    size_t largest_frame;
    int client_error;
};

struct wire *open_wire(struct manner manner);
/* Ends what is left as lost. */
void close_wire(struct wire *wire);

/* The client's bytes to the server, at most `most`; returns how many went. */
size_t carry_out(struct wire *wire, size_t most);
/* The server's bytes to the client, in pieces of at most `piece`. */
size_t carry_in(struct wire *wire, size_t piece);
/* Until both ends are quiet. */
void run(struct wire *wire, size_t piece);
/* The server answers the stream with an empty message and grpc-status 0. */
void answer(struct wire *wire, int32_t stream_id);

/* A body of `size` bytes in runs of `run_size`. */
struct test_call make_call(size_t size, size_t run_size);
/* What came on the stream (id / 2) is the whole body of make_call. */
void check_body(const struct wire *wire, size_t stream, size_t size);
void check_answered(const struct test_call *call);

#endif
