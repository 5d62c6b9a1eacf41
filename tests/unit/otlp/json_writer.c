/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>

#include "otlp/encode.h"
#include "otlp/json.h"
#include "otlp/json_writer.h"
#include "otlp/splice.h"
#include "otlp_batch.h"
#include "otlp_json.h"

enum { ROUNDS = 2000, CUTS_MAX = 1 << 16 };

static struct ut_pool pool;
static struct ut_blocks out;
static struct otlp_bytes wire, text;
static const struct ut_writer_limits FREE = {.bytes_max = (size_t)64 << 20};

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)8 << 20);
    ut_blocks_init(&out, &pool);
    wire = text = (struct otlp_bytes){0};
}

static void tear_down(void)
{
    ut_blocks_done(&out);
    otlp_free(&wire);
    otlp_free(&text);
    ut_pool_done(&pool);
}

TestSuite(json_writer, .init = set_up, .fini = tear_down);

/* What was written, in one piece with a terminator. */
static const char *flatten(void)
{
    const struct iovec *runs;
    int count = ut_blocks_runs(&out, &runs);
    cr_assert_geq(count, 0);
    text.size = 0;
    for (int i = 0; i < count; i++)
        otlp_raw(&text, runs[i].iov_base, runs[i].iov_len);
    cr_assert_eq(text.size, ut_blocks_bytes(&out));
    otlp_byte(&text, 0);
    text.size--;
    return (const char *)text.data;
}

static int write_wire(void)
{
    struct iovec run = {wire.data, wire.size};
    return ut_json_from_wire(&out, &run, 1);
}

