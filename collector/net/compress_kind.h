/* SPDX-License-Identifier: Apache-2.0 */
/* The encoders behind compress.h: those of gzip and deflate by ISA-L (compress_isal.c) or zlib
 * (compress_zlib.c), and zstd's. */
#ifndef UT_NET_COMPRESS_KIND_H
#define UT_NET_COMPRESS_KIND_H

#include <stdbool.h>

#include "base/slice.h"

enum ut_compress_result {
    UT_COMPRESS_MORE, /* all input is taken */
    UT_COMPRESS_ROOM, /* all room is used */
    UT_COMPRESS_END,  /* the body is complete */
    UT_COMPRESS_FAILED,
};

struct ut_compress_kind {
    size_t (*bytes)(void); /* of a context, aligned to 16 */
    /* Once in its life. */
    bool (*init)(void *context);
    void (*done)(void *context);
    /* A body of `bytes` bytes begins. */
    bool (*begin)(void *context, size_t bytes);
    /* Takes from the front of *input, the last bytes of the body where `last`, and writes up to
     * *room bytes at `out`, leaving in *room how many are left. */
    enum ut_compress_result (*step)(void *context, ut_slice *input, bool last, uint8_t *out,
                                    size_t *room);
};

extern const struct ut_compress_kind ut_compress_gzip;
extern const struct ut_compress_kind ut_compress_deflate;
extern const struct ut_compress_kind ut_compress_zstd;

#endif
