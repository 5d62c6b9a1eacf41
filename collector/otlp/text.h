/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 of strings from outside. Nearly all of them are ASCII, so that is asked first, 16 bytes at
 * a step; nothing is read outside [text, text + size): sizes that are no multiple of the step are
 * covered by loads that overlap.
 */
#ifndef UT_OTLP_TEXT_H
#define UT_OTLP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Well-formed UTF-8 as of Unicode 15 table 3-7: no overlong forms, no surrogates, no code point
 * above U+10FFFF, nothing cut off. */
bool ut_text_is_utf8(const uint8_t *text, size_t size);

/* The text with U+FFFD in place of each maximal part that is no UTF-8 (Unicode 15, 3.9): how many
 * bytes that takes, never fewer than before, and the writing of as many. */
size_t ut_text_repaired_size(const uint8_t *text, size_t size);
void ut_text_repair(const uint8_t *text, size_t size, uint8_t *out);

static inline uint64_t ut_text_load8(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

static inline uint32_t ut_text_load4(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/* Below 16 bytes. */
static inline bool ut_text_is_ascii_short(const uint8_t *text, size_t size)
{
    if (size >= 8)
        return ((ut_text_load8(text) | ut_text_load8(text + size - 8)) &
                UINT64_C(0x8080808080808080)) == 0;
    if (size >= 4)
        return ((ut_text_load4(text) | ut_text_load4(text + size - 4)) & 0x80808080U) == 0;
    if (size == 0)
        return true;
    return ((text[0] | text[size / 2] | text[size - 1]) & 0x80) == 0;
}

#ifdef __SSE2__

static inline __m128i ut_text_load16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline bool ut_text_is_ascii(const uint8_t *text, size_t size)
{
    if (size < 16)
        return ut_text_is_ascii_short(text, size);
    const uint8_t *last = text + size - 16;
    __m128i seen = _mm_or_si128(ut_text_load16(text), ut_text_load16(last));
    if (size > 32) {
        /* Without a loop up to 64 bytes: there its branch would be the dearest part. */
        seen =
            _mm_or_si128(seen, _mm_or_si128(ut_text_load16(text + 16), ut_text_load16(last - 16)));
        for (const uint8_t *p = text + 32; p < last - 16; p += 16)
            seen = _mm_or_si128(seen, ut_text_load16(p));
    }
    return _mm_movemask_epi8(seen) == 0;
}

#else

static inline bool ut_text_is_ascii(const uint8_t *text, size_t size)
{
    if (size < 16)
        return ut_text_is_ascii_short(text, size);
    const uint8_t *last = text + size - 8;
    uint64_t seen = ut_text_load8(text) | ut_text_load8(last);
    for (const uint8_t *p = text + 8; p < last; p += 8)
        seen |= ut_text_load8(p);
    return (seen & UINT64_C(0x8080808080808080)) == 0;
}

#endif

static inline bool ut_text_is_fine(const uint8_t *text, size_t size)
{
    return __builtin_expect(ut_text_is_ascii(text, size), 1) || ut_text_is_utf8(text, size);
}

#endif
