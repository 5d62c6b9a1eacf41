/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block is filled from its beginning to its end, runs and copied bytes alike, and begins anew
 * when all of it has gone, which is each turn of the loop unless the socket is full. Neighbouring
 * copies share a run.
 */
#include "net/h2_output.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>

enum {
    RUNS = 1016,
    COPIED_BYTES = 12 << 10,
};

struct ut_h2_output_block {
    size_t first, end; /* of the runs */
    size_t copied;     /* bytes */
    struct iovec runs[RUNS];
    uint8_t copies[COPIED_BYTES];
};

/* With the pool's own header it is one 32 KiB block. */
_Static_assert(sizeof(struct ut_h2_output_block) <= (32 << 10) - 16, "one pool block");

void ut_h2_output_init(struct ut_h2_output *output, struct ut_pool *pool)
{
    *output = (struct ut_h2_output){.pool = pool};
}

void ut_h2_output_done(struct ut_h2_output *output)
{
    ut_pool_free(output->pool, output->block);
    output->block = NULL;
}

bool ut_h2_output_has_room(const struct ut_h2_output *output, size_t copies, size_t runs)
{
    const struct ut_h2_output_block *block = output->block;
    size_t copied = block != NULL ? block->copied : 0;
    size_t end = block != NULL ? block->end : 0;
    return copies <= COPIED_BYTES - copied && runs <= RUNS - end;
}

static int ensure_block(struct ut_h2_output *output)
{
    if (output->block != NULL)
        return 0;
    output->block = ut_pool_alloc(output->pool, sizeof(*output->block));
    if (output->block == NULL)
        return -ENOMEM;
    output->block->first = output->block->end = output->block->copied = 0;
    return 0;
}

static void append_run(struct ut_h2_output *output, const uint8_t *data, size_t size)
{
    struct ut_h2_output_block *block = output->block;
    struct iovec *last = block->end > block->first ? &block->runs[block->end - 1] : NULL;
    if (last != NULL && (const uint8_t *)last->iov_base + last->iov_len == data)
        last->iov_len += size;
    else
        block->runs[block->end++] = (struct iovec){(void *)(uintptr_t)data, size};
    output->pushed += size;
}

int ut_h2_output_copy(struct ut_h2_output *output, ut_slice bytes)
{
    if (bytes.size == 0)
        return 0;
    if (!ut_h2_output_has_room(output, bytes.size, 1))
        return -ENOBUFS;
    int error = ensure_block(output);
    if (error != 0)
        return error;
    struct ut_h2_output_block *block = output->block;
    uint8_t *copy = block->copies + block->copied;
    memcpy(copy, bytes.data, bytes.size);
    block->copied += bytes.size;
    append_run(output, copy, bytes.size);
    return 0;
}

int ut_h2_output_refer(struct ut_h2_output *output, ut_slice bytes)
{
    if (bytes.size == 0)
        return 0;
    if (!ut_h2_output_has_room(output, 0, 1))
        return -ENOBUFS;
    int error = ensure_block(output);
    if (error != 0)
        return error;
    append_run(output, bytes.data, bytes.size);
    return 0;
}

/* A frame that is too long for the room left goes out from nghttp2's own buffer, which stays as it
 * is until the next call for a frame. */
static int push_frame(struct ut_h2_output *output, ut_slice frame)
{
    int error = ut_h2_output_copy(output, frame);
    if (error != -ENOBUFS)
        return error;
    output->session_pinned = true;
    return ut_h2_output_refer(output, frame);
}

int ut_h2_output_pump(struct ut_h2_output *output, struct nghttp2_session *session)
{
    while (!output->session_pinned && ut_h2_output_has_room(output, 64, 1)) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(session, &data);
        if (size == 0)
            return 0;
        if (size < 0)
            return size == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
        int error = push_frame(output, ut_slice_of(data, (size_t)size));
        if (error != 0)
            return error;
    }
    return 0;
}

size_t ut_h2_output_peek(const struct ut_h2_output *output, struct iovec *runs, size_t room)
{
    const struct ut_h2_output_block *block = output->block;
    if (block == NULL)
        return 0;
    size_t count = block->end - block->first;
    count = count < room ? count : room;
    memcpy(runs, block->runs + block->first, count * sizeof(runs[0]));
    return count;
}

void ut_h2_output_consume(struct ut_h2_output *output, size_t bytes)
{
    struct ut_h2_output_block *block = output->block;
    output->gone += bytes;
    UT_CHECK(output->gone <= output->pushed);
    while (bytes > 0 && bytes >= block->runs[block->first].iov_len)
        bytes -= block->runs[block->first++].iov_len;
    if (bytes > 0) {
        struct iovec *run = &block->runs[block->first];
        run->iov_base = (uint8_t *)run->iov_base + bytes;
        run->iov_len -= bytes;
    }
    if (output->gone == output->pushed) {
        output->session_pinned = false;
        ut_h2_output_done(output);
    }
}
