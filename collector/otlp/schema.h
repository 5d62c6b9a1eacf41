/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opentelemetry.proto.collector.trace.v1 and what it holds, as tables: what JSON is read by and
 * text is repaired by. The walk has tables of its own that are laid out for speed.
 */
#ifndef UT_OTLP_SCHEMA_H
#define UT_OTLP_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "otlp/wire.h"

enum ut_schema_type {
    UT_SCHEMA_REQUEST,
    UT_SCHEMA_RESOURCE_SPANS,
    UT_SCHEMA_RESOURCE,
    UT_SCHEMA_ENTITY_REF,
    UT_SCHEMA_SCOPE_SPANS,
    UT_SCHEMA_SCOPE,
    UT_SCHEMA_SPAN,
    UT_SCHEMA_EVENT,
    UT_SCHEMA_LINK,
    UT_SCHEMA_STATUS,
    UT_SCHEMA_KEY_VALUE,
    UT_SCHEMA_ANY_VALUE,
    UT_SCHEMA_ARRAY,
    UT_SCHEMA_KEY_VALUE_LIST,
    UT_SCHEMA_TYPES,
};

enum ut_schema_kind {
    UT_SCHEMA_MESSAGE,
    UT_SCHEMA_TEXT,
    UT_SCHEMA_ID, /* bytes, in JSON hex */
    UT_SCHEMA_BYTES,
    UT_SCHEMA_BOOL,
    UT_SCHEMA_ENUM,
    UT_SCHEMA_UINT32,
    UT_SCHEMA_INT64,
    UT_SCHEMA_FIXED32,
    UT_SCHEMA_FIXED64,
    UT_SCHEMA_DOUBLE,
};

enum { UT_SCHEMA_NUMBER_MAX = 16, UT_SCHEMA_KEY_ROOM = 32 };

struct ut_schema_field {
    char key[UT_SCHEMA_KEY_ROOM]; /* as it mostly stands in JSON: `"traceId":` */
    uint8_t key_size;
    uint8_t number;
    uint8_t kind;   /* enum ut_schema_kind */
    uint8_t nested; /* enum ut_schema_type, of a message */
    uint8_t wire;   /* enum ut_wire */
    bool repeated;
    bool member; /* of a oneof: its default is written, too */
};

struct ut_schema_message {
    const struct ut_schema_field *fields; /* by number */
    uint8_t count;
    bool recursive; /* can hold itself */
};

extern const struct ut_schema_message UT_SCHEMA[UT_SCHEMA_TYPES];

/* The field of that number, NULL where the schema has none. */
static inline const struct ut_schema_field *ut_schema_field(enum ut_schema_type type,
                                                            uint32_t number)
{
    const struct ut_schema_message *message = &UT_SCHEMA[type];
    /* All numbers but those of Status follow one on the other from 1 on. */
    if (number - 1 < message->count && message->fields[number - 1].number == number)
        return &message->fields[number - 1];
    for (uint8_t i = 0; i < message->count; i++) {
        if (message->fields[i].number == number)
            return &message->fields[i];
    }
    return NULL;
}

#endif
