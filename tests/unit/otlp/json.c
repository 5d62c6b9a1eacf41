/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "otlp/json.h"
#include "otlp_batch.h"
#include "otlp_json.h"

enum { ROUNDS = 3000 };

static struct ut_pool pool;
static struct otlp_bytes want, json;
static const struct ut_writer_limits FREE = {.bytes_max = (size_t)16 << 20};

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)8 << 20);
    want = json = (struct otlp_bytes){0};
}

static void tear_down(void)
{
    otlp_free(&want);
    otlp_free(&json);
    ut_pool_done(&pool);
}

TestSuite(json, .init = set_up, .fini = tear_down);

/* The bytes alone in their memory, so that a look behind them is seen. */
static int convert(const void *data, size_t size, struct ut_segment **ret,
                   struct ut_json_report *report)
{
    uint8_t *alone = malloc(size > 0 ? size : 1);
    cr_assert_not_null(alone);
    if (size > 0)
        memcpy(alone, data, size);
    int error = ut_json_to_wire(ut_slice_of(alone, size), &pool, &FREE, ret, report);
    if (error == 0)
        cr_assert_leq((*ret)->size, size + size / 4096 + 16);
    else if (error == -EBADMSG)
        cr_assert(report->offset <= size && report->error != NULL);
    free(alone);
    return error;
}

/* White space behind the request: the fast ways are only taken well before the end. */
#define PADDING "                                                                "

static void expect_bytes(const char *text, size_t size)
{
    struct ut_segment *segment = NULL;
    struct ut_json_report report;
    int error = convert(text, size, &segment, &report);
    cr_expect_eq(error, 0, "%s: %s at %zu", text, report.error, report.offset);
    if (error == 0) {
        cr_expect(ut_slice_equal(ut_slice_of(segment->data, segment->size),
                                 ut_slice_of(want.data, want.size)),
                  "%s: other bytes", text);
        ut_segment_unref(segment);
    }
}

/* `text` must become what `want` holds, in the middle of its memory and at the end. */
static void expect(const char *text)
{
    char padded[4000];
    int size = snprintf(padded, sizeof(padded), "%s" PADDING, text);
    cr_assert_lt(size, (int)sizeof(padded));
    expect_bytes(padded, strlen(text));
    expect_bytes(padded, (size_t)size);
    want.size = 0;
}

