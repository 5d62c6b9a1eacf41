/* SPDX-License-Identifier: Apache-2.0 */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "net/compress_kind.h"

enum {
    LEVEL = 1,
    WINDOW_LOG = 17, /* spans repeat what is near; the context stays below 1 MiB */
};

struct zstd {
    ZSTD_CCtx *encoder; /* behind this */
};

enum { ENCODER_AT = (sizeof(struct zstd) + 15) / 16 * 16 };

static ZSTD_compressionParameters parameters(void)
{
    ZSTD_compressionParameters chosen = ZSTD_getCParams(LEVEL, (size_t)1 << WINDOW_LOG, 0);
    chosen.windowLog = WINDOW_LOG;
    return chosen;
}

static size_t bytes(void)
{
    return ENCODER_AT + ZSTD_estimateCStreamSize_usingCParams(parameters());
}

static bool set(ZSTD_CCtx *encoder, ZSTD_cParameter parameter, unsigned value)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(encoder, parameter, (int)value));
}

static bool init(void *context)
{
    struct zstd *zstd = context;
    const ZSTD_compressionParameters p = parameters();
    ZSTD_CCtx *encoder = ZSTD_initStaticCCtx((uint8_t *)context + ENCODER_AT, bytes() - ENCODER_AT);
    zstd->encoder = encoder;
    return encoder != NULL && set(encoder, ZSTD_c_windowLog, p.windowLog) &&
           set(encoder, ZSTD_c_hashLog, p.hashLog) && set(encoder, ZSTD_c_chainLog, p.chainLog) &&
           set(encoder, ZSTD_c_searchLog, p.searchLog) &&
           set(encoder, ZSTD_c_minMatch, p.minMatch) &&
           set(encoder, ZSTD_c_targetLength, p.targetLength) &&
           set(encoder, ZSTD_c_strategy, p.strategy) && set(encoder, ZSTD_c_checksumFlag, 1);
}

static void done(void *context)
{
    (void)context;
}

static bool begin(void *context, size_t size)
{
    ZSTD_CCtx *encoder = ((struct zstd *)context)->encoder;
    return !ZSTD_isError(ZSTD_CCtx_reset(encoder, ZSTD_reset_session_only)) &&
           !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(encoder, size));
}

static enum ut_compress_result step(void *context, ut_slice *input, bool last, uint8_t *out,
                                    size_t *room)
{
    ZSTD_inBuffer in = {input->data, input->size, 0};
    ZSTD_outBuffer to = {out, *room, 0};
    size_t left = ZSTD_compressStream2(((struct zstd *)context)->encoder, &to, &in,
                                       last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left))
        return UT_COMPRESS_FAILED;
    *input = ut_slice_of(input->data + in.pos, input->size - in.pos);
    *room -= to.pos;
    if (last && left == 0)
        return UT_COMPRESS_END;
    return *room == 0 ? UT_COMPRESS_ROOM : UT_COMPRESS_MORE;
}

const struct ut_compress_kind ut_compress_zstd = {bytes, init, done, begin, step};
