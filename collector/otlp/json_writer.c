/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By the tables of schema.h. Each message is looked at twice: first its own fields alone, to learn
 * which of them occur more than once, then all of it, to write it. What is nested is skipped in the
 * first look, so each field is read at most twice, and elements of a list that are scattered over
 * their message at most once more for each of the (at most 16) lists that it has.
 *
 * Invariants: 1. a cursor never leaves its message, whatever the lengths in it say; 2. recursion
 * goes no deeper than UT_DEPTH_MAX messages; 3. what is copied to merge messages is never more than
 * MERGE_MAX bytes for a request; beyond that the last one of them counts alone.
 */
#include "otlp/json_writer.h"

#include <errno.h>

#include "otlp/schema.h"

enum { MERGE_MAX = 1 << 20 };

/* A place in a message that lies in several runs. */
struct cursor {
    const uint8_t *p, *end;         /* in the present run */
    const struct iovec *next, *all; /* the next run, and the end of them */
    size_t left;                    /* bytes of the message from here on */
};

struct field {
    uint32_t number;
    uint32_t wire;         /* enum ut_wire */
    uint64_t value;        /* of varint, fixed64, fixed32 */
    struct cursor content; /* of what has a length */
};

struct writer {
    struct ut_blocks *out;
    size_t merged; /* bytes that were copied to merge messages */
};

/* What the first look at a message learns; a bit a field number. */
struct look {
    uint32_t several;   /* occur more than once */
    uint32_t scattered; /* … and with others between */
    unsigned member;    /* of a oneof: the one that counts */
};

static bool write_message(struct writer *w, enum ut_schema_type type, struct cursor message,
                          unsigned depth);

/* ---- reading --------------------------------------------------------------------------------- */

/* Goes to the first byte of the next run where the present one is used up; how many bytes of the
 * message lie there in one piece. */
static size_t here(struct cursor *c)
{
    while (c->p == c->end && c->next != c->all) {
        c->p = c->next->iov_base;
        c->end = c->p + c->next->iov_len;
        c->next++;
    }
    size_t size = (size_t)(c->end - c->p);
    return size < c->left ? size : c->left;
}

static bool take_varint(struct cursor *c, uint64_t *ret)
{
    size_t size = here(c);
    const uint8_t *p = ut_wire_varint_checked(c->p, c->p + size, ret);
    if (p == NULL)
        return false;
    c->left -= (size_t)(p - c->p);
    c->p = p;
    return true;
}

static bool take_fixed(struct cursor *c, size_t size, uint64_t *ret)
{
    uint8_t bytes[8] = {0};
    if (here(c) < size)
        return false;
    memcpy(bytes, c->p, size);
    *ret = ut_wire_fixed64(bytes);
    c->p += size;
    c->left -= size;
    return true;
}

static bool skip(struct cursor *c, size_t size)
{
    if (size > c->left)
        return false;
    while (size > 0) {
        size_t step = here(c);
        if (step == 0)
            return false;
        step = step < size ? step : size;
        c->p += step;
        c->left -= step;
        size -= step;
    }
    return true;
}

static bool take_content(struct cursor *c, struct cursor *ret)
{
    uint64_t size;
    if (!take_varint(c, &size) || size > c->left)
        return false;
    *ret = *c;
    ret->left = (size_t)size;
    return skip(c, (size_t)size);
}

static bool take_tag(struct cursor *c, struct field *ret)
{
    uint64_t tag;
    if (!take_varint(c, &tag) || tag >> 3 == 0 || tag >> 3 > UT_NUMBER_MAX)
        return false;
    ret->number = (uint32_t)(tag >> 3);
    ret->wire = (uint32_t)tag & 7;
    return true;
}

static bool take_value(struct cursor *c, struct field *ret)
{
    switch (ret->wire) {
    case UT_WIRE_VARINT:
        return take_varint(c, &ret->value);
    case UT_WIRE_FIXED64:
        return take_fixed(c, 8, &ret->value);
    case UT_WIRE_FIXED32:
        return take_fixed(c, 4, &ret->value);
    case UT_WIRE_LEN:
        return take_content(c, &ret->content);
    default:
        return false;
    }
}

/* What follows the begin of a group, to behind its end. */
static bool skip_group(struct cursor *c)
{
    struct field inner;
    for (unsigned open = 1; open > 0;) {
        if (!take_tag(c, &inner))
            return false;
        if (inner.wire == UT_WIRE_GROUP_BEGIN)
            open++;
        else if (inner.wire == UT_WIRE_GROUP_END)
            open--;
        else if (!take_value(c, &inner))
            return false;
    }
    return true;
}

