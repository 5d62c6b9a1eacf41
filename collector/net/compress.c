/* SPDX-License-Identifier: Apache-2.0 */
#include "net/compress.h"

#include "net/compress_kind.h"

enum {
    ROOM_LEAST = 1000,
    EXPECTED_RATIO = 5, /* of spans; what does not reach it costs a copy */
};

struct ut_compressor {
    struct ut_pool *pool;
    const struct ut_compress_kind *kind;
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

/* One run; false: there is no memory, or (never) the library fails. */
static bool put_run(struct ut_compressor *compressor, ut_slice run, bool last,
                    struct ut_segment **segment)
{
    for (;;) {
        struct ut_segment *out = *segment;
        size_t before = out->capacity - out->size, room = before;
        enum ut_compress_result result = compressor->kind->step(context_of(compressor), &run, last,
                                                                out->data + out->size, &room);
        out->size += before - room;
        if (result == UT_COMPRESS_END)
            return true;
        if (result == UT_COMPRESS_MORE && run.size == 0)
            return !last;
        if (result == UT_COMPRESS_FAILED || (room == 0 && !grow(segment)))
            return false;
    }
}

struct ut_segment *ut_compress(struct ut_compressor *compressor, const struct iovec *runs,
                               size_t count, size_t bytes)
{
    struct ut_segment *segment =
        ut_segment_new(compressor->pool, bytes / EXPECTED_RATIO + ROOM_LEAST);
    if (segment == NULL)
        return NULL;
    bool fine = compressor->kind->begin(context_of(compressor), bytes);
    for (size_t i = 0; i < count && fine; i++)
        fine = put_run(compressor, ut_slice_of(runs[i].iov_base, runs[i].iov_len), i + 1 == count,
                       &segment);
    if (fine)
        return segment;
    ut_segment_unref(segment);
    return NULL;
}
