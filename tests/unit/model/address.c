/* SPDX-License-Identifier: Apache-2.0 */
#include "model/address.h"

#include <criterion/criterion.h>

static const char *parsed(const char *text, char out[UT_ADDRESS_TEXT])
{
    struct ut_address address;
    if (ut_address_parse(&address, ut_slice_str(text)) != 0)
        return "refused";
    return ut_address_text(out, &address);
}

Test(address, numeric_text_of_every_form)
{
    static const char *const rows[][2] = {
        {"10.0.0.7", "10.0.0.7"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"::ffff:10.0.0.7", "10.0.0.7"},
        {"::FFFF:a00:7", "10.0.0.7"},
        {"[::ffff:10.0.0.7]", "10.0.0.7"},
        {"::1", "::1"},
        {"::", "::"},
        {"[::1]", "::1"},
        {"2001:DB8:0::1", "2001:db8::1"},
        {"fe80::1%eth0", "fe80::1"},
        {"[fe80::1%25eth0]", "fe80::1"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    char text[UT_ADDRESS_TEXT];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_str_eq(parsed(rows[i][0], text), rows[i][1], "%s", rows[i][0]);
}

Test(address, everything_else_is_refused)
{
    static const char *const rows[] = {
        "",           "localhost",   "10.0.0",
        "10.0.0.256", "10.0.0.7:80", "10.0.0.7 ",
        " 10.0.0.7",  "[10.0.0.7",   "10.0.0.7]",
        "[]",         "[",           "]",
        "%eth0",      "fe80::1%",    "10.0.0.7%eth",
        "1::2::3",    "[::1]:80",    "/run/x.sock",
        "0x7f.1",     "12345::",     "::ffff:1.2.3",
        ":",          "[10.0.0.7]",  "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555",
    };
    char text[UT_ADDRESS_TEXT];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_str_eq(parsed(rows[i], text), "refused", "%s", rows[i]);
}

Test(address, a_refusal_leaves_the_result_alone)
{
    struct ut_address address = {{1, 2, 3}}, before = address;
    cr_expect_neq(ut_address_parse(&address, UT_SLICE("ledger")), 0);
    cr_expect(ut_address_equal(&address, &before));
}

Test(address, text_ends_where_the_slice_ends)
{
    struct ut_address address;
    char text[UT_ADDRESS_TEXT];
    cr_assert_eq(ut_address_parse(&address, ut_slice_of("10.0.0.77", 8)), 0);
    cr_expect_str_eq(ut_address_text(text, &address), "10.0.0.7");
    cr_expect_neq(ut_address_parse(&address, ut_slice_of("10.0.0.7\0", 9)), 0);
    cr_expect_neq(ut_address_parse(&address, ut_slice_of("10.0.0.7\0x", 10)), 0);
}

Test(address, v4_is_mapped_and_told_apart)
{
    struct ut_address v4 = ut_address_v4((const uint8_t[]){10, 0, 0, 7}), v6;
    cr_expect(ut_address_is_v4(&v4));
    cr_assert_eq(ut_address_parse(&v6, UT_SLICE("::10.0.0.7")), 0);
    cr_expect_not(ut_address_is_v4(&v6), "v4-compatible is not v4-mapped");
    cr_expect_not(ut_address_equal(&v4, &v6));
}
