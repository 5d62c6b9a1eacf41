/* SPDX-License-Identifier: Apache-2.0 */
/* What json.c reads with: the state of one request, and the values that hold no others. */
#ifndef UT_OTLP_JSON_VALUE_H
#define UT_OTLP_JSON_VALUE_H

#include "otlp/json_token.h"
#include "otlp/schema.h"
#include "otlp/writer.h"

struct ut_json_reader {
    struct ut_json_input in;
    struct ut_writer out;
    /* Learned on the way, for senders repeat themselves: which field (its index) followed the one
     * of this number, 0 being the begin; and how many bytes the length of such a message took. */
    uint8_t following[UT_SCHEMA_TYPES][UT_SCHEMA_NUMBER_MAX + 1];
    uint8_t length_size[UT_SCHEMA_TYPES];
};

/* Reads the value of a field at `p` (not null, no message) and writes the field, unless it has its
 * default and need not be written. The position behind it; NULL: a fault, or no room. */
const uint8_t *ut_json_read_scalar(struct ut_json_reader *r, const struct ut_schema_field *field,
                                   const uint8_t *p);

/* An attribute as nearly all senders write it: {"key":"…","value":{"stringValue":"…"}} or with an
 * intValue, without white space, escapes or a sign, of less than 128 bytes. The position behind it;
 * NULL: it is another, and nothing was read or written. */
const uint8_t *ut_json_read_plain_attribute(struct ut_json_reader *r,
                                            const struct ut_schema_field *field, const uint8_t *p);

static inline bool ut_json_is_explicit(const struct ut_schema_field *field)
{
    return field->member || field->repeated;
}

static inline uint8_t *ut_json_put_tag(uint8_t *out, const struct ut_schema_field *field)
{
    unsigned tag = UT_TAG(field->number, field->wire);
    *out = (uint8_t)tag;
    if (__builtin_expect(tag < 0x80, 1))
        return out + 1;
    out[0] |= 0x80;
    out[1] = (uint8_t)(tag >> 7);
    return out + 2;
}

#endif
