/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an earlier process left, in one transaction: cursors, then values, each with its index.
 * Names and indexes are checked here, and what is damaged is mended as far as the values themselves
 * tell; the transaction writes only where there was something to mend.
 */
#include <errno.h>

#include "flow/disk/store_lmdb.h"

struct visit {
    struct ut_store *store;
    struct ut_store_visitor *visitor;
    MDB_txn *txn;
};

/* ---- names ----------------------------------------------------------------------------------- */

static int visit_names(struct visit *visit)
{
    MDB_cursor *cursor;
    MDB_val key, value, version = ut_store_version_key();
    bool has_version = false;
    int error = mdb_cursor_open(visit->txn, visit->store->names, &cursor);
    if (error != 0)
        return error;
    while ((error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        uint32_t number;
        bool is_version = ut_slice_equal(ut_store_slice(key), ut_store_slice(version));
        if (ut_name_decode(ut_store_slice(value), ut_store_slice(key), &number) != 0) {
            visit->visitor->damaged++;
            error = mdb_cursor_del(cursor, 0);
            if (error != 0)
                break;
        } else if (is_version) {
            has_version = true;
        } else {
            visit->visitor->cursor(visit->visitor, ut_store_slice(key), number);
        }
    }
    mdb_cursor_close(cursor);
    if (error == MDB_NOTFOUND)
        error = has_version
                    ? 0
                    : ut_store_write_name(visit->store, visit->txn, version, UT_STORE_VERSION);
    return error;
}

/* ---- values ---------------------------------------------------------------------------------- */

static int set_aside(struct visit *visit, MDB_cursor *cursor, uint64_t sequence, MDB_val value)
{
    ut_disk_directory_keep(visit->store->config.directory, sequence, ut_store_slice(value));
    return ut_store_safe_to_free(visit->store, value) ? mdb_cursor_del(cursor, 0) : 0;
}

/* The index of the value at the cursor is damaged or missing. */
static int mend(struct visit *visit, MDB_cursor *cursor, uint64_t sequence, MDB_val value,
                struct ut_index *index)
{
    uint8_t bytes[UT_INDEX_BYTES_MAX];
    MDB_val key = ut_store_key(&sequence);
    visit->visitor->damaged++;
    if (ut_index_rebuild(ut_store_slice(value), sequence, index) != 0) {
        int error = mdb_del(visit->txn, visit->store->index, &key, NULL);
        return error != 0 && error != MDB_NOTFOUND ? error
                                                   : set_aside(visit, cursor, sequence, value);
    }
    ut_index_encode(bytes, index);
    MDB_val encoded = {ut_index_size(index->count), bytes};
    int error = mdb_put(visit->txn, visit->store->index, &key, &encoded, 0);
    if (error == 0)
        visit->visitor->value(visit->visitor, index, ut_store_taken(visit->store, value.mv_size));
    return error;
}

static int visit_values(struct visit *visit, uint64_t *ret_count)
{
    struct ut_index_entry entries[UT_VALUE_RECORDS_MAX];
    struct ut_index index = {.entries = entries};
    MDB_cursor *cursor;
    MDB_val key, value;
    int error = mdb_cursor_open(visit->txn, visit->store->records, &cursor);
    if (error != 0)
        return error;
    while ((error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        MDB_val found = {0, NULL};
        uint64_t sequence;
        memcpy(&sequence, key.mv_data, sizeof(sequence));
        error = mdb_get(visit->txn, visit->store->index, &key, &found);
        if (error != 0 && error != MDB_NOTFOUND)
            break;
        if (ut_index_decode(ut_store_slice(found), sequence, &index) != 0)
            error = mend(visit, cursor, sequence, value, &index);
        else
            visit->visitor->value(visit->visitor, &index,
                                  ut_store_taken(visit->store, value.mv_size));
        ++*ret_count;
        if (error != 0 && error != MDB_NOTFOUND)
            break;
    }
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : error;
}

/* Indexes of values that are not there: a key of one of the two trees was damaged. */
static int drop_lone_indexes(struct visit *visit)
{
    MDB_cursor *cursor;
    MDB_val key, found, value;
    int error = mdb_cursor_open(visit->txn, visit->store->index, &cursor);
    if (error != 0)
        return error;
    while ((error = mdb_cursor_get(cursor, &key, &found, MDB_NEXT)) == 0) {
        error = mdb_get(visit->txn, visit->store->records, &key, &value);
        if (error == 0)
            continue;
        if (error != MDB_NOTFOUND)
            break;
        visit->visitor->damaged++;
        error = mdb_cursor_del(cursor, 0);
        if (error != 0)
            break;
    }
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : error;
}

int ut_store_visit(struct ut_store *store, struct ut_store_visitor *visitor)
{
    struct visit visit = {.store = store, .visitor = visitor};
    uint64_t values = 0;
    MDB_stat stat;
    visitor->damaged = 0;
    ut_disk_guard_enter(store->config.guard);
    int error = ut_store_begin(store, 0, &visit.txn);
    if (error == 0) {
        error = visit_names(&visit);
        if (error == 0)
            error = visit_values(&visit, &values);
        if (error == 0)
            error = mdb_stat(visit.txn, store->index, &stat);
        if (error == 0 && stat.ms_entries != values)
            error = drop_lone_indexes(&visit);
        if (error == 0)
            error = mdb_txn_commit(visit.txn);
        else
            mdb_txn_abort(visit.txn);
    }
    ut_disk_guard_leave();
    return ut_store_errno(error);
}
