/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every nanosecond here is paid for each span that passes. The usual shapes (one-byte tags and
 * lengths, an attribute with a short key and a string, integer, boolean or double) are checked in
 * place, without a call; everything else goes through the tables of message.h.
 */
#include "otlp/walk_span.h"

#include "otlp/end_keys.h"
#include "otlp/ours.h"
#include "otlp/plain.h"
#include "otlp/text.h"

enum {
    SPAN_TRACE_ID = 1,
    SPAN_SPAN_ID = 2,
    SPAN_TRACE_STATE = 3,
    SPAN_PARENT_SPAN_ID = 4,
    SPAN_NAME = 5,
    SPAN_KIND = 6,
    SPAN_START = 7,
    SPAN_END = 8,
    SPAN_ATTRIBUTES = 9,
    SPAN_DROPPED_ATTRIBUTES = 10,
    SPAN_EVENTS = 11,
    SPAN_DROPPED_EVENTS = 12,
    SPAN_LINKS = 13,
    SPAN_DROPPED_LINKS = 14,
    SPAN_STATUS = 15,
    SPAN_FLAGS = 16,
    STATUS_CODE = 3,

    /* The tag of `flags`, the only field of a span whose tag takes two bytes. */
    FLAGS_TAG_FIRST = (UT_TAG(SPAN_FLAGS, UT_WIRE_FIXED32) & 0x7f) | 0x80,
    FLAGS_TAG_SECOND = UT_TAG(SPAN_FLAGS, UT_WIRE_FIXED32) >> 7,

    DEPTH_SPAN = 3, /* in the request */
    STATUS_CODE_MAX = 2,
};

static const char BAD_TRACE_ID[] = "a span's trace id is absent, zero or not 16 bytes long";
static const char BAD_SPAN_ID[] = "a span's id is absent, zero or not 8 bytes long";
static const char BAD_PARENT_ID[] = "a span's parent id is not 8 bytes long";

/* ---- fields that go through the tables ---------------------------------------------------------
 */

static bool check_attribute(struct ut_fault *fault, struct ut_span *row, const uint8_t *p,
                            size_t size)
{
    if (!ut_message_check(fault, UT_MESSAGE_KEY_VALUE, p, p + size, DEPTH_SPAN + 1))
        return false;
    if (ut_ours_attribute(ut_slice_of(p, size)))
        row->flags |= UT_SPAN_FORGED;
    row->ends_begin = 0; /* not looked at: any of them may name an end */
    row->ends_end = UT_SPAN_ENDS_FAR;
    return true;
}

static bool check_status(struct ut_fault *fault, struct ut_span *row, const uint8_t *p, size_t size)
{
    if (!ut_message_check(fault, UT_MESSAGE_STATUS, p, p + size, DEPTH_SPAN + 1))
        return false;
    struct ut_wire_field field;
    for (const uint8_t *end = p + size; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number == STATUS_CODE)
            row->status = field.value <= STATUS_CODE_MAX ? (uint8_t)field.value : 0;
    }
    return true;
}

static bool check_event(struct ut_fault *fault, struct ut_span *row, const uint8_t *p, size_t size)
{
    if (!ut_message_check(fault, UT_MESSAGE_EVENT, p, p + size, DEPTH_SPAN + 1))
        return false;
    if (ut_ours_event(ut_slice_of(p, size)))
        row->flags |= UT_SPAN_FORGED;
    return true;
}

/* An id of any other length than `want` makes the span bad wherever it stands, also if a right one
 * follows: backends that check each occurrence would refuse the whole request for it. */
static void take_id(struct ut_fault *fault, uint8_t *id, size_t want, ut_slice content,
                    const char *why)
{
    memset(id, 0, want);
    if (content.size == want)
        memcpy(id, content.data, want);
    else if (content.size != 0)
        ut_message_bad(fault, why);
}

