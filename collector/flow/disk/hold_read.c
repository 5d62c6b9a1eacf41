/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/crash_point.h"
#include "flow/disk/hold_parts.h"

void ut_hold_read_run(struct ut_hold *hold)
{
    hold->job_error = ut_store_read(hold->store, &hold->store_read);
    for (const struct ut_store_value *value = hold->store_read.values; value != NULL;
         value = value->next) {
        bool damaged = false;
        for (uint32_t i = 0; i < value->index.count; i++)
            damaged = damaged || value->items[i].state == UT_ITEM_DAMAGED;
        if (damaged)
            ut_disk_directory_keep(&hold->directory, value->index.key,
                                   ut_slice_of(value->bytes, value->size));
    }
}

/* The value in memory: the one that is there, whose masks are newer than the file's, or a new one.
 */
static struct ut_hold_value *recall(struct ut_hold *hold, const struct ut_store_value *read)
{
    struct ut_hold_value *value = ut_hold_find(hold, read->index.key);
    if (value != NULL)
        return value;
    value = ut_hold_value_new(hold, read->index.key, read->index.count);
    if (value == NULL)
        return NULL;
    value->taken = ut_store_taken(hold->store, read->size);
    for (uint32_t i = 0; i < value->count; i++) {
        const struct ut_index_entry *entry = &read->index.entries[i];
        value->records[i].pending = entry->pending;
        value->records[i].spans = entry->spans;
        value->records[i].size = entry->size;
    }
    ut_hold_value_add(value);
    return value;
}

static void hold_for(struct ut_hold_value *value, struct ut_hold_record *record, uint64_t bit)
{
    if (record->held == 0)
        value->in_memory++;
    record->held |= bit;
}

static void hand_over(struct ut_hold *hold, struct ut_hold_value *value,
                      const struct ut_store_value *read)
{
    struct ut_hold_read *reader = hold->reading;
    uint64_t bit = UINT64_C(1) << reader->cursor;
    uint64_t damaged = 0, spans = 0;
    /* Indexes of one key that differ in length: the file's was mended since; it will be read again.
     */
    uint32_t count = value->count < read->index.count ? value->count : read->index.count;
    value->in_use++;
    for (uint32_t i = 0; i < count; i++) {
        struct ut_hold_record *record = &value->records[i];
        const struct ut_store_item *item = &read->items[i];
        if (item->state == UT_ITEM_NOT_ASKED || !(record->pending & bit) || (record->held & bit))
            continue;
        hold_for(value, record, bit);
        if (item->state == UT_ITEM_READ) {
            ut_crash_point("read_back");
            reader->take(reader, record, &item->record, item->outcome);
            continue;
        }
        damaged++;
        spans += record->spans;
        ut_hold_done(record, reader->cursor);
    }
    value->in_use--;
    ut_hold_value_rest(value);
    hold->figures.damaged += damaged;
    if (damaged > 0)
        reader->damaged(reader, damaged, spans);
}

static void log_damage(struct ut_hold *hold, uint64_t damaged)
{
    if (damaged > 0)
        ut_log(hold->worker->log, UT_LOG_ERROR, "hold_damaged",
               "directory=%s records=%llu text=\"records that the disk does not give back as they "
               "were written; they are kept beside the hold and not sent\"",
               hold->directory.path, (unsigned long long)damaged);
}

void ut_hold_read_finish(struct ut_hold *hold)
{
    struct ut_hold_read *reader = hold->reading;
    struct ut_store_read *read = &hold->store_read;
    uint64_t before = hold->figures.damaged;
    int error = hold->job_error;
    for (const struct ut_store_value *at = read->values; at != NULL; at = at->next) {
        struct ut_hold_value *value = recall(hold, at);
        if (value == NULL) {
            /* It goes on from here when there is memory. */
            read->next = at->index.key;
            break;
        }
        hand_over(hold, value, at);
    }
    log_damage(hold, hold->figures.damaged - before);
    hold->figures.damaged += read->damaged_outcomes;
    ut_store_values_free(read->values);
    read->values = NULL;
    hold->reading = NULL;
    reader->done(reader, read->next, error);
}
