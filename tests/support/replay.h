/* SPDX-License-Identifier: Apache-2.0 */
/* Captured kernel records, back into a sink: each with the clock offset it was read with, so that a
 * replay gives every event the UNIX time it had. Links ut_capture. */
#ifndef UT_TEST_REPLAY_H
#define UT_TEST_REPLAY_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "ebpf_receiver/capture.h"
#include "model/kernel_event.h"

/* The number of records, or a negative errno: the records before the fault have been replayed. */
static inline int replay_bytes(struct ut_event_sink *sink, ut_slice capture)
{
    struct ut_capture_reader reader;
    ut_slice record;
    int64_t unix_offset_ns;
    int count = 0, result = ut_capture_open(&reader, capture);
    if (result != 0)
        return result;
    while ((result = ut_capture_next(&reader, &record, &unix_offset_ns)) > 0) {
        sink->record(sink, record.data, record.size, unix_offset_ns);
        count++;
    }
    return result < 0 ? result : count;
}

static inline int replay_file(struct ut_event_sink *sink, const char *path)
{
    enum { FILE_MAX = 64 << 20 };
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -errno;
    uint8_t *bytes = malloc(FILE_MAX);
    size_t size = bytes != NULL ? fread(bytes, 1, FILE_MAX, file) : 0;
    fclose(file);
    int result = bytes != NULL ? replay_bytes(sink, ut_slice_of(bytes, size)) : -ENOMEM;
    free(bytes);
    return result;
}

#endif
