/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <stdlib.h>
#include <sys/mman.h>

/* A sanitizer sees the use of a block that lies in a free list, as it would after free(). */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_HIDES_FREE_BLOCKS
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(POOL_HIDES_FREE_BLOCKS)
#include <sanitizer/asan_interface.h>
#define HIDE(data, size) __asan_poison_memory_region(data, size)
#define SHOW(data, size) __asan_unpoison_memory_region(data, size)
#else
#define HIDE(data, size) ((void)(data), (void)(size))
#define SHOW(data, size) ((void)(data), (void)(size))
#endif

enum { SMALLEST_SHIFT = 7, MAPPED_CLASS = UT_POOL_CLASSES, EXACT_CLASS };

/* Stands before every block; 16 bytes keep the alignment. `next` is used while the block is free.
 */
struct ut_pool_block {
    union {
        struct ut_pool_block *next;
        size_t bytes; /* of a block that is in no class */
    };
    size_t class_index;
};

static size_t class_bytes(size_t class_index)
{
    return (size_t)1 << (class_index + SMALLEST_SHIFT);
}

static size_t class_of(size_t bytes)
{
    if (bytes <= class_bytes(0))
        return 0;
    return (size_t)(64 - __builtin_clzll(bytes - 1)) - SMALLEST_SHIFT;
}

static struct ut_pool_block *header_of(const void *block)
{
    return (struct ut_pool_block *)(uintptr_t)block - 1;
}

static size_t block_bytes(const struct ut_pool_block *header)
{
    return header->class_index >= MAPPED_CLASS ? header->bytes : class_bytes(header->class_index);
}

void ut_pool_init(struct ut_pool *pool, size_t retain_max)
{
    *pool = (struct ut_pool){.retain_max = retain_max};
}

void ut_pool_done(struct ut_pool *pool)
{
    UT_CHECK(pool->in_use == 0);
    for (size_t i = 0; i < UT_POOL_CLASSES; i++) {
        while (pool->free[i] != NULL) {
            struct ut_pool_block *next = pool->free[i]->next;
            SHOW(pool->free[i] + 1, class_bytes(i) - sizeof(*next));
            free(pool->free[i]);
            pool->free[i] = next;
        }
    }
    pool->retained = 0;
}

static struct ut_pool_block *map_block(size_t bytes)
{
    bytes = (bytes + 4095) & ~(size_t)4095;
    struct ut_pool_block *header =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (header == MAP_FAILED)
        return NULL;
    header->bytes = bytes;
    header->class_index = MAPPED_CLASS;
    return header;
}

void *ut_pool_alloc(struct ut_pool *pool, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t bytes = size + sizeof(struct ut_pool_block);
    size_t class_index = class_of(bytes);
    struct ut_pool_block *header;

    if (class_index >= UT_POOL_CLASSES) {
        pool->system_calls++;
        header = map_block(bytes);
    } else if ((header = pool->free[class_index]) != NULL) {
        pool->free[class_index] = header->next;
        pool->retained -= class_bytes(class_index);
        SHOW(header + 1, class_bytes(class_index) - sizeof(*header));
    } else {
        pool->system_calls++;
        header = malloc(class_bytes(class_index));
        if (header != NULL)
            header->class_index = class_index;
    }
    if (header == NULL)
        return NULL;
    pool->in_use += block_bytes(header);
    return header + 1;
}

void *ut_pool_alloc_exact(struct ut_pool *pool, size_t size)
{
    UT_CHECK(size <= class_bytes(UT_POOL_CLASSES - 1));
    size_t bytes = size + sizeof(struct ut_pool_block);
    struct ut_pool_block *header = malloc(bytes);
    pool->system_calls++;
    if (header == NULL)
        return NULL;
    header->bytes = bytes;
    header->class_index = EXACT_CLASS;
    pool->in_use += bytes;
    return header + 1;
}

size_t ut_pool_usable(const void *block)
{
    return block_bytes(header_of(block)) - sizeof(struct ut_pool_block);
}

void ut_pool_free(struct ut_pool *pool, void *block)
{
    if (block == NULL)
        return;
    struct ut_pool_block *header = header_of(block);
    size_t bytes = block_bytes(header);
    UT_CHECK(pool->in_use >= bytes);
    pool->in_use -= bytes;
    if (header->class_index == MAPPED_CLASS) {
        munmap(header, bytes);
    } else if (header->class_index == EXACT_CLASS || pool->retained + bytes > pool->retain_max) {
        free(header);
    } else {
        header->next = pool->free[header->class_index];
        pool->free[header->class_index] = header;
        pool->retained += bytes;
        HIDE(block, bytes - sizeof(*header));
    }
}
