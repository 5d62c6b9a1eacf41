/* SPDX-License-Identifier: Apache-2.0 */
/* Spans through the lab's join, and what they gained, read back from their edits. */
#ifndef UT_TEST_EVIDENCE_LAB_SPANS_H
#define UT_TEST_EVIDENCE_LAB_SPANS_H

#include "lab_world.h"

enum { KIND_INTERNAL = 1, KIND_SERVER, KIND_CLIENT, KIND_PRODUCER, KIND_CONSUMER };

/* ---- spans ------------------------------------------------------------------------------------
 */

static inline struct otlp_span lab_span(unsigned kind, uint64_t id, double start_ms, double end_ms,
                                        const struct otlp_attribute *attributes)
{
    return (struct otlp_span){
        .trace_id = 1,
        .span_id = id,
        .parent_id = kind == KIND_SERVER ? 77 : 78,
        .name = "span",
        .kind = kind,
        .start_ns = lab_ns(start_ms),
        .end_ns = lab_ns(end_ms),
        .attributes = attributes,
    };
}

static inline void lab_join_from(struct lab *lab, struct ut_sender sender,
                                 const struct otlp_attribute *resource,
                                 const struct otlp_span *spans, size_t count)
{
    lab_drop_batch(lab);
    otlp_free(&lab->request);
    lab->request = (struct otlp_bytes){0};
    otlp_resource_spans(&lab->request, resource, spans, count);
    lab->batch = otlp_batch(&lab->pool, &lab->request);
    lab->batch->first->sender = sender;
    ut_evidence_join(lab->evidence, lab->batch, &lab->options, lab_ns(lab->now_ms));
}

static inline void lab_join_of(struct lab *lab, uint64_t cookie,
                               const struct otlp_attribute *resource, const struct otlp_span *spans,
                               size_t count)
{
    lab_join_from(lab, (struct ut_sender){.socket_cookie = cookie}, resource, spans, count);
}

static inline void lab_join(struct lab *lab, uint64_t cookie, const struct otlp_span *spans,
                            size_t count)
{
    static const struct otlp_attribute service[] = {{"service.name", "demo", 0}, {0}};
    lab_join_of(lab, cookie, service, spans, count);
}

#define LAB_JOIN(lab, cookie, ...)                                                                 \
    lab_join(lab, cookie, (const struct otlp_span[]){__VA_ARGS__},                                 \
             sizeof((const struct otlp_span[]){__VA_ARGS__}) / sizeof(struct otlp_span))

/* ---- what a span gained -------------------------------------------------------------------------
 */

struct lab_field {
    uint64_t number, value;
    ut_slice content;
};

static inline uint64_t lab_varint(ut_slice *from)
{
    uint64_t value = 0;
    for (unsigned shift = 0; from->size > 0; shift += 7) {
        uint8_t byte = from->data[0];
        *from = ut_slice_of(from->data + 1, from->size - 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    return value;
}

static inline bool lab_next(ut_slice *from, struct lab_field *field)
{
    if (from->size == 0)
        return false;
    uint64_t tag = lab_varint(from);
    *field = (struct lab_field){.number = tag >> 3};
    size_t used = 0;
    if ((tag & 7) == 0) {
        field->value = lab_varint(from);
    } else if ((tag & 7) == 1) {
        memcpy(&field->value, from->data, 8);
        used = 8;
    } else if ((tag & 7) == 2) {
        size_t size = (size_t)lab_varint(from);
        field->content = ut_slice_of(from->data, size);
        used = size;
    } else {
        abort();
    }
    *from = ut_slice_of(from->data + used, from->size - used);
    return true;
}

/* The value of an attribute among the fields `number` of a message; a number is in `value`, a text
 * in `content`. */
static inline bool lab_find(ut_slice message, uint64_t number, const char *key,
                            struct lab_field *value)
{
    struct lab_field field, part;
    while (lab_next(&message, &field)) {
        ut_slice key_value = field.content, name = {NULL, 0}, any = {NULL, 0};
        while (field.number == number && lab_next(&key_value, &part)) {
            if (part.number == 1)
                name = part.content;
            else
                any = part.content;
        }
        if (ut_slice_equal(name, ut_slice_str(key)))
            return lab_next(&any, value);
    }
    return false;
}

static inline ut_slice lab_added(const struct lab *lab, uint32_t span)
{
    const struct ut_edit *edit = ut_body_edit(lab->batch->first, span);
    return edit != NULL ? edit->added : (ut_slice){NULL, 0};
}

static inline bool lab_gained_nothing(const struct lab *lab, uint32_t span)
{
    return lab_added(lab, span).size == 0;
}

/* -1: it is not there. */
static inline int64_t lab_int_of(ut_slice message, uint64_t number, const char *key)
{
    struct lab_field value;
    return lab_find(message, number, key, &value) ? (int64_t)value.value : -1;
}

static inline const char *lab_text_of(ut_slice message, uint64_t number, const char *key)
{
    static char texts[8][256];
    static unsigned next;
    struct lab_field value;
    char *out = texts[next++ % 8];
    out[0] = '\0';
    if (lab_find(message, number, key, &value) && value.content.size < sizeof(texts[0])) {
        memcpy(out, value.content.data, value.content.size);
        out[value.content.size] = '\0';
    }
    return out;
}

static inline int64_t lab_int(const struct lab *lab, uint32_t span, const char *key)
{
    return lab_int_of(lab_added(lab, span), 9, key);
}

static inline const char *lab_text(const struct lab *lab, uint32_t span, const char *key)
{
    return lab_text_of(lab_added(lab, span), 9, key);
}

/* The span event of that number, its bytes; empty if there is none. */
static inline ut_slice lab_event(const struct lab *lab, uint32_t span, unsigned index)
{
    ut_slice added = lab_added(lab, span);
    struct lab_field field;
    while (lab_next(&added, &field)) {
        if (field.number == 11 && index-- == 0)
            return field.content;
    }
    return (ut_slice){NULL, 0};
}

static inline unsigned lab_events(const struct lab *lab, uint32_t span)
{
    unsigned count = 0;
    while (lab_event(lab, span, count).size > 0)
        count++;
    return count;
}

static inline const char *lab_event_text(const struct lab *lab, uint32_t span, unsigned index,
                                         const char *key)
{
    return lab_text_of(lab_event(lab, span, index), 3, key);
}

static inline int64_t lab_event_int(const struct lab *lab, uint32_t span, unsigned index,
                                    const char *key)
{
    return lab_int_of(lab_event(lab, span, index), 3, key);
}

static inline uint64_t lab_metric(const struct lab *lab, const char *name, const char *labels)
{
    return *ut_metrics_counter(lab->metrics, name, labels, "");
}

#endif
