/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/visit.h"

#include <inttypes.h>
#include <stdio.h>

#include "otlp/json_output.h"

enum {
    REQUEST_RESOURCE_SPANS = 1,
    RESOURCE_SPANS_SCOPE_SPANS = 2,
    SCOPE_SPANS_SPANS = 2,
    KEY_VALUE_KEY = 1,
    KEY_VALUE_VALUE = 2,
    LIST_VALUES = 1, /* of ArrayValue and KeyValueList */
};

uint8_t *ut_visit_flatten(const struct ut_splice *splice, struct ut_pool *pool)
{
    uint8_t *flat = ut_pool_alloc(pool, splice->bytes + 1);
    size_t at = 0;
    for (size_t i = 1; flat != NULL && i < splice->run_count; i++) {
        memcpy(flat + at, splice->runs[i].iov_base, splice->runs[i].iov_len);
        at += splice->runs[i].iov_len;
    }
    return flat;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Takes the next field off the front of `message`; false: it is used up. */
static bool next_field(ut_slice *message, struct ut_wire_field *ret)
{
    if (message->size == 0)
        return false;
    const uint8_t *end = message->data + message->size;
    const uint8_t *p = ut_wire_field(message->data, ret);
    *message = ut_slice_of(p, (size_t)(end - p));
    return true;
}

/* … the next one of that number that has a length. */
static bool next_message(ut_slice *message, uint32_t number, ut_slice *ret)
{
    struct ut_wire_field field;
    while (next_field(message, &field)) {
        if (field.number == number && field.wire == UT_WIRE_LEN) {
            *ret = field.content;
            return true;
        }
    }
    return false;
}

void ut_visit_spans(ut_slice request, void (*span)(void *arg, const struct ut_visit *visit),
                    void *arg)
{
    struct ut_visit visit;
    while (next_message(&request, REQUEST_RESOURCE_SPANS, &visit.resource_spans)) {
        ut_slice scopes = visit.resource_spans;
        while (next_message(&scopes, RESOURCE_SPANS_SCOPE_SPANS, &visit.scope_spans)) {
            ut_slice spans = visit.scope_spans;
            while (next_message(&spans, SCOPE_SPANS_SPANS, &visit.span))
                span(arg, &visit);
        }
    }
}

void ut_visit_messages(ut_slice message, uint32_t number, void (*inner)(void *arg, ut_slice inner),
                       void *arg)
{
    ut_slice one;
    while (next_message(&message, number, &one))
        inner(arg, one);
}

void ut_visit_attributes(ut_slice message, uint32_t number, ut_visit_attribute *attribute,
                         void *arg)
{
    ut_slice pair;
    while (next_message(&message, number, &pair))
        attribute(arg, ut_visit_text(pair, 0, KEY_VALUE_KEY),
                  ut_visit_text(pair, 0, KEY_VALUE_VALUE));
}

void ut_visit_inner_attributes(ut_slice message, uint32_t outer, uint32_t number,
                               ut_visit_attribute *attribute, void *arg)
{
    ut_slice inner;
    while (next_message(&message, outer, &inner))
        ut_visit_attributes(inner, number, attribute, arg);
}

ut_slice ut_visit_text(ut_slice message, uint32_t outer, uint32_t number)
{
    ut_slice text = {NULL, 0}, inner;
    if (outer == 0) {
        while (next_message(&message, number, &inner))
            text = inner;
        return text;
    }
    while (next_message(&message, outer, &inner)) {
        ut_slice found = ut_visit_text(inner, 0, number);
        text = found.data != NULL ? found : text;
    }
    return text;
}

/* ---- spans ----------------------------------------------------------------------------------- */

static void read_status(ut_slice status, struct ut_visit_span *ret)
{
    struct ut_wire_field field;
    while (next_field(&status, &field)) {
        if (field.number == 2)
            ret->status_message = field.content;
        else if (field.number == 3)
            ret->status = (uint32_t)field.value;
    }
}

static void take_number(const struct ut_wire_field *field, struct ut_visit_span *ret)
{
    switch (field->number) {
    case 6:
        ret->kind = (uint32_t)field->value;
        break;
    case 7:
        ret->start_ns = field->value;
        break;
    case 8:
        ret->end_ns = field->value;
        break;
    case 10:
        ret->dropped_attributes = (uint32_t)field->value;
        break;
    case 12:
        ret->dropped_events = (uint32_t)field->value;
        break;
    case 14:
        ret->dropped_links = (uint32_t)field->value;
        break;
    case 16:
        ret->flags = (uint32_t)field->value;
        break;
    default:
        break;
    }
}

void ut_visit_read_span(ut_slice span, struct ut_visit_span *ret)
{
    struct ut_wire_field field;
    *ret = (struct ut_visit_span){0};
    ut_slice *const texts[] = {
        NULL, &ret->trace_id, &ret->span_id, &ret->trace_state, &ret->parent_id, &ret->name};
    while (next_field(&span, &field)) {
        if (field.number < sizeof(texts) / sizeof(texts[0]))
            *texts[field.number] = field.content;
        else if (field.number == 15)
            read_status(field.content, ret);
        else
            take_number(&field, ret);
    }
}

void ut_visit_read_event(ut_slice event, struct ut_visit_event *ret)
{
    struct ut_wire_field field;
    *ret = (struct ut_visit_event){0};
    while (next_field(&event, &field)) {
        if (field.number == 1)
            ret->time_ns = field.value;
        else if (field.number == 2)
            ret->name = field.content;
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

struct ut_wire_field ut_visit_value(ut_slice any)
{
    struct ut_wire_field value = {0}, field;
    while (next_field(&any, &field)) {
        if (field.number >= UT_VALUE_TEXT && field.number <= UT_VALUE_BYTES)
            value = field;
    }
    return value;
}

static void put_double(struct ut_blocks *out, uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    ut_json_output_double(out, value);
}

static void put_array(struct ut_blocks *out, ut_slice values)
{
    ut_slice one;
    bool first = true;
    ut_blocks_byte(out, '[');
    while (next_message(&values, LIST_VALUES, &one)) {
        if (!first)
            ut_blocks_byte(out, ',');
        first = false;
        ut_visit_put_json(out, one);
    }
    ut_blocks_byte(out, ']');
}

void ut_visit_put_json_attributes(struct ut_blocks *out, ut_slice message, uint32_t number)
{
    ut_slice pair;
    bool first = true;
    ut_blocks_byte(out, '{');
    while (next_message(&message, number, &pair)) {
        if (!first)
            ut_blocks_byte(out, ',');
        first = false;
        ut_json_output_text(out, ut_visit_text(pair, 0, KEY_VALUE_KEY));
        ut_blocks_byte(out, ':');
        ut_visit_put_json(out, ut_visit_text(pair, 0, KEY_VALUE_VALUE));
    }
    ut_blocks_byte(out, '}');
}

void ut_visit_put_json(struct ut_blocks *out, ut_slice any)
{
    struct ut_wire_field value = ut_visit_value(any);
    switch (value.number) {
    case UT_VALUE_TEXT:
        ut_json_output_text(out, value.content);
        break;
    case UT_VALUE_BOOL:
        ut_blocks_put(out, value.value != 0 ? UT_SLICE("true") : UT_SLICE("false"));
        break;
    case UT_VALUE_INT:
        ut_json_output_signed(out, (int64_t)value.value);
        break;
    case UT_VALUE_DOUBLE:
        put_double(out, value.value);
        break;
    case UT_VALUE_ARRAY:
        put_array(out, value.content);
        break;
    case UT_VALUE_MAP:
        ut_visit_put_json_attributes(out, value.content, LIST_VALUES);
        break;
    case UT_VALUE_BYTES:
        ut_json_output_base64(out, value.content);
        break;
    default:
        UT_BLOCKS_LITERAL(out, "null");
    }
}

bool ut_visit_collect(struct ut_blocks *blocks, struct ut_visit_text *ret)
{
    const struct iovec *runs;
    int count = ut_blocks_runs(blocks, &runs);
    size_t size = ut_blocks_bytes(blocks), at = 0;
    ret->block = count >= 0 ? ut_pool_alloc(blocks->pool, size + 1) : NULL;
    if (ret->block == NULL)
        return false;
    for (int i = 0; i < count; i++) {
        memcpy(ret->block + at, runs[i].iov_base, runs[i].iov_len);
        at += runs[i].iov_len;
    }
    ret->text = ut_slice_of(ret->block, size);
    return true;
}

/* Without the quotes that a JSON text has. */
static bool collect_json(ut_slice any, struct ut_pool *pool, struct ut_visit_text *ret)
{
    struct ut_blocks blocks;
    ut_blocks_init(&blocks, pool);
    ut_visit_put_json(&blocks, any);
    bool fine = ut_visit_collect(&blocks, ret);
    ut_blocks_done(&blocks);
    if (fine && ret->text.size >= 2 && ret->text.data[0] == '"')
        ret->text = ut_slice_of(ret->text.data + 1, ret->text.size - 2);
    return fine;
}

bool ut_visit_value_text(ut_slice any, struct ut_pool *pool, struct ut_visit_text *ret)
{
    struct ut_wire_field value = ut_visit_value(any);
    ret->block = NULL;
    ret->text = (ut_slice){NULL, 0};
    switch (value.number) {
    case 0:
        return true;
    case UT_VALUE_TEXT:
        ret->text = value.content;
        return true;
    case UT_VALUE_BOOL:
        ret->text = value.value != 0 ? UT_SLICE("true") : UT_SLICE("false");
        return true;
    case UT_VALUE_INT:
        (void)snprintf(ret->small, sizeof(ret->small), "%" PRId64, (int64_t)value.value);
        ret->text = ut_slice_str(ret->small);
        return true;
    default:
        return collect_json(any, pool, ret);
    }
}

void ut_visit_text_done(struct ut_visit_text *text, struct ut_pool *pool)
{
    ut_pool_free(pool, text->block);
}
