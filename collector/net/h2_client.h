/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of one HTTP/2 connection: bytes in, runs of bytes out, calls between. No socket
 * and no clock; the owner moves the bytes (net/stream.h) and cancels what takes too long.
 *
 * A call is one request with a body given as a list of runs, and its response. The runs are never
 * copied: DATA frames in the output refer to them until the socket has taken the bytes. So a call
 * is *over* only when its outcome is known and nothing in the output refers to its runs any more.
 * An answer, a reset or a cancel that comes while bytes of the call still wait in the output
 * changes nothing about that: frames once begun must be finished, or the connection is lost.
 *
 * Invariants:
 *  1. `done` comes exactly once for each submitted call, never from inside submit or cancel;
 *  2. until then the call, its runs and their bytes stay as they are; from then on nothing here
 *     refers to them;
 *  3. at most peer's SETTINGS_MAX_CONCURRENT_STREAMS (and `calls_max`) streams are open; further
 *     calls wait here, first come first served, and have sent nothing;
 *  4. header fields, response bodies and the output are bounded whatever the peer sends.
 *
 * States of a call: waiting → open → ended (outcome known) → over (drained). A connection that got
 * GOAWAY takes no more calls; those the peer has not processed end as UT_H2_REFUSED.
 */
#ifndef UT_NET_H2_CLIENT_H
#define UT_NET_H2_CLIENT_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/pool.h"
#include "base/slice.h"
#include "net/h2_output.h"

#define UT_H2_CLIENT_HEADERS_MAX 64       /* request header fields */
#define UT_H2_CALL_HEADERS_MAX 16         /* of a call that has its own */
#define UT_H2_RESPONSE_HEADER_BYTES 32768 /* over all header blocks of a response */
#define UT_H2_RESPONSE_HEADER_FIELDS 128

struct nghttp2_session;
struct ut_h2_client;

struct ut_h2_header {
    ut_slice name; /* lower case */
    ut_slice value;
};

enum ut_h2_end {
    UT_H2_COMPLETE,  /* the response has ended */
    UT_H2_REFUSED,   /* certainly not processed by the peer (GOAWAY, REFUSED_STREAM, never sent) */
    UT_H2_RESET,     /* the peer reset the stream, or broke the protocol on it: `error_code` */
    UT_H2_CANCELLED, /* by ut_h2_client_cancel */
    UT_H2_LOST,      /* the connection has gone */
};

struct ut_h2_call;

struct ut_h2_call_ops {
    /* A field of the response's headers or trailers; both slices are valid during the call. */
    void (*on_header)(struct ut_h2_call *call, ut_slice name, ut_slice value);
    /* Bytes of the response body, valid during the call. What is too much is the owner's to drop.
     */
    void (*on_data)(struct ut_h2_call *call, ut_slice bytes);
    /* The call is over: `end` and `error_code` are set. The call may be freed or submitted again,
     * and other calls submitted or cancelled, but the client not freed. */
    void (*done)(struct ut_h2_call *call);
};

struct ut_h2_call {
    /* The owner's, set before submit. */
    const struct ut_h2_call_ops *ops;
    const struct iovec *runs; /* the request body; run_count > 0, none of them empty */
    size_t run_count;
    uint64_t body_bytes; /* Σ runs, > 0 */
    /* In place of the client's; borrowed, with their bytes, until `done`. NULL: the client's. */
    const struct ut_h2_header *headers;
    size_t header_count; /* at most UT_H2_CALL_HEADERS_MAX */

    /* Valid in `done`. */
    enum ut_h2_end end;
    uint32_t error_code; /* RFC 9113 section 7, with UT_H2_RESET */

    /* The client's. */
    enum { UT_H2_CALL_IDLE, UT_H2_CALL_WAITING, UT_H2_CALL_OPEN, UT_H2_CALL_ENDED } state;
    struct ut_h2_call *previous, *next; /* in the list of its state */
    int32_t stream_id;
    bool headers_sent, response_ended;
    size_t run, offset;     /* of the first body byte that is not in the output */
    uint64_t planned_bytes; /* of the body, in DATA frames that nghttp2 was told of */
    uint64_t output_end;    /* `pushed` of the output behind the call's last payload byte */
    uint32_t header_bytes, header_fields;
};

