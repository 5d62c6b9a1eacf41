/* SPDX-License-Identifier: Apache-2.0 */
#include "net/inflate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "compress.h"

static struct ut_pool pool;
static struct ut_inflates inflates;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)8 << 20);
    ut_inflates_init(&inflates, &pool);
}

static void tear_down(void)
{
    ut_inflates_done(&inflates);
    ut_pool_done(&pool);
}

TestSuite(inflate, .init = set_up, .fini = tear_down);

enum outcome { WHOLE, CUT, CORRUPT };

/* A body that is where and as large as the last step asked for: each time somewhere else, and a
 * sanitizer sees what reaches beyond. */
static void grow(struct ut_inflate_body *body)
{
    uint8_t *bigger = malloc(body->size + body->want);
    cr_assert_not_null(bigger);
    if (body->size > 0)
        memcpy(bigger, body->data, body->size);
    free(body->data);
    body->data = bigger;
    body->room = body->size + body->want;
}

static enum ut_inflate_result feed(struct ut_inflate *inflate, ut_slice bytes,
                                   struct ut_inflate_body *body, size_t extra)
{
    uint8_t *copy = malloc(bytes.size);
    cr_assert_not_null(copy);
    memcpy(copy, bytes.data, bytes.size);
    ut_slice input = ut_slice_of(copy, bytes.size);
    enum ut_inflate_result result;
    while ((result = ut_inflate_step(inflate, &input, body)) == UT_INFLATE_ROOM) {
        cr_assert_gt(body->want, body->room - body->size);
        body->want += extra;
        grow(body);
    }
    cr_assert(result == UT_INFLATE_CORRUPT || input.size == 0);
    free(copy);
    return result;
}

/* Inflates `bytes` in pieces; the caller frees body->data. */
static enum outcome inflate(enum ut_coding coding, ut_slice bytes, size_t piece, size_t extra,
                            struct ut_inflate_body *body)
{
    struct ut_inflate *context = ut_inflate_take(&inflates, coding);
    cr_assert_not_null(context);
    *body = (struct ut_inflate_body){0};
    enum ut_inflate_result result = UT_INFLATE_MORE;
    for (size_t at = 0; at < bytes.size && result == UT_INFLATE_MORE; at += piece) {
        size_t n = bytes.size - at < piece ? bytes.size - at : piece;
        result = feed(context, ut_slice_of(bytes.data + at, n), body, extra);
    }
    enum outcome outcome = result == UT_INFLATE_CORRUPT   ? CORRUPT
                           : ut_inflate_is_whole(context) ? WHOLE
                                                          : CUT;
    ut_inflate_give(&inflates, context);
    return outcome;
}

static uint8_t *message_new(size_t size)
{
    uint8_t *message = malloc(size + 1);
    uint32_t random = 7;
    cr_assert_not_null(message);
    for (size_t i = 0; i < size; i++) {
        random = random * 1664525 + 1013904223;
        /* Runs, repeats near and far, and noise. */
        message[i] = i > 40000 && random % 7 != 0 ? message[i - 32700] : (uint8_t)(random >> 28);
    }
    return message;
}

static void check_round(enum compress_form form, const uint8_t *message, size_t size, size_t piece,
                        size_t extra)
{
    size_t packed_size;
    uint8_t *packed = compress_bytes(form, message, size, &packed_size);
    struct ut_inflate_body body;
    enum ut_coding coding = ut_coding_of(ut_slice_str(compress_coding(form)));
    enum outcome outcome = inflate(coding, ut_slice_of(packed, packed_size), piece, extra, &body);
    cr_assert_eq(outcome, WHOLE, "%s, %zu bytes in pieces of %zu: %d", compress_name(form), size,
                 piece, outcome);
    cr_assert_eq(body.size, size, "%s", compress_name(form));
    cr_assert(size == 0 || memcmp(body.data, message, size) == 0, "%s in pieces of %zu",
              compress_name(form), piece);
    free(body.data);
    free(packed);
}

Test(inflate, body_is_the_same_however_it_is_cut)
{
    static const size_t sizes[] = {0, 1, 2, 700}, pieces[] = {1, 2, 3, 7, 64, SIZE_MAX / 2};
    uint8_t *message = message_new(700);
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++)
                check_round(form, message, sizes[s], pieces[p], 0);
        }
    }
    free(message);
}

Test(inflate, large_body_is_the_same_however_it_is_cut_and_moved)
{
    static const size_t pieces[] = {4999, 70000, SIZE_MAX / 2};
    static const size_t extras[] = {1000, 40000};
    const size_t size = 300000;
    uint8_t *message = message_new(size);
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
            for (size_t e = 0; e < sizeof(extras) / sizeof(extras[0]); e++)
                check_round(form, message, size, pieces[p], extras[e]);
        }
    }
    free(message);
}

