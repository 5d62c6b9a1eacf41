/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for tests in both encodings: random ones as the bytes that a protobuf sender writes, and
 * any such bytes printed as JSON in one of the many forms that mean the same.
 */
#ifndef UT_TEST_OTLP_JSON_H
#define UT_TEST_OTLP_JSON_H

#include <stdbool.h>

#include "otlp/schema.h"
#include "otlp_bytes.h"

/* xorshift64*; never 0. */
struct otlp_random {
    uint64_t state;
};

uint64_t otlp_random(struct otlp_random *random);
/* 0 … below - 1 */
unsigned otlp_random_below(struct otlp_random *random, unsigned below);

/* A whole request, or the message of another type, its fields as protobuf libraries write them. */
void otlp_random_message(struct otlp_bytes *out, struct otlp_random *random,
                         enum ut_schema_type type);

struct otlp_json_style {
    struct otlp_random *random; /* NULL: as JSON.stringify and SDKs write it */
    bool any_order;             /* members in any order */
    bool any_form; /* white space, snake_case, escapes, numbers in any form, unknown keys, nulls,
                      members that a later one replaces */
};

/* `wire` is canonical: fields by number, as otlp_random_message writes them. */
void otlp_json_print(struct otlp_bytes *out, enum ut_schema_type type, ut_slice wire,
                     const struct otlp_json_style *style);

#endif