/* The next field of the message, which is not at its end; *ret_schema NULL: it is unknown. */
static bool take_field(struct cursor *c, enum ut_schema_type type, struct field *ret,
                       const struct ut_schema_field **ret_schema)
{
    if (!take_tag(c, ret))
        return false;
    *ret_schema = ut_schema_field(type, ret->number);
    if (*ret_schema != NULL && (*ret_schema)->wire != ret->wire)
        *ret_schema = NULL;
    return ret->wire == UT_WIRE_GROUP_BEGIN ? skip_group(c) : take_value(c, ret);
}

/* The bytes of a value that holds no message. */
static bool contiguous(const struct field *field, ut_slice *ret)
{
    struct cursor content = field->content;
    size_t size = content.left;
    if (size > 0 && here(&content) < size)
        return false;
    *ret = ut_slice_of(content.p, size);
    return true;
}

/* ---- the first look -------------------------------------------------------------------------- */

static bool look_at(struct cursor c, enum ut_schema_type type, struct look *ret)
{
    uint32_t seen = 0;
    unsigned before = 0;
    *ret = (struct look){0};
    while (c.left > 0) {
        struct field field;
        const struct ut_schema_field *schema;
        if (!take_field(&c, type, &field, &schema))
            return false;
        if (schema == NULL)
            continue;
        uint32_t bit = 1U << field.number;
        ret->several |= seen & bit;
        if (field.number != before)
            ret->scattered |= seen & bit;
        if (schema->member)
            ret->member = field.number;
        seen |= bit;
        before = field.number;
    }
    return true;
}

/* ---- values that hold no message ------------------------------------------------------------- */

static void write_double(struct ut_blocks *out, uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    ut_json_output_double(out, value);
}

/* 64-bit integers are strings in JSON, whose readers may have doubles only. */
static void write_quoted(struct ut_blocks *out, uint64_t value, bool is_signed)
{
    ut_blocks_byte(out, '"');
    if (is_signed)
        ut_json_output_signed(out, (int64_t)value);
    else
        ut_json_output_unsigned(out, value);
    ut_blocks_byte(out, '"');
}

static void write_number(struct ut_blocks *out, enum ut_schema_kind kind, uint64_t value)
{
    switch (kind) {
    case UT_SCHEMA_BOOL:
        ut_blocks_put(out, value != 0 ? UT_SLICE("true") : UT_SLICE("false"));
        break;
    case UT_SCHEMA_ENUM:
        ut_json_output_signed(out, (int32_t)value);
        break;
    case UT_SCHEMA_INT64:
        write_quoted(out, value, true);
        break;
    case UT_SCHEMA_FIXED64:
        write_quoted(out, value, false);
        break;
    case UT_SCHEMA_DOUBLE:
        write_double(out, value);
        break;
    default:
        ut_json_output_unsigned(out, (uint32_t)value);
    }
}

static bool write_scalar(struct writer *w, const struct ut_schema_field *schema,
                         const struct field *field)
{
    ut_slice bytes;
    if (schema->wire != UT_WIRE_LEN) {
        write_number(w->out, schema->kind, field->value);
        return true;
    }
    if (!contiguous(field, &bytes))
        return false;
    if (schema->kind == UT_SCHEMA_ID)
        ut_json_output_hex(w->out, bytes);
    else if (schema->kind == UT_SCHEMA_BYTES)
        ut_json_output_base64(w->out, bytes);
    else
        ut_json_output_text(w->out, bytes);
    return true;
}

