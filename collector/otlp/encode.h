/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding of the few OTLP fields that Undertrace adds, into an arena: attributes (KeyValue) and
 * span events. A writer that ran out of memory remembers it and writes nothing more.
 */
#ifndef UT_OTLP_ENCODE_H
#define UT_OTLP_ENCODE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/slice.h"

/* Field numbers of opentelemetry.proto.{trace,resource}.v1 that carry attributes and events. */
enum {
    UT_FIELD_RESOURCE_ATTRIBUTES = 1,
    UT_FIELD_SPAN_ATTRIBUTES = 9,
    UT_FIELD_SPAN_EVENTS = 11,
    UT_FIELD_EVENT_ATTRIBUTES = 3,
};

struct ut_encoder {
    struct ut_arena *arena;
    uint8_t *data; /* newest allocation of the arena */
    size_t size, capacity;
    bool failed;
};

void ut_encoder_init(struct ut_encoder *encoder, struct ut_arena *arena);
void ut_encode_string(struct ut_encoder *encoder, int field, const char *key, ut_slice value);
void ut_encode_int(struct ut_encoder *encoder, int field, const char *key, int64_t value);
void ut_encode_bool(struct ut_encoder *encoder, int field, const char *key, bool value);

/* A span event: begin, its attributes (field UT_FIELD_EVENT_ATTRIBUTES), end. */
size_t ut_encode_event_begin(struct ut_encoder *encoder, const char *name, uint64_t time_unix_ns);
void ut_encode_event_end(struct ut_encoder *encoder, size_t begin);

/* The bytes so far, or an empty slice if the encoder failed. They stay valid as long as the arena,
 * unless more is written. */
ut_slice ut_encoder_bytes(struct ut_encoder *encoder);

#endif
