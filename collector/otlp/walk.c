/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Called by receivers, once per request, with nothing between the socket and these bytes: every
 * byte is hostile until it has been checked here, and trusted afterwards.
 *
 * Structure and spans are walked by hand in this file and in walk_span.c; what is nested in them is
 * checked by tables (message.h).
 *
 * Invariants: 1. nothing is read outside [start, end) of the body; 2. the index takes at most
 * INDEX_PER_BYTE bytes for each byte of the request and INDEX_FREE beyond that, whatever the bytes
 * are; 3. a row is written whole or not at all.
 */
#include "otlp/walk.h"

#include <errno.h>

#include "otlp/message.h"
#include "otlp/ours.h"
#include "otlp/plain.h"
#include "otlp/text.h"
#include "otlp/walk_span.h"

enum {
    REQUEST_RESOURCE_SPANS = 1,
    RESOURCE_SPANS_RESOURCE = 1,
    RESOURCE_SPANS_SCOPE_SPANS = 2,
    RESOURCE_SPANS_SCHEMA_URL = 3,
    SCOPE_SPANS_SCOPE = 1,
    SCOPE_SPANS_SPANS = 2,
    SCOPE_SPANS_SCHEMA_URL = 3,
    RESOURCE_ATTRIBUTES = 1,

    DEPTH_RESOURCE_SPANS = 1, /* in the request */
    DEPTH_SCOPE_SPANS = 2,

    /* The least span without fault takes 30 bytes for a row of 64, alone in its ResourceSpans 34
     * for 220, so no honest request meets this bound. */
    INDEX_PER_BYTE = 8,
    INDEX_FREE = 64 << 10,
    SPAN_SIZE_MIN = 28,
    FIRST_ROWS_MAX = 4096,
};

/* The times of spans that may yet turn out to be left out. */
struct times {
    uint64_t oldest_start_ns, newest_end_ns;
};

struct walker {
    struct ut_body *body;
    struct ut_walk_report *report;
    struct ut_fault fault;
    const uint8_t *segment;                        /* offsets count from here */
    const uint8_t *end;                            /* of the request */
    uint32_t resource_room, scope_room, span_room; /* rows */
    struct times resource, scope;                  /* of the present ones */
    int error;                                     /* -ENOMEM where memory was the reason to stop */
};

static const struct times NO_TIMES = {UINT64_MAX, 0};

static void widen(struct times *times, uint64_t start_ns, uint64_t end_ns)
{
    if (start_ns != 0 && start_ns < times->oldest_start_ns)
        times->oldest_start_ns = start_ns;
    if (end_ns > times->newest_end_ns)
        times->newest_end_ns = end_ns;
}

