/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of bytes that together become one compressed body, in gzip, deflate or zstd, at their
 * fastest level: whoever sends spans has more of them to send. Pure; for exporters. A compressor is
 * used for one body after the other, so an exporter needs one.
 */
#ifndef UT_NET_COMPRESS_H
#define UT_NET_COMPRESS_H

#include <sys/uio.h>

#include "base/segment.h"
#include "net/inflate.h"

struct ut_compressor;

/* 1 MiB of the pool for gzip and deflate, 1.3 MiB for zstd. `coding` is not identity. NULL
 * without memory. */
struct ut_compressor *ut_compressor_new(struct ut_pool *pool, enum ut_coding coding) UT_MUST_USE;
void ut_compressor_free(struct ut_compressor *compressor); /* NULL is fine */

/* `bytes` = Σ runs. The caller's reference, or NULL without memory. */
struct ut_segment *ut_compress(struct ut_compressor *compressor, const struct iovec *runs,
                               size_t count, size_t bytes) UT_MUST_USE;

#endif
