/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "otlp_batch.h"

static struct ut_pool pool;
static struct otlp_bytes request;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)8 << 20);
    request = (struct otlp_bytes){0};
}

static void tear_down(void)
{
    otlp_free(&request);
    ut_pool_done(&pool);
}

TestSuite(walk, .init = set_up, .fini = tear_down);

/* The only span of a request with these further fields; ids 1 and 2. */
static struct ut_batch *batch_with(const struct otlp_bytes *more)
{
    struct otlp_span span = {
        .trace_id = 1, .span_id = 2, .more = more->data, .more_size = more->size};
    otlp_resource_spans(&request, NULL, &span, 1);
    return otlp_batch(&pool, &request);
}

Test(walk, empty_request_is_no_span)
{
    struct ut_batch *batch = otlp_batch(&pool, &request);
    cr_assert_eq(batch->spans, 0);
    cr_assert_eq(batch->first->resource_count, 0);
    cr_assert_eq(batch->first->oldest_start_ns, 0);
    ut_batch_unref(batch);
}

Test(walk, fills_the_row_of_a_span)
{
    struct otlp_attribute attributes[] = {{"a", "b", 0}, {"n", NULL, -1}, {0}};
    struct otlp_span span = {.trace_id = 0x1122,
                             .span_id = 0x33,
                             .parent_id = 0x44,
                             .name = "GET /",
                             .kind = UT_SPAN_KIND_CLIENT,
                             .start_ns = 1000,
                             .end_ns = 2000,
                             .status = 2,
                             .attributes = attributes};
    otlp_resource_spans(&request, NULL, &span, 1);
    struct ut_batch *batch = otlp_batch(&pool, &request);
    const struct ut_body *body = batch->first;
    cr_assert_eq(body->span_count, 1);
    const struct ut_span *row = &body->spans[0];
    cr_expect_eq(row->trace_id[15], 0x22);
    cr_expect_eq(row->trace_id[14], 0x11);
    cr_expect_eq(row->span_id[7], 0x33);
    cr_expect_eq(row->parent_id[7], 0x44);
    cr_expect_eq(row->kind, UT_SPAN_KIND_CLIENT);
    cr_expect_eq(row->status, 2);
    cr_expect_eq(row->start_ns, 1000);
    cr_expect_eq(row->end_ns, 2000);
    cr_expect_eq(row->flags, 0);
    cr_expect_eq(row->header, 2);
    cr_expect_eq(row->offset + row->size, body->end);
    cr_expect_eq(body->segment->data[row->offset - row->header], 0x12);
    cr_expect_eq(body->oldest_start_ns, 1000);
    cr_expect_eq(body->newest_end_ns, 2000);
    ut_batch_unref(batch);
}

Test(walk, rows_of_scopes_and_resources_nest)
{
    struct otlp_span spans[3];
    for (unsigned i = 0; i < 3; i++)
        spans[i] = (struct otlp_span){.trace_id = 1, .span_id = i + 1};
    otlp_resource_spans(&request, NULL, spans, 2);
    otlp_resource_spans(&request, NULL, spans, 3);
    struct ut_batch *batch = otlp_batch(&pool, &request);
    const struct ut_body *body = batch->first;
    cr_assert_eq(body->resource_count, 2);
    cr_assert_eq(body->scope_count, 2);
    cr_assert_eq(body->span_count, 5);
    cr_expect_eq(body->resources[0].span_count, 2);
    cr_expect_eq(body->resources[1].first_span, 2);
    cr_expect_eq(body->resources[1].span_count, 3);
    cr_expect_eq(body->resources[1].first_scope, 1);
    cr_expect_eq(body->resources[0].end, body->resources[1].offset);
    cr_expect_eq(body->resources[1].end, body->end);
    cr_expect_eq(body->scopes[1].first_span, 2);
    cr_expect_eq(body->segment->data[body->resources[1].offset], 0x0a);
    cr_expect_eq(body->segment->data[body->scopes[1].offset], 0x12);
    ut_batch_unref(batch);
}

Test(walk, resources_and_scopes_without_spans_have_no_row)
{
    struct otlp_span span = {.trace_id = 1, .span_id = 1};
    otlp_resource_spans(&request, NULL, NULL, 0);
    otlp_data(&request, 1, NULL, 0);
    otlp_resource_spans(&request, NULL, &span, 1);
    struct ut_batch *batch = otlp_batch(&pool, &request);
    cr_assert_eq(batch->first->resource_count, 1);
    cr_assert_eq(batch->first->scope_count, 1);
    cr_assert_eq(batch->spans, 1);
    ut_batch_unref(batch);
}

