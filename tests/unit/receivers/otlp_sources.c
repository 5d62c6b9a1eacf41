/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp_receiver/sources.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct ut_pool pool;
static struct ut_otlp_sources sources;
static bool full;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)1 << 20);
    ut_otlp_sources_init(&sources, &pool);
}

static void tear_down(void)
{
    cr_expect_eq(pool.in_use, 0, "who has no connection takes no room");
    ut_pool_done(&pool);
}

TestSuite(otlp_sources, .init = set_up, .fini = tear_down);

static struct ut_otlp_source *enter(const char *text, uint64_t most)
{
    struct ut_address address;
    cr_assert_eq(ut_address_parse(&address, ut_slice_str(text)), 0);
    return ut_otlp_sources_enter(&sources, &address, most, &full);
}

Test(otlp_sources, one_address_cannot_have_more_than_its_share_and_others_are_not_hurt)
{
    struct ut_otlp_source *source = NULL;
    for (int i = 0; i < 3; i++)
        cr_assert_not_null(source = enter("10.0.0.7", 3));
    cr_expect_null(enter("10.0.0.7", 3));
    cr_expect(full);
    struct ut_otlp_source *other = enter("10.0.0.8", 3);
    cr_assert_not_null(other);
    cr_expect_not(full);
    ut_otlp_sources_leave(&sources, source);
    cr_expect_eq(enter("10.0.0.7", 3), source, "a place is free again");
    for (int i = 0; i < 3; i++)
        ut_otlp_sources_leave(&sources, source);
    ut_otlp_sources_leave(&sources, other);
}

Test(otlp_sources, network_of_64_bits_is_one_address)
{
    struct ut_otlp_source *a = enter("2001:db8::1", 2), *b = enter("2001:db8::ffff:1:2:3", 2);
    struct ut_otlp_source *c = enter("2001:db8:0:1::1", 2);
    cr_expect_eq(a, b);
    cr_expect_neq(a, c);
    cr_expect_null(enter("2001:db8::2", 2));
    ut_otlp_sources_leave(&sources, a);
    ut_otlp_sources_leave(&sources, b);
    ut_otlp_sources_leave(&sources, c);
}

Test(otlp_sources, many_addresses_are_told_apart)
{
    enum { COUNT = 5000 };
    static struct ut_otlp_source *found[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char text[32];
        snprintf(text, sizeof(text), "10.1.%d.%d", i / 250, i % 250);
        cr_assert_not_null(found[i] = enter(text, 1));
        cr_assert_null(enter(text, 1));
    }
    for (int i = 0; i < COUNT; i++)
        ut_otlp_sources_leave(&sources, found[(i * 7) % COUNT]);
}
