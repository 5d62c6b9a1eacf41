/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/json_token.h"

enum {
    SKIP_DEPTH_MAX = 256, /* arrays and objects in a value that nobody wants */
    ESCAPE_SIZE = 6,      /* \uXXXX */
    SURROGATE_BITS = 10,  /* of a code point in each half of a pair */
};

const uint8_t *ut_json_refuse(struct ut_json_input *in, const uint8_t *at, const char *error)
{
    if (in->error == NULL) {
        in->at = at;
        in->error = error;
    }
    return NULL;
}

/* ---- strings --------------------------------------------------------------------------------- */

const uint8_t *ut_json_string_end(struct ut_json_input *in, const uint8_t *p, bool *ret_plain)
{
    *ret_plain = true;
    for (;;) {
        p = ut_json_plain_end(p, in->end);
        if (p == in->end)
            return ut_json_refuse(in, p, "a string is not closed");
        if (*p == '"')
            return p;
        if (*p != '\\')
            return ut_json_refuse(in, p, "a control character in a string");
        *ret_plain = false;
        if (in->end - p < 2)
            return ut_json_refuse(in, p, "a string is not closed");
        p += 2;
    }
}

/* The code unit of the escape \uXXXX at `p`; -1: it is none. */
static int code_unit(const uint8_t *p, const uint8_t *end)
{
    if (end - p < ESCAPE_SIZE || p[0] != '\\' || p[1] != 'u')
        return -1;
    int value = 0;
    for (int i = 2; i < ESCAPE_SIZE; i++) {
        int digit = ut_json_hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static uint8_t *put_code_point(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (uint8_t)c;
    } else if (c < 0x800) {
        *out++ = (uint8_t)(0xc0 | c >> 6);
        *out++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (uint8_t)(0xe0 | c >> 12);
        *out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *out++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *out++ = (uint8_t)(0xf0 | c >> 18);
        *out++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *out++ = (uint8_t)(0x80 | (c & 0x3f));
    }
    return out;
}

/* The escape \u at *p, with the second half of a pair; *p goes behind it. */
static uint8_t *put_unicode_escape(struct ut_json_input *in, const uint8_t **p, const uint8_t *end,
                                   uint8_t *out)
{
    int unit = code_unit(*p, end);
    if (unit < 0) {
        (void)ut_json_refuse(in, *p, "an escape is none of JSON");
        return NULL;
    }
    uint32_t c = (uint32_t)unit;
    *p += ESCAPE_SIZE;
    if (c >= 0xd800 && c <= 0xdfff) {
        int low = c <= 0xdbff ? code_unit(*p, end) : -1;
        if (low < 0xdc00 || low > 0xdfff) {
            (void)ut_json_refuse(in, *p - ESCAPE_SIZE, "half of a surrogate pair");
            return NULL;
        }
        c = 0x10000 + ((c - 0xd800) << SURROGATE_BITS) + ((uint32_t)low - 0xdc00);
        *p += ESCAPE_SIZE;
    }
    return put_code_point(out, c);
}

uint8_t *ut_json_unescape(struct ut_json_input *in, const uint8_t *p, const uint8_t *end,
                          uint8_t *out)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    while (p < end) {
        const uint8_t *plain_end = ut_json_plain_end(p, end);
        memcpy(out, p, (size_t)(plain_end - p));
        out += plain_end - p;
        p = plain_end;
        if (p == end)
            break;
        if (p[1] == 'u') {
            out = put_unicode_escape(in, &p, end, out);
            if (out == NULL)
                return NULL;
            continue;
        }
        const char *letter = memchr(letters, p[1], sizeof(letters) - 1);
        if (letter == NULL) {
            (void)ut_json_refuse(in, p, "an escape is none of JSON");
            return NULL;
        }
        *out++ = (uint8_t)meant[letter - letters];
        p += 2;
    }
    return out;
}

/* ---- values that nobody wants ---------------------------------------------------------------- */