static uint32_t offset_of(const struct walker *w, const uint8_t *p)
{
    return (uint32_t)(p - w->segment);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* `rows`, moved to where there is room for `want` of them, or fewer where the index may not become
 * that large, but at least one more. NULL: no memory, or no more rows for so small a request. */
static void *grow_rows(struct walker *w, void *rows, size_t row_size, uint32_t *room, size_t want)
{
    size_t request = w->body->end - w->body->start;
    size_t index_max = request * INDEX_PER_BYTE + INDEX_FREE;
    size_t others = (size_t)w->span_room * sizeof(struct ut_span) +
                    (size_t)w->scope_room * sizeof(struct ut_scope) +
                    (size_t)w->resource_room * sizeof(struct ut_resource) - *room * row_size;
    size_t most = others < index_max ? (index_max - others) / row_size : 0;
    if (want > most)
        want = most;
    if (want <= *room) {
        ut_message_refuse(&w->fault, w->segment + w->body->start,
                          "the request has far more messages than content");
        return NULL;
    }
    void *grown = ut_arena_grow(&w->body->arena, rows, *room * row_size, want * row_size);
    if (grown == NULL)
        w->error = -ENOMEM;
    else
        *room = (uint32_t)want;
    return grown;
}

static struct ut_resource *add_resource(struct walker *w)
{
    struct ut_body *body = w->body;
    if (body->resource_count == w->resource_room) {
        struct ut_resource *grown = grow_rows(w, body->resources, sizeof(*grown), &w->resource_room,
                                              w->resource_room * 3U + 1);
        if (grown == NULL)
            return NULL;
        body->resources = grown;
    }
    return &body->resources[body->resource_count];
}

static struct ut_scope *add_scope(struct walker *w)
{
    struct ut_body *body = w->body;
    if (body->scope_count == w->scope_room) {
        struct ut_scope *grown =
            grow_rows(w, body->scopes, sizeof(*grown), &w->scope_room, w->scope_room * 3U + 1);
        if (grown == NULL)
            return NULL;
        body->scopes = grown;
    }
    return &body->scopes[body->scope_count];
}

/* How many spans the request holds, judged by those seen so far and the one of `size` bytes at
 * `p`: requests are mostly of one kind, so this is mostly the only allocation. A first guess from
 * one span is kept small, for it can be far off. */
static size_t estimate_spans(const struct walker *w, const uint8_t *p, size_t size)
{
    size_t count = w->body->span_count;
    size_t seen = (size_t)(p - w->segment) - w->body->start + size;
    size_t rest = (size_t)(w->end - p) - size;
    if (count == 0) {
        size_t likely = rest / ((size > SPAN_SIZE_MIN ? size : SPAN_SIZE_MIN) + 2);
        likely = 1 + likely + likely / 8;
        return likely < FIRST_ROWS_MAX ? likely : FIRST_ROWS_MAX;
    }
    return count + count / 8 + 1 + (size_t)((double)rest * (double)count / (double)seen * 1.125);
}

static struct ut_span *add_span(struct walker *w, const uint8_t *p, size_t size)
{
    struct ut_body *body = w->body;
    if (__builtin_expect(body->span_count == w->span_room, 0)) {
        struct ut_span *grown =
            grow_rows(w, body->spans, sizeof(*grown), &w->span_room, estimate_spans(w, p, size));
        if (grown == NULL)
            return NULL;
        body->spans = grown;
    }
    return &body->spans[body->span_count];
}

/* ---- spans and scopes ------------------------------------------------------------------------ */

static void note_left_out(struct walker *w, uint32_t spans, const char *why)
{
    w->report->left_out += spans;
    if (w->report->reason == NULL && spans > 0)
        w->report->reason = why;
}

/* Makes the row of a bad span, or the row before it longer. */
static void leave_out(struct walker *w, const struct ut_scope *scope, struct ut_span *row)
{
    struct ut_body *body = w->body;
    row->flags |= UT_SPAN_LEFT_OUT;
    note_left_out(w, 1, w->fault.bad);
    w->fault.bad = NULL;
    if (body->span_count > scope->first_span) {
        struct ut_span *before = row - 1;
        if ((before->flags & UT_SPAN_LEFT_OUT) != 0 &&
            before->offset + before->size == row->offset - row->header) {
            before->size += row->header + row->size;
            return;
        }
    }
    body->span_count++;
    body->left_out++;
}

/* A Span of `size` bytes at `p`, whose tag is at `tag`. */
static const uint8_t *walk_span(struct walker *w, const struct ut_scope *scope, const uint8_t *tag,
                                const uint8_t *p, size_t size)
{
    struct ut_span *row = add_span(w, p, size);
    if (row == NULL)
        return NULL;
    w->fault.bad = NULL;
    if (!ut_walk_span(&w->fault, p, p + size, row))
        return NULL;
    row->offset = offset_of(w, p);
    row->size = (uint32_t)size;
    row->header = (uint8_t)(p - tag);
    if (__builtin_expect(w->fault.bad != NULL, 0)) {
        leave_out(w, scope, row);
    } else {
        w->body->span_count++;
        widen(&w->scope, row->start_ns, row->end_ns);
    }
    return p + size;
}

/* The field of a ScopeSpans behind `tag`, which is at `at`, that is not a span; `bad` is set if it
 * makes the scope bad. */
static const uint8_t *walk_scope_field(struct walker *w, uint32_t tag, const uint8_t *at,
                                       const uint8_t *p, const uint8_t *end, const char **bad)
{
    uint32_t number = tag >> 3;
    if (number > SCOPE_SPANS_SCHEMA_URL)
        return ut_message_skip(&w->fault, tag, p, end, DEPTH_SCOPE_SPANS);
    if ((tag & 7) != UT_WIRE_LEN)
        return ut_message_refuse(&w->fault, at, UT_WRONG_WIRE_TYPE);
    size_t size;
    p = ut_message_length(&w->fault, p, end, &size);
    if (p == NULL)
        return NULL;
    w->fault.bad = NULL;
    if (number == SCOPE_SPANS_SCOPE) {
        if (!ut_message_check(&w->fault, UT_MESSAGE_SCOPE, p, p + size, DEPTH_SCOPE_SPANS + 1))
            return NULL;
    } else if (!ut_text_is_fine(p, size)) {
        ut_message_bad(&w->fault, UT_BAD_TEXT);
    }
    if (*bad == NULL)
        *bad = w->fault.bad;
    return p + size;
}

/* Leaves out the spans of `count` rows from `first` on that are not yet. */
static void leave_out_rows(struct walker *w, uint32_t first, uint32_t count, const char *why)
{
    uint32_t fresh = 0;
    for (uint32_t i = first; i < first + count; i++) {
        struct ut_span *row = &w->body->spans[i];
        fresh += (row->flags & UT_SPAN_LEFT_OUT) == 0;
        row->flags |= UT_SPAN_LEFT_OUT;
    }
    w->body->left_out += fresh;
    note_left_out(w, fresh, why);
}

static void finish_scope(struct walker *w, struct ut_scope *scope, const char *bad)
{
    scope->span_count = w->body->span_count - scope->first_span;
    scope->left_out = bad != NULL;
    if (bad != NULL)
        leave_out_rows(w, scope->first_span, scope->span_count, bad);
    else
        widen(&w->resource, w->scope.oldest_start_ns, w->scope.newest_end_ns);
    if (bad != NULL || scope->span_count > 0)
        w->body->scope_count++;
}

/* A ScopeSpans of `size` bytes at `p`, whose tag is at `tag_at`. */
static const uint8_t *walk_scope_spans(struct walker *w, const uint8_t *tag_at, const uint8_t *p,
                                       size_t size)
{
    struct ut_scope *scope = add_scope(w);
    if (scope == NULL)
        return NULL;
    const uint8_t *end = p + size;
    const char *bad = NULL;
    *scope = (struct ut_scope){
        .offset = offset_of(w, tag_at),
        .content = offset_of(w, p),
        .end = offset_of(w, end),
        .first_span = w->body->span_count,
    };
    w->scope = NO_TIMES;
    while (p < end) {
        const uint8_t *at = p;
        uint32_t tag;
        p = ut_message_tag(&w->fault, p, end, &tag);
        if (p == NULL)
            return NULL;
        if (tag == UT_TAG(SCOPE_SPANS_SPANS, UT_WIRE_LEN)) {
            size_t span_size;
            p = ut_message_length(&w->fault, p, end, &span_size);
            if (p != NULL)
                p = walk_span(w, scope, at, p, span_size);
        } else {
            p = walk_scope_field(w, tag, at, p, end, &bad);
        }
        if (p == NULL)
            return NULL;
    }
    finish_scope(w, scope, bad);
    return end;
}

/* ---- resources ------------------------------------------------------------------------------- */

static ut_slice text_of(ut_slice key_value)
{
    ut_slice text = {NULL, 0};
    struct ut_wire_field field, any;
    for (const uint8_t *p = key_value.data, *end = p + key_value.size; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number != 2)
            continue;
        for (const uint8_t *q = field.content.data; q < field.end;) {
            q = ut_wire_field(q, &any);
            /* The values are a oneof: the last one counts, whatever its type. */
            if (any.number <= 7)
                text = any.number == 1 ? any.content : (ut_slice){NULL, 0};
        }
    }
    return text;
}

