/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump of the JSON door: objects and arrays by the tables of schema.h, scalars by json_value.h.
 * Every value is written as it is read. Most senders name the members in the order of the field
 * numbers, so what is written mostly stands where it belongs; where not, the fields of that message
 * are put in order when it ends.
 *
 * Cost: each byte is looked at once; what a message holds is moved at most once for its length, and
 * once for each field that came out of order. With the depth limited that bounds hostile input,
 * too.
 *
 * Invariants: 1. recursion goes no deeper than UT_DEPTH_MAX messages; 2. what is written of a
 * message is the fields of the ranges in `fields`, with dead bytes between only while `disordered`.
 */
#include "otlp/json.h"

#include "otlp/json_value.h"

enum {
    /* A guess at what the wire bytes come to, as a share of the JSON: a little more than usual. */
    FIRST_NUMERATOR = 7,
    FIRST_DENOMINATOR = 16,
    GROWTH_DENOMINATOR = 4096,
    GROWTH_FREE = 16,
    ATTRIBUTE_DEPTH = 2, /* KeyValue and AnyValue */
};

/* What was written of one message. */
struct fields {
    size_t base;                            /* where its first field begins */
    uint32_t seen;                          /* a bit for each number that has a range */
    unsigned last;                          /* the highest number so far */
    bool disordered;                        /* dead bytes, or a lower number behind a higher */
    size_t begin[UT_SCHEMA_NUMBER_MAX + 1]; /* by number */
    size_t end[UT_SCHEMA_NUMBER_MAX + 1];
};

static const uint8_t *read_object(struct ut_json_reader *r, enum ut_schema_type type,
                                  const uint8_t *p, unsigned depth);

/* ---- order ----------------------------------------------------------------------------------- */

static void forget(struct fields *f, unsigned number)
{
    if ((f->seen >> number & 1) == 0)
        return;
    f->seen &= ~(1U << number);
    f->disordered = true;
}

static void keep(struct fields *f, unsigned number, size_t begin, size_t end)
{
    if (begin == end) {
        forget(f, number);
        return;
    }
    if (number > f->last)
        f->last = number;
    else
        f->disordered = true;
    f->seen |= 1U << number;
    f->begin[number] = begin;
    f->end[number] = end;
}

/* Moves the live ranges together; their numbers in the order they stand in, and how many. */
static unsigned compact(struct ut_writer *out, struct fields *f, uint8_t *numbers)
{
    unsigned count = 0;
    for (unsigned number = 1; number <= UT_SCHEMA_NUMBER_MAX; number++) {
        if ((f->seen >> number & 1) == 0)
            continue;
        unsigned at = count++;
        for (; at > 0 && f->begin[numbers[at - 1]] > f->begin[number]; at--)
            numbers[at] = numbers[at - 1];
        numbers[at] = (uint8_t)number;
    }
    size_t end = f->base;
    for (unsigned i = 0; i < count; i++) {
        unsigned number = numbers[i];
        size_t size = f->end[number] - f->begin[number];
        memmove(out->segment->data + end, out->segment->data + f->begin[number], size);
        f->begin[number] = end;
        end += size;
        f->end[number] = end;
    }
    out->next = out->segment->data + end;
    return count;
}

/* Drops what does not count any more and sorts the rest by number: each range that stands behind
 * higher ones goes before them. */
static void put_in_order(struct ut_writer *out, struct fields *f)
{
    uint8_t numbers[UT_SCHEMA_NUMBER_MAX];
    unsigned count = compact(out, f, numbers);
    for (unsigned i = 1; i < count; i++) {
        uint8_t number = numbers[i];
        unsigned to = i;
        while (to > 0 && numbers[to - 1] > number)
            to--;
        if (to == i)
            continue;
        size_t first = f->begin[numbers[to]], size = f->end[number] - f->begin[number];
        ut_writer_swap(out, first, f->begin[number], f->end[number]);
        for (unsigned j = i; j > to; j--) {
            numbers[j] = numbers[j - 1];
            f->begin[numbers[j]] += size;
            f->end[numbers[j]] += size;
        }
        numbers[to] = number;
        f->begin[number] = first;
        f->end[number] = first + size;
    }
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Whether the bytes at `p`, at least UT_SCHEMA_KEY_ROOM of them, begin with the field's key in its
 * usual form, colon included. */
static inline bool is_usual_key(const uint8_t *p, const struct ut_schema_field *field)
{
#ifdef __SSE2__
    const uint8_t *key = (const uint8_t *)field->key;
    unsigned low =
        (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(ut_text_load16(p), ut_text_load16(key)));
    unsigned high = (unsigned)_mm_movemask_epi8(
        _mm_cmpeq_epi8(ut_text_load16(p + 16), ut_text_load16(key + 16)));
    unsigned wanted = (1U << field->key_size) - 1;
    return ((low | high << 16) & wanted) == wanted;
#else
    return memcmp(p, field->key, field->key_size) == 0;
#endif
}

/* Whether `key` is the name as the .proto file has it: snake_case. */
static bool is_proto_name(ut_slice key, const uint8_t *name, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = name[i];
        if (c >= 'A' && c <= 'Z') {
            if (at == key.size || key.data[at++] != '_')
                return false;
            c |= 0x20;
        }
        if (at == key.size || key.data[at++] != c)
            return false;
    }
    return at == key.size;
}

