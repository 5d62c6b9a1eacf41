/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver's `capture_file`, or none. A file that cannot be written any more is told of once
 * and closed; the receiver goes on without.
 */
#ifndef UT_EBPF_RECORDING_H
#define UT_EBPF_RECORDING_H

#include "base/log.h"
#include "capture.h"

struct ut_ebpf_recording {
    struct ut_capture_writer *writer; /* NULL: nothing is recorded */
    struct ut_log *log;
};

/* `path` is NULL where nothing is to be recorded. */
void ut_ebpf_recording_begin(struct ut_ebpf_recording *recording, const char *path,
                             struct ut_log *log);
void ut_ebpf_recording_add(struct ut_ebpf_recording *recording, ut_slice record,
                           int64_t unix_offset_ns);
void ut_ebpf_recording_flush(struct ut_ebpf_recording *recording);
/* Also of one that has not begun, cleared. */
void ut_ebpf_recording_end(struct ut_ebpf_recording *recording);

#endif