static void take_claim(struct ut_resource *row, ut_slice key, ut_slice text)
{
    struct ut_claims *claims = &row->claims;
    if (ut_slice_equal(key, UT_SLICE("service.name")))
        claims->service_name = text;
    else if (ut_slice_equal(key, UT_SLICE("service.namespace")))
        claims->service_namespace = text;
    else if (ut_slice_equal(key, UT_SLICE("service.instance.id")))
        claims->service_instance_id = text;
    else if (ut_slice_equal(key, UT_SLICE(UT_ATTR_CONTAINER_ID)))
        claims->container_id = text;
    else if (ut_slice_equal(key, UT_SLICE(UT_ATTR_POD_UID)))
        claims->pod_uid = text;
    else if (ut_slice_equal(key, UT_SLICE(UT_ATTR_CGROUP_PATH)))
        claims->cgroup_path = text;
}

/* A second look at what the tables have checked. */
static void read_resource(struct ut_resource *row, const uint8_t *p, const uint8_t *end)
{
    struct ut_wire_field field;
    while (p < end) {
        p = ut_wire_field(p, &field);
        if (field.number != RESOURCE_ATTRIBUTES)
            continue;
        take_claim(row, ut_ours_key(field.content), text_of(field.content));
        if (ut_ours_attribute(field.content))
            row->flags |= UT_RESOURCE_FORGED;
    }
}

