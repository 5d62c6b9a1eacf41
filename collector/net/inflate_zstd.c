/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zstd, block by block, straight into the body, which is the window too: the decoder needs neither
 * a window nor an output buffer of its own, and what a frame says of its window does not matter.
 * This is the library's "buffer-less" interface, which its own streaming stands on.
 *
 * A block is decoded once all of its bytes are there; those of a block that is cut are carried
 * over. Skippable frames are passed over.
 *
 * States: HEADER → FRAME → HEADER: whole, unless another frame begins; or HEADER → SKIP → HEADER.
 */
#define ZSTD_STATIC_LINKING_ONLY
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include <zstd.h>

#include "net/inflate_kind.h"

enum state { HEADER, SKIP, FRAME };

struct zstd {
    struct ut_inflate base;
    ZSTD_DCtx *decoder; /* in this block of memory */
    enum state state;
    bool any;           /* a frame has been there */
    uint64_t skip_left; /* bytes */
    size_t block_max;   /* bytes that a block of the frame may become */
    size_t frame_end;   /* in the body, as the frame has it; SIZE_MAX: it does not say */
    const uint8_t *at;  /* where the body was when the frame's newest block was written */
    size_t frame_start; /* in the body */
    size_t carried;     /* bytes */
    uint8_t before;     /* stands where nothing is: see move_window */
    uint8_t carry[ZSTD_BLOCKSIZE_MAX];
};

enum { DECODER_AT = (sizeof(struct zstd) + 15) / 16 * 16 };

static struct zstd *zstd_of(struct ut_inflate *inflate)
{
    return UT_CONTAINER_OF(inflate, struct zstd, base);
}

static size_t bytes(void)
{
    return DECODER_AT + ZSTD_estimateDCtxSize();
}

static bool init(struct ut_inflate *inflate)
{
    struct zstd *zstd = zstd_of(inflate);
    zstd->decoder = ZSTD_initStaticDCtx((uint8_t *)zstd + DECODER_AT, ZSTD_estimateDCtxSize());
    return zstd->decoder != NULL;
}

static void done(struct ut_inflate *inflate)
{
    (void)inflate;
}

static void begin(struct ut_inflate *inflate, enum ut_coding coding)
{
    (void)coding;
    struct zstd *zstd = zstd_of(inflate);
    zstd->state = HEADER;
    zstd->any = false;
    zstd->carried = 0;
}

static void drop(ut_slice *input, size_t size)
{
    *input = ut_slice_of(input->data + size, input->size - size);
}

/* ---- headers -------------------------------------------------------------------------------- */

/* Until `size` bytes are carried; false: the input ends before. */
static bool carry(struct zstd *zstd, ut_slice *input, size_t size)
{
    size_t missing = size - zstd->carried;
    size_t taken = input->size < missing ? input->size : missing;
    if (taken > 0)
        memcpy(zstd->carry + zstd->carried, input->data, taken);
    zstd->carried += taken;
    drop(input, taken);
    return taken == missing;
}

static void skip(struct zstd *zstd, ut_slice *input)
{
    size_t size = input->size < zstd->skip_left ? input->size : (size_t)zstd->skip_left;
    drop(input, size);
    zstd->skip_left -= size;
    if (zstd->skip_left == 0) {
        zstd->state = HEADER;
        zstd->any = true;
    }
}

/* Gives the decoder the header that is carried, in the pieces that it wants. */
static enum ut_inflate_result begin_frame(struct zstd *zstd, const ZSTD_frameHeader *header,
                                          struct ut_inflate_body *body)
{
    size_t at = 0;
    if (ZSTD_isError(ZSTD_decompressBegin(zstd->decoder)))
        return UT_INFLATE_CORRUPT;
    while (at < zstd->carried) {
        size_t size = ZSTD_nextSrcSizeToDecompress(zstd->decoder);
        if (size == 0 || size > zstd->carried - at)
            return UT_INFLATE_CORRUPT;
        if (ZSTD_isError(ZSTD_decompressContinue(zstd->decoder, NULL, 0, zstd->carry + at, size)))
            return UT_INFLATE_CORRUPT;
        at += size;
    }
    zstd->carried = 0;
    zstd->state = FRAME;
    zstd->block_max = header->blockSizeMax;
    zstd->at = NULL;
    zstd->frame_start = body->size;
    zstd->frame_end = SIZE_MAX;
    if (header->frameContentSize < SIZE_MAX - body->size) {
        zstd->frame_end = body->size + (size_t)header->frameContentSize;
        body->declared = zstd->frame_end;
    } else if (header->frameContentSize != ZSTD_CONTENTSIZE_UNKNOWN) {
        body->declared = SIZE_MAX;
    }
    return UT_INFLATE_MORE;
}

