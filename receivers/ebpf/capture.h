/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captured kernel records: written by the receiver where `capture_file` is set, read by tests that
 * replay them in virtual time.
 *
 * The file is 16 bytes "UTCAPTURE1" and zeros, then per record the unix offset (8 bytes, ns, to be
 * added to the record's boot time) and the record itself, which begins with its size; in the byte
 * order of the machine that wrote it, without padding.
 */
#ifndef UT_EBPF_CAPTURE_H
#define UT_EBPF_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

enum {
    UT_CAPTURE_MAGIC_BYTES = 16,
    UT_CAPTURE_RECORD_MAX = 4096, /* bytes of one record */
};
#define UT_CAPTURE_BYTES_MAX (UINT64_C(1) << 30) /* of a file; what comes after is not written */

/* ---- reading: pure, for bytes of any origin -------------------------------------------------- */

struct ut_capture_reader {
    ut_slice rest; /* borrowed */
};

/* `file` must outlive the reader. 0, or -EBADMSG if it does not begin as a capture does. */
int ut_capture_open(struct ut_capture_reader *reader, ut_slice file) UT_MUST_USE;

/* The next record, within the file's bytes and of any alignment: 1; 0 at the end; -EBADMSG where
 * the file is cut or a size is impossible. Of a record only its size was checked. */
int ut_capture_next(struct ut_capture_reader *reader, ut_slice *ret_record,
                    int64_t *ret_unix_offset_ns) UT_MUST_USE;

/* ---- writing --------------------------------------------------------------------------------- */

struct ut_capture_writer;

/* Makes the file anew, mode 0600. 0 or a negative errno. */
int ut_capture_create(struct ut_capture_writer **ret, const char *path) UT_MUST_USE;
/* Buffers one record. 0; -ENOSPC when the file has its largest size; or the negative errno of a
 * failed write, after which nothing more is written. */
int ut_capture_write(struct ut_capture_writer *writer, ut_slice record,
                     int64_t unix_offset_ns) UT_MUST_USE;
/* Writes out what is buffered. 0 or a negative errno. */
int ut_capture_flush(struct ut_capture_writer *writer) UT_MUST_USE;
/* Flushes and closes; takes NULL. */
void ut_capture_close(struct ut_capture_writer *writer);

#endif
