/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call: one request whose body is collected into a segment that the budget pays for, handed on to
 * the service, and answered once; whatever protocol brought it. The protocols (http1, h2_calls)
 * open, feed and close calls and carry the answers; the service (the otlp receiver) takes them.
 *
 * The budget is charged as the bytes arrive, in steps, on the connection's account: for a small
 * body with the block that holds it, for one above the pool's largest block (mapped: pages that
 * nothing was written to cost nothing) with what has arrived. A declared length alone costs nothing
 * but address space: the block is at most four times what has come, or 4 KB. Where there is no
 * room the call is answered as unavailable, retryably, and the rest of its body is swallowed.
 *
 * States: NEW → ARRIVING → HANDED_ON (on_message) → ANSWERED; or ARRIVING → ANSWERED (refused).
 *
 * Invariants: 1. held = Σ held of the arriving calls ≤ account.charged < held + UT_BUDGET_STEP;
 * 2. a call is in `arriving` exactly while it arrives; 3. on_gone comes only for a call that is
 * handed on and not answered.
 *
 * A body in a content coding is inflated as it arrives (call_body.c, inflate.h), once 4 KB of it
 * have come. Its context is charged like its bytes, so that the budget bounds how many there are:
 * where there is no room for one more the call is answered as unavailable. It is given back when
 * the body is complete. What a compressed body may cost is bounded:
 *
 *     as it came, and inflated   body_bytes_max each
 *     inflated, above 1 MiB      1,100 times what came (deflate's most is 1,032 times)
 *     as it came, above 64 KiB   twice what it becomes: the rest is empty blocks, members, frames
 */
#ifndef UT_NET_CALL_H
#define UT_NET_CALL_H

#include <stdbool.h>

#include "base/budget.h"
#include "base/segment.h"
#include "net/auth.h"
#include "net/grpc_status.h"
#include "net/inflate.h"

struct ut_call;
struct ut_calls;
struct ut_http_cors;

enum ut_transport { UT_TRANSPORT_GRPC, UT_TRANSPORT_HTTP, UT_TRANSPORTS };

/* What a body is written in, and so its answer. */
enum ut_encoding { UT_ENCODING_PROTOBUF, UT_ENCODING_JSON };

/* Why a call was refused before it was handed on. */
enum ut_refusal {
    UT_REFUSED_HEADERS,  /* size or number of header fields */
    UT_REFUSED_SIZE,     /* of the body */
    UT_REFUSED_BUDGET,   /* no room, or evicted for others */
    UT_REFUSED_PROTOCOL, /* not a request that is served, or badly framed */
    UT_REFUSED_METRICS,  /* another signal than traces */
    UT_REFUSED_LOGS,
    UT_REFUSED_AUTH, /* who sends has not proved that it may */
    UT_REFUSALS,
};

/* An answer other than success; each protocol takes from it what it can say. */
struct ut_failure {
    enum ut_grpc_code code;
    int http_status;
    uint32_t retry_after_ms; /* 0: not retryable, or as the client likes */
    const char *text;        /* for people */
};

struct ut_service {
    const char *grpc_path; /* of the method: "/package.Service/Method" */
    const char *http_path; /* "/v1/traces" */
    /* Paths of other signals: they are not served, but known. */
    const char *grpc_metrics_path, *http_metrics_path, *grpc_logs_path, *http_logs_path;
    const struct ut_http_cors *cors; /* NULL: no other origin may read answers */
    const struct ut_auth *auth;      /* NULL: whoever connects may send */
    bool close_each;                 /* HTTP/1.1 without keep-alive */
    size_t body_bytes_max;           /* of a request */
    uint32_t retry_after_ms;         /* told where there is no room */
    struct ut_inflates *inflates;    /* NULL: no coding is taken */
    uint32_t http_codings;           /* those that HTTP takes, by bits */
    const char *http_codings_text;   /* their names, ready to send */
    /* The body is complete, in call->segment, which is the callee's to take (it sets it NULL). The
     * callee settles the charge or answers before it returns; it may answer later. */
    void (*on_message)(struct ut_call *call);
    /* The client has gone, or given up, before the answer; the call must not be used any more. */
    void (*on_gone)(struct ut_call *call);
    /* A call was answered: `status` is HTTP's or, for gRPC, its code. */
    void (*on_answered)(struct ut_calls *calls, enum ut_transport transport, int status);
    void (*on_refused)(struct ut_calls *calls, enum ut_transport transport, enum ut_refusal why,
                       const char *text);
    /* There is something to send; maybe from outside of receive and pending. */
    void (*wake)(struct ut_calls *calls);
};

/* How a protocol carries an answer. */
struct ut_call_ops {
    enum ut_transport transport;
    void (*succeed)(struct ut_call *call, ut_slice message); /* copies the message */
    /* Returns the status for on_answered. */
    int (*fail)(struct ut_call *call, const struct ut_failure *failure);
};

/* The calls of one connection. */
struct ut_calls {
    const struct ut_service *service;
    struct ut_pool *pool;
    struct ut_budget_account account;
    struct ut_call *arriving;
    size_t held;
    uint32_t waiting;                     /* calls that are handed on and not answered */
    enum ut_auth_certificate certificate; /* of the connection */
    /* How many times its size a compressed body of this connection becomes, as far as is known. */
    uint32_t expansion;
};

#define UT_CALL_LENGTH_UNKNOWN SIZE_MAX

struct ut_call {
    struct ut_calls *calls;
    const struct ut_call_ops *ops;
    struct ut_call *previous, *next; /* among the arriving ones */
    enum { UT_CALL_NEW, UT_CALL_ARRIVING, UT_CALL_HANDED_ON, UT_CALL_ANSWERED } state;
    enum ut_encoding encoding;
    uint64_t began_ns;   /* monotonic: when its header was complete */
    uint64_t timeout_ns; /* how long the client waits for the answer; 0: it does not say */
    size_t expected;     /* bytes of the body as it comes, or UT_CALL_LENGTH_UNKNOWN */
    size_t came;         /* of them */
    enum ut_coding coding;
    struct ut_inflate *inflate; /* while a body in a coding arrives */
    struct ut_segment *segment;
    size_t held;      /* bytes charged for both */
    void *owner_data; /* the service's own */
};

void ut_calls_init(struct ut_calls *calls, struct ut_pool *pool, struct ut_budget *budget,
                   const struct ut_service *service);

/* ---- for the protocols ---------------------------------------------------------------------- */

/* A cleared call; nothing is held yet. */
void ut_call_init(struct ut_call *call, struct ut_calls *calls, const struct ut_call_ops *ops);
/* Its body arrives from now on. */
void ut_call_arrive(struct ut_call *call, uint64_t now_ns);
/* Adds bytes of the body as they come, in call->coding, not more than expected; `behind` more are
 * here already. Refuses the call where they go over a limit, find no room or do not inflate. */
void ut_call_append(struct ut_call *call, ut_slice bytes, size_t behind);
/* The body is complete: hands the call on. */
void ut_call_complete(struct ut_call *call);
/* Answers a call, in any state before its answer, that is not to be served. */
void ut_call_refuse(struct ut_call *call, enum ut_refusal why, const struct ut_failure *failure);
void ut_call_refuse_busy(struct ut_call *call);               /* no memory, retryably */
void ut_call_refuse_size(struct ut_call *call, size_t bytes); /* bytes: as declared, or came */
/* The client is gone, or the call is over; whatever its state. */
void ut_call_end(struct ut_call *call);

/* ---- for the service ------------------------------------------------------------------------ */

/* Charges the call with `bytes` in all, more than before. false: no room; nothing has changed. */
bool ut_call_hold(struct ut_call *call, size_t bytes) UT_MUST_USE;
/* What the call is charged with goes down to `bytes`, if it is more. */
void ut_call_release(struct ut_call *call, size_t bytes);
/* The body becomes `segment` (taken over), in another form; what it holds is reckoned anew, which
 * is not more than before. */
void ut_call_replace(struct ut_call *call, struct ut_segment *segment);
/* What the call holds is what `segment` (the body's, whoever owns it now) takes, and not more than
 * before; the rest is given back. */
void ut_call_reckon(struct ut_call *call, const struct ut_segment *segment);
/* What the call holds leaves the connection's account: the caller returns it to the budget. */
size_t ut_call_settle(struct ut_call *call);

/* Success, with `message` (copied; may be empty) as the response, in the call's encoding. */
void ut_call_succeed(struct ut_call *call, ut_slice message);
/* Any other status. `retry_after_ms` > 0 tells the client when to come again. What the call holds
 * is given back. */
void ut_call_fail(struct ut_call *call, enum ut_grpc_code code, uint32_t retry_after_ms,
                  const char *text);

#endif
