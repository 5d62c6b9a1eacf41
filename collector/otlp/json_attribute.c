/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The usual attribute, of which a request has more than of anything else: read and written as one,
 * without a look at the tables. It fails as early as it can; the general way takes over then.
 */
#include "otlp/json_value.h"

enum {
    SIZE_MOST = 0x7f,  /* of the KeyValue and so of all in it: lengths of one byte */
    FIELD_ROOM = 256,  /* the field as a whole, and what wide stores overwrite */
    OVERHEAD = 6,      /* tags and lengths within the KeyValue */
    MEMBERS_ROOM = 48, /* bytes of the members' names and brackets, and more */

    KEY = UT_TAG(1, UT_WIRE_LEN),
    VALUE = UT_TAG(2, UT_WIRE_LEN),
    ANY_STRING = UT_TAG(1, UT_WIRE_LEN),
    ANY_INT = UT_TAG(3, UT_WIRE_VARINT),
};

static inline bool is_text8(const uint8_t *p, const char *text)
{
    return ut_text_load8(p) == ut_text_load8((const uint8_t *)text);
}

static inline bool is_text4(const uint8_t *p, const char *text)
{
    return ut_text_load4(p) == ut_text_load4((const uint8_t *)text);
}

/* `room` bytes may be read at `text`, and as many as the writer has were made sure of. */
static inline uint8_t *put_short(uint8_t *out, ut_slice text, size_t room)
{
    *out++ = (uint8_t)text.size;
    if (text.size <= 16 && room >= 16)
        memcpy(out, text.data, 16);
    else
        memcpy(out, text.data, text.size);
    return out + text.size;
}

/* The characters at `p` up to the quote; false: there is an escape or no end. */
static inline bool take_plain(const uint8_t *p, const uint8_t *end, ut_slice *ret)
{
    const uint8_t *quote = ut_json_plain_end(p, end);
    if (quote == end || *quote != '"')
        return false;
    *ret = ut_slice_of(p, (size_t)(quote - p));
    return true;
}

/* Writes the KeyValue but for its value, whose message has `any_size` bytes. */
static inline uint8_t *put_head(uint8_t *out, const struct ut_schema_field *field, ut_slice key,
                                size_t any_size)
{
    out = ut_json_put_tag(out, field);
    size_t key_field = key.size == 0 ? 0 : 2 + key.size;
    *out++ = (uint8_t)(key_field + 2 + any_size);
    if (key.size > 0) {
        *out++ = KEY;
        out = put_short(out, key, MEMBERS_ROOM);
    }
    *out++ = VALUE;
    *out++ = (uint8_t)any_size;
    return out;
}

static const uint8_t *read_string(struct ut_json_reader *r, const struct ut_schema_field *field,
                                  ut_slice key, const uint8_t *p)
{
    ut_slice value;
    const uint8_t *end = r->in.end;
    if (!take_plain(p, end, &value) || key.size + value.size + OVERHEAD > SIZE_MOST)
        return NULL;
    p += value.size + 1;
    if (end - p < 2 || p[0] != '}' || p[1] != '}' || !ut_writer_room(&r->out, FIELD_ROOM))
        return NULL;
    uint8_t *out = put_head(r->out.next, field, key, 2 + value.size);
    *out++ = ANY_STRING;
    r->out.next = put_short(out, value, (size_t)(end - value.data));
    return p + 2;
}

static const uint8_t *read_int(struct ut_json_reader *r, const struct ut_schema_field *field,
                               ut_slice key, const uint8_t *p)
{
    uint64_t value;
    const uint8_t *end = r->in.end;
    p = ut_json_plain_integer(p, end, &value);
    if (p == NULL || value > INT64_MAX || end - p < 2 || p[0] != '}' || p[1] != '}')
        return NULL;
    size_t size = ut_wire_varint_size(value);
    if (key.size + size + OVERHEAD > SIZE_MOST || !ut_writer_room(&r->out, FIELD_ROOM))
        return NULL;
    uint8_t *out = put_head(r->out.next, field, key, 1 + size);
    *out++ = ANY_INT;
    r->out.next = ut_wire_put_varint(out, value);
    return p + 2;
}

const uint8_t *ut_json_read_plain_attribute(struct ut_json_reader *r,
                                            const struct ut_schema_field *field, const uint8_t *p)
{
    static const char begin[] = "{\"key\":\"", between[] = "\",\"value\":{\"";
    static const char string[] = "stringValue\":\"", integer[] = "intValue\":";
    enum { BEGIN = sizeof(begin) - 1, BETWEEN = sizeof(between) - 1 };
    enum { STRING = sizeof(string) - 1, INTEGER = sizeof(integer) - 1 };
    ut_slice key;
    const uint8_t *end = r->in.end;
    if (end - p < BEGIN || !is_text8(p, begin) || !take_plain(p + BEGIN, end, &key))
        return NULL;
    p = key.data + key.size;
    if (end - p < MEMBERS_ROOM || !is_text8(p, between) || !is_text4(p + 8, between + 8))
        return NULL;
    p += BETWEEN;
    if (is_text8(p, string) && is_text8(p + STRING - 8, string + STRING - 8))
        return read_string(r, field, key, p + STRING);
    if (is_text8(p, integer) && p[8] == '"' && p[9] == ':')
        return read_int(r, field, key, p + INTEGER);
    return NULL;
}
