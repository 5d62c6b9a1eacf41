/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/encode.h"

#include <criterion/criterion.h>

#include "otlp_builder.h"

static struct ut_pool pool;
static struct ut_arena arena;
static struct otlp_bytes wanted;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)1 << 20);
    ut_arena_init(&arena, &pool);
    wanted = (struct otlp_bytes){0};
}

static void tear_down(void)
{
    otlp_free(&wanted);
    ut_arena_done(&arena);
    ut_pool_done(&pool);
}

TestSuite(encode, .init = set_up, .fini = tear_down);

static void check(struct ut_encoder *encoder)
{
    ut_slice bytes = ut_encoder_bytes(encoder);
    cr_assert_eq(bytes.size, wanted.size, "%zu, not %zu", bytes.size, wanted.size);
    cr_assert_eq(memcmp(bytes.data, wanted.data, wanted.size), 0);
}

Test(encode, attributes_of_each_type)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &arena);
    ut_encode_string(&encoder, 9, "a.key", UT_SLICE("a value"));
    ut_encode_int(&encoder, 9, "n", 1);
    ut_encode_int(&encoder, 1, "big", INT64_MAX);
    ut_encode_int(&encoder, 1, "negative", -1);
    ut_encode_bool(&encoder, 9, "yes", true);
    ut_encode_bool(&encoder, 9, "no", false);
    ut_encode_string(&encoder, 9, "empty", UT_SLICE(""));
    otlp_text_attribute(&wanted, 9, "a.key", "a value");
    otlp_int_attribute(&wanted, 9, "n", 1);
    otlp_int_attribute(&wanted, 1, "big", INT64_MAX);
    otlp_int_attribute(&wanted, 1, "negative", -1);
    otlp_bool_attribute(&wanted, 9, "yes", 1);
    otlp_bool_attribute(&wanted, 9, "no", 0);
    otlp_text_attribute(&wanted, 9, "empty", "");
    check(&encoder);
}

Test(encode, values_around_each_length_of_a_length)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &arena);
    char text[17000];
    static const size_t sizes[] = {100, 120, 125, 126, 127, 128, 129, 16360, 16383, 16384, 16999};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(text, 'v', sizes[i]);
        text[sizes[i]] = '\0';
        ut_encode_string(&encoder, 9, "key", ut_slice_str(text));
        otlp_text_attribute(&wanted, 9, "key", text);
    }
    check(&encoder);
}

Test(encode, events_of_every_length)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &arena);
    char text[17000];
    static const size_t sizes[] = {0,  60, 90, 91, 92,  93,    94,   95,
                                   96, 97, 98, 99, 200, 16300, 16400};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(text, 'v', sizes[i]);
        text[sizes[i]] = '\0';
        size_t event = ut_encode_event_begin(&encoder, "tcp.retransmit", 12345678901234);
        ut_encode_string(&encoder, UT_FIELD_EVENT_ATTRIBUTES, "k", ut_slice_str(text));
        ut_encode_event_end(&encoder, event);
        struct otlp_attribute attributes[] = {{"k", text, 0}, {0}};
        otlp_event(&wanted, "tcp.retransmit", 12345678901234, attributes);
    }
    check(&encoder);
}

Test(encode, an_event_may_be_empty)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &arena);
    ut_encode_event_end(&encoder, ut_encode_event_begin(&encoder, "", 0));
    otlp_event(&wanted, "", 0, NULL);
    check(&encoder);
}

Test(encode, survives_other_allocations_in_between)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &arena);
    for (int i = 0; i < 100; i++) {
        ut_encode_int(&encoder, 9, "number", i);
        otlp_int_attribute(&wanted, 9, "number", i);
        char *other = ut_arena_alloc(&arena, 40);
        memset(other, 0xee, 40);
    }
    check(&encoder);
}

Test(encode, writing_goes_on_after_the_bytes_were_asked_for)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &arena);
    for (int i = 0; i < 50; i++) {
        ut_encode_int(&encoder, 9, "number", i);
        otlp_int_attribute(&wanted, 9, "number", i);
        check(&encoder);
        if (i % 3 == 0)
            memset(ut_arena_alloc(&arena, 16), 0xee, 16);
    }
    check(&encoder);
}

Test(encode, many_small_edits_take_little_memory)
{
    for (int i = 0; i < 1000; i++) {
        struct ut_encoder encoder;
        ut_encoder_init(&encoder, &arena);
        ut_encode_int(&encoder, 9, "number", i);
        cr_assert_eq(ut_encoder_bytes(&encoder).size, i < 128 ? 14 : 15);
    }
    cr_assert_leq(arena.bytes, 64 << 10, "%zu", arena.bytes);
}

Test(encode, nothing_written_is_an_empty_slice)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &arena);
    cr_assert_eq(ut_encoder_bytes(&encoder).size, 0);
}

Test(encode, a_failed_encoder_gives_nothing)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &arena);
    ut_encode_int(&encoder, 9, "n", 1);
    encoder.failed = true;
    ut_encode_int(&encoder, 9, "n", 2);
    ut_encode_event_end(&encoder, ut_encode_event_begin(&encoder, "x", 1));
    cr_assert_eq(ut_encoder_bytes(&encoder).size, 0);
}
