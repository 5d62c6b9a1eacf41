/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of one HTTP/2 connection: bytes in, runs of bytes out. A stream is a gRPC call of one
 * unary method or a request of OTLP/HTTP; its content-type tells. Both collect their body into the
 * same kind of call (call.h) and differ in how they frame it and in how they are answered
 * (grpc_call.c, h2_calls.c).
 */
#ifndef UT_NET_H2_CALLS_H
#define UT_NET_H2_CALLS_H

#include "net/call.h"
#include "net/h2_server.h"
#include "net/http_head.h"

struct ut_h2_call {
    struct ut_h2_stream h2; /* first */
    struct ut_call call;
    struct ut_http_head head;
    uint8_t prefix[5]; /* of a gRPC message: compressed flag, length */
    uint8_t prefix_size;
    uint8_t *response; /* of the pool, freed with the call */
};

struct ut_h2_calls {
    struct ut_h2_server h2; /* bytes in and out are its */
    struct ut_calls *calls;
};

/* `calls` lives as long. 0 or -ENOMEM. */
int ut_h2_calls_init(struct ut_h2_calls *server, struct ut_calls *calls,
                     const struct ut_h2_limits *limits) UT_MUST_USE;
/* Ends all calls (on_gone) and gives their charges back. */
void ut_h2_calls_done(struct ut_h2_calls *server);

#endif
