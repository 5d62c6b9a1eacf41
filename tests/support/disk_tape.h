/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands between LMDB and the kernel in the program that links it: what is written to a hold's data
 * file is recorded, with its syncs, and can be made to fail. The recording is what a disk saw, so
 * that every state in which a power cut may leave it can be made from it.
 */
#ifndef UT_TEST_DISK_TAPE_H
#define UT_TEST_DISK_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tape_kind {
    TAPE_WRITE,  /* `synced`: on the disk when it returned */
    TAPE_SYNC,   /* everything written before is on the disk */
    TAPE_RENAME, /* the file has its name */
    TAPE_MARK,   /* the test's own */
};

struct tape_op {
    enum tape_kind kind;
    bool synced;
    uint64_t offset, size;
    uint8_t *data;
    int mark;
    uint64_t number;
};

/* From now on writes are recorded. */
void tape_start(void);
void tape_stop(void);
void tape_mark(int mark, uint64_t number);
/* The recording; stop first. */
const struct tape_op *tape_ops(size_t *ret_count);
void tape_free(void);

/* ---- faults ---------------------------------------------------------------------------------- */

enum tape_call { TAPE_CALL_WRITE, TAPE_CALL_SYNC, TAPE_CALL_META };

/* The `after`-th call from now on (0: the next) and the `times - 1` behind it fail with `error`; 0
 * for writes: half of the bytes are written. */
void tape_fail(enum tape_call call, int error, unsigned after, unsigned times);
/* Calls of the kind that came since, failed ones included; and what the last ones were, newest
 * last. */
unsigned tape_calls(enum tape_call call);

#endif
