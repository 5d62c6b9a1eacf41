/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/text.h"

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
