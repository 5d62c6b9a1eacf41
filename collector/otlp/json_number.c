/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as JSON writes them, hex and base64: the pure part of json_token.h. */
#include <math.h>
#include <stdlib.h>

#include "otlp/json_token.h"

enum {
    NUMBER_SIZE_MAX = 400, /* characters; more are no number that anybody measured */
    EXPONENT_MAX = 9999,   /* beyond it all are alike */
    DIGITS_MAX = 38,       /* that fit into 128 bits */
    EXACT_POWER_MAX = 22,  /* 10^22 is the last power of ten that a double holds exactly */
    MANTISSA_BITS = 53,
};

__extension__ typedef unsigned __int128 wide;

static const uint8_t *digits(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

const uint8_t *ut_json_number(struct ut_json_input *in, const uint8_t *p, ut_slice *ret)
{
    static const char wrong[] = "a number is expected";
    const uint8_t *begin = p, *end = in->end;
    if (p < end && *p == '-')
        p++;
    const uint8_t *whole = p;
    p = digits(p, end);
    if (p == whole || (*whole == '0' && p - whole > 1))
        return ut_json_refuse(in, begin, wrong);
    if (p < end && *p == '.') {
        const uint8_t *fraction = ++p;
        p = digits(p, end);
        if (p == fraction)
            return ut_json_refuse(in, begin, wrong);
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        const uint8_t *exponent = p;
        p = digits(p, end);
        if (p == exponent)
            return ut_json_refuse(in, begin, wrong);
    }
    if (p - begin > NUMBER_SIZE_MAX)
        return ut_json_refuse(in, begin, "a number is too long");
    *ret = ut_slice_of(begin, (size_t)(p - begin));
    return p;
}

/* A number as mantissa × 10^exponent; the mantissa does not end with a zero unless it is 0. */
struct decimal {
    wide mantissa;
    int exponent;
    bool negative;
    bool cut; /* it has more digits than fit */
};

static void add_digit(struct decimal *d, unsigned *count, unsigned *zeros, unsigned digit)
{
    if (digit == 0) {
        ++*zeros;
        return;
    }
    unsigned places = *zeros + 1;
    *zeros = 0;
    if (d->mantissa == 0)
        *count = 1; /* zeros before the first digit count for nothing */
    else
        *count += places;
    if (*count > DIGITS_MAX) {
        d->cut = true;
        return;
    }
    if (d->mantissa != 0) {
        while (places-- > 0)
            d->mantissa *= 10;
    }
    d->mantissa += digit;
}

static int read_exponent(const uint8_t *p, const uint8_t *end)
{
    if (p == end)
        return 0;
    p++; /* the e */
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    int exponent = 0;
    for (; p < end; p++) {
        exponent = exponent * 10 + (*p - '0');
        if (exponent > EXPONENT_MAX)
            exponent = EXPONENT_MAX;
    }
    return negative ? -exponent : exponent;
}

static struct decimal read_decimal(ut_slice number)
{
    struct decimal d = {0};
    const uint8_t *p = number.data, *end = p + number.size;
    unsigned count = 0, zeros = 0;
    int after_point = 0;
    d.negative = *p == '-';
    p += d.negative;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        add_digit(&d, &count, &zeros, (unsigned)(*p - '0'));
    if (p < end && *p == '.') {
        for (p++; p < end && *p >= '0' && *p <= '9'; p++, after_point++)
            add_digit(&d, &count, &zeros, (unsigned)(*p - '0'));
    }
    d.exponent = read_exponent(p, end) + (int)zeros - after_point;
    if (d.mantissa == 0)
        d.exponent = 0;
    return d;
}

/* The magnitude of an integral number, at most 2^64 - 1. */
static bool read_integer(ut_slice number, uint64_t *ret, bool *ret_negative)
{
    struct decimal d = read_decimal(number);
    if (d.cut || d.exponent < 0 || d.exponent > 20)
        return false;
    for (; d.exponent > 0 && d.mantissa <= UINT64_MAX; d.exponent--)
        d.mantissa *= 10;
    if (d.exponent > 0 || d.mantissa > UINT64_MAX)
        return false;
    *ret = (uint64_t)d.mantissa;
    *ret_negative = d.negative;
    return true;
}

bool ut_json_to_unsigned(ut_slice number, uint64_t most, uint64_t *ret)
{
    bool negative;
    return read_integer(number, ret, &negative) && *ret <= most && (!negative || *ret == 0);
}

bool ut_json_to_signed(ut_slice number, int64_t least, int64_t most, int64_t *ret)
{
    uint64_t magnitude;
    bool negative;
    if (!read_integer(number, &magnitude, &negative))
        return false;
    if (magnitude > (negative ? (uint64_t)0 - (uint64_t)least : (uint64_t)most))
        return false;
    *ret = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

/* The library's conversion: right for every number, but slow, and it wants a terminated string. The
 * program never calls setlocale, so the point is a point. */
static bool convert_slowly(ut_slice number, double *ret)
{
    char text[NUMBER_SIZE_MAX + 1];
    if (number.size > NUMBER_SIZE_MAX)
        return false;
    memcpy(text, number.data, number.size);
    text[number.size] = '\0';
    *ret = strtod(text, NULL);
    return isfinite(*ret);
}

/* Few digits and a small exponent: mantissa and power are exact in a double, so their product or
 * quotient is rounded once, which is right (Clinger 1990). */
bool ut_json_to_double(ut_slice number, double *ret)
{
    static const double powers[EXACT_POWER_MAX + 1] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct decimal d = read_decimal(number);
    if (d.cut || d.mantissa >> MANTISSA_BITS != 0 || d.exponent < -EXACT_POWER_MAX ||
        d.exponent > EXACT_POWER_MAX)
        return convert_slowly(number, ret);
    double value = (double)(uint64_t)d.mantissa;
    value = d.exponent < 0 ? value / powers[-d.exponent] : value * powers[d.exponent];
    *ret = d.negative ? -value : value;
    return true;
}

/* ---- hex ------------------------------------------------------------------------------------- */

#ifdef __SSE2__
/* 16 characters to 8 bytes. */
static bool hex16(const uint8_t *text, uint8_t *out)
{
    __m128i c = ut_text_load16(text);
    __m128i digit = _mm_sub_epi8(c, _mm_set1_epi8('0'));
    __m128i letter = _mm_sub_epi8(_mm_or_si128(c, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit);
    __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
    if (_mm_movemask_epi8(_mm_or_si128(is_digit, is_letter)) != 0xffff)
        return false;
    letter = _mm_add_epi8(letter, _mm_set1_epi8(10));
    __m128i value =
        _mm_or_si128(_mm_and_si128(is_digit, digit), _mm_andnot_si128(is_digit, letter));
    __m128i pairs = _mm_or_si128(_mm_slli_epi16(value, 4), _mm_srli_epi16(value, 8));
    pairs = _mm_and_si128(pairs, _mm_set1_epi16(0xff));
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(pairs, pairs));
    return true;
}
#else
static bool hex16(const uint8_t *text, uint8_t *out)
{
    for (int i = 0; i < 8; i++) {
        int high = ut_json_hex_digit(text[2 * i]), low = ut_json_hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
#endif

uint8_t *ut_json_from_hex(ut_slice text, uint8_t *out)
{
    const uint8_t *p = text.data, *end = p + text.size;
    if (text.size % 2 != 0)
        return NULL;
    for (; end - p >= 16; p += 16, out += 8) {
        if (!hex16(p, out))
            return NULL;
    }
    for (; p < end; p += 2) {
        int high = ut_json_hex_digit(p[0]), low = ut_json_hex_digit(p[1]);
        if (high < 0 || low < 0)
            return NULL;
        *out++ = (uint8_t)(high << 4 | low);
    }
    return out;
}

/* ---- base64 ---------------------------------------------------------------------------------- */

static int sextet(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* Padding belongs to a whole group of four only. */
static size_t without_padding(ut_slice text)
{
    size_t size = text.size;
    if (size % 4 == 0 && size > 0 && text.data[size - 1] == '=')
        size -= text.data[size - 2] == '=' ? 2 : 1;
    return size;
}

size_t ut_json_base64_size(ut_slice text)
{
    size_t size = without_padding(text);
    return size / 4 * 3 + size % 4 * 3 / 4;
}

uint8_t *ut_json_from_base64(ut_slice text, uint8_t *out)
{
    size_t size = without_padding(text);
    uint32_t bits = 0;
    unsigned count = 0; /* of bits that wait */
    if (size % 4 == 1)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        int value = sextet(text.data[i]);
        if (value < 0)
            return NULL;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            *out++ = (uint8_t)(bits >> count);
        }
    }
    return out;
}
