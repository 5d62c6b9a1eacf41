/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/json_output.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "otlp/json_token.h"

enum {
    BLOCK_FIRST = 4000, /* with the block's own fields a size of the pool */
    BLOCK_MOST = 65000,
    NUMBER_MAX = 32,
    ESCAPE_MAX = 6,
    DIGITS_FEW = 15, /* that any decimal number keeps in a double */
    DIGITS_ALL = 17, /* that tell any double */
};

struct ut_json_block {
    struct ut_json_block *next;
    size_t size; /* written; set when the next block begins */
    uint8_t data[];
};

/* ---- blocks ---------------------------------------------------------------------------------- */

void ut_json_output_init(struct ut_json_output *out, struct ut_pool *pool)
{
    *out = (struct ut_json_output){.pool = pool};
}

void ut_json_output_done(struct ut_json_output *out)
{
    ut_pool_free(out->pool, out->runs);
    while (out->first != NULL) {
        struct ut_json_block *block = out->first;
        out->first = block->next;
        ut_pool_free(out->pool, block);
    }
    *out = (struct ut_json_output){.pool = out->pool};
}

static size_t newest_size(const struct ut_json_output *out)
{
    return out->last != NULL ? (size_t)(out->next - out->last->data) : 0;
}

size_t ut_json_output_bytes(const struct ut_json_output *out)
{
    return out->bytes_before + newest_size(out);
}

static bool add_block(struct ut_json_output *out)
{
    if (out->failed)
        return false;
    size_t want = sizeof(struct ut_json_block) + (out->blocks == 0 ? BLOCK_FIRST : BLOCK_MOST);
    struct ut_json_block *block = ut_pool_alloc(out->pool, want);
    if (block == NULL) {
        out->failed = true;
        out->next = out->end;
        return false;
    }
    block->next = NULL;
    if (out->last != NULL) {
        out->last->size = newest_size(out);
        out->bytes_before += out->last->size;
        out->last->next = block;
    } else {
        out->first = block;
    }
    out->last = block;
    out->blocks++;
    out->next = block->data;
    out->end = (uint8_t *)block + ut_pool_usable(block);
    return true;
}

/* Whether `size` bytes, few of them, have room in one piece. */
static inline bool has_room(struct ut_json_output *out, size_t size)
{
    return __builtin_expect((size_t)(out->end - out->next) >= size, 1) || add_block(out);
}

int ut_json_output_runs(struct ut_json_output *out, const struct iovec **ret)
{
    if (out->failed || out->blocks > INT32_MAX)
        return -ENOMEM;
    ut_pool_free(out->pool, out->runs);
    out->runs = ut_pool_alloc(out->pool, (out->blocks + 1) * sizeof(*out->runs));
    if (out->runs == NULL)
        return -ENOMEM;
    if (out->last != NULL)
        out->last->size = newest_size(out);
    int count = 0;
    for (struct ut_json_block *block = out->first; block != NULL; block = block->next) {
        if (block->size > 0)
            out->runs[count++] = (struct iovec){block->data, block->size};
    }
    *ret = out->runs;
    return count;
}

/* ---- text ------------------------------------------------------------------------------------ */

void ut_json_output_raw(struct ut_json_output *out, ut_slice text)
{
    while (text.size > 0 && has_room(out, 1)) {
        size_t room = (size_t)(out->end - out->next);
        size_t size = text.size < room ? text.size : room;
        memcpy(out->next, text.data, size);
        out->next += size;
        text = ut_slice_of(text.data + size, text.size - size);
    }
}

void ut_json_output_byte(struct ut_json_output *out, char byte)
{
    if (has_room(out, 1))
        *out->next++ = (uint8_t)byte;
}

static void put_escape(struct ut_json_output *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', [0x1f] = 0};
    if (!has_room(out, ESCAPE_MAX))
        return;
    char name = (char)(c >= 0x20 ? c : (uint8_t)names[c]);
    *out->next++ = '\\';
    if (name != 0) {
        *out->next++ = (uint8_t)name;
        return;
    }
    memcpy(out->next, "u00", 3);
    out->next[3] = (uint8_t)hex[c >> 4];
    out->next[4] = (uint8_t)hex[c & 15];
    out->next += 5;
}