/* The members of a span that stands alone. */
static const char *write_span(void)
{
    static const char before[] = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{";
    static const char after[] = "}]}]}]}";
    struct otlp_bytes span = wire;
    wire = (struct otlp_bytes){0};
    size_t resource = otlp_begin(&wire, 1), scope = otlp_begin(&wire, 2);
    otlp_data(&wire, 2, span.data, span.size);
    otlp_end(&wire, scope);
    otlp_end(&wire, resource);
    otlp_free(&span);
    cr_assert_eq(write_wire(), 0);
    char *all = (char *)(uintptr_t)flatten();
    cr_assert_eq(strncmp(all, before, sizeof(before) - 1), 0, "%s", all);
    char *end = all + text.size - (sizeof(after) - 1);
    cr_assert_str_eq(end, after);
    *end = '\0';
    return all + sizeof(before) - 1;
}

/* What the reader makes of the text must be `want`. */
static void expect_read_as(const struct otlp_bytes *want)
{
    struct ut_segment *segment = NULL;
    struct ut_json_report report;
    const char *json = flatten();
    int error = ut_json_to_wire(ut_slice_of(json, text.size), &pool, &FREE, &segment, &report);
    cr_assert_eq(error, 0, "%s at %zu of %s", report.error, report.offset, json);
    cr_assert(ut_slice_equal(ut_slice_of(segment->data, segment->size),
                             ut_slice_of(want->data, want->size)));
    ut_segment_unref(segment);
}

/* ---- both directions ------------------------------------------------------------------------ */

Test(json_writer, reader_gets_the_same_bytes_again)
{
    struct otlp_random random = {UINT64_C(0x9e3779b97f4a7c15)};
    for (int i = 0; i < ROUNDS; i++) {
        wire.size = 0;
        otlp_random_message(&wire, &random, UT_SCHEMA_REQUEST);
        cr_assert_eq(write_wire(), 0);
        expect_read_as(&wire);
        ut_blocks_done(&out);
    }
}

/* Notes the borders of fields in the message: before and behind tag and length of one that holds a
 * message, around the whole of one that does not. */
static void find_borders(enum ut_schema_type type, const uint8_t *p, const uint8_t *end,
                         size_t *borders, size_t *count)
{
    struct ut_wire_field value;
    while (p < end) {
        const uint8_t *begin = p;
        p = ut_wire_field(p, &value);
        const struct ut_schema_field *field = ut_schema_field(type, value.number);
        cr_assert(field != NULL && *count + 2 < CUTS_MAX);
        borders[(*count)++] = (size_t)(begin - wire.data);
        if (field->kind != UT_SCHEMA_MESSAGE)
            continue;
        borders[(*count)++] = (size_t)(value.content.data - wire.data);
        find_borders(field->nested, value.content.data, p, borders, count);
    }
}

Test(json_writer, runs_may_end_at_any_border_of_a_field)
{
    static size_t borders[CUTS_MAX];
    static struct iovec runs[CUTS_MAX];
    struct otlp_random random = {7};
    for (int i = 0; i < ROUNDS / 4; i++) {
        wire.size = 0;
        otlp_random_message(&wire, &random, UT_SCHEMA_REQUEST);
        size_t count = 0, run_count = 0, from = 0;
        find_borders(UT_SCHEMA_REQUEST, wire.data, wire.data + wire.size, borders, &count);
        for (size_t j = 0; j < count; j++) {
            if (otlp_random_below(&random, 3) == 0)
                continue;
            runs[run_count++] = (struct iovec){wire.data + from, borders[j] - from};
            from = borders[j];
        }
        runs[run_count++] = (struct iovec){wire.data + from, wire.size - from};
        cr_assert_eq(ut_json_from_wire(&out, runs, run_count), 0);
        expect_read_as(&wire);
        ut_blocks_done(&out);
    }
}

/* ---- the form ------------------------------------------------------------------------------- */

Test(json_writer, form_is_the_specifications)
{
    otlp_data(&wire, 1, "\x5b\x8e\xff\xf7\x98\x03\x81\x03\xd2\x69\xb6\x33\x81\x3f\xc6\x0c", 16);
    otlp_data(&wire, 2, "\xee\xe1\x9b\x7e\xc3\xc1\xb1\x74", 8);
    otlp_text(&wire, 5, "say \"hi\\\"\n\x01\x7f \xc3\xa4");
    otlp_uint(&wire, 6, 2);
    otlp_fixed64(&wire, 7, UINT64_C(1544712660000000000));
    otlp_int_attribute(&wire, 9, "n", -7);
    otlp_bool_attribute(&wire, 9, "b", 1);
    otlp_uint(&wire, 10, 3);
    otlp_fixed32(&wire, 16, 0x101);
    cr_assert_str_eq(write_span(),
                     "\"traceId\":\"5b8efff798038103d269b633813fc60c\","
                     "\"spanId\":\"eee19b7ec3c1b174\","
                     "\"name\":\"say \\\"hi\\\\\\\"\\n\\u0001\x7f \xc3\xa4\","
                     "\"kind\":2,\"startTimeUnixNano\":\"1544712660000000000\","
                     "\"attributes\":[{\"key\":\"n\",\"value\":{\"intValue\":\"-7\"}},"
                     "{\"key\":\"b\",\"value\":{\"boolValue\":true}}],"
                     "\"droppedAttributesCount\":3,\"flags\":257");
}

Test(json_writer, empty_request_is_an_empty_object)
{
    cr_assert_eq(ut_json_from_wire(&out, NULL, 0), 0);
    cr_assert_str_eq(flatten(), "{}");
}

Test(json_writer, bytes_are_base64_with_padding)
{
    static const char *const expected[] = {"\"\"", "\"/w==\"", "\"//4=\"", "\"//79\"",
                                           "\"//79+w==\""};
    for (size_t size = 0; size < 5; size++) {
        ut_json_output_base64(&out, ut_slice_of("\xff\xfe\xfd\xfb", size));
        cr_expect_str_eq(flatten(), expected[size]);
        ut_blocks_done(&out);
    }
}

Test(json_writer, doubles_are_the_shortest_that_read_the_same)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0.0, "0"},
        {-0.0, "-0"},
        {5.0, "5"},
        {0.1, "0.1"},
        {1.0 / 3.0, "0.3333333333333333"},
        {1e300, "1e+300"},
        {5e-324, "4.94065645841247e-324"},
        {NAN, "\"NaN\""},
        {INFINITY, "\"Infinity\""},
        {-INFINITY, "\"-Infinity\""},
        {9007199254740993.0, "9007199254740992"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ut_json_output_double(&out, rows[i].value);
        cr_expect_str_eq(flatten(), rows[i].text);
        ut_blocks_done(&out);
    }
}

