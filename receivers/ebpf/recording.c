/* SPDX-License-Identifier: Apache-2.0 */
#include "recording.h"

#include <string.h>

void ut_ebpf_recording_begin(struct ut_ebpf_recording *recording, const char *path,
                             struct ut_log *log)
{
    char quoted[256];
    *recording = (struct ut_ebpf_recording){.log = log};
    int error = path != NULL ? ut_capture_create(&recording->writer, path) : 0;
    if (error != 0)
        ut_log(log, UT_LOG_WARN, "ebpf_capture_open",
               "file=%s error=\"%s\" text=\"going on without; another file can be set in "
               "receivers.ebpf.capture_file\"",
               ut_log_quote(quoted, sizeof(quoted), path), strerror(-error));
}

static void give_up(struct ut_ebpf_recording *recording, int error)
{
    ut_log(recording->log, UT_LOG_WARN, "ebpf_capture_ended",
           "error=\"%s\" text=\"receivers.ebpf.capture_file is closed; records are joined as "
           "before\"",
           strerror(-error));
    ut_ebpf_recording_end(recording);
}

void ut_ebpf_recording_add(struct ut_ebpf_recording *recording, ut_slice record,
                           int64_t unix_offset_ns)
{
    if (recording->writer == NULL)
        return;
    int error = ut_capture_write(recording->writer, record, unix_offset_ns);
    if (error != 0)
        give_up(recording, error);
}

void ut_ebpf_recording_flush(struct ut_ebpf_recording *recording)
{
    int error = recording->writer != NULL ? ut_capture_flush(recording->writer) : 0;
    if (error != 0)
        give_up(recording, error);
}

void ut_ebpf_recording_end(struct ut_ebpf_recording *recording)
{
    ut_capture_close(recording->writer);
    recording->writer = NULL;
}