Test(walk, the_last_of_repeated_scalars_wins)
{
    struct otlp_bytes more = {0};
    otlp_id(&more, 2, 9, 8);
    otlp_uint(&more, 6, 3);
    otlp_uint(&more, 6, 2);
    otlp_fixed64(&more, 7, 5);
    otlp_fixed64(&more, 7, 6);
    otlp_fixed64(&more, 8, 8);
    otlp_fixed64(&more, 8, 7);
    struct ut_batch *batch = batch_with(&more);
    const struct ut_span *row = &batch->first->spans[0];
    cr_expect_eq(row->span_id[7], 9);
    cr_expect_eq(row->kind, 2);
    cr_expect_eq(row->start_ns, 6);
    cr_expect_eq(row->end_ns, 7);
    ut_batch_unref(batch);
    otlp_free(&more);
}

Test(walk, two_status_messages_merge)
{
    struct otlp_bytes more = {0};
    size_t status = otlp_begin(&more, 15);
    otlp_uint(&more, 3, 2);
    otlp_end(&more, status);
    status = otlp_begin(&more, 15);
    otlp_text(&more, 2, "no code in here");
    otlp_end(&more, status);
    struct ut_batch *batch = batch_with(&more);
    cr_expect_eq(batch->first->spans[0].status, 2);
    ut_batch_unref(batch);
    otlp_free(&more);
}

Test(walk, kinds_and_codes_of_a_later_schema_read_as_unset)
{
    struct otlp_bytes more = {0};
    static const uint64_t values[] = {6, 127, 257, 300, UINT64_MAX};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        more.size = request.size = 0;
        otlp_uint(&more, 6, values[i]);
        size_t status = otlp_begin(&more, 15);
        otlp_uint(&more, 3, values[i]);
        otlp_end(&more, status);
        struct ut_batch *batch = batch_with(&more);
        cr_expect_eq(batch->first->spans[0].kind, UT_SPAN_KIND_UNSPECIFIED);
        cr_expect_eq(batch->first->spans[0].status, 0);
        ut_batch_unref(batch);
    }
    otlp_free(&more);
}

/* Here the bytes of a long kind and of unknown fields stand where kind, start and end mostly do. */
Test(walk, fields_at_the_usual_distances_that_are_others)
{
    struct otlp_bytes more = {0};
    otlp_text(&more, 5, "name");
    otlp_raw(&more, "\x30\x80\x39\xa0\x06\x01\xa0\x06\x01\x30\x02", 11);
    otlp_fixed64(&more, 8, 77);
    struct ut_batch *batch = batch_with(&more);
    const struct ut_span *row = &batch->first->spans[0];
    cr_expect_eq(row->kind, 2);
    cr_expect_eq(row->start_ns, 0);
    cr_expect_eq(row->end_ns, 77);
    ut_batch_unref(batch);
    otlp_free(&more);
}

Test(walk, headers_longer_than_needed_are_understood)
{
    struct otlp_bytes span = {0}, scope = {0};
    otlp_span_fields(&span, &(struct otlp_span){.trace_id = 1, .span_id = 2});
    otlp_long_varint(&scope, 2 << 3 | 2, 5);
    otlp_long_varint(&scope, span.size, 10);
    otlp_raw(&scope, span.data, span.size);
    size_t resource_spans = otlp_begin(&request, 1);
    otlp_data(&request, 2, scope.data, scope.size);
    otlp_end(&request, resource_spans);
    struct ut_batch *batch = otlp_batch(&pool, &request);
    cr_assert_eq(batch->spans, 1);
    cr_expect_eq(batch->first->spans[0].header, 15);
    cr_expect_eq(batch->first->spans[0].size, span.size);
    ut_batch_unref(batch);
    otlp_free(&span);
    otlp_free(&scope);
}

Test(walk, fields_in_any_order_and_any_length_form_count)
{
    struct otlp_bytes fields = {0};
    otlp_text_attribute(&fields, 9, "early", "x");
    otlp_uint(&fields, 6, 3);
    otlp_id(&fields, 2, 2, 8);
    otlp_long_varint(&fields, 9 << 3 | 2, 3); /* an empty KeyValue behind a long tag */
    otlp_long_varint(&fields, 0, 4);
    otlp_id(&fields, 1, 1, 16);
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_data(&request, 2, fields.data, fields.size);
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    struct ut_batch *batch = otlp_batch(&pool, &request);
    cr_assert_eq(batch->spans, 1);
    cr_expect_eq(batch->first->spans[0].kind, 3);
    ut_batch_unref(batch);
    otlp_free(&fields);
}

