/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict check of one message of the OTLP trace schema and all that is nested in it, by tables,
 * without recursion. The walk uses it for everything but the hot shapes, which it checks itself.
 *
 * Two kinds of wrong: bytes that do not parse (the request is refused), and a message that is bad
 * in itself (text that is not UTF-8, an id of wrong length): the bytes parse, `bad` says why.
 */
#ifndef UT_OTLP_MESSAGE_H
#define UT_OTLP_MESSAGE_H

#include "otlp/wire.h"

enum ut_message {
    UT_MESSAGE_KEY_VALUE,
    UT_MESSAGE_ANY_VALUE,
    UT_MESSAGE_ARRAY,
    UT_MESSAGE_KEY_VALUE_LIST,
    UT_MESSAGE_RESOURCE,
    UT_MESSAGE_ENTITY_REF,
    UT_MESSAGE_SCOPE,
    UT_MESSAGE_EVENT,
    UT_MESSAGE_LINK,
    UT_MESSAGE_STATUS,
};

struct ut_fault {
    const uint8_t *at; /* where the bytes stop to parse */
    const char *error; /* why, a constant text; NULL: they parse */
    const char
        *bad; /* why what is being walked is bad in itself: the first reason; NULL: it is not */
    bool bad_text; /* whether UT_BAD_TEXT was ever a reason, the first or not */
};

/* Checks the message in [p, end), which is nested `depth` deep in the request. false: it does not
 * parse, and `fault` says where and why. */
bool ut_message_check(struct ut_fault *fault, enum ut_message type, const uint8_t *p,
                      const uint8_t *end, unsigned depth);

/* The pieces of it, for the walk. Each returns the position behind what it read, or NULL with
 * `fault` filled. */
const uint8_t *ut_message_tag(struct ut_fault *fault, const uint8_t *p, const uint8_t *end,
                              uint32_t *ret);
const uint8_t *ut_message_varint(struct ut_fault *fault, const uint8_t *p, const uint8_t *end,
                                 uint64_t *ret);
/* A length that fits before `end`. */
const uint8_t *ut_message_length(struct ut_fault *fault, const uint8_t *p, const uint8_t *end,
                                 size_t *ret);
/* The value of a field that is in no table; `p` stands behind its tag. `depth` is that of the
 * message which holds it. */
const uint8_t *ut_message_skip(struct ut_fault *fault, uint32_t tag, const uint8_t *p,
                               const uint8_t *end, unsigned depth);
/* Notes that the bytes at `at` do not parse; returns NULL. */
const uint8_t *ut_message_refuse(struct ut_fault *fault, const uint8_t *at, const char *error);
void ut_message_bad(struct ut_fault *fault, const char *why);

extern const char UT_BAD_TEXT[], UT_BAD_LINK[], UT_WRONG_WIRE_TYPE[];

#endif
