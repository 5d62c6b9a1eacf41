/* SPDX-License-Identifier: Apache-2.0 */
#include "base/blocks.h"

#include <errno.h>

enum {
    FIRST = 4000, /* with the fields of block and pool less than the pool's size of 4 KiB … */
    MOST = 65000, /* … and of 64 KiB */
};

struct ut_block {
    struct ut_block *next;
    size_t size; /* written; set when the next block begins */
    uint8_t data[];
};

void ut_blocks_init(struct ut_blocks *blocks, struct ut_pool *pool)
{
    *blocks = (struct ut_blocks){.pool = pool};
}

void ut_blocks_done(struct ut_blocks *blocks)
{
    ut_pool_free(blocks->pool, blocks->runs);
    while (blocks->first != NULL) {
        struct ut_block *block = blocks->first;
        blocks->first = block->next;
        ut_pool_free(blocks->pool, block);
    }
    *blocks = (struct ut_blocks){.pool = blocks->pool};
}

static size_t newest_size(const struct ut_blocks *blocks)
{
    return blocks->last != NULL ? (size_t)(blocks->next - blocks->last->data) : 0;
}

size_t ut_blocks_bytes(const struct ut_blocks *blocks)
{
    return blocks->bytes_before + (blocks->failed ? 0 : newest_size(blocks));
}

void ut_blocks_fail(struct ut_blocks *blocks)
{
    blocks->failed = true;
    blocks->next = blocks->end;
}

bool ut_blocks_grow(struct ut_blocks *blocks)
{
    if (blocks->failed)
        return false;
    struct ut_block *block =
        ut_pool_alloc(blocks->pool, sizeof(struct ut_block) + (blocks->count == 0 ? FIRST : MOST));
    if (block == NULL) {
        ut_blocks_fail(blocks);
        return false;
    }
    block->next = NULL;
    if (blocks->last != NULL) {
        blocks->last->size = newest_size(blocks);
        blocks->bytes_before += blocks->last->size;
        blocks->last->next = block;
    } else {
        blocks->first = block;
    }
    blocks->last = block;
    blocks->count++;
    blocks->next = block->data;
    blocks->end = (uint8_t *)block + ut_pool_usable(block);
    return true;
}

int ut_blocks_runs(struct ut_blocks *blocks, const struct iovec **ret)
{
    if (blocks->failed || blocks->count > INT32_MAX)
        return -ENOMEM;
    ut_pool_free(blocks->pool, blocks->runs);
    blocks->runs = ut_pool_alloc(blocks->pool, (blocks->count + 1) * sizeof(*blocks->runs));
    if (blocks->runs == NULL)
        return -ENOMEM;
    if (blocks->last != NULL)
        blocks->last->size = newest_size(blocks);
    int count = 0;
    for (struct ut_block *block = blocks->first; block != NULL; block = block->next) {
        if (block->size > 0)
            blocks->runs[count++] = (struct iovec){block->data, block->size};
    }
    *ret = blocks->runs;
    return count;
}

void ut_blocks_put(struct ut_blocks *blocks, ut_slice bytes)
{
    while (bytes.size > 0 && ut_blocks_room(blocks, 1)) {
        size_t room = (size_t)(blocks->end - blocks->next);
        size_t size = bytes.size < room ? bytes.size : room;
        memcpy(blocks->next, bytes.data, size);
        blocks->next += size;
        bytes = ut_slice_of(bytes.data + size, bytes.size - size);
    }
}
