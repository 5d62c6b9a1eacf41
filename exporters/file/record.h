/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request as it stands in the file: OTLP's JSON and a line feed, or, for `format: proto`, its
 * length in 4 bytes (big-endian) and its wire bytes.
 */
#ifndef UT_FILE_RECORD_H
#define UT_FILE_RECORD_H

#include "file_exporter/settings.h"
#include "otlp/json_output.h"
#include "otlp/splice.h"

struct ut_file_record {
    struct ut_blocks json;
    uint8_t length[4];
    const struct iovec *runs;
    size_t count, bytes;
};

/* Makes the record of `splice`, whose first run it may take, in memory of `pool`. 0, -ENOMEM, or
 * -EBADMSG where the request cannot be written in that format. Done in any case. */
int ut_file_record_make(struct ut_file_record *record, struct ut_splice *splice,
                        enum ut_file_format format, struct ut_pool *pool) UT_MUST_USE;
void ut_file_record_done(struct ut_file_record *record);

#endif
