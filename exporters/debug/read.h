/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads spans out of a batch as they would be exported: the original fields less what the edit
 * removes, then what it adds. The bytes were checked by the walk, or are our own.
 */
#ifndef UT_DEBUG_READ_H
#define UT_DEBUG_READ_H

#include "debug_exporter/trace.h"
#include "model/batch.h"
#include "otlp/wire.h"

/* The fields of one Span message, edited. */
struct debug_fields {
    const uint8_t *segment; /* first byte, from which the removed ranges count */
    const uint8_t *next, *end;
    const struct ut_edit *edit; /* NULL: none, or the added fields are being read */
    uint32_t range;
};

void debug_fields_init(struct debug_fields *fields, const struct ut_body *body, uint32_t span);
bool debug_fields_next(struct debug_fields *fields, struct ut_wire_field *ret);

/* A KeyValue. */
struct debug_attribute {
    ut_slice key;
    struct ut_wire_field value; /* of the AnyValue: number 0 where it has none */
};

struct debug_attribute debug_read_attribute(ut_slice key_value);

/* Copies span `index` of the body into the trace. `with_fields`: its attributes and events too.
 * false where there is no memory. */
bool debug_read_span(struct debug_trace *trace, const struct ut_body *body, uint32_t index,
                     ut_slice service, bool with_fields) UT_MUST_USE;

/* The edit of the span carries evidence of ours. */
bool debug_has_evidence(const struct ut_body *body, uint32_t index);

enum {
    DEBUG_SPAN_NAME = 5,
    DEBUG_EVENT_NAME = 2,
    DEBUG_EVENT_TIME = 1,
};

#endif