Test(inflate, body_cut_anywhere_is_not_whole)
{
    uint8_t *message = message_new(300);
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        size_t size;
        uint8_t *packed = compress_bytes(form, message, 300, &size);
        enum ut_coding coding = ut_coding_of(ut_slice_str(compress_coding(form)));
        unsigned whole = 0;
        for (size_t end = 0; end < size; end++) {
            struct ut_inflate_body body;
            enum outcome outcome = inflate(coding, ut_slice_of(packed, end), 64, 0, &body);
            whole += outcome == WHOLE;
            cr_expect_neq(outcome, CORRUPT, "%s cut at %zu", compress_name(form), end);
            free(body.data);
        }
        /* Between members, and before and behind the skippable frame. */
        unsigned ends = form == COMPRESS_GZIP_TWO ? 1 : form == COMPRESS_ZSTD_TWO ? 2 : 0;
        cr_expect_eq(whole, ends, "%s: %u", compress_name(form), whole);
        free(packed);
    }
    free(message);
}

Test(inflate, bytes_behind_the_end_are_corrupt)
{
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        size_t size;
        uint8_t *packed = compress_bytes(form, "some text", 9, &size);
        uint8_t *longer = calloc(1, size + 20);
        cr_assert_not_null(longer);
        memcpy(longer, packed, size);
        enum ut_coding coding = ut_coding_of(ut_slice_str(compress_coding(form)));
        for (size_t piece = 1; piece < 40; piece++) {
            struct ut_inflate_body body;
            cr_expect_eq(inflate(coding, ut_slice_of(longer, size + 20), piece, 0, &body), CORRUPT,
                         "%s in pieces of %zu", compress_name(form), piece);
            free(body.data);
        }
        free(longer);
        free(packed);
    }
}

/* What has a checksum is never whole and different. */
Test(inflate, flipped_bits_are_found)
{
    static const enum compress_form summed[] = {COMPRESS_GZIP, COMPRESS_GZIP_HEADER,
                                                COMPRESS_GZIP_TWO, COMPRESS_ZLIB,
                                                COMPRESS_ZSTD_STREAM};
    uint8_t *message = message_new(300);
    for (size_t f = 0; f < sizeof(summed) / sizeof(summed[0]); f++) {
        size_t size, found = 0;
        uint8_t *packed = compress_bytes(summed[f], message, 300, &size);
        enum ut_coding coding = ut_coding_of(ut_slice_str(compress_coding(summed[f])));
        for (size_t bit = 0; bit < size * 8; bit++) {
            struct ut_inflate_body body;
            packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            enum outcome outcome = inflate(coding, ut_slice_of(packed, size), 100, 500, &body);
            packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            found += outcome != WHOLE;
            /* "deflate" whose first bytes are no wrapper any more is taken for a bare stream. */
            if (outcome == WHOLE && !(summed[f] == COMPRESS_ZLIB && bit < 16))
                cr_expect(body.size == 300 && memcmp(body.data, message, 300) == 0, "%s, bit %zu",
                          compress_name(summed[f]), bit);
            free(body.data);
        }
        cr_expect_gt(found, size * 8 / 2);
        free(packed);
    }
    free(message);
}

Test(inflate, wrong_headers_are_corrupt)
{
    static const struct {
        const char *name;
        enum ut_coding coding;
        ut_slice bytes;
    } rows[] = {
#define ROW(name, coding, literal)                                                                 \
    {                                                                                              \
        name, coding,                                                                              \
        {                                                                                          \
            (const uint8_t *)(literal), sizeof(literal) - 1                                        \
        }                                                                                          \
    }
        ROW("gzip without its magic", UT_CODING_GZIP, "\x1f\x8c\x08\0\0\0\0\0\0\x03\x03\0"),
        ROW("gzip of another method", UT_CODING_GZIP, "\x1f\x8b\x07\0\0\0\0\0\0\x03\x03\0"),
        ROW("gzip with a reserved flag", UT_CODING_GZIP, "\x1f\x8b\x08\x20\0\0\0\0\0\x03\x03\0"),
        ROW("gzip with a wrong header sum", UT_CODING_GZIP, "\x1f\x8b\x08\2\0\0\0\0\0\3\0\0\3\0"),
        ROW("gzip with a wrong sum", UT_CODING_GZIP,
            "\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\1\0\0\0\0\0\0\0"),
        ROW("gzip with a wrong size", UT_CODING_GZIP,
            "\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\1\0\0\0"),
        ROW("zlib with a dictionary", UT_CODING_DEFLATE, "\x78\xbb\0\0\0\1\x03\0\0\0\0\1"),
        ROW("zlib with a wrong sum", UT_CODING_DEFLATE, "\x78\x9c\x03\0\0\0\0\2"),
        ROW("deflate with a block of type 3", UT_CODING_DEFLATE, "\x07\0\0\0"),
        ROW("deflate with a stored block of a wrong length", UT_CODING_DEFLATE, "\1\1\0\1\0a"),
        ROW("deflate that reaches before its beginning", UT_CODING_DEFLATE, "\x4b\x04\x42\0\0"),
        ROW("zstd without its magic", UT_CODING_ZSTD, "\x29\xb5\x2f\xfd\x20\0\1\0\0"),
        ROW("zstd of the old format 0.7", UT_CODING_ZSTD, "\x27\xb5\x2f\xfd\x20\0\1\0\0"),
        ROW("zstd with a reserved bit", UT_CODING_ZSTD, "\x28\xb5\x2f\xfd\x28\0\1\0\0"),
        ROW("zstd with a dictionary", UT_CODING_ZSTD, "\x28\xb5\x2f\xfd\x21\x07\0\1\0\0"),
        ROW("zstd with a block of type 3", UT_CODING_ZSTD, "\x28\xb5\x2f\xfd\0\x58\7\0\0"),
        ROW("zstd with another size than it says", UT_CODING_ZSTD,
            "\x28\xb5\x2f\xfd\x20\2\x09\0\0a"),
        ROW("zstd with a block above the window", UT_CODING_ZSTD,
            "\x28\xb5\x2f\xfd\x20\2\x19\0\0abc"),
#undef ROW
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t piece = 1; piece < 30; piece++) {
            struct ut_inflate_body body;
            cr_expect_eq(inflate(rows[i].coding, rows[i].bytes, piece, 300, &body), CORRUPT,
                         "%s in pieces of %zu", rows[i].name, piece);
            free(body.data);
        }
    }
}

