/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as Zipkin's JSON. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "otlp_builder.h"
#include "zipkin_exporter/spans.h"

static struct ut_pool pool;
static struct ut_blocks out;
static struct otlp_bytes span, resource, scope, text;

static void set_up(void)
{
    ut_pool_init(&pool, 0);
    ut_blocks_init(&out, &pool);
    span = resource = scope = text = (struct otlp_bytes){0};
    otlp_data(&span, 1, "\x5b\x8e\xff\xf7\x98\x03\x81\x03\xd2\x69\xb6\x33\x81\x3f\xc6\x0c", 16);
    otlp_data(&span, 2, "\xee\xe1\x9b\x7e\xc3\xc1\xb1\x74", 8);
}

static void tear_down(void)
{
    ut_blocks_done(&out);
    otlp_free(&span);
    otlp_free(&resource);
    otlp_free(&scope);
    otlp_free(&text);
    cr_assert_eq(pool.in_use, 0);
    ut_pool_done(&pool);
}

TestSuite(zipkin, .init = set_up, .fini = tear_down);

#define HEAD "[{\"traceId\":\"5b8efff798038103d269b633813fc60c\",\"id\":\"eee19b7ec3c1b174\""

/* The text of a request with `count` times the span. */
static const char *write_spans(unsigned count)
{
    static const struct ut_zipkin_options options = {.default_service_name = {(void *)"nobody", 6}};
    struct otlp_bytes request = {0};
    size_t of_resource = otlp_begin(&request, 1);
    otlp_data(&request, 1, resource.data, resource.size);
    size_t of_scope = otlp_begin(&request, 2);
    otlp_data(&request, 1, scope.data, scope.size);
    while (count-- > 0)
        otlp_data(&request, 2, span.data, span.size);
    otlp_end(&request, of_scope);
    otlp_end(&request, of_resource);
    ut_zipkin_write(&out, ut_slice_of(request.data, request.size), &options);
    otlp_free(&request);
    const struct iovec *runs;
    int runs_count = ut_blocks_runs(&out, &runs);
    cr_assert_geq(runs_count, 1);
    text.size = 0;
    for (int i = 0; i < runs_count; i++)
        otlp_raw(&text, runs[i].iov_base, runs[i].iov_len);
    otlp_byte(&text, 0);
    return (const char *)text.data;
}

static void expect(const char *wanted)
{
    cr_expect_str_eq(write_spans(1), wanted);
}

static void expect_part(const char *wanted)
{
    const char *written = write_spans(1);
    cr_expect(strstr(written, wanted) != NULL, "%s has no %s", written, wanted);
}

static void expect_no(const char *unwanted)
{
    const char *written = write_spans(1);
    cr_expect(strstr(written, unwanted) == NULL, "%s has %s", written, unwanted);
}

Test(zipkin, span_of_nothing_but_ids)
{
    expect(HEAD ",\"name\":\"\",\"localEndpoint\":{\"serviceName\":\"nobody\"}}]");
}

Test(zipkin, whole_span)
{
    otlp_text_attribute(&resource, 1, "service.name", "shop");
    otlp_text_attribute(&resource, 1, "container.id", "c1");
    otlp_text(&scope, 1, "lib");
    otlp_text(&scope, 2, "1.2");
    otlp_text(&span, 3, "a=b");
    otlp_data(&span, 4, "\1\2\3\4\5\6\7\x8", 8);
    otlp_text(&span, 5, "GET \"/\"");
    otlp_uint(&span, 6, 3);
    otlp_fixed64(&span, 7, UINT64_C(1700000000123456789));
    otlp_fixed64(&span, 8, UINT64_C(1700000000125459999));
    otlp_int_attribute(&span, 9, "http.status", 200);
    otlp_text_attribute(&span, 9, "peer.service", "ledger");
    otlp_text_attribute(&span, 9, "network.peer.address", "10.0.0.7");
    otlp_int_attribute(&span, 9, "network.peer.port", 5432);
    expect(HEAD
           ",\"parentId\":\"0102030405060708\",\"name\":\"GET \\\"/\\\"\",\"kind\":\"CLIENT\","
           "\"timestamp\":1700000000123456,\"duration\":2003,"
           "\"localEndpoint\":{\"serviceName\":\"shop\"},"
           "\"remoteEndpoint\":{\"serviceName\":\"ledger\",\"ipv4\":\"10.0.0.7\",\"port\":5432},"
           "\"tags\":{\"w3c.tracestate\":\"a=b\",\"otel.library.version\":\"1.2\","
           "\"otel.scope.version\":\"1.2\",\"otel.library.name\":\"lib\","
           "\"otel.scope.name\":\"lib\",\"network.peer.port\":\"5432\","
           "\"network.peer.address\":\"10.0.0.7\",\"peer.service\":\"ledger\","
           "\"http.status\":\"200\",\"container.id\":\"c1\"}}]");
}

Test(zipkin, several_spans_are_an_array)
{
    const char *written = write_spans(3);
    unsigned count = 0;
    for (const char *at = written; (at = strstr(at, "traceId")) != NULL; at++)
        count++;
    cr_expect_eq(count, 3);
    cr_expect(strstr(written, "}},{\"traceId\"") != NULL ||
              strstr(written, "\"}},{\"traceId\"") != NULL);
    ut_blocks_done(&out);
    cr_expect_str_eq(write_spans(0), "[]");
}

Test(zipkin, error_of_the_status_is_the_tag_error)
{
    otlp_bool_attribute(&span, 9, "error", 0);
    size_t status = otlp_begin(&span, 15);
    otlp_text(&span, 2, "it broke");
    otlp_uint(&span, 3, 2);
    otlp_end(&span, status);
    expect_part("\"tags\":{\"error\":\"it broke\",\"otel.status_code\":\"ERROR\"}");
}