/* A length-delimited field of the schema. */
static bool take_content(struct ut_fault *fault, struct ut_span *row, uint32_t number,
                         ut_slice content)
{
    const uint8_t *p = content.data;
    size_t size = content.size;
    switch (number) {
    case SPAN_TRACE_ID:
        take_id(fault, row->trace_id, sizeof(row->trace_id), content, BAD_TRACE_ID);
        return true;
    case SPAN_SPAN_ID:
        take_id(fault, row->span_id, sizeof(row->span_id), content, BAD_SPAN_ID);
        return true;
    case SPAN_PARENT_SPAN_ID:
        take_id(fault, row->parent_id, sizeof(row->parent_id), content, BAD_PARENT_ID);
        return true;
    case SPAN_TRACE_STATE:
    case SPAN_NAME:
        if (!ut_text_is_fine(p, size))
            ut_message_bad(fault, UT_BAD_TEXT);
        return true;
    case SPAN_ATTRIBUTES:
        return check_attribute(fault, row, p, size);
    case SPAN_EVENTS:
        return check_event(fault, row, p, size);
    case SPAN_LINKS:
        return ut_message_check(fault, UT_MESSAGE_LINK, p, p + size, DEPTH_SPAN + 1);
    default:
        return check_status(fault, row, p, size);
    }
}

static uint8_t kind_of(uint64_t value)
{
    return value <= UT_SPAN_KIND_CONSUMER ? (uint8_t)value : UT_SPAN_KIND_UNSPECIFIED;
}

/* Wire type of each field of the schema, by number. */
static const uint8_t SPAN_WIRES[SPAN_FLAGS + 1] = {
    [SPAN_TRACE_ID] = UT_WIRE_LEN,    [SPAN_SPAN_ID] = UT_WIRE_LEN,
    [SPAN_TRACE_STATE] = UT_WIRE_LEN, [SPAN_PARENT_SPAN_ID] = UT_WIRE_LEN,
    [SPAN_NAME] = UT_WIRE_LEN,        [SPAN_KIND] = UT_WIRE_VARINT,
    [SPAN_START] = UT_WIRE_FIXED64,   [SPAN_END] = UT_WIRE_FIXED64,
    [SPAN_ATTRIBUTES] = UT_WIRE_LEN,  [SPAN_DROPPED_ATTRIBUTES] = UT_WIRE_VARINT,
    [SPAN_EVENTS] = UT_WIRE_LEN,      [SPAN_DROPPED_EVENTS] = UT_WIRE_VARINT,
    [SPAN_LINKS] = UT_WIRE_LEN,       [SPAN_DROPPED_LINKS] = UT_WIRE_VARINT,
    [SPAN_STATUS] = UT_WIRE_LEN,      [SPAN_FLAGS] = UT_WIRE_FIXED32,
};

/* Any field, at `p`; the position behind it. */
static __attribute__((noinline)) const uint8_t *
take_field(struct ut_fault *fault, struct ut_span *row, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *at = p;
    uint32_t tag;
    p = ut_message_tag(fault, p, end, &tag);
    if (p == NULL)
        return NULL;
    uint32_t number = tag >> 3;
    if (number > SPAN_FLAGS)
        return ut_message_skip(fault, tag, p, end, DEPTH_SPAN);
    if ((tag & 7) != SPAN_WIRES[number])
        return ut_message_refuse(fault, at, UT_WRONG_WIRE_TYPE);
    if ((tag & 7) == UT_WIRE_LEN) {
        size_t size;
        p = ut_message_length(fault, p, end, &size);
        return p != NULL && take_content(fault, row, number, ut_slice_of(p, size)) ? p + size
                                                                                   : NULL;
    }
    const uint8_t *value = p;
    uint64_t kind;
    p = ut_message_skip(fault, tag, p, end, DEPTH_SPAN);
    if (p == NULL)
        return NULL;
    if (number == SPAN_START)
        row->start_ns = ut_wire_fixed64(value);
    else if (number == SPAN_END)
        row->end_ns = ut_wire_fixed64(value);
    else if (number == SPAN_KIND && ut_wire_varint(value, &kind) == p)
        row->kind = kind_of(kind);
    return p;
}