/* ---- what is left out --------------------------------------------------------------------------
 */

Test(walk, bad_spans_are_left_out_and_neighbours_share_a_row)
{
    struct otlp_span spans[] = {
        {.trace_id = 1, .span_id = 1, .end_ns = 10}, {.trace_id = 0, .span_id = 2, .end_ns = 99},
        {.trace_id = 0, .span_id = 3, .end_ns = 99}, {.trace_id = 1, .span_id = 4, .end_ns = 20},
        {.trace_id = 1, .span_id = 0, .end_ns = 99},
    };
    otlp_resource_spans(&request, NULL, spans, 5);
    struct ut_walk_report report;
    struct ut_batch *batch = otlp_batch_of(&pool, request.data, request.size, &report, NULL);
    const struct ut_body *body = batch->first;
    cr_expect_eq(report.left_out, 3);
    cr_expect_not_null(strstr(report.reason, "trace id"));
    cr_expect_eq(batch->spans, 2);
    cr_assert_eq(body->span_count, 4);
    cr_expect_eq(body->left_out, 2);
    cr_expect_eq(body->spans[1].flags, UT_SPAN_LEFT_OUT);
    cr_expect_eq(body->spans[1].offset + body->spans[1].size,
                 body->spans[2].offset - body->spans[2].header);
    cr_expect_eq(body->spans[2].flags, 0);
    cr_expect_eq(body->newest_end_ns, 20, "what is left out says nothing about times");
    ut_batch_unref(batch);
}

Test(walk, a_bad_scope_takes_its_spans_along_wherever_it_stands)
{
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 1, .end_ns = 50});
    size_t scope = otlp_begin(&request, 1);
    otlp_text(&request, 1, "\xff");
    otlp_end(&request, scope);
    otlp_end(&request, scope_spans);
    scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 2, .end_ns = 5});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    struct ut_walk_report report;
    struct ut_batch *batch = otlp_batch_of(&pool, request.data, request.size, &report, NULL);
    cr_assert_eq(report.left_out, 1);
    cr_assert_eq(batch->spans, 1);
    cr_expect(batch->first->scopes[0].left_out);
    cr_expect_not(batch->first->scopes[1].left_out);
    cr_expect_eq(batch->first->newest_end_ns, 5);
    ut_batch_unref(batch);
}

Test(walk, a_bad_resource_takes_all_its_spans_along_and_no_other)
{
    struct otlp_attribute bad[] = {{"service.name", "\xc3", 0}, {0}};
    struct otlp_span spans[] = {{.trace_id = 1, .span_id = 1, .end_ns = 90},
                                {.trace_id = 1, .span_id = 0},
                                {.trace_id = 1, .span_id = 3, .end_ns = 7}};
    otlp_resource_spans(&request, bad, spans, 2);
    otlp_resource_spans(&request, NULL, spans + 2, 1);
    struct ut_walk_report report;
    struct ut_batch *batch = otlp_batch_of(&pool, request.data, request.size, &report, NULL);
    cr_expect_eq(report.left_out, 2, "each counts once");
    cr_assert_eq(batch->spans, 1);
    cr_expect(batch->first->resources[0].flags & UT_RESOURCE_LEFT_OUT);
    cr_expect_eq(batch->first->newest_end_ns, 7);
    ut_batch_unref(batch);
}

/* ---- what does not parse
 * ------------------------------------------------------------------------- */

Test(walk, names_the_offset_in_the_request)
{
    static const uint8_t start[] = {1, 2, 3}; /* what stands before the request in the segment */
    otlp_uint(&request, 50, 7);
    otlp_raw(&request, "\x0a\x02\x08\x01", 4); /* resource as varint */
    struct ut_segment *segment = ut_segment_new(&pool, 64);
    cr_assert_eq(ut_segment_append(&segment, ut_slice_of(start, sizeof(start))), 0);
    cr_assert_eq(ut_segment_append(&segment, ut_slice_of(request.data, request.size)), 0);
    struct ut_batch *batch = ut_batch_new(&pool, segment);
    batch->first->start = sizeof(start);
    struct ut_walk_report report;
    cr_assert_eq(ut_walk(batch->first, &report), -EBADMSG);
    cr_expect_eq(report.offset, 5, "%u", report.offset);
    cr_expect_not_null(strstr(report.error, "wire type"));
    ut_batch_unref(batch);
}

