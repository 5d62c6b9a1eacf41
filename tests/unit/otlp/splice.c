/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/splice.h"

#include <criterion/criterion.h>

#include "splice_reference.h"

static struct ut_pool pool;
static struct otlp_bytes request, flat;
static struct ut_batch *batch;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)8 << 20);
    request = flat = (struct otlp_bytes){0};
    batch = NULL;
}

static void tear_down(void)
{
    ut_batch_unref(batch);
    otlp_free(&request);
    otlp_free(&flat);
    ut_pool_done(&pool);
}

TestSuite(splice, .init = set_up, .fini = tear_down);

/* `count` spans with ids from `first` on, in one scope of one resource. */
static void add_spans(unsigned first, unsigned count)
{
    struct otlp_span spans[64] = {{0}};
    struct otlp_attribute resource[] = {{"service.name", "orders", 0}, {0}};
    cr_assert_leq(count, 64);
    for (unsigned i = 0; i < count; i++)
        spans[i] = (struct otlp_span){.trace_id = 1, .span_id = first + i, .name = "a name"};
    otlp_resource_spans(&request, resource, spans, count);
}

static ut_slice added_bytes(struct ut_body *body, unsigned field, size_t size)
{
    struct otlp_bytes bytes = {0};
    char text[5000] = {0};
    memset(text, 'v', size);
    otlp_text_attribute(&bytes, field, "undertrace.added", text);
    uint8_t *copy = ut_arena_alloc(&body->arena, bytes.size);
    cr_assert_not_null(copy);
    memcpy(copy, bytes.data, bytes.size);
    ut_slice added = ut_slice_of(copy, bytes.size);
    otlp_free(&bytes);
    return added;
}

static struct ut_edit *new_edit(struct ut_body *body, ut_slice added)
{
    struct ut_edit *edit = ut_arena_alloc(&body->arena, sizeof(*edit));
    cr_assert_not_null(edit);
    *edit = (struct ut_edit){.added = added};
    return edit;
}

static void edit_span(struct ut_body *body, uint32_t span, size_t size)
{
    struct ut_edit *edit = new_edit(body, added_bytes(body, 9, size));
    cr_assert_eq(ut_body_set_edit(body, span, edit), 0);
}

static void expect_range(uint32_t first, uint32_t count)
{
    const char *wrong = splice_check(&flat, batch, first, count);
    cr_assert_null(wrong, "%u + %u: %s", first, count, wrong);
}

static uint32_t spans_in_flat(void)
{
    struct ut_batch *again = otlp_batch_of(&pool, flat.data, flat.size, NULL, NULL);
    cr_assert_not_null(again);
    uint32_t spans = again->spans;
    ut_batch_unref(again);
    return spans;
}

Test(splice, an_untouched_body_is_one_run_of_its_own_bytes)
{
    add_spans(1, 10);
    otlp_uint(&request, 99, 1);
    batch = otlp_batch(&pool, &request);
    struct ut_splice splice;
    cr_assert_eq(ut_splice_batch(&splice, batch, 0, 10), 0);
    cr_assert_eq(splice.run_count, 2);
    cr_expect_eq(splice.runs[1].iov_base, batch->first->segment->data);
    cr_expect_eq(splice.bytes, request.size);
    ut_splice_done(&splice);
    expect_range(0, 10);
    cr_expect(
        ut_slice_equal(ut_slice_of(flat.data, flat.size), ut_slice_of(request.data, request.size)));
}

Test(splice, bodies_follow_one_another)
{
    add_spans(1, 2);
    batch = otlp_batch(&pool, &request);
    add_spans(3, 1);
    ut_batch_append(batch, otlp_batch(&pool, &request));
    cr_assert_eq(batch->spans, 5);
    expect_range(0, 5);
    cr_expect_eq(spans_in_flat(), 5);
}

