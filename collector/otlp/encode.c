/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/encode.h"

#include "otlp/wire.h"

enum {
    CAPACITY_MIN = 256,
    KEY_VALUE_KEY = UT_TAG(1, UT_WIRE_LEN),
    KEY_VALUE_VALUE = UT_TAG(2, UT_WIRE_LEN),
    ANY_STRING = UT_TAG(1, UT_WIRE_LEN),
    ANY_BOOL = UT_TAG(2, UT_WIRE_VARINT),
    ANY_INT = UT_TAG(3, UT_WIRE_VARINT),
    EVENT_TIME = UT_TAG(1, UT_WIRE_FIXED64),
    EVENT_NAME = UT_TAG(2, UT_WIRE_LEN),
    EVENT_LENGTH_ROOM = 2, /* most events are 128 … 16383 bytes long */
    FIELD_HEADER_MAX = 2 * UT_VARINT_MAX,
};

void ut_encoder_init(struct ut_encoder *encoder, struct ut_arena *arena)
{
    *encoder = (struct ut_encoder){.arena = arena};
}

/* Room for `size` more bytes; where they go, or NULL. */
static uint8_t *reserve(struct ut_encoder *encoder, size_t size)
{
    if (encoder->failed)
        return NULL;
    size_t need = encoder->size + size;
    if (__builtin_expect(need <= encoder->capacity, 1))
        return encoder->data + encoder->size;
    size_t capacity = encoder->capacity * 2 > CAPACITY_MIN ? encoder->capacity * 2 : CAPACITY_MIN;
    if (capacity < need)
        capacity = need;
    uint8_t *data = ut_arena_grow(encoder->arena, encoder->data, encoder->capacity, capacity);
    if (data == NULL) {
        encoder->failed = true;
        return NULL;
    }
    encoder->data = data;
    encoder->capacity = capacity;
    return data + encoder->size;
}

static uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t size)
{
    if (size > 0)
        memcpy(p, bytes, size);
    return p + size;
}

/* Everything of a KeyValue up to the content of its AnyValue, which takes `value_size` bytes. */
static uint8_t *begin_attribute(struct ut_encoder *encoder, int field, const char *key,
                                size_t value_size)
{
    size_t key_size = strlen(key);
    size_t size = 1 + ut_wire_varint_size(key_size) + key_size + 1 +
                  ut_wire_varint_size(value_size) + value_size;
    uint8_t *p = reserve(encoder, FIELD_HEADER_MAX + size);
    if (p == NULL)
        return NULL;
    p = ut_wire_put_varint(p, UT_TAG(field, UT_WIRE_LEN));
    p = ut_wire_put_varint(p, size);
    *p++ = KEY_VALUE_KEY;
    p = ut_wire_put_varint(p, key_size);
    p = put_bytes(p, key, key_size);
    *p++ = KEY_VALUE_VALUE;
    return ut_wire_put_varint(p, value_size);
}

static void finish(struct ut_encoder *encoder, const uint8_t *end)
{
    encoder->size = (size_t)(end - encoder->data);
}

void ut_encode_string(struct ut_encoder *encoder, int field, const char *key, ut_slice value)
{
    size_t value_size = 1 + ut_wire_varint_size(value.size) + value.size;
    uint8_t *p = begin_attribute(encoder, field, key, value_size);
    if (p == NULL)
        return;
    *p++ = ANY_STRING;
    p = ut_wire_put_varint(p, value.size);
    finish(encoder, put_bytes(p, value.data, value.size));
}

void ut_encode_int(struct ut_encoder *encoder, int field, const char *key, int64_t value)
{
    uint8_t *p = begin_attribute(encoder, field, key, 1 + ut_wire_varint_size((uint64_t)value));
    if (p == NULL)
        return;
    *p++ = ANY_INT;
    finish(encoder, ut_wire_put_varint(p, (uint64_t)value));
}

void ut_encode_bool(struct ut_encoder *encoder, int field, const char *key, bool value)
{
    uint8_t *p = begin_attribute(encoder, field, key, 2);
    if (p == NULL)
        return;
    *p++ = ANY_BOOL;
    *p++ = value;
    finish(encoder, p);
}

size_t ut_encode_event_begin(struct ut_encoder *encoder, const char *name, uint64_t time_unix_ns)
{
    size_t name_size = strlen(name);
    uint8_t *p = reserve(encoder, FIELD_HEADER_MAX + EVENT_LENGTH_ROOM + 16 + name_size);
    if (p == NULL)
        return 0;
    p = ut_wire_put_varint(p, UT_TAG(UT_FIELD_SPAN_EVENTS, UT_WIRE_LEN));
    p += EVENT_LENGTH_ROOM;
    size_t begin = (size_t)(p - encoder->data);
    *p++ = EVENT_TIME;
    p = ut_wire_put_fixed64(p, time_unix_ns);
    *p++ = EVENT_NAME;
    p = ut_wire_put_varint(p, name_size);
    finish(encoder, put_bytes(p, name, name_size));
    return begin;
}

void ut_encode_event_end(struct ut_encoder *encoder, size_t begin)
{
    if (reserve(encoder, UT_VARINT_MAX) == NULL)
        return;
    size_t size = encoder->size - begin;
    size_t length_size = ut_wire_varint_size(size);
    uint8_t *length = encoder->data + begin - EVENT_LENGTH_ROOM;
    if (length_size != EVENT_LENGTH_ROOM)
        memmove(length + length_size, encoder->data + begin, size);
    (void)ut_wire_put_varint(length, size);
    encoder->size = begin - EVENT_LENGTH_ROOM + length_size + size;
}

ut_slice ut_encoder_bytes(struct ut_encoder *encoder)
{
    if (encoder->failed || encoder->size == 0)
        return (ut_slice){NULL, 0};
    /* What was taken and not used goes back, if nothing was allocated since: that cannot fail, and
     * where it would have to move the bytes they stay. */
    if (ut_arena_is_newest(encoder->arena, encoder->data, encoder->capacity)) {
        encoder->data =
            ut_arena_grow(encoder->arena, encoder->data, encoder->capacity, encoder->size);
        encoder->capacity = encoder->size;
    }
    return ut_slice_of(encoder->data, encoder->size);
}
