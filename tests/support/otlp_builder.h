/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds OTLP requests for tests, span by span, on top of otlp_bytes.h.
 *
 *     struct otlp_bytes request = {0};
 *     size_t resource_spans = otlp_begin(&request, 1);
 *     size_t resource = otlp_begin(&request, 1);
 *     otlp_text_attribute(&request, 1, "service.name", "orders");
 *     otlp_end(&request, resource);
 *     size_t scope_spans = otlp_begin(&request, 2);
 *     otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 2, .name = "GET /"});
 *     otlp_end(&request, scope_spans);
 *     otlp_end(&request, resource_spans);
 *     …
 *     otlp_free(&request);
 */
#ifndef UT_TEST_OTLP_BUILDER_H
#define UT_TEST_OTLP_BUILDER_H

#include "otlp_bytes.h"

/* ---- attributes: `number` is the field of the message that holds them ---------------------------
 */

static inline size_t otlp_begin_attribute(struct otlp_bytes *out, unsigned number, const char *key)
{
    size_t attribute = otlp_begin(out, number);
    otlp_text(out, 1, key);
    return attribute;
}

static inline void otlp_text_attribute(struct otlp_bytes *out, unsigned number, const char *key,
                                       const char *value)
{
    size_t attribute = otlp_begin_attribute(out, number, key);
    size_t any = otlp_begin(out, 2);
    otlp_text(out, 1, value);
    otlp_end(out, any);
    otlp_end(out, attribute);
}

static inline void otlp_int_attribute(struct otlp_bytes *out, unsigned number, const char *key,
                                      int64_t value)
{
    size_t attribute = otlp_begin_attribute(out, number, key);
    size_t any = otlp_begin(out, 2);
    otlp_uint(out, 3, (uint64_t)value);
    otlp_end(out, any);
    otlp_end(out, attribute);
}

static inline void otlp_bool_attribute(struct otlp_bytes *out, unsigned number, const char *key,
                                       int value)
{
    size_t attribute = otlp_begin_attribute(out, number, key);
    size_t any = otlp_begin(out, 2);
    otlp_uint(out, 2, value != 0);
    otlp_end(out, any);
    otlp_end(out, attribute);
}

/* ---- spans ------------------------------------------------------------------------------------
 */

struct otlp_attribute {
    const char *key;  /* NULL ends a list */
    const char *text; /* NULL: the number */
    int64_t number;
};

struct otlp_span {
    uint64_t trace_id, span_id, parent_id; /* the last bytes of the ids; parent 0: none */
    const char *name;
    unsigned kind;
    uint64_t start_ns, end_ns;
    unsigned status;
    const struct otlp_attribute *attributes; /* ends with {0}; NULL: none */
    const void *more;                        /* further fields, encoded */
    size_t more_size;
};

/* An id of `size` bytes: the value big-endian, as tools print it, behind zeros. */
static inline void otlp_id(struct otlp_bytes *out, unsigned number, uint64_t value, size_t size)
{
    uint8_t id[16] = {0};
    for (size_t i = 0; i < 8 && i < size; i++)
        id[size - 1 - i] = (uint8_t)(value >> (8 * i));
    otlp_data(out, number, id, size);
}

static inline void otlp_attributes(struct otlp_bytes *out, unsigned number,
                                   const struct otlp_attribute *list)
{
    for (; list != NULL && list->key != NULL; list++) {
        if (list->text != NULL)
            otlp_text_attribute(out, number, list->key, list->text);
        else
            otlp_int_attribute(out, number, list->key, list->number);
    }
}

/* The fields of a Span, without tag and length. */
static inline void otlp_span_fields(struct otlp_bytes *out, const struct otlp_span *span)
{
    otlp_id(out, 1, span->trace_id, 16);
    otlp_id(out, 2, span->span_id, 8);
    if (span->parent_id != 0)
        otlp_id(out, 4, span->parent_id, 8);
    if (span->name != NULL)
        otlp_text(out, 5, span->name);
    if (span->kind != 0)
        otlp_uint(out, 6, span->kind);
    if (span->start_ns != 0)
        otlp_fixed64(out, 7, span->start_ns);
    if (span->end_ns != 0)
        otlp_fixed64(out, 8, span->end_ns);
    otlp_attributes(out, 9, span->attributes);
    otlp_raw(out, span->more, span->more_size);
    if (span->status != 0) {
        size_t status = otlp_begin(out, 15);
        otlp_uint(out, 3, span->status);
        otlp_end(out, status);
    }
}

/* A Span as ScopeSpans.spans. */
static inline void otlp_span(struct otlp_bytes *out, const struct otlp_span *span)
{
    size_t message = otlp_begin(out, 2);
    otlp_span_fields(out, span);
    otlp_end(out, message);
}

/* A span event (Span.events). */
static inline void otlp_event(struct otlp_bytes *out, const char *name, uint64_t time_ns,
                              const struct otlp_attribute *attributes)
{
    size_t event = otlp_begin(out, 11);
    otlp_fixed64(out, 1, time_ns);
    otlp_text(out, 2, name);
    otlp_attributes(out, 3, attributes);
    otlp_end(out, event);
}

/* ---- whole requests ----------------------------------------------------------------------------
 */

/* One ResourceSpans with one ScopeSpans with `count` spans. */
static inline void otlp_resource_spans(struct otlp_bytes *out,
                                       const struct otlp_attribute *resource_attributes,
                                       const struct otlp_span *spans, size_t count)
{
    size_t resource_spans = otlp_begin(out, 1);
    size_t resource = otlp_begin(out, 1);
    otlp_attributes(out, 1, resource_attributes);
    otlp_end(out, resource);
    size_t scope_spans = otlp_begin(out, 2);
    size_t scope = otlp_begin(out, 1);
    otlp_text(out, 1, "test.scope");
    otlp_end(out, scope);
    for (size_t i = 0; i < count; i++)
        otlp_span(out, &spans[i]);
    otlp_end(out, scope_spans);
    otlp_end(out, resource_spans);
}

/* So many spans whose names are `padding` and a few bytes long. */
static inline struct otlp_bytes otlp_request_of(size_t spans, size_t padding)
{
    struct otlp_bytes request = {0};
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    char *name = calloc(1, padding + 8);
    memset(name, 'n', padding + 7);
    for (size_t i = 0; i < spans; i++)
        otlp_span(&request, &(struct otlp_span){
                                .trace_id = 1,
                                .span_id = i + 1,
                                .name = name,
                                .start_ns = 1000,
                                .end_ns = 2000,
                            });
    free(name);
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    return request;
}

#endif