Test(splice, an_edited_span_costs_two_runs_and_the_others_keep_their_bytes)
{
    add_spans(1, 60);
    batch = otlp_batch(&pool, &request);
    for (uint32_t i = 0; i < 60; i++)
        edit_span(batch->first, i, 30);
    struct ut_splice splice;
    cr_assert_eq(ut_splice_batch(&splice, batch, 0, 60), 0);
    cr_expect_leq(splice.run_count, 2 * 60 + 6, "%zu", splice.run_count);
    ut_splice_done(&splice);
    expect_range(0, 60);
    cr_expect_eq(spans_in_flat(), 60);
}

Test(splice, one_edit_among_many_leaves_the_other_bytes_alone)
{
    add_spans(1, 20);
    batch = otlp_batch(&pool, &request);
    edit_span(batch->first, 7, 30);
    expect_range(0, 20);
    struct ut_batch *again = otlp_batch_of(&pool, flat.data, flat.size, NULL, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        const struct ut_span *old = &batch->first->spans[i], *new = &again->first->spans[i];
        ut_slice before = ut_body_slice(batch->first, old->offset, old->size);
        ut_slice after = ut_body_slice(again->first, new->offset, new->size);
        cr_expect_eq(ut_slice_equal(before, after), i != 7);
        cr_expect(ut_slice_starts(after, before));
    }
    ut_batch_unref(again);
}

Test(splice, added_bytes_of_every_size)
{
    static const size_t sizes[] = {0, 1, 60, 127, 128, 450, 511, 512, 513, 4000};
    add_spans(1, 10);
    batch = otlp_batch(&pool, &request);
    for (uint32_t i = 0; i < 10; i++)
        edit_span(batch->first, i, sizes[i]);
    expect_range(0, 10);
    cr_expect_eq(spans_in_flat(), 10);
}

Test(splice, removed_ranges_go_and_the_rest_stays)
{
    struct otlp_bytes more = {0};
    for (int i = 0; i < 6; i++)
        otlp_int_attribute(&more, 9, i % 2 == 0 ? "undertrace.x" : "kept", i);
    struct otlp_span span = {
        .trace_id = 1, .span_id = 1, .more = more.data, .more_size = more.size};
    otlp_resource_spans(&request, NULL, &span, 1);
    batch = otlp_batch(&pool, &request);
    struct ut_body *body = batch->first;
    struct ut_range ranges[8];
    uint32_t count = 0;
    struct ut_wire_field field;
    const uint8_t *message = body->segment->data + body->spans[0].offset;
    for (const uint8_t *p = message; p < message + body->spans[0].size;) {
        p = ut_wire_field(p, &field);
        if (field.number == 9 && ut_slice_starts(field.content, UT_SLICE("\x0a\x0cundertrace")))
            ranges[count++] = (struct ut_range){(uint32_t)(field.begin - body->segment->data),
                                                (uint32_t)(field.end - field.begin)};
    }
    cr_assert_eq(count, 3);
    struct ut_edit edit = {.removed = ranges, .removed_count = count};
    cr_assert_eq(ut_body_set_edit(body, 0, &edit), 0);
    expect_range(0, 1);
    cr_expect_null(memmem(flat.data, flat.size, "undertrace", 10));
    struct ut_batch *again = otlp_batch_of(&pool, flat.data, flat.size, NULL, NULL);
    cr_expect_eq(again->first->spans[0].flags, 0);
    ut_batch_unref(again);
    otlp_free(&more);
}

Test(splice, spans_left_out_go_nowhere)
{
    struct otlp_span spans[] = {
        {.trace_id = 0, .span_id = 1}, {.trace_id = 1, .span_id = 2}, {.trace_id = 0, .span_id = 3},
        {.trace_id = 0, .span_id = 4}, {.trace_id = 1, .span_id = 5}, {.trace_id = 0, .span_id = 6},
    };
    otlp_resource_spans(&request, NULL, spans, 6);
    otlp_resource_spans(&request, NULL, spans, 1);
    batch = otlp_batch(&pool, &request);
    cr_assert_eq(batch->spans, 2);
    expect_range(0, 2);
    struct ut_batch *again = otlp_batch_of(&pool, flat.data, flat.size, NULL, NULL);
    cr_expect_eq(again->spans, 2);
    cr_expect_eq(again->first->left_out, 0);
    cr_expect_eq(again->first->resource_count, 1, "one that lost all its spans is gone");
    ut_batch_unref(again);
}

