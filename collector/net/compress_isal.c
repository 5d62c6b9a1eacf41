/* SPDX-License-Identifier: Apache-2.0 */
#include <isa-l/igzip_lib.h>

#include "net/compress_kind.h"

enum { LEVEL = 1, PIECE = 1 << 30 /* bytes at once; ISA-L's counts have 32 bits */ };

struct gzip {
    struct isal_zstream stream;
    uint8_t level_buffer[ISAL_DEF_LVL1_DEFAULT];
};

static size_t bytes(void)
{
    return sizeof(struct gzip);
}

static bool init(void *context)
{
    (void)context;
    return true;
}

static void done(void *context)
{
    (void)context;
}

static bool begin(struct gzip *gzip, uint16_t wrapper)
{
    isal_deflate_init(&gzip->stream);
    gzip->stream.level = LEVEL;
    gzip->stream.level_buf = gzip->level_buffer;
    gzip->stream.level_buf_size = sizeof(gzip->level_buffer);
    gzip->stream.gzip_flag = wrapper;
    gzip->stream.flush = NO_FLUSH;
    return true;
}

static bool begin_gzip(void *context, size_t size)
{
    (void)size;
    return begin(context, IGZIP_GZIP);
}

static bool begin_deflate(void *context, size_t size)
{
    (void)size;
    return begin(context, IGZIP_ZLIB);
}

static uint32_t clip(size_t size)
{
    return size < PIECE ? (uint32_t)size : PIECE;
}

static enum ut_compress_result step(void *context, ut_slice *input, bool last, uint8_t *out,
                                    size_t *room)
{
    struct isal_zstream *stream = &((struct gzip *)context)->stream;
    uint32_t in_before = clip(input->size), out_before = clip(*room);
    stream->next_in = (uint8_t *)(uintptr_t)input->data;
    stream->avail_in = in_before;
    stream->next_out = out;
    stream->avail_out = out_before;
    stream->end_of_stream = last && in_before == input->size;
    if (isal_deflate(stream) != COMP_OK)
        return UT_COMPRESS_FAILED;
    size_t taken = in_before - stream->avail_in;
    *input = ut_slice_of(input->data + taken, input->size - taken);
    *room -= out_before - stream->avail_out;
    if (stream->internal_state.state == ZSTATE_END)
        return UT_COMPRESS_END;
    return stream->avail_out == 0 ? UT_COMPRESS_ROOM : UT_COMPRESS_MORE;
}

const struct ut_compress_kind ut_compress_gzip = {bytes, init, done, begin_gzip, step};
const struct ut_compress_kind ut_compress_deflate = {bytes, init, done, begin_deflate, step};