/* ---- the usual shapes --------------------------------------------------------------------------
 */

/* The attribute in [at, behind) of the span that begins at `start` may name a network end. */
static inline void note_end(struct ut_span *row, const uint8_t *start, const uint8_t *at,
                            const uint8_t *behind)
{
    if (row->ends_end == 0)
        row->ends_begin = (uint16_t)(at - start < UT_SPAN_ENDS_FAR ? at - start : UT_SPAN_ENDS_FAR);
    row->ends_end =
        (uint16_t)(behind - start < UT_SPAN_ENDS_FAR ? behind - start : UT_SPAN_ENDS_FAR);
}

/* Attributes of usual shape that stand at `p` one behind the other; the position behind them. */
static inline const uint8_t *take_plain_attributes(struct ut_span *row, const uint8_t *start,
                                                   const uint8_t *p, const uint8_t *end)
{
    while (end - p >= 2 && p[0] == UT_TAG(SPAN_ATTRIBUTES, UT_WIRE_LEN)) {
        size_t size = p[1], key_size;
        if (size >= 0x80 || size > (size_t)(end - p) - 2 ||
            !ut_plain_attribute(p + 2, size, &key_size))
            break;
        if (__builtin_expect(ut_ours_has_prefix(p + 4, key_size), 0))
            row->flags |= UT_SPAN_FORGED;
        if (ut_end_key_may_be(p + 4, key_size))
            note_end(row, start, p, p + 2 + size);
        p += 2 + size;
    }
    return p;
}

static inline const uint8_t *take_plain_id(uint8_t *id, size_t size, const uint8_t *p, size_t room)
{
    if (p[1] != size || room < 2 + size)
        return p;
    memcpy(id, p + 2, size);
    return p + 2 + size;
}

static inline const uint8_t *take_plain_time(uint64_t *ns, const uint8_t *p, size_t room)
{
    if (room < 1 + sizeof(*ns))
        return p;
    *ns = ut_wire_fixed64(p + 1);
    return p + 1 + sizeof(*ns);
}

/* No message, a code of one byte. */
static inline const uint8_t *take_plain_status(struct ut_span *row, const uint8_t *p, size_t room)
{
    if (room < 4 || p[1] != 2 || p[2] != UT_TAG(STATUS_CODE, UT_WIRE_VARINT) ||
        p[3] > STATUS_CODE_MAX)
        return p;
    row->status = p[3];
    return p + 4;
}

/* Takes the field at `p` if it has a usual shape, and leaves it where it is if not. */
static inline const uint8_t *take_plain_field(struct ut_span *row, const uint8_t *start,
                                              const uint8_t *p, const uint8_t *end)
{
    size_t room = (size_t)(end - p);
    if (room < 2)
        return p;
    switch (p[0]) {
    case UT_TAG(SPAN_ATTRIBUTES, UT_WIRE_LEN):
        return take_plain_attributes(row, start, p, end);
    case UT_TAG(SPAN_TRACE_ID, UT_WIRE_LEN):
        return take_plain_id(row->trace_id, sizeof(row->trace_id), p, room);
    case UT_TAG(SPAN_SPAN_ID, UT_WIRE_LEN):
        return take_plain_id(row->span_id, sizeof(row->span_id), p, room);
    case UT_TAG(SPAN_PARENT_SPAN_ID, UT_WIRE_LEN):
        return take_plain_id(row->parent_id, sizeof(row->parent_id), p, room);
    case UT_TAG(SPAN_NAME, UT_WIRE_LEN):
        if (p[1] >= 0x80 || room < 2U + p[1] || !ut_text_is_ascii(p + 2, p[1]))
            return p;
        return p + 2 + p[1];
    case UT_TAG(SPAN_KIND, UT_WIRE_VARINT):
        if (p[1] >= 0x80)
            return p;
        row->kind = kind_of(p[1]);
        return p + 2;
    case UT_TAG(SPAN_START, UT_WIRE_FIXED64):
        return take_plain_time(&row->start_ns, p, room);
    case UT_TAG(SPAN_END, UT_WIRE_FIXED64):
        return take_plain_time(&row->end_ns, p, room);
    case UT_TAG(SPAN_STATUS, UT_WIRE_LEN):
        return take_plain_status(row, p, room);
    case FLAGS_TAG_FIRST:
        return p[1] == FLAGS_TAG_SECOND && room >= 6 ? p + 6 : p;
    default:
        return p;
    }
}

