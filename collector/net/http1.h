/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of one HTTP/1.1 connection, on llhttp: bytes in, runs of bytes out, calls
 * between. No socket and no clock.
 *
 * Requests are taken one after the other; while an answer is due, or there is no room for one more,
 * what came behind is kept (charged to the budget) and the owner is to stop reading (is_full).
 *
 * llhttp is lenient where a request can be smuggled, so its callers' rules are added here: each
 * line ends in CR LF, no folded lines, no other bytes behind a chunk, no chunk extensions, names of
 * fields are tokens, "chunked" is the only transfer coding, alone and once, and not on HTTP/1.0;
 * exactly one Host. Who breaks one of these is answered 400, and the connection ends.
 *
 * A request that is refused before its body is here leaves a connection that lives on if the rest
 * of its body is at most UT_HTTP1_SWALLOW and it did not ask for 100-continue; else it ends. Of
 * chunks nobody knows what is still to come: there it ends if as much has come already, or more
 * than a body may have.
 *
 * States: open → ending (the last answer is given; what still comes is thrown away) → finished.
 */
#ifndef UT_NET_HTTP1_H
#define UT_NET_HTTP1_H

#include <llhttp.h>

#include "net/call.h"
#include "net/h2_output.h"
#include "net/http_head.h"

enum { UT_HTTP1_SWALLOW = 256 << 10 }; /* bytes */

struct ut_http1_limits {
    uint32_t header_bytes;  /* of a request's head, as it came */
    uint32_t header_fields; /* of a request */
    uint64_t requests;      /* the answer to the last one says so; 0: any number */
};

struct ut_http1_exchange; /* a request and its answer */

struct ut_http1 {
    llhttp_t parser;
    struct ut_calls *calls;
    struct ut_http1_limits limits;
    struct ut_h2_output output;
    struct ut_http1_exchange *exchange; /* NULL between requests */
    struct ut_segment *kept;            /* bytes behind a request that waits for its answer */
    size_t kept_start, kept_charge;
    uint64_t now_ns, head_began_ns; /* monotonic; head_began_ns 0: no request has begun */
    const uint8_t *input_end;       /* of the bytes that are being received */
    const uint8_t *framing;         /* of them: what was not body since here is to be checked */
    uint64_t requests;              /* that came */
    uint32_t head_bytes;
    uint8_t line, last_byte; /* where the framing stands (enum of http1.c), its newest byte */
    uint8_t stopped_at;
    bool waited;   /* bytes were kept, and none came since */
    bool draining; /* the next answer is the last */
    bool ending;
    bool broken; /* … because the client broke the protocol or a limit */
    bool whole;  /* … and the last request has come to its end */
};

void ut_http1_init(struct ut_http1 *http1, struct ut_calls *calls,
                   const struct ut_http1_limits *limits);
/* Ends the call (on_gone) and gives everything back. */
void ut_http1_done(struct ut_http1 *http1);

/* 0; -ENOMEM: there is no room to go on, and the connection ends without a word. */
int ut_http1_receive(struct ut_http1 *http1, ut_slice bytes, uint64_t now_ns) UT_MUST_USE;
/* Goes on with what was kept, then up to `room` runs that are to be sent next. Their number, or
 * -ENOMEM. */
int ut_http1_pending(struct ut_http1 *http1, struct iovec *runs, size_t room) UT_MUST_USE;
void ut_http1_consumed(struct ut_http1 *http1, size_t bytes);

/* Bytes are kept: nothing more is to be read for now. */
bool ut_http1_is_full(const struct ut_http1 *http1);
/* The last answer is out. */
bool ut_http1_is_finished(const struct ut_http1 *http1);

/* When the request that arrives began, its head or (*ret_body) its body; UINT64_MAX: none does, or
 * its bytes wait for us. */
uint64_t ut_http1_arriving_since(const struct ut_http1 *http1, bool *ret_body);
/* The answer that is due, if any, is the last; without one the connection is finished. */
void ut_http1_drain(struct ut_http1 *http1);

#endif