Test(splice, bad_resources_and_scopes_go_nowhere_even_without_spans)
{
    otlp_raw(&request, "\x0a\x03\x1a\x01\xff", 5);
    otlp_raw(&request, "\x0a\x05\x12\x03\x1a\x01\xff", 7);
    add_spans(1, 1);
    batch = otlp_batch(&pool, &request);
    expect_range(0, 1);
    cr_expect_null(memchr(flat.data, 0xff, flat.size));
    cr_expect_eq(spans_in_flat(), 1);
}

Test(splice, parts_of_any_size_together_are_the_whole)
{
    add_spans(1, 5);
    otlp_uint(&request, 99, 1);
    otlp_resource_spans(&request, NULL, NULL, 0);
    add_spans(10, 7);
    batch = otlp_batch(&pool, &request);
    struct ut_batch *other = otlp_batch(&pool, &request);
    edit_span(other->first, 3, 10);
    edit_span(other->first, 11, 10);
    ut_batch_append(batch, other);
    for (uint32_t size = 1; size <= 25; size++) {
        uint32_t spans = 0, unknown = 0;
        for (uint32_t at = 0; at < 24; at += size) {
            expect_range(at, size);
            spans += spans_in_flat();
            for (const uint8_t *p = flat.data; p < flat.data + flat.size;) {
                struct ut_wire_field field;
                p = ut_wire_field(p, &field);
                unknown += field.number == 99;
            }
        }
        cr_assert_eq(spans, 24, "parts of %u", size);
        cr_assert_eq(unknown, 2, "parts of %u: once a body", size);
    }
}

/* One resource of two scopes with spans, an empty one between them and a bad one behind. */
static void add_scopes(void)
{
    size_t resource_spans = otlp_begin(&request, 1);
    for (unsigned i = 0; i < 2; i++) {
        size_t scope_spans = otlp_begin(&request, 2);
        otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 2 * i + 1});
        otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 2 * i + 2});
        otlp_end(&request, scope_spans);
        if (i == 0)
            otlp_raw(&request,
                     "\x12\x08\x1a\x06"
                     "schema",
                     10);
    }
    otlp_raw(&request, "\x12\x03\x1a\x01\xff", 5);
    otlp_end(&request, resource_spans);
}

Test(splice, scopes_of_one_resource_go_apart)
{
    add_scopes();
    batch = otlp_batch(&pool, &request);
    cr_assert_eq(batch->spans, 4);
    for (uint32_t size = 1; size <= 4; size++) {
        uint32_t spans = 0, empty = 0;
        for (uint32_t at = 0; at < 4; at += size) {
            expect_range(at, size);
            spans += spans_in_flat();
            empty += memmem(flat.data, flat.size, "schema", 6) != NULL;
            cr_expect_null(memchr(flat.data, 0xff, flat.size));
        }
        cr_assert_eq(spans, 4);
        cr_assert_eq(empty, 1, "a scope without spans goes out once");
    }
}

Test(splice, a_batch_without_spans_goes_out_once_as_it_is)
{
    otlp_resource_spans(&request, NULL, NULL, 0);
    batch = otlp_batch(&pool, &request);
    expect_range(0, 0);
    cr_expect_eq(flat.size, request.size);
}

/* ---- the Resource -------------------------------------------------------------------------------
 */

static void edit_resource(struct ut_range *removed, uint32_t count)
{
    struct ut_body *body = batch->first;
    struct ut_edit *edit = new_edit(body, added_bytes(body, 1, 20));
    edit->removed = removed;
    edit->removed_count = count;
    body->resources[0].edit = edit;
}