/* Frames refer to what was before them in no way, and a moved window has nothing before it. */
Test(inflate, zstd_reaches_no_bytes_before_its_frame)
{
    uint8_t *message = message_new(100000);
    size_t size;
    uint8_t *packed = compress_bytes(COMPRESS_ZSTD_STREAM, message, 100000, &size);
    uint32_t random = 99;
    for (int round = 0; round < 500; round++) {
        struct ut_inflate_body body;
        random = random * 1664525 + 1013904223;
        size_t at = (random >> 4) % size;
        uint8_t before = packed[at];
        packed[at] = (uint8_t)(random >> 24);
        enum outcome outcome = inflate(UT_CODING_ZSTD, ut_slice_of(packed, size), 20000, 0, &body);
        if (outcome == WHOLE)
            cr_expect(body.size == 100000 && memcmp(body.data, message, 100000) == 0);
        packed[at] = before;
        free(body.data);
    }
    free(packed);
    free(message);
}

Test(inflate, declared_size_of_a_frame_is_told_before_its_bytes_come)
{
    uint8_t *message = message_new(5000);
    size_t size;
    uint8_t *packed = compress_bytes(COMPRESS_ZSTD, message, 5000, &size);
    struct ut_inflate *context = ut_inflate_take(&inflates, UT_CODING_ZSTD);
    struct ut_inflate_body body = {0};
    ut_slice input = ut_slice_of(packed, 12);
    cr_assert_neq(ut_inflate_step(context, &input, &body), UT_INFLATE_CORRUPT);
    cr_expect_eq(body.declared, 5000);
    ut_inflate_give(&inflates, context);
    free(packed);
    free(message);
}

Test(inflate, context_is_used_again_and_costs_what_is_said)
{
    check_round(COMPRESS_GZIP, (const uint8_t *)"text", 4, 1, 0);
    check_round(COMPRESS_ZSTD, (const uint8_t *)"text", 4, 1, 0);
    cr_expect_eq(pool.in_use, ut_inflate_cost(UT_CODING_GZIP) + ut_inflate_cost(UT_CODING_ZSTD));
    uint64_t before = pool.system_calls;
    for (int i = 0; i < 100; i++) {
        check_round(COMPRESS_GZIP, (const uint8_t *)"text", 4, 1, 0);
        check_round(COMPRESS_ZLIB, (const uint8_t *)"text", 4, 1, 0);
        check_round(COMPRESS_ZSTD, (const uint8_t *)"text", 4, 1, 0);
    }
    cr_expect_eq(pool.system_calls, before);
}

Test(inflate, codings_have_the_names_that_clients_use)
{
    cr_expect_eq(ut_coding_of(UT_SLICE("")), UT_CODING_IDENTITY);
    cr_expect_eq(ut_coding_of(UT_SLICE("Identity")), UT_CODING_IDENTITY);
    cr_expect_eq(ut_coding_of(UT_SLICE("GZIP")), UT_CODING_GZIP);
    cr_expect_eq(ut_coding_of(UT_SLICE("x-gzip")), UT_CODING_GZIP);
    cr_expect_eq(ut_coding_of(UT_SLICE("deflate")), UT_CODING_DEFLATE);
    cr_expect_eq(ut_coding_of(UT_SLICE("zlib")), UT_CODING_DEFLATE);
    cr_expect_eq(ut_coding_of(UT_SLICE("zStd")), UT_CODING_ZSTD);
    cr_expect_eq(ut_coding_of(UT_SLICE("br")), UT_CODING_UNKNOWN);
    cr_expect_eq(ut_coding_of(UT_SLICE("gzip, gzip")), UT_CODING_UNKNOWN);
    cr_expect_eq(ut_coding_of(UT_SLICE("gzi")), UT_CODING_UNKNOWN);
}
