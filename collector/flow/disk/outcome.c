/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/disk/outcome.h"

#include <endian.h>
#include <errno.h>

#include "otlp/wire.h"

enum { RESOURCE_SPANS_RESOURCE = 1 };
enum use_kind { USE_SPAN, USE_RESOURCE, USE_LEFT_OUT };

/* ---- encoding -------------------------------------------------------------------------------- */

/* Writes, or only counts where `out` is NULL. */
struct writer {
    uint8_t *out;
    size_t size;
};

static void put(struct writer *w, uint32_t number)
{
    number = htole32(number);
    if (w->out != NULL)
        memcpy(w->out + w->size, &number, sizeof(number));
    w->size += sizeof(number);
}

static void put_bytes(struct writer *w, ut_slice bytes)
{
    size_t padded = (bytes.size + 3) & ~(size_t)3;
    if (w->out != NULL && bytes.size > 0) {
        memset(w->out + w->size, 0, padded);
        memcpy(w->out + w->size, bytes.data, bytes.size);
    }
    w->size += padded;
}

static void put_edit(struct writer *w, const struct ut_body *body, const struct ut_edit *edit)
{
    put(w, edit->removed_count);
    put(w, (uint32_t)edit->added.size);
    for (uint32_t i = 0; i < edit->removed_count; i++) {
        put(w, edit->removed[i].offset - body->start);
        put(w, edit->removed[i].size);
    }
    put_bytes(w, edit->added);
}

/* Neighbours that share an edit, or what an edit adds, are told by one. */
static bool is_same(const struct ut_edit *a, const struct ut_edit *b)
{
    return a == b || (a != NULL && b != NULL && a->removed_count == 0 && b->removed_count == 0 &&
                      a->added.data == b->added.data && a->added.size == b->added.size);
}

/* Calls for each edit, in order: a new one, then its uses. Both passes take the same way. */
struct pass {
    struct writer *edits, *uses;
    uint32_t edit_count, use_count;
    const struct ut_edit *last;
};

static void pass_edit(struct pass *pass, const struct ut_body *body, enum use_kind kind,
                      uint32_t row, const struct ut_edit *edit)
{
    if (edit == NULL)
        return;
    if (!is_same(pass->last, edit)) {
        put_edit(pass->edits, body, edit);
        pass->edit_count++;
        pass->last = edit;
    }
    put(pass->uses, kind);
    put(pass->uses, row);
    put(pass->uses, pass->edit_count - 1);
    pass->use_count++;
}

static void pass_body(struct pass *pass, const struct ut_body *body)
{
    for (uint32_t i = 0; i < body->resource_count; i++)
        pass_edit(pass, body, USE_RESOURCE, i, body->resources[i].edit);
    for (uint32_t i = 0; i < body->span_count; i++) {
        if (body->left_out > 0 && (body->spans[i].flags & UT_SPAN_LEFT_OUT)) {
            put(pass->uses, USE_LEFT_OUT);
            put(pass->uses, i);
            put(pass->uses, 0);
            pass->use_count++;
        } else if (body->span_edits != NULL) {
            pass_edit(pass, body, USE_SPAN, i, body->span_edits[i]);
        }
    }
}

size_t ut_disk_outcome_size(const struct ut_body *body)
{
    struct writer edits = {NULL, 0}, uses = {NULL, 0};
    struct pass pass = {.edits = &edits, .uses = &uses};
    pass_body(&pass, body);
    size_t size = 4 * sizeof(uint32_t) + edits.size + uses.size;
    return size <= UT_DISK_OUTCOME_MAX ? size : 0;
}

void ut_disk_outcome_encode(const struct ut_body *body, uint8_t *out)
{
    struct writer nothing = {NULL, 0}, head = {out, 0};
    struct pass counting = {.edits = &(struct writer){NULL, 0}, .uses = &nothing};
    pass_body(&counting, body);
    put(&head, body->span_count);
    put(&head, body->resource_count);
    put(&head, counting.edit_count);
    struct writer uses = {out + head.size + counting.edits->size, 0};
    put(&uses, counting.use_count);
    struct pass writing = {.edits = &head, .uses = &uses};
    pass_body(&writing, body);
}

/* ---- applying -------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *at, *end;
    bool failed;
};

static uint32_t get(struct reader *r)
{
    uint32_t number = 0;
    if ((size_t)(r->end - r->at) < sizeof(number)) {
        r->failed = true;
        return 0;
    }
    memcpy(&number, r->at, sizeof(number));
    r->at += sizeof(number);
    return le32toh(number);
}

static const uint8_t *get_bytes(struct reader *r, uint32_t size)
{
    size_t padded = ((size_t)size + 3) & ~(size_t)3;
    if ((size_t)(r->end - r->at) < padded) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *bytes = r->at;
    r->at += padded;
    return bytes;
}

/* A message whose fields an edit may leave out. */
static bool lies_within(const struct ut_edit *edit, uint32_t begin, uint32_t end)
{
    uint32_t last = begin;
    for (uint32_t i = 0; i < edit->removed_count; i++) {
        const struct ut_range *range = &edit->removed[i];
        if (range->offset < last || range->offset > end || range->size > end - range->offset)
            return false;
        last = range->offset + range->size;
    }
    return true;
}

