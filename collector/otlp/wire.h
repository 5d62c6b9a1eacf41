/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protobuf wire format: what the walk, the second looks and the splice share. Nothing here
 * allocates; the readers come in two kinds: ut_wire_*_checked for bytes from outside, and the plain
 * ones for bytes that the walk has checked.
 *
 * Source: protobuf.dev/programming-guides/encoding.
 */
#ifndef UT_OTLP_WIRE_H
#define UT_OTLP_WIRE_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

enum ut_wire {
    UT_WIRE_VARINT,
    UT_WIRE_FIXED64,
    UT_WIRE_LEN,
    UT_WIRE_GROUP_BEGIN,
    UT_WIRE_GROUP_END,
    UT_WIRE_FIXED32,
};

enum {
    UT_VARINT_MAX = 10, /* bytes of a varint */
    UT_TAG_MAX = 5,     /* bytes of a tag */
    UT_NUMBER_MAX = (1 << 29) - 1,
    UT_DEPTH_MAX = 100, /* messages and groups within the request */
};

#define UT_TAG(number, wire) ((uint32_t)(number) << 3 | (uint32_t)(wire))

/* A varint in [p, end), at most 10 bytes long. The position behind it, or NULL where it is cut
 * off, longer than that or holds more than 64 bits. */
static inline const uint8_t *ut_wire_varint_checked(const uint8_t *p, const uint8_t *end,
                                                    uint64_t *ret)
{
    if (__builtin_expect(p < end && *p < 0x80, 1)) {
        *ret = *p;
        return p + 1;
    }
    uint64_t value = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return shift == 63 && byte > 1 ? NULL : p;
        }
    }
    return NULL;
}

/* A varint that is known to be whole. */
static inline const uint8_t *ut_wire_varint(const uint8_t *p, uint64_t *ret)
{
    uint64_t value = *p & 0x7f;
    for (unsigned shift = 7; *p++ >= 0x80; shift += 7)
        value |= (uint64_t)(*p & 0x7f) << (shift & 63);
    *ret = value;
    return p;
}

static inline size_t ut_wire_varint_size(uint64_t value)
{
    return value < 0x80 ? 1 : (size_t)(70 - __builtin_clzll(value)) / 7;
}

/* Writes the shortest form; the position behind it. */
static inline uint8_t *ut_wire_put_varint(uint8_t *p, uint64_t value)
{
    while (value >= 0x80) {
        *p++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *p++ = (uint8_t)value;
    return p;
}

/* Little-endian on the wire; the shifts become one load or store where the machine is too. */
static inline uint64_t ut_wire_fixed64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof(value));
    return le64toh(value);
}

static inline uint8_t *ut_wire_put_fixed64(uint8_t *p, uint64_t value)
{
    value = htole64(value);
    memcpy(p, &value, sizeof(value));
    return p + sizeof(value);
}

/* One field of a checked message. */
struct ut_wire_field {
    const uint8_t *begin; /* its tag */
    const uint8_t *end;   /* of its value */
    uint32_t number;
    enum ut_wire wire;
    uint64_t value;   /* of varint, fixed64, fixed32 */
    ut_slice content; /* of length-delimited ones */
};

/* Reads the field at `p`, which lies in a message that the walk has checked; the position behind
 * it. Groups are one field, end tag included. */
const uint8_t *ut_wire_field(const uint8_t *p, struct ut_wire_field *ret);

#endif
