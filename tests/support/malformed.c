/* SPDX-License-Identifier: Apache-2.0 */
#include "malformed.h"

/* Arrays in one another around the attribute's value: 5 + 2 × count messages deep in the request.
 */
static void write_arrays(struct otlp_bytes *out, unsigned count, int last_is_array)
{
    struct otlp_bytes inner = {0};
    if (last_is_array)
        otlp_data(&inner, 5, NULL, 0);
    for (unsigned i = 0; i < count; i++) {
        struct otlp_bytes array = {0}, any = {0};
        otlp_data(&array, 1, inner.data, inner.size);
        otlp_data(&any, 5, array.data, array.size);
        otlp_free(&inner);
        otlp_free(&array);
        inner = any;
    }
    otlp_raw(out, inner.data, inner.size);
    otlp_free(&inner);
}

static void write_depth_100(struct otlp_bytes *out)
{
    write_arrays(out, 47, 1);
}

static void write_depth_101(struct otlp_bytes *out)
{
    write_arrays(out, 48, 0);
}

static void write_depth_4005(struct otlp_bytes *out)
{
    write_arrays(out, 2000, 0);
}

static void write_groups(struct otlp_bytes *out, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        otlp_tag(out, 100, 3);
    for (unsigned i = 0; i < count; i++)
        otlp_tag(out, 100, 4);
}

static void write_groups_97(struct otlp_bytes *out)
{
    write_groups(out, 97);
}

static void write_groups_98(struct otlp_bytes *out)
{
    write_groups(out, 98);
}

static void write_groups_100000(struct otlp_bytes *out)
{
    write_groups(out, 100000);
}

static void write_empty_spans(struct otlp_bytes *out)
{
    for (unsigned i = 0; i < 1000; i++)
        otlp_data(out, 2, NULL, 0);
}

static void write_bad_resources(struct otlp_bytes *out)
{
    for (unsigned i = 0; i < 100000; i++)
        otlp_raw(out, "\x0a\x03\x1a\x01\xff", 5);
}

#define BYTES(literal) (literal), sizeof(literal) - 1
#define GOOD(name, place, literal)                                                                 \
    {                                                                                              \
        name, place, BYTES(literal), MALFORMED_OK, 0, NULL                                         \
    }
#define LEAVES(count, name, place, literal)                                                        \
    {                                                                                              \
        name, place, BYTES(literal), MALFORMED_PARTIAL, count, NULL                                \
    }
#define BREAKS(name, place, literal)                                                               \
    {                                                                                              \
        name, place, BYTES(literal), MALFORMED_REFUSED, 0, NULL                                    \
    }
#define BUILT(answer, count, name, place, build)                                                   \
    {                                                                                              \
        name, place, NULL, 0, answer, count, build                                                 \
    }

