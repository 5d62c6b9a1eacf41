/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a splice must come to, written for truth instead of speed: the request is built again field
 * by field, with copies. Both sides are compared in a canonical form, in which every message of the
 * three upper levels has the shortest header (an untouched one may keep a longer one).
 */
#ifndef UT_TEST_SPLICE_REFERENCE_H
#define UT_TEST_SPLICE_REFERENCE_H

#include <stdio.h>

#include "otlp/splice.h"
#include "otlp/wire.h"
#include "otlp_batch.h"

/* ---- the canonical form of any request --------------------------------------------------------
 */

static inline void canonical_fields(struct otlp_bytes *out, ut_slice message, int level)
{
    struct ut_wire_field field;
    if (message.size == 0)
        return;
    for (const uint8_t *p = message.data, *end = p + message.size; p < end;) {
        p = ut_wire_field(p, &field);
        /* 0: the request, 1: ResourceSpans, 2: ScopeSpans; what is nested there and may change. */
        bool nested = field.wire == UT_WIRE_LEN &&
                      ((level == 0 && field.number == 1) || (level == 1 && field.number <= 2) ||
                       (level == 2 && field.number == 2));
        if (!nested) {
            otlp_raw(out, field.begin, (size_t)(field.end - field.begin));
            continue;
        }
        bool deeper = (level == 0) || (level == 1 && field.number == 2);
        size_t begin = otlp_begin(out, field.number);
        if (deeper)
            canonical_fields(out, field.content, level + 1);
        else
            otlp_raw(out, field.content.data, field.content.size);
        otlp_end(out, begin);
    }
}

/* ---- the reference ------------------------------------------------------------------------------
 */

struct reference {
    struct otlp_bytes *out;
    const struct ut_batch *batch;
    const struct ut_body *body;
    uint32_t first, end; /* spans asked for */
    uint32_t position;   /* of the next span that is not left out */
    uint32_t row, scope_row, resource_row;
};

static inline bool reference_wants(const struct reference *r, uint32_t spans)
{
    uint32_t begin = r->position > r->first ? r->position : r->first;
    uint32_t end = r->position + spans < r->end ? r->position + spans : r->end;
    return begin < end;
}

static inline uint32_t reference_spans(const struct ut_body *body, uint32_t first, uint32_t count)
{
    uint32_t spans = 0;
    for (uint32_t i = first; i < first + count; i++)
        spans += (body->spans[i].flags & UT_SPAN_LEFT_OUT) == 0;
    return spans;
}

static inline uint32_t reference_offset(const struct reference *r, const uint8_t *p)
{
    return (uint32_t)(p - r->body->segment->data);
}

/* A message with its edit applied, byte by byte. */
static inline void reference_edited(struct reference *r, unsigned number, ut_slice content,
                                    const struct ut_edit *edit, bool with_added)
{
    size_t begin = otlp_begin(r->out, number);
    for (size_t i = 0; i < content.size; i++) {
        uint32_t offset = reference_offset(r, content.data + i);
        bool removed = false;
        for (uint32_t j = 0; edit != NULL && j < edit->removed_count; j++)
            removed = removed || offset - edit->removed[j].offset < edit->removed[j].size;
        if (!removed)
            otlp_byte(r->out, content.data[i]);
    }
    if (edit != NULL && with_added)
        otlp_raw(r->out, edit->added.data, edit->added.size);
    otlp_end(r->out, begin);
}

static inline void reference_span(struct reference *r, const struct ut_wire_field *field)
{
    const struct ut_span *row = &r->body->spans[r->row];
    uint32_t end = reference_offset(r, field->end);
    bool left_out = (row->flags & UT_SPAN_LEFT_OUT) != 0;
    if (!left_out && reference_wants(r, 1))
        reference_edited(r, 2, field->content, ut_body_edit(r->body, r->row), true);
    /* Several spans that are left out can share a row. */
    if (end == row->offset + row->size) {
        r->row++;
        r->position += !left_out;
    }
}

static inline void reference_scope(struct reference *r, const struct ut_wire_field *scope_field,
                                   bool with_first)
{
    const struct ut_scope *scope = &r->body->scopes[r->scope_row];
    if (r->scope_row == r->body->scope_count ||
        scope->offset != reference_offset(r, scope_field->begin)) {
        if (with_first)
            reference_edited(r, 2, scope_field->content, NULL, false);
        return;
    }
    r->scope_row++;
    uint32_t spans = reference_spans(r->body, scope->first_span, scope->span_count);
    if (scope->left_out || !reference_wants(r, spans)) {
        r->row += scope->span_count;
        r->position += spans;
        return;
    }
    struct ut_wire_field field;
    size_t begin = otlp_begin(r->out, 2);
    for (const uint8_t *p = scope_field->content.data; p < scope_field->end;) {
        p = ut_wire_field(p, &field);
        if (field.number == 2)
            reference_span(r, &field);
        else
            otlp_raw(r->out, field.begin, (size_t)(field.end - field.begin));
    }
    otlp_end(r->out, begin);
}