/* The index of the field that is called `key`, or -1. */
static int find_field(enum ut_schema_type type, ut_slice key)
{
    enum { AROUND = 3 }; /* quotes and colon */
    const struct ut_schema_message *message = &UT_SCHEMA[type];
    for (int i = 0; i < message->count; i++) {
        const uint8_t *name = (const uint8_t *)message->fields[i].key + 1;
        size_t size = message->fields[i].key_size - AROUND;
        if (ut_slice_equal(key, ut_slice_of(name, size)) || is_proto_name(key, name, size))
            return i;
    }
    return -1;
}

/* The key at `p` and its colon, in any form. */
static const uint8_t *read_any_key(struct ut_json_reader *r, enum ut_schema_type type,
                                   const uint8_t *p, int *ret_index)
{
    if (p == r->in.end || *p != '"')
        return ut_json_refuse(&r->in, p, "a key is expected");
    bool plain;
    const uint8_t *end = ut_json_string_end(&r->in, ++p, &plain);
    if (end == NULL)
        return NULL;
    ut_slice key = ut_slice_of(p, (size_t)(end - p));
    if (!plain) {
        /* What it stands for is made in the free room of the output. */
        if (!ut_writer_room(&r->out, key.size))
            return NULL;
        const uint8_t *behind = ut_json_unescape(&r->in, p, end, r->out.next);
        if (behind == NULL)
            return NULL;
        key = ut_slice_of(r->out.next, (size_t)(behind - r->out.next));
    }
    *ret_index = find_field(type, key);
    p = ut_json_space(end + 1, r->in.end);
    if (p == r->in.end || *p != ':')
        return ut_json_refuse(&r->in, p, "a colon is expected");
    return p + 1;
}

/* The key at `p`, which follows the field `before` (0: none); *ret NULL: it is unknown. */
static inline const uint8_t *read_key(struct ut_json_reader *r, enum ut_schema_type type,
                                      unsigned before, const uint8_t *p,
                                      const struct ut_schema_field **ret)
{
    const struct ut_schema_field *fields = UT_SCHEMA[type].fields;
    const struct ut_schema_field *likely = &fields[r->following[type][before]];
    if (r->in.end - p >= UT_SCHEMA_KEY_ROOM && is_usual_key(p, likely)) {
        *ret = likely;
        return p + likely->key_size;
    }
    int index = -1;
    p = read_any_key(r, type, p, &index);
    if (p == NULL)
        return NULL;
    *ret = index >= 0 ? &fields[index] : NULL;
    if (index >= 0)
        r->following[type][before] = (uint8_t)index;
    return p;
}

/* ---- values ---------------------------------------------------------------------------------- */

static const uint8_t *read_message(struct ut_json_reader *r, const struct ut_schema_field *field,
                                   const uint8_t *p, unsigned depth)
{
    enum ut_schema_type type = field->nested;
    if (depth > UT_DEPTH_MAX)
        return ut_json_refuse(&r->in, p, "nested too deep");
    if (!ut_writer_room(&r->out, UT_WRITER_SLACK / 2))
        return NULL;
    size_t guess = r->length_size[type];
    r->out.next = ut_json_put_tag(r->out.next, field) + guess;
    size_t content = ut_writer_position(&r->out);
    p = read_object(r, type, p, depth);
    if (p == NULL)
        return NULL;
    size_t size = ut_writer_close(&r->out, content, guess);
    if (!UT_SCHEMA[type].recursive)
        r->length_size[type] = (uint8_t)size;
    return p;
}

static inline const uint8_t *read_value(struct ut_json_reader *r,
                                        const struct ut_schema_field *field, const uint8_t *p,
                                        unsigned depth)
{
    if (field->kind == UT_SCHEMA_MESSAGE)
        return read_message(r, field, p, depth + 1);
    return ut_json_read_scalar(r, field, p);
}

static const uint8_t *read_array(struct ut_json_reader *r, const struct ut_schema_field *field,
                                 const uint8_t *p, unsigned depth)
{
    const uint8_t *end = r->in.end;
    if (p == end || *p != '[')
        return ut_json_refuse(&r->in, p, "an array is expected");
    p = ut_json_space(p + 1, end);
    if (p < end && *p == ']')
        return p + 1;
    bool attributes = field->kind == UT_SCHEMA_MESSAGE && field->nested == UT_SCHEMA_KEY_VALUE &&
                      depth + ATTRIBUTE_DEPTH <= UT_DEPTH_MAX;
    for (;;) {
        const uint8_t *behind = attributes ? ut_json_read_plain_attribute(r, field, p) : NULL;
        p = behind != NULL ? behind : read_value(r, field, p, depth);
        if (p == NULL)
            return NULL;
        p = ut_json_space(p, end);
        if (p < end && *p == ']')
            return p + 1;
        if (p == end || *p != ',')
            return ut_json_refuse(&r->in, p, "a comma or the end of an array is expected");
        p = ut_json_space(p + 1, end);
    }
}

