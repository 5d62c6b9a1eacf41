/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/records.h"
#include "ebpf_receiver/capture.h"

struct file {
    uint8_t bytes[1 << 16];
    size_t size;
};

static void append(struct file *file, const void *data, size_t size)
{
    cr_assert_leq(file->size + size, sizeof(file->bytes));
    memcpy(file->bytes + file->size, data, size);
    file->size += size;
}

static void append_magic(struct file *file)
{
    static const char magic[16] = "UTCAPTURE1";
    file->size = 0;
    append(file, magic, sizeof(magic));
}

static void append_record(struct file *file, size_t size, int64_t offset_ns)
{
    uint8_t record[256] = {0};
    struct ut_record_header header = {.size = (uint16_t)size, .type = UT_RECORD_RETRANSMIT};
    memcpy(record, &header, sizeof(header));
    append(file, &offset_ns, sizeof(offset_ns));
    append(file, record, size);
}

/* A copy of exactly the file's size, so that a read beyond it is seen by AddressSanitizer. */
static ut_slice exactly(const struct file *file, size_t size)
{
    uint8_t *copy = malloc(size != 0 ? size : 1);
    memcpy(copy, file->bytes, size);
    return ut_slice_of(copy, size);
}

static int read_all(ut_slice bytes, int *ret_records)
{
    struct ut_capture_reader reader;
    ut_slice record;
    int64_t offset_ns;
    *ret_records = 0;
    int result = ut_capture_open(&reader, bytes);
    while (result >= 0 && (result = ut_capture_next(&reader, &record, &offset_ns)) == 1)
        ++*ret_records;
    return result;
}

Test(capture, yields_records_of_different_sizes_with_their_offsets)
{
    struct file file;
    struct ut_capture_reader reader;
    ut_slice record;
    int64_t offset_ns;
    append_magic(&file);
    append_record(&file, 24, -7);
    append_record(&file, 101, INT64_MAX);
    append_record(&file, 128, 9);

    cr_assert_eq(ut_capture_open(&reader, ut_slice_of(file.bytes, file.size)), 0);
    const size_t sizes[] = {24, 101, 128};
    const int64_t offsets[] = {-7, INT64_MAX, 9};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(ut_capture_next(&reader, &record, &offset_ns), 1);
        cr_assert_eq(record.size, sizes[i]);
        cr_assert_eq(offset_ns, offsets[i]);
    }
    cr_assert_eq(ut_capture_next(&reader, &record, &offset_ns), 0);
}

Test(capture, refuses_another_kind_of_file)
{
    struct ut_capture_reader reader;
    cr_assert_eq(ut_capture_open(&reader, UT_SLICE("")), -EBADMSG);
    cr_assert_eq(ut_capture_open(&reader, UT_SLICE("UTCAPTURE1")), -EBADMSG);
    cr_assert_eq(ut_capture_open(&reader, UT_SLICE("UTCAPTURE2\0\0\0\0\0\0")), -EBADMSG);
    cr_assert_eq(ut_capture_open(&reader, UT_SLICE("UTCAPTURE1\0\0\0\0\0\0")), 0);
}

Test(capture, tells_a_file_that_was_cut_at_any_byte)
{
    struct file file;
    append_magic(&file);
    append_record(&file, 128, 1);
    append_record(&file, 24, 2);
    for (size_t size = 17; size < file.size; size++) {
        int records;
        ut_slice bytes = exactly(&file, size);
        bool between = size == 16 + 8 + 128;
        cr_assert_eq(read_all(bytes, &records), between ? 0 : -EBADMSG, "cut at %zu", size);
        cr_assert_eq(records, size >= 16 + 8 + 128 ? 1 : 0);
        free((void *)bytes.data);
    }
}

Test(capture, refuses_sizes_that_no_record_has)
{
    const uint16_t sizes[] = {0, 1, 23, UT_CAPTURE_RECORD_MAX + 1, UINT16_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct file file;
        int records;
        append_magic(&file);
        size_t at = file.size + sizeof(int64_t);
        append_record(&file, 256, 1);
        for (int fill = 0; fill < 40; fill++)
            append_record(&file, 256, 1);
        memcpy(file.bytes + at, &sizes[i], sizeof(sizes[i]));
        cr_assert_eq(read_all(ut_slice_of(file.bytes, file.size), &records), -EBADMSG);
        cr_assert_eq(records, 0);
    }
}

Test(capture, reads_back_more_than_one_buffer_of_what_was_written)
{
    enum { RECORDS = 5000 };
    char path[] = "/tmp/ut_capture_XXXXXX";
    struct ut_capture_writer *writer;
    struct ut_record_retransmit record = {.header = {.size = sizeof(record)}};
    int temporary = mkstemp(path);
    cr_assert_geq(temporary, 0);
    close(temporary);
    cr_assert_eq(ut_capture_create(&writer, path), 0);
    for (uint32_t i = 0; i < RECORDS; i++) {
        record.seq = i;
        cr_assert_eq(ut_capture_write(writer, ut_slice_of(&record, sizeof(record)), i), 0);
    }
    ut_capture_close(writer);

    size_t room = RECORDS * (sizeof(record) + 8) + 100;
    uint8_t *bytes = malloc(room);
    FILE *file = fopen(path, "rb");
    size_t size = fread(bytes, 1, room, file);
    fclose(file);
    unlink(path);
    struct ut_capture_reader reader;
    ut_slice read;
    int64_t offset_ns;
    cr_assert_eq(ut_capture_open(&reader, ut_slice_of(bytes, size)), 0);
    for (uint32_t i = 0; i < RECORDS; i++) {
        cr_assert_eq(ut_capture_next(&reader, &read, &offset_ns), 1);
        memcpy(&record, read.data, sizeof(record));
        cr_assert_eq(record.seq, i);
        cr_assert_eq(offset_ns, (int64_t)i);
    }
    cr_assert_eq(ut_capture_next(&reader, &read, &offset_ns), 0);
    free(bytes);
}

Test(capture, ends_with_the_first_write_that_fails)
{
    struct ut_capture_writer *writer;
    struct ut_record_retransmit record = {.header = {.size = sizeof(record)}};
    ut_slice slice = ut_slice_of(&record, sizeof(record));
    cr_assert_eq(ut_capture_create(&writer, "/dev/full"), 0);
    cr_assert_eq(ut_capture_write(writer, slice, 0), 0);
    cr_assert_eq(ut_capture_flush(writer), -ENOSPC);
    cr_assert_eq(ut_capture_write(writer, slice, 0), -ENOSPC);
    ut_capture_close(writer);
    cr_assert_eq(ut_capture_create(&writer, "/nonexistent/file"), -ENOENT);
}
