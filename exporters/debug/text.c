/* SPDX-License-Identifier: Apache-2.0 */
#include "debug_exporter/text.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

enum { FIRST_CAPACITY = 4096, LINE_MAX_BYTES = 256 };

void debug_text_init(struct debug_text *text, struct ut_pool *pool, size_t most)
{
    *text = (struct debug_text){.pool = pool, .most = most};
}

void debug_text_done(struct debug_text *text)
{
    ut_pool_free(text->pool, text->data);
    *text = (struct debug_text){.pool = text->pool, .most = text->most};
}

void debug_text_clear(struct debug_text *text)
{
    text->size = 0;
    text->full = false;
}

static bool make_room(struct debug_text *text, size_t size)
{
    if (size <= text->capacity - text->size)
        return true;
    size_t wanted = text->capacity == 0 ? FIRST_CAPACITY : text->capacity * 2;
    while (wanted < text->size + size)
        wanted *= 2;
    char *larger = text->size + size <= text->most ? ut_pool_alloc(text->pool, wanted) : NULL;
    if (larger == NULL)
        return false;
    if (text->size > 0)
        memcpy(larger, text->data, text->size);
    ut_pool_free(text->pool, text->data);
    text->data = larger;
    text->capacity = ut_pool_usable(larger);
    return true;
}

void debug_text_append(struct debug_text *text, const void *bytes, size_t size)
{
    if (text->full || size == 0)
        return;
    if (text->size + size > text->most || !make_room(text, size)) {
        text->full = true;
        return;
    }
    memcpy(text->data + text->size, bytes, size);
    text->size += size;
}

void debug_text_add(struct debug_text *text, const char *ours)
{
    debug_text_append(text, ours, strlen(ours));
}

void debug_text_format(struct debug_text *text, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    UT_CHECK(size >= 0 && (size_t)size < sizeof(line));
    debug_text_append(text, line, (size_t)size);
}

void debug_text_blanks(struct debug_text *text, size_t count)
{
    while (count-- > 0)
        debug_text_append(text, " ", 1);
}

void debug_text_colour(struct debug_text *text, enum debug_colour colour)
{
    static const char *const codes[] = {
        [DEBUG_PLAIN] = "\033[0m", [DEBUG_BOLD] = "\033[1m",    [DEBUG_DIM] = "\033[2m",
        [DEBUG_RED] = "\033[31m",  [DEBUG_YELLOW] = "\033[33m",
    };
    if (text->colours)
        debug_text_add(text, codes[colour]);
}

void debug_text_hex(struct debug_text *text, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        debug_text_format(text, "%02x", bytes[i]);
}

/* Bytes of the UTF-8 character at `p` (RFC 3629: shortest form, no surrogates), 0 if it is none. */
static size_t character_size(const uint8_t *p, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    if (size <= 1 || size > left)
        return size <= 1 ? size : 0;
    uint32_t code = *p & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    bool valid = code >= least[size] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return valid ? size : 0;
}

/* C0 and DEL, C1 (U+0080 … U+009F, which some terminals obey), and the marks that turn the
 * direction of writing (U+200E/F, U+202A … U+202E, U+2066 … U+2069). */
static bool is_control(const uint8_t *p, size_t size)
{
    if (size == 1)
        return *p < 0x20 || *p == 0x7f;
    if (size == 2)
        return p[0] == 0xc2 && p[1] < 0xa0;
    if (size != 3 || p[0] != 0xe2)
        return false;
    return (p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
           (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

size_t debug_text_foreign(struct debug_text *text, ut_slice bytes)
{
    size_t columns = 0;
    for (size_t i = 0; i < bytes.size;) {
        const uint8_t *p = bytes.data + i;
        size_t size = character_size(p, bytes.size - i);
        if (size > 0 && !is_control(p, size)) {
            debug_text_append(text, p, size);
            columns++;
        } else if (*p == '\n' || *p == '\t' || *p == '\r') {
            debug_text_add(text, *p == '\n' ? "\\n" : *p == '\t' ? "\\t" : "\\r");
            columns += 2;
        } else {
            size = size == 0 ? 1 : size;
            for (size_t j = 0; j < size; j++)
                debug_text_format(text, "\\x%02x", p[j]);
            columns += 4 * size;
        }
        i += size;
    }
    return columns;
}

/* Three digits of `value`. */
static int print_three(char *out, double value, const char *unit)
{
    int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return snprintf(out, DEBUG_NUMBER_BYTES, "%.*f %s", digits, value, unit);
}

size_t debug_duration(char out[DEBUG_NUMBER_BYTES], uint64_t ns)
{
    if (ns < 999500)
        return (size_t)print_three(out, (double)ns / 1e3, "µs") - 1; /* µ takes two bytes */
    if (ns < 999500000)
        return (size_t)print_three(out, (double)ns / 1e6, "ms");
    if (ns < 60 * UT_NS_PER_S)
        return (size_t)print_three(out, (double)ns / 1e9, "s");
    uint64_t seconds = ns / UT_NS_PER_S;
    return (size_t)snprintf(out, DEBUG_NUMBER_BYTES, "%llu min %llu s",
                            (unsigned long long)seconds / 60, (unsigned long long)seconds % 60);
}

const char *debug_size(char out[DEBUG_NUMBER_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        (void)snprintf(out, DEBUG_NUMBER_BYTES, "%u B", (unsigned)bytes);
        return out;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    for (; value >= 999.5; value /= 1024)
        unit++;
    (void)print_three(out, value, units[unit]);
    return out;
}
