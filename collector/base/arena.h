/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bump memory of one batch body: chunks from a pool, all released together. Nothing in an arena is
 * freed alone. `bytes` is what the arena holds, for the budget.
 */
#ifndef UT_BASE_ARENA_H
#define UT_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

struct ut_arena_chunk;

struct ut_arena {
    struct ut_pool *pool;
    struct ut_arena_chunk *chunks; /* newest first */
    uint8_t *next, *end;
    size_t bytes; /* in all chunks */
};

void ut_arena_init(struct ut_arena *arena, struct ut_pool *pool);
void ut_arena_done(struct ut_arena *arena);

/* `size` bytes, aligned to 8, not cleared; NULL when the pool has none. */
void *ut_arena_alloc(struct ut_arena *arena, size_t size) UT_MUST_USE;
/* Makes the newest allocation `block` larger, in place or by moving it. The old bytes are kept. */
void *ut_arena_grow(struct ut_arena *arena, void *block, size_t old_size,
                    size_t new_size) UT_MUST_USE;
/* Whether `block` of `size` bytes is the newest allocation: growing it may, shrinking it will stay
 * in place. */
bool ut_arena_is_newest(const struct ut_arena *arena, const void *block, size_t size);

#endif
