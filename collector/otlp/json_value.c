/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/json_value.h"

enum {
    HEADER_MAX = 16, /* tag and length, and what a wide store may overwrite */
    VALUE_ROOM = 32, /* a value of fixed size with its header, or what else stands around text */
};

static const char EXPECTS_STRING[] = "a string is expected";
static const char EXPECTS_NUMBER[] = "a number is expected";
static const char NO_INTEGER[] = "a number is not integral or out of range";

/* ---- strings --------------------------------------------------------------------------------- */

/* Escapes take more bytes in JSON than on the wire, so the rest of the string bounds what it
 * becomes.
 */
static const uint8_t *read_escaped_text(struct ut_json_reader *r,
                                        const struct ut_schema_field *field, const uint8_t *p)
{
    bool plain;
    const uint8_t *end = ut_json_string_end(&r->in, p, &plain);
    if (end == NULL || !ut_writer_room(&r->out, (size_t)(end - p) + HEADER_MAX))
        return NULL;
    uint8_t *content = ut_json_put_tag(r->out.next, field) + 1;
    uint8_t *behind = ut_json_unescape(&r->in, p, end, content);
    if (behind == NULL)
        return NULL;
    r->out.next = behind;
    (void)ut_writer_close(&r->out, (size_t)(content - r->out.segment->data), 1);
    return end + 1;
}

static const uint8_t *read_text(struct ut_json_reader *r, const struct ut_schema_field *field,
                                const uint8_t *p)
{
    const uint8_t *end = r->in.end;
    if (p == end || *p != '"')
        return ut_json_refuse(&r->in, p, EXPECTS_STRING);
    p++;
    const uint8_t *quote = ut_json_plain_end(p, end);
    if (__builtin_expect(quote == end || *quote != '"', 0))
        return read_escaped_text(r, field, p);
    size_t size = (size_t)(quote - p);
    if (size == 0 && !ut_json_is_explicit(field))
        return quote + 1;
    if (!ut_writer_room(&r->out, size + VALUE_ROOM))
        return NULL;
    uint8_t *out = ut_wire_put_varint(ut_json_put_tag(r->out.next, field), size);
    if (size <= 16 && end - p >= 16)
        memcpy(out, p, 16);
    else
        memcpy(out, p, size);
    r->out.next = out + size;
    return quote + 1;
}

/* What the string at `p` stands for. Where it has escapes that is made in the free room of the
 * output, HEADER_MAX bytes behind its end; it stays valid until more room than the string had in
 * JSON and VALUE_ROOM is asked for. */
static const uint8_t *read_content(struct ut_json_reader *r, const uint8_t *p, ut_slice *ret)
{
    if (p == r->in.end || *p != '"')
        return ut_json_refuse(&r->in, p, EXPECTS_STRING);
    bool plain;
    const uint8_t *end = ut_json_string_end(&r->in, ++p, &plain);
    if (end == NULL)
        return NULL;
    *ret = ut_slice_of(p, (size_t)(end - p));
    if (!plain) {
        if (!ut_writer_room(&r->out, ret->size + VALUE_ROOM))
            return NULL;
        uint8_t *made = r->out.next + HEADER_MAX;
        const uint8_t *behind = ut_json_unescape(&r->in, p, end, made);
        if (behind == NULL)
            return NULL;
        *ret = ut_slice_of(made, (size_t)(behind - made));
    }
    return end + 1;
}

static const uint8_t *read_id(struct ut_json_reader *r, const struct ut_schema_field *field,
                              const uint8_t *p)
{
    ut_slice text;
    const uint8_t *behind = read_content(r, p, &text);
    if (behind == NULL || text.size == 0)
        return behind;
    if (!ut_writer_room(&r->out, text.size + VALUE_ROOM))
        return NULL;
    uint8_t *out = ut_wire_put_varint(ut_json_put_tag(r->out.next, field), text.size / 2);
    out = ut_json_from_hex(text, out);
    if (out == NULL)
        return ut_json_refuse(&r->in, p, "an id is not hex");
    r->out.next = out;
    return behind;
}

