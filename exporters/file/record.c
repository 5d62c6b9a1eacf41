/* SPDX-License-Identifier: Apache-2.0 */
#include "file_exporter/record.h"

#include <errno.h>

#include "otlp/json_writer.h"

static int make_json(struct ut_file_record *record, const struct ut_splice *splice)
{
    int error = ut_json_from_wire(&record->json, splice->runs + 1, splice->run_count - 1);
    if (error != 0)
        return error;
    ut_blocks_byte(&record->json, '\n');
    int count = ut_blocks_runs(&record->json, &record->runs);
    if (count < 0)
        return count;
    record->count = (size_t)count;
    record->bytes = ut_blocks_bytes(&record->json);
    return 0;
}

static int make_proto(struct ut_file_record *record, struct ut_splice *splice)
{
    if (splice->bytes > UINT32_MAX)
        return -EBADMSG;
    for (int i = 0; i < 4; i++)
        record->length[i] = (uint8_t)(splice->bytes >> (24 - 8 * i));
    splice->runs[0] = (struct iovec){record->length, sizeof(record->length)};
    record->runs = splice->runs;
    record->count = splice->run_count;
    record->bytes = splice->bytes + sizeof(record->length);
    return 0;
}

static int compress(struct ut_file_record *record, struct ut_compressor *compressor)
{
    record->packed = ut_compress(compressor, record->runs, record->count, record->bytes);
    if (record->packed == NULL)
        return -ENOMEM;
    record->packed_run = (struct iovec){record->packed->data, record->packed->size};
    record->runs = &record->packed_run;
    record->count = 1;
    record->bytes = record->packed->size;
    return 0;
}

int ut_file_record_make(struct ut_file_record *record, struct ut_splice *splice,
                        const struct ut_file_writing *writing)
{
    *record = (struct ut_file_record){0};
    ut_blocks_init(&record->json, writing->pool);
    int error =
        writing->format == UT_FILE_JSON ? make_json(record, splice) : make_proto(record, splice);
    if (error == 0 && writing->compressor != NULL)
        error = compress(record, writing->compressor);
    return error;
}

void ut_file_record_done(struct ut_file_record *record)
{
    ut_segment_unref(record->packed);
    ut_blocks_done(&record->json);
}
