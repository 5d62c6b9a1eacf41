/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk hold: accepted requests as records in a directory, until every exporter that has to send
 * them is done with them. One worker, one directory, one hold. Pipelines put, queues finish; the
 * disk is touched on another thread only, by one job at a time.
 *
 * Group commit: what comes in while a commit runs is the next group. A group is one transaction:
 * what is finished is taken away, then what is new is put; when it is synced the puts are answered.
 * Outcomes and finished records wait for the next group with puts, FLUSH_NS at most.
 *
 *     put ─► waiting ─► in a group ─► stored, in memory ─► done by all ─► taken away in a group
 *               │          │              │    ▲
 *               ▼          ▼         leave▼    │read
 *           withdrawn   refused        on disk alone
 *
 * A cursor is an exporter's place in the hold: a name, and for every record whether it is still
 * pending for it. A cursor that nobody claims after a start is an orphan: its records stay, and go
 * on when somebody claims the name.
 *
 * Invariants: 1. a put is answered exactly once, never inside ut_hold_put, or withdrawn; 2. bytes
 * taken and promised never exceed the quota; 3. of a record, what is held in memory for a cursor is
 * also pending for it; 4. a group that failed leaves everything as it was before, but for its puts,
 * which are refused; 5. no put is answered with success before its sync has returned 0.
 */
#ifndef UT_FLOW_DISK_HOLD_H
#define UT_FLOW_DISK_HOLD_H

#include "flow/disk/record.h"
#include "flow/disk/store.h"
#include "loop/worker.h"

#define UT_HOLD_CURSORS_MAX 64
#define UT_HOLD_NAME_MAX 256 /* bytes of a cursor's name, with the terminator */

struct ut_hold;
struct ut_hold_record;

struct ut_hold_config {
    struct ut_worker *worker;
    const char *directory; /* absolute; it is made where its parent exists */
    uint64_t max_bytes;
    bool sync;    /* false: a SIGKILL loses nothing, a power cut may lose everything */
    bool durable; /* somebody's promise rests on it: the disk must be one */
};

/* Opens the directory, checks and opens the file; blocks, for a second or so where there is much.
 * Call it while the process has one thread. On failure a negative errno and in `error` what to do
 * about it. */
int ut_hold_open(struct ut_hold **ret, const struct ut_hold_config *config,
                 char error[UT_DISK_ERROR_TEXT]) UT_MUST_USE;
/* Commits what is finished and closes; `closed` comes once, later, and then the hold is gone. Puts
 * and reads that wait are answered with -ECANCELED before. Records must not be touched any more. */
void ut_hold_close(struct ut_hold *hold, void (*closed)(void *arg), void *arg);

/* ---- cursors --------------------------------------------------------------------------------- */

/* Claims the cursor `name`, making it where there is none. Its number, the bit in masks; -ENOSPC
 * where there are UT_HOLD_CURSORS_MAX, -EINVAL for a name that is too long or no name. */
int ut_hold_claim(struct ut_hold *hold, const char *name) UT_MUST_USE;
/* Nobody sends for it any more; its records stay. */
void ut_hold_unclaim(struct ut_hold *hold, uint32_t cursor);

struct ut_hold_backlog {
    const char *name;
    uint32_t cursor;
    bool claimed;
    uint64_t records, spans, bytes; /* that are pending for it */
};

/* Each cursor there is; returns how many of at most `room`. Names live as long as the hold. */
size_t ut_hold_backlogs(const struct ut_hold *hold, struct ut_hold_backlog *out, size_t room);

/* ---- putting --------------------------------------------------------------------------------- */

struct ut_hold_put {
    /* Set by the caller. The body stays where it is and does not change until `done`. */
    struct ut_record record; /* its sequence is given by the hold */
    /* It is likely to be withdrawn soon: no group begins for it, nor takes it, before it has waited
     * as long as the last commit took, 10 ms at most. */
    bool patient;
    /* 0 and the stored record, held in memory for all of its cursors; or a negative errno: -ENOSPC
     * (the hold or the disk is full), another where the disk failed, -ENOMEM, -ECANCELED. Not being
     * stored does not mean being absent: after a start it may be there. */
    void (*done)(struct ut_hold_put *put, struct ut_hold_record *record, int error);
    struct ut_hold_put *next, **link; /* the hold's; link NULL: it is in a group */
    uint64_t promised, ripe_ns;       /* bytes, time; the hold's */
};

