/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_memory.h"

#include <stdbool.h>
#include <string.h>

/* Whatever is smaller comes and goes with a stream. */
enum { LONG_LIVED_BYTES = 1024 };

static void *allocate(size_t size, void *pool)
{
    bool exact = size >= LONG_LIVED_BYTES && size < (1 << 20);
    return exact ? ut_pool_alloc_exact(pool, size) : ut_pool_alloc(pool, size);
}

static void release(void *block, void *pool)
{
    ut_pool_free(pool, block);
}

static void *allocate_cleared(size_t count, size_t size, void *pool)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *block = allocate(bytes, pool);
    return block != NULL ? memset(block, 0, bytes) : NULL;
}

static void *reallocate(void *block, size_t size, void *pool)
{
    if (block == NULL)
        return allocate(size, pool);
    size_t usable = ut_pool_usable(block);
    if (size <= usable)
        return block;
    void *bigger = allocate(size, pool);
    if (bigger == NULL)
        return NULL;
    memcpy(bigger, block, usable);
    ut_pool_free(pool, block);
    return bigger;
}

nghttp2_mem ut_h2_memory(struct ut_pool *pool)
{
    return (nghttp2_mem){
        .mem_user_data = pool,
        .malloc = allocate,
        .free = release,
        .calloc = allocate_cleared,
        .realloc = reallocate,
    };
}
