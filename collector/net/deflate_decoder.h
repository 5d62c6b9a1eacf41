/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoder of bare deflate streams (RFC 1951) and its checksums: ISA-L's (deflate_isal.c), or
 * zlib's (deflate_zlib.c) where the build has no ISA-L. For inflate_deflate.c.
 */
#ifndef UT_NET_DEFLATE_DECODER_H
#define UT_NET_DEFLATE_DECODER_H

#include <stdbool.h>

#include "base/slice.h"

struct ut_deflate_decoder;

enum ut_deflate_result {
    UT_DEFLATE_MORE, /* all input is taken */
    UT_DEFLATE_ROOM, /* all room is used, and there may be more */
    UT_DEFLATE_END,  /* of the stream; what follows it is left in the input */
    UT_DEFLATE_CORRUPT,
};

/* Bytes of memory, aligned to 16, that a decoder takes. */
size_t ut_deflate_decoder_bytes(void);
bool ut_deflate_decoder_init(struct ut_deflate_decoder *decoder);
void ut_deflate_decoder_done(struct ut_deflate_decoder *decoder);
/* A stream begins. */
void ut_deflate_decoder_begin(struct ut_deflate_decoder *decoder);
/* Takes from the front of *input, writes up to *room (not 0) bytes at `out` and leaves in *room how
 * many are left. */
enum ut_deflate_result ut_deflate_decoder_step(struct ut_deflate_decoder *decoder, ut_slice *input,
                                               uint8_t *out, size_t *room);

/* The checksums of RFC 1952 and RFC 1950, continued; of nothing they are 0 and 1. */
uint32_t ut_deflate_crc32(uint32_t crc, ut_slice bytes);
uint32_t ut_deflate_adler32(uint32_t adler, ut_slice bytes);

#endif