/* 0; or, with nothing taken, -ENOSPC where there is no room now, -EIO while the disk is given a
 * rest after a failure, -ECANCELED when closing. */
int ut_hold_put(struct ut_hold *hold, struct ut_hold_put *put) UT_MUST_USE;
/* Nobody needs it on the disk any more. true: it is forgotten, `done` does not come; false: it is
 * in a group already, and goes its way. Only between ut_hold_put and `done`. */
bool ut_hold_withdraw(struct ut_hold *hold, struct ut_hold_put *put) UT_MUST_USE;

/* ---- records in memory ----------------------------------------------------------------------- */

uint64_t ut_hold_sequence(const struct ut_hold_record *record);
/* Spans of it that are to be sent; and how many are left where some were left out. */
uint32_t ut_hold_spans(const struct ut_hold_record *record);
void ut_hold_set_spans(struct ut_hold_record *record, uint32_t spans);
/* The cursor has finished it: sent, or dropped for good. With the last one it is taken away, and
 * the handle must not be used any more by anyone. */
void ut_hold_done(struct ut_hold_record *record, uint32_t cursor);
/* The caller lets its memory go without having finished; it comes back with a read. The handle is
 * not the caller's any more. */
void ut_hold_leave(struct ut_hold_record *record, uint32_t cursor);
/* Room for what the processors found out, `size` bytes that the caller fills at once; for whoever
 * reads the record back. A later one takes the place of an earlier one. Lost, without harm, where
 * the disk has no room. NULL: no memory. */
uint8_t *ut_hold_outcome(struct ut_hold_record *record, size_t size) UT_MUST_USE;

/* ---- reading back ---------------------------------------------------------------------------- */

struct ut_hold_read {
    /* Set by the caller. */
    uint32_t cursor;
    uint64_t from;    /* the first sequence of interest */
    size_t bytes_max; /* about: a value is read as a whole */
    /* One record, from now on held in memory for the cursor. `record->body` and `outcome` (empty:
     * none) are valid during the call. Records that are in memory for the cursor already, or that
     * it has finished, do not come. */
    void (*take)(struct ut_hold_read *read, struct ut_hold_record *handle,
                 const struct ut_record *record, ut_slice outcome);
    /* Records that are damaged: counted, set aside, and finished for this cursor. */
    void (*damaged)(struct ut_hold_read *read, uint64_t records, uint64_t spans);
    /* The end. `next`: where to go on; UINT64_MAX: that was all. Where error is not 0 nothing was
     * taken. The read may be started again in here. */
    void (*done)(struct ut_hold_read *read, uint64_t next, int error);
    struct ut_hold_read *next_read; /* the hold's */
};

/* One at a time for each struct. The calls come later, never inside. */
void ut_hold_read(struct ut_hold *hold, struct ut_hold_read *read);

/* ---- figures --------------------------------------------------------------------------------- */

struct ut_hold_figures {
    uint64_t taken, promised, max_bytes; /* bytes */
    uint64_t commits, failures;
    uint64_t commit_ns, commit_most_ns; /* in all; the longest */
    uint64_t refused;                   /* puts that found no room */
    uint64_t written, withdrawn;        /* puts that were stored; that were not needed any more */
    uint64_t damaged;                   /* records, indexes and names */
    bool set_aside;                     /* at this start a damaged file was moved away */
    const char *trouble;                /* the last one, and what to do; NULL: there was none */
    int trouble_error;   /* … of the disk, negative errno; 0: it was not the disk */
    uint64_t trouble_ns; /* … how long ago */
    uint64_t silent_ns;  /* since the disk was asked what it has not answered yet */
};

void ut_hold_figures(const struct ut_hold *hold, struct ut_hold_figures *ret);

#endif