static const uint8_t *skip_string(struct ut_json_input *in, const uint8_t *p)
{
    uint8_t unit[4];
    while ((p = ut_json_plain_end(p, in->end)) < in->end && *p == '\\') {
        size_t rest = (size_t)(in->end - p);
        /* A pair of surrogates is the longest escape. */
        size_t size = rest > 1 && p[1] == 'u' ? 1 : 2;
        const uint8_t *behind = p;
        if (size == 1) {
            if (put_unicode_escape(in, &behind, in->end, unit) == NULL)
                return NULL;
        } else {
            if (rest < size || ut_json_unescape(in, p, p + size, unit) == NULL)
                return ut_json_refuse(in, p, "a string is not closed");
            behind = p + size;
        }
        p = behind;
    }
    if (p == in->end)
        return ut_json_refuse(in, p, "a string is not closed");
    if (*p != '"')
        return ut_json_refuse(in, p, "a control character in a string");
    return p + 1;
}

static const uint8_t *skip_word(struct ut_json_input *in, const uint8_t *p)
{
    static const ut_slice words[] = {
        {(const uint8_t *)"true", 4}, {(const uint8_t *)"false", 5}, {(const uint8_t *)"null", 4}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (ut_slice_starts(ut_slice_of(p, (size_t)(in->end - p)), words[i]))
            return p + words[i].size;
    }
    return ut_json_refuse(in, p, "a value is expected");
}

static const uint8_t *skip_scalar(struct ut_json_input *in, const uint8_t *p)
{
    ut_slice number;
    if (p < in->end && *p == '"')
        return skip_string(in, p + 1);
    if (p < in->end && (*p == '-' || (*p >= '0' && *p <= '9')))
        return ut_json_number(in, p, &number);
    return skip_word(in, p);
}

/* The key of an object and its colon. */
static const uint8_t *skip_key(struct ut_json_input *in, const uint8_t *p)
{
    p = ut_json_space(p, in->end);
    if (p == in->end || *p != '"')
        return ut_json_refuse(in, p, "a key is expected");
    p = skip_string(in, p + 1);
    if (p == NULL)
        return NULL;
    p = ut_json_space(p, in->end);
    if (p == in->end || *p != ':')
        return ut_json_refuse(in, p, "a colon is expected");
    return p + 1;
}

/* Arrays and objects that are open, a bit for each: whether it is an object. */
struct nest {
    uint64_t objects[SKIP_DEPTH_MAX / 64];
    unsigned depth;
};

static bool is_object(const struct nest *nest)
{
    unsigned top = nest->depth - 1;
    return (nest->objects[top / 64] >> (top % 64) & 1) != 0;
}

static const uint8_t *skip_open(struct ut_json_input *in, struct nest *nest, const uint8_t *p)
{
    if (nest->depth == SKIP_DEPTH_MAX)
        return ut_json_refuse(in, p, "nested too deep");
    unsigned top = nest->depth++;
    uint64_t bit = UINT64_C(1) << (top % 64);
    nest->objects[top / 64] &= ~bit;
    if (*p == '{')
        nest->objects[top / 64] |= bit;
    return p + 1;
}

/* Behind a value: closes what ends there; stands before the next value, or with depth 0 behind the
 * whole. */
static const uint8_t *skip_between(struct ut_json_input *in, struct nest *nest, const uint8_t *p)
{
    while (nest->depth > 0) {
        p = ut_json_space(p, in->end);
        bool object = is_object(nest);
        if (p < in->end && *p == ',')
            return object ? skip_key(in, p + 1) : p + 1;
        if (p == in->end || *p != (object ? '}' : ']'))
            return ut_json_refuse(in, p, "a comma or the end of an array or object is expected");
        nest->depth--;
        p++;
    }
    return p;
}

const uint8_t *ut_json_skip(struct ut_json_input *in, const uint8_t *p)
{
    struct nest nest;
    nest.depth = 0;
    do {
        p = ut_json_space(p, in->end);
        if (p == in->end || (*p != '{' && *p != '[')) {
            p = skip_scalar(in, p);
        } else {
            uint8_t opened = *p;
            p = skip_open(in, &nest, p);
            if (p == NULL)
                return NULL;
            p = ut_json_space(p, in->end);
            if (p == in->end || *p != opened + 2) { /* '}' is '{' + 2, and ']' is '[' + 2 */
                if (opened == '{')
                    p = skip_key(in, p);
                if (p == NULL)
                    return NULL;
                continue;
            }
            nest.depth--;
            p++;
        }
        if (p != NULL)
            p = skip_between(in, &nest, p);
    } while (p != NULL && nest.depth > 0);
    return p;
}
