/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf bytes for tests, field by field. Right and wrong ones alike: every function writes
 * exactly what it is told. Out of memory ends the test program.
 */
#ifndef UT_TEST_OTLP_BYTES_H
#define UT_TEST_OTLP_BYTES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct otlp_bytes {
    uint8_t *data;
    size_t size, capacity;
};

static inline void otlp_free(struct otlp_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct otlp_bytes){0};
}

/* ---- the wire -------------------------------------------------------------------------------- */

static inline void otlp_raw(struct otlp_bytes *out, const void *data, size_t size)
{
    if (out->size + size > out->capacity) {
        out->capacity = (out->size + size) * 2;
        out->data = realloc(out->data, out->capacity);
        if (out->data == NULL)
            abort();
    }
    if (size > 0)
        memcpy(out->data + out->size, data, size);
    out->size += size;
}

static inline void otlp_byte(struct otlp_bytes *out, unsigned byte)
{
    uint8_t b = (uint8_t)byte;
    otlp_raw(out, &b, 1);
}

static inline void otlp_varint(struct otlp_bytes *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        otlp_byte(out, (unsigned)(value & 0x7f) | 0x80);
    otlp_byte(out, (unsigned)value);
}

/* The same value in exactly `width` bytes, more than it needs. */
static inline void otlp_long_varint(struct otlp_bytes *out, uint64_t value, unsigned width)
{
    for (unsigned i = 1; i < width; i++, value >>= 7)
        otlp_byte(out, (unsigned)(value & 0x7f) | 0x80);
    otlp_byte(out, (unsigned)value);
}

static inline void otlp_tag(struct otlp_bytes *out, uint64_t number, unsigned wire)
{
    otlp_varint(out, number << 3 | wire);
}

static inline void otlp_uint(struct otlp_bytes *out, unsigned number, uint64_t value)
{
    otlp_tag(out, number, 0);
    otlp_varint(out, value);
}

static inline void otlp_fixed64(struct otlp_bytes *out, unsigned number, uint64_t value)
{
    otlp_tag(out, number, 1);
    for (int i = 0; i < 8; i++)
        otlp_byte(out, (unsigned)(value >> (8 * i)) & 0xff);
}

static inline void otlp_fixed32(struct otlp_bytes *out, unsigned number, uint32_t value)
{
    otlp_tag(out, number, 5);
    for (int i = 0; i < 4; i++)
        otlp_byte(out, (value >> (8 * i)) & 0xff);
}

static inline void otlp_data(struct otlp_bytes *out, unsigned number, const void *data, size_t size)
{
    otlp_tag(out, number, 2);
    otlp_varint(out, size);
    otlp_raw(out, data, size);
}

static inline void otlp_text(struct otlp_bytes *out, unsigned number, const char *text)
{
    otlp_data(out, number, text, strlen(text));
}

/* A message: what is written between begin and end is its content. */
static inline size_t otlp_begin(struct otlp_bytes *out, unsigned number)
{
    otlp_tag(out, number, 2);
    return out->size;
}

static inline void otlp_end(struct otlp_bytes *out, size_t begin)
{
    struct otlp_bytes length = {0};
    size_t size = out->size - begin;
    otlp_varint(&length, size);
    otlp_raw(out, length.data, length.size);
    memmove(out->data + begin + length.size, out->data + begin, size);
    memcpy(out->data + begin, length.data, length.size);
    otlp_free(&length);
}

#endif
