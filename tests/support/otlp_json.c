/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { DEPTH_MOST = 6, LIST_MOST = 3 };

uint64_t otlp_random(struct otlp_random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * UINT64_C(0x2545f4914f6cdd1d);
}

unsigned otlp_random_below(struct otlp_random *random, unsigned below)
{
    return (unsigned)((otlp_random(random) >> 32) % below);
}

/* ---- random messages --------------------------------------------------------------------------
 */

static const char *const PIECES[] = {"a",
                                     "Z",
                                     "\"",
                                     "\\",
                                     "/",
                                     "\n",
                                     "\t",
                                     "\x01",
                                     "\x7f",
                                     "\xc3\xa4",
                                     "\xe2\x82\xac",
                                     "\xed\x9f\xbf",
                                     "\xee\x80\x80",
                                     "\xf0\x9f\x98\x80",
                                     "\xf4\x8f\xbf\xbf",
                                     "service.name"};

static void random_text(struct otlp_bytes *out, struct otlp_random *random)
{
    static const unsigned sizes[] = {1, 3, 8, 15, 16, 17, 40, 127, 128, 129, 300, 17000};
    unsigned pick = otlp_random_below(random, 200);
    /* Long ones are rare. */
    unsigned most = sizes[pick == 0 ? 11 : pick % 11];
    unsigned plain = otlp_random_below(random, 3);
    while (out->size < most) {
        const char *piece = PIECES[plain != 0 ? 0 : otlp_random_below(random, 16)];
        otlp_raw(out, piece, strlen(piece));
    }
}

static void random_length(struct otlp_bytes *out, struct otlp_random *random,
                          const struct ut_schema_field *field)
{
    static const unsigned id_sizes[] = {8, 16, 16, 8, 1, 31};
    struct otlp_bytes content = {0};
    if (field->kind == UT_SCHEMA_TEXT) {
        random_text(&content, random);
    } else {
        unsigned size = field->kind == UT_SCHEMA_ID ? id_sizes[otlp_random_below(random, 6)]
                                                    : otlp_random_below(random, 200);
        while (content.size < size)
            otlp_byte(&content, otlp_random_below(random, 256));
    }
    if (field->member && otlp_random_below(random, 8) == 0)
        content.size = 0;
    otlp_data(out, field->number, content.data, content.size);
    otlp_free(&content);
}

static uint64_t random_double(struct otlp_random *random)
{
    static const uint64_t special[] = {
        0, UINT64_C(1) << 63, UINT64_C(0x7ff) << 52, UINT64_C(0xfff) << 52, UINT64_C(0x7ff8) << 48,
        1};
    unsigned pick = otlp_random_below(random, 12);
    uint64_t bits = otlp_random(random);
    double plain = (double)(int64_t)(bits >> 40) / 1000.0;
    if (pick < 6)
        return special[pick];
    if (pick < 9)
        memcpy(&bits, &plain, sizeof(bits));
    return (bits >> 52 & 0x7ff) == 0x7ff ? 0 : bits;
}

static uint64_t random_number(struct otlp_random *random, const struct ut_schema_field *field)
{
    uint64_t value = otlp_random(random) >> otlp_random_below(random, 64);
    switch ((enum ut_schema_kind)field->kind) {
    case UT_SCHEMA_DOUBLE:
        return random_double(random);
    case UT_SCHEMA_BOOL:
        return otlp_random_below(random, 2);
    case UT_SCHEMA_ENUM:
        return (uint64_t)(int64_t)(int32_t)value;
    case UT_SCHEMA_UINT32:
    case UT_SCHEMA_FIXED32:
        return (uint32_t)value;
    default:
        return otlp_random_below(random, 8) == 0 ? 0 - value : value;
    }
}

static void random_scalar(struct otlp_bytes *out, struct otlp_random *random,
                          const struct ut_schema_field *field)
{
    if (field->wire == UT_WIRE_LEN) {
        random_length(out, random, field);
        return;
    }
    uint64_t value = random_number(random, field);
    if (value == 0 && !field->member)
        value = 1;
    if (field->wire == UT_WIRE_VARINT)
        otlp_uint(out, field->number, value);
    else if (field->wire == UT_WIRE_FIXED64)
        otlp_fixed64(out, field->number, value);
    else
        otlp_fixed32(out, field->number, (uint32_t)value);
}

static void random_fields(struct otlp_bytes *out, struct otlp_random *random,
                          enum ut_schema_type type, unsigned depth);

static void random_field(struct otlp_bytes *out, struct otlp_random *random,
                         const struct ut_schema_field *field, unsigned depth)
{
    unsigned count = field->repeated ? otlp_random_below(random, LIST_MOST + 1) : 1;
    if (UT_SCHEMA[field->nested].recursive && depth >= DEPTH_MOST)
        count = 0;
    while (count-- > 0) {
        if (field->kind != UT_SCHEMA_MESSAGE) {
            random_scalar(out, random, field);
            continue;
        }
        size_t begin = otlp_begin(out, field->number);
        random_fields(out, random, field->nested, depth + 1);
        otlp_end(out, begin);
    }
}

