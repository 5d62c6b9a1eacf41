/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <string.h>

enum { CHUNK_MIN = 1000, CHUNK_MOST = (64 << 10) - 16, ALIGNMENT = 8 };

struct ut_arena_chunk {
    struct ut_arena_chunk *next;
    uint64_t bytes;
};

void ut_arena_init(struct ut_arena *arena, struct ut_pool *pool)
{
    *arena = (struct ut_arena){.pool = pool};
}

void ut_arena_done(struct ut_arena *arena)
{
    while (arena->chunks != NULL) {
        struct ut_arena_chunk *next = arena->chunks->next;
        ut_pool_free(arena->pool, arena->chunks);
        arena->chunks = next;
    }
    arena->next = arena->end = NULL;
    arena->bytes = 0;
}

static size_t round_up(size_t size)
{
    return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* Chunks double, so that a small arena has few of them, up to a size at which what the last one
 * does not use is little. */
static int add_chunk(struct ut_arena *arena, size_t size)
{
    size_t want = arena->bytes > CHUNK_MIN ? arena->bytes : CHUNK_MIN;
    if (want > CHUNK_MOST)
        want = CHUNK_MOST;
    if (want < size + sizeof(struct ut_arena_chunk))
        want = size + sizeof(struct ut_arena_chunk);
    struct ut_arena_chunk *chunk = ut_pool_alloc(arena->pool, want);
    if (chunk == NULL)
        return -1;
    chunk->bytes = ut_pool_usable(chunk);
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->bytes += chunk->bytes;
    arena->next = (uint8_t *)(chunk + 1);
    arena->end = (uint8_t *)chunk + chunk->bytes;
    return 0;
}

void *ut_arena_alloc(struct ut_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 4)
        return NULL;
    size = round_up(size > 0 ? size : 1); /* so that NULL always means "no memory" */
    if ((size_t)(arena->end - arena->next) < size && add_chunk(arena, size) != 0)
        return NULL;
    void *block = arena->next;
    arena->next += size;
    return block;
}

bool ut_arena_is_newest(const struct ut_arena *arena, const void *block, size_t size)
{
    return block != NULL && (const uint8_t *)block + round_up(size) == arena->next;
}

void *ut_arena_grow(struct ut_arena *arena, void *block, size_t old_size, size_t new_size)
{
    if (block == NULL)
        return ut_arena_alloc(arena, new_size);
    if (ut_arena_is_newest(arena, block, old_size) && new_size <= SIZE_MAX / 4 &&
        round_up(new_size) <= (size_t)(arena->end - (uint8_t *)block)) {
        arena->next = (uint8_t *)block + round_up(new_size);
        return block;
    }
    void *moved = ut_arena_alloc(arena, new_size);
    if (moved != NULL)
        memcpy(moved, block, old_size < new_size ? old_size : new_size);
    return moved;
}
