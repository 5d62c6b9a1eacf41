/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/text.h"

static const uint8_t REPLACEMENT[] = {0xef, 0xbf, 0xbd}; /* U+FFFD */

/* Bytes of the character that `first` begins, 0 if none does, and the bounds of its second byte:
 * these alone rule out overlong forms, surrogates and what lies above U+10FFFF. */
static size_t character_size(uint8_t first, uint8_t *low, uint8_t *high)
{
    *low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first < 0xc2)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

bool ut_text_is_utf8(const uint8_t *text, size_t size)
{
    const uint8_t *p = text, *end = text + size;
    while (p < end) {
        if (end - p >= 8 && (ut_text_load8(p) & UINT64_C(0x8080808080808080)) == 0) {
            p += 8;
            continue;
        }
        if (*p < 0x80) {
            p++;
            continue;
        }
        uint8_t low, high;
        size_t n = character_size(*p, &low, &high);
        if (n == 0 || n > (size_t)(end - p) || p[1] < low || p[1] > high)
            return false;
        if ((n > 2 && !is_continuation(p[2])) || (n > 3 && !is_continuation(p[3])))
            return false;
        p += n;
    }
    return true;
}

/* Bytes of the character at `p`, or of the maximal part of one that is cut off or broken there. */
static size_t step(const uint8_t *p, size_t rest, bool *ret_broken)
{
    *ret_broken = false;
    if (*p < 0x80)
        return 1;
    uint8_t low, high;
    size_t size = character_size(*p, &low, &high);
    *ret_broken = true;
    if (size == 0 || rest < 2 || p[1] < low || p[1] > high)
        return 1;
    for (size_t i = 2; i < size; i++) {
        if (i == rest || !is_continuation(p[i]))
            return i;
    }
    *ret_broken = false;
    return size;
}

size_t ut_text_repaired_size(const uint8_t *text, size_t size)
{
    size_t repaired = 0;
    for (size_t at = 0, n; at < size; at += n) {
        bool broken;
        n = step(text + at, size - at, &broken);
        repaired += broken ? sizeof(REPLACEMENT) : n;
    }
    return repaired;
}

void ut_text_repair(const uint8_t *text, size_t size, uint8_t *out)
{
    for (size_t at = 0, n; at < size; at += n) {
        bool broken;
        n = step(text + at, size - at, &broken);
        size_t written = broken ? sizeof(REPLACEMENT) : n;
        memcpy(out, broken ? REPLACEMENT : text + at, written);
        out += written;
    }
}
