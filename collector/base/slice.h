/* SPDX-License-Identifier: Apache-2.0 */
/* Borrowed bytes. A slice owns nothing; whoever stores one names its owner beside it. */
#ifndef UT_BASE_SLICE_H
#define UT_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct ut_slice {
    const uint8_t *data;
    size_t size;
} ut_slice;

/* A slice over a string literal, without its terminator. */
#define UT_SLICE(literal) ((ut_slice){(const uint8_t *)(literal), sizeof(literal) - 1})

static inline ut_slice ut_slice_of(const void *data, size_t size)
{
    return (ut_slice){data, size};
}

static inline ut_slice ut_slice_str(const char *text)
{
    return (ut_slice){(const uint8_t *)text, text != NULL ? strlen(text) : 0};
}

static inline bool ut_slice_equal(ut_slice a, ut_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool ut_slice_starts(ut_slice text, ut_slice prefix)
{
    return text.size >= prefix.size && memcmp(text.data, prefix.data, prefix.size) == 0;
}

#endif
