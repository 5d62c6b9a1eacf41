/* SPDX-License-Identifier: Apache-2.0 */
#include "debug_exporter/read.h"

#include "model/attributes.h"
#include "otlp/encode.h"

enum {
    NAME_MOST = 200,
    SERVICE_MOST = 64,
    VALUE_MOST = 64,
    FIELDS_MOST = 16 << 10,
    EVENTS_MOST = 64, /* of evidence, a span */
    /* Fields of KeyValue and AnyValue, opentelemetry.proto.common.v1. */
    KEY = 1,
    VALUE = 2,
    VALUE_STRING = 1,
    VALUE_BOOL = 2,
    VALUE_INT = 3,
};

void debug_fields_init(struct debug_fields *fields, const struct ut_body *body, uint32_t span)
{
    const struct ut_span *row = &body->spans[span];
    const uint8_t *segment = body->segment->data;
    *fields = (struct debug_fields){
        .segment = segment,
        .next = segment + row->offset,
        .end = segment + row->offset + row->size,
        .edit = ut_body_edit(body, span),
    };
}

static bool is_removed(struct debug_fields *fields, const uint8_t *field)
{
    const struct ut_edit *edit = fields->edit;
    if (edit == NULL)
        return false;
    size_t offset = (size_t)(field - fields->segment);
    while (fields->range < edit->removed_count &&
           edit->removed[fields->range].offset + edit->removed[fields->range].size <= offset)
        fields->range++;
    return fields->range < edit->removed_count && edit->removed[fields->range].offset <= offset;
}

bool debug_fields_next(struct debug_fields *fields, struct ut_wire_field *ret)
{
    for (;;) {
        while (fields->next < fields->end) {
            fields->next = ut_wire_field(fields->next, ret);
            if (!is_removed(fields, ret->begin))
                return true;
        }
        if (fields->edit == NULL || fields->edit->added.size == 0)
            return false;
        fields->next = fields->edit->added.data;
        fields->end = fields->next + fields->edit->added.size;
        fields->edit = NULL;
    }
}

struct debug_attribute debug_read_attribute(ut_slice key_value)
{
    struct debug_attribute attribute = {0};
    const uint8_t *end = key_value.data + key_value.size;
    for (const uint8_t *p = key_value.data; p < end;) {
        struct ut_wire_field field;
        p = ut_wire_field(p, &field);
        if (field.wire != UT_WIRE_LEN)
            continue;
        if (field.number == KEY)
            attribute.key = field.content;
        if (field.number != VALUE)
            continue;
        const uint8_t *value_end = field.content.data + field.content.size;
        for (const uint8_t *q = field.content.data; q < value_end;)
            q = ut_wire_field(q, &attribute.value);
    }
    return attribute;
}

/* ---- what a tree shows of the evidence: one table row an attribute -----------------------------
 */

enum target { TEXT, NUMBER, FLAG };

struct wanted {
    ut_slice key;
    enum target target;
    size_t offset;
};

#define WANT(name, target, type, member)                                                           \
    {                                                                                              \
        {(const uint8_t *)(name), sizeof(name) - 1}, (target), offsetof(type, member)              \
    }

static const struct wanted of_span[] = {
    WANT(UT_ATTR_TCP_MATCH, TEXT, struct debug_counts, match),
    WANT(UT_ATTR_TCP_SIDE, TEXT, struct debug_counts, side),
    WANT(UT_ATTR_TCP_RETRANSMITS, NUMBER, struct debug_counts, retransmits),
    WANT(UT_ATTR_TCP_RETRANSMIT_BYTES, NUMBER, struct debug_counts, bytes),
    WANT(UT_ATTR_TCP_TIMEOUTS, NUMBER, struct debug_counts, timeouts),
    WANT(UT_ATTR_TCP_PROBES, NUMBER, struct debug_counts, probes),
    WANT(UT_ATTR_TCP_RESETS, NUMBER, struct debug_counts, resets),
    WANT(UT_ATTR_TCP_CONNECT_NS, NUMBER, struct debug_counts, connect_ns),
    WANT(UT_ATTR_TCP_ZERO_WINDOW_NS, NUMBER, struct debug_counts, zero_window_ns),
    WANT(UT_ATTR_TCP_RECEIVE_DROPS, NUMBER, struct debug_counts, receive_drops),
    WANT(UT_ATTR_TCP_LISTEN_OVERFLOWS, NUMBER, struct debug_counts, listen_overflows),
    WANT(UT_ATTR_SHARED_BY, NUMBER, struct debug_counts, shared_by),
    WANT(UT_ATTR_PARTIAL, FLAG, struct debug_counts, partial),
};

