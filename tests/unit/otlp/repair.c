/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "otlp/repair.h"
#include "otlp_batch.h"
#include "otlp_json.h"
#include "repair_reference.h"

enum { ROUNDS = 4000 };

static struct ut_pool pool;
static struct otlp_bytes request, want;
static const struct ut_writer_limits FREE = {.bytes_max = (size_t)16 << 20};

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)8 << 20);
    request = want = (struct otlp_bytes){0};
}

static void tear_down(void)
{
    otlp_free(&request);
    otlp_free(&want);
    cr_expect_eq(pool.in_use, 0);
    ut_pool_done(&pool);
}

TestSuite(repair, .init = set_up, .fini = tear_down);

static struct ut_batch *walked(bool bad_text)
{
    struct ut_walk_report report;
    struct ut_batch *batch = otlp_batch_of(&pool, request.data, request.size, &report, NULL);
    cr_assert_not_null(batch);
    cr_assert_eq(report.bad_text, bad_text);
    return batch;
}

/* The batch of `request`, repaired. */
static struct ut_batch *repaired(uint32_t strings, struct ut_walk_report *report)
{
    uint32_t count = 0;
    struct ut_batch *batch = walked(true);
    cr_assert_eq(ut_repair_batch(&batch, &FREE, report, &count), 0);
    cr_expect_eq(count, strings, "%u strings", count);
    cr_expect(!report->bad_text);
    return batch;
}

static void expect_bytes(const struct ut_batch *batch)
{
    const struct ut_body *body = batch->first;
    cr_expect(ut_slice_equal(ut_body_slice(body, body->start, body->end - body->start),
                             ut_slice_of(want.data, want.size)));
}

/* ---- text ------------------------------------------------------------------------------------ */

#define FFFD "\xef\xbf\xbd"

static void expect_text(const char *text, const char *repaired_text)
{
    uint8_t out[64];
    size_t size = ut_text_repaired_size((const uint8_t *)text, strlen(text));
    cr_assert_eq(size, strlen(repaired_text), "%s", repaired_text);
    ut_text_repair((const uint8_t *)text, strlen(text), out);
    cr_expect_eq(memcmp(out, repaired_text, size), 0, "%s", repaired_text);
}

