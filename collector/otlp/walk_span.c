/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every nanosecond here is paid for each span that passes. The usual shapes (one-byte tags and
 * lengths, an attribute with a short key and a string, integer, boolean or double) are checked in
 * place, without a call; everything else goes through the tables of message.h.
 */
#include "otlp/walk_span.h"

#include "otlp/ours.h"
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

    KEY_VALUE_KEY = UT_TAG(1, UT_WIRE_LEN),
    KEY_VALUE_VALUE = UT_TAG(2, UT_WIRE_LEN),
    ANY_STRING = UT_TAG(1, UT_WIRE_LEN),
    ANY_BOOL = UT_TAG(2, UT_WIRE_VARINT),
    ANY_INT = UT_TAG(3, UT_WIRE_VARINT),
    ANY_DOUBLE = UT_TAG(4, UT_WIRE_FIXED64),

    DEPTH_SPAN = 3, /* in the request */
    STATUS_CODE_MAX = 2,
};

static const char BAD_TRACE_ID[] = "a span's trace id is absent, zero or not 16 bytes long";
static const char BAD_SPAN_ID[] = "a span's id is absent, zero or not 8 bytes long";
static const char BAD_PARENT_ID[] = "a span's parent id is not 8 bytes long";

/* Whether [p, end) is one whole varint and nothing else. */
static inline bool is_varint(const uint8_t *p, const uint8_t *end)
{
    uint64_t value;
    if (end - p == 1)
        return *p < 0x80;
    return ut_wire_varint_checked(p, end, &value) == end;
}

/* Whether the KeyValue in [p, p + size) has a usual shape and no fault: key, then a value of one
 * field, all lengths below 128, all text ASCII. The length of the key comes back for its prefix. */
static inline bool is_plain_attribute(const uint8_t *p, size_t size, size_t *ret_key_size)
{
    if (size < 6 || p[0] != KEY_VALUE_KEY)
        return false;
    size_t key_size = p[1];
    /* Behind the key stand the value's tag, its length and at least one field of two bytes. */
    if (key_size >= 0x80 || key_size + 6 > size)
        return false;
    const uint8_t *value = p + 2 + key_size, *end = p + size;
    size_t value_size = value[1];
    if (value[0] != KEY_VALUE_VALUE || value_size >= 0x80 || key_size + 4 + value_size != size)
        return false;
    *ret_key_size = key_size;
    /* Tags and lengths are ASCII too, so one test covers key and value. */
    switch (value[2]) {
    case ANY_STRING:
        return value[3] == value_size - 2 && ut_text_is_ascii(p, size);
    case ANY_INT:
    case ANY_BOOL:
        return is_varint(value + 3, end) && ut_text_is_ascii(p, key_size + 2);
    case ANY_DOUBLE:
        return value_size == 9 && ut_text_is_ascii(p, key_size + 2);
    default:
        return false;
    }
}

/* What a span's fields come to. */
struct findings {
    struct ut_fault *fault;
    struct ut_span *row;
    const uint8_t *end;
};

static bool check_attribute(struct findings *f, const uint8_t *p, size_t size)
{
    size_t key_size;
    f->row->attributes++;
    if (__builtin_expect(is_plain_attribute(p, size, &key_size), 1)) {
        if (__builtin_expect(ut_ours_has_prefix(p + 2, key_size), 0))
            f->row->flags |= UT_SPAN_FORGED;
        return true;
    }
    if (!ut_message_check(f->fault, UT_MESSAGE_KEY_VALUE, p, p + size, DEPTH_SPAN + 1))
        return false;
    if (ut_ours_attribute(ut_slice_of(p, size)))
        f->row->flags |= UT_SPAN_FORGED;
    return true;
}

static bool check_status(struct findings *f, const uint8_t *p, size_t size)
{
    if (!ut_message_check(f->fault, UT_MESSAGE_STATUS, p, p + size, DEPTH_SPAN + 1))
        return false;
    struct ut_wire_field field;
    for (const uint8_t *end = p + size; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number == STATUS_CODE)
            f->row->status = field.value <= STATUS_CODE_MAX ? (uint8_t)field.value : 0;
    }
    return true;
}

static bool check_event(struct findings *f, const uint8_t *p, size_t size)
{
    if (!ut_message_check(f->fault, UT_MESSAGE_EVENT, p, p + size, DEPTH_SPAN + 1))
        return false;
    if (ut_ours_event(ut_slice_of(p, size)))
        f->row->flags |= UT_SPAN_FORGED;
    return true;
}

