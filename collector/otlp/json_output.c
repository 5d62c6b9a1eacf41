/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/json_output.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "otlp/json_token.h"

enum {
    NUMBER_MAX = 32,
    ESCAPE_MAX = 6,
    DIGITS_FEW = 15, /* that any decimal number keeps in a double */
    DIGITS_ALL = 17, /* that tell any double */
};

/* ---- text ------------------------------------------------------------------------------------ */

static void put_escape(struct ut_blocks *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', [0x1f] = 0};
    if (!ut_blocks_room(out, ESCAPE_MAX))
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

static void put_characters(struct ut_blocks *out, ut_slice text)
{
    const uint8_t *p = text.data, *end = p + text.size;
    while (p < end) {
        const uint8_t *plain = ut_json_plain_end(p, end);
        ut_blocks_put(out, ut_slice_of(p, (size_t)(plain - p)));
        p = plain;
        if (p < end)
            put_escape(out, *p++);
    }
}

/* What is not UTF-8 is made so in a block of its own. */
static void put_repaired(struct ut_blocks *out, ut_slice text)
{
    size_t size = ut_text_repaired_size(text.data, text.size);
    uint8_t *repaired = ut_pool_alloc(out->pool, size);
    if (repaired == NULL) {
        ut_blocks_fail(out);
        return;
    }
    ut_text_repair(text.data, text.size, repaired);
    put_characters(out, ut_slice_of(repaired, size));
    ut_pool_free(out->pool, repaired);
}

void ut_json_output_characters(struct ut_blocks *out, ut_slice text)
{
    if (text.size == 0)
        return;
    if (ut_text_is_fine(text.data, text.size))
        put_characters(out, text);
    else
        put_repaired(out, text);
}

void ut_json_output_text(struct ut_blocks *out, ut_slice text)
{
    ut_blocks_byte(out, '"');
    ut_json_output_characters(out, text);
    ut_blocks_byte(out, '"');
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void ut_json_output_hex_digits(struct ut_blocks *out, ut_slice bytes)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size && ut_blocks_room(out, 2); i++) {
        *out->next++ = (uint8_t)hex[bytes.data[i] >> 4];
        *out->next++ = (uint8_t)hex[bytes.data[i] & 15];
    }
}

void ut_json_output_hex(struct ut_blocks *out, ut_slice bytes)
{
    ut_blocks_byte(out, '"');
    ut_json_output_hex_digits(out, bytes);
    ut_blocks_byte(out, '"');
}

void ut_json_output_base64(struct ut_blocks *out, ut_slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    ut_blocks_byte(out, '"');
    for (size_t i = 0; i < bytes.size && ut_blocks_room(out, 4); i += 3) {
        size_t left = bytes.size - i;
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        bits |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        bits |= left > 2 ? bytes.data[i + 2] : 0;
        *out->next++ = (uint8_t)digits[bits >> 18];
        *out->next++ = (uint8_t)digits[bits >> 12 & 63];
        *out->next++ = (uint8_t)(left > 1 ? digits[bits >> 6 & 63] : '=');
        *out->next++ = (uint8_t)(left > 2 ? digits[bits & 63] : '=');
    }
    ut_blocks_byte(out, '"');
}

/* ---- numbers --------------------------------------------------------------------------------- */

void ut_json_output_unsigned(struct ut_blocks *out, uint64_t value)
{
    char text[NUMBER_MAX];
    char *p = text + sizeof(text);
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    ut_blocks_put(out, ut_slice_of(p, (size_t)(text + sizeof(text) - p)));
}

void ut_json_output_signed(struct ut_blocks *out, int64_t value)
{
    if (value < 0)
        ut_blocks_byte(out, '-');
    ut_json_output_unsigned(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void ut_json_output_double(struct ut_blocks *out, double value)
{
    char text[NUMBER_MAX];
    if (!isfinite(value)) {
        ut_blocks_put(out, isnan(value)  ? UT_SLICE("\"NaN\"")
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
    ut_blocks_put(out, ut_slice_of(text, (size_t)size));
}
