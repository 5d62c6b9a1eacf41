/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of one gRPC connection with one unary method: bytes in, runs of bytes out. It
 * checks the request, collects its message into a segment that the budget pays for, and hands it
 * on.
 *
 * The budget is charged as the bytes arrive, in steps, on the connection's account: for a small
 * message with the block that holds it, for one above the pool's largest block (mapped: pages that
 * nothing was written to cost nothing) with what has arrived. A declared length alone costs nothing
 * but address space: the block is at most four times what has come, or 64 KiB. Where there is no
 * room the call is answered UNAVAILABLE with RetryInfo and the rest of its body is swallowed.
 *
 * States of a call: arriving → handed on (on_message) → answered; or arriving → answered (refused).
 *
 * Invariants: 1. held = Σ held of the arriving calls ≤ account.charged < held + UT_BUDGET_STEP;
 * 2. a call is in `arriving` exactly while it arrives; 3. on_gone comes only for a call that is
 * handed on and not answered.
 */
#ifndef UT_NET_GRPC_SERVER_H
#define UT_NET_GRPC_SERVER_H

#include "base/budget.h"
#include "base/segment.h"
#include "net/grpc_status.h"
#include "net/h2_server.h"

struct ut_grpc_server;
struct ut_grpc_call;

/* Why a call was refused before it was handed on. */
enum ut_grpc_refusal {
    UT_GRPC_REFUSED_HEADERS,  /* size or number of header fields */
    UT_GRPC_REFUSED_SIZE,     /* of the message */
    UT_GRPC_REFUSED_BUDGET,   /* no room, or evicted for others */
    UT_GRPC_REFUSED_PROTOCOL, /* not a request of this method, or badly framed */
    UT_GRPC_REFUSALS,
};

struct ut_grpc_service {
    const char *path;         /* of the method: "/package.Service/Method" */
    size_t message_bytes_max; /* of a request */
    uint32_t retry_after_ms;  /* told where there is no room */
    /* The message is complete, in call->segment, which is the callee's to take (it sets it NULL).
     * The callee settles the charge or answers before it returns; it may answer later. */
    void (*on_message)(struct ut_grpc_call *call);
    /* The client has gone, or given up, before the answer; the call must not be used any more. */
    void (*on_gone)(struct ut_grpc_call *call);
    /* A call was answered. */
    void (*on_answered)(struct ut_grpc_server *server, enum ut_grpc_code code);
    void (*on_refused)(struct ut_grpc_server *server, enum ut_grpc_refusal why, const char *text);
    /* There is something to send; maybe from outside of receive and pending. */
    void (*wake)(struct ut_grpc_server *server);
};

struct ut_grpc_call {
    struct ut_h2_stream h2; /* first */
    struct ut_grpc_server *server;
    struct ut_grpc_call *previous, *next; /* among the arriving ones */
    enum { UT_GRPC_NEW, UT_GRPC_ARRIVING, UT_GRPC_HANDED_ON, UT_GRPC_ANSWERED } state;
    uint64_t began_ns;                             /* monotonic: when its header was complete */
    bool is_post, path_known, type_known, encoded; /* what the header fields said */
    uint8_t prefix[5];                             /* of the message: compressed flag, length */
    uint8_t prefix_size;
    uint32_t declared; /* bytes of the message */
    struct ut_segment *segment;
    size_t held;       /* bytes charged for it */
    uint8_t *response; /* of the pool, freed with the call */
    void *owner_data;  /* the service's own */
};

struct ut_grpc_server {
    struct ut_h2_server h2;
    const struct ut_grpc_service *service;
    struct ut_budget_account account;
    struct ut_grpc_call *arriving;
    size_t held;
    uint32_t waiting; /* calls that are handed on and not answered */
};

int ut_grpc_server_init(struct ut_grpc_server *server, struct ut_pool *pool,
                        struct ut_budget *budget, const struct ut_h2_limits *limits,
                        const struct ut_grpc_service *service) UT_MUST_USE;
/* Ends all calls (on_gone) and gives their charges back. */
void ut_grpc_server_done(struct ut_grpc_server *server);
/* Bytes in and out are those of `h2`. */

/* Charges the call with `bytes` in all, more than before. false: no room; nothing has changed. */
bool ut_grpc_call_hold(struct ut_grpc_call *call, size_t bytes) UT_MUST_USE;
/* What the call holds leaves the connection's account: the caller returns it to the budget. */
size_t ut_grpc_call_settle(struct ut_grpc_call *call);

/* Success, with `message` (copied; may be empty) as the response. */
void ut_grpc_call_succeed(struct ut_grpc_call *call, ut_slice message);
/* Any other status. `retry_after_ms` > 0 adds RetryInfo. What the call holds is given back. */
void ut_grpc_call_fail(struct ut_grpc_call *call, enum ut_grpc_code code, uint32_t retry_after_ms,
                       const char *text);

#endif
