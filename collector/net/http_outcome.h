/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backend's answer over HTTP means for the spans that were sent, as OTLP/HTTP has it
 * (OTLP specification 1.11, "OTLP/HTTP Response" and "Retryable Response Codes"). Pure. Nothing in
 * the answer is trusted; of its body only words for people are taken.
 */
#ifndef UT_NET_HTTP_OUTCOME_H
#define UT_NET_HTTP_OUTCOME_H

#include "base/slice.h"
#include "model/verdict.h"

enum { UT_HTTP_OUTCOME_TEXT = 512 }; /* bytes of a text, with the terminator */

struct ut_http_outcome_input {
    int status;
    uint32_t retry_after_ms; /* 0: nothing was asked for */
    const char *type;        /* Content-Type; "" where there is none */
    const char *target;      /* Location; likewise */
    ut_slice body;
    bool retry_500; /* a failure of the server is worth another try; not so in OTLP */
};

/* Fills in result, delay and, but for UT_SENT, the text, which `text` holds: the status and the
 * words of a google.rpc.Status in the body (protobuf or JSON), or of a plain text. */
void ut_http_outcome(const struct ut_http_outcome_input *input, struct ut_outcome *ret,
                     char text[UT_HTTP_OUTCOME_TEXT]);

/* Appends `bytes` to the text of `size` bytes, what is not printable escaped; the new size. */
size_t ut_http_outcome_words(char text[UT_HTTP_OUTCOME_TEXT], size_t size, ut_slice bytes);

#endif