static inline void reference_resource(struct reference *r, const struct ut_wire_field *rs,
                                      bool with_rest)
{
    const struct ut_resource *row = &r->body->resources[r->resource_row];
    if (r->resource_row == r->body->resource_count ||
        row->offset != reference_offset(r, rs->begin)) {
        struct otlp_bytes *out = r->out;
        size_t begin = with_rest ? otlp_begin(out, 1) : 0;
        if (with_rest) {
            canonical_fields(out, rs->content, 1);
            otlp_end(out, begin);
        }
        return;
    }
    r->resource_row++;
    uint32_t spans = reference_spans(r->body, row->first_span, row->span_count);
    if ((row->flags & UT_RESOURCE_LEFT_OUT) != 0 || !reference_wants(r, spans)) {
        r->row += row->span_count;
        r->scope_row += row->scope_count;
        r->position += spans;
        return;
    }
    bool with_first = r->position >= r->first && r->position < r->end;
    struct ut_wire_field field;
    size_t begin = otlp_begin(r->out, 1);
    for (const uint8_t *p = rs->content.data; p < rs->end;) {
        p = ut_wire_field(p, &field);
        if (field.number == 2)
            reference_scope(r, &field, with_first);
        else if (field.number == 1)
            reference_edited(r, 1, field.content, row->edit,
                             reference_offset(r, field.begin) == row->resource_offset);
        else
            otlp_raw(r->out, field.begin, (size_t)(field.end - field.begin));
    }
    if (row->edit != NULL && row->resource_end == 0 && row->edit->added.size > 0)
        otlp_data(r->out, 1, row->edit->added.data, row->edit->added.size);
    otlp_end(r->out, begin);
}

static inline void reference_body(struct reference *r)
{
    uint32_t spans = reference_spans(r->body, 0, r->body->span_count);
    bool with_rest = (r->position >= r->first && r->position < r->end) ||
                     (spans == 0 && r->position == r->end && r->end == r->batch->spans);
    const uint8_t *end = r->body->segment->data + r->body->end;
    struct ut_wire_field field;
    r->row = r->scope_row = r->resource_row = 0;
    for (const uint8_t *p = r->body->segment->data + r->body->start; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number == 1)
            reference_resource(r, &field, with_rest);
        else if (with_rest)
            otlp_raw(r->out, field.begin, (size_t)(field.end - field.begin));
    }
}

/* ---- the comparison -----------------------------------------------------------------------------
 */

static inline bool splice_flatten(struct otlp_bytes *out, const struct ut_splice *splice)
{
    for (size_t i = 1; i < splice->run_count; i++)
        otlp_raw(out, splice->runs[i].iov_base, splice->runs[i].iov_len);
    return out->size == splice->bytes;
}

/* Splices the range and compares; on success `flat` holds the output as it goes to the wire. The
 * reason why not, or NULL. */
static inline const char *splice_check(struct otlp_bytes *flat, const struct ut_batch *batch,
                                       uint32_t first, uint32_t count)
{
    struct ut_splice splice;
    if (ut_splice_batch(&splice, batch, first, count) != 0)
        return "out of memory";
    flat->size = 0;
    bool sized = splice_flatten(flat, &splice);
    ut_splice_done(&splice);
    if (!sized)
        return "the runs are not as long as they say";

    struct otlp_bytes wanted = {0}, canonical = {0}, rebuilt = {0};
    uint32_t end = count < batch->spans - first ? first + count : batch->spans;
    struct reference r = {.out = &rebuilt, .batch = batch, .first = first, .end = end};
    for (r.body = batch->first; r.body != NULL; r.body = r.body->next)
        reference_body(&r);
    canonical_fields(&wanted, ut_slice_of(rebuilt.data, rebuilt.size), 0);
    canonical_fields(&canonical, ut_slice_of(flat->data, flat->size), 0);
    bool same = ut_slice_equal(ut_slice_of(wanted.data, wanted.size),
                               ut_slice_of(canonical.data, canonical.size));
    otlp_free(&wanted);
    otlp_free(&canonical);
    otlp_free(&rebuilt);
    return same ? NULL : "the output differs from the reference";
}

#endif