/* … with what stands for the members of one span. */
static void expect_span(const char *members)
{
    struct otlp_bytes text = {0};
    static const char before[] = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{",
                      after[] = "}]}]}]}";
    otlp_raw(&text, before, sizeof(before) - 1);
    otlp_raw(&text, members, strlen(members));
    otlp_raw(&text, after, sizeof(after));
    struct otlp_bytes span = want;
    want = (struct otlp_bytes){0};
    size_t resource_spans = otlp_begin(&want, 1), scope_spans = otlp_begin(&want, 2);
    otlp_data(&want, 2, span.data, span.size);
    otlp_end(&want, scope_spans);
    otlp_end(&want, resource_spans);
    expect((const char *)text.data);
    otlp_free(&span);
    otlp_free(&text);
}

/* … with the value of its one attribute, which `want` holds as an AnyValue. */
static void expect_value(const char *value)
{
    struct otlp_bytes text = {0};
    static const char before[] = "\"attributes\":[{\"value\":", after[] = "}]";
    otlp_raw(&text, before, sizeof(before) - 1);
    otlp_raw(&text, value, strlen(value));
    otlp_raw(&text, after, sizeof(after));
    struct otlp_bytes any = want;
    want = (struct otlp_bytes){0};
    size_t attribute = otlp_begin(&want, 9);
    otlp_data(&want, 2, any.data, any.size);
    otlp_end(&want, attribute);
    expect_span((const char *)text.data);
    otlp_free(&any);
    otlp_free(&text);
}

static void expect_double(const char *text, double value)
{
    uint64_t bits;
    char member[500];
    memcpy(&bits, &value, sizeof(bits));
    otlp_fixed64(&want, 4, bits);
    (void)snprintf(member, sizeof(member), "{\"doubleValue\":%s}", text);
    expect_value(member);
}

static void expect_int(const char *text, int64_t value)
{
    char member[500];
    otlp_uint(&want, 3, (uint64_t)value);
    (void)snprintf(member, sizeof(member), "{\"intValue\":%s}", text);
    expect_value(member);
}

/* `text` as an intValue, which comes out as a double. */
static void expect_wide(const char *text, double value)
{
    uint64_t bits;
    char member[500];
    memcpy(&bits, &value, sizeof(bits));
    otlp_fixed64(&want, 4, bits);
    (void)snprintf(member, sizeof(member), "{\"intValue\":%s}", text);
    expect_value(member);
}

static void expect_name(const char *text, const char *name)
{
    char member[500];
    otlp_text(&want, 5, name);
    (void)snprintf(member, sizeof(member), "\"name\":%s", text);
    expect_span(member);
}

/* ---- the same spans, the same bytes -----------------------------------------------------------
 */

static void compare_forms(struct otlp_random *random, const struct otlp_json_style *style)
{
    want.size = json.size = 0;
    otlp_random_message(&want, random, UT_SCHEMA_REQUEST);
    otlp_json_print(&json, UT_SCHEMA_REQUEST, ut_slice_of(want.data, want.size), style);
    struct ut_segment *segment = NULL;
    struct ut_json_report report;
    uint64_t state = random->state;
    int error = convert(json.data, json.size, &segment, &report);
    cr_assert_eq(error, 0, "state %#lx: %s at %zu: %.*s", state, report.error, report.offset,
                 (int)(json.size < 2000 ? json.size : 2000), (const char *)json.data);
    cr_assert(ut_slice_equal(ut_slice_of(segment->data, segment->size),
                             ut_slice_of(want.data, want.size)),
              "state %#lx: other bytes of %.*s", state, (int)(json.size < 2000 ? json.size : 2000),
              (const char *)json.data);
    ut_segment_unref(segment);
}

Test(json, becomes_the_bytes_of_protobuf_senders)
{
    struct otlp_random random = {1};
    for (int i = 0; i < ROUNDS; i++)
        compare_forms(&random, &(struct otlp_json_style){0});
}

Test(json, members_may_come_in_any_order)
{
    struct otlp_random random = {2};
    struct otlp_json_style style = {.random = &random, .any_order = true};
    for (int i = 0; i < ROUNDS; i++)
        compare_forms(&random, &style);
}

Test(json, every_form_of_the_same_means_the_same)
{
    struct otlp_random random = {3};
    struct otlp_json_style style = {.random = &random, .any_order = true, .any_form = true};
    for (int i = 0; i < ROUNDS; i++)
        compare_forms(&random, &style);
}

/* The example of the OTLP specification's repository, in short, against bytes that no table of ours
 * has made. */
Test(json, example_of_the_specification)
{
    size_t resource_spans = otlp_begin(&want, 1), resource = otlp_begin(&want, 1);
    otlp_text_attribute(&want, 1, "service.name", "my.service");
    otlp_end(&want, resource);
    size_t scope_spans = otlp_begin(&want, 2), scope = otlp_begin(&want, 1);
    otlp_text(&want, 1, "my.library");
    otlp_text(&want, 2, "1.0.0");
    otlp_text_attribute(&want, 3, "my.scope.attribute", "some scope attribute");
    otlp_end(&want, scope);
    size_t span = otlp_begin(&want, 2);
    otlp_data(&want, 1, "\x5b\x8e\xff\xf7\x98\x03\x81\x03\xd2\x69\xb6\x33\x81\x3f\xc6\x0c", 16);
    otlp_data(&want, 2, "\xee\xe1\x9b\x7e\xc3\xc1\xb1\x74", 8);
    otlp_data(&want, 4, "\xee\xe1\x9b\x7e\xc3\xc1\xb1\x73", 8);
    otlp_text(&want, 5, "I'm a server span");
    otlp_uint(&want, 6, 2);
    otlp_fixed64(&want, 7, UINT64_C(1544712660000000000));
    otlp_fixed64(&want, 8, UINT64_C(1544712661000000000));
    otlp_text_attribute(&want, 9, "my.span.attr", "some value");
    otlp_end(&want, span);
    otlp_end(&want, scope_spans);
    otlp_end(&want, resource_spans);
    expect(
        "{\"resourceSpans\": [{\"resource\": {\"attributes\": [{\"key\": \"service.name\",\n"
        "\"value\": {\"stringValue\": \"my.service\"}}]}, \"scopeSpans\": [{\"scope\": {\"name\": "
        "\"my.library\", \"version\": \"1.0.0\", \"attributes\": [{\"key\": \"my.scope.attribute\","
        " \"value\": {\"stringValue\": \"some scope attribute\"}}]}, \"spans\": [{\"traceId\": "
        "\"5B8EFFF798038103D269B633813FC60C\", \"spanId\": \"EEE19B7EC3C1B174\", \"parentSpanId\": "
        "\"EEE19B7EC3C1B173\", \"name\": \"I'm a server span\", \"startTimeUnixNano\": "
        "\"1544712660000000000\", \"endTimeUnixNano\": \"1544712661000000000\", \"kind\": 2, "
        "\"attributes\": [{\"key\": \"my.span.attr\", \"value\": {\"stringValue\": \"some "
        "value\"}}]"
        "}]}]}]}");
}

/* ---- what is absent, twice or unknown ---------------------------------------------------------
 */

Test(json, empty_request_is_no_bytes)
{
    expect("{}");
    expect(" \r\n\t{ } ");
    expect("{\"resourceSpans\":[]}");
    expect("{\"resourceSpans\":null}");
    expect("{\"somethingElse\":[{}]}");
}

Test(json, defaults_are_not_written)
{
    expect_span("\"traceId\":\"\",\"name\":\"\",\"kind\":0,\"startTimeUnixNano\":\"0\",\"flags\":0,"
                "\"attributes\":[],\"droppedLinksCount\":0,\"traceState\":null,\"status\":null");
}

Test(json, messages_and_members_of_a_oneof_are_written_when_empty)
{
    otlp_data(&want, 15, NULL, 0);
    expect_span("\"status\":{}");
    otlp_data(&want, 1, NULL, 0);
    expect_value("{\"stringValue\":\"\"}");
    otlp_uint(&want, 2, 0);
    expect_value("{\"boolValue\":false}");
    otlp_data(&want, 7, NULL, 0);
    expect_value("{\"bytesValue\":\"\"}");
    otlp_data(&want, 5, NULL, 0);
    expect_value("{\"arrayValue\":{}}");
    otlp_data(&want, 6, NULL, 0);
    expect_value("{\"kvlistValue\":{\"values\":[]}}");
    expect_int("0", 0);
    expect_double("0", 0);
    expect_value("{}");
}

Test(json, last_of_members_with_one_name_counts)
{
    otlp_text(&want, 5, "b");
    otlp_uint(&want, 6, 3);
    expect_span("\"kind\":1,\"name\":\"a\",\"kind\":3,\"name\":\"b\"");
    otlp_text(&want, 5, "b");
    expect_span("\"attributes\":[{\"key\":\"x\"}],\"name\":\"b\",\"attributes\":[]");
    otlp_fixed64(&want, 7, 5);
    expect_span("\"startTimeUnixNano\":4,\"start_time_unix_nano\":5");
    expect_span("\"name\":\"a\",\"name\":null");
}

Test(json, last_value_of_a_oneof_counts)
{
    expect_int("1,\"stringValue\":null", 1);
    otlp_text(&want, 1, "x");
    expect_value("{\"intValue\":1,\"arrayValue\":{\"values\":[{}]},\"stringValue\":\"x\"}");
    expect_value("{\"intValue\":1,\"intValue\":null}");
}

Test(json, usual_attribute_without_a_key_has_none)
{
    size_t attribute = otlp_begin(&want, 9), any = otlp_begin(&want, 2);
    otlp_text(&want, 1, "x");
    otlp_end(&want, any);
    otlp_end(&want, attribute);
    expect_span("\"attributes\":[{\"key\":\"\",\"value\":{\"stringValue\":\"x\"}}]");
}

Test(json, unknown_members_are_skipped)
{
    otlp_text(&want, 5, "n");
    expect_span(
        "\"traceID\":1,\"name\":\"n\",\"Name\":{\"name\":[\"\\ud83d\\ude00\\n\"]},\"x\":-1e5");
}

Test(json, names_of_the_proto_file_are_known)
{
    otlp_data(&want, 4, "\x01", 1);
    otlp_uint(&want, 10, 3);
    expect_span(
        "\"parent_span_id\":\"01\",\"dropped_attributes_count\":3,\"dropped_Links_count\":1,"
        "\"span-id\":7");
}

/* ---- values ---------------------------------------------------------------------------------- */

Test(json, integers_in_every_form)
{
    expect_int("9223372036854775807", INT64_MAX);
    expect_int("\"-9223372036854775808\"", INT64_MIN);
    expect_int("-0", 0);
    expect_int("1.0", 1);
    expect_int("\"1e3\"", 1000);
    expect_int("120e-1", 12);
    expect_int("0.0000000000000000000000000000000000000000001E43", 1);
    expect_int("\"\\u0031\\u0032\"", 12);
    otlp_fixed64(&want, 7, UINT64_MAX);
    expect_span("\"startTimeUnixNano\":18446744073709551615");
    otlp_fixed64(&want, 7, UINT64_C(10000000000000000000));
    expect_span("\"startTimeUnixNano\":\"10000000000000000000\"");
    otlp_uint(&want, 6, (uint64_t)-1);
    expect_span("\"kind\":-1");
}

/* JavaScript's SDK writes all whole numbers as intValue, however large. */
Test(json, integers_that_no_int64_can_hold_are_doubles)
{
    expect_wide("9223372036854775808", 0x1p63);
    expect_wide("-9223372036854775809", -0x1p63);
    expect_wide("1e+21", 1e21);
    expect_wide("1.7976931348623157e+308", 1.7976931348623157e308);
    expect_wide("-36893488147419103000,\"stringValue\":null", -0x1p65);
    otlp_text(&want, 1, "x");
    expect_value("{\"intValue\":1e30,\"stringValue\":\"x\"}");
}

Test(json, doubles_are_the_nearest_ones)
{
    expect_double("1.5", 1.5);
    expect_double("-0", -0.0);
    expect_double("\"-0.0\"", -0.0);
    expect_double("1e22", 1e22);
    expect_double("1e23", 1e23);
    expect_double("9007199254740993", 9007199254740992.0);
    expect_double("0.1", 0.1);
    expect_double("123456789012345678901234567890123456789012345678901234567890",
                  123456789012345678901234567890123456789012345678901234567890.0);
    expect_double("2.2250738585072011e-308", 2.2250738585072011e-308);
    expect_double("5e-324", 5e-324);
    expect_double("1e-400", 0);
    expect_double("1.7976931348623157e308", 1.7976931348623157e308);
    expect_double("\"NaN\"", __builtin_nan(""));
    expect_double("\"Infinity\"", INFINITY);
    expect_double("\"-Infin\\u0069ty\"", -INFINITY);
}

Test(json, escapes_become_utf8)
{
    expect_name("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
    expect_name("\"\\u00e4\\u20AC\\uD83D\\uDE00\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    expect_name("\"\xc3\xa4 \\u0061\"", "\xc3\xa4 a");
}

Test(json, raw_bytes_that_are_not_utf8_are_left_to_the_walk)
{
    expect_name("\"a\xff\x80\"", "a\xff\x80");
}

Test(json, ids_of_a_wrong_length_are_left_to_the_walk)
{
    otlp_data(&want, 1, "\xab\xcd", 2);
    expect_span("\"traceId\":\"abCD\"");
    otlp_data(&want, 1, "\xab\xcd", 2);
    expect_span("\"traceId\":\"\\u0061bCD\"");
}

Test(json, base64_in_either_alphabet)
{
    otlp_data(&want, 7, "\xfb\xff\xfe", 3);
    expect_value("{\"bytesValue\":\"+//+\"}");
    otlp_data(&want, 7, "\xfb\xff\xfe", 3);
    expect_value("{\"bytesValue\":\"-\\/_-\"}");
    otlp_data(&want, 7, "ab", 2);
    expect_value("{\"bytesValue\":\"YWI=\"}");
    otlp_data(&want, 7, "a", 1);
    expect_value("{\"bytesValue\":\"YQ\"}");
}

/* ---- what is refused --------------------------------------------------------------------------
 */

static const struct bad {
    const char *json;
    size_t offset;
} BAD[] = {
    {"", 0},
    {"   ", 3},
    {"[]", 0},
    {"null", 0},
    {"\xef\xbb\xbf{}", 0},
    {"{", 1},
    {"{}x", 2},
    {"{}{}", 2},
    {"{,}", 1},
    {"{\"a\":1,}", 7},
    {"{\"a\"}", 4},
    {"{\"a\":}", 5},
    {"{\"a\" 1}", 5},
    {"{\"a\":1 \"b\":2}", 7},
    {"{a:1}", 1},
    {"{'a':1}", 1},
    {"{\"a:1}", 6},
    {"{\"a\\", 3},
    {"{\"a\":[1,]}", 8},
    {"{\"a\":[1 2]}", 8},
    {"{\"a\":[1}}", 7},
    {"{\"a\":{]}", 6},
    {"{\"a\":01}", 5},
    {"{\"a\":+1}", 5},
    {"{\"a\":1.}", 5},
    {"{\"a\":.5}", 5},
    {"{\"a\":-}", 5},
    {"{\"a\":1e}", 5},
    {"{\"a\":NaN}", 5},
    {"{\"a\":nul}", 5},
    {"{\"a\":True}", 5},
    {"{\"a\":\"\t\"}", 6},
    {"{\"a\":\"\\x41\"}", 6},
    {"{\"a\":\"\\u12g4\"}", 6},
    {"{\"a\":\"\\ud800\"}", 6},
    {"{\"a\":\"\\udc00\\ud800\"}", 6},
    {"{\"a\":\"\\ud800\\u0041\"}", 6},
    {"{\"a\":\"\\udc00\\udc00\"}", 6},
    {"{\"a\":1}/**/", 7},
    {"{\"\\ud800\":1}", 2},
    {"{\"resourceSpans\":{}}", 17},
    {"{\"resourceSpans\":[null]}", 18},
    {"{\"resourceSpans\":[[]]}", 18},
    {"{\"resourceSpans\":[{},]}", 21},
    {"{\"resourceSpans\":[{}", 20},
    {"{\"resourceSpans\":[{\"schemaUrl\":7}]}", 31},
    {"{\"resourceSpans\":[{\"schemaUrl\":\"\\udbff\"}]}", 32},
    {"{\"resourceSpans\":[{\"schemaUrl\":\"a\nb\"}]}", 33},
    {"{\"resourceSpans\":[{\"resource\":[]}]}", 30},
};

Test(json, bad_json_is_refused_where_it_is)
{
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        struct ut_segment *segment;
        struct ut_json_report report = {0};
        int error = convert(BAD[i].json, strlen(BAD[i].json), &segment, &report);
        cr_expect_eq(error, -EBADMSG, "%s is taken", BAD[i].json);
        cr_expect_eq(report.offset, BAD[i].offset, "%s: %s at %zu, not at %zu", BAD[i].json,
                     report.error, report.offset, BAD[i].offset);
        if (error == 0)
            ut_segment_unref(segment);
    }
}

static const char *const BAD_MEMBERS[] = {
    "\"traceId\":\"0\"",
    "\"traceId\":\"0x\"",
    "\"traceId\":\"W47/95gDgQPSabYzgT/GDA==\"",
    "\"traceId\":7",
    "\"name\":7",
    "\"name\":{}",
    "\"kind\":\"SPAN_KIND_SERVER\"",
    "\"kind\":\"2\"",
    "\"kind\":2147483648",
    "\"kind\":1.5",
    "\"kind\":true",
    "\"startTimeUnixNano\":-1",
    "\"startTimeUnixNano\":18446744073709551616",
    "\"startTimeUnixNano\":\"\"",
    "\"startTimeUnixNano\":\" 1\"",
    "\"startTimeUnixNano\":\"1 \"",
    "\"startTimeUnixNano\":\"0x10\"",
    "\"startTimeUnixNano\":\"01\"",
    "\"startTimeUnixNano\":\"1",
    "\"startTimeUnixNano\":1e-1",
    "\"startTimeUnixNano\":1e99999",
    "\"startTimeUnixNano\":1234567890123456789012345678901234567890.5",
    "\"droppedAttributesCount\":4294967296",
    "\"flags\":-1",
    "\"attributes\":{}",
    "\"attributes\":[1]",
    "\"attributes\":[null]",
    "\"status\":[]",
    "\"status\":{\"code\":\"STATUS_CODE_OK\"}",
    "\"attributes\":[{\"value\":{\"boolValue\":\"true\"}}]",
    "\"attributes\":[{\"value\":{\"boolValue\":1}}]",
    "\"attributes\":[{\"value\":{\"intValue\":\"9223372036854775808\"}}]",
    "\"attributes\":[{\"value\":{\"intValue\":\"-9223372036854775809\"}}]",
    "\"attributes\":[{\"value\":{\"intValue\":0.5}}]",
    "\"attributes\":[{\"value\":{\"intValue\":1e309}}]",
    "\"startTimeUnixNano\":18446744073709551616",
    "\"attributes\":[{\"value\":{\"doubleValue\":1e309}}]",
    "\"attributes\":[{\"value\":{\"doubleValue\":\"nan\"}}]",
    "\"attributes\":[{\"value\":{\"doubleValue\":\"\"}}]",
    "\"attributes\":[{\"value\":{\"bytesValue\":\"a\"}}]",
    "\"attributes\":[{\"value\":{\"bytesValue\":\"ab=\"}}]",
    "\"attributes\":[{\"value\":{\"bytesValue\":\"=\"}}]",
    "\"attributes\":[{\"value\":{\"bytesValue\":\"a b=\"}}]",
    "\"attributes\":[{\"value\":{\"arrayValue\":[]}}]",
    "\"attributes\":[{\"value\":\"x\"}]",
    "\"attributes\":[{\"key\":\"k\",\"value\":{\"intValue\":\"9223372036854775808\"}}]",
    "\"attributes\":[{\"key\":\"k\",\"value\":{\"intValue\":\"01\"}}]",
    "\"attributes\":[{\"key\":\"k\",\"value\":{\"intValue\":1]}]",
    "\"attributes\":[{\"key\":\"k\",\"value\":{\"stringValue\":\"v\"}]",
    "\"attributes\":[{\"key\":\"k\",\"value\":{\"stringValue\":\"\n\"}}]",
};

static void expect_bad_member(const char *member, const char *padding)
{
    char text[500];
    struct ut_segment *segment;
    struct ut_json_report report = {0};
    int size =
        snprintf(text, sizeof(text),
                 "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{%s}]}]}]}%s", member, padding);
    int error = convert(text, (size_t)size, &segment, &report);
    cr_expect_eq(error, -EBADMSG, "%s is taken", member);
    if (error == 0)
        ut_segment_unref(segment);
}

Test(json, values_of_the_wrong_kind_are_refused)
{
    for (size_t i = 0; i < sizeof(BAD_MEMBERS) / sizeof(BAD_MEMBERS[0]); i++) {
        expect_bad_member(BAD_MEMBERS[i], "");
        expect_bad_member(BAD_MEMBERS[i], PADDING);
    }
}

/* An attribute whose value lies in `depth` arrays; -ELOOP where only the walk says no. */
static int convert_nested(unsigned depth, const char *value)
{
    static const char open[] = "{\"arrayValue\":{\"values\":[", close[] = "]}}";
    static const char head[] = "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"value\":";
    json.size = 0;
    otlp_raw(&json, head, sizeof(head) - 1);
    for (unsigned i = 0; i < depth; i++)
        otlp_raw(&json, open, sizeof(open) - 1);
    otlp_raw(&json, value, strlen(value));
    for (unsigned i = 0; i < depth; i++)
        otlp_raw(&json, close, sizeof(close) - 1);
    otlp_raw(&json, "}]}}]}", 6);
    struct ut_segment *segment;
    struct ut_json_report report;
    int error = convert(json.data, json.size, &segment, &report);
    if (error != 0)
        return error;
    struct ut_batch *batch = otlp_batch_of(&pool, segment->data, segment->size, NULL, &error);
    ut_batch_unref(batch);
    ut_segment_unref(segment);
    return error == 0 ? 0 : -ELOOP;
}

Test(json, depth_has_the_limit_of_the_walk)
{
    /* ResourceSpans, Resource, KeyValue, AnyValue are four, and each array two more. */
    cr_expect_eq(convert_nested(48, "{}"), 0);
    cr_expect_eq(convert_nested(49, "{}"), -EBADMSG);
    cr_expect_eq(convert_nested(100000, "{}"), -EBADMSG);
    static const char map[] =
        "{\"kvlistValue\":{\"values\":[{\"key\":\"a\",\"value\":{\"stringValue\":\"b\"}}]}}";
    cr_expect_eq(convert_nested(46, map), 0);
    cr_expect_eq(convert_nested(47, map), -EBADMSG);
}

Test(json, unknown_values_may_not_nest_without_end)
{
    struct ut_segment *segment;
    struct ut_json_report report;
    otlp_raw(&json, "{\"x\":", 5);
    for (int i = 0; i < 1000000; i++)
        otlp_raw(&json, "[", 1);
    cr_expect_eq(convert(json.data, json.size, &segment, &report), -EBADMSG);
    cr_expect_str_eq(report.error, "nested too deep");
}

/* ---- memory ---------------------------------------------------------------------------------- */

struct room {
    size_t held, most, limit;
};

static bool hold(void *arg, size_t bytes)
{
    struct room *room = arg;
    if (bytes > room->held && bytes > room->limit)
        return false;
    room->held = bytes;
    room->most = bytes > room->most ? bytes : room->most;
    return true;
}

/* A long name made of escapes, then a long one without: the first guess is too small for it. */
static void print_long(size_t size)
{
    static const char head[] = "{\"resourceSpans\":[{\"schemaUrl\":\"";
    otlp_raw(&json, head, sizeof(head) - 1);
    while (json.size < size)
        otlp_raw(&json, "x", 1);
    otlp_raw(&json, "\"}]}", 4);
}

Test(json, growth_is_held_before_it_happens)
{
    struct ut_segment *segment;
    struct ut_json_report report;
    struct room room = {.limit = SIZE_MAX};
    struct ut_writer_limits limits = {.bytes_max = 1000000, .hold = hold, .arg = &room};
    print_long(300000);
    ut_slice text = ut_slice_of(json.data, json.size);
    cr_assert_eq(ut_json_to_wire(text, &pool, &limits, &segment, &report), 0);
    cr_expect_eq(room.held, ut_pool_usable(segment));
    cr_expect_gt(room.most, room.held, "it was moved");
    ut_segment_unref(segment);
    cr_expect_eq(pool.in_use, 0);
    room.limit = room.most - 1;
    cr_expect_eq(ut_json_to_wire(text, &pool, &limits, &segment, &report), -ENOBUFS);
    cr_expect_eq(room.held, 0);
    room.limit = 0;
    cr_expect_eq(ut_json_to_wire(text, &pool, &limits, &segment, &report), -ENOBUFS);
    cr_expect_eq(room.held, 0);
    cr_expect_eq(pool.in_use, 0);
}

Test(json, more_than_the_limit_is_refused)
{
    struct ut_segment *segment;
    struct ut_json_report report;
    struct room room = {.limit = SIZE_MAX};
    print_long(100000);
    ut_slice text = ut_slice_of(json.data, json.size);
    cr_assert_eq(ut_json_to_wire(text, &pool, &FREE, &segment, &report), 0);
    struct ut_writer_limits limits = {.bytes_max = segment->size, .hold = hold, .arg = &room};
    ut_segment_unref(segment);
    cr_assert_eq(ut_json_to_wire(text, &pool, &limits, &segment, &report), 0);
    ut_segment_unref(segment);
    limits.bytes_max--;
    cr_expect_eq(ut_json_to_wire(text, &pool, &limits, &segment, &report), -EMSGSIZE);
    cr_expect_eq(room.held, 0);
    limits.bytes_max = 0;
    cr_expect_eq(ut_json_to_wire(text, &pool, &limits, &segment, &report), -EMSGSIZE);
    cr_assert_eq(ut_json_to_wire(UT_SLICE("{}"), &pool, &limits, &segment, &report), 0);
    ut_segment_unref(segment);
}
