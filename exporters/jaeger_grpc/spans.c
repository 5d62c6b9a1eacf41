/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of protobuf-c are built in an arena, their texts are slices of the request, and
 * everything is packed at the end in one go.
 */
#include "jaeger_grpc_exporter/spans.h"

#include "api_v2.pb-c.h"
#include "model/batch.h"

enum { STATUS_OK = 1, STATUS_ERROR = 2, NS_PER_S = 1000000000, LIST_FIRST = 8 };

#define BYTES(literal)                                                                             \
    (ProtobufCBinaryData)                                                                          \
    {                                                                                              \
        sizeof(literal) - 1, (uint8_t *)(uintptr_t)(literal)                                       \
    }

/* Pointers to messages, as protobuf-c wants them. */
struct list {
    void **items;
    size_t count, room;
};

struct builder {
    struct ut_arena arena;
    struct list spans;
    struct list *tags;             /* where attributes go now */
    struct list *logs;             /* … events */
    const uint8_t *resource_spans; /* that `process` is of */
    Jaeger__ApiV2__Process *first, *process;
    bool failed; /* out of memory */
};

/* ---- memory ---------------------------------------------------------------------------------- */

static void *take(struct builder *b, size_t size)
{
    void *taken = b->failed ? NULL : ut_arena_alloc(&b->arena, size);
    b->failed = taken == NULL;
    return taken;
}

static void append(struct builder *b, struct list *list, void *item)
{
    if (item == NULL)
        return;
    if (list->count == list->room) {
        size_t room = list->room == 0 ? LIST_FIRST : list->room * 2;
        void **items = take(b, room * sizeof(*items));
        if (items == NULL)
            return;
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof(*items));
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = item;
}

static ProtobufCBinaryData bytes_of(ut_slice text)
{
    return (ProtobufCBinaryData){text.size, (uint8_t *)(uintptr_t)text.data};
}

/* ---- tags ------------------------------------------------------------------------------------ */

static Jaeger__ApiV2__KeyValue *add_tag(struct builder *b, ProtobufCBinaryData key,
                                        Jaeger__ApiV2__ValueType type)
{
    Jaeger__ApiV2__KeyValue *tag = take(b, sizeof(*tag));
    if (tag == NULL)
        return NULL;
    jaeger__api_v2__key_value__init(tag);
    tag->key = key;
    tag->v_type = type;
    append(b, b->tags, tag);
    return tag;
}

static void add_text(struct builder *b, ProtobufCBinaryData key, ut_slice text)
{
    Jaeger__ApiV2__KeyValue *tag = add_tag(b, key, JAEGER__API_V2__VALUE_TYPE__STRING);
    if (tag != NULL)
        tag->v_str = bytes_of(text);
}

static void add_count(struct builder *b, ProtobufCBinaryData key, uint32_t count)
{
    Jaeger__ApiV2__KeyValue *tag =
        count > 0 ? add_tag(b, key, JAEGER__API_V2__VALUE_TYPE__INT64) : NULL;
    if (tag != NULL)
        tag->v_int64 = count;
}

/* Lists and maps, which Jaeger has not, as the JSON text that the specification wants. */
static void add_json(struct builder *b, ut_slice key, ut_slice any)
{
    struct ut_visit_text text;
    if (!ut_visit_value_text(any, b->arena.pool, &text)) {
        b->failed = true;
        return;
    }
    uint8_t *copy = take(b, text.text.size + 1);
    if (copy != NULL) {
        if (text.text.size > 0)
            memcpy(copy, text.text.data, text.text.size);
        add_text(b, bytes_of(key), ut_slice_of(copy, text.text.size));
    }
    ut_visit_text_done(&text, b->arena.pool);
}

static void add_typed(struct builder *b, ut_slice key, const struct ut_wire_field *value)
{
    static const Jaeger__ApiV2__ValueType types[] = {
        [UT_VALUE_TEXT] = JAEGER__API_V2__VALUE_TYPE__STRING,
        [UT_VALUE_BOOL] = JAEGER__API_V2__VALUE_TYPE__BOOL,
        [UT_VALUE_INT] = JAEGER__API_V2__VALUE_TYPE__INT64,
        [UT_VALUE_DOUBLE] = JAEGER__API_V2__VALUE_TYPE__FLOAT64,
        [UT_VALUE_BYTES] = JAEGER__API_V2__VALUE_TYPE__BINARY,
    };
    Jaeger__ApiV2__KeyValue *tag = add_tag(b, bytes_of(key), types[value->number]);
    if (tag == NULL)
        return;
    if (value->number == UT_VALUE_TEXT)
        tag->v_str = bytes_of(value->content);
    else if (value->number == UT_VALUE_BYTES)
        tag->v_binary = bytes_of(value->content);
    else if (value->number == UT_VALUE_BOOL)
        tag->v_bool = value->value != 0;
    else if (value->number == UT_VALUE_INT)
        tag->v_int64 = (int64_t)value->value;
    else
        memcpy(&tag->v_float64, &value->value, sizeof(tag->v_float64));
}