/* An id of any other length than `want` makes the span bad wherever it stands, also if a right one
 * follows: backends that check each occurrence would refuse the whole request for it. */
static void take_id(struct findings *f, uint8_t *id, size_t want, const uint8_t *p, size_t size,
                    const char *why)
{
    if (__builtin_expect(size == want, 1)) {
        memcpy(id, p, want);
        return;
    }
    memset(id, 0, want);
    if (size != 0)
        ut_message_bad(f->fault, why);
}

/* A length-delimited field of the schema, its content at `p`. */
static inline bool take_content(struct findings *f, uint32_t number, const uint8_t *p, size_t size)
{
    switch (number) {
    case SPAN_ATTRIBUTES:
        return check_attribute(f, p, size);
    case SPAN_TRACE_ID:
        take_id(f, f->row->trace_id, sizeof(f->row->trace_id), p, size, BAD_TRACE_ID);
        return true;
    case SPAN_SPAN_ID:
        take_id(f, f->row->span_id, sizeof(f->row->span_id), p, size, BAD_SPAN_ID);
        return true;
    case SPAN_PARENT_SPAN_ID:
        take_id(f, f->row->parent_id, sizeof(f->row->parent_id), p, size, BAD_PARENT_ID);
        return true;
    case SPAN_TRACE_STATE:
    case SPAN_NAME:
        if (__builtin_expect(!ut_text_is_fine(p, size), 0))
            ut_message_bad(f->fault, UT_BAD_TEXT);
        return true;
    case SPAN_EVENTS:
        return check_event(f, p, size);
    case SPAN_LINKS:
        return ut_message_check(f->fault, UT_MESSAGE_LINK, p, p + size, DEPTH_SPAN + 1);
    default:
        return check_status(f, p, size);
    }
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

static const uint8_t *take_fixed64(struct findings *f, uint32_t number, const uint8_t *p)
{
    if (f->end - p < 8)
        return ut_message_refuse(f->fault, p, "a fixed-size value is cut off");
    uint64_t value = ut_wire_fixed64(p);
    if (number == SPAN_START)
        f->row->start_ns = value;
    else
        f->row->end_ns = value;
    return p + 8;
}

/* The field behind `tag`, which is at `at`; the position behind it. */
static inline const uint8_t *take_field(struct findings *f, uint32_t tag, const uint8_t *at,
                                        const uint8_t *p)
{
    uint32_t number = tag >> 3;
    if (number > SPAN_FLAGS)
        return ut_message_skip(f->fault, tag, p, f->end, DEPTH_SPAN);
    if ((tag & 7) != SPAN_WIRES[number])
        return ut_message_refuse(f->fault, at, UT_WRONG_WIRE_TYPE);
    if ((tag & 7) == UT_WIRE_LEN) {
        size_t size;
        p = ut_message_length(f->fault, p, f->end, &size);
        return p != NULL && take_content(f, number, p, size) ? p + size : NULL;
    }
    if ((tag & 7) == UT_WIRE_FIXED64)
        return take_fixed64(f, number, p);
    if (number != SPAN_KIND)
        return ut_message_skip(f->fault, tag, p, f->end, DEPTH_SPAN);
    uint64_t kind;
    p = ut_message_varint(f->fault, p, f->end, &kind);
    if (p != NULL)
        f->row->kind = kind <= UT_SPAN_KIND_CONSUMER ? (uint8_t)kind : UT_SPAN_KIND_UNSPECIFIED;
    return p;
}

static bool is_zero(const uint8_t *id, size_t size)
{
    uint64_t all = ut_text_load8(id) | ut_text_load8(id + size - 8);
    return all == 0;
}

bool ut_walk_span(struct ut_fault *fault, const uint8_t *p, const uint8_t *end, struct ut_span *row)
{
    struct findings f = {fault, row, end};
    *row = (struct ut_span){0};
    while (p < end) {
        const uint8_t *at = p;
        uint32_t tag;
        p = ut_message_tag(fault, p, end, &tag);
        if (p == NULL)
            return false;
        p = take_field(&f, tag, at, p);
        if (p == NULL)
            return false;
    }
    if (is_zero(row->trace_id, sizeof(row->trace_id)))
        ut_message_bad(fault, BAD_TRACE_ID);
    if (is_zero(row->span_id, sizeof(row->span_id)))
        ut_message_bad(fault, BAD_SPAN_ID);
    return true;
}
