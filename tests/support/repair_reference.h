/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repair of text once more, as simply as can be: recursively, each message built anew from its
 * fields. A message of whose strings none changed keeps its bytes.
 */
#ifndef UT_TEST_REPAIR_REFERENCE_H
#define UT_TEST_REPAIR_REFERENCE_H

#include "otlp/text.h"
#include "otlp_json.h"

/* The longest prefix of [p, p + size) that some well-formed character begins with, by trying. */
static inline size_t reference_part(const uint8_t *p, size_t size)
{
    size_t longest = 1;
    for (size_t n = 1; n <= 3 && n <= size; n++) {
        uint8_t whole[4];
        memcpy(whole, p, n);
        static const uint8_t fill[] = {0x80, 0x90, 0xa0, 0xbf};
        for (unsigned i = 0; i < 64; i++) {
            for (size_t j = n; j < 4; j++)
                whole[j] = fill[i >> (2 * (j - 1)) & 3];
            for (size_t total = n + 1; total <= 4; total++) {
                if (whole[0] >= 0x80 && ut_text_is_utf8(whole, total) &&
                    !ut_text_is_utf8(whole, 1) && (total < 3 || !ut_text_is_utf8(whole, 2)) &&
                    (total < 4 || !ut_text_is_utf8(whole, 3)))
                    longest = n;
            }
        }
    }
    return longest;
}

static inline void reference_text(struct otlp_bytes *out, ut_slice text)
{
    for (size_t at = 0; at < text.size;) {
        size_t n = 1;
        while (n < 4 && at + n < text.size && !ut_text_is_utf8(text.data + at, n))
            n++;
        if (ut_text_is_utf8(text.data + at, n)) {
            otlp_raw(out, text.data + at, n);
            at += n;
        } else {
            otlp_raw(out, "\xef\xbf\xbd", 3);
            at += reference_part(text.data + at, text.size - at);
        }
    }
}

/* Returns the number of repaired strings. */
static inline uint32_t reference_repair(struct otlp_bytes *out, enum ut_schema_type type,
                                        ut_slice wire)
{
    uint32_t strings = 0;
    struct ut_wire_field field;
    for (const uint8_t *p = wire.data, *end = p + wire.size; p < end;) {
        p = ut_wire_field(p, &field);
        const struct ut_schema_field *known = ut_schema_field(type, field.number);
        struct otlp_bytes content = {0};
        uint32_t within = 0;
        if (known != NULL && known->kind == UT_SCHEMA_TEXT) {
            within = !ut_text_is_utf8(field.content.data, field.content.size);
            reference_text(&content, field.content);
        } else if (known != NULL && known->kind == UT_SCHEMA_MESSAGE) {
            within = reference_repair(&content, known->nested, field.content);
        }
        if (within == 0) {
            otlp_raw(out, field.begin, (size_t)(field.end - field.begin));
        } else {
            uint64_t tag;
            const uint8_t *length = ut_wire_varint(field.begin, &tag);
            otlp_raw(out, field.begin, (size_t)(length - field.begin));
            otlp_varint(out, content.size);
            otlp_raw(out, content.data, content.size);
        }
        strings += within;
        otlp_free(&content);
    }
    return strings;
}

static inline void reference_corrupt_message(uint8_t *base, struct otlp_random *random,
                                             enum ut_schema_type type, ut_slice wire)
{
    struct ut_wire_field field;
    for (const uint8_t *p = wire.data, *end = p + wire.size; p < end;) {
        p = ut_wire_field(p, &field);
        const struct ut_schema_field *known = ut_schema_field(type, field.number);
        if (known != NULL && known->kind == UT_SCHEMA_MESSAGE)
            reference_corrupt_message(base, random, known->nested, field.content);
        if (known == NULL || known->kind != UT_SCHEMA_TEXT || field.content.size == 0 ||
            otlp_random_below(random, 6) != 0)
            continue;
        uint8_t *text = base + (field.content.data - base);
        unsigned hits = 1 + otlp_random_below(random, 4), size = (unsigned)field.content.size;
        while (hits-- > 0)
            text[otlp_random_below(random, size)] =
                (uint8_t)(0x80 | otlp_random_below(random, 0x80));
    }
}

/* Sets high bits in some of the strings; lengths stay. */
static inline void reference_corrupt(struct otlp_bytes *request, struct otlp_random *random)
{
    reference_corrupt_message(request->data, random, UT_SCHEMA_REQUEST,
                              ut_slice_of(request->data, request->size));
}

#endif