static void on_attribute(void *arg, ut_slice key, ut_slice any)
{
    struct builder *b = arg;
    struct ut_wire_field value = ut_visit_value(any);
    if (value.number == UT_VALUE_ARRAY || value.number == UT_VALUE_MAP)
        add_json(b, key, any);
    else if (value.number != 0)
        add_typed(b, key, &value);
    else
        add_text(b, bytes_of(key), (ut_slice){NULL, 0});
}

/* ---- the process ----------------------------------------------------------------------------- */

static void on_resource_attribute(void *arg, ut_slice key, ut_slice any)
{
    struct builder *b = arg;
    struct ut_wire_field value = ut_visit_value(any);
    if (ut_slice_equal(key, UT_SLICE("service.name")) && value.number == UT_VALUE_TEXT)
        b->process->service_name = bytes_of(value.content);
    else
        on_attribute(b, key, any);
}

static void begin_resource(struct builder *b, const struct ut_visit *visit)
{
    struct list tags = {0};
    b->process = take(b, sizeof(*b->process));
    if (b->process == NULL)
        return;
    jaeger__api_v2__process__init(b->process);
    b->tags = &tags;
    ut_visit_inner_attributes(visit->resource_spans, UT_NUMBER_RESOURCE, UT_NUMBER_RESOURCE_ATTRS,
                              on_resource_attribute, b);
    if (b->process->service_name.len == 0)
        b->process->service_name = BYTES("unknown_service");
    b->process->tags = (Jaeger__ApiV2__KeyValue **)tags.items;
    b->process->n_tags = tags.count;
    b->resource_spans = visit->resource_spans.data;
    if (b->first == NULL)
        b->first = b->process;
}

/* ---- events and links ------------------------------------------------------------------------ */

static Jaeger__ApiV2__Time *time_of(struct builder *b, uint64_t ns)
{
    Jaeger__ApiV2__Time *time = take(b, sizeof(*time));
    if (time == NULL)
        return NULL;
    jaeger__api_v2__time__init(time);
    time->seconds = (int64_t)(ns / NS_PER_S);
    time->nanos = (int32_t)(ns % NS_PER_S);
    return time;
}

static void on_event(void *arg, ut_slice event)
{
    struct builder *b = arg;
    struct ut_visit_event read;
    struct list fields = {0};
    Jaeger__ApiV2__Log *log = take(b, sizeof(*log));
    if (log == NULL)
        return;
    jaeger__api_v2__log__init(log);
    ut_visit_read_event(event, &read);
    log->timestamp = time_of(b, read.time_ns);
    b->tags = &fields;
    if (read.name.size > 0)
        add_text(b, BYTES("event"), read.name);
    ut_visit_attributes(event, UT_NUMBER_EVENT_ATTRS, on_attribute, b);
    log->fields = (Jaeger__ApiV2__KeyValue **)fields.items;
    log->n_fields = fields.count;
    append(b, b->logs, log);
}

struct references {
    struct builder *b;
    struct list list;
};

static void add_reference(struct references *references, ut_slice trace_id, ut_slice span_id,
                          Jaeger__ApiV2__SpanRefType type)
{
    Jaeger__ApiV2__SpanRef *reference = take(references->b, sizeof(*reference));
    if (reference == NULL)
        return;
    jaeger__api_v2__span_ref__init(reference);
    reference->trace_id = bytes_of(trace_id);
    reference->span_id = bytes_of(span_id);
    reference->ref_type = type;
    append(references->b, &references->list, reference);
}

static void on_link(void *arg, ut_slice link)
{
    enum { TRACE_ID = 1, SPAN_ID = 2 };
    add_reference(arg, ut_visit_text(link, 0, TRACE_ID), ut_visit_text(link, 0, SPAN_ID),
                  JAEGER__API_V2__SPAN_REF_TYPE__FOLLOWS_FROM);
}

/* ---- spans ----------------------------------------------------------------------------------- */

static void add_kind(struct builder *b, uint32_t kind)
{
    static const char *const kinds[] = {
        [UT_SPAN_KIND_INTERNAL] = "internal", [UT_SPAN_KIND_SERVER] = "server",
        [UT_SPAN_KIND_CLIENT] = "client",     [UT_SPAN_KIND_PRODUCER] = "producer",
        [UT_SPAN_KIND_CONSUMER] = "consumer",
    };
    if (kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[kind] != NULL)
        add_text(b, BYTES("span.kind"), ut_slice_str(kinds[kind]));
}

