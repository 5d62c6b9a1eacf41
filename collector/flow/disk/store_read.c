/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "flow/disk/store_lmdb.h"

struct reading {
    struct ut_store *store;
    struct ut_store_read *read;
    MDB_txn *txn;
    struct ut_store_value **last;
    size_t bytes;
};

void ut_store_values_free(struct ut_store_value *values)
{
    while (values != NULL) {
        struct ut_store_value *next = values->next;
        for (uint32_t i = 0; values->items != NULL && i < values->index.count; i++)
            free((void *)(uintptr_t)values->items[i].outcome.data);
        free(values->items);
        free(values->index.entries);
        free(values->bytes);
        free(values);
        values = next;
    }
}

/* A value with its index, not asked for yet. NULL when out of memory. */
static struct ut_store_value *new_value(const struct ut_index *index, ut_slice bytes)
{
    struct ut_store_value *value = calloc(1, sizeof(*value));
    if (value == NULL)
        return NULL;
    size_t entries = index->count * sizeof(*index->entries);
    value->index = (struct ut_index){index->key, index->count, malloc(entries)};
    value->items = calloc(index->count, sizeof(*value->items));
    value->bytes = malloc(bytes.size > 0 ? bytes.size : 1);
    value->size = bytes.size;
    if (value->index.entries == NULL || value->items == NULL || value->bytes == NULL) {
        ut_store_values_free(value);
        return NULL;
    }
    memcpy(value->index.entries, index->entries, entries);
    if (bytes.size > 0)
        memcpy(value->bytes, bytes.data, bytes.size);
    return value;
}

/* An outcome is a help, no promise: without it the body goes out as it came. */
static int read_outcome(struct reading *reading, struct ut_store_item *item)
{
    MDB_val key = ut_store_key(&item->record.sequence), found;
    int error = mdb_get(reading->txn, reading->store->outcomes, &key, &found);
    if (error != 0)
        return error == MDB_NOTFOUND ? 0 : error;
    struct ut_record record;
    if (ut_record_decode(ut_store_slice(found), UT_RECORD_OUTCOME, item->record.sequence,
                         &record) != 0) {
        reading->read->damaged_outcomes++;
        return 0;
    }
    uint8_t *copy = malloc(record.body.size > 0 ? record.body.size : 1);
    if (copy == NULL)
        return ENOMEM;
    if (record.body.size > 0)
        memcpy(copy, record.body.data, record.body.size);
    item->outcome = ut_slice_of(copy, record.body.size);
    return 0;
}

static int read_items(struct reading *reading, struct ut_store_value *value)
{
    ut_slice rest = ut_slice_of(value->bytes, value->size);
    for (uint32_t i = 0; i < value->index.count; i++) {
        const struct ut_index_entry *entry = &value->index.entries[i];
        struct ut_store_item *item = &value->items[i];
        uint64_t sequence = value->index.key + i;
        size_t size = ut_record_size(entry->size);
        bool asked =
            (entry->pending & reading->read->cursors) != 0 && sequence >= reading->read->from;
        bool whole =
            size <= rest.size && ut_record_decode(ut_slice_of(rest.data, size), UT_RECORD_BODY,
                                                  sequence, &item->record) == 0;
        item->state = !asked ? UT_ITEM_NOT_ASKED : whole ? UT_ITEM_READ : UT_ITEM_DAMAGED;
        size = size < rest.size ? size : rest.size;
        rest = ut_slice_of(rest.data + size, rest.size - size);
        int error = item->state == UT_ITEM_READ ? read_outcome(reading, item) : 0;
        if (error != 0)
            return error;
    }
    return 0;
}

static bool is_asked(const struct reading *reading, const struct ut_index *index)
{
    for (uint32_t i = 0; i < index->count; i++) {
        if ((index->entries[i].pending & reading->read->cursors) != 0 &&
            index->key + i >= reading->read->from)
            return true;
    }
    return false;
}

static int read_value(struct reading *reading, const struct ut_index *index)
{
    MDB_val key = ut_store_key(&index->key), found = {0, NULL};
    int error = mdb_get(reading->txn, reading->store->records, &key, &found);
    /* Without a value all that the index names is damaged. */
    if (error != 0 && error != MDB_NOTFOUND)
        return error;
    struct ut_store_value *value = new_value(index, ut_store_slice(found));
    if (value == NULL)
        return ENOMEM;
    *reading->last = value;
    reading->last = &value->next;
    reading->bytes += value->size;
    return read_items(reading, value);
}

/* Moves the cursor to the value that holds `from`, or the first behind it. */
static int seek(MDB_cursor *cursor, uint64_t from, MDB_val *key, MDB_val *found)
{
    *key = ut_store_key(&from);
    int error = mdb_cursor_get(cursor, key, found, MDB_SET_RANGE);
    if (error == 0 && memcmp(key->mv_data, &from, sizeof(from)) == 0)
        return 0;
    /* The one before may hold it among its records; if not, it is passed over. */
    MDB_cursor_op back = error == MDB_NOTFOUND ? MDB_LAST : MDB_PREV;
    error = mdb_cursor_get(cursor, key, found, back);
    return error == MDB_NOTFOUND && back == MDB_PREV ? mdb_cursor_get(cursor, key, found, MDB_FIRST)
                                                     : error;
}

static int read_on(struct reading *reading, MDB_cursor *cursor)
{
    struct ut_index_entry entries[UT_VALUE_RECORDS_MAX];
    struct ut_index index = {.entries = entries};
    MDB_val key, found;
    int error = seek(cursor, reading->read->from, &key, &found);
    for (; error == 0; error = mdb_cursor_get(cursor, &key, &found, MDB_NEXT)) {
        uint64_t sequence;
        memcpy(&sequence, key.mv_data, sizeof(sequence));
        if (reading->bytes >= reading->read->bytes_max) {
            reading->read->next = sequence;
            return 0;
        }
        /* Gone bad since the visit at the start: made anew at the next one. */
        if (ut_index_decode(ut_store_slice(found), sequence, &index) != 0 ||
            !is_asked(reading, &index))
            continue;
        error = read_value(reading, &index);
        if (error != 0)
            break;
    }
    return error == MDB_NOTFOUND ? 0 : error;
}

int ut_store_read(struct ut_store *store, struct ut_store_read *read)
{
    struct reading reading = {.store = store, .read = read, .last = &read->values};
    MDB_cursor *cursor;
    read->values = NULL;
    read->next = UINT64_MAX;
    read->damaged_outcomes = 0;
    ut_disk_guard_enter(store->config.guard);
    int error = ut_store_begin(store, MDB_RDONLY, &reading.txn);
    if (error == 0) {
        error = mdb_cursor_open(reading.txn, store->index, &cursor);
        if (error == 0) {
            error = read_on(&reading, cursor);
            mdb_cursor_close(cursor);
        }
        mdb_txn_abort(reading.txn);
    }
    ut_disk_guard_leave();
    if (error != 0) {
        ut_store_values_free(read->values);
        read->values = NULL;
    }
    return ut_store_errno(error);
}
