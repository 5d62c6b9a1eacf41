/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/text.h"

#include <criterion/criterion.h>

/* Encodes any number up to 0x1fffff in the form of `size` bytes, right or wrong. */
static void encode(uint8_t *out, uint32_t code, size_t size)
{
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = size; i-- > 1; code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)(lead[size] | code);
}

Test(text, every_code_point_is_valid_in_its_shortest_form_alone)
{
    uint8_t bytes[4];
    for (uint32_t code = 0x80; code < 0x200000; code++) {
        size_t shortest = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        bool is_character = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        for (size_t size = shortest; size <= 4; size++) {
            encode(bytes, code, size);
            bool want = is_character && size == shortest;
            if (ut_text_is_utf8(bytes, size) != want)
                cr_assert_fail("U+%X in %zu bytes", code, size);
        }
    }
    for (uint32_t code = 0; code < 0x80; code++) {
        encode(bytes, code, 2);
        cr_assert_not(ut_text_is_utf8(bytes, 2));
    }
}

Test(text, every_pair_of_bytes_is_judged)
{
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            uint8_t bytes[] = {(uint8_t)a, (uint8_t)b};
            bool ascii = a < 0x80 && b < 0x80;
            bool two = a >= 0xc2 && a < 0xe0 && (b & 0xc0) == 0x80;
            cr_assert_eq(ut_text_is_utf8(bytes, 2), ascii || two, "%02x %02x", a, b);
        }
    }
}

Test(text, every_byte_of_a_character_is_judged)
{
    static const uint32_t codes[] = {0xe9, 0x20ac, 0x1f41d};
    for (size_t size = 2; size <= 4; size++) {
        for (size_t at = 1; at < size; at++) {
            for (unsigned value = 0; value < 256; value++) {
                uint8_t bytes[4];
                encode(bytes, codes[size - 2], size);
                bytes[at] = (uint8_t)value;
                /* With other continuations these three stay characters, but for U+1F41D's second
                 * byte, which has a lower bound. */
                bool want = (value & 0xc0) == 0x80 && !(size == 4 && at == 1 && value < 0x90);
                cr_assert_eq(ut_text_is_utf8(bytes, size), want, "%zu: %zu %02x", size, at, value);
            }
        }
    }
}

Test(text, a_character_cut_off_is_invalid_at_any_offset)
{
    uint8_t text[64];
    for (size_t before = 0; before < 40; before++) {
        memset(text, 'x', sizeof(text));
        encode(text + before, 0x1f41d, 4);
        cr_assert(ut_text_is_utf8(text, before + 4));
        for (size_t cut = 1; cut < 4; cut++)
            cr_assert_not(ut_text_is_utf8(text, before + cut));
    }
}

Test(text, ascii_is_seen_at_every_size_and_place)
{
    uint8_t text[100];
    memset(text, 0x7f, sizeof(text));
    for (size_t size = 0; size < sizeof(text); size++) {
        cr_assert(ut_text_is_ascii(text, size));
        for (size_t at = 0; at < sizeof(text); at++) {
            text[at] = 0x80;
            cr_assert_eq(ut_text_is_ascii(text, size), at >= size, "size %zu at %zu", size, at);
            text[at] = 0x7f;
        }
    }
}