Test(splice, an_edit_of_the_resource_leaves_its_spans_alone)
{
    add_spans(1, 3);
    batch = otlp_batch(&pool, &request);
    edit_resource(NULL, 0);
    struct ut_splice splice;
    cr_assert_eq(ut_splice_batch(&splice, batch, 0, 3), 0);
    cr_expect_leq(splice.run_count, 5);
    ut_splice_done(&splice);
    expect_range(0, 3);
    cr_expect_not_null(memmem(flat.data, flat.size, "undertrace.added", 16));
    cr_expect_eq(spans_in_flat(), 3);
}

Test(splice, every_part_of_a_resource_carries_its_edit)
{
    add_spans(1, 3);
    batch = otlp_batch(&pool, &request);
    edit_resource(NULL, 0);
    for (uint32_t i = 0; i < 3; i++) {
        expect_range(i, 1);
        cr_expect_not_null(memmem(flat.data, flat.size, "undertrace.added", 16));
        cr_expect_eq(spans_in_flat(), 1);
    }
}

Test(splice, a_resource_without_resource_message_gains_one)
{
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 1});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    batch = otlp_batch(&pool, &request);
    edit_resource(NULL, 0);
    expect_range(0, 1);
    struct ut_batch *again = otlp_batch_of(&pool, flat.data, flat.size, NULL, NULL);
    cr_expect_eq(again->first->resources[0].flags, UT_RESOURCE_FORGED, "it has our attribute");
    cr_expect_neq(again->first->resources[0].resource_end, 0);
    ut_batch_unref(again);
}

Test(splice, ranges_go_from_every_resource_message_and_bytes_are_added_to_the_last)
{
    size_t resource_spans = otlp_begin(&request, 1);
    struct ut_range removed[2];
    for (uint32_t i = 0; i < 2; i++) {
        size_t resource = otlp_begin(&request, 1);
        otlp_text_attribute(&request, 1, "kept", "x");
        removed[i].offset = (uint32_t)request.size;
        otlp_text_attribute(&request, 1, "container.id", "claimed");
        removed[i].size = (uint32_t)request.size - removed[i].offset;
        otlp_text_attribute(&request, 1, "kept", "y");
        otlp_end(&request, resource);
        size_t scope_spans = otlp_begin(&request, 2);
        otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = i + 1});
        otlp_end(&request, scope_spans);
    }
    otlp_end(&request, resource_spans);
    /* All lengths take one byte: each otlp_end moves what lies behind by one. */
    removed[0].offset += 2 + 1;
    removed[1].offset += 1 + 1;
    batch = otlp_batch(&pool, &request);
    cr_assert_eq(batch->first->resources[0].content, 3);
    edit_resource(removed, 2);
    expect_range(0, 2);
    cr_expect_null(memmem(flat.data, flat.size, "claimed", 7));
    struct ut_batch *again = otlp_batch_of(&pool, flat.data, flat.size, NULL, NULL);
    cr_expect_eq(again->first->resources[0].claims.container_id.size, 0);
    ut_batch_unref(again);
}

/* ---- memory
 * -------------------------------------------------------------------------------------- */

static void one_round(void)
{
    struct ut_batch *fresh = otlp_batch(&pool, &request);
    for (uint32_t i = 0; i < fresh->first->span_count; i += 2)
        edit_span(fresh->first, i, 100);
    struct ut_splice splice;
    cr_assert_eq(ut_splice_batch(&splice, fresh, 0, fresh->spans), 0);
    ut_splice_done(&splice);
    ut_batch_unref(fresh);
}

Test(splice, in_steady_state_nothing_asks_the_system_for_memory)
{
    for (unsigned i = 0; i < 8; i++)
        add_spans(1 + 64 * i, 64);
    for (int i = 0; i < 3; i++)
        one_round();
    uint64_t before = pool.system_calls;
    for (int i = 0; i < 1000; i++)
        one_round();
    cr_assert_eq(pool.system_calls, before, "%lu calls", pool.system_calls - before);
    cr_assert_eq(pool.in_use, 0);
}
