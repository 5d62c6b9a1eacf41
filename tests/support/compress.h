/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed bodies for tests, by zlib and zstd. Running out of memory ends the program. The caller
 * frees what is returned. */
#ifndef UT_TEST_COMPRESS_H
#define UT_TEST_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

enum compress_form {
    COMPRESS_GZIP,
    COMPRESS_GZIP_HEADER, /* with every optional field of the header */
    COMPRESS_GZIP_TWO,    /* two members */
    COMPRESS_ZLIB,
    COMPRESS_RAW,         /* deflate without a wrapper */
    COMPRESS_ZSTD,        /* the frame tells the size */
    COMPRESS_ZSTD_STREAM, /* it does not; with a checksum */
    COMPRESS_ZSTD_TWO,    /* two frames, a skippable one between them */
    COMPRESS_FORMS,
};

uint8_t *compress_bytes(enum compress_form form, const void *data, size_t size, size_t *ret_size);
/* As Content-Encoding and grpc-encoding name it. */
const char *compress_coding(enum compress_form form);
const char *compress_name(enum compress_form form);

/* Compressed zeros, `size` of them. */
uint8_t *compress_bomb(enum compress_form form, size_t size, size_t *ret_size);

#endif
