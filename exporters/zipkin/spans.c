/* SPDX-License-Identifier: Apache-2.0 */
#include "zipkin_exporter/spans.h"

#include <stdio.h>

#include "model/batch.h"
#include "otlp/json_output.h"
#include "zipkin_exporter/endpoints.h"
#include "zipkin_exporter/tags.h"

enum { NS_PER_US = 1000, STATUS_OK = 1, STATUS_ERROR = 2, NUMBER_TEXT = 32 };

struct writer {
    struct ut_blocks *out;
    const struct ut_zipkin_options *options;
    struct ut_zipkin_tags tags;
    struct ut_zipkin_ends ends;
    ut_slice service;      /* AnyValue content; empty: none */
    bool failed_status;    /* of the span at hand */
    struct ut_arena texts; /* of tags that were made here, of the span at hand */
    const char *comma;     /* before the next element of the array at hand */
    unsigned link;         /* its number */
};

/* ---- attributes ------------------------------------------------------------------------------ */

static void on_resource_attribute(void *arg, ut_slice key, ut_slice value)
{
    struct writer *w = arg;
    if (ut_slice_equal(key, UT_SLICE("service.name")))
        w->service = value;
    else
        ut_zipkin_tags_add_any(&w->tags, key, value);
}

static void on_scope_attribute(void *arg, ut_slice key, ut_slice value)
{
    struct writer *w = arg;
    ut_zipkin_tags_add_any(&w->tags, key, value);
}

/* Zipkin takes any span with a tag "error" for a failed one. */
static bool denies_error(ut_slice key, ut_slice any)
{
    if (!ut_slice_equal(key, UT_SLICE("error")))
        return false;
    struct ut_wire_field value = ut_visit_value(any);
    if (value.number == UT_VALUE_BOOL)
        return value.value == 0;
    return value.number == UT_VALUE_TEXT && ut_slice_equal(value.content, UT_SLICE("false"));
}

static void on_span_attribute(void *arg, ut_slice key, ut_slice value)
{
    struct writer *w = arg;
    ut_zipkin_ends_note(&w->ends, key, value);
    if (w->failed_status || !denies_error(key, value))
        ut_zipkin_tags_add_any(&w->tags, key, value);
}

/* ---- what has no place of its own in Zipkin -------------------------------------------------- */

static void add_scope(struct writer *w, const struct ut_visit *visit)
{
    static const struct {
        const char *now, *before; /* the older name is still looked for */
        uint32_t number;
    } rows[] = {
        {"otel.scope.name", "otel.library.name", UT_NUMBER_SCOPE_NAME},
        {"otel.scope.version", "otel.library.version", UT_NUMBER_SCOPE_VERSION},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ut_slice text = ut_visit_text(visit->scope_spans, UT_NUMBER_SCOPE, rows[i].number);
        if (text.size == 0)
            continue;
        ut_zipkin_tags_add(&w->tags, ut_slice_str(rows[i].now), text);
        ut_zipkin_tags_add(&w->tags, ut_slice_str(rows[i].before), text);
    }
}

static void add_status(struct writer *w, const struct ut_visit_span *span)
{
    if (span->status != STATUS_OK && span->status != STATUS_ERROR)
        return;
    ut_zipkin_tags_add(&w->tags, UT_SLICE("otel.status_code"),
                       span->status == STATUS_OK ? UT_SLICE("OK") : UT_SLICE("ERROR"));
    if (span->status == STATUS_ERROR)
        ut_zipkin_tags_add(&w->tags, UT_SLICE("error"), span->status_message);
}

/* "text" and the number, to stay until the tags are written. */
static ut_slice numbered(struct writer *w, const char *text, unsigned number)
{
    char *made = ut_arena_alloc(&w->texts, NUMBER_TEXT);
    if (made == NULL) {
        ut_blocks_fail(w->out);
        return (ut_slice){NULL, 0};
    }
    (void)snprintf(made, NUMBER_TEXT, "%s%u", text, number);
    return ut_slice_str(made);
}

static void add_dropped(struct writer *w, const char *key, uint32_t count)
{
    if (count > 0)
        ut_zipkin_tags_add(&w->tags, ut_slice_str(key), numbered(w, "", count));
}