/* The Resource message in [p, end): the plain attributes that it begins with are taken in place,
 * the rest, of which there is mostly none, goes through the tables. */
static bool walk_resource(struct walker *w, struct ut_resource *row, const uint8_t *p,
                          const uint8_t *end)
{
    while (end - p >= 2 && p[0] == UT_TAG(RESOURCE_ATTRIBUTES, UT_WIRE_LEN)) {
        const uint8_t *attribute = p + 2;
        size_t size = p[1], key_size;
        if (size >= 0x80 || size > (size_t)(end - attribute) ||
            !ut_plain_attribute(attribute, size, &key_size))
            break;
        ut_slice key = ut_plain_key(attribute, key_size);
        take_claim(row, key, ut_plain_text(attribute, key_size));
        if (ut_ours_has_prefix(key.data, key.size))
            row->flags |= UT_RESOURCE_FORGED;
        p = attribute + size;
    }
    if (p == end)
        return true;
    if (!ut_message_check(&w->fault, UT_MESSAGE_RESOURCE, p, end, DEPTH_RESOURCE_SPANS + 1))
        return false;
    read_resource(row, p, end);
    return true;
}

/* The field of a ResourceSpans behind `tag`, which is at `at`. */
static const uint8_t *walk_resource_field(struct walker *w, struct ut_resource *row, uint32_t tag,
                                          const uint8_t *at, const uint8_t *p)
{
    const uint8_t *end = w->segment + row->end;
    uint32_t number = tag >> 3;
    if (number > RESOURCE_SPANS_SCHEMA_URL)
        return ut_message_skip(&w->fault, tag, p, end, DEPTH_RESOURCE_SPANS);
    if ((tag & 7) != UT_WIRE_LEN)
        return ut_message_refuse(&w->fault, at, UT_WRONG_WIRE_TYPE);
    size_t size;
    p = ut_message_length(&w->fault, p, end, &size);
    if (p == NULL)
        return NULL;
    if (number == RESOURCE_SPANS_SCOPE_SPANS)
        return walk_scope_spans(w, at, p, size);
    if (number == RESOURCE_SPANS_SCHEMA_URL) {
        if (!ut_text_is_fine(p, size))
            ut_message_bad(&w->fault, UT_BAD_TEXT);
        return p + size;
    }
    row->resource_offset = offset_of(w, at);
    row->resource_content = offset_of(w, p);
    row->resource_end = offset_of(w, p + size);
    return walk_resource(w, row, p, p + size) ? p + size : NULL;
}