static bool is_null(const uint8_t *p, const uint8_t *end)
{
    return *p == 'n' && ut_slice_starts(ut_slice_of(p, (size_t)(end - p)), UT_SLICE("null"));
}

/* The value of a member at `p`. */
static const uint8_t *read_member(struct ut_json_reader *r, struct fields *f,
                                  const struct ut_schema_field *field, const uint8_t *p,
                                  unsigned depth)
{
    p = ut_json_space(p, r->in.end);
    if (p == r->in.end)
        return ut_json_refuse(&r->in, p, "a value is expected");
    if (__builtin_expect(is_null(p, r->in.end), 0)) {
        forget(f, field->number);
        return p + 4;
    }
    if (field->member) {
        /* The one before it does not count any more. */
        r->out.next = r->out.segment->data + f->base;
        f->seen = f->last = 0;
        f->disordered = false;
    }
    size_t begin = ut_writer_position(&r->out);
    p = field->repeated ? read_array(r, field, p, depth) : read_value(r, field, p, depth);
    if (p != NULL)
        keep(f, field->number, begin, ut_writer_position(&r->out));
    return p;
}

/* An object that is a message of `type`: writes its fields. */
static const uint8_t *read_object(struct ut_json_reader *r, enum ut_schema_type type,
                                  const uint8_t *p, unsigned depth)
{
    const uint8_t *end = r->in.end;
    struct fields f;
    f.base = ut_writer_position(&r->out);
    f.seen = f.last = 0;
    f.disordered = false;
    if (p == end || *p != '{')
        return ut_json_refuse(&r->in, p, "an object is expected");
    p = ut_json_space(p + 1, end);
    if (p < end && *p == '}')
        return p + 1;
    for (unsigned before = 0;;) {
        const struct ut_schema_field *field;
        p = read_key(r, type, before, p, &field);
        if (p != NULL && field != NULL) {
            before = field->number;
            p = read_member(r, &f, field, p, depth);
        } else if (p != NULL) {
            p = ut_json_skip(&r->in, p);
        }
        if (p == NULL)
            return NULL;
        p = ut_json_space(p, end);
        if (p < end && *p == '}')
            break;
        if (p == end || *p != ',')
            return ut_json_refuse(&r->in, p, "a comma or the end of an object is expected");
        p = ut_json_space(p + 1, end);
    }
    if (__builtin_expect(f.disordered, 0))
        put_in_order(&r->out, &f);
    return p + 1;
}

/* ---- the request ----------------------------------------------------------------------------- */

static void expect_usual_order(struct ut_json_reader *r)
{
    for (int type = 0; type < UT_SCHEMA_TYPES; type++) {
        const struct ut_schema_message *message = &UT_SCHEMA[type];
        r->length_size[type] = 1;
        memset(r->following[type], 0, sizeof(r->following[type]));
        for (uint8_t i = 0; i + 1 < message->count; i++)
            r->following[type][message->fields[i].number] = i + 1;
    }
}

static bool read_request(struct ut_json_reader *r)
{
    const uint8_t *p = ut_json_space(r->in.begin, r->in.end);
    p = read_object(r, UT_SCHEMA_REQUEST, p, 0);
    if (p == NULL)
        return false;
    p = ut_json_space(p, r->in.end);
    if (p != r->in.end)
        (void)ut_json_refuse(&r->in, p, "more behind the request");
    return p == r->in.end;
}

int ut_json_to_wire(ut_slice json, struct ut_pool *pool, const struct ut_writer_limits *limits,
                    struct ut_segment **ret, struct ut_json_report *report)
{
    struct ut_json_reader r = {.in = {.begin = json.data, .end = json.data + json.size}};
    *report = (struct ut_json_report){0};
    size_t first = json.size / FIRST_DENOMINATOR * FIRST_NUMERATOR + GROWTH_FREE;
    size_t most = json.size + json.size / GROWTH_DENOMINATOR + GROWTH_FREE;
    int error = ut_writer_init(&r.out, pool, limits, first, most);
    if (error != 0)
        return error;
    expect_usual_order(&r);
    if (read_request(&r))
        return ut_writer_finish(&r.out, ret);
    ut_writer_abandon(&r.out);
    if (r.out.error != 0)
        return r.out.error;
    report->offset = (size_t)(r.in.at - r.in.begin);
    report->error = r.in.error;
    return -EBADMSG;
}
