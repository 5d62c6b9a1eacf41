/* SPDX-License-Identifier: Apache-2.0 */
#include <zlib.h>

#include "net/deflate_decoder.h"

enum {
    PIECE = 1 << 30,   /* bytes that zlib is given at once; its counts have 32 bits */
    ARENA = 56 << 10,  /* zlib's state and window are 40 KiB */
    WINDOW_BITS = -15, /* a bare stream */
    ALIGNMENT_MASK = 15,
};

struct ut_deflate_decoder {
    z_stream stream;
    size_t used; /* bytes of the arena */
    uint8_t arena[ARENA] __attribute__((aligned(16)));
};

/* zlib asks for its state and, once, for its window; both are here for good. */
static void *allocate(void *opaque, unsigned count, unsigned size)
{
    struct ut_deflate_decoder *decoder = opaque;
    size_t bytes = ((size_t)count * size + ALIGNMENT_MASK) & ~(size_t)ALIGNMENT_MASK;
    if (bytes > ARENA - decoder->used)
        return NULL;
    decoder->used += bytes;
    return decoder->arena + decoder->used - bytes;
}

static void release(void *opaque, void *block)
{
    (void)opaque, (void)block;
}

size_t ut_deflate_decoder_bytes(void)
{
    return sizeof(struct ut_deflate_decoder);
}

bool ut_deflate_decoder_init(struct ut_deflate_decoder *decoder)
{
    decoder->used = 0;
    decoder->stream = (z_stream){.zalloc = allocate, .zfree = release, .opaque = decoder};
    return inflateInit2(&decoder->stream, WINDOW_BITS) == Z_OK;
}

void ut_deflate_decoder_done(struct ut_deflate_decoder *decoder)
{
    (void)inflateEnd(&decoder->stream);
}

void ut_deflate_decoder_begin(struct ut_deflate_decoder *decoder)
{
    (void)inflateReset(&decoder->stream);
}

static unsigned clip(size_t bytes)
{
    return bytes < PIECE ? (unsigned)bytes : PIECE;
}

enum ut_deflate_result ut_deflate_decoder_step(struct ut_deflate_decoder *decoder, ut_slice *input,
                                               uint8_t *out, size_t *room)
{
    z_stream *stream = &decoder->stream;
    unsigned in_before = clip(input->size), out_before = clip(*room);
    stream->next_in = (Bytef *)(uintptr_t)input->data;
    stream->avail_in = in_before;
    stream->next_out = out;
    stream->avail_out = out_before;
    int result = inflate(stream, Z_NO_FLUSH);
    size_t taken = in_before - stream->avail_in;
    *input = ut_slice_of(input->data + taken, input->size - taken);
    *room -= out_before - stream->avail_out;
    if (result == Z_STREAM_END)
        return UT_DEFLATE_END;
    if (result != Z_OK && result != Z_BUF_ERROR)
        return UT_DEFLATE_CORRUPT;
    if (stream->avail_out == 0)
        return UT_DEFLATE_ROOM;
    return stream->avail_in == 0 ? UT_DEFLATE_MORE : UT_DEFLATE_CORRUPT;
}

uint32_t ut_deflate_crc32(uint32_t crc, ut_slice bytes)
{
    return (uint32_t)crc32_z(crc, bytes.data, bytes.size);
}

uint32_t ut_deflate_adler32(uint32_t adler, ut_slice bytes)
{
    return (uint32_t)adler32_z(adler, bytes.data, bytes.size);
}