static bool write_value(struct writer *w, const struct ut_schema_field *schema,
                        const struct field *field, unsigned depth)
{
    if (schema->kind == UT_SCHEMA_MESSAGE)
        return write_message(w, schema->nested, field->content, depth + 1);
    return write_scalar(w, schema, field);
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* A known field with the place behind it and what the first look says about its message. */
struct member {
    enum ut_schema_type type; /* of the message that holds it */
    const struct ut_schema_field *schema;
    struct field field;
    const struct look *look;
    unsigned depth;
};

/* Finds the next occurrence of the member at or behind `c`. false: there is none. The first look
 * has read it all, so nothing can be wrong with it. */
static bool next_occurrence(struct cursor *c, const struct member *member, struct field *ret)
{
    const struct ut_schema_field *schema;
    while (c->left > 0 && take_field(c, member->type, ret, &schema)) {
        if (schema == member->schema)
            return true;
    }
    return false;
}

/* All elements of a list, of which `member` is the first; the cursor goes behind those that follow
 * it at once. */
static bool write_list(struct writer *w, const struct member *member, struct cursor *c)
{
    bool scattered = (member->look->scattered >> member->field.number & 1) != 0;
    struct field field = member->field;
    struct cursor rest = *c;
    ut_blocks_byte(w->out, '[');
    for (;;) {
        if (!write_value(w, member->schema, &field, member->depth))
            return false;
        struct cursor before = rest;
        const struct ut_schema_field *schema = NULL;
        bool more = scattered ? next_occurrence(&rest, member, &field)
                              : rest.left > 0 && take_field(&rest, member->type, &field, &schema) &&
                                    schema == member->schema;
        if (!more) {
            *c = scattered ? *c : before;
            break;
        }
        ut_blocks_byte(w->out, ',');
    }
    ut_blocks_byte(w->out, ']');
    return true;
}

/* The contents of all occurrences of a singular message, one behind the other: what a parser would
 * merge. NULL: there is no room for that. */
static uint8_t *concatenate(struct writer *w, const struct member *member, struct cursor c,
                            size_t *ret_size)
{
    struct cursor again = c;
    struct field field = member->field;
    size_t size = 0, at = 0;
    do {
        size += field.content.left;
    } while (next_occurrence(&again, member, &field));
    if (size > MERGE_MAX - w->merged)
        return NULL;
    uint8_t *bytes = ut_pool_alloc(w->out->pool, size + 1);
    if (bytes == NULL)
        return NULL;
    field = member->field;
    do {
        for (size_t step; (step = here(&field.content)) > 0; at += step) {
            memcpy(bytes + at, field.content.p, step);
            (void)skip(&field.content, step);
        }
    } while (next_occurrence(&c, member, &field));
    w->merged += size;
    *ret_size = at;
    return bytes;
}

static bool write_merged(struct writer *w, const struct member *member, struct cursor c)
{
    size_t size;
    uint8_t *bytes = concatenate(w, member, c, &size);
    if (bytes == NULL) {
        struct field last = member->field;
        while (next_occurrence(&c, member, &last))
            continue;
        return write_value(w, member->schema, &last, member->depth);
    }
    struct cursor content = {.p = bytes, .end = bytes + size, .left = size};
    bool fine = write_message(w, member->schema->nested, content, member->depth + 1);
    ut_pool_free(w->out->pool, bytes);
    return fine;
}

/* A field that occurs several times though it is singular. */
static bool write_several(struct writer *w, const struct member *member, struct cursor c)
{
    struct field last = member->field, field;
    if (member->schema->kind == UT_SCHEMA_MESSAGE)
        return write_merged(w, member, c);
    while (next_occurrence(&c, member, &field))
        last = field;
    return write_value(w, member->schema, &last, member->depth);
}

static bool write_member(struct writer *w, const struct member *member, struct cursor *c)
{
    const struct ut_schema_field *schema = member->schema;
    ut_blocks_put(w->out, ut_slice_of(schema->key, schema->key_size));
    if (schema->repeated)
        return write_list(w, member, c);
    if ((member->look->several >> schema->number & 1) != 0)
        return write_several(w, member, *c);
    return write_value(w, schema, &member->field, member->depth);
}

static bool write_message(struct writer *w, enum ut_schema_type type, struct cursor c,
                          unsigned depth)
{
    struct look look;
    uint32_t written = 0;
    if (depth > UT_DEPTH_MAX || w->out->failed || !look_at(c, type, &look))
        return false;
    ut_blocks_byte(w->out, '{');
    while (c.left > 0) {
        struct member member = {.type = type, .look = &look, .depth = depth};
        if (!take_field(&c, type, &member.field, &member.schema))
            return false;
        if (member.schema == NULL || (written >> member.schema->number & 1) != 0 ||
            (member.schema->member && member.schema->number != look.member))
            continue;
        if (written != 0)
            ut_blocks_byte(w->out, ',');
        written |= 1U << member.schema->number;
        if (!write_member(w, &member, &c))
            return false;
    }
    ut_blocks_byte(w->out, '}');
    return true;
}

int ut_json_from_wire(struct ut_blocks *out, const struct iovec *runs, size_t run_count)
{
    struct writer w = {.out = out};
    struct cursor c = {.next = runs, .all = runs + run_count};
    for (size_t i = 0; i < run_count; i++)
        c.left += runs[i].iov_len;
    if (!write_message(&w, UT_SCHEMA_REQUEST, c, 0))
        return out->failed ? -ENOMEM : -EBADMSG;
    return out->failed ? -ENOMEM : 0;
}