/* The examples of Unicode 15, tables 3-8 to 3-11, and ends. */
Test(repair, each_maximal_part_becomes_one_character)
{
    expect_text("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41",
                FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A");
    expect_text("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41",
                FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A");
    expect_text("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", FFFD FFFD FFFD FFFD FFFD "A" FFFD FFFD "B");
    expect_text("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", FFFD FFFD FFFD FFFD "A");
    expect_text("a\xf0\x9f\x98", "a" FFFD);
    expect_text("\xf0\x9f\x98\x80\xc3", "\xf0\x9f\x98\x80" FFFD);
    expect_text("\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac");
}

/* ---- requests ---------------------------------------------------------------------------------
 */

/* Two spans, whose second has this name. */
static void build_named(struct otlp_bytes *out, const char *name)
{
    struct otlp_span spans[] = {{.trace_id = 1, .span_id = 2, .name = "first"},
                                {.trace_id = 1, .span_id = 3, .name = name}};
    otlp_resource_spans(out, NULL, spans, 2);
}

Test(repair, bad_name_is_replaced_and_the_span_kept)
{
    struct ut_walk_report report;
    build_named(&request, "a\xff z");
    build_named(&want, "a" FFFD " z");
    struct ut_batch *batch = repaired(1, &report);
    expect_bytes(batch);
    cr_expect_eq(report.left_out, 0);
    cr_expect_eq(batch->first->span_count, 2);
    ut_batch_unref(batch);
}

Test(repair, lengths_of_all_parents_grow)
{
    char bad[131] = "", good[400] = "";
    memset(bad, 0xff, sizeof(bad) - 1);
    while (strlen(good) < 390)
        memcpy(good + strlen(good), FFFD, 4);
    struct ut_walk_report report;
    build_named(&request, bad);
    build_named(&want, good);
    struct ut_batch *batch = repaired(1, &report);
    expect_bytes(batch);
    ut_batch_unref(batch);
}

/* A span with a long length around a bad name, and one with long lengths that is sound. */
Test(repair, only_lengths_around_the_string_change)
{
    struct otlp_bytes fields = {0};
    struct otlp_span span = {.trace_id = 1, .span_id = 2, .name = "\xff"};
    for (int i = 0; i < 2; i++) {
        struct otlp_bytes *out = i == 0 ? &request : &want;
        for (int sound = 0; sound < 2; sound++) {
            fields.size = 0;
            span.name = sound ? "sound" : i == 0 ? "\xff" : FFFD;
            otlp_span_fields(&fields, &span);
            struct otlp_bytes scope_spans = {0};
            otlp_tag(&scope_spans, 2, 2);
            if (sound || i == 0)
                otlp_long_varint(&scope_spans, fields.size, 4);
            else
                otlp_varint(&scope_spans, fields.size);
            otlp_raw(&scope_spans, fields.data, fields.size);
            otlp_data(&scope_spans, 77, "\xff\xfe", 2);
            struct otlp_bytes resource_spans = {0};
            otlp_data(&resource_spans, 2, scope_spans.data, scope_spans.size);
            otlp_data(out, 1, resource_spans.data, resource_spans.size);
            otlp_free(&scope_spans);
            otlp_free(&resource_spans);
        }
    }
    struct ut_walk_report report;
    struct ut_batch *batch = repaired(1, &report);
    expect_bytes(batch);
    ut_batch_unref(batch);
    otlp_free(&fields);
}

Test(repair, spans_bad_for_another_reason_stay_left_out)
{
    struct otlp_span spans[] = {{.trace_id = 1, .span_id = 2, .name = "\x80"},
                                {.trace_id = 1, .span_id = 0, .name = "\x80"}};
    otlp_resource_spans(&request, NULL, spans, 2);
    struct ut_walk_report report;
    struct ut_batch *batch = repaired(2, &report);
    cr_expect_eq(report.left_out, 1);
    ut_batch_unref(batch);
}

Test(repair, walk_says_nothing_of_text_when_it_is_sound)
{
    struct otlp_span spans[] = {{.trace_id = 1, .span_id = 0, .name = "a"}};
    otlp_resource_spans(&request, NULL, spans, 1);
    ut_batch_unref(walked(false));
}

/* ---- random requests against the reference -----------------------------------------------------
 */

static void compare_with_reference(struct otlp_random *random)
{
    request.size = want.size = 0;
    otlp_random_message(&request, random, UT_SCHEMA_REQUEST);
    uint64_t state = random->state;
    reference_corrupt(&request, random);
    uint32_t strings =
        reference_repair(&want, UT_SCHEMA_REQUEST, ut_slice_of(request.data, request.size));
    struct ut_walk_report report;
    struct ut_batch *batch = otlp_batch_of(&pool, request.data, request.size, &report, NULL);
    cr_assert_not_null(batch, "state %#lx", state);
    cr_assert_eq(report.bad_text, strings > 0, "state %#lx", state);
    if (strings > 0) {
        uint32_t count;
        cr_assert_eq(ut_repair_batch(&batch, &FREE, &report, &count), 0);
        cr_expect_eq(count, strings, "state %#lx: %u strings, not %u", state, count, strings);
        cr_expect(!report.bad_text);
    }
    expect_bytes(batch);
    ut_batch_unref(batch);
}

Test(repair, random_corruption_is_repaired_as_the_reference_does)
{
    struct otlp_random random = {11};
    for (int i = 0; i < ROUNDS; i++)
        compare_with_reference(&random);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool hold(void *arg, size_t bytes)
{
    size_t *room = arg; /* limit, held */
    if (bytes > room[1] && bytes > room[0])
        return false;
    room[1] = bytes;
    return true;
}

Test(repair, refusal_leaves_the_batch_as_it_was)
{
    build_named(&request, "a\xff z");
    struct ut_batch *batch = walked(true), *same = batch;
    struct ut_walk_report report = {.left_out = 7};
    uint32_t strings = 9;
    size_t room[2] = {10, 0};
    struct ut_writer_limits limits = {.bytes_max = 1000, .hold = hold, .arg = room};
    cr_expect_eq(ut_repair_batch(&batch, &limits, &report, &strings), -ENOBUFS);
    room[0] = SIZE_MAX;
    limits.bytes_max = request.size + 1;
    cr_expect_eq(ut_repair_batch(&batch, &limits, &report, &strings), -EMSGSIZE);
    cr_expect_eq(room[1], 0);
    cr_expect_eq(batch, same);
    cr_expect_eq(report.left_out, 7);
    cr_expect_eq(strings, 9);
    cr_expect_eq(batch->first->left_out, 1);
    limits.bytes_max = request.size + 2;
    cr_expect_eq(ut_repair_batch(&batch, &limits, &report, &strings), 0);
    cr_expect_eq(room[1], ut_pool_usable(batch->first->segment));
    ut_batch_unref(batch);
}
