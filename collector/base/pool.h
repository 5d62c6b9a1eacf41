/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the data path: blocks by size class (powers of two from 128 B to 1 MiB), kept in free
 * lists, so that a steady flow calls malloc zero times. Blocks above 1 MiB are mapped and unmapped
 * each time; those that are asked for exactly are the system's each time. One pool belongs to one
 * thread.
 *
 * Invariants: 1. a block remembers its class in the 16 bytes before it; 2. free blocks never hold
 * more than `retain_max` bytes, what is beyond goes back to the system at once.
 */
#ifndef UT_BASE_POOL_H
#define UT_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

#define UT_POOL_CLASSES 14

struct ut_pool_block;

struct ut_pool {
    struct ut_pool_block *free[UT_POOL_CLASSES];
    size_t retained;       /* bytes in the free lists */
    size_t retain_max;     /* bytes */
    size_t in_use;         /* bytes handed out, in class sizes */
    uint64_t system_calls; /* times that malloc or mmap was asked */
};

void ut_pool_init(struct ut_pool *pool, size_t retain_max);
/* Every block must have been freed. */
void ut_pool_done(struct ut_pool *pool);

/* At least `size` bytes, aligned to 16, not cleared; NULL when the system has none. */
void *ut_pool_alloc(struct ut_pool *pool, size_t size) UT_MUST_USE;
/* The same, of that size and no more: for what lives long, where rounding up would cost more than
 * malloc. At most 1 MiB. */
void *ut_pool_alloc_exact(struct ut_pool *pool, size_t size) UT_MUST_USE;
/* Usable bytes of a block, ≥ what was asked for. */
size_t ut_pool_usable(const void *block);
void ut_pool_free(struct ut_pool *pool, void *block); /* NULL is fine */

#endif