static void put_characters(struct ut_json_output *out, ut_slice text)
{
    const uint8_t *p = text.data, *end = p + text.size;
    while (p < end) {
        const uint8_t *plain = ut_json_plain_end(p, end);
        ut_json_output_raw(out, ut_slice_of(p, (size_t)(plain - p)));
        p = plain;
        if (p < end)
            put_escape(out, *p++);
    }
}

/* What is not UTF-8 is made so in a block of its own. */
static void put_repaired(struct ut_json_output *out, ut_slice text)
{
    size_t size = ut_text_repaired_size(text.data, text.size);
    uint8_t *repaired = ut_pool_alloc(out->pool, size);
    if (repaired == NULL) {
        out->failed = true;
        out->next = out->end;
        return;
    }
    ut_text_repair(text.data, text.size, repaired);
    put_characters(out, ut_slice_of(repaired, size));
    ut_pool_free(out->pool, repaired);
}

void ut_json_output_characters(struct ut_json_output *out, ut_slice text)
{
    if (text.size == 0)
        return;
    if (ut_text_is_fine(text.data, text.size))
        put_characters(out, text);
    else
        put_repaired(out, text);
}

void ut_json_output_text(struct ut_json_output *out, ut_slice text)
{
    ut_json_output_byte(out, '"');
    ut_json_output_characters(out, text);
    ut_json_output_byte(out, '"');
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void ut_json_output_hex(struct ut_json_output *out, ut_slice bytes)
{
    static const char hex[] = "0123456789abcdef";
    ut_json_output_byte(out, '"');
    for (size_t i = 0; i < bytes.size && has_room(out, 2); i++) {
        *out->next++ = (uint8_t)hex[bytes.data[i] >> 4];
        *out->next++ = (uint8_t)hex[bytes.data[i] & 15];
    }
    ut_json_output_byte(out, '"');
}

void ut_json_output_base64(struct ut_json_output *out, ut_slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    ut_json_output_byte(out, '"');
    for (size_t i = 0; i < bytes.size && has_room(out, 4); i += 3) {
        size_t left = bytes.size - i;
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        bits |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        bits |= left > 2 ? bytes.data[i + 2] : 0;
        *out->next++ = (uint8_t)digits[bits >> 18];
        *out->next++ = (uint8_t)digits[bits >> 12 & 63];
        *out->next++ = (uint8_t)(left > 1 ? digits[bits >> 6 & 63] : '=');
        *out->next++ = (uint8_t)(left > 2 ? digits[bits & 63] : '=');
    }
    ut_json_output_byte(out, '"');
}

/* ---- numbers --------------------------------------------------------------------------------- */

void ut_json_output_unsigned(struct ut_json_output *out, uint64_t value)
{
    char text[NUMBER_MAX];
    char *p = text + sizeof(text);
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    ut_json_output_raw(out, ut_slice_of(p, (size_t)(text + sizeof(text) - p)));
}

void ut_json_output_signed(struct ut_json_output *out, int64_t value)
{
    if (value < 0)
        ut_json_output_byte(out, '-');
    ut_json_output_unsigned(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void ut_json_output_double(struct ut_json_output *out, double value)
{
    char text[NUMBER_MAX];
    if (!isfinite(value)) {
        ut_json_output_raw(out, isnan(value)  ? UT_SLICE("\"NaN\"")
                                : value > 0.0 ? UT_SLICE("\"Infinity\"")
                                              : UT_SLICE("\"-Infinity\""));
        return;
    }
    int size = 0;
    for (int digits = DIGITS_FEW; digits <= DIGITS_ALL; digits++) {
        size = snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    ut_json_output_raw(out, ut_slice_of(text, (size_t)size));
}
