/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request bodies that are wrong, or look wrong and are not, each with the answer it must get. Used
 * by the unit test of the walk and, through a socket, by the test of the gRPC receiver (link
 * ut_test_support).
 *
 * Answers to text that is not UTF-8 are those of `invalid_utf8: reject`; else it is repaired, and
 * the rows that malformed_is_text names are accepted whole.
 *
 * A row's bytes are put at the end of one message of a sound request with two spans (or are the
 * whole body), so each row has one fault.
 *
 *     struct otlp_bytes body = {0};
 *     for (size_t i = 0; i < MALFORMED_COUNT; i++) {
 *         malformed_build(&body, &MALFORMED[i]);
 *         …
 *     }
 *     otlp_free(&body);
 */
#ifndef UT_TEST_MALFORMED_H
#define UT_TEST_MALFORMED_H

#include <stdbool.h>

#include "otlp_builder.h"

enum malformed_answer {
    MALFORMED_OK,      /* accepted, nothing left out */
    MALFORMED_PARTIAL, /* accepted, `left_out` spans named in partial_success */
    MALFORMED_REFUSED, /* INVALID_ARGUMENT */
};

/* The message that the bytes are put into. */
enum malformed_place {
    IN_WHOLE, /* they are the body */
    IN_REQUEST,
    IN_RESOURCE_SPANS,
    IN_RESOURCE,
    IN_SCOPE_SPANS,
    IN_SCOPE,
    IN_SPAN,
    IN_ATTRIBUTE,
    IN_VALUE,
    IN_EVENT,
    IN_LINK,
    IN_STATUS,
};

struct malformed {
    const char *name;
    enum malformed_place place;
    const char *bytes;
    size_t size;
    enum malformed_answer answer;
    unsigned left_out;                     /* spans, with MALFORMED_PARTIAL */
    void (*build)(struct otlp_bytes *out); /* instead of bytes; into the same place */
};

enum { MALFORMED_SPANS = 2 }; /* of the sound request */

extern const struct malformed MALFORMED[];
extern const size_t MALFORMED_COUNT;

/* Whether text that is not UTF-8 is all that is wrong with a row. */
bool malformed_is_text(const struct malformed *row);

/* The body of a row, in place of what `out` holds. */
void malformed_build(struct otlp_bytes *out, const struct malformed *row);

#endif
