/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request as it stands in the file: OTLP's JSON and a line feed, or, for `format: proto`, its
 * length in 4 bytes (big-endian) and its wire bytes. Compressed, each record is a member of gzip or
 * a frame of zstd, so that the file as a whole decompresses to what it would be without.
 */
#ifndef UT_FILE_RECORD_H
#define UT_FILE_RECORD_H

#include "file_exporter/settings.h"
#include "net/compress.h"
#include "otlp/json_output.h"
#include "otlp/splice.h"

struct ut_file_record {
    struct ut_blocks json;
    uint8_t length[4];
    struct ut_segment *packed; /* NULL: not compressed */
    struct iovec packed_run;
    const struct iovec *runs;
    size_t count, bytes;
};

struct ut_file_writing {
    enum ut_file_format format;
    struct ut_pool *pool;
    struct ut_compressor *compressor; /* NULL: not compressed */
};

/* Makes the record of `splice`, whose first run it may take. 0, -ENOMEM, or -EBADMSG where the
 * request cannot be written in that format. Done in any case. */
int ut_file_record_make(struct ut_file_record *record, struct ut_splice *splice,
                        const struct ut_file_writing *writing) UT_MUST_USE;
void ut_file_record_done(struct ut_file_record *record);

#endif