/* clang-format off */
const struct malformed MALFORMED[] = {
    /* The wire itself. */
    GOOD("an empty request", IN_WHOLE, ""),
    GOOD("an empty ResourceSpans", IN_WHOLE, "\x0a\x00"),
    BREAKS("a tag cut off", IN_WHOLE, "\x8a"),
    GOOD("a tag in five bytes", IN_WHOLE, "\x8a\x80\x80\x80\x00\x00"),
    BREAKS("a tag in six bytes", IN_WHOLE, "\x8a\x80\x80\x80\x80\x00\x00"),
    BREAKS("field number 0", IN_REQUEST, "\x02\x00"),
    BREAKS("field number 0 in four bytes", IN_REQUEST, "\x82\x80\x80\x00\x00"),
    GOOD("field number 2^29 - 1", IN_REQUEST, "\xf8\xff\xff\xff\x0f\x01"),
    BREAKS("field number 2^29", IN_REQUEST, "\x80\x80\x80\x80\x10\x01"),
    BREAKS("wire type 6", IN_REQUEST, "\x16\x00"),
    BREAKS("wire type 7", IN_SPAN, "\xa7\x06\x00"),
    BREAKS("a length beyond the body", IN_REQUEST, "\x0a\x05\x00"),
    BREAKS("a length cut off", IN_REQUEST, "\x0a\x80"),
    BREAKS("no length", IN_REQUEST, "\x0a"),
    BREAKS("a length of 2^31 - 1", IN_REQUEST, "\x0a\xff\xff\xff\xff\x07"),
    BREAKS("a length of 2^32", IN_REQUEST, "\x0a\x80\x80\x80\x80\x10"),
    BREAKS("a length of 2^63", IN_REQUEST,
                     "\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
    BREAKS("a length of 2^64 - 1", IN_REQUEST,
                     "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    BREAKS("a length of 65 bits", IN_REQUEST,
                     "\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"),
    GOOD("a length in ten bytes", IN_REQUEST,
                   "\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
    BREAKS("a length in eleven bytes", IN_REQUEST,
                     "\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
    GOOD("an unknown varint of 64 bits", IN_REQUEST,
                   "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    BREAKS("an unknown varint of 65 bits", IN_REQUEST,
                     "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
    BREAKS("an unknown varint in eleven bytes", IN_SPAN,
                     "\xa0\x06\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
    BREAKS("an unknown varint cut off", IN_REQUEST, "\x10\x80\x80"),
    GOOD("an unknown fixed64", IN_REQUEST, "\x11\x01\x02\x03\x04\x05\x06\x07\x08"),
    BREAKS("an unknown fixed64 cut off", IN_REQUEST, "\x11\x01\x02\x03\x04\x05\x06\x07"),
    GOOD("an unknown fixed32", IN_REQUEST, "\x15\x01\x02\x03\x04"),
    BREAKS("an unknown fixed32 cut off", IN_REQUEST, "\x15\x01\x02\x03"),
    GOOD("unknown bytes that are no UTF-8", IN_REQUEST, "\x12\x03\xff\xfe\x80"),
    GOOD("an unknown field in each form, in a span", IN_SPAN,
                   "\xa0\x06\x01\xa1\x06""12345678\xa2\x06\x02\xff\xff\xa5\x06""1234"),
    GOOD("a group", IN_REQUEST, "\x13\x14"),
    GOOD("a group with fields", IN_SPAN, "\xa3\x06\x08\x01\x12\x01\xff\xa4\x06"),
    GOOD("groups in one another", IN_REQUEST, "\x13\x1b\x1c\x14"),
    BREAKS("a group not closed", IN_REQUEST, "\x13"),
    BREAKS("a group not closed within its message", IN_SPAN, "\xa3\x06"),
    BREAKS("a group closed that never began", IN_REQUEST, "\x14"),
    BREAKS("a group closed by another's end", IN_REQUEST, "\x13\x1c"),
    BREAKS("groups that overlap", IN_REQUEST, "\x13\x1b\x14\x1c"),
    BREAKS("a group with a field cut off", IN_REQUEST, "\x13\x08"),
    BREAKS("a group with field number 0", IN_REQUEST, "\x13\x00\x14"),
    BREAKS("a group with wire type 6", IN_REQUEST, "\x13\x0e\x14"),

    /* Structure. */
    BREAKS("resource_spans as varint", IN_REQUEST, "\x08\x01"),
    BREAKS("resource_spans as fixed64", IN_REQUEST, "\x09""12345678"),
    BREAKS("resource_spans as fixed32", IN_REQUEST, "\x0d""1234"),
    BREAKS("resource_spans as group", IN_REQUEST, "\x0b\x0c"),
    BREAKS("resource as varint", IN_RESOURCE_SPANS, "\x08\x01"),
    BREAKS("scope_spans as varint", IN_RESOURCE_SPANS, "\x10\x01"),
    BREAKS("scope_spans beyond its parent", IN_RESOURCE_SPANS, "\x12\x01"),
    BREAKS("a resource's schema_url as varint", IN_RESOURCE_SPANS, "\x18\x01"),
    LEAVES(2, "a resource's schema_url not UTF-8", IN_RESOURCE_SPANS, "\x1a\x01\xff"),
    GOOD("an unknown field of ResourceSpans", IN_RESOURCE_SPANS, "\xa0\x06\x01"),
    GOOD("a second Resource", IN_RESOURCE_SPANS, "\x0a\x05\x0a\x03\x0a\x01x"),
    LEAVES(2, "a second Resource not UTF-8", IN_RESOURCE_SPANS,
                     "\x0a\x05\x0a\x03\x0a\x01\xff"),
    BREAKS("a resource's attribute as varint", IN_RESOURCE, "\x08\x01"),
    BREAKS("a resource's dropped count as bytes", IN_RESOURCE, "\x12\x00"),
    BREAKS("an entity reference as varint", IN_RESOURCE, "\x18\x01"),
    LEAVES(2, "a resource's key not UTF-8", IN_RESOURCE, "\x0a\x03\x0a\x01\xff"),
    LEAVES(2, "a resource's value not UTF-8", IN_RESOURCE,
                     "\x0a\x08\x0a\x01k\x12\x03\x0a\x01\xff"),
    LEAVES(2, "an entity's type not UTF-8", IN_RESOURCE, "\x1a\x03\x12\x01\xff"),
    BREAKS("an entity's key as varint", IN_RESOURCE, "\x1a\x02\x18\x01"),
    BREAKS("scope as varint", IN_SCOPE_SPANS, "\x08\x01"),
    BREAKS("spans as varint", IN_SCOPE_SPANS, "\x10\x01"),
    BREAKS("spans as group", IN_SCOPE_SPANS, "\x13\x14"),
    BREAKS("a scope's schema_url as fixed32", IN_SCOPE_SPANS, "\x1d""1234"),
    LEAVES(2, "a scope's schema_url not UTF-8", IN_SCOPE_SPANS, "\x1a\x01\xff"),
    LEAVES(1, "an empty span", IN_SCOPE_SPANS, "\x12\x00"),
    LEAVES(2, "a scope's name not UTF-8", IN_SCOPE, "\x0a\x01\xff"),
    LEAVES(2, "a scope's version not UTF-8", IN_SCOPE, "\x12\x01\xff"),
    LEAVES(2, "a scope's key not UTF-8", IN_SCOPE, "\x1a\x03\x0a\x01\xff"),
    BREAKS("a scope's name as varint", IN_SCOPE, "\x08\x01"),
    BREAKS("a scope's attribute as fixed64", IN_SCOPE, "\x19""12345678"),
    BREAKS("a scope's dropped count as bytes", IN_SCOPE, "\x22\x00"),

    /* Every field of a span with a wire type that is not its own. */
    BREAKS("trace_id as varint", IN_SPAN, "\x08\x01"),
    BREAKS("trace_id as group", IN_SPAN, "\x0b\x0c"),
    BREAKS("span_id as varint", IN_SPAN, "\x10\x01"),
    BREAKS("trace_state as varint", IN_SPAN, "\x18\x01"),
    BREAKS("parent_span_id as fixed64", IN_SPAN, "\x21""12345678"),
    BREAKS("name as varint", IN_SPAN, "\x28\x01"),
    BREAKS("kind as bytes", IN_SPAN, "\x32\x01\x01"),
    BREAKS("start as varint", IN_SPAN, "\x38\x01"),
    BREAKS("start as fixed32", IN_SPAN, "\x3d""1234"),
    BREAKS("end as varint", IN_SPAN, "\x40\x01"),
    BREAKS("an attribute as varint", IN_SPAN, "\x48\x01"),
    BREAKS("dropped_attributes_count as bytes", IN_SPAN, "\x52\x00"),
    BREAKS("an event as varint", IN_SPAN, "\x58\x01"),
    BREAKS("dropped_events_count as fixed32", IN_SPAN, "\x65""1234"),
    BREAKS("a link as varint", IN_SPAN, "\x68\x01"),
    BREAKS("dropped_links_count as bytes", IN_SPAN, "\x72\x00"),
    BREAKS("status as varint", IN_SPAN, "\x78\x01"),
    BREAKS("flags as varint", IN_SPAN, "\x80\x01\x01"),
    BREAKS("flags cut off", IN_SPAN, "\x85\x01\x01\x01"),
    BREAKS("end cut off", IN_SPAN, "\x41""1234567"),
    BREAKS("kind cut off", IN_SPAN, "\x30"),
    BREAKS("kind in eleven bytes", IN_SPAN,
                     "\x30\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
    GOOD("kind negative", IN_SPAN, "\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    BREAKS("name beyond the span", IN_SPAN, "\x2a\x7f""abc"),

    /* Spans that are bad in themselves. */
    LEAVES(1, "a trace id of 15 bytes", IN_SPAN, "\x0a\x0f""123456789012345"),
    LEAVES(1, "a trace id of 17 bytes", IN_SPAN, "\x0a\x11""12345678901234567"),
    LEAVES(1, "an empty trace id", IN_SPAN, "\x0a\x00"),
    LEAVES(1, "a trace id of zeros", IN_SPAN,
                     "\x0a\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    LEAVES(1, "a wrong trace id before a right one", IN_SPAN,
                     "\x0a\x01x\x0a\x10""1234567890123456"),
    GOOD("a second trace id", IN_SPAN, "\x0a\x10""1234567890123456"),
    LEAVES(1, "a span id of 7 bytes", IN_SPAN, "\x12\x07""1234567"),
    LEAVES(1, "an empty span id", IN_SPAN, "\x12\x00"),
    LEAVES(1, "a span id of zeros", IN_SPAN, "\x12\x08\0\0\0\0\0\0\0\0"),
    LEAVES(1, "a parent id of 7 bytes", IN_SPAN, "\x22\x07""1234567"),
    GOOD("an empty parent id", IN_SPAN, "\x22\x00"),
    GOOD("a parent id of zeros", IN_SPAN, "\x22\x08\0\0\0\0\0\0\0\0"),
    LEAVES(1, "trace_state not UTF-8", IN_SPAN, "\x1a\x01\xff"),
    LEAVES(1, "a name with a lone continuation", IN_SPAN, "\x2a\x03""a\x80z"),
    LEAVES(1, "a name with an overlong NUL", IN_SPAN, "\x2a\x02\xc0\x80"),
    LEAVES(1, "a name overlong in three bytes", IN_SPAN, "\x2a\x03\xe0\x9f\xbf"),
    LEAVES(1, "a name overlong in four bytes", IN_SPAN, "\x2a\x04\xf0\x8f\xbf\xbf"),
    LEAVES(1, "a name with a surrogate", IN_SPAN, "\x2a\x03\xed\xa0\x80"),
    LEAVES(1, "a name above U+10FFFF", IN_SPAN, "\x2a\x04\xf4\x90\x80\x80"),
    LEAVES(1, "a name cut off within a character", IN_SPAN, "\x2a\x02\xe2\x82"),
    LEAVES(1, "a name with 0xff, far behind", IN_SPAN,
                     "\x2a\x23""abcdefghijklmnopqrstuvwxyzabcdefgh\xff"),
    GOOD("a name in four alphabets", IN_SPAN,
                   "\x2a\x0a""a\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9d"),
    GOOD("a name at the bounds", IN_SPAN,
                   "\x2a\x0d\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xef\xbf\xbf"),

    /* Attributes. */
    GOOD("an empty KeyValue", IN_SPAN, "\x4a\x00"),
    BREAKS("a key as varint", IN_ATTRIBUTE, "\x08\x01"),
    BREAKS("a value as varint", IN_ATTRIBUTE, "\x10\x01"),
    BREAKS("a value beyond its attribute", IN_ATTRIBUTE, "\x12\x05\x0a"),
    LEAVES(1, "a key not UTF-8", IN_ATTRIBUTE, "\x0a\x01\xff"),
    LEAVES(1, "an attribute with a key not UTF-8", IN_SPAN,
                     "\x4a\x08\x0a\x01\xff\x12\x03\x0a\x01v"),
    LEAVES(1, "an attribute with a value not UTF-8", IN_SPAN,
                     "\x4a\x08\x0a\x01k\x12\x03\x0a\x01\xff"),
    LEAVES(1, "a number's key not UTF-8", IN_SPAN, "\x4a\x07\x0a\x01\xff\x12\x02\x18\x01"),
    GOOD("a key of two bytes a character", IN_SPAN,
                   "\x4a\x09\x0a\x02\xc3\xa9\x12\x03\x0a\x01v"),
    BREAKS("an attribute's number cut off", IN_SPAN,
                     "\x4a\x07\x0a\x01k\x12\x02\x18\x80"),
    BREAKS("an attribute's number in eleven bytes", IN_SPAN,
                     "\x4a\x11\x0a\x01k\x12\x0c\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
    BREAKS("an attribute's double cut off", IN_SPAN,
                     "\x4a\x0a\x0a\x01k\x12\x05\x21""1234"),
    BREAKS("an attribute that ends in the next span", IN_SPAN,
                     "\x4a\x09\x0a\x01k\x12\x04\x0a\x02"),
    BREAKS("an attribute's key beyond it", IN_SPAN, "\x4a\x06\x0a\x7f""abcd"),
    LEAVES(1, "a string value not UTF-8", IN_VALUE, "\x0a\x01\xff"),
    BREAKS("a string value beyond its value", IN_VALUE, "\x0a\x02x"),
    BREAKS("a string value as varint", IN_VALUE, "\x08\x01"),
    BREAKS("a bool value as bytes", IN_VALUE, "\x12\x01\x01"),
    BREAKS("an int value as fixed64", IN_VALUE, "\x19""12345678"),
    BREAKS("a double value as varint", IN_VALUE, "\x20\x01"),
    BREAKS("an array value as varint", IN_VALUE, "\x28\x01"),
    BREAKS("a list value as varint", IN_VALUE, "\x30\x01"),
    BREAKS("a bytes value as varint", IN_VALUE, "\x38\x01"),
    GOOD("a bytes value that is no UTF-8", IN_VALUE, "\x3a\x02\xff\xff"),
    LEAVES(1, "text in an array not UTF-8", IN_VALUE, "\x2a\x05\x0a\x03\x0a\x01\xff"),
    LEAVES(1, "a key in a list not UTF-8", IN_VALUE, "\x32\x05\x0a\x03\x0a\x01\xff"),
    BREAKS("an array's element as varint", IN_VALUE, "\x2a\x02\x08\x01"),
    BREAKS("a list's element as fixed32", IN_VALUE, "\x32\x05\x0d""1234"),
    BUILT(MALFORMED_OK, 0, "100 messages deep", IN_VALUE, write_depth_100),
    BUILT(MALFORMED_REFUSED, 0, "101 messages deep", IN_VALUE, write_depth_101),
    BUILT(MALFORMED_REFUSED, 0, "4005 messages deep", IN_VALUE, write_depth_4005),
    BUILT(MALFORMED_OK, 0, "groups 100 deep", IN_SPAN, write_groups_97),
    BUILT(MALFORMED_REFUSED, 0, "groups 101 deep", IN_SPAN, write_groups_98),
    BUILT(MALFORMED_REFUSED, 0, "groups 100003 deep", IN_SPAN, write_groups_100000),

    /* Events, links, status. */
    BREAKS("an event's time as varint", IN_EVENT, "\x08\x01"),
    BREAKS("an event's name as varint", IN_EVENT, "\x10\x01"),
    BREAKS("an event's attribute as varint", IN_EVENT, "\x18\x01"),
    BREAKS("an event's dropped count as bytes", IN_EVENT, "\x22\x00"),
    LEAVES(1, "an event's name not UTF-8", IN_EVENT, "\x12\x01\xff"),
    LEAVES(1, "an event's key not UTF-8", IN_EVENT, "\x1a\x03\x0a\x01\xff"),
    GOOD("an unknown field of an event", IN_EVENT, "\xa0\x06\x01"),
    LEAVES(1, "a link's trace id of 8 bytes", IN_LINK, "\x0a\x08""12345678"),
    LEAVES(1, "a link's span id of 16 bytes", IN_LINK, "\x12\x10""1234567890123456"),
    GOOD("a link with an empty trace id", IN_LINK, "\x0a\x00"),
    GOOD("a link with an empty span id", IN_LINK, "\x12\x00"),
    GOOD("a link with a trace id of zeros", IN_LINK,
                   "\x0a\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    LEAVES(1, "a link's trace_state not UTF-8", IN_LINK, "\x1a\x01\xff"),
    LEAVES(1, "a link's key not UTF-8", IN_LINK, "\x22\x03\x0a\x01\xff"),
    BREAKS("a link's flags as varint", IN_LINK, "\x30\x01"),
    BREAKS("a link's dropped count as bytes", IN_LINK, "\x2a\x00"),
    LEAVES(1, "a status message not UTF-8", IN_STATUS, "\x12\x01\xff"),
    BREAKS("a status message as varint", IN_STATUS, "\x10\x01"),
    BREAKS("a status code as bytes", IN_STATUS, "\x1a\x00"),

    /* Many small things. */
    BUILT(MALFORMED_PARTIAL, 1000, "1000 empty spans", IN_SCOPE_SPANS,
                    write_empty_spans),
    BUILT(MALFORMED_REFUSED, 0, "100000 bad ResourceSpans", IN_REQUEST,
                    write_bad_resources),
};
/* clang-format on */

const size_t MALFORMED_COUNT = sizeof(MALFORMED) / sizeof(MALFORMED[0]);

static void put_row(struct otlp_bytes *out, const struct malformed *row, enum malformed_place place)
{
    if (row->place != place)
        return;
    otlp_raw(out, row->bytes, row->size);
    if (row->build != NULL)
        row->build(out);
}

/* The first span: one of everything that a row can be put into. */
static void write_first_span(struct otlp_bytes *out, const struct malformed *row)
{
    size_t span = otlp_begin(out, 2);
    otlp_span_fields(out, &(struct otlp_span){.trace_id = 1, .span_id = 1, .name = "first"});
    size_t attribute = otlp_begin_attribute(out, 9, "key");
    size_t value = otlp_begin(out, 2);
    put_row(out, row, IN_VALUE);
    otlp_end(out, value);
    put_row(out, row, IN_ATTRIBUTE);
    otlp_end(out, attribute);
    size_t event = otlp_begin(out, 11);
    put_row(out, row, IN_EVENT);
    otlp_end(out, event);
    size_t link = otlp_begin(out, 13);
    put_row(out, row, IN_LINK);
    otlp_end(out, link);
    size_t status = otlp_begin(out, 15);
    put_row(out, row, IN_STATUS);
    otlp_end(out, status);
    put_row(out, row, IN_SPAN);
    otlp_end(out, span);
}

void malformed_build(struct otlp_bytes *out, const struct malformed *row)
{
    out->size = 0;
    put_row(out, row, IN_WHOLE);
    if (row->place == IN_WHOLE)
        return;
    size_t resource_spans = otlp_begin(out, 1);
    size_t resource = otlp_begin(out, 1);
    otlp_text_attribute(out, 1, "service.name", "malformed");
    put_row(out, row, IN_RESOURCE);
    otlp_end(out, resource);
    size_t scope_spans = otlp_begin(out, 2);
    size_t scope = otlp_begin(out, 1);
    otlp_text(out, 1, "test.scope");
    put_row(out, row, IN_SCOPE);
    otlp_end(out, scope);
    write_first_span(out, row);
    otlp_span(out, &(struct otlp_span){.trace_id = 1, .span_id = 2, .name = "second"});
    put_row(out, row, IN_SCOPE_SPANS);
    otlp_end(out, scope_spans);
    put_row(out, row, IN_RESOURCE_SPANS);
    otlp_end(out, resource_spans);
    put_row(out, row, IN_REQUEST);
}

bool malformed_is_text(const struct malformed *row)
{
    return row->answer == MALFORMED_PARTIAL && strstr(row->name, "not UTF-8") != NULL;
}