Test(walk, a_body_of_nothing_but_tiny_messages_has_a_small_index)
{
    enum { COUNT = 200000 };
    struct otlp_bytes scope = {0};
    for (int i = 0; i < COUNT; i++)
        otlp_raw(&scope, "\x12\x00", 2);
    otlp_span(&scope, &(struct otlp_span){.trace_id = 1, .span_id = 2});
    size_t resource_spans = otlp_begin(&request, 1);
    otlp_data(&request, 2, scope.data, scope.size);
    otlp_end(&request, resource_spans);
    for (int i = 0; i < COUNT; i++)
        otlp_raw(&request, "\x0a\x00", 2);
    struct ut_walk_report report;
    struct ut_batch *batch = otlp_batch_of(&pool, request.data, request.size, &report, NULL);
    cr_assert_not_null(batch);
    cr_expect_eq(report.left_out, COUNT);
    cr_expect_eq(batch->spans, 1);
    cr_expect_eq(batch->first->span_count, 2);
    cr_expect_leq(batch->first->arena.bytes, 2 * request.size, "%zu", batch->first->arena.bytes);
    ut_batch_unref(batch);
    otlp_free(&scope);
}

Test(walk, many_small_spans_after_a_large_one_find_room)
{
    enum { COUNT = 20000 };
    struct otlp_span *spans = calloc(COUNT, sizeof(*spans));
    char *name = calloc(1, 100000);
    cr_assert(spans != NULL && name != NULL);
    memset(name, 'x', 99999);
    for (unsigned i = 0; i < COUNT; i++)
        spans[i] = (struct otlp_span){.trace_id = 1, .span_id = i + 1, .end_ns = i};
    spans[0].name = name;
    otlp_resource_spans(&request, NULL, spans, COUNT);
    struct ut_batch *batch = otlp_batch(&pool, &request);
    cr_assert_eq(batch->spans, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert_eq(batch->first->spans[i].end_ns, i);
    ut_batch_unref(batch);
    free(spans);
    free(name);
}

/* ---- claims and forgeries
 * -------------------------------------------------------------------------- */

Test(walk, reads_the_claims_of_a_resource)
{
    struct otlp_attribute attributes[] = {
        {"service.name", "first", 0},      {"service.namespace", "shop", 0},
        {"service.instance.id", "i-1", 0}, {"container.id", "c0ffee", 0},
        {"k8s.pod.uid", NULL, 5},          {"service.name", "orders", 0},
        {"service.names", "no", 0},        {0}};
    struct otlp_span span = {.trace_id = 1, .span_id = 1};
    otlp_resource_spans(&request, attributes, &span, 1);
    struct ut_batch *batch = otlp_batch(&pool, &request);
    const struct ut_claims *claims = &batch->first->resources[0].claims;
    cr_expect(ut_slice_equal(claims->service_name, UT_SLICE("orders")), "the last one wins");
    cr_expect(ut_slice_equal(claims->service_namespace, UT_SLICE("shop")));
    cr_expect(ut_slice_equal(claims->service_instance_id, UT_SLICE("i-1")));
    cr_expect(ut_slice_equal(claims->container_id, UT_SLICE("c0ffee")));
    cr_expect_eq(claims->pod_uid.size, 0, "a number is no uid");
    cr_expect_eq(batch->first->resources[0].flags, 0);
    ut_batch_unref(batch);
}

Test(walk, the_last_value_of_a_claim_counts_whatever_its_type)
{
    size_t resource_spans = otlp_begin(&request, 1);
    size_t resource = otlp_begin(&request, 1);
    size_t attribute = otlp_begin_attribute(&request, 1, "service.name");
    size_t any = otlp_begin(&request, 2);
    otlp_text(&request, 1, "orders");
    otlp_uint(&request, 3, 5);
    otlp_end(&request, any);
    otlp_end(&request, attribute);
    otlp_end(&request, resource);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 1});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    struct ut_batch *batch = otlp_batch(&pool, &request);
    cr_expect_eq(batch->first->resources[0].claims.service_name.size, 0);
    ut_batch_unref(batch);
}

