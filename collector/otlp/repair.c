/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the fields of a checked request, with the messages that are open on a stack. What
 * needs no change is copied in runs as long as can be: the messages around a bad string are begun
 * in the output only when the string is met, outermost first, and those without one never.
 */
#include "otlp/repair.h"

#include "otlp/schema.h"
#include "otlp/text.h"
#include "otlp/walk_span.h"

enum {
    GROWTH_USUAL = 16, /* the first guess: the request and a sixteenth of it */
    GROWTH_MAX = 3,    /* times its size, where every byte is bad */
    LENGTH_ROOM = 16,
};

/* A message that the present field lies in. */
struct frame {
    enum ut_schema_type type;
    const uint8_t *length, *content, *end; /* in the request */
    size_t written;                        /* where its content begins in the output, once begun */
};

struct repair {
    struct ut_writer out;
    const uint8_t *copied; /* what stands before it in the request has been written */
    uint32_t strings;
    unsigned depth; /* frames in use; the first one is the request, which has no length */
    unsigned begun; /* frames that are begun in the output */
    struct frame frames[UT_DEPTH_MAX + 1];
};

static bool copy_up_to(struct repair *r, const uint8_t *end)
{
    size_t size = (size_t)(end - r->copied);
    if (!ut_writer_room(&r->out, size))
        return false;
    memcpy(r->out.next, r->copied, size);
    r->out.next += size;
    r->copied = end;
    return true;
}

/* Begins all messages that are open. Each has room for a length of as many bytes as it had. */
static bool begin_messages(struct repair *r)
{
    for (; r->begun < r->depth; r->begun++) {
        struct frame *frame = &r->frames[r->begun];
        if (!copy_up_to(r, frame->content))
            return false;
        frame->written = ut_writer_position(&r->out);
    }
    return true;
}

static bool end_message(struct repair *r)
{
    const struct frame *frame = &r->frames[--r->depth];
    if (r->depth >= r->begun)
        return true;
    r->begun = r->depth;
    if (!copy_up_to(r, frame->end))
        return false;
    (void)ut_writer_close(&r->out, frame->written, (size_t)(frame->content - frame->length));
    return r->out.error == 0;
}

/* Where the length of a field stands, whose tag is at `p`. */
static const uint8_t *behind_tag(const uint8_t *p)
{
    uint64_t tag;
    return ut_wire_varint(p, &tag);
}

static bool repair_text(struct repair *r, const struct ut_wire_field *field)
{
    ut_slice text = field->content;
    if (ut_text_is_fine(text.data, text.size))
        return true;
    size_t size = ut_text_repaired_size(text.data, text.size);
    if (!begin_messages(r) || !copy_up_to(r, behind_tag(field->begin)) ||
        !ut_writer_room(&r->out, size + LENGTH_ROOM))
        return false;
    uint8_t *out = ut_wire_put_varint(r->out.next, size);
    ut_text_repair(text.data, text.size, out);
    r->out.next = out + size;
    r->copied = field->end;
    r->strings++;
    return true;
}

/* Most spans are sound, and the walk's own look at them is the fastest. */
static bool is_sound_span(ut_slice span)
{
    struct ut_fault fault = {0};
    struct ut_span row;
    return ut_walk_span(&fault, span.data, span.data + span.size, &row) && !fault.bad_text;
}

static bool repair_messages(struct repair *r)
{
    const uint8_t *p = r->copied;
    for (;;) {
        const struct frame *frame = &r->frames[r->depth - 1];
        if (p == frame->end) {
            if (r->depth == 1)
                return copy_up_to(r, p);
            if (!end_message(r))
                return false;
            continue;
        }
        struct ut_wire_field field;
        p = ut_wire_field(p, &field);
        const struct ut_schema_field *known = ut_schema_field(frame->type, field.number);
        if (known != NULL && known->kind == UT_SCHEMA_TEXT) {
            if (!repair_text(r, &field))
                return false;
        } else if (known != NULL && known->kind == UT_SCHEMA_MESSAGE &&
                   !(known->nested == UT_SCHEMA_SPAN && is_sound_span(field.content))) {
            r->frames[r->depth++] = (struct frame){
                .type = known->nested,
                .length = behind_tag(field.begin),
                .content = field.content.data,
                .end = field.end,
            };
            p = field.content.data;
        }
    }
}

/* The request of `body` with its text repaired. */
static int repair(const struct ut_body *body, const struct ut_writer_limits *limits,
                  struct ut_segment **ret, uint32_t *ret_strings)
{
    ut_slice request = ut_body_slice(body, body->start, body->end - body->start);
    struct repair r = {
        .copied = request.data,
        .depth = 1,
        .begun = 1,
    };
    r.frames[0] = (struct frame){.type = UT_SCHEMA_REQUEST, .end = request.data + request.size};
    int error =
        ut_writer_init(&r.out, body->segment->pool, limits,
                       request.size + request.size / GROWTH_USUAL, request.size * GROWTH_MAX);
    if (error != 0)
        return error;
    if (!repair_messages(&r)) {
        ut_writer_abandon(&r.out);
        return r.out.error;
    }
    *ret_strings = r.strings;
    return ut_writer_finish(&r.out, ret);
}

/* The repaired request as a batch, walked. The segment's reference is taken over on success. */
static int walk_again(struct ut_pool *pool, struct ut_segment *segment, struct ut_batch **ret,
                      struct ut_walk_report *report)
{
    struct ut_batch *batch = ut_batch_new(pool, segment);
    if (batch == NULL)
        return -ENOMEM;
    int error = ut_walk(batch->first, report);
    if (error == 0) {
        *ret = batch;
        return 0;
    }
    (void)ut_segment_ref(segment); /* the batch gives one up */
    ut_batch_unref(batch);
    /* It parses as it did before; what can be is that shorter lengths make it too small for the
     * index of so many messages, see walk.c. */
    return error == -EBADMSG ? -EMSGSIZE : error;
}

int ut_repair_batch(struct ut_batch **batch, const struct ut_writer_limits *limits,
                    struct ut_walk_report *report, uint32_t *ret_strings)
{
    struct ut_segment *segment;
    struct ut_batch *repaired;
    struct ut_walk_report again;
    uint32_t strings;
    int error = repair((*batch)->first, limits, &segment, &strings);
    if (error != 0)
        return error;
    error = walk_again((*batch)->pool, segment, &repaired, &again);
    if (error != 0) {
        ut_segment_unref(segment);
        if (limits->hold != NULL)
            (void)limits->hold(limits->arg, 0);
        return error;
    }
    repaired->received_ns = (*batch)->received_ns;
    repaired->first->sender = (*batch)->first->sender;
    ut_batch_unref(*batch);
    *batch = repaired;
    *report = again;
    *ret_strings = strings;
    return 0;
}