static int read_edit(struct reader *r, struct ut_body *body, struct ut_edit *out)
{
    uint32_t removed = get(r), added = get(r);
    if (r->failed || removed > (size_t)(r->end - r->at) / 8)
        return -EBADMSG;
    struct ut_range *ranges =
        ut_arena_alloc(&body->arena, removed * sizeof(*ranges) + added + sizeof(*ranges));
    if (ranges == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < removed; i++) {
        uint32_t offset = get(r), size = get(r);
        if (offset > body->end - body->start)
            return -EBADMSG;
        ranges[i] = (struct ut_range){body->start + offset, size};
    }
    const uint8_t *bytes = get_bytes(r, added);
    if (r->failed)
        return -EBADMSG;
    memcpy(ranges + removed, bytes, added);
    *out = (struct ut_edit){ranges, removed, {(const uint8_t *)(ranges + removed), added}};
    return 0;
}

/* Of a ResourceSpans only what stands in its Resource messages may be left out. */
static bool lies_within_resource(const struct ut_body *body, const struct ut_resource *resource,
                                 const struct ut_edit *edit)
{
    const uint8_t *segment = body->segment->data, *end = segment + resource->end;
    const struct ut_range *range = edit->removed, *last = range + edit->removed_count;
    struct ut_wire_field field;
    if (!lies_within(edit, resource->content, resource->end))
        return false;
    for (const uint8_t *p = segment + resource->content; p < end && range < last;) {
        p = ut_wire_field(p, &field);
        const uint8_t *content = field.content.data;
        while (field.number == RESOURCE_SPANS_RESOURCE && range < last &&
               segment + range->offset >= content &&
               segment + range->offset + range->size <= content + field.content.size)
            range++;
    }
    return range == last;
}

/* One use: what is told of which row. Checked as a whole first, then done as a whole. */
struct use {
    uint32_t kind, row;
    const struct ut_edit *edit; /* NULL: left out */
};

static bool is_use_of(const struct ut_body *body, const struct use *use)
{
    if (use->kind == USE_RESOURCE) {
        if (use->row >= body->resource_count || use->edit == NULL)
            return false;
        const struct ut_resource *resource = &body->resources[use->row];
        return lies_within_resource(body, resource, use->edit);
    }
    if (use->row >= body->span_count || use->kind > USE_LEFT_OUT)
        return false;
    const struct ut_span *span = &body->spans[use->row];
    return use->kind == USE_LEFT_OUT ||
           (use->edit != NULL && lies_within(use->edit, span->offset, span->offset + span->size));
}

static int do_use(struct ut_body *body, const struct use *use)
{
    if (use->kind == USE_RESOURCE) {
        body->resources[use->row].edit = use->edit;
        return 0;
    }
    if (use->kind == USE_SPAN)
        return ut_body_set_edit(body, use->row, use->edit);
    struct ut_span *span = &body->spans[use->row];
    body->left_out += (span->flags & UT_SPAN_LEFT_OUT) == 0;
    span->flags |= UT_SPAN_LEFT_OUT;
    return 0;
}

struct edits {
    struct ut_edit *items;
    uint32_t count;
};

static int each_use(struct reader r, struct ut_body *body, const struct edits *edits,
                    bool only_check)
{
    uint32_t uses = get(&r);
    for (uint32_t i = 0; i < uses; i++) {
        struct use use = {.kind = get(&r), .row = get(&r)};
        uint32_t edit = get(&r);
        use.edit = edit < edits->count ? &edits->items[edit] : NULL;
        if (r.failed || (only_check && !is_use_of(body, &use)))
            return -EBADMSG;
        int error = only_check ? 0 : do_use(body, &use);
        if (error != 0)
            return error;
    }
    return r.failed ? -EBADMSG : 0;
}

int ut_disk_outcome_apply(struct ut_body *body, ut_slice bytes)
{
    struct reader r = {bytes.data, bytes.data + bytes.size, false};
    uint32_t spans = get(&r), resources = get(&r);
    struct edits edits = {.count = get(&r)};
    if (r.failed || spans != body->span_count || resources != body->resource_count ||
        edits.count > bytes.size / 8)
        return -EBADMSG;
    edits.items = ut_arena_alloc(&body->arena, (edits.count + 1) * sizeof(*edits.items));
    if (edits.items == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < edits.count; i++) {
        int error = read_edit(&r, body, &edits.items[i]);
        if (error != 0)
            return error;
    }
    int error = each_use(r, body, &edits, true);
    return error != 0 ? error : each_use(r, body, &edits, false);
}
