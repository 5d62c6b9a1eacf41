/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backend answered to one call over gRPC, and what that means for the item. Pure: header
 * fields and body bytes in, an outcome out. Nothing a backend sends can make it hold more than the
 * limits below; what is beyond them is dropped.
 */
#ifndef UT_NET_RESPONSE_H
#define UT_NET_RESPONSE_H

#include "base/pool.h"
#include "base/slice.h"
#include "model/verdict.h"
#include "net/grpc_status.h"

#define UT_RESPONSE_MESSAGE_MAX 1024    /* bytes of grpc-message, still percent-encoded */
#define UT_RESPONSE_DETAILS_MAX 2048    /* bytes of grpc-status-details-bin, still base64 */
#define UT_RESPONSE_BODY_MAX (64 << 10) /* bytes */
#define UT_RESPONSE_TEXT 512            /* bytes of the text for people, with the terminator */

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