static enum ut_inflate_result take_header(struct zstd *zstd, ut_slice *input,
                                          struct ut_inflate_body *body)
{
    ZSTD_frameHeader header;
    for (;;) {
        size_t wanted = ZSTD_getFrameHeader(&header, zstd->carry, zstd->carried);
        if (ZSTD_isError(wanted))
            return UT_INFLATE_CORRUPT;
        if (wanted == 0)
            break;
        if (input->size == 0)
            return UT_INFLATE_MORE;
        (void)carry(zstd, input, wanted);
    }
    if (header.frameType != ZSTD_skippableFrame)
        return begin_frame(zstd, &header, body);
    zstd->carried = 0;
    zstd->state = SKIP;
    zstd->skip_left = header.frameContentSize;
    skip(zstd, input);
    return UT_INFLATE_MORE;
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* The body has moved: the decoder is told where its window is now. It keeps the window before as
 * an older part that blocks may still refer to, and that one is gone: so it is told of one byte
 * first, which takes that place. */
static void move_window(struct zstd *zstd, const struct ut_inflate_body *body)
{
    if (zstd->at != NULL && zstd->at != body->data) {
        zstd->before = 0;
        (void)ZSTD_insertBlock(zstd->decoder, &zstd->before, sizeof(zstd->before));
        (void)ZSTD_insertBlock(zstd->decoder, body->data + zstd->frame_start,
                               body->size - zstd->frame_start);
    }
    zstd->at = body->data;
}

/* Bytes that the next block may become. */
static size_t room_wanted(const struct zstd *zstd, const struct ut_inflate_body *body)
{
    ZSTD_nextInputType_e type = ZSTD_nextInputType(zstd->decoder);
    if (type != ZSTDnit_block && type != ZSTDnit_lastBlock)
        return 0;
    size_t left = zstd->frame_end - body->size;
    return left < zstd->block_max ? left : zstd->block_max;
}

/* `piece` is all that the decoder wants next. */
static enum ut_inflate_result decode(struct zstd *zstd, ut_slice piece,
                                     struct ut_inflate_body *body)
{
    if (body->want > 0)
        move_window(zstd, body);
    size_t written =
        ZSTD_decompressContinue(zstd->decoder, body->want > 0 ? body->data + body->size : NULL,
                                body->want, piece.data, piece.size);
    if (ZSTD_isError(written))
        return UT_INFLATE_CORRUPT;
    body->size += written;
    if (ZSTD_nextSrcSizeToDecompress(zstd->decoder) == 0) {
        zstd->state = HEADER;
        zstd->any = true;
    }
    return UT_INFLATE_MORE;
}

static enum ut_inflate_result take_piece(struct zstd *zstd, ut_slice *input,
                                         struct ut_inflate_body *body)
{
    size_t size = ZSTD_nextSrcSizeToDecompress(zstd->decoder);
    if (size > sizeof(zstd->carry))
        return UT_INFLATE_CORRUPT;
    body->want = room_wanted(zstd, body);
    if (body->room - body->size < body->want)
        return UT_INFLATE_ROOM;
    if (zstd->carried == 0 && input->size >= size) {
        ut_slice piece = ut_slice_of(input->data, size);
        drop(input, size);
        return decode(zstd, piece, body);
    }
    if (!carry(zstd, input, size))
        return UT_INFLATE_MORE;
    zstd->carried = 0;
    return decode(zstd, ut_slice_of(zstd->carry, size), body);
}

/* ---- steps ---------------------------------------------------------------------------------- */

static enum ut_inflate_result step(struct ut_inflate *inflate, ut_slice *input,
                                   struct ut_inflate_body *body)
{
    struct zstd *zstd = zstd_of(inflate);
    enum ut_inflate_result result = UT_INFLATE_MORE;
    while (result == UT_INFLATE_MORE && input->size > 0) {
        if (zstd->state == HEADER)
            result = take_header(zstd, input, body);
        else if (zstd->state == SKIP)
            skip(zstd, input);
        else
            result = take_piece(zstd, input, body);
    }
    return result;
}

static bool is_whole(const struct ut_inflate *inflate)
{
    const struct zstd *zstd = UT_CONTAINER_OF(inflate, struct zstd, base);
    return zstd->state == HEADER && zstd->any && zstd->carried == 0;
}

const struct ut_inflate_kind ut_inflate_zstd = {
    .bytes = bytes,
    .init = init,
    .done = done,
    .begin = begin,
    .step = step,
    .is_whole = is_whole,
};
