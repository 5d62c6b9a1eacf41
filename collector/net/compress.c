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
    STEP_BYTES = 32,
    STEPPED_BYTES_MAX = 512,
};

struct ut_compressor {
    struct ut_pool *pool;
    const struct ut_compress_kind *kind;
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

/* Most runs are of a few hundred bytes, between edits: steps of a known size, the last of which may
 * overlap the one before it, take a fifth less time for them than a call of memcpy each. */
static void copy_run(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size < STEP_BYTES || size > STEPPED_BYTES_MAX) {
        memcpy(to, from, size);
        return;
    }
    for (size_t at = 0; at + STEP_BYTES <= size; at += STEP_BYTES)
        memcpy(to + at, from + at, STEP_BYTES);
    memcpy(to + size - STEP_BYTES, from + size - STEP_BYTES, STEP_BYTES);
}

/* The bytes of the runs from the first on, in one piece: as they are where the first is long or
 * there is but one, else copied, until the stage is full or the next is long. */
static ut_slice join_runs(struct ut_compressor *compressor, const struct iovec *runs, size_t count,
                          size_t *ret_taken)
{
    size_t size = 0, taken = 0;
    *ret_taken = 1;
    if (count == 1 || runs[0].iov_len > STAGED_BYTES_MAX)
        return ut_slice_of(runs[0].iov_base, runs[0].iov_len);
    for (; taken < count && runs[taken].iov_len <= STAGED_BYTES_MAX; taken++) {
        if (runs[taken].iov_len > STAGE_BYTES - size)
            break;
        copy_run(compressor->stage + size, runs[taken].iov_base, runs[taken].iov_len);
        size += runs[taken].iov_len;
    }
    *ret_taken = taken;
    return ut_slice_of(compressor->stage, size);
}

static bool put_runs(struct ut_compressor *compressor, const struct iovec *runs, size_t count,
                     struct ut_segment **segment)
{
    for (size_t at = 0, taken; at < count; at += taken) {
        ut_slice piece = join_runs(compressor, runs + at, count - at, &taken);
        bool last = at + taken == count;
        if ((piece.size > 0 || last) && !put_piece(compressor, piece, last, segment))
            return false;
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