static void finish_resource(struct walker *w, struct ut_resource *row, const char *bad)
{
    struct ut_body *body = w->body;
    row->scope_count = body->scope_count - row->first_scope;
    row->span_count = body->span_count - row->first_span;
    if (bad != NULL) {
        row->flags |= UT_RESOURCE_LEFT_OUT;
        leave_out_rows(w, row->first_span, row->span_count, bad);
    } else {
        if (w->resource.oldest_start_ns < body->oldest_start_ns)
            body->oldest_start_ns = w->resource.oldest_start_ns;
        if (w->resource.newest_end_ns > body->newest_end_ns)
            body->newest_end_ns = w->resource.newest_end_ns;
    }
    if (bad != NULL || row->scope_count > 0)
        body->resource_count++;
}

static const uint8_t *walk_resource_spans(struct walker *w, const uint8_t *tag_at, const uint8_t *p,
                                          size_t size)
{
    struct ut_resource *row = add_resource(w);
    if (row == NULL)
        return NULL;
    const uint8_t *end = p + size;
    const char *bad = NULL;
    *row = (struct ut_resource){
        .offset = offset_of(w, tag_at),
        .content = offset_of(w, p),
        .end = offset_of(w, end),
        .first_scope = w->body->scope_count,
        .first_span = w->body->span_count,
    };
    w->resource = NO_TIMES;
    while (p < end) {
        const uint8_t *at = p;
        uint32_t tag;
        p = ut_message_tag(&w->fault, p, end, &tag);
        if (p == NULL)
            return NULL;
        w->fault.bad = NULL;
        p = walk_resource_field(w, row, tag, at, p);
        if (p == NULL)
            return NULL;
        if (bad == NULL && tag != UT_TAG(RESOURCE_SPANS_SCOPE_SPANS, UT_WIRE_LEN))
            bad = w->fault.bad;
    }
    finish_resource(w, row, bad);
    return end;
}

/* ---- the request ----------------------------------------------------------------------------- */

static bool walk_request(struct walker *w)
{
    const uint8_t *p = w->segment + w->body->start;
    while (p < w->end) {
        const uint8_t *at = p;
        uint32_t tag;
        p = ut_message_tag(&w->fault, p, w->end, &tag);
        if (p == NULL)
            return false;
        if (tag == UT_TAG(REQUEST_RESOURCE_SPANS, UT_WIRE_LEN)) {
            size_t size;
            p = ut_message_length(&w->fault, p, w->end, &size);
            if (p != NULL)
                p = walk_resource_spans(w, at, p, size);
        } else if (tag >> 3 == REQUEST_RESOURCE_SPANS) {
            p = ut_message_refuse(&w->fault, at, UT_WRONG_WIRE_TYPE);
        } else {
            p = ut_message_skip(&w->fault, tag, p, w->end, 0);
        }
        if (p == NULL)
            return false;
    }
    return true;
}

int ut_walk(struct ut_body *body, struct ut_walk_report *report)
{
    *report = (struct ut_walk_report){0};
    struct walker w = {
        .body = body,
        .report = report,
        .segment = body->segment->data,
        .end = body->segment->data + body->end,
    };
    body->resources = NULL;
    body->scopes = NULL;
    body->spans = NULL;
    body->resource_count = body->scope_count = body->span_count = body->left_out = 0;
    body->oldest_start_ns = UINT64_MAX;
    body->newest_end_ns = 0;
    if (!walk_request(&w)) {
        if (w.error != 0)
            return w.error;
        report->offset = offset_of(&w, w.fault.at) - body->start;
        report->error = w.fault.error;
        return -EBADMSG;
    }
    if (body->oldest_start_ns == UINT64_MAX)
        body->oldest_start_ns = 0;
    report->bad_text = w.fault.bad_text;
    return 0;
}
