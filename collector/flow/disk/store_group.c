/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "flow/disk/store_lmdb.h"

/* What a try does; where the map is full the next one does less. */
struct attempt {
    struct ut_store *store;
    struct ut_store_group *group;
    MDB_txn *txn;
    bool puts;    /* puts and outcomes are part of it */
    bool at_puts; /* it came as far as those */
};

/* ---- what goes ------------------------------------------------------------------------------- */

/* The outcomes of a value's records; outcomes too large to be freed safely stay, without harm: no
 * sequence comes twice. */
static int delete_outcomes(struct attempt *attempt, const struct ut_store_delete *delete)
{
    const struct ut_store *store = attempt->store;
    MDB_cursor *cursor;
    int error = mdb_cursor_open(attempt->txn, store->outcomes, &cursor);
    if (error != 0)
        return error;
    uint64_t sequence = delete->key;
    MDB_val key = ut_store_key(&sequence), value;
    error = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (error == 0) {
        memcpy(&sequence, key.mv_data, sizeof(sequence));
        if (sequence - delete->key >= delete->count)
            break;
        if (ut_store_safe_to_free(store, value))
            error = mdb_cursor_del(cursor, 0);
        else
            attempt->group->stuck++;
        if (error == 0) {
            sequence++;
            key = ut_store_key(&sequence);
            error = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        }
    }
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : error;
}

/* A value whose pages cannot be freed stays, with an index that says nobody waits for it. */
static int bury(struct attempt *attempt, const struct ut_store_delete *delete)
{
    struct ut_index_entry nothing = {.pending = 0};
    const struct ut_index index = {.key = delete->key, .count = 1, .entries = &nothing};
    uint8_t bytes[16 + 16 + 8];
    ut_index_encode(bytes, &index);
    MDB_val key = ut_store_key(&delete->key), value = {sizeof(bytes), bytes};
    attempt->group->stuck++;
    return mdb_put(attempt->txn, attempt->store->index, &key, &value, 0);
}

static int delete_value(struct attempt *attempt, const struct ut_store_delete *delete)
{
    const struct ut_store *store = attempt->store;
    MDB_val key = ut_store_key(&delete->key), value;
    int error = mdb_get(attempt->txn, store->records, &key, &value);
    if (error == 0 && !ut_store_safe_to_free(store, value))
        return bury(attempt, delete);
    if (error == 0)
        error = mdb_del(attempt->txn, store->records, &key, NULL);
    if (error == 0 || error == MDB_NOTFOUND)
        error = mdb_del(attempt->txn, store->index, &key, NULL);
    return error == MDB_NOTFOUND ? 0 : error;
}

static int do_deletes(struct attempt *attempt)
{
    const struct ut_store_group *group = attempt->group;
    int error = 0;
    for (size_t i = 0; i < group->delete_count && error == 0; i++) {
        error = delete_value(attempt, &group->deletes[i]);
        if (error == 0)
            error = delete_outcomes(attempt, &group->deletes[i]);
    }
    return error;
}

/* ---- what changes ---------------------------------------------------------------------------- */

static int do_changes(struct attempt *attempt)
{
    const struct ut_store_group *group = attempt->group;
    int error = 0;
    for (size_t i = 0; i < group->change_count && error == 0; i++) {
        const struct ut_store_change *change = &group->changes[i];
        MDB_val key = ut_store_key(&change->key);
        MDB_val value = {change->index.size, (void *)(uintptr_t)change->index.data};
        error = mdb_put(attempt->txn, attempt->store->index, &key, &value, 0);
    }
    return error;
}

static int do_names(struct attempt *attempt)
{
    const struct ut_store_group *group = attempt->group;
    int error = 0;
    for (size_t i = 0; i < group->name_count && error == 0; i++) {
        const struct ut_store_name *name = &group->names[i];
        MDB_val key = {strlen(name->name), (void *)(uintptr_t)name->name};
        if (!name->gone)
            error = ut_store_write_name(attempt->store, attempt->txn, key, name->number);
        else
            error = mdb_del(attempt->txn, attempt->store->names, &key, NULL);
        error = error == MDB_NOTFOUND ? 0 : error;
    }
    return error;
}

/* ---- what comes ------------------------------------------------------------------------------ */

