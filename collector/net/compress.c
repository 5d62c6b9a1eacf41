/* SPDX-License-Identifier: Apache-2.0 */
#include "net/compress.h"

#include "net/compress_kind.h"

enum {
    ROOM_LEAST = 1000,
    EXPECTED_RATIO = 5, /* of spans; what does not reach it costs a copy */
    /* A library that is given a piece keeps its last 32 KiB for the next one: a copy that costs
     * more than ours where the pieces are the few bytes between two edits. */
    STAGE_BYTES = 256 << 10,
    STAGED_BYTES_MAX = STAGE_BYTES / 4, /* of a run; a longer one is given as it is */
};

struct ut_compressor {
    struct ut_pool *pool;
    const struct ut_compress_kind *kind;
    size_t staged;
    uint8_t stage[STAGE_BYTES];
};

enum { CONTEXT_AT = (sizeof(struct ut_compressor) + 15) / 16 * 16 };

static void *context_of(struct ut_compressor *compressor)
{
    return (uint8_t *)compressor + CONTEXT_AT;
}

struct ut_compressor *ut_compressor_new(struct ut_pool *pool, enum ut_coding coding)
{
    const struct ut_compress_kind *kind = coding == UT_CODING_ZSTD      ? &ut_compress_zstd
                                          : coding == UT_CODING_DEFLATE ? &ut_compress_deflate
                                                                        : &ut_compress_gzip;
    struct ut_compressor *compressor = ut_pool_alloc(pool, CONTEXT_AT + kind->bytes());
    if (compressor == NULL)
        return NULL;
    *compressor = (struct ut_compressor){.pool = pool, .kind = kind};
    if (kind->init(context_of(compressor)))
        return compressor;
    ut_pool_free(pool, compressor);
    return NULL;
}

void ut_compressor_free(struct ut_compressor *compressor)
{
    if (compressor == NULL)
        return;
    compressor->kind->done(context_of(compressor));
    ut_pool_free(compressor->pool, compressor);
}

static bool grow(struct ut_segment **segment)
{
    struct ut_segment *old = *segment;
    struct ut_segment *bigger = ut_segment_new(old->pool, old->capacity * 2);
    if (bigger == NULL)
        return false;
    memcpy(bigger->data, old->data, old->size);
    bigger->size = old->size;
    ut_segment_unref(old);
    *segment = bigger;
    return true;
}

/* One piece; false: there is no memory, or (never) the library fails. */
static bool put_piece(struct ut_compressor *compressor, ut_slice piece, bool last,
                      struct ut_segment **segment)
{
    for (;;) {
        struct ut_segment *out = *segment;
        size_t before = out->capacity - out->size, room = before;
        enum ut_compress_result result = compressor->kind->step(context_of(compressor), &piece,
                                                                last, out->data + out->size, &room);
        out->size += before - room;
        if (result == UT_COMPRESS_END)
            return true;
        if (result == UT_COMPRESS_MORE && piece.size == 0)
            return !last;
        if (result == UT_COMPRESS_FAILED || (room == 0 && !grow(segment)))
            return false;
    }
}

static bool put_staged(struct ut_compressor *compressor, bool last, struct ut_segment **segment)
{
    ut_slice piece = ut_slice_of(compressor->stage, compressor->staged);
    compressor->staged = 0;
    return (piece.size == 0 && !last) || put_piece(compressor, piece, last, segment);
}

/* A run on its way to others. */
static bool stage(struct ut_compressor *compressor, ut_slice run, struct ut_segment **segment)
{
    if (run.size > STAGE_BYTES - compressor->staged && !put_staged(compressor, false, segment))
        return false;
    memcpy(compressor->stage + compressor->staged, run.data, run.size);
    compressor->staged += run.size;
    return true;
}

static bool put_runs(struct ut_compressor *compressor, const struct iovec *runs, size_t count,
                     struct ut_segment **segment)
{
    compressor->staged = 0;
    for (size_t i = 0; i < count; i++) {
        ut_slice run = ut_slice_of(runs[i].iov_base, runs[i].iov_len);
        bool last = i + 1 == count, alone = count == 1 || run.size > STAGED_BYTES_MAX;
        if (!alone && !stage(compressor, run, segment))
            return false;
        if (alone &&
            !(put_staged(compressor, false, segment) && put_piece(compressor, run, last, segment)))
            return false;
        if (last && !alone)
            return put_staged(compressor, true, segment);
    }
    return true;
}

struct ut_segment *ut_compress(struct ut_compressor *compressor, const struct iovec *runs,
                               size_t count, size_t bytes)
{
    struct ut_segment *segment =
        ut_segment_new(compressor->pool, bytes / EXPECTED_RATIO + ROOM_LEAST);
    if (segment == NULL)
        return NULL;
    if (compressor->kind->begin(context_of(compressor), bytes) &&
        put_runs(compressor, runs, count, &segment))
        return segment;
    ut_segment_unref(segment);
    return NULL;
}
