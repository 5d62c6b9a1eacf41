/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of a disk hold: one LMDB file, used by one thread at a time. Everything here blocks on
 * the disk; the hold calls it on a thread of the pool, and at its start.
 *
 * A group is one transaction, begun and committed within one call: first what goes, then what
 * changes, then what comes. What it says is on the disk when the call returns 0.
 *
 * Three trees with the sequence as key (records: values; index; outcomes) and one with names
 * (cursors, and the version of the format). The strict walk (pages.h) has proven the file's
 * structure before it is opened here; values are checked when they are read.
 *
 * LMDB as it was measured to be right: its default sync, no map of writable pages; the map is twice
 * the quota because free pages fragment; a full map refuses what comes, and is made larger for what
 * goes; a sync that failed is never tried again, only a new transaction is; no read transaction
 * outlives its call.
 */
#ifndef UT_FLOW_DISK_STORE_H
#define UT_FLOW_DISK_STORE_H

#include "flow/disk/directory.h"
#include "flow/disk/guard.h"
#include "flow/disk/record.h"

struct ut_store;

struct ut_store_config {
    const struct ut_disk_directory *directory; /* open, locked; outlives the store */
    const struct ut_disk_guard *guard;         /* of the data file; likewise */
    uint64_t max_bytes;                        /* the quota; the file may grow to twice as much */
    bool sync;                                 /* false: a power cut may cost the whole file */
};

/* Opens the file, or makes it (whole or not at all, whenever the power goes). On failure a negative
 * errno and a text. */
int ut_store_open(struct ut_store **ret, const struct ut_store_config *config,
                  char error[UT_DISK_ERROR_TEXT]) UT_MUST_USE;
void ut_store_close(struct ut_store *store); /* NULL is fine */

/* Bytes that a value of `size` bytes takes in the file, with its index, rounded up as pages are. */
uint64_t ut_store_taken(const struct ut_store *store, size_t size);

/* ---- what was left by an earlier process ----------------------------------------------------- */

struct ut_store_visitor {
    /* A value, in order of the keys; `index` is valid during the call. */
    void (*value)(struct ut_store_visitor *visitor, const struct ut_index *index, uint64_t taken);
    /* A cursor; the name is valid during the call. */
    void (*cursor)(struct ut_store_visitor *visitor, ut_slice name, uint32_t number);
    uint64_t damaged; /* counted: indexes, names and values that were damaged */
};

/* Visits the cursors, then all values. An index that is damaged is made anew from its value; a
 * value that is beyond that is set aside. 0 or a negative errno. */
int ut_store_visit(struct ut_store *store, struct ut_store_visitor *visitor) UT_MUST_USE;

/* ---- groups ---------------------------------------------------------------------------------- */

struct ut_store_delete {
    uint64_t key;
    uint32_t count; /* its records */
};

struct ut_store_change {
    uint64_t key;
    ut_slice index; /* encoded */
};

struct ut_store_name {
    const char *name;
    uint32_t number;
    bool gone; /* the name is taken away */
};

/* One value; the first record's sequence is its key. Keys rise from put to put. */
struct ut_store_put {
    const struct ut_record *records;
    uint32_t count;
};

struct ut_store_outcome {
    uint64_t sequence;
    ut_slice bytes;
};

struct ut_store_group {
    const struct ut_store_delete *deletes;
    const struct ut_store_change *changes;
    const struct ut_store_name *names;
    const struct ut_store_put *puts;
    const struct ut_store_outcome *outcomes;
    size_t delete_count, change_count, name_count, put_count, outcome_count;
    /* Set by the commit. */
    bool puts_refused; /* the map was full for them; all but them and the outcomes is done */
    uint64_t stuck;    /* deletes that were not safe to do; the value stays, finished */
    uint64_t sync_ns;  /* how long LMDB's commit took */
};

/* 0; -ENOSPC, -EIO or another negative errno: nothing of it may be relied on, nor that it is
 * absent. Ends the process (guard.h) where LMDB finds its file damaged. */
int ut_store_commit(struct ut_store *store, struct ut_store_group *group) UT_MUST_USE;

/* ---- reading back ---------------------------------------------------------------------------- */

enum ut_store_item_state {
    UT_ITEM_NOT_ASKED, /* not pending for the cursor that asks */
    UT_ITEM_READ,
    UT_ITEM_DAMAGED,
};

struct ut_store_item {
    enum ut_store_item_state state;
    struct ut_record record; /* body: within the value's bytes */
    ut_slice outcome;        /* empty: none, or it is damaged; its own memory */
};

struct ut_store_value {
    struct ut_store_value *next;
    struct ut_index index;
    struct ut_store_item *items; /* index.count */
    uint8_t *bytes;
    size_t size;
};

struct ut_store_read {
    uint64_t from;    /* the first sequence that is asked for */
    uint64_t cursors; /* a record is asked for where it is pending for one of these */
    size_t bytes_max; /* it ends with the value that goes beyond it */
    /* Set by the read. */
    struct ut_store_value *values; /* that have something READ or DAMAGED, in order */
    uint64_t next;                 /* to go on from; UINT64_MAX: there is no more */
    uint64_t damaged_outcomes;
};

/* 0 or a negative errno (then there are no values). */
int ut_store_read(struct ut_store *store, struct ut_store_read *read) UT_MUST_USE;
void ut_store_values_free(struct ut_store_value *values);

#endif
