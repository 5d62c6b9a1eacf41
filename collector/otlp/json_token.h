/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokens of JSON (RFC 8259) and what OTLP writes into them: numbers, hex, base64. Readers take
 * a position and return the one behind what they read, or NULL with the fault noted. Nothing is
 * read outside [begin, end).
 */
#ifndef UT_OTLP_JSON_TOKEN_H
#define UT_OTLP_JSON_TOKEN_H

#include "base/slice.h"
#include "otlp/text.h"

struct ut_json_input {
    const uint8_t *begin, *end;
    const uint8_t *at; /* where the fault is */
    const char *error; /* what it is, a constant text; NULL: none */
};

/* Notes the first fault; returns NULL. */
const uint8_t *ut_json_refuse(struct ut_json_input *in, const uint8_t *at, const char *error);

static inline const uint8_t *ut_json_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* The first of [p, end) that is a quote, a backslash or a control character; `end` if none is. */
static inline const uint8_t *ut_json_plain_end(const uint8_t *p, const uint8_t *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    for (; end - p >= 16; p += 16) {
        __m128i text = ut_text_load16(p);
        __m128i found = _mm_or_si128(_mm_cmpeq_epi8(text, quote), _mm_cmpeq_epi8(text, slash));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(_mm_min_epu8(text, control), text));
        int mask = _mm_movemask_epi8(found);
        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && *p >= 0x20)
        p++;
    return p;
}

/* Its value, -1 where it is none. */
static inline int ut_json_hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The closing quote of the string whose first character is at `p`. *ret_plain: no escapes. */
const uint8_t *ut_json_string_end(struct ut_json_input *in, const uint8_t *p, bool *ret_plain);
/* Writes what [p, end) of a string stands for to `out`, which has room for as many bytes; the end
 * of what was written. Surrogates must come in pairs. */
uint8_t *ut_json_unescape(struct ut_json_input *in, const uint8_t *p, const uint8_t *end,
                          uint8_t *out);

/* The bytes of a number, checked against the grammar only. */
const uint8_t *ut_json_number(struct ut_json_input *in, const uint8_t *p, ut_slice *ret);
/* The value of a number of that grammar. false: it is not integral or not in the range. */
bool ut_json_to_unsigned(ut_slice number, uint64_t most, uint64_t *ret);
bool ut_json_to_signed(ut_slice number, int64_t least, int64_t most, int64_t *ret);
/* false: too large for a double. */
bool ut_json_to_double(ut_slice number, double *ret);

enum { UT_JSON_DIGITS_PLAIN = 19 };

static inline bool ut_json_is_eight_digits(uint64_t text)
{
    return ((text & UINT64_C(0xf0f0f0f0f0f0f0f0)) |
            ((text + UINT64_C(0x0606060606060606)) & UINT64_C(0xf0f0f0f0f0f0f0f0)) >> 4) ==
           UINT64_C(0x3333333333333333);
}

/* The digits lie in the word as in memory, the first one lowest: pairs, fours, eights. */
static inline uint64_t ut_json_eight_digits(uint64_t text)
{
    text -= UINT64_C(0x3030303030303030);
    text = text * 10 + (text >> 8);
    uint64_t even = (text & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064);
    uint64_t odd = (text >> 16 & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001);
    return (even + odd) >> 32;
}

/* The usual integer: digits without sign, leading zero, fraction or exponent, at most 19 of them,
 * bare or quoted. NULL: it is another. */
static inline const uint8_t *ut_json_plain_integer(const uint8_t *p, const uint8_t *end,
                                                   uint64_t *ret)
{
    if (end - p < UT_JSON_DIGITS_PLAIN + 8)
        return NULL;
    bool quoted = *p == '"';
    p += quoted;
    const uint8_t *begin = p;
    uint64_t value = 0;
    for (uint64_t text; p - begin < 16 && ut_json_is_eight_digits(text = le64toh(ut_text_load8(p)));
         p += 8)
        value = value * UINT64_C(100000000) + ut_json_eight_digits(text);
    while (*p >= '0' && *p <= '9' && p - begin < UT_JSON_DIGITS_PLAIN)
        value = value * 10 + (*p++ - '0');
    *ret = value;
    if (p == begin || (*begin == '0' && p - begin > 1))
        return NULL;
    if (quoted)
        return *p == '"' ? p + 1 : NULL;
    return *p == ',' || *p == '}' || *p == ']' ? p : NULL;
}

/* Any value, of which nothing is wanted. */
const uint8_t *ut_json_skip(struct ut_json_input *in, const uint8_t *p);

/* Both write to `out` and return the end, or NULL where the text is none of the kind. `out` may lie
 * before text.data in the same bytes. */
uint8_t *ut_json_from_hex(ut_slice text, uint8_t *out);
/* Room for three bytes of each four characters begun is needed. */
uint8_t *ut_json_from_base64(ut_slice text, uint8_t *out);
/* Bytes that the base64 text stands for. */
size_t ut_json_base64_size(ut_slice text);

#endif
