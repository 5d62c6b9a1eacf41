/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that are written front to back into blocks of a pool: what requests are made in whose size
 * is not known beforehand. They never move, and come out as a list of runs.
 *
 * The first failure to get memory is remembered; after it nothing is written any more, and the
 * writers need not look.
 */
#ifndef UT_BASE_BLOCKS_H
#define UT_BASE_BLOCKS_H

#include <sys/uio.h>

#include "base/pool.h"
#include "base/slice.h"

enum { UT_BLOCKS_ROOM_MOST = 1024 }; /* that can be asked for in one piece */

struct ut_block;

struct ut_blocks {
    struct ut_pool *pool;
    uint8_t *next, *end; /* where the next byte goes, and where the newest block ends */
    struct ut_block *first, *last;
    size_t count;
    size_t bytes_before; /* in all blocks but the newest */
    struct iovec *runs;  /* of ut_blocks_runs */
    bool failed;
};

void ut_blocks_init(struct ut_blocks *blocks, struct ut_pool *pool);
void ut_blocks_done(struct ut_blocks *blocks);

/* Bytes written so far. */
size_t ut_blocks_bytes(const struct ut_blocks *blocks);
/* All that was written, as runs that stay valid until more is written; none of them is empty.
 * Returns their number, or -ENOMEM, also where writing failed. */
int ut_blocks_runs(struct ut_blocks *blocks, const struct iovec **ret) UT_MUST_USE;

/* Begins a new block; false: there is no memory. */
bool ut_blocks_grow(struct ut_blocks *blocks);
/* Whether `size` bytes, UT_BLOCKS_ROOM_MOST of them at most, have room at `next` in one piece. */
static inline bool ut_blocks_room(struct ut_blocks *blocks, size_t size)
{
    return __builtin_expect((size_t)(blocks->end - blocks->next) >= size, 1) ||
           ut_blocks_grow(blocks);
}

void ut_blocks_put(struct ut_blocks *blocks, ut_slice bytes);
#define UT_BLOCKS_LITERAL(blocks, literal) ut_blocks_put(blocks, UT_SLICE(literal))

static inline void ut_blocks_byte(struct ut_blocks *blocks, char byte)
{
    if (ut_blocks_room(blocks, 1))
        *blocks->next++ = (uint8_t)byte;
}

/* Remembers that something could not be written. */
void ut_blocks_fail(struct ut_blocks *blocks);

#endif