Test(zipkin, error_that_is_none_is_no_tag)
{
    otlp_bool_attribute(&span, 9, "error", 0);
    otlp_text_attribute(&span, 9, "error", "false");
    size_t status = otlp_begin(&span, 15);
    otlp_uint(&span, 3, 1);
    otlp_end(&span, status);
    expect_part("\"tags\":{\"otel.status_code\":\"OK\"}");
}

Test(zipkin, error_without_words_is_an_empty_tag)
{
    size_t status = otlp_begin(&span, 15);
    otlp_uint(&span, 3, 2);
    otlp_end(&span, status);
    expect_part("\"error\":\"\"");
}

Test(zipkin, key_comes_once_and_the_span_wins)
{
    otlp_text_attribute(&resource, 1, "k", "resource");
    otlp_text_attribute(&span, 9, "k", "first");
    otlp_text_attribute(&span, 9, "k", "last");
    expect_part("\"tags\":{\"k\":\"last\"}");
}

Test(zipkin, many_tags_come_once_each)
{
    enum { TAGS = 1000 };
    char key[16];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < TAGS; i++) {
            (void)snprintf(key, sizeof(key), "key %d", i);
            otlp_int_attribute(&span, 9, key, i);
        }
    }
    const char *written = write_spans(1);
    unsigned count = 0;
    for (const char *at = written; (at = strstr(at, "\"key ")) != NULL; at++)
        count++;
    cr_expect_eq(count, TAGS);
}

Test(zipkin, values_become_text)
{
    size_t attribute = otlp_begin_attribute(&span, 9, "list");
    size_t any = otlp_begin(&span, 2), array = otlp_begin(&span, 5);
    size_t one = otlp_begin(&span, 1);
    otlp_text(&span, 1, "a\"b");
    otlp_end(&span, one);
    one = otlp_begin(&span, 1);
    otlp_uint(&span, 3, 7);
    otlp_end(&span, one);
    otlp_end(&span, array);
    otlp_end(&span, any);
    otlp_end(&span, attribute);
    attribute = otlp_begin_attribute(&span, 9, "bytes");
    any = otlp_begin(&span, 2);
    otlp_data(&span, 7, "\xff\xfe", 2);
    otlp_end(&span, any);
    otlp_end(&span, attribute);
    attribute = otlp_begin_attribute(&span, 9, "half");
    any = otlp_begin(&span, 2);
    otlp_fixed64(&span, 4, UINT64_C(0x3fe0000000000000));
    otlp_end(&span, any);
    otlp_end(&span, attribute);
    otlp_bool_attribute(&span, 9, "yes", 1);
    expect_part("\"tags\":{\"yes\":\"true\",\"half\":\"0.5\",\"bytes\":\"//4=\","
                "\"list\":\"[\\\"a\\\\\\\"b\\\",7]\"}");
}

Test(zipkin, events_are_annotations)
{
    size_t event = otlp_begin(&span, 11);
    otlp_fixed64(&span, 1, 1500);
    otlp_text(&span, 2, "plain");
    otlp_end(&span, event);
    event = otlp_begin(&span, 11);
    otlp_fixed64(&span, 1, 2500);
    otlp_text(&span, 2, "tcp.retransmit");
    otlp_int_attribute(&span, 3, "bytes", 100);
    otlp_end(&span, event);
    expect_part("\"annotations\":[{\"timestamp\":1,\"value\":\"plain\"},{\"timestamp\":2,\"value\":"
                "\"\\\"tcp.retransmit\\\": {\\\"bytes\\\":100}\"}]");
}

Test(zipkin, links_are_tags)
{
    size_t link = otlp_begin(&span, 13);
    otlp_data(&span, 1, "tttttttttttttttt", 16);
    otlp_data(&span, 2, "ssssssss", 8);
    otlp_text(&span, 3, "x=y");
    otlp_bool_attribute(&span, 4, "b", 0);
    otlp_end(&span, link);
    expect_part("\"otlp.link.0\":\"74747474747474747474747474747474|7373737373737373|x=y|"
                "{\\\"b\\\":false}|0\"");
}

Test(zipkin, what_was_dropped_is_counted)
{
    otlp_uint(&span, 10, 4000000000U);
    otlp_uint(&span, 12, 2);
    otlp_uint(&span, 14, 3);
    expect_part("\"otel.dropped_links_count\":\"3\",\"otel.dropped_events_count\":\"2\","
                "\"otel.dropped_attributes_count\":\"4000000000\"");
}

Test(zipkin, only_who_calls_names_the_remote_end)
{
    otlp_text_attribute(&span, 9, "server.address", "me.example");
    otlp_text_attribute(&span, 9, "net.peer.ip", "2001:db8::1");
    otlp_text_attribute(&span, 9, "net.peer.port", "80");
    otlp_uint(&span, 6, 2);
    expect_part("\"kind\":\"SERVER\"");
    ut_blocks_done(&out);
    expect_part("\"remoteEndpoint\":{\"ipv6\":\"2001:db8::1\",\"port\":80}");
    ut_blocks_done(&out);
    otlp_uint(&span, 6, 4);
    expect_part("\"remoteEndpoint\":{\"serviceName\":\"me.example\",\"ipv6\":\"2001:db8::1\"");
}

Test(zipkin, names_are_no_addresses)
{
    otlp_text_attribute(&span, 9, "network.peer.address", "host.example");
    otlp_int_attribute(&span, 9, "network.peer.port", 99999);
    expect_no("remoteEndpoint");
}

Test(zipkin, span_shorter_than_a_microsecond_has_one)
{
    otlp_fixed64(&span, 7, 5000);
    otlp_fixed64(&span, 8, 5001);
    expect_part("\"timestamp\":5,\"duration\":1");
}