/* Every SDK writes the fields of a span in the order of their numbers. So the first ones mostly
 * stand at fixed distances and can be taken together; where they do not, nothing is taken here. */
static inline const uint8_t *take_plain_ids(struct ut_span *row, const uint8_t *p,
                                            const uint8_t *end)
{
    enum { TRACE_SIZE = 2 + 16, ID_SIZE = 2 + 8 };
    if (end - p < TRACE_SIZE + 2 * ID_SIZE || p[0] != UT_TAG(SPAN_TRACE_ID, UT_WIRE_LEN) ||
        p[1] != 16 || p[TRACE_SIZE] != UT_TAG(SPAN_SPAN_ID, UT_WIRE_LEN) || p[TRACE_SIZE + 1] != 8)
        return p;
    memcpy(row->trace_id, p + 2, 16);
    memcpy(row->span_id, p + TRACE_SIZE + 2, 8);
    p += TRACE_SIZE + ID_SIZE;
    if (p[0] != UT_TAG(SPAN_PARENT_SPAN_ID, UT_WIRE_LEN) || p[1] != 8)
        return p;
    memcpy(row->parent_id, p + 2, 8);
    return p + ID_SIZE;
}

static inline const uint8_t *take_plain_middle(struct ut_span *row, const uint8_t *p,
                                               const uint8_t *end)
{
    enum { KIND_SIZE = 2, TIME_SIZE = 1 + 8, SIZE = KIND_SIZE + 2 * TIME_SIZE };
    if (end - p < 2 || p[0] != UT_TAG(SPAN_NAME, UT_WIRE_LEN) || p[1] >= 0x80)
        return p;
    size_t name_size = p[1];
    const uint8_t *kind = p + 2 + name_size;
    if ((size_t)(end - p) < 2 + name_size + SIZE || kind[0] != UT_TAG(SPAN_KIND, UT_WIRE_VARINT) ||
        kind[1] >= 0x80 || kind[KIND_SIZE] != UT_TAG(SPAN_START, UT_WIRE_FIXED64) ||
        kind[KIND_SIZE + TIME_SIZE] != UT_TAG(SPAN_END, UT_WIRE_FIXED64) ||
        !ut_text_is_ascii(p + 2, name_size))
        return p;
    row->kind = kind_of(kind[1]);
    row->start_ns = ut_wire_fixed64(kind + KIND_SIZE + 1);
    row->end_ns = ut_wire_fixed64(kind + KIND_SIZE + TIME_SIZE + 1);
    return kind + SIZE;
}

static bool is_zero(const uint8_t *id, size_t size)
{
    return (ut_text_load8(id) | ut_text_load8(id + size - 8)) == 0;
}

bool ut_walk_span(struct ut_fault *fault, const uint8_t *p, const uint8_t *end, struct ut_span *row)
{
    const uint8_t *start = p;
    *row = (struct ut_span){0};
    p = take_plain_ids(row, p, end);
    p = take_plain_middle(row, p, end);
    p = take_plain_attributes(row, start, p, end);
    while (p < end) {
        const uint8_t *behind = take_plain_field(row, start, p, end);
        if (behind == p) {
            behind = take_field(fault, row, p, end);
            if (behind == NULL)
                return false;
        }
        p = behind;
    }
    if (is_zero(row->trace_id, sizeof(row->trace_id)))
        ut_message_bad(fault, BAD_TRACE_ID);
    if (is_zero(row->span_id, sizeof(row->span_id)))
        ut_message_bad(fault, BAD_SPAN_ID);
    return true;
}
