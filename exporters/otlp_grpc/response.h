/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backend answered to one Export call, and what that means for the item. Pure: header fields
 * and body bytes in, an outcome out. Nothing a backend sends can make it hold more than the limits
 * below; what is beyond them is dropped.
 */
#ifndef UT_OTLP_GRPC_RESPONSE_H
#define UT_OTLP_GRPC_RESPONSE_H

#include "base/pool.h"
#include "base/slice.h"
#include "model/verdict.h"

#define UT_RESPONSE_MESSAGE_MAX 1024    /* bytes of grpc-message, still percent-encoded */
#define UT_RESPONSE_DETAILS_MAX 2048    /* bytes of grpc-status-details-bin, still base64 */
#define UT_RESPONSE_BODY_MAX (64 << 10) /* bytes */
#define UT_RESPONSE_TEXT 512            /* bytes of the text for people, with the terminator */

/* google.rpc.Code */
enum ut_grpc_code {
    UT_GRPC_OK,
    UT_GRPC_CANCELLED,
    UT_GRPC_UNKNOWN,
    UT_GRPC_INVALID_ARGUMENT,
    UT_GRPC_DEADLINE_EXCEEDED,
    UT_GRPC_NOT_FOUND,
    UT_GRPC_ALREADY_EXISTS,
    UT_GRPC_PERMISSION_DENIED,
    UT_GRPC_RESOURCE_EXHAUSTED,
    UT_GRPC_FAILED_PRECONDITION,
    UT_GRPC_ABORTED,
    UT_GRPC_OUT_OF_RANGE,
    UT_GRPC_UNIMPLEMENTED,
    UT_GRPC_INTERNAL,
    UT_GRPC_UNAVAILABLE,
    UT_GRPC_DATA_LOSS,
    UT_GRPC_UNAUTHENTICATED,
    UT_GRPC_CODES,
    UT_GRPC_NONE = -1, /* no grpc-status came */
};

struct ut_response {
    struct ut_pool *pool;
    int http_status; /* 0: none came */
    int grpc_status; /* enum ut_grpc_code */
    size_t message_size, details_size, body_size;
    bool details_cut;
    char message[UT_RESPONSE_MESSAGE_MAX];
    uint8_t details[UT_RESPONSE_DETAILS_MAX];
    uint8_t *body; /* `small`, or a block of the pool */
    uint8_t small[64];
};

void ut_response_init(struct ut_response *response, struct ut_pool *pool);
void ut_response_done(struct ut_response *response);

/* A field of headers or trailers. */
void ut_response_header(struct ut_response *response, ut_slice name, ut_slice value);
void ut_response_data(struct ut_response *response, ut_slice bytes);

/* The outcome of a complete response to `span_count` spans. `text` is where ret->text points to. */
void ut_response_outcome(const struct ut_response *response, uint32_t span_count,
                         struct ut_outcome *ret, char text[UT_RESPONSE_TEXT]);

#endif
