/* SPDX-License-Identifier: Apache-2.0 */
#include <zlib.h>

#include "net/compress_kind.h"

enum {
    LEVEL = 1,
    WINDOW_BITS = 15, /* with zlib's wrapper */
    GZIP_WRAPPER = 16,
    MEMORY_LEVEL = 8,
    ARENA = 288 << 10, /* zlib takes 262 KiB of this for these parameters, once */
    PIECE = 1 << 30,   /* bytes at once; zlib's counts have 32 bits */
    ALIGNMENT_MASK = 15,
};

struct gzip {
    z_stream stream;
    size_t used; /* bytes of the arena */
    uint8_t arena[ARENA] __attribute__((aligned(16)));
};

static size_t bytes(void)
{
    return sizeof(struct gzip);
}

static void *allocate(void *opaque, unsigned count, unsigned size)
{
    struct gzip *gzip = opaque;
    size_t needed = ((size_t)count * size + ALIGNMENT_MASK) & ~(size_t)ALIGNMENT_MASK;
    if (needed > ARENA - gzip->used)
        return NULL;
    gzip->used += needed;
    return gzip->arena + gzip->used - needed;
}

static void release(void *opaque, void *block)
{
    (void)opaque, (void)block;
}

static bool init(struct gzip *gzip, int window_bits)
{
    gzip->used = 0;
    gzip->stream = (z_stream){.zalloc = allocate, .zfree = release, .opaque = gzip};
    return deflateInit2(&gzip->stream, LEVEL, Z_DEFLATED, window_bits, MEMORY_LEVEL,
                        Z_DEFAULT_STRATEGY) == Z_OK;
}

static bool init_gzip(void *context)
{
    return init(context, WINDOW_BITS + GZIP_WRAPPER);
}

static bool init_deflate(void *context)
{
    return init(context, WINDOW_BITS);
}

static void done(void *context)
{
    (void)deflateEnd(&((struct gzip *)context)->stream);
}

static bool begin(void *context, size_t size)
{
    (void)size;
    return deflateReset(&((struct gzip *)context)->stream) == Z_OK;
}

static unsigned clip(size_t size)
{
    return size < PIECE ? (unsigned)size : PIECE;
}

static enum ut_compress_result step(void *context, ut_slice *input, bool last, uint8_t *out,
                                    size_t *room)
{
    z_stream *stream = &((struct gzip *)context)->stream;
    unsigned in_before = clip(input->size), out_before = clip(*room);
    stream->next_in = (Bytef *)(uintptr_t)input->data;
    stream->avail_in = in_before;
    stream->next_out = out;
    stream->avail_out = out_before;
    int result = deflate(stream, last && in_before == input->size ? Z_FINISH : Z_NO_FLUSH);
    size_t taken = in_before - stream->avail_in;
    *input = ut_slice_of(input->data + taken, input->size - taken);
    *room -= out_before - stream->avail_out;
    if (result == Z_STREAM_END)
        return UT_COMPRESS_END;
    if (result != Z_OK && result != Z_BUF_ERROR)
        return UT_COMPRESS_FAILED;
    return stream->avail_out == 0 ? UT_COMPRESS_ROOM : UT_COMPRESS_MORE;
}

const struct ut_compress_kind ut_compress_gzip = {bytes, init_gzip, done, begin, step};
const struct ut_compress_kind ut_compress_deflate = {bytes, init_deflate, done, begin, step};