struct ut_h2_calls {
    struct ut_h2_call *first, *last;
    uint32_t count;
};

struct ut_h2_client_options {
    /* The header fields of every request, `:method` and so on first; at most
     * UT_H2_CLIENT_HEADERS_MAX. Their bytes are borrowed for the client's life, the array is not.
     */
    const struct ut_h2_header *headers;
    size_t header_count;
    uint32_t calls_max; /* open streams; 0: as many as the peer allows */
};

struct ut_h2_client {
    struct nghttp2_session *session;
    struct ut_pool *pool;
    void *headers; /* array of nghttp2_nv, of every request */
    size_t header_count;
    uint32_t calls_max;
    struct ut_h2_output output;
    struct ut_h2_calls waiting, open, ended;
    bool delivering;
    bool going_away; /* got GOAWAY, or no stream ids are left */
    bool broken;     /* the peer broke the protocol and our GOAWAY is on its way */
    bool lost;
    bool ping_outstanding;
    char reason[128]; /* debug text of the peer's GOAWAY, or what was wrong; printable */
};

/* A fresh connection; its preface and SETTINGS are pending at once. 0, -EINVAL or -ENOMEM. */
int ut_h2_client_init(struct ut_h2_client *client, struct ut_pool *pool,
                      const struct ut_h2_client_options *options) UT_MUST_USE;
/* Every call must be over: see ut_h2_client_lost. */
void ut_h2_client_done(struct ut_h2_client *client);

/* Whether a call submitted now would be sent on this connection. */
bool ut_h2_client_accepts(const struct ut_h2_client *client);
/* Calls that are not over. */
uint32_t ut_h2_client_calls(const struct ut_h2_client *client);

/* Takes the call. 0 with `done` to come, or -ESHUTDOWN where the connection takes no more. */
int ut_h2_client_submit(struct ut_h2_client *client, struct ut_h2_call *call) UT_MUST_USE;
/* Ends a call that is not over as UT_H2_CANCELLED; RST_STREAM is sent if its stream is open. `done`
 * comes when its bytes have left the output, at the soonest from the next call of receive, pending,
 * consumed or deliver. A call that has ended already keeps its outcome. */
void ut_h2_client_cancel(struct ut_h2_client *client, struct ut_h2_call *call);
/* Sends a PING unless one is outstanding. */
void ut_h2_client_ping(struct ut_h2_client *client);

/* Bytes from the peer. 0; -EPROTO when the peer broke the protocol (a GOAWAY is pending then, and
 * the connection is to be closed after it); -ENOMEM. */
int ut_h2_client_receive(struct ut_h2_client *client, ut_slice bytes) UT_MUST_USE;
/* What is to be sent next: up to `room` runs, the same ones until they are consumed. Returns their
 * number, or -EPROTO, -ENOMEM. */
int ut_h2_client_pending(struct ut_h2_client *client, struct iovec *runs, size_t room) UT_MUST_USE;
/* The socket has taken `bytes` of them. */
void ut_h2_client_consumed(struct ut_h2_client *client, size_t bytes);
/* Calls `done` of what is over. Needed after a cancel only; the three above do it themselves. */
void ut_h2_client_deliver(struct ut_h2_client *client);

/* The connection is gone or will not be written to again: the output is dropped, and every call
 * that has no outcome yet ends as UT_H2_LOST (or UT_H2_REFUSED if it had sent nothing). All of them
 * are over when this returns, unless it is called from inside a `done`: then soon after. */
void ut_h2_client_lost(struct ut_h2_client *client);

/* "INTERNAL_ERROR" for 2 and so on (RFC 9113 section 7). */
const char *ut_h2_error_name(uint32_t error_code);

#endif