static const struct wanted of_event[] = {
    WANT(UT_ATTR_MATCH, TEXT, struct debug_event, match),
    WANT(UT_ATTR_SIDE, TEXT, struct debug_event, side),
    WANT(UT_ATTR_TCP_TYPE, TEXT, struct debug_event, type),
    WANT(UT_ATTR_LOCAL_ADDRESS, TEXT, struct debug_event, local_address),
    WANT(UT_ATTR_PEER_ADDRESS, TEXT, struct debug_event, peer_address),
    WANT(UT_ATTR_LOCAL_PORT, NUMBER, struct debug_event, local_port),
    WANT(UT_ATTR_PEER_PORT, NUMBER, struct debug_event, peer_port),
    WANT(UT_ATTR_TCP_SEQ, NUMBER, struct debug_event, seq),
    WANT(UT_ATTR_TCP_BYTES, NUMBER, struct debug_event, bytes),
    WANT(UT_ATTR_TCP_SEGMENTS, NUMBER, struct debug_event, segments),
    WANT(UT_ATTR_TCP_WAITED_MIN_NS, NUMBER, struct debug_event, waited_min_ns),
    WANT(UT_ATTR_TCP_WAITED_NS, NUMBER, struct debug_event, waited_min_ns),
    WANT(UT_ATTR_OMITTED, NUMBER, struct debug_event, omitted),
};

static bool take(struct debug_trace *trace, const struct wanted *row, char *out,
                 const struct ut_wire_field *value)
{
    if (row->target == TEXT && value->number == VALUE_STRING && value->wire == UT_WIRE_LEN)
        return debug_copy(trace, value->content, VALUE_MOST,
                          (ut_slice *)(void *)(out + row->offset));
    if (row->target == NUMBER && value->number == VALUE_INT && value->wire == UT_WIRE_VARINT)
        *(int64_t *)(void *)(out + row->offset) = (int64_t)value->value;
    if (row->target == FLAG && value->number == VALUE_BOOL && value->wire == UT_WIRE_VARINT)
        *(bool *)(out + row->offset) = value->value != 0;
    return true;
}

static bool take_wanted(struct debug_trace *trace, ut_slice key_value, const struct wanted *table,
                        size_t rows, void *out)
{
    struct debug_attribute attribute = debug_read_attribute(key_value);
    for (size_t i = 0; i < rows; i++)
        if (ut_slice_equal(attribute.key, table[i].key))
            return take(trace, &table[i], out, &attribute.value);
    return true;
}

static bool is_evidence_event(ut_slice event)
{
    const uint8_t *end = event.data + event.size;
    for (const uint8_t *p = event.data; p < end;) {
        struct ut_wire_field field;
        p = ut_wire_field(p, &field);
        if (field.number == DEBUG_EVENT_NAME && field.wire == UT_WIRE_LEN)
            return ut_slice_equal(field.content, UT_SLICE(UT_EVENT_TCP_RETRANSMIT));
    }
    return false;
}

static struct debug_event *read_event(struct debug_trace *trace, ut_slice bytes)
{
    struct debug_event *event = ut_arena_alloc(&trace->arena, sizeof(*event));
    if (event == NULL)
        return NULL;
    *event = (struct debug_event){.local_port = -1,
                                  .peer_port = -1,
                                  .seq = -1,
                                  .bytes = -1,
                                  .segments = -1,
                                  .waited_min_ns = -1,
                                  .omitted = -1};
    const uint8_t *end = bytes.data + bytes.size;
    for (const uint8_t *p = bytes.data; p < end;) {
        struct ut_wire_field field;
        p = ut_wire_field(p, &field);
        if (field.number == DEBUG_EVENT_TIME && field.wire == UT_WIRE_FIXED64)
            event->time_ns = field.value;
        if (field.number == UT_FIELD_EVENT_ATTRIBUTES && field.wire == UT_WIRE_LEN &&
            !take_wanted(trace, field.content, of_event, sizeof(of_event) / sizeof(of_event[0]),
                         event))
            return NULL;
    }
    return event;
}