Test(json_writer, least_and_greatest_integers)
{
    ut_json_output_signed(&out, INT64_MIN);
    ut_blocks_byte(&out, ' ');
    ut_json_output_signed(&out, INT64_MAX);
    ut_blocks_byte(&out, ' ');
    ut_json_output_unsigned(&out, UINT64_MAX);
    cr_assert_str_eq(flatten(), "-9223372036854775808 9223372036854775807 18446744073709551615");
}

Test(json_writer, text_that_is_no_utf8_is_repaired)
{
    otlp_text(&wire, 5, "a\xff\xc3(\xe2\x82");
    cr_assert_str_eq(write_span(), "\"name\":\"a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\"");
}

Test(json_writer, long_text_goes_over_blocks)
{
    enum { SIZE = 300000 };
    static char name[SIZE + 1];
    memset(name, '\n', SIZE);
    otlp_text(&wire, 5, name);
    const char *span = write_span();
    cr_assert_eq(strlen(span), strlen("\"name\":\"\"") + 2 * (size_t)SIZE);
}

/* ---- what does not stand where it usually does ---------------------------------------------- */

Test(json_writer, unknown_fields_are_left_out)
{
    otlp_uint(&wire, 1000, 5);
    otlp_text(&wire, 5, "a");
    otlp_tag(&wire, 99, 3);
    otlp_tag(&wire, 7, 3);
    otlp_text(&wire, 1, "in groups");
    otlp_tag(&wire, 7, 4);
    otlp_tag(&wire, 99, 4);
    otlp_data(&wire, 17, "later", 5);
    otlp_uint(&wire, 6, 1);
    cr_assert_str_eq(write_span(), "\"name\":\"a\",\"kind\":1");
}

Test(json_writer, scattered_elements_are_one_list)
{
    otlp_int_attribute(&wire, 9, "a", 1);
    otlp_text(&wire, 5, "n");
    otlp_int_attribute(&wire, 9, "b", 2);
    otlp_int_attribute(&wire, 9, "c", 3);
    otlp_uint(&wire, 6, 1);
    otlp_int_attribute(&wire, 9, "d", 4);
    cr_assert_str_eq(write_span(), "\"attributes\":["
                                   "{\"key\":\"a\",\"value\":{\"intValue\":\"1\"}},"
                                   "{\"key\":\"b\",\"value\":{\"intValue\":\"2\"}},"
                                   "{\"key\":\"c\",\"value\":{\"intValue\":\"3\"}},"
                                   "{\"key\":\"d\",\"value\":{\"intValue\":\"4\"}}],"
                                   "\"name\":\"n\",\"kind\":1");
}

Test(json_writer, last_of_several_scalars_counts)
{
    otlp_text(&wire, 5, "a");
    otlp_uint(&wire, 6, 1);
    otlp_text(&wire, 5, "b");
    size_t attribute = otlp_begin_attribute(&wire, 9, "k");
    size_t any = otlp_begin(&wire, 2);
    otlp_text(&wire, 1, "text");
    otlp_uint(&wire, 3, 1);
    otlp_uint(&wire, 3, 2);
    otlp_end(&wire, any);
    otlp_end(&wire, attribute);
    cr_assert_str_eq(write_span(),
                     "\"name\":\"b\",\"kind\":1,"
                     "\"attributes\":[{\"key\":\"k\",\"value\":{\"intValue\":\"2\"}}]");
}

Test(json_writer, several_messages_of_one_field_are_merged)
{
    size_t status = otlp_begin(&wire, 15);
    otlp_text(&wire, 2, "first");
    otlp_uint(&wire, 3, 2);
    otlp_end(&wire, status);
    otlp_uint(&wire, 6, 1);
    status = otlp_begin(&wire, 15);
    otlp_text(&wire, 2, "second");
    otlp_end(&wire, status);
    cr_assert_str_eq(write_span(), "\"status\":{\"message\":\"second\",\"code\":2},\"kind\":1");
}

/* At each level an array that occurs twice; merged as they are, each level would be one more copy.
 */
