/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as Jaeger's PostSpansRequest. */
#include <criterion/criterion.h>

#include "api_v2.pb-c.h"
#include "jaeger_grpc_exporter/spans.h"
#include "otlp_builder.h"

typedef Jaeger__ApiV2__PostSpansRequest request_t;
typedef Jaeger__ApiV2__KeyValue tag_t;

static struct ut_pool pool;
static struct otlp_bytes span, resource, scope, request;
static request_t *decoded;

static void set_up(void)
{
    ut_pool_init(&pool, 0);
    span = resource = scope = request = (struct otlp_bytes){0};
    decoded = NULL;
    otlp_data(&span, 1, "tttttttttttttttt", 16);
    otlp_data(&span, 2, "ssssssss", 8);
}

static void tear_down(void)
{
    if (decoded != NULL)
        jaeger__api_v2__post_spans_request__free_unpacked(decoded, NULL);
    otlp_free(&span);
    otlp_free(&resource);
    otlp_free(&scope);
    otlp_free(&request);
    cr_assert_eq(pool.in_use, 0);
    ut_pool_done(&pool);
}

TestSuite(jaeger_grpc, .init = set_up, .fini = tear_down);

/* Adds a ResourceSpans with the span, and forgets Resource and scope. */
static void add(void)
{
    size_t of_resource = otlp_begin(&request, 1);
    otlp_data(&request, 1, resource.data, resource.size);
    size_t of_scope = otlp_begin(&request, 2);
    otlp_data(&request, 1, scope.data, scope.size);
    otlp_data(&request, 2, span.data, span.size);
    otlp_end(&request, of_scope);
    otlp_end(&request, of_resource);
    resource.size = scope.size = 0;
}

static Jaeger__ApiV2__Span *write_span(void)
{
    add();
    struct ut_segment *segment = ut_jaeger_write(ut_slice_of(request.data, request.size), &pool);
    cr_assert_not_null(segment);
    decoded = jaeger__api_v2__post_spans_request__unpack(NULL, segment->size, segment->data);
    cr_assert_not_null(decoded);
    ut_segment_unref(segment);
    cr_assert_geq(decoded->batch->n_spans, 1);
    return decoded->batch->spans[0];
}

static bool is(ProtobufCBinaryData bytes, const char *text)
{
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

static const tag_t *find(tag_t **tags, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (is(tags[i]->key, key))
            return tags[i];
    }
    cr_assert_fail("no tag %s", key);
    return NULL;
}

Test(jaeger_grpc, span_has_its_ids_times_and_parent)
{
    otlp_data(&span, 4, "pppppppp", 8);
    otlp_text(&span, 5, "GET /");
    otlp_fixed64(&span, 7, UINT64_C(1700000000123456789));
    otlp_fixed64(&span, 8, UINT64_C(1700000002000000000));
    otlp_fixed32(&span, 16, 0x101);
    const Jaeger__ApiV2__Span *out = write_span();
    cr_expect(is(out->trace_id, "tttttttttttttttt") && is(out->span_id, "ssssssss"));
    cr_expect(is(out->operation_name, "GET /"));
    cr_expect(out->start_time->seconds == 1700000000 && out->start_time->nanos == 123456789);
    cr_expect(out->duration->seconds == 1 && out->duration->nanos == 876543211);
    cr_expect_eq(out->flags, 1);
    cr_assert_eq(out->n_references, 1);
    cr_expect(is(out->references[0]->span_id, "pppppppp"));
    cr_expect(is(out->references[0]->trace_id, "tttttttttttttttt"));
    cr_expect_eq(out->references[0]->ref_type, JAEGER__API_V2__SPAN_REF_TYPE__CHILD_OF);
}

Test(jaeger_grpc, span_that_ends_before_it_begins_lasts_for_nothing)
{
    otlp_fixed64(&span, 7, 2000);
    otlp_fixed64(&span, 8, 1000);
    const Jaeger__ApiV2__Span *out = write_span();
    cr_expect(out->duration->seconds == 0 && out->duration->nanos == 0);
}

Test(jaeger_grpc, attributes_keep_their_types)
{
    otlp_text_attribute(&span, 9, "text", "t");
    otlp_int_attribute(&span, 9, "int", -5);
    otlp_bool_attribute(&span, 9, "bool", 1);
    size_t attribute = otlp_begin_attribute(&span, 9, "double");
    size_t any = otlp_begin(&span, 2);
    otlp_fixed64(&span, 4, UINT64_C(0x3fe0000000000000));
    otlp_end(&span, any);
    otlp_end(&span, attribute);
    attribute = otlp_begin_attribute(&span, 9, "bytes");
    any = otlp_begin(&span, 2);
    otlp_data(&span, 7, "\0\1", 2);
    otlp_end(&span, any);
    otlp_end(&span, attribute);
    attribute = otlp_begin_attribute(&span, 9, "list");
    any = otlp_begin(&span, 2);
    size_t array = otlp_begin(&span, 5), one = otlp_begin(&span, 1);
    otlp_text(&span, 1, "a");
    otlp_end(&span, one);
    otlp_end(&span, array);
    otlp_end(&span, any);
    otlp_end(&span, attribute);
    otlp_data(&span, 9, "\x0a\x04none", 6);
    const Jaeger__ApiV2__Span *out = write_span();
    cr_assert_eq(out->n_tags, 7);
    cr_expect(is(find(out->tags, 7, "text")->v_str, "t"));
    cr_expect_eq(find(out->tags, 7, "int")->v_int64, -5);
    cr_expect_eq(find(out->tags, 7, "int")->v_type, JAEGER__API_V2__VALUE_TYPE__INT64);
    cr_expect(find(out->tags, 7, "bool")->v_bool);
    cr_expect_eq(find(out->tags, 7, "double")->v_float64, 0.5);
    cr_expect_eq(find(out->tags, 7, "bytes")->v_binary.len, 2);
    cr_expect_eq(find(out->tags, 7, "bytes")->v_type, JAEGER__API_V2__VALUE_TYPE__BINARY);
    cr_expect(is(find(out->tags, 7, "list")->v_str, "[\"a\"]"));
    cr_expect_eq(find(out->tags, 7, "none")->v_str.len, 0);
}

