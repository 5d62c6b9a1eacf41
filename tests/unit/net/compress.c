/* SPDX-License-Identifier: Apache-2.0 */
#include "net/compress.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct ut_pool pool;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)8 << 20);
}

static void tear_down(void)
{
    ut_pool_done(&pool);
}

TestSuite(compress, .init = set_up, .fini = tear_down);

static void check_inflated(enum ut_coding coding, const struct ut_segment *packed,
                           const uint8_t *bytes, size_t size)
{
    struct ut_inflates inflates;
    ut_inflates_init(&inflates, &pool);
    struct ut_inflate *inflate = ut_inflate_take(&inflates, coding);
    struct ut_inflate_body body = {.data = malloc(size + (256 << 10)), .room = size + (256 << 10)};
    cr_assert(inflate != NULL && body.data != NULL);
    ut_slice input = ut_slice_of(packed->data, packed->size);
    cr_assert_eq(ut_inflate_step(inflate, &input, &body), UT_INFLATE_MORE);
    cr_assert(ut_inflate_is_whole(inflate));
    cr_assert_eq(body.size, size);
    cr_assert(size == 0 || memcmp(body.data, bytes, size) == 0);
    free(body.data);
    ut_inflate_give(&inflates, inflate);
    ut_inflates_done(&inflates);
}

/* In runs of `run` bytes, the last shorter. */
static void check_runs(struct ut_compressor *compressor, enum ut_coding coding, uint8_t *bytes,
                       size_t size, size_t run)
{
    size_t count = 0;
    struct iovec *runs = calloc(size / run + 1, sizeof(*runs));
    cr_assert_not_null(runs);
    for (size_t at = 0; at < size; at += run, count++)
        runs[count] = (struct iovec){bytes + at, size - at < run ? size - at : run};
    struct ut_segment *packed = ut_compress(compressor, runs, count, size);
    cr_assert_not_null(packed);
    check_inflated(coding, packed, bytes, size);
    ut_segment_unref(packed);
    free(runs);
}

/* Long runs between short ones, and nothing in the last. */
static void check_mixed(struct ut_compressor *compressor, enum ut_coding coding, uint8_t *bytes)
{
    const struct iovec runs[] = {
        {bytes, 100}, {bytes + 100, 100000}, {bytes + 100100, 0}, {bytes + 100100, 7}, {bytes, 0}};
    struct ut_segment *packed = ut_compress(compressor, runs, 5, 100107);
    cr_assert_not_null(packed);
    check_inflated(coding, packed, bytes, 100107);
    ut_segment_unref(packed);
}

/* Runs of 0, 1, 2, … bytes, more than are gathered at once. */
static void check_every_length(struct ut_compressor *compressor, enum ut_coding coding,
                               uint8_t *bytes)
{
    struct iovec runs[770];
    size_t at = 0;
    for (size_t i = 0; i < 770; at += i++)
        runs[i] = (struct iovec){bytes + at, i};
    struct ut_segment *packed = ut_compress(compressor, runs, 770, at);
    cr_assert_not_null(packed);
    check_inflated(coding, packed, bytes, at);
    ut_segment_unref(packed);
}

Test(compress, body_comes_back_whatever_its_runs_are)
{
    static const enum ut_coding codings[] = {UT_CODING_GZIP, UT_CODING_DEFLATE, UT_CODING_ZSTD};
    const size_t size = 300000;
    uint8_t *text = malloc(size), *noise = malloc(size);
    cr_assert(text != NULL && noise != NULL);
    uint32_t random = 3;
    for (size_t i = 0; i < size; i++) {
        random = random * 1664525 + 1013904223;
        noise[i] = (uint8_t)(random >> 24);
        text[i] = (uint8_t)("service.name orders http.method "[i % 32] + (random >> 28 == 0));
    }
    for (size_t c = 0; c < sizeof(codings) / sizeof(codings[0]); c++) {
        struct ut_compressor *compressor = ut_compressor_new(&pool, codings[c]);
        cr_assert_not_null(compressor);
        check_runs(compressor, codings[c], text, 1, 1);
        check_runs(compressor, codings[c], text, 100, 7);
        check_runs(compressor, codings[c], text, size, 61);
        check_runs(compressor, codings[c], noise, size, size); /* grows while it is compressed */
        check_runs(compressor, codings[c], noise, 5000, 1);
        check_runs(compressor, codings[c], text, size, size);
        check_runs(compressor, codings[c], text, size, 70000); /* long ones, then a short one */
        check_mixed(compressor, codings[c], text);
        check_every_length(compressor, codings[c], noise);
        ut_compressor_free(compressor);
    }
    free(text);
    free(noise);
}

Test(compress, steady_bodies_ask_the_system_for_no_memory)
{
    static const enum ut_coding codings[] = {UT_CODING_GZIP, UT_CODING_DEFLATE, UT_CODING_ZSTD};
    uint8_t *text = calloc(1, 200000);
    cr_assert_not_null(text);
    for (size_t c = 0; c < sizeof(codings) / sizeof(codings[0]); c++) {
        struct ut_compressor *compressor = ut_compressor_new(&pool, codings[c]);
        check_runs(compressor, codings[c], text, 200000, 400);
        uint64_t before = pool.system_calls;
        for (int i = 0; i < 10; i++) {
            struct iovec run = {text, 200000};
            struct ut_segment *packed = ut_compress(compressor, &run, 1, 200000);
            cr_assert_not_null(packed);
            cr_assert_lt(packed->size, 20000);
            ut_segment_unref(packed);
        }
        cr_expect_eq(pool.system_calls, before);
        ut_compressor_free(compressor);
    }
    free(text);
}
