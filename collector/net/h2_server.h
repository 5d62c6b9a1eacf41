/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of one HTTP/2 connection, on nghttp2: bytes in, runs of bytes out, callbacks
 * between. No socket and no clock.
 *
 * It keeps a peer within bounds that nghttp2 does not keep: size of header blocks (only advertised
 * by nghttp2), frames that wait because the peer does not read, and what h2_guard.h lists. Who
 * breaks one of these is sent GOAWAY with ENHANCE_YOUR_CALM and the connection ends. PINGs are
 * answered at once.
 *
 * Windows are large and open again as the owner consumes bytes (ut_h2_server_consume). Memory comes
 * from the worker's pool; streams that are closed leave nothing behind.
 *
 * States of a stream: receiving headers → on_request → receiving the body → on_end → answered; it
 * may be answered before its end (the rest of its body is swallowed and the stream is reset with
 * NO_ERROR once the answer is out) and may close at any time: on_close, after which it is gone.
 */
#ifndef UT_NET_H2_SERVER_H
#define UT_NET_H2_SERVER_H

#include <nghttp2/nghttp2.h>

#include "base/pool.h"
#include "net/h2_framing.h"
#include "net/h2_guard.h"
#include "net/h2_output.h"

#define UT_H2_WINDOW_STREAM (16 << 20)     /* bytes */
#define UT_H2_WINDOW_CONNECTION (64 << 20) /* bytes */

struct ut_h2_server;

/* Stands first in the owner's per-stream object, which h2_server allocates, cleared. */
struct ut_h2_stream {
    struct ut_h2_server *server;
    struct ut_h2_stream *previous, *next; /* among the server's open ones */
    int32_t id;
    uint32_t header_bytes,
        header_fields; /* received: names, values and 32 a field (RFC 9113 6.5.2) */
    bool ended;        /* the peer sent END_STREAM */
    bool answered;
    uint64_t waiting_ns; /* when it was first seen with an answer that had not gone; 0: not */
    /* The rest of an answer: its body, then its trailers. The owner's memory, until on_close. */
    ut_slice body;
    const nghttp2_nv *trailers;
    size_t trailer_count;
};

struct ut_h2_server_ops {
    size_t stream_size; /* bytes of the owner's per-stream object */
    /* A field of the request's header block, pseudo fields included; valid during the call. */
    void (*on_header)(struct ut_h2_stream *stream, ut_slice name, ut_slice value);
    /* The header block is complete. `too_large`: it went over a limit, its fields were not all
     * reported, and it has to be refused. */
    void (*on_request)(struct ut_h2_stream *stream, bool too_large);
    /* Bytes of the body, valid during the call; not called after an answer. To be consumed. */
    void (*on_data)(struct ut_h2_stream *stream, ut_slice bytes);
    /* The body is complete; not called after an answer. */
    void (*on_end)(struct ut_h2_stream *stream);
    /* The stream is over, answered or not, maybe before on_request; its object is freed afterwards.
     */
    void (*on_close)(struct ut_h2_stream *stream);
};

struct ut_h2_limits {
    uint32_t streams;          /* at once */
    uint32_t header_bytes;     /* of a request, as RFC 9113 6.5.2 counts */
    uint32_t header_fields;    /* of a request */
    uint64_t ping_interval_ns; /* see h2_guard.h; 0: a second */
    bool ping_idle;
};

struct ut_h2_server {
    nghttp2_session *session;
    const struct ut_h2_server_ops *ops;
    struct ut_pool *pool;
    struct ut_h2_limits limits;
    struct ut_h2_output output;
    struct ut_h2_framing framing;
    struct ut_h2_guard guard;
    const uint8_t *input_end; /* of the bytes that are being received */
    uint64_t now_ns;
    uint64_t header_since_ns;     /* a header block began then and is not complete; 0: none */
    int32_t newest_id;            /* of a stream that the peer opened */
    struct ut_h2_stream *streams; /* open ones */
    /* Not NONE: the connection ends, and the session is not asked for anything any more. */
    enum ut_h2_hit ended_by;
    bool goaway_pushed;         /* then: the last frame is in the output */
    bool broken;                /* nghttp2 ends it: the peer broke the protocol */
    bool greeted, acknowledged; /* the peer's SETTINGS, and its ACK of ours, are there */
    bool peer_left;             /* it sent GOAWAY, of a kind that nghttp2 does not like */
    bool draining, drained;     /* GOAWAY announced; GOAWAY final */
};

/* A fresh connection; our SETTINGS are pending at once. 0 or -ENOMEM. */
int ut_h2_server_init(struct ut_h2_server *server, struct ut_pool *pool,
                      const struct ut_h2_limits *limits,
                      const struct ut_h2_server_ops *ops) UT_MUST_USE;
/* Closes all streams (on_close). */
void ut_h2_server_done(struct ut_h2_server *server);

/* 0; -EPROTO when the peer broke the protocol or a limit: GOAWAY is pending then, and the
 * connection is to be closed after it. `now_ns` is monotonic. */
int ut_h2_server_receive(struct ut_h2_server *server, ut_slice bytes, uint64_t now_ns) UT_MUST_USE;
/* Up to `room` runs that are to be sent next. Their number, or -EPROTO, -ENOMEM. */
int ut_h2_server_pending(struct ut_h2_server *server, struct iovec *runs, size_t room) UT_MUST_USE;
void ut_h2_server_consumed(struct ut_h2_server *server, size_t bytes);
/* Nothing is to be sent or received any more. */
bool ut_h2_server_is_finished(const struct ut_h2_server *server);

/* Since when at the latest an answer waits for the peer to take it, as far as earlier calls have
 * seen it; UINT64_MAX: none does. */
uint64_t ut_h2_server_answer_since(struct ut_h2_server *server, uint64_t now_ns);

/* Within on_data: bytes of the input that follow `bytes`, of whatever stream. */
size_t ut_h2_server_input_left(const struct ut_h2_server *server, ut_slice bytes);
/* Opens the windows again by `size` received bytes. */
void ut_h2_server_consume(struct ut_h2_stream *stream, size_t size);

/* Answers the stream, once. The fields are copied unless their flags say otherwise. The first ends
 * the stream with the header block; the second with the body or, where there are any, the trailers:
 * both stay the owner's and unchanged until on_close. */
void ut_h2_server_answer(struct ut_h2_stream *stream, const nghttp2_nv *headers, size_t count);
void ut_h2_server_answer_body(struct ut_h2_stream *stream, const nghttp2_nv *headers, size_t count,
                              ut_slice body, const nghttp2_nv *trailers, size_t trailer_count);

/* Asks the peer for a sign of life. */
void ut_h2_server_ping(struct ut_h2_server *server);

/* Announces the end (GOAWAY that refuses nothing yet, with a PING behind it); when the peer has
 * answered, or at the second call, GOAWAY is final. Open streams go on to their end. */
void ut_h2_server_drain(struct ut_h2_server *server);

#endif
