/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that grows up to a maximum, in memory of the worker's pool, and the forms in which numbers
 * and foreign strings appear in it. Once it is full or out of memory it takes nothing more; `full`
 * says so.
 */
#ifndef UT_DEBUG_TEXT_H
#define UT_DEBUG_TEXT_H

#include "base/pool.h"
#include "base/slice.h"

struct debug_text {
    struct ut_pool *pool;
    char *data;
    size_t size, capacity, most; /* bytes */
    bool full;
    bool colours; /* else debug_text_colour writes nothing */
};

enum debug_colour { DEBUG_PLAIN, DEBUG_BOLD, DEBUG_DIM, DEBUG_RED, DEBUG_YELLOW };

void debug_text_init(struct debug_text *text, struct ut_pool *pool, size_t most);
void debug_text_done(struct debug_text *text);
/* Throws the content away and keeps the memory. */
void debug_text_clear(struct debug_text *text);

void debug_text_add(struct debug_text *text, const char *ours);
void debug_text_append(struct debug_text *text, const void *bytes, size_t size);
void debug_text_format(struct debug_text *text, const char *format, ...) UT_PRINTF(2, 3);
/* Bytes from outside: control characters, what a terminal could take for one, and what is not UTF-8
 * appear as \n, \t or \xNN. Returns the columns that they take, about. */
size_t debug_text_foreign(struct debug_text *text, ut_slice bytes);
void debug_text_blanks(struct debug_text *text, size_t count);
void debug_text_colour(struct debug_text *text, enum debug_colour colour);
void debug_text_hex(struct debug_text *text, const uint8_t *bytes, size_t size);

#define DEBUG_NUMBER_BYTES 32
/* "840 µs", "12.1 ms", "3.02 s", "4 min 10 s". Returns the columns (not bytes) of `out`. */
size_t debug_duration(char out[DEBUG_NUMBER_BYTES], uint64_t ns);
/* "800 B", "12.3 KiB". Returns `out`. */
const char *debug_size(char out[DEBUG_NUMBER_BYTES], uint64_t bytes);

#endif