/* ---- spans ------------------------------------------------------------------------------------
 */

struct reading {
    struct debug_trace *trace;
    struct debug_span *span;
    struct debug_event **last_event;
    unsigned event_count;
};

static bool on_field(struct reading *reading, const struct ut_wire_field *field)
{
    struct debug_span *span = reading->span;
    if (field->wire != UT_WIRE_LEN)
        return true;
    switch (field->number) {
    case DEBUG_SPAN_NAME:
        return debug_copy(reading->trace, field->content, NAME_MOST, &span->name);
    case UT_FIELD_SPAN_ATTRIBUTES:
        return take_wanted(reading->trace, field->content, of_span,
                           sizeof(of_span) / sizeof(of_span[0]), &span->counts);
    case UT_FIELD_SPAN_EVENTS:
        if (reading->event_count == EVENTS_MOST || !is_evidence_event(field->content))
            return true;
        *reading->last_event = read_event(reading->trace, field->content);
        if (*reading->last_event == NULL)
            return false;
        reading->last_event = &(*reading->last_event)->next;
        reading->event_count++;
        return true;
    default:
        return true;
    }
}

static bool is_shown(const struct ut_wire_field *field)
{
    return field->wire == UT_WIRE_LEN &&
           (field->number == UT_FIELD_SPAN_ATTRIBUTES || field->number == UT_FIELD_SPAN_EVENTS);
}

/* Attributes and events as they are on the wire, as many whole fields as there is room for. */
static bool copy_fields(struct debug_trace *trace, const struct ut_body *body, uint32_t index,
                        ut_slice *ret)
{
    struct debug_fields fields;
    struct ut_wire_field field;
    size_t size = 0;
    debug_fields_init(&fields, body, index);
    while (debug_fields_next(&fields, &field)) {
        size_t field_size = (size_t)(field.end - field.begin);
        if (is_shown(&field) && size + field_size <= FIELDS_MOST)
            size += field_size;
    }
    uint8_t *copy = ut_arena_alloc(&trace->arena, size);
    if (copy == NULL)
        return false;
    *ret = ut_slice_of(copy, size);
    size = 0;
    debug_fields_init(&fields, body, index);
    while (debug_fields_next(&fields, &field)) {
        size_t field_size = (size_t)(field.end - field.begin);
        if (!is_shown(&field) || size + field_size > ret->size)
            continue;
        memcpy(copy + size, field.begin, field_size);
        size += field_size;
    }
    ret->size = size;
    return true;
}

bool debug_read_span(struct debug_trace *trace, const struct ut_body *body, uint32_t index,
                     ut_slice service, bool with_fields)
{
    const struct ut_span *row = &body->spans[index];
    struct debug_span *span = ut_arena_alloc(&trace->arena, sizeof(*span));
    if (span == NULL)
        return false;
    *span = (struct debug_span){
        .start_ns = row->start_ns,
        .end_ns = row->end_ns,
        .kind = row->kind,
        .status = row->status,
    };
    memcpy(span->id, row->span_id, sizeof(span->id));
    memcpy(span->parent, row->parent_id, sizeof(span->parent));
    if (!debug_copy(trace, service, SERVICE_MOST, &span->service))
        return false;

    struct reading reading = {.trace = trace, .span = span, .last_event = &span->events};
    struct debug_fields fields;
    struct ut_wire_field field;
    debug_fields_init(&fields, body, index);
    while (debug_fields_next(&fields, &field))
        if (!on_field(&reading, &field))
            return false;
    if (with_fields && !copy_fields(trace, body, index, &span->fields))
        return false;
    *trace->last = span;
    trace->last = &span->next;
    trace->span_count++;
    return true;
}

bool debug_has_evidence(const struct ut_body *body, uint32_t index)
{
    const struct ut_edit *edit = ut_body_edit(body, index);
    return edit != NULL && edit->added.size > 0;
}