Test(walk, several_resource_messages_are_one)
{
    size_t resource_spans = otlp_begin(&request, 1);
    size_t resource = otlp_begin(&request, 1);
    otlp_text_attribute(&request, 1, "service.name", "orders");
    otlp_text_attribute(&request, 1, "undertrace.cgroup.path", "/forged");
    otlp_end(&request, resource);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 1});
    otlp_end(&request, scope_spans);
    resource = otlp_begin(&request, 1);
    otlp_text_attribute(&request, 1, "container.id", "c0ffee");
    otlp_end(&request, resource);
    otlp_end(&request, resource_spans);
    struct ut_batch *batch = otlp_batch(&pool, &request);
    const struct ut_resource *row = &batch->first->resources[0];
    cr_expect(ut_slice_equal(row->claims.service_name, UT_SLICE("orders")));
    cr_expect(ut_slice_equal(row->claims.container_id, UT_SLICE("c0ffee")));
    cr_expect_eq(row->flags, UT_RESOURCE_FORGED);
    cr_expect_eq(row->resource_end, row->end, "the last one");
    ut_batch_unref(batch);
}

static uint8_t flags_with(const char *key, const char *event, const char *event_key)
{
    struct otlp_bytes more = {0};
    struct otlp_attribute attributes[] = {{event_key, "x", 0}, {0}};
    if (key != NULL)
        otlp_text_attribute(&more, 9, key, "x");
    if (event != NULL)
        otlp_event(&more, event, 1, attributes);
    request.size = 0;
    struct ut_batch *batch = batch_with(&more);
    uint8_t flags = batch->first->spans[0].flags;
    ut_batch_unref(batch);
    otlp_free(&more);
    return flags;
}

Test(walk, flags_what_only_undertrace_may_write)
{
    cr_expect_eq(flags_with("undertrace.tcp.match", NULL, NULL), UT_SPAN_FORGED);
    cr_expect_eq(flags_with("undertrace.", NULL, NULL), UT_SPAN_FORGED);
    cr_expect_eq(flags_with("undertrace", NULL, NULL), 0);
    cr_expect_eq(flags_with("Undertrace.tcp.match", NULL, NULL), 0);
    cr_expect_eq(flags_with(NULL, "tcp.retransmit", "undertrace.match"), UT_SPAN_FORGED);
    cr_expect_eq(flags_with(NULL, "memory.oom_kill", "undertrace.match"), UT_SPAN_FORGED);
    cr_expect_eq(flags_with(NULL, "tcp.retransmit", "other"), 0, "anybody may use the name");
    cr_expect_eq(flags_with(NULL, "exception", "undertrace.match"), 0);
}

Test(walk, an_event_goes_by_its_last_name)
{
    struct otlp_bytes more = {0};
    static const char *const names[][2] = {{"tcp.reset", "other"}, {"other", "tcp.reset"}};
    for (int i = 0; i < 2; i++) {
        more.size = request.size = 0;
        size_t event = otlp_begin(&more, 11);
        otlp_text(&more, 2, names[i][0]);
        otlp_text_attribute(&more, 3, "undertrace.match", "exact");
        otlp_text(&more, 2, names[i][1]);
        otlp_end(&more, event);
        struct ut_batch *batch = batch_with(&more);
        cr_expect_eq(batch->first->spans[0].flags, i == 0 ? 0 : UT_SPAN_FORGED);
        ut_batch_unref(batch);
    }
    otlp_free(&more);
}

Test(walk, flags_a_forged_key_in_an_unusual_shape)
{
    struct otlp_bytes more = {0};
    size_t attribute = otlp_begin(&more, 9);
    otlp_data(&more, 2, NULL, 0);
    otlp_text(&more, 1, "harmless");
    otlp_text(&more, 1, "undertrace.partial");
    otlp_end(&more, attribute);
    struct ut_batch *batch = batch_with(&more);
    cr_expect_neq(batch->first->spans[0].flags & UT_SPAN_FORGED, 0);
    ut_batch_unref(batch);
    otlp_free(&more);
}

/* Text of every length, with the fault at every place: the steps of 16, 8 and 4 bytes overlap. */
Test(walk, finds_the_bad_byte_of_a_string_wherever_it_is)
{
    for (size_t size = 1; size <= 80; size++) {
        for (size_t at = 0; at <= size; at++) {
            char text[96] = {0};
            memset(text, 'a', size);
            if (at < size)
                text[at] = (char)0xff;
            struct otlp_attribute attributes[] = {{"key", text, 0}, {0}};
            struct otlp_span span = {.trace_id = 1, .span_id = 1, .name = text};
            struct otlp_span other = {.trace_id = 1, .span_id = 1, .attributes = attributes};
            request.size = 0;
            otlp_resource_spans(&request, NULL, &span, 1);
            otlp_resource_spans(&request, NULL, &other, 1);
            struct ut_batch *batch = otlp_batch(&pool, &request);
            cr_assert_eq(batch->spans, at < size ? 0 : 2, "size %zu at %zu", size, at);
            ut_batch_unref(batch);
        }
    }
}