Test(jaeger_grpc, kind_status_scope_and_state_are_tags)
{
    otlp_text(&scope, 1, "lib");
    otlp_text(&scope, 2, "1.2");
    otlp_text_attribute(&scope, 3, "of scope", "x");
    otlp_text(&span, 3, "a=b");
    otlp_uint(&span, 6, 3);
    otlp_uint(&span, 12, 4);
    size_t status = otlp_begin(&span, 15);
    otlp_text(&span, 2, "it broke");
    otlp_uint(&span, 3, 2);
    otlp_end(&span, status);
    const Jaeger__ApiV2__Span *out = write_span();
    size_t n = out->n_tags;
    cr_expect_eq(n, 9);
    cr_expect(is(find(out->tags, n, "span.kind")->v_str, "client"));
    cr_expect(is(find(out->tags, n, "otel.status_code")->v_str, "ERROR"));
    cr_expect(is(find(out->tags, n, "otel.status_description")->v_str, "it broke"));
    cr_expect(find(out->tags, n, "error")->v_bool);
    cr_expect(is(find(out->tags, n, "otel.scope.name")->v_str, "lib"));
    cr_expect(is(find(out->tags, n, "otel.scope.version")->v_str, "1.2"));
    cr_expect(is(find(out->tags, n, "of scope")->v_str, "x"));
    cr_expect(is(find(out->tags, n, "w3c.tracestate")->v_str, "a=b"));
    cr_expect_eq(find(out->tags, n, "otel.dropped_events_count")->v_int64, 4);
}

Test(jaeger_grpc, events_are_logs_and_links_follow)
{
    size_t event = otlp_begin(&span, 11);
    otlp_fixed64(&span, 1, UINT64_C(3000000007));
    otlp_text(&span, 2, "tcp.retransmit");
    otlp_int_attribute(&span, 3, "bytes", 100);
    otlp_end(&span, event);
    size_t link = otlp_begin(&span, 13);
    otlp_data(&span, 1, "uuuuuuuuuuuuuuuu", 16);
    otlp_data(&span, 2, "llllllll", 8);
    otlp_end(&span, link);
    const Jaeger__ApiV2__Span *out = write_span();
    cr_assert(out->n_logs == 1 && out->n_references == 1);
    const Jaeger__ApiV2__Log *log = out->logs[0];
    cr_expect(log->timestamp->seconds == 3 && log->timestamp->nanos == 7);
    cr_expect(is(find(log->fields, log->n_fields, "event")->v_str, "tcp.retransmit"));
    cr_expect_eq(find(log->fields, log->n_fields, "bytes")->v_int64, 100);
    cr_expect(is(out->references[0]->span_id, "llllllll"));
    cr_expect_eq(out->references[0]->ref_type, JAEGER__API_V2__SPAN_REF_TYPE__FOLLOWS_FROM);
}

Test(jaeger_grpc, each_span_has_the_process_of_its_resource)
{
    otlp_text_attribute(&resource, 1, "service.name", "one");
    otlp_text_attribute(&resource, 1, "container.id", "c1");
    add();
    otlp_text_attribute(&resource, 1, "service.name", "two");
    add();
    (void)write_span();
    const Jaeger__ApiV2__Batch *batch = decoded->batch;
    cr_assert_eq(batch->n_spans, 3);
    cr_expect(is(batch->process->service_name, "one"));
    cr_expect(is(find(batch->process->tags, batch->process->n_tags, "container.id")->v_str, "c1"));
    cr_expect_null(batch->spans[0]->process);
    cr_expect(is(batch->spans[1]->process->service_name, "two"));
    cr_expect(is(batch->spans[2]->process->service_name, "unknown_service"));
}

Test(jaeger_grpc, texts_with_a_nul_are_whole)
{
    otlp_data(&span, 5, "a\0b", 3);
    const Jaeger__ApiV2__Span *out = write_span();
    cr_expect_eq(out->operation_name.len, 3);
}

Test(jaeger_grpc, many_spans_and_tags)
{
    enum { TAGS = 500, SPANS = 300 };
    for (int i = 0; i < TAGS; i++)
        otlp_int_attribute(&span, 9, "k", i);
    for (int i = 1; i < SPANS; i++)
        add();
    (void)write_span();
    cr_expect_eq(decoded->batch->n_spans, SPANS);
    cr_expect_eq(decoded->batch->spans[SPANS - 1]->n_tags, TAGS);
    cr_expect_eq(decoded->batch->spans[SPANS - 1]->tags[TAGS - 1]->v_int64, TAGS - 1);
}