static void add_status(struct builder *b, const struct ut_visit_span *span)
{
    if (span->status == STATUS_OK)
        add_text(b, BYTES("otel.status_code"), UT_SLICE("OK"));
    if (span->status == STATUS_ERROR) {
        add_text(b, BYTES("otel.status_code"), UT_SLICE("ERROR"));
        Jaeger__ApiV2__KeyValue *tag = add_tag(b, BYTES("error"), JAEGER__API_V2__VALUE_TYPE__BOOL);
        if (tag != NULL)
            tag->v_bool = true;
    }
    if (span->status_message.size > 0)
        add_text(b, BYTES("otel.status_description"), span->status_message);
}

static void add_tags(struct builder *b, const struct ut_visit *visit,
                     const struct ut_visit_span *span)
{
    ut_slice scope = ut_visit_text(visit->scope_spans, UT_NUMBER_SCOPE, UT_NUMBER_SCOPE_NAME);
    ut_slice version = ut_visit_text(visit->scope_spans, UT_NUMBER_SCOPE, UT_NUMBER_SCOPE_VERSION);
    if (scope.size > 0)
        add_text(b, BYTES("otel.scope.name"), scope);
    if (version.size > 0)
        add_text(b, BYTES("otel.scope.version"), version);
    ut_visit_inner_attributes(visit->scope_spans, UT_NUMBER_SCOPE, UT_NUMBER_SCOPE_ATTRS,
                              on_attribute, b);
    ut_visit_attributes(visit->span, UT_NUMBER_SPAN_ATTRS, on_attribute, b);
    add_kind(b, span->kind);
    add_status(b, span);
    if (span->trace_state.size > 0)
        add_text(b, BYTES("w3c.tracestate"), span->trace_state);
    add_count(b, BYTES("otel.dropped_attributes_count"), span->dropped_attributes);
    add_count(b, BYTES("otel.dropped_events_count"), span->dropped_events);
    add_count(b, BYTES("otel.dropped_links_count"), span->dropped_links);
}

static void fill_span(struct builder *b, const struct ut_visit *visit, Jaeger__ApiV2__Span *out)
{
    struct ut_visit_span span;
    struct list tags = {0}, logs = {0};
    struct references references = {.b = b};
    ut_visit_read_span(visit->span, &span);
    out->trace_id = bytes_of(span.trace_id);
    out->span_id = bytes_of(span.span_id);
    out->operation_name = bytes_of(span.name);
    out->flags = span.flags & 1; /* sampled, in W3C's flags as in Jaeger's */
    out->start_time = time_of(b, span.start_ns);
    out->duration = time_of(b, span.end_ns > span.start_ns ? span.end_ns - span.start_ns : 0);
    b->tags = &tags;
    add_tags(b, visit, &span);
    out->tags = (Jaeger__ApiV2__KeyValue **)tags.items;
    out->n_tags = tags.count;
    b->logs = &logs;
    ut_visit_messages(visit->span, UT_NUMBER_SPAN_EVENTS, on_event, b);
    out->logs = (Jaeger__ApiV2__Log **)logs.items;
    out->n_logs = logs.count;
    /* The parent stands first: that is where backends look for it. */
    if (span.parent_id.size > 0)
        add_reference(&references, span.trace_id, span.parent_id,
                      JAEGER__API_V2__SPAN_REF_TYPE__CHILD_OF);
    ut_visit_messages(visit->span, UT_NUMBER_SPAN_LINKS, on_link, &references);
    out->references = (Jaeger__ApiV2__SpanRef **)references.list.items;
    out->n_references = references.list.count;
}

static void on_span(void *arg, const struct ut_visit *visit)
{
    struct builder *b = arg;
    if (b->failed)
        return;
    if (b->resource_spans != visit->resource_spans.data)
        begin_resource(b, visit);
    Jaeger__ApiV2__Span *out = take(b, sizeof(*out));
    if (out == NULL)
        return;
    jaeger__api_v2__span__init(out);
    fill_span(b, visit, out);
    if (b->process != b->first)
        out->process = b->process;
    append(b, &b->spans, out);
}

static struct ut_segment *pack(struct builder *b)
{
    Jaeger__ApiV2__PostSpansRequest request = JAEGER__API_V2__POST_SPANS_REQUEST__INIT;
    Jaeger__ApiV2__Batch batch = JAEGER__API_V2__BATCH__INIT;
    request.batch = &batch;
    batch.process = b->first;
    batch.spans = (Jaeger__ApiV2__Span **)b->spans.items;
    batch.n_spans = b->spans.count;
    size_t size = jaeger__api_v2__post_spans_request__get_packed_size(&request);
    struct ut_segment *segment = ut_segment_new(b->arena.pool, size);
    if (segment != NULL)
        segment->size = jaeger__api_v2__post_spans_request__pack(&request, segment->data);
    return segment;
}

struct ut_segment *ut_jaeger_write(ut_slice request, struct ut_pool *pool)
{
    struct builder b = {0};
    ut_arena_init(&b.arena, pool);
    ut_visit_spans(request, on_span, &b);
    struct ut_segment *segment = b.failed ? NULL : pack(&b);
    ut_arena_done(&b.arena);
    return segment;
}
