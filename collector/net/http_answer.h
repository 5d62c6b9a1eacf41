/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer to a request of OTLP/HTTP, before it is written as HTTP/1 or HTTP/2: a status, fields
 * and a body. Pure; it borrows from the head and the message that it was made of.
 */
#ifndef UT_NET_HTTP_ANSWER_H
#define UT_NET_HTTP_ANSWER_H

#include "net/http_head.h"

enum { UT_HTTP_ANSWER_FIELDS = 12 };

struct ut_http_answer {
    int status;
    struct ut_http_field {
        ut_slice name; /* lower case, constant */
        ut_slice value;
    } fields[UT_HTTP_ANSWER_FIELDS];
    size_t count;
    ut_slice body; /* not sent in answer to HEAD */
    char numbers[3][24];
    uint8_t text[UT_GRPC_STATUS_BODY]; /* of a failure's body */
};

/* 200 with a message in the head's encoding. */
void ut_http_answer_success(struct ut_http_answer *answer, const struct ut_http_head *head,
                            ut_slice message);
/* A google.rpc.Status in the head's encoding, with Retry-After and Allow where they belong. */
void ut_http_answer_failure(struct ut_http_answer *answer, const struct ut_http_head *head,
                            const struct ut_failure *failure);
/* To OPTIONS: what may be sent here, and from which origin. */
void ut_http_answer_options(struct ut_http_answer *answer, const struct ut_http_head *head,
                            const struct ut_http_cors *cors);

enum { UT_HTTP_ANSWER_TEXT = 4096 }; /* bytes; any answer with a message up to 1 KiB fits */
/* The answer as HTTP/1.1 has it; `last` tells the client that the connection ends, `head_only`
 * leaves the body out. Returns its size. */
size_t ut_http_answer_text(char out[UT_HTTP_ANSWER_TEXT], const struct ut_http_answer *answer,
                           bool last, bool head_only);

#endif
