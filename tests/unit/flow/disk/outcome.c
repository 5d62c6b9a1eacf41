/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/disk/outcome.h"

#include <criterion/criterion.h>

#include "otlp/splice.h"
#include "otlp_batch.h"

static struct ut_pool pool;
static struct otlp_bytes request;
static struct ut_batch *before, *after;
static uint8_t bytes[64 << 10];

enum { SPANS = 6 };

static void set_up(void)
{
    ut_pool_init(&pool, 1 << 20);
    for (int r = 0; r < 2; r++) {
        size_t resource_spans = otlp_begin(&request, 1);
        size_t resource = otlp_begin(&request, 1);
        otlp_text_attribute(&request, 1, "service.name", r == 0 ? "orders" : "ledger");
        otlp_text_attribute(&request, 1, "undertrace.cgroup.path", "/forged");
        otlp_end(&request, resource);
        size_t scope_spans = otlp_begin(&request, 2);
        for (int i = 0; i < SPANS / 2; i++)
            otlp_span(&request, &(struct otlp_span){.trace_id = 7,
                                                    .span_id = (uint64_t)(r * 3 + i + 1),
                                                    .name = "GET /",
                                                    .start_ns = 1,
                                                    .end_ns = 2});
        otlp_end(&request, scope_spans);
        otlp_end(&request, resource_spans);
    }
    before = otlp_batch(&pool, &request);
    after = otlp_batch(&pool, &request);
}

static void tear_down(void)
{
    ut_batch_unref(before);
    ut_batch_unref(after);
    otlp_free(&request);
    ut_pool_done(&pool);
}

TestSuite(disk_outcome, .init = set_up, .fini = tear_down);

/* An attribute of one byte, as encoded fields of a span (field 9). */
static const uint8_t added[] = {0x4a, 0x0b, 0x0a, 0x05, 'u',  '.', 'x',
                                '.',  'y',  0x12, 0x02, 0x18, 0x2a};
static struct ut_edit adds = {.added = {added, sizeof(added)}};

static ut_slice encode(const struct ut_batch *batch)
{
    size_t size = ut_disk_outcome_size(batch->first);
    cr_assert(size > 0 && size <= sizeof(bytes));
    memset(bytes, 0xee, sizeof(bytes));
    ut_disk_outcome_encode(batch->first, bytes);
    cr_assert_eq(bytes[size], 0xee, "wrote more than it said");
    return ut_slice_of(bytes, size);
}

static void expect_same(uint32_t spans)
{
    struct ut_splice a, b;
    ut_batch_measure(before);
    ut_batch_measure(after);
    cr_assert_eq(before->spans, spans);
    cr_assert_eq(after->spans, spans);
    cr_assert_eq(ut_splice_batch(&a, before, 0, spans), 0);
    cr_assert_eq(ut_splice_batch(&b, after, 0, spans), 0);
    cr_assert_eq(a.bytes, b.bytes);
    struct otlp_bytes flat[2] = {{0}, {0}};
    for (size_t i = 1; i < a.run_count; i++)
        otlp_raw(&flat[0], a.runs[i].iov_base, a.runs[i].iov_len);
    for (size_t i = 1; i < b.run_count; i++)
        otlp_raw(&flat[1], b.runs[i].iov_base, b.runs[i].iov_len);
    cr_expect_arr_eq(flat[0].data, flat[1].data, flat[0].size);
    otlp_free(&flat[0]);
    otlp_free(&flat[1]);
    ut_splice_done(&a);
    ut_splice_done(&b);
}

/* The last attribute of a Resource: leaves out what stands behind the first. */
static struct ut_range second_attribute(const struct ut_resource *resource)
{
    uint32_t first = resource->resource_content + 2 + request.data[resource->resource_content + 1];
    return (struct ut_range){first, resource->resource_end - first};
}

static void edit_everything(void)
{
    struct ut_body *body = before->first;
    static struct ut_edit removes;
    static struct ut_range range;
    range = second_attribute(&body->resources[1]);
    removes = (struct ut_edit){.removed = &range, .removed_count = 1, .added = {added, 4}};
    removes.added = (ut_slice){NULL, 0};
    body->resources[1].edit = &removes;
    cr_assert_eq(ut_body_set_edit(body, 0, &adds), 0);
    cr_assert_eq(ut_body_set_edit(body, 1, &adds), 0);
    cr_assert_eq(ut_body_set_edit(body, 4, &adds), 0);
    body->spans[2].flags |= UT_SPAN_LEFT_OUT;
    body->left_out++;
}

Test(disk_outcome, of_an_untouched_body_changes_nothing)
{
    cr_assert_eq(ut_disk_outcome_apply(after->first, encode(before)), 0);
    expect_same(SPANS);
}

Test(disk_outcome, edits_come_back_with_the_same_bytes)
{
    edit_everything();
    ut_slice outcome = encode(before);
    cr_expect_leq(outcome.size, 16 + 2 * (8 + 8 + 16) + 5 * 12, "a shared edit is told more often");
    cr_assert_eq(ut_disk_outcome_apply(after->first, outcome), 0);
    expect_same(SPANS - 1);
}

Test(disk_outcome, counts_from_the_request_wherever_it_stands_in_its_segment)
{
    struct ut_segment *segment = ut_segment_new(&pool, request.size + 5);
    cr_assert_eq(ut_segment_append(&segment, UT_SLICE("gRPC:")), 0);
    cr_assert_eq(ut_segment_append(&segment, ut_slice_of(request.data, request.size)), 0);
    struct ut_batch *elsewhere = ut_batch_new(&pool, segment);
    struct ut_walk_report report;
    elsewhere->first->start = 5;
    cr_assert_eq(ut_walk(elsewhere->first, &report), 0);
    ut_batch_measure(elsewhere);
    edit_everything();
    ut_slice outcome = encode(before);
    ut_batch_unref(after);
    after = elsewhere;
    cr_assert_eq(ut_disk_outcome_apply(after->first, outcome), 0);
    expect_same(SPANS - 1);
}

/* The bytes have a checksum; what gets past it may still not harm. */
Test(disk_outcome, bytes_that_are_none_change_nothing)
{
    edit_everything();
    ut_slice outcome = encode(before);
    for (size_t cut = 0; cut < outcome.size; cut++)
        cr_expect_lt(ut_disk_outcome_apply(after->first, ut_slice_of(bytes, cut)), 0);
    ut_batch_unref(before);
    before = otlp_batch(&pool, &request);
    expect_same(SPANS);
}

Test(disk_outcome, any_byte_may_be_wrong)
{
    edit_everything();
    ut_slice outcome = encode(before);
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < outcome.size; i++) {
        for (size_t j = 0; j < sizeof(values); j++) {
            uint8_t was = bytes[i];
            bytes[i] = values[j];
            struct ut_batch *batch = otlp_batch(&pool, &request);
            struct ut_splice splice;
            int error = ut_disk_outcome_apply(batch->first, outcome);
            cr_expect(error == 0 || error == -EBADMSG);
            ut_batch_measure(batch);
            cr_assert_eq(ut_splice_batch(&splice, batch, 0, batch->spans), 0);
            ut_splice_done(&splice);
            ut_batch_unref(batch);
            bytes[i] = was;
        }
    }
}