static const uint8_t *read_bytes(struct ut_json_reader *r, const struct ut_schema_field *field,
                                 const uint8_t *p)
{
    ut_slice text;
    const uint8_t *behind = read_content(r, p, &text);
    if (behind == NULL)
        return NULL;
    size_t size = ut_json_base64_size(text);
    if (!ut_writer_room(&r->out, text.size + VALUE_ROOM))
        return NULL;
    uint8_t *out = ut_wire_put_varint(ut_json_put_tag(r->out.next, field), size);
    out = ut_json_from_base64(text, out);
    if (out == NULL)
        return ut_json_refuse(&r->in, p, "bytes are not base64");
    r->out.next = out;
    return behind;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* A number or a string of one; checked against the grammar only. */
static const uint8_t *read_number(struct ut_json_reader *r, const uint8_t *p, ut_slice *ret)
{
    if (p == r->in.end || *p != '"')
        return ut_json_number(&r->in, p, ret);
    ut_slice text;
    const uint8_t *behind = read_content(r, p, &text);
    if (behind == NULL)
        return NULL;
    struct ut_json_input within = {.begin = text.data, .end = text.data + text.size};
    if (ut_json_number(&within, text.data, ret) != within.end)
        return ut_json_refuse(&r->in, p, EXPECTS_NUMBER);
    return behind;
}

static const uint8_t *read_unsigned(struct ut_json_reader *r, const uint8_t *p, uint64_t most,
                                    uint64_t *ret)
{
    const uint8_t *behind = ut_json_plain_integer(p, r->in.end, ret);
    if (behind != NULL && *ret <= most)
        return behind;
    ut_slice number;
    behind = read_number(r, p, &number);
    if (behind != NULL && !ut_json_to_unsigned(number, most, ret))
        return ut_json_refuse(&r->in, p, NO_INTEGER);
    return behind;
}

static const uint8_t *read_signed(struct ut_json_reader *r, const uint8_t *p, int64_t most,
                                  uint64_t *ret)
{
    const uint8_t *behind = ut_json_plain_integer(p, r->in.end, ret);
    if (behind != NULL && *ret <= (uint64_t)most)
        return behind;
    ut_slice number;
    int64_t value = 0;
    behind = read_number(r, p, &number);
    if (behind != NULL && !ut_json_to_signed(number, -most - 1, most, &value))
        return ut_json_refuse(&r->in, p, NO_INTEGER);
    *ret = (uint64_t)value;
    return behind;
}

/* The words that stand for doubles which JSON has no numbers for. */
static bool is_no_number(ut_slice text, double *ret)
{
    if (ut_slice_equal(text, UT_SLICE("NaN")))
        *ret = __builtin_nan("");
    else if (ut_slice_equal(text, UT_SLICE("Infinity")))
        *ret = __builtin_inf();
    else if (ut_slice_equal(text, UT_SLICE("-Infinity")))
        *ret = -__builtin_inf();
    else
        return false;
    return true;
}

static const uint8_t *read_double(struct ut_json_reader *r, const uint8_t *p, double *ret)
{
    ut_slice text;
    const uint8_t *behind;
    if (p < r->in.end && *p == '"') {
        behind = read_content(r, p, &text);
        if (behind == NULL || is_no_number(text, ret))
            return behind;
    }
    behind = read_number(r, p, &text);
    if (behind != NULL && !ut_json_to_double(text, ret))
        return ut_json_refuse(&r->in, p, "a number is too large");
    return behind;
}

static const uint8_t *read_bool(struct ut_json_reader *r, const uint8_t *p, uint64_t *ret)
{
    ut_slice rest = ut_slice_of(p, (size_t)(r->in.end - p));
    *ret = ut_slice_starts(rest, UT_SLICE("true"));
    if (*ret != 0)
        return p + 4;
    if (ut_slice_starts(rest, UT_SLICE("false")))
        return p + 5;
    return ut_json_refuse(&r->in, p, "true or false is expected");
}

/* The value as 64 bits, whatever its wire type. */
static const uint8_t *read_bits(struct ut_json_reader *r, const struct ut_schema_field *field,
                                const uint8_t *p, uint64_t *ret)
{
    double number = 0;
    switch ((enum ut_schema_kind)field->kind) {
    case UT_SCHEMA_BOOL:
        return read_bool(r, p, ret);
    case UT_SCHEMA_ENUM:
        if (p < r->in.end && *p == '"')
            return ut_json_refuse(&r->in, p, "an enum must be a number");
        return read_signed(r, p, INT32_MAX, ret);
    case UT_SCHEMA_INT64:
        return read_signed(r, p, INT64_MAX, ret);
    case UT_SCHEMA_UINT32:
    case UT_SCHEMA_FIXED32:
        return read_unsigned(r, p, UINT32_MAX, ret);
    case UT_SCHEMA_DOUBLE:
        p = read_double(r, p, &number);
        memcpy(ret, &number, sizeof(number));
        return p;
    default:
        return read_unsigned(r, p, UINT64_MAX, ret);
    }
}

static const uint8_t *read_numeric(struct ut_json_reader *r, const struct ut_schema_field *field,
                                   const uint8_t *p)
{
    uint64_t bits = 0;
    p = read_bits(r, field, p, &bits);
    if (p == NULL || (bits == 0 && !ut_json_is_explicit(field)))
        return p;
    if (!ut_writer_room(&r->out, VALUE_ROOM))
        return NULL;
    uint8_t *out = ut_json_put_tag(r->out.next, field);
    if (field->wire == UT_WIRE_VARINT)
        out = ut_wire_put_varint(out, bits);
    else
        out = ut_wire_put_fixed64(out, bits);
    /* A fixed32 is the lower half, which little-endian bytes begin with. */
    r->out.next = field->wire == UT_WIRE_FIXED32 ? out - 4 : out;
    return p;
}

/* Whether `p` begins a whole number that no int64 can hold, as JavaScript's SDK writes them: it has
 * no other kind for them in JSON, and sends doubles in protobuf. */
static bool is_beyond_int64(struct ut_json_reader *r, const uint8_t *p)
{
    struct ut_json_input within = {.begin = p, .end = r->in.end};
    ut_slice number;
    uint64_t plain;
    int64_t value;
    double wide;
    if (ut_json_plain_integer(p, r->in.end, &plain) != NULL && plain <= INT64_MAX)
        return false;
    if (p == r->in.end || *p == '"' || ut_json_number(&within, p, &number) == NULL)
        return false;
    return !ut_json_to_signed(number, INT64_MIN, INT64_MAX, &value) &&
           ut_json_to_double(number, &wide) && (wide >= 0x1p63 || wide <= -0x1p63);
}

const uint8_t *ut_json_read_scalar(struct ut_json_reader *r, const struct ut_schema_field *field,
                                   const uint8_t *p)
{
    switch ((enum ut_schema_kind)field->kind) {
    case UT_SCHEMA_TEXT:
        return read_text(r, field, p);
    case UT_SCHEMA_ID:
        return read_id(r, field, p);
    case UT_SCHEMA_BYTES:
        return read_bytes(r, field, p);
    case UT_SCHEMA_INT64:
        /* AnyValue's alone, so that the next row is its double. */
        return read_numeric(r, is_beyond_int64(r, p) ? field + 1 : field, p);
    default:
        return read_numeric(r, field, p);
    }
}