/* All of `blocks`, to stay until the tags are written. */
static ut_slice settle(struct writer *w, struct ut_blocks *blocks)
{
    struct ut_visit_text text;
    uint8_t *copy = NULL;
    if (ut_visit_collect(blocks, &text)) {
        copy = ut_arena_alloc(&w->texts, text.text.size + 1);
        if (copy != NULL)
            memcpy(copy, text.text.data, text.text.size);
        ut_visit_text_done(&text, blocks->pool);
    }
    if (copy == NULL)
        ut_blocks_fail(w->out);
    return ut_slice_of(copy, copy != NULL ? text.text.size : 0);
}

/* "otlp.link.0": trace|span|state|attributes|dropped, as the Collector has it. */
static void add_link(void *arg, ut_slice link)
{
    enum { TRACE_ID = 1, SPAN_ID = 2, TRACE_STATE = 3 };
    struct writer *w = arg;
    struct ut_blocks value;
    ut_blocks_init(&value, w->out->pool);
    ut_json_output_hex_digits(&value, ut_visit_text(link, 0, TRACE_ID));
    ut_blocks_byte(&value, '|');
    ut_json_output_hex_digits(&value, ut_visit_text(link, 0, SPAN_ID));
    ut_blocks_byte(&value, '|');
    ut_blocks_put(&value, ut_visit_text(link, 0, TRACE_STATE));
    ut_blocks_byte(&value, '|');
    ut_visit_put_json_attributes(&value, link, UT_NUMBER_LINK_ATTRS);
    UT_BLOCKS_LITERAL(&value, "|0");
    ut_zipkin_tags_add(&w->tags, numbered(w, "otlp.link.", w->link++), settle(w, &value));
    ut_blocks_done(&value);
}

/* ---- annotations ----------------------------------------------------------------------------- */

/* An event's name; with attributes, as the specification has it: "name": {"key": value}. */
static void write_annotation_value(struct writer *w, ut_slice event, ut_slice name)
{
    struct ut_blocks value;
    struct ut_visit_text text;
    if (ut_visit_text(event, 0, UT_NUMBER_EVENT_ATTRS).data == NULL) {
        ut_json_output_text(w->out, name);
        return;
    }
    ut_blocks_init(&value, w->out->pool);
    ut_json_output_text(&value, name);
    UT_BLOCKS_LITERAL(&value, ": ");
    ut_visit_put_json_attributes(&value, event, UT_NUMBER_EVENT_ATTRS);
    if (ut_visit_collect(&value, &text)) {
        ut_json_output_text(w->out, text.text);
        ut_visit_text_done(&text, value.pool);
    } else {
        ut_blocks_fail(w->out);
    }
    ut_blocks_done(&value);
}

static void write_annotation(void *arg, ut_slice event)
{
    struct writer *w = arg;
    struct ut_visit_event read;
    ut_visit_read_event(event, &read);
    ut_blocks_put(w->out, ut_slice_str(w->comma));
    w->comma = ",";
    UT_BLOCKS_LITERAL(w->out, "{\"timestamp\":");
    ut_json_output_unsigned(w->out, read.time_ns / NS_PER_US);
    UT_BLOCKS_LITERAL(w->out, ",\"value\":");
    write_annotation_value(w, event, read.name);
    ut_blocks_byte(w->out, '}');
}

static void write_annotations(struct writer *w, ut_slice span)
{
    if (ut_visit_text(span, 0, UT_NUMBER_SPAN_EVENTS).data == NULL)
        return;
    UT_BLOCKS_LITERAL(w->out, ",\"annotations\":[");
    w->comma = "";
    ut_visit_messages(span, UT_NUMBER_SPAN_EVENTS, write_annotation, w);
    ut_blocks_byte(w->out, ']');
}

/* ---- spans ----------------------------------------------------------------------------------- */

static void collect_tags(struct writer *w, const struct ut_visit *visit,
                         const struct ut_visit_span *span)
{
    ut_zipkin_tags_clear(&w->tags);
    w->ends = (struct ut_zipkin_ends){0};
    w->service = (ut_slice){NULL, 0};
    w->failed_status = span->status == STATUS_ERROR;
    w->link = 0;
    ut_visit_inner_attributes(visit->resource_spans, UT_NUMBER_RESOURCE, UT_NUMBER_RESOURCE_ATTRS,
                              on_resource_attribute, w);
    ut_visit_inner_attributes(visit->scope_spans, UT_NUMBER_SCOPE, UT_NUMBER_SCOPE_ATTRS,
                              on_scope_attribute, w);
    ut_visit_attributes(visit->span, UT_NUMBER_SPAN_ATTRS, on_span_attribute, w);
    add_scope(w, visit);
    if (span->trace_state.size > 0)
        ut_zipkin_tags_add(&w->tags, UT_SLICE("w3c.tracestate"), span->trace_state);
    if (span->kind == UT_SPAN_KIND_INTERNAL)
        ut_zipkin_tags_add(&w->tags, UT_SLICE("span.kind"), UT_SLICE("internal"));
    add_status(w, span);
    add_dropped(w, "otel.dropped_attributes_count", span->dropped_attributes);
    add_dropped(w, "otel.dropped_events_count", span->dropped_events);
    add_dropped(w, "otel.dropped_links_count", span->dropped_links);
    ut_visit_messages(visit->span, UT_NUMBER_SPAN_LINKS, add_link, w);
}

