/* SPDX-License-Identifier: Apache-2.0 */
/* The usual shape of an attribute, checked in place; everything else goes through message.h. */
#ifndef UT_OTLP_PLAIN_H
#define UT_OTLP_PLAIN_H

#include "otlp/text.h"
#include "otlp/wire.h"

enum {
    UT_PLAIN_KEY = UT_TAG(1, UT_WIRE_LEN),   /* of KeyValue */
    UT_PLAIN_VALUE = UT_TAG(2, UT_WIRE_LEN), /* of KeyValue */
    UT_PLAIN_STRING = UT_TAG(1, UT_WIRE_LEN),
    UT_PLAIN_BOOL = UT_TAG(2, UT_WIRE_VARINT),
    UT_PLAIN_INT = UT_TAG(3, UT_WIRE_VARINT),
    UT_PLAIN_DOUBLE = UT_TAG(4, UT_WIRE_FIXED64),
};

/* Whether [p, end) is one whole varint and nothing else. */
static inline bool ut_plain_varint(const uint8_t *p, const uint8_t *end)
{
    uint64_t value;
    if (end - p == 1)
        return *p < 0x80;
    return ut_wire_varint_checked(p, end, &value) == end;
}

/* Whether the KeyValue in [p, p + size) has a usual shape and no fault: key, then a value of one
 * field, all lengths below 128, all text ASCII. The length of the key comes back for its prefix. */
static inline bool ut_plain_attribute(const uint8_t *p, size_t size, size_t *ret_key_size)
{
    if (size < 6 || p[0] != UT_PLAIN_KEY)
        return false;
    size_t key_size = p[1];
    /* Behind the key stand the value's tag, its length and at least one field of two bytes. */
    if (key_size >= 0x80 || key_size + 6 > size)
        return false;
    const uint8_t *value = p + 2 + key_size, *end = p + size;
    size_t value_size = value[1];
    if (value[0] != UT_PLAIN_VALUE || value_size >= 0x80 || key_size + 4 + value_size != size)
        return false;
    *ret_key_size = key_size;
    /* Tags and lengths are ASCII too, so one test covers key and value. */
    switch (value[2]) {
    case UT_PLAIN_STRING:
        return value[3] == value_size - 2 && ut_text_is_ascii(p, size);
    case UT_PLAIN_INT:
    case UT_PLAIN_BOOL:
        return ut_plain_varint(value + 3, end) && ut_text_is_ascii(p, key_size + 2);
    case UT_PLAIN_DOUBLE:
        return value_size == 9 && ut_text_is_ascii(p, key_size + 2);
    default:
        return false;
    }
}

/* The key of a plain attribute. */
static inline ut_slice ut_plain_key(const uint8_t *p, size_t key_size)
{
    return ut_slice_of(p + 2, key_size);
}

/* The value of a plain attribute if it is a string; empty otherwise. */
static inline ut_slice ut_plain_text(const uint8_t *p, size_t key_size)
{
    const uint8_t *value = p + 2 + key_size;
    if (value[2] != UT_PLAIN_STRING)
        return (ut_slice){NULL, 0};
    return ut_slice_of(value + 4, value[3]);
}

#endif