static int put_index(struct attempt *attempt, const struct ut_store_put *put)
{
    struct ut_index_entry entries[UT_VALUE_RECORDS_MAX];
    const struct ut_index index = {put->records[0].sequence, put->count, entries};
    UT_CHECK(put->count > 0 && put->count <= UT_VALUE_RECORDS_MAX);
    for (uint32_t i = 0; i < put->count; i++) {
        const struct ut_record *record = &put->records[i];
        entries[i] =
            (struct ut_index_entry){record->cursors, record->spans, (uint32_t)record->body.size};
    }
    MDB_val key = ut_store_key(&index.key), value = {ut_index_size(put->count), NULL};
    int error =
        mdb_put(attempt->txn, attempt->store->index, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (error == 0)
        ut_index_encode(value.mv_data, &index);
    return error;
}

static int put_value(struct attempt *attempt, const struct ut_store_put *put)
{
    MDB_val key = ut_store_key(&put->records[0].sequence), value = {0, NULL};
    for (uint32_t i = 0; i < put->count; i++)
        value.mv_size += ut_record_size(put->records[i].body.size);
    int error =
        mdb_put(attempt->txn, attempt->store->records, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (error != 0)
        return error;
    uint8_t *at = value.mv_data;
    for (uint32_t i = 0; i < put->count; i++) {
        UT_CHECK(put->records[i].sequence == put->records[0].sequence + i);
        ut_record_encode(at, UT_RECORD_BODY, &put->records[i]);
        at += ut_record_size(put->records[i].body.size);
    }
    return put_index(attempt, put);
}

static int put_outcome(struct attempt *attempt, const struct ut_store_outcome *outcome)
{
    const struct ut_record record = {.sequence = outcome->sequence, .body = outcome->bytes};
    MDB_val key = ut_store_key(&outcome->sequence);
    MDB_val value = {ut_record_size(outcome->bytes.size), NULL};
    int error = mdb_put(attempt->txn, attempt->store->outcomes, &key, &value, MDB_RESERVE);
    if (error == 0)
        ut_record_encode(value.mv_data, UT_RECORD_OUTCOME, &record);
    return error;
}

static int do_puts(struct attempt *attempt)
{
    const struct ut_store_group *group = attempt->group;
    int error = 0;
    attempt->at_puts = true;
    for (size_t i = 0; i < group->put_count && error == 0; i++)
        error = put_value(attempt, &group->puts[i]);
    for (size_t i = 0; i < group->outcome_count && error == 0; i++)
        error = put_outcome(attempt, &group->outcomes[i]);
    return error;
}

/* ---- the transaction ------------------------------------------------------------------------- */

/* One transaction. An LMDB code. */
static int try_group(struct attempt *attempt)
{
    static int (*const steps[])(struct attempt *) = {do_deletes, do_changes, do_names, do_puts};
    size_t count = attempt->puts ? 4 : 3;
    attempt->at_puts = false;
    attempt->group->stuck = 0;
    int error = ut_store_begin(attempt->store, 0, &attempt->txn);
    if (error != 0)
        return error;
    for (size_t i = 0; i < count && error == 0; i++)
        error = steps[i](attempt);
    if (error != 0) {
        mdb_txn_abort(attempt->txn);
        return error;
    }
    uint64_t before = ut_clock_monotonic_ns();
    ut_crash_point("before_commit");
    error = mdb_txn_commit(attempt->txn); /* frees it, also where it fails */
    ut_crash_point("after_commit");
    attempt->group->sync_ns = ut_clock_monotonic_ns() - before;
    return error;
}

static bool is_full(int error)
{
    return error == MDB_MAP_FULL || error == MDB_TXN_FULL || error == ENOSPC;
}

static bool is_damage(int error)
{
    return error == MDB_CORRUPTED || error == MDB_PAGE_NOTFOUND || error == MDB_INVALID;
}

int ut_store_commit(struct ut_store *store, struct ut_store_group *group)
{
    struct attempt attempt = {.store = store, .group = group, .puts = true};
    group->puts_refused = false;
    ut_disk_guard_enter(store->config.guard);
    int error = try_group(&attempt);
    /* What goes makes the room that what comes will need next time. A full disk lets go as well. */
    if (is_full(error) && attempt.at_puts && group->put_count + group->outcome_count > 0) {
        attempt.puts = false;
        group->puts_refused = true;
        error = try_group(&attempt);
    }
    /* Taking away needs pages too: of a tree of tiny values more than it frees. */
    while (error == MDB_MAP_FULL && (error = ut_store_enlarge(store)) == 0)
        error = try_group(&attempt);
    if (is_damage(error))
        ut_disk_guard_end(store->config.guard);
    ut_disk_guard_leave();
    return ut_store_errno(error);
}