static void write_head(struct ut_blocks *out, const struct ut_visit_span *span)
{
    UT_BLOCKS_LITERAL(out, "{\"traceId\":");
    ut_json_output_hex(out, span->trace_id);
    UT_BLOCKS_LITERAL(out, ",\"id\":");
    ut_json_output_hex(out, span->span_id);
    if (span->parent_id.size > 0) {
        UT_BLOCKS_LITERAL(out, ",\"parentId\":");
        ut_json_output_hex(out, span->parent_id);
    }
    UT_BLOCKS_LITERAL(out, ",\"name\":");
    ut_json_output_text(out, span->name);
}

/* Zipkin knows microseconds, and a duration of none is no duration. */
static void write_times(struct ut_blocks *out, const struct ut_visit_span *span)
{
    if (span->start_ns >= NS_PER_US) {
        UT_BLOCKS_LITERAL(out, ",\"timestamp\":");
        ut_json_output_unsigned(out, span->start_ns / NS_PER_US);
    }
    if (span->end_ns > span->start_ns) {
        uint64_t us = (span->end_ns - span->start_ns) / NS_PER_US;
        UT_BLOCKS_LITERAL(out, ",\"duration\":");
        ut_json_output_unsigned(out, us > 0 ? us : 1);
    }
}

static void write_kind(struct ut_blocks *out, uint32_t kind)
{
    static const char *const kinds[] = {[UT_SPAN_KIND_SERVER] = ",\"kind\":\"SERVER\"",
                                        [UT_SPAN_KIND_CLIENT] = ",\"kind\":\"CLIENT\"",
                                        [UT_SPAN_KIND_PRODUCER] = ",\"kind\":\"PRODUCER\"",
                                        [UT_SPAN_KIND_CONSUMER] = ",\"kind\":\"CONSUMER\""};
    if (kind < sizeof(kinds) / sizeof(kinds[0]))
        ut_blocks_put(out, ut_slice_str(kinds[kind]));
}

static void write_ends(struct writer *w, uint32_t kind)
{
    struct ut_visit_text service;
    bool calls = kind == UT_SPAN_KIND_CLIENT || kind == UT_SPAN_KIND_PRODUCER;
    if (!ut_visit_value_text(w->service, w->out->pool, &service)) {
        ut_blocks_fail(w->out);
        return;
    }
    ut_zipkin_ends_write_local(
        &w->ends, service.text.size > 0 ? service.text : w->options->default_service_name, w->out);
    ut_visit_text_done(&service, w->out->pool);
    ut_zipkin_ends_write_remote(&w->ends, calls, w->out);
}

static void write_span(void *arg, const struct ut_visit *visit)
{
    struct writer *w = arg;
    struct ut_visit_span span;
    if (w->out->failed)
        return;
    ut_visit_read_span(visit->span, &span);
    ut_arena_init(&w->texts, w->out->pool);
    collect_tags(w, visit, &span);
    if (ut_blocks_bytes(w->out) > 1)
        ut_blocks_byte(w->out, ',');
    write_head(w->out, &span);
    write_kind(w->out, span.kind);
    write_times(w->out, &span);
    write_ends(w, span.kind);
    write_annotations(w, visit->span);
    ut_zipkin_tags_write(&w->tags, w->out);
    ut_blocks_byte(w->out, '}');
    ut_arena_done(&w->texts);
}

void ut_zipkin_write(struct ut_blocks *out, ut_slice request,
                     const struct ut_zipkin_options *options)
{
    struct writer w = {.out = out, .options = options};
    ut_zipkin_tags_init(&w.tags, out->pool);
    ut_blocks_byte(out, '[');
    ut_visit_spans(request, write_span, &w);
    ut_blocks_byte(out, ']');
    ut_zipkin_tags_done(&w.tags);
}
