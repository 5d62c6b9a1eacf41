/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/records.h"

enum { BUFFER_BYTES = 64 << 10 };

static const char magic[UT_CAPTURE_MAGIC_BYTES] = "UTCAPTURE1";

/* ---- reading -------------------------------------------------------------------------------- */

static ut_slice take(ut_slice *rest, size_t size)
{
    ut_slice taken = {rest->data, size};
    rest->data += size;
    rest->size -= size;
    return taken;
}

int ut_capture_open(struct ut_capture_reader *reader, ut_slice file)
{
    if (file.size < sizeof(magic) || memcmp(file.data, magic, sizeof(magic)) != 0)
        return -EBADMSG;
    take(&file, sizeof(magic));
    reader->rest = file;
    return 0;
}

int ut_capture_next(struct ut_capture_reader *reader, ut_slice *ret_record,
                    int64_t *ret_unix_offset_ns)
{
    ut_slice rest = reader->rest;
    struct ut_record_header header;
    int64_t offset_ns;
    if (rest.size == 0)
        return 0;
    if (rest.size < sizeof(offset_ns) + sizeof(header))
        return -EBADMSG;
    memcpy(&offset_ns, take(&rest, sizeof(offset_ns)).data, sizeof(offset_ns));
    memcpy(&header, rest.data, sizeof(header));
    if (header.size < sizeof(header) || header.size > UT_CAPTURE_RECORD_MAX ||
        header.size > rest.size)
        return -EBADMSG;
    *ret_record = take(&rest, header.size);
    *ret_unix_offset_ns = offset_ns;
    reader->rest = rest;
    return 1;
}

/* ---- writing -------------------------------------------------------------------------------- */

struct ut_capture_writer {
    int fd;
    int error;        /* of the first write that failed */
    uint64_t written; /* with what is buffered */
    size_t used;
    uint8_t buffer[BUFFER_BYTES];
};

static void put(struct ut_capture_writer *writer, const void *data, size_t size)
{
    memcpy(writer->buffer + writer->used, data, size);
    writer->used += size;
    writer->written += size;
}

int ut_capture_create(struct ut_capture_writer **ret, const char *path)
{
    struct ut_capture_writer *writer = malloc(sizeof(*writer));
    if (writer == NULL)
        return -ENOMEM;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        int error = -errno;
        free(writer);
        return error;
    }
    writer->fd = fd;
    writer->error = 0;
    writer->written = 0;
    writer->used = 0;
    put(writer, magic, sizeof(magic));
    *ret = writer;
    return 0;
}

int ut_capture_flush(struct ut_capture_writer *writer)
{
    size_t at = 0;
    while (writer->error == 0 && at < writer->used) {
        ssize_t wrote = write(writer->fd, writer->buffer + at, writer->used - at);
        if (wrote >= 0)
            at += (size_t)wrote;
        else if (errno != EINTR)
            writer->error = -errno;
    }
    writer->used = 0;
    return writer->error;
}

int ut_capture_write(struct ut_capture_writer *writer, ut_slice record, int64_t unix_offset_ns)
{
    size_t size = sizeof(unix_offset_ns) + record.size;
    UT_CHECK(record.size <= UT_CAPTURE_RECORD_MAX);
    if (writer->error != 0)
        return writer->error;
    if (writer->written + size > UT_CAPTURE_BYTES_MAX)
        return -ENOSPC;
    if (writer->used + size > BUFFER_BYTES && ut_capture_flush(writer) != 0)
        return writer->error;
    put(writer, &unix_offset_ns, sizeof(unix_offset_ns));
    put(writer, record.data, record.size);
    return 0;
}

void ut_capture_close(struct ut_capture_writer *writer)
{
    if (writer == NULL)
        return;
    int ignored = ut_capture_flush(writer); /* already told by the write or flush before */
    (void)ignored;
    close(writer->fd);
    free(writer);
}
