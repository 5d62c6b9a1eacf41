/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks into a request for exporters that write it in another form: span by span, attribute by
 * attribute, in place. All bytes were checked by the walk and come in one piece.
 *
 * What protobuf allows and nobody sends is understood all the same: several Resource or Scope
 * messages count as one, and of several singular values the last.
 */
#ifndef UT_OTLP_VISIT_H
#define UT_OTLP_VISIT_H

#include "base/blocks.h"
#include "otlp/splice.h"
#include "otlp/wire.h"

/* Field numbers of opentelemetry.proto.{common,resource,trace}.v1. */
enum {
    UT_NUMBER_RESOURCE = 1,       /* of ResourceSpans */
    UT_NUMBER_SCOPE = 1,          /* of ScopeSpans */
    UT_NUMBER_RESOURCE_ATTRS = 1, /* of Resource */
    UT_NUMBER_SCOPE_NAME = 1,     /* of Scope */
    UT_NUMBER_SCOPE_VERSION = 2,  /* of Scope */
    UT_NUMBER_SCOPE_ATTRS = 3,    /* of Scope */
    UT_NUMBER_SPAN_ATTRS = 9,     /* of Span */
    UT_NUMBER_SPAN_EVENTS = 11,   /* of Span */
    UT_NUMBER_SPAN_LINKS = 13,    /* of Span */
    UT_NUMBER_EVENT_ATTRS = 3,    /* of Event */
    UT_NUMBER_LINK_ATTRS = 4,     /* of Link */
};

/* The spliced request in one piece, in a block of `pool` that the caller frees. NULL: out of
 * memory. */
uint8_t *ut_visit_flatten(const struct ut_splice *splice, struct ut_pool *pool) UT_MUST_USE;

struct ut_visit {
    ut_slice resource_spans, scope_spans, span; /* contents of the messages */
};
/* Calls `span` for every span in order. */
void ut_visit_spans(ut_slice request, void (*span)(void *arg, const struct ut_visit *visit),
                    void *arg);

/* Calls `attribute` for each KeyValue of field `number` of the message; `value` is the content of
 * its AnyValue, empty where it has none. */
typedef void ut_visit_attribute(void *arg, ut_slice key, ut_slice value);
void ut_visit_attributes(ut_slice message, uint32_t number, ut_visit_attribute *attribute,
                         void *arg);
/* The same for the messages in field `outer` of `message`: the attributes of a Resource or Scope.
 */
void ut_visit_inner_attributes(ut_slice message, uint32_t outer, uint32_t number,
                               ut_visit_attribute *attribute, void *arg);
/* Calls `inner` for each message in field `number`. */
void ut_visit_messages(ut_slice message, uint32_t number, void (*inner)(void *arg, ut_slice inner),
                       void *arg);
/* The content of the last field `number` with a length, looked for in the messages in field
 * `outer`, or, with outer 0, in `message` itself; empty where there is none. */
ut_slice ut_visit_text(ut_slice message, uint32_t outer, uint32_t number);

/* The scalar fields of a Span; slices are empty where absent. */
struct ut_visit_span {
    ut_slice trace_id, span_id, parent_id, trace_state, name, status_message;
    uint64_t start_ns, end_ns;
    uint32_t kind, status, flags;
    uint32_t dropped_attributes, dropped_events, dropped_links;
};
void ut_visit_read_span(ut_slice span, struct ut_visit_span *ret);

/* Of an Event. */
struct ut_visit_event {
    ut_slice name;
    uint64_t time_ns;
};
void ut_visit_read_event(ut_slice event, struct ut_visit_event *ret);

/* What an AnyValue holds: the last of its members; number 0: none. */
struct ut_wire_field ut_visit_value(ut_slice any);
enum {
    UT_VALUE_TEXT = 1,
    UT_VALUE_BOOL = 2,
    UT_VALUE_INT = 3,
    UT_VALUE_DOUBLE = 4,
    UT_VALUE_ARRAY = 5,
    UT_VALUE_MAP = 6,
    UT_VALUE_BYTES = 7,
};

/* An AnyValue as JSON that people write: 5, "text", [1,2], {"a":null}; bytes in base64. */
void ut_visit_put_json(struct ut_blocks *out, ut_slice any);
/* The attributes in field `number` as an object. Of several with one key all are written. */
void ut_visit_put_json_attributes(struct ut_blocks *out, ut_slice message, uint32_t number);

/* An AnyValue as a text, as the Collector makes one: a text as it is, numbers as JSON has them,
 * lists and maps as JSON, bytes in base64. */
struct ut_visit_text {
    ut_slice text; /* of the message, of `small` or of `block` */
    uint8_t *block;
    char small[32];
};
/* false: out of memory. */
bool ut_visit_value_text(ut_slice any, struct ut_pool *pool, struct ut_visit_text *ret) UT_MUST_USE;
void ut_visit_text_done(struct ut_visit_text *text, struct ut_pool *pool);
/* All that was written to `blocks`, in one block of its pool. false: out of memory. */
bool ut_visit_collect(struct ut_blocks *blocks, struct ut_visit_text *ret) UT_MUST_USE;

#endif