static void random_fields(struct otlp_bytes *out, struct otlp_random *random,
                          enum ut_schema_type type, unsigned depth)
{
    const struct ut_schema_message *message = &UT_SCHEMA[type];
    if (message->fields[0].member) {
        unsigned pick = otlp_random_below(random, message->count + 1U);
        if (pick < message->count)
            random_field(out, random, &message->fields[pick], depth);
        return;
    }
    for (unsigned i = 0; i < message->count; i++) {
        if (otlp_random_below(random, 4) != 0)
            random_field(out, random, &message->fields[i], depth);
    }
}

void otlp_random_message(struct otlp_bytes *out, struct otlp_random *random,
                         enum ut_schema_type type)
{
    random_fields(out, random, type, 0);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void print(struct otlp_bytes *out, const char *text)
{
    otlp_raw(out, text, strlen(text));
}

/* Whether a variation is taken, one time in `of`. */
static bool varies(const struct otlp_json_style *style, unsigned of)
{
    return style->any_form && otlp_random_below(style->random, of) == 0;
}

static void print_space(struct otlp_bytes *out, const struct otlp_json_style *style)
{
    static const char *const spaces[] = {" ", "\n", "\t", "\r\n", "                    "};
    if (varies(style, 4))
        print(out, spaces[otlp_random_below(style->random, 5)]);
}

static void print_escape(struct otlp_bytes *out, unsigned unit, bool upper)
{
    char text[8];
    (void)snprintf(text, sizeof(text), upper ? "\\u%04X" : "\\u%04x", unit);
    print(out, text);
}

/* The code point at `p`, which is UTF-8. */
static unsigned code_point(const uint8_t *p, size_t *ret_size)
{
    *ret_size = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
    static const unsigned masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned c = *p & masks[*ret_size];
    for (size_t i = 1; i < *ret_size; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

static void print_text(struct otlp_bytes *out, ut_slice text, const struct otlp_json_style *style)
{
    size_t size;
    print(out, "\"");
    for (const uint8_t *p = text.data, *end = p + text.size; p < end; p += size) {
        unsigned c = code_point(p, &size);
        bool upper = style->any_form && c % 2 == 0;
        if (c == '"' || c == '\\') {
            otlp_byte(out, '\\');
            otlp_byte(out, c);
        } else if (c == '\n' && !varies(style, 2)) {
            print(out, "\\n");
        } else if (c == '/' && varies(style, 2)) {
            print(out, "\\/");
        } else if (c >= 0x10000 && varies(style, 2)) {
            print_escape(out, 0xd800 + ((c - 0x10000) >> 10), upper);
            print_escape(out, 0xdc00 + ((c - 0x10000) & 0x3ff), upper);
        } else if (c < 0x20 || (c < 0x10000 && varies(style, 8))) {
            print_escape(out, c, upper);
        } else {
            otlp_raw(out, p, size);
        }
    }
    print(out, "\"");
}

static void print_hex(struct otlp_bytes *out, ut_slice id, const struct otlp_json_style *style)
{
    print(out, "\"");
    for (size_t i = 0; i < id.size; i++) {
        char text[4];
        (void)snprintf(text, sizeof(text), varies(style, 2) ? "%02X" : "%02x", id.data[i]);
        print(out, text);
    }
    print(out, "\"");
}

static void print_base64(struct otlp_bytes *out, ut_slice bytes,
                         const struct otlp_json_style *style)
{
    const char *last = varies(style, 2) ? "-_" : "+/";
    bool pad = !varies(style, 2);
    print(out, "\"");
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t size = bytes.size - i < 3 ? bytes.size - i : 3;
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (j < size ? bytes.data[i + j] : 0U);
        for (size_t j = 0; j < 4; j++) {
            unsigned value = bits >> (18 - 6 * j) & 63;
            if (j > size) {
                print(out, pad ? "=" : "");
            } else if (value == 63 && varies(style, 2) && *last == '+') {
                print(out, "\\/");
            } else {
                otlp_byte(out, value < 26   ? 'A' + value
                               : value < 52 ? 'a' + value - 26
                               : value < 62 ? '0' + value - 52
                                            : (unsigned)last[value - 62]);
            }
        }
    }
    print(out, "\"");
}

static void print_double(struct otlp_bytes *out, double value, const struct otlp_json_style *style)
{
    char text[64];
    if (isnan(value) || isinf(value)) {
        print(out, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    bool quoted = varies(style, 4);
    (void)snprintf(text, sizeof(text), varies(style, 2) ? "%.16e" : "%.17g", value);
    print(out, quoted ? "\"" : "");
    print(out, text);
    print(out, quoted ? "\"" : "");
}

static void print_integer(struct otlp_bytes *out, const struct ut_schema_field *field,
                          uint64_t value, const struct otlp_json_style *style)
{
    char text[48];
    bool is_signed = field->kind == UT_SCHEMA_INT64 || field->kind == UT_SCHEMA_ENUM;
    bool is_long = field->kind == UT_SCHEMA_INT64 || field->kind == UT_SCHEMA_FIXED64;
    bool quoted = is_long && !varies(style, 2);
    if (field->kind != UT_SCHEMA_ENUM && varies(style, 8))
        quoted = !quoted;
    if (is_signed)
        (void)snprintf(text, sizeof(text), "%" PRId64, (int64_t)value);
    else
        (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    size_t size = strlen(text);
    if (varies(style, 8))
        (void)snprintf(text + size, sizeof(text) - size, ".00");
    else if (size > 3 && strcmp(text + size - 2, "00") == 0 && varies(style, 2))
        (void)snprintf(text + size - 2, sizeof(text) - size + 2, "e+2");
    print(out, quoted ? "\"" : "");
    print(out, text);
    print(out, quoted ? "\"" : "");
}

static void print_value(struct otlp_bytes *out, const struct ut_schema_field *field,
                        const struct ut_wire_field *value, const struct otlp_json_style *style)
{
    double number;
    switch ((enum ut_schema_kind)field->kind) {
    case UT_SCHEMA_MESSAGE:
        otlp_json_print(out, field->nested, value->content, style);
        break;
    case UT_SCHEMA_TEXT:
        print_text(out, value->content, style);
        break;
    case UT_SCHEMA_ID:
        print_hex(out, value->content, style);
        break;
    case UT_SCHEMA_BYTES:
        print_base64(out, value->content, style);
        break;
    case UT_SCHEMA_BOOL:
        print(out, value->value != 0 ? "true" : "false");
        break;
    case UT_SCHEMA_DOUBLE:
        memcpy(&number, &value->value, sizeof(number));
        print_double(out, number, style);
        break;
    default:
        print_integer(out, field, value->value, style);
    }
}

static void print_key(struct otlp_bytes *out, const struct ut_schema_field *field,
                      const struct otlp_json_style *style)
{
    bool snake = varies(style, 4), escaped = varies(style, 16);
    for (const char *c = field->key; *c != ':'; c++) {
        bool upper = *c >= 'A' && *c <= 'Z';
        if (snake && upper)
            print(out, "_");
        if (escaped && *c != '"' && !upper)
            print_escape(out, (unsigned)*c, false);
        else
            otlp_byte(out, (unsigned)(snake && upper ? *c | 0x20 : *c));
    }
    print_space(out, style);
    print(out, ":");
    print_space(out, style);
}

/* What a reader must not mind. */
static void print_noise(struct otlp_bytes *out, const struct ut_schema_field *field, bool last,
                        const struct otlp_json_style *style)
{
    static const char *const unknown[] = {
        "\"x\":{\"a\":[1,-2.5e-3,{}],\"\\u0041\":[],\"b\":{\"c\":null}}",
        "\"\":\"\\ud83d\\ude00\\\"\"", "\"Name\":[[[]],true , false]", "\"trace__id\" : 0"};
    if (varies(style, 8)) {
        print(out, unknown[otlp_random_below(style->random, 4)]);
        print(out, last ? "" : ",");
    } else if (!last && varies(style, 8)) {
        print_key(out, field, style); /* replaced by what follows */
        print(out, "null,");
    } else if (!last && field->kind == UT_SCHEMA_TEXT && !field->repeated && varies(style, 4)) {
        print_key(out, field, style);
        print(out, "\"replaced\",");
    } else if (last) {
        print(out, "\"y\":0");
    }
}

/* All occurrences of the field. */
static void print_member(struct otlp_bytes *out, const struct ut_schema_field *field, ut_slice wire,
                         const struct otlp_json_style *style)
{
    bool first = true;
    print_noise(out, field, false, style);
    print_key(out, field, style);
    print(out, field->repeated ? "[" : "");
    struct ut_wire_field value;
    for (const uint8_t *p = wire.data, *end = p + wire.size; p < end;) {
        p = ut_wire_field(p, &value);
        if (value.number != field->number)
            continue;
        print(out, first ? "" : ",");
        first = false;
        print_space(out, style);
        print_value(out, field, &value, style);
        print_space(out, style);
    }
    print(out, field->repeated ? "]" : "");
}

void otlp_json_print(struct otlp_bytes *out, enum ut_schema_type type, ut_slice wire,
                     const struct otlp_json_style *style)
{
    const struct ut_schema_message *message = &UT_SCHEMA[type];
    uint32_t there = 0;
    struct ut_wire_field value;
    for (const uint8_t *p = wire.data, *end = p + wire.size; p < end;) {
        p = ut_wire_field(p, &value);
        there |= 1U << value.number;
    }
    unsigned shift = style->any_order ? otlp_random_below(style->random, message->count) : 0;
    bool first = true;
    print(out, "{");
    for (unsigned i = 0; i < message->count; i++) {
        unsigned at = (i + shift) % message->count;
        if (style->any_order && shift % 2 == 1)
            at = message->count - 1 - at;
        const struct ut_schema_field *field = &message->fields[at];
        if ((there >> field->number & 1) == 0)
            continue;
        print(out, first ? "" : ",");
        print_space(out, style);
        first = false;
        print_member(out, field, wire, style);
        print_space(out, style);
    }
    if (varies(style, 8)) {
        print(out, first ? "" : ",");
        print_noise(out, &message->fields[0], true, style);
    }
    print(out, "}");
}
