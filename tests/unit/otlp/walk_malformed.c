/* SPDX-License-Identifier: Apache-2.0 */
/* Every row of the table of malformed bodies, cut bodies, and bodies with one byte changed. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "malformed.h"
#include "otlp_batch.h"

static struct ut_pool pool;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)8 << 20);
}

static void tear_down(void)
{
    ut_pool_done(&pool);
}

TestSuite(walk_malformed, .init = set_up, .fini = tear_down);

static void check_row(const struct malformed *row, const struct otlp_bytes *body)
{
    struct ut_walk_report report;
    int error;
    struct ut_batch *batch = otlp_batch_of(&pool, body->data, body->size, &report, &error);
    if (row->answer == MALFORMED_REFUSED) {
        cr_expect_eq(error, -EBADMSG, "%s: %d", row->name, error);
        cr_expect_not_null(report.error, "%s", row->name);
        cr_expect_leq(report.offset, body->size, "%s: offset %u", row->name, report.offset);
    } else {
        unsigned left_out = row->answer == MALFORMED_PARTIAL ? row->left_out : 0;
        cr_expect_eq(error, 0, "%s: %d, %s at %u", row->name, error,
                     report.error ? report.error : "", report.offset);
        cr_expect_eq(report.left_out, left_out, "%s: %u left out", row->name, report.left_out);
        cr_expect_eq(report.reason != NULL, left_out > 0, "%s", row->name);
    }
    ut_batch_unref(batch);
}

Test(walk_malformed, every_row_of_the_table_gets_its_answer)
{
    struct otlp_bytes body = {0};
    cr_assert_geq(MALFORMED_COUNT, 170);
    for (size_t i = 0; i < MALFORMED_COUNT; i++) {
        malformed_build(&body, &MALFORMED[i]);
        check_row(&MALFORMED[i], &body);
    }
    otlp_free(&body);
}

Test(walk_malformed, a_row_differs_from_the_sound_request_by_its_bytes_alone)
{
    const struct malformed sound = {"sound", IN_SPAN, "", 0, MALFORMED_OK, 0, NULL};
    struct otlp_bytes body = {0};
    malformed_build(&body, &sound);
    struct ut_batch *batch = otlp_batch(&pool, &body);
    cr_assert_eq(batch->spans, MALFORMED_SPANS);
    ut_batch_unref(batch);
    otlp_free(&body);
}

/* A request of one ResourceSpans that is cut anywhere but at its ends does not parse. */
Test(walk_malformed, a_body_cut_anywhere_is_refused)
{
    const struct malformed sound = {"sound", IN_SPAN, "", 0, MALFORMED_OK, 0, NULL};
    struct otlp_bytes body = {0};
    malformed_build(&body, &sound);
    for (size_t size = 1; size < body.size; size++) {
        struct ut_walk_report report;
        int error;
        (void)otlp_batch_of(&pool, body.data, size, &report, &error);
        cr_assert_eq(error, -EBADMSG, "cut at %zu", size);
    }
    otlp_free(&body);
}

/* Nothing is asked of the answer but that it is one of the two, and that the pool gets all back. */
Test(walk_malformed, a_body_with_any_byte_changed_is_survived)
{
    const struct malformed sound = {"sound", IN_EVENT, "\xa0\x06\x01", 3, MALFORMED_OK, 0, NULL};
    struct otlp_bytes body = {0};
    malformed_build(&body, &sound);
    for (size_t at = 0; at < body.size; at++) {
        uint8_t old = body.data[at];
        for (unsigned value = 0; value < 256; value++) {
            body.data[at] = (uint8_t)value;
            int error;
            struct ut_batch *batch = otlp_batch_of(&pool, body.data, body.size, NULL, &error);
            cr_assert(error == 0 || error == -EBADMSG);
            ut_batch_unref(batch);
        }
        body.data[at] = old;
    }
    otlp_free(&body);
}
