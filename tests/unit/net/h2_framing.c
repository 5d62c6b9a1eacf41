/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_framing.h"

#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>

static struct ut_h2_framing framing;
static struct ut_h2_frame seen[16];
static size_t count;

static void set_up(void)
{
    ut_h2_framing_init(&framing);
    count = 0;
}

TestSuite(h2_framing, .init = set_up);

static void look(const void *bytes, size_t size)
{
    const uint8_t *at = bytes, *end = at + size;
    while (at < end) {
        bool found;
        at +=
            ut_h2_framing_next(&framing, ut_slice_of(at, (size_t)(end - at)), &seen[count], &found);
        count += found;
        cr_assert_lt(count, 16);
    }
}

static const char three[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                            "\0\0\0\4\0\0\0\0\0"
                            "\0\1\2\1\5\x80\0\1\3";

Test(h2_framing, headers_are_found_behind_the_preface_however_they_are_cut)
{
    enum { PAYLOAD = 258 };
    uint8_t bytes[sizeof(three) - 1 + PAYLOAD + 9];
    memset(bytes, 4, sizeof(bytes));
    memcpy(bytes, three, sizeof(three) - 1);
    memcpy(bytes + sizeof(bytes) - 9, "\xff\xff\xff\x99\xff\0\0\0\0", 9);
    for (size_t piece = 1; piece <= sizeof(bytes); piece++) {
        set_up();
        for (size_t at = 0; at < sizeof(bytes); at += piece)
            look(bytes + at, sizeof(bytes) - at < piece ? sizeof(bytes) - at : piece);
        cr_assert_eq(count, 3, "pieces of %zu: %zu", piece, count);
        cr_expect_eq(seen[0].type, NGHTTP2_SETTINGS);
        cr_expect_eq(seen[0].size, 0);
        cr_expect_eq(seen[1].type, NGHTTP2_HEADERS);
        cr_expect_eq(seen[1].flags, 5);
        cr_expect_eq(seen[1].size, PAYLOAD);
        cr_expect_eq(seen[1].stream, 0x103, "without the reserved bit");
        cr_expect_eq(seen[2].type, 0x99);
        cr_expect_eq(seen[2].size, 0xffffff);
    }
}

Test(h2_framing, header_block_is_open_until_the_last_byte_of_its_last_frame)
{
    look(three, 24);
    look("\0\0\2\1\0\0\0\0\1", 9);
    cr_expect(framing.in_block);
    look("ab", 2);
    cr_expect(framing.in_block, "END_HEADERS is to come");
    look("\0\0\2\11\4\0\0\0\1", 9);
    look("a", 1);
    cr_expect(framing.in_block);
    look("b", 1);
    cr_expect_not(framing.in_block);
    look("\0\0\0\1\4\0\0\0\3", 9);
    cr_expect_not(framing.in_block, "an empty one is complete at once");
    look("\0\0\1\0\4\0\0\0\3", 9);
    cr_expect_not(framing.in_block, "DATA is none, whatever its flags");
}