Test(json_writer, merging_has_a_limit_and_never_fails)
{
    enum { LEVELS = 20, SIZE = 200000 };
    static char note[SIZE + 1];
    struct otlp_bytes value = {0};
    memset(note, 'n', SIZE);
    otlp_text(&value, 1, note);
    for (int i = 0; i < LEVELS; i++) {
        struct otlp_bytes outer = {0};
        size_t array = otlp_begin(&outer, 5);
        otlp_data(&outer, 1, value.data, value.size);
        otlp_end(&outer, array);
        otlp_data(&outer, 5, NULL, 0);
        otlp_free(&value);
        value = outer;
    }
    size_t attribute = otlp_begin(&wire, 9);
    otlp_data(&wire, 2, value.data, value.size);
    otlp_end(&wire, attribute);
    otlp_free(&value);
    const char *span = write_span();
    cr_assert(strstr(span, "\"arrayValue\":{") != NULL);
    cr_assert_lt(strlen(span), 2 * (size_t)SIZE);
}

/* What the program itself does: evidence at the end of a span, identity at the end of a Resource.
 */
Test(json_writer, edits_of_a_batch_stand_in_the_lists_they_belong_to)
{
    struct otlp_span span = {
        .trace_id = 1, .span_id = 2, .name = "GET", .start_ns = 1, .end_ns = 2};
    struct otlp_attribute attributes[] = {{"own", "x", 0}, {0}};
    span.attributes = attributes;
    otlp_resource_spans(&wire, NULL, &span, 1);
    struct ut_batch *batch = otlp_batch(&pool, &wire);
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &batch->first->arena);
    ut_encode_int(&encoder, UT_FIELD_SPAN_ATTRIBUTES, "undertrace.tcp.retransmits", 1);
    struct ut_edit edit = {.added = ut_encoder_bytes(&encoder)};
    cr_assert_eq(ut_body_set_edit(batch->first, 0, &edit), 0);
    struct ut_splice splice;
    cr_assert_eq(ut_splice_batch(&splice, batch, 0, 1), 0);
    cr_assert_eq(ut_json_from_wire(&out, splice.runs + 1, splice.run_count - 1), 0);
    cr_assert(strstr(flatten(),
                     "\"attributes\":[{\"key\":\"own\",\"value\":{\"stringValue\":\"x\"}},"
                     "{\"key\":\"undertrace.tcp.retransmits\","
                     "\"value\":{\"intValue\":\"1\"}}]") != NULL,
              "%s", (const char *)text.data);
    ut_splice_done(&splice);
    ut_batch_unref(batch);
}

/* ---- bytes that are no request -------------------------------------------------------------- */

Test(json_writer, cut_bytes_are_an_error_or_a_shorter_request)
{
    struct otlp_random random = {11};
    for (int i = 0; i < 50; i++) {
        wire.size = 0;
        otlp_random_message(&wire, &random, UT_SCHEMA_REQUEST);
        size_t size = wire.size < 600 ? wire.size : 600;
        for (size_t cut = 0; cut < size; cut++) {
            /* Alone in its memory, so that a look behind it is seen. */
            uint8_t *alone = malloc(cut + 1);
            cr_assert_not_null(alone);
            memcpy(alone, wire.data, cut);
            struct iovec run = {alone, cut};
            int error = ut_json_from_wire(&out, &run, 1);
            cr_assert(error == 0 || error == -EBADMSG);
            free(alone);
            ut_blocks_done(&out);
        }
    }
}

Test(json_writer, nesting_without_end_is_refused)
{
    otlp_text(&wire, 1, "x");
    for (int i = 0; i < 120; i++) {
        struct otlp_bytes outer = {0};
        size_t array = otlp_begin(&outer, 5);
        otlp_data(&outer, 1, wire.data, wire.size);
        otlp_end(&outer, array);
        otlp_free(&wire);
        wire = outer;
    }
    struct otlp_bytes span = {0};
    size_t attribute = otlp_begin(&span, 1), scope = otlp_begin(&span, 2),
           one = otlp_begin(&span, 2);
    size_t pair = otlp_begin(&span, 9);
    otlp_data(&span, 2, wire.data, wire.size);
    otlp_end(&span, pair);
    otlp_end(&span, one);
    otlp_end(&span, scope);
    otlp_end(&span, attribute);
    otlp_free(&wire);
    wire = span;
    cr_assert_eq(write_wire(), -EBADMSG);
}
