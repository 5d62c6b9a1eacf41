/* SPDX-License-Identifier: Apache-2.0 */
#include "debug_exporter/details.h"

#include "debug_exporter/read.h"
#include "otlp/encode.h"

enum { VALUE_BYTES_SHOWN = 200, BINARY_SHOWN = 16, DEPTH_SHOWN = 4 };

/* Fields of AnyValue, opentelemetry.proto.common.v1. */
enum { STRING = 1, BOOL, INT, DOUBLE, ARRAY, LIST, BINARY };

static void add_value(struct debug_text *text, const struct ut_wire_field *value, unsigned depth);

/* ArrayValue.values are AnyValue messages, KeyValueList.values are KeyValue: both field 1. */
static void add_many(struct debug_text *text, const struct ut_wire_field *value, unsigned depth)
{
    const uint8_t *end = value->content.data + value->content.size;
    bool first = true;
    debug_text_add(text, value->number == ARRAY ? "[" : "{");
    for (const uint8_t *p = value->content.data; p < end && depth < DEPTH_SHOWN; first = false) {
        struct ut_wire_field item, inner = {0};
        p = ut_wire_field(p, &item);
        debug_text_add(text, first ? "" : ", ");
        if (item.wire != UT_WIRE_LEN)
            continue;
        if (value->number == LIST) {
            struct debug_attribute attribute = debug_read_attribute(item.content);
            (void)debug_text_foreign(text, attribute.key);
            debug_text_add(text, "=");
            inner = attribute.value;
        } else {
            const uint8_t *item_end = item.content.data + item.content.size;
            for (const uint8_t *q = item.content.data; q < item_end;)
                q = ut_wire_field(q, &inner);
        }
        add_value(text, &inner, depth + 1);
    }
    debug_text_add(text, depth < DEPTH_SHOWN ? "" : "…");
    debug_text_add(text, value->number == ARRAY ? "]" : "}");
}

static void add_string(struct debug_text *text, ut_slice string)
{
    bool cut = string.size > VALUE_BYTES_SHOWN;
    if (cut)
        for (string.size = VALUE_BYTES_SHOWN;
             string.size > 0 && (string.data[string.size] & 0xc0) == 0x80;)
            string.size--;
    (void)debug_text_foreign(text, string);
    debug_text_add(text, cut ? "…" : "");
}

static void add_length_delimited(struct debug_text *text, const struct ut_wire_field *value,
                                 unsigned depth)
{
    if (value->number == STRING) {
        add_string(text, value->content);
    } else if (value->number == BINARY) {
        size_t size = value->content.size < BINARY_SHOWN ? value->content.size : BINARY_SHOWN;
        debug_text_add(text, "0x");
        debug_text_hex(text, value->content.data, size);
        debug_text_add(text, size < value->content.size ? "…" : "");
    } else if (value->number == ARRAY || value->number == LIST) {
        add_many(text, value, depth);
    }
}

/* What no one knows (a later version's kind of value) shows as nothing. */
static void add_value(struct debug_text *text, const struct ut_wire_field *value, unsigned depth)
{
    double number;
    if (value->wire == UT_WIRE_LEN) {
        add_length_delimited(text, value, depth);
    } else if (value->wire == UT_WIRE_FIXED64 && value->number == DOUBLE) {
        memcpy(&number, &value->value, sizeof(number));
        debug_text_format(text, "%g", number);
    } else if (value->wire == UT_WIRE_VARINT && value->number == INT) {
        debug_text_format(text, "%lld", (long long)value->value);
    } else if (value->wire == UT_WIRE_VARINT && value->number == BOOL) {
        debug_text_add(text, value->value != 0 ? "true" : "false");
    }
}

static void add_attribute(struct debug_text *text, ut_slice key_value, ut_slice prefix,
                          const char *indent)
{
    struct debug_attribute attribute = debug_read_attribute(key_value);
    debug_text_append(text, prefix.data, prefix.size);
    debug_text_add(text, indent);
    (void)debug_text_foreign(text, attribute.key);
    debug_text_add(text, " = ");
    add_value(text, &attribute.value, 0);
    debug_text_add(text, "\n");
}

static void add_event(struct debug_text *text, ut_slice event, ut_slice prefix)
{
    const uint8_t *end = event.data + event.size;
    struct ut_wire_field field;
    ut_slice name = {0};
    for (const uint8_t *p = event.data; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number == DEBUG_EVENT_NAME && field.wire == UT_WIRE_LEN)
            name = field.content;
    }
    debug_text_append(text, prefix.data, prefix.size);
    debug_text_add(text, "* ");
    add_string(text, name);
    debug_text_add(text, "\n");
    for (const uint8_t *p = event.data; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number == UT_FIELD_EVENT_ATTRIBUTES && field.wire == UT_WIRE_LEN)
            add_attribute(text, field.content, prefix, "  ");
    }
}

static void add_fields(struct debug_text *text, ut_slice fields, uint32_t number, ut_slice prefix)
{
    const uint8_t *end = fields.data + fields.size;
    for (const uint8_t *p = fields.data; p < end;) {
        struct ut_wire_field field;
        p = ut_wire_field(p, &field);
        if (field.number != number)
            continue;
        if (number == UT_FIELD_SPAN_ATTRIBUTES)
            add_attribute(text, field.content, prefix, "");
        else
            add_event(text, field.content, prefix);
    }
}

void debug_add_details(struct debug_text *text, ut_slice fields, ut_slice prefix)
{
    debug_text_colour(text, DEBUG_DIM);
    add_fields(text, fields, UT_FIELD_SPAN_ATTRIBUTES, prefix);
    add_fields(text, fields, UT_FIELD_SPAN_EVENTS, prefix);
    debug_text_colour(text, DEBUG_PLAIN);
}
