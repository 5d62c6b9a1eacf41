/* SPDX-License-Identifier: Apache-2.0 */
/* A group: built on the worker's thread from what waits, committed on another, and its results
 * taken in on the worker's thread again. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "flow/disk/hold_parts.h"

enum {
    SMALL_BYTES = 32 << 10,   /* a body below this shares its value with others */
    SHARED_BYTES = 256 << 10, /* … up to so many bytes */
    GROUP_PUTS_MAX = 4096,
};

#define GROUP_BYTES_MAX ((size_t)8 << 20)
/* A disk that failed is not asked again before. */
#define REST_NS UT_NS_PER_S
/* The longest that a patient put waits for a group. */
#define PATIENCE_NS_MAX (10 * UT_NS_PER_MS)

/* ---- lists ----------------------------------------------------------------------------------- */

/* A place at the end of the list, which moves when it grows; NULL when out of memory. */
static void *add(struct ut_hold_list *list, size_t item)
{
    if (list->count == list->room) {
        size_t room = list->room > 0 ? list->room * 2 : 64;
        void *items = realloc(list->items, room * item);
        if (items == NULL)
            return NULL;
        list->items = items;
        list->room = room;
    }
    return (char *)list->items + list->count++ * item;
}

#define ADD(list, type) ((type *)add(list, sizeof(type)))
#define AT(list, type, i) (&((type *)(list)->items)[i])

static void clear(struct ut_hold_group *group)
{
    struct ut_hold_list *lists[] = {
        &group->deletes,  &group->changes, &group->names,   &group->puts,
        &group->outcomes, &group->records, &group->dying,   &group->altered,
        &group->coming,   &group->put_of,  &group->written,
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        lists[i]->count = 0;
    group->store = (struct ut_store_group){.put_count = 0};
}

void ut_hold_group_free(struct ut_hold_group *group)
{
    struct ut_hold_list *lists[] = {
        &group->deletes,  &group->changes, &group->names,   &group->puts,
        &group->outcomes, &group->records, &group->dying,   &group->altered,
        &group->coming,   &group->put_of,  &group->written,
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        free(lists[i]->items);
}

/* ---- building: what goes and what changes ---------------------------------------------------- */

static bool is_finished(const struct ut_hold_value *value)
{
    for (uint32_t i = 0; i < value->count; i++) {
        if (value->records[i].pending != 0)
            return false;
    }
    return true;
}

static bool add_delete(struct ut_hold_group *group, struct ut_hold_value *value)
{
    struct ut_hold_value **dying = ADD(&group->dying, struct ut_hold_value *);
    struct ut_store_delete *delete =
        dying != NULL ? ADD(&group->deletes, struct ut_store_delete) : NULL;
    if (delete == NULL) {
        group->dying.count -= dying != NULL;
        return false;
    }
    *dying = value;
    *delete = (struct ut_store_delete){value->key, value->count};
    return true;
}

static bool add_change(struct ut_hold_group *group, struct ut_hold_value *value)
{
    struct ut_index_entry entries[UT_VALUE_RECORDS_MAX];
    const struct ut_index index = {value->key, value->count, entries};
    uint8_t *bytes = ut_pool_alloc(&value->hold->worker->pool, ut_index_size(value->count));
    struct ut_hold_value **altered =
        bytes != NULL ? ADD(&group->altered, struct ut_hold_value *) : NULL;
    struct ut_store_change *change =
        altered != NULL ? ADD(&group->changes, struct ut_store_change) : NULL;
    if (change == NULL) {
        group->altered.count -= altered != NULL;
        ut_pool_free(&value->hold->worker->pool, bytes);
        return false;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        const struct ut_hold_record *record = &value->records[i];
        entries[i] = (struct ut_index_entry){record->pending, record->spans, record->size};
    }
    ut_index_encode(bytes, &index);
    *altered = value;
    *change = (struct ut_store_change){value->key, ut_slice_of(bytes, ut_index_size(value->count))};
    return true;
}

static void take_changed(struct ut_hold *hold)
{
    struct ut_hold_value *value = hold->changed;
    hold->changed = NULL;
    while (value != NULL) {
        struct ut_hold_value *next = value->next_changed;
        bool taken =
            is_finished(value) ? add_delete(&hold->group, value) : add_change(&hold->group, value);
        value->changed = false;
        value->in_use += taken;
        if (!taken)
            ut_hold_value_change(value);
        value = next;
    }
}

static void take_names(struct ut_hold *hold)
{
    for (uint32_t i = 0; i < UT_HOLD_CURSORS_MAX; i++) {
        struct ut_hold_cursor *cursor = &hold->cursors[i];
        bool gone = cursor->name[0] != '\0' && !cursor->claimed && cursor->records == 0;
        if (!gone && !cursor->unwritten)
            continue;
        struct ut_store_name *name = ADD(&hold->group.names, struct ut_store_name);
        if (name != NULL)
            *name = (struct ut_store_name){cursor->name, i, gone};
    }
}

/* ---- building: what comes -------------------------------------------------------------------- */

static size_t size_of(const struct ut_hold_put *put)
{
    return ut_record_size(put->record.body.size);
}

static bool add_record(struct ut_hold *hold, struct ut_hold_put *put)
{
    struct ut_hold_group *group = &hold->group;
    struct ut_hold_put **put_of = ADD(&group->put_of, struct ut_hold_put *);
    struct ut_record *record = put_of != NULL ? ADD(&group->records, struct ut_record) : NULL;
    if (record == NULL) {
        group->put_of.count -= put_of != NULL;
        return false;
    }
    *put_of = put;
    *record = put->record;
    record->sequence = hold->next_sequence++;
    return true;
}

/* Closes a value over the records from `first` on. Its `records` are set when the list is whole. */
static bool add_value(struct ut_hold *hold, size_t first)
{
    struct ut_hold_group *group = &hold->group;
    uint32_t count = (uint32_t)(group->records.count - first);
    const struct ut_record *records = AT(&group->records, struct ut_record, first);
    struct ut_hold_value *value = ut_hold_value_new(hold, records[0].sequence, count);
    struct ut_hold_value **coming =
        value != NULL ? ADD(&group->coming, struct ut_hold_value *) : NULL;
    struct ut_store_put *put = coming != NULL ? ADD(&group->puts, struct ut_store_put) : NULL;
    if (put == NULL) {
        group->coming.count -= coming != NULL;
        ut_pool_free(&hold->worker->pool, value);
        return false;
    }
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct ut_hold_record *record = &value->records[i];
        record->spans = records[i].spans;
        record->size = (uint32_t)records[i].body.size;
        record->pending = record->held = records[i].cursors;
        size += ut_record_size(records[i].body.size);
    }
    value->in_memory = count;
    value->taken = ut_store_taken(hold->store, size);
    *coming = value;
    put->count = count;
    return true;
}

/* Puts that get no place are answered; those of the lists stay in order of their sequences. */
static void refuse_from(struct ut_hold *hold, size_t first, int error)
{
    struct ut_hold_group *group = &hold->group;
    for (size_t i = first; i < group->put_of.count; i++) {
        struct ut_hold_put *put = *AT(&group->put_of, struct ut_hold_put *, i);
        hold->figures.promised -= put->promised;
        put->done(put, NULL, error);
    }
    group->put_of.count = group->records.count = first;
}

struct taking {
    struct ut_hold *hold;
    size_t first; /* record of the value that is open */
    size_t bytes; /* in it */
};

static void close_value(struct taking *taking)
{
    struct ut_hold_group *group = &taking->hold->group;
    if (group->records.count > taking->first && !add_value(taking->hold, taking->first))
        refuse_from(taking->hold, taking->first, -ENOMEM);
    taking->first = group->records.count;
    taking->bytes = 0;
}

static void take_put(struct taking *taking, struct ut_hold_put *put)
{
    struct ut_hold *hold = taking->hold;
    size_t size = size_of(put);
    bool shares = put->record.body.size < SMALL_BYTES && taking->bytes + size <= SHARED_BYTES &&
                  hold->group.records.count - taking->first < UT_VALUE_RECORDS_MAX;
    if (!shares)
        close_value(taking);
    if (!add_record(hold, put)) {
        hold->figures.promised -= put->promised;
        put->done(put, NULL, -ENOMEM);
        return;
    }
    taking->bytes += size;
}

/* Cuts the puts of one group off the list: in order, those that are ripe. */
static struct ut_hold_put *cut_waiting(struct ut_hold *hold)
{
    struct ut_hold_put *first = hold->waiting, **at = &hold->waiting;
    size_t bytes = 0;
    uint64_t now_ns = ut_worker_now(hold->worker);
    for (unsigned count = 0; *at != NULL && (*at)->ripe_ns <= now_ns; count++) {
        bytes += size_of(*at);
        if (count == GROUP_PUTS_MAX || (count > 0 && bytes > GROUP_BYTES_MAX))
            break;
        (*at)->link = NULL;
        at = &(*at)->next;
    }
    struct ut_hold_put *rest = *at;
    *at = NULL;
    hold->waiting = rest;
    *(rest != NULL ? &rest->link : &hold->waiting_last) = &hold->waiting;
    return at != &hold->waiting ? first : NULL;
}

/* The small ones first, so that a large one between them does not part them. */
static void take_puts(struct ut_hold *hold)
{
    struct taking taking = {.hold = hold};
    struct ut_hold_put *large = NULL, **large_last = &large, *next;
    for (struct ut_hold_put *put = cut_waiting(hold); put != NULL; put = next) {
        next = put->next;
        if (put->record.body.size < SMALL_BYTES) {
            take_put(&taking, put);
            continue;
        }
        put->next = NULL;
        *large_last = put;
        large_last = &put->next;
    }
    close_value(&taking);
    for (struct ut_hold_put *put = large; put != NULL; put = next) {
        next = put->next;
        take_put(&taking, put);
        close_value(&taking);
    }
}

static void take_outcomes(struct ut_hold *hold)
{
    struct ut_hold_outcome *next, *outcome = hold->outcomes;
    size_t bytes = 0;
    for (; outcome != NULL && bytes < GROUP_BYTES_MAX; outcome = next) {
        next = outcome->next;
        struct ut_hold_outcome **written = ADD(&hold->group.written, struct ut_hold_outcome *);
        struct ut_store_outcome *out =
            written != NULL ? ADD(&hold->group.outcomes, struct ut_store_outcome) : NULL;
        if (out == NULL) {
            hold->group.written.count -= written != NULL;
            break;
        }
        *written = outcome;
        *out = (struct ut_store_outcome){outcome->sequence,
                                         ut_slice_of(outcome->bytes, outcome->size)};
        ut_hold_value_of(outcome->record)->in_use++;
        outcome->record->outcome = NULL;
        bytes += outcome->size;
    }
    hold->outcomes = outcome;
    *(outcome != NULL ? &outcome->previous : &hold->outcomes_last) = NULL;
}

bool ut_hold_group_wanted(const struct ut_hold *hold, uint64_t now_ns)
{
    if (now_ns < hold->rest_until_ns && !hold->closing)
        return false;
    return (hold->waiting != NULL && hold->waiting->ripe_ns <= now_ns) ||
           ((hold->flush_due || hold->closing) &&
            (hold->changed != NULL || hold->outcomes != NULL));
}

void ut_hold_group_build(struct ut_hold *hold)
{
    struct ut_hold_group *group = &hold->group;
    clear(group);
    hold->flush_due = false;
    ut_timer_cancel(&hold->worker->timers, &hold->flush);
    take_changed(hold);
    take_names(hold);
    take_outcomes(hold);
    take_puts(hold);
    const struct ut_record *records = group->records.items;
    for (size_t i = 0; i < group->puts.count; i++) {
        struct ut_store_put *put = AT(&group->puts, struct ut_store_put, i);
        put->records = records;
        records += put->count;
    }
    group->store = (struct ut_store_group){
        .deletes = group->deletes.items,
        .changes = group->changes.items,
        .names = group->names.items,
        .puts = group->puts.items,
        .outcomes = group->outcomes.items,
        .delete_count = group->deletes.count,
        .change_count = group->changes.count,
        .name_count = group->names.count,
        .put_count = group->puts.count,
        .outcome_count = group->outcomes.count,
    };
}

/* ---- results --------------------------------------------------------------------------------- */

static void finish_deletes(struct ut_hold *hold, bool done)
{
    for (size_t i = 0; i < hold->group.dying.count; i++) {
        struct ut_hold_value *value = *AT(&hold->group.dying, struct ut_hold_value *, i);
        value->in_use--;
        if (done) {
            hold->figures.taken -= value->taken;
            ut_hold_value_drop(value);
        } else {
            ut_hold_value_change(value);
        }
    }
}

static void finish_changes(struct ut_hold *hold, bool done)
{
    for (size_t i = 0; i < hold->group.altered.count; i++) {
        struct ut_hold_value *value = *AT(&hold->group.altered, struct ut_hold_value *, i);
        const struct ut_store_change *change = AT(&hold->group.changes, struct ut_store_change, i);
        ut_pool_free(&hold->worker->pool, (void *)(uintptr_t)change->index.data);
        value->in_use--;
        if (done)
            ut_hold_value_rest(value);
        else
            ut_hold_value_change(value);
    }
}

static void finish_names(struct ut_hold *hold)
{
    for (size_t i = 0; i < hold->group.names.count; i++) {
        const struct ut_store_name *name = AT(&hold->group.names, struct ut_store_name, i);
        struct ut_hold_cursor *cursor = &hold->cursors[name->number];
        if (name->gone && !cursor->claimed && cursor->records == 0)
            *cursor = (struct ut_hold_cursor){.name = ""};
        else
            cursor->unwritten = name->gone; /* claimed again meanwhile */
    }
}

/* Outcomes are written once or not at all. */
static void finish_outcomes(struct ut_hold *hold)
{
    for (size_t i = 0; i < hold->group.written.count; i++) {
        struct ut_hold_outcome *outcome = *AT(&hold->group.written, struct ut_hold_outcome *, i);
        struct ut_hold_value *value = ut_hold_value_of(outcome->record);
        ut_pool_free(&hold->worker->pool, outcome);
        value->in_use--;
        ut_hold_value_rest(value);
    }
}

static void answer_value(struct ut_hold *hold, struct ut_hold_value *value,
                         struct ut_hold_put *const *puts)
{
    ut_crash_point("before_answer");
    hold->figures.taken += value->taken;
    ut_hold_value_add(value);
    for (uint32_t i = 0; i < value->count; i++) {
        struct ut_hold_record *record = &value->records[i];
        ut_hold_count(hold, record, record->pending, 1);
    }
    value->in_use++;
    for (uint32_t i = 0; i < value->count; i++) {
        hold->figures.promised -= puts[i]->promised;
        puts[i]->done(puts[i], &value->records[i], 0);
    }
    value->in_use--;
    ut_hold_value_rest(value);
}

static void finish_puts(struct ut_hold *hold, int error)
{
    struct ut_hold_group *group = &hold->group;
    struct ut_hold_put *const *puts = group->put_of.items;
    for (size_t i = 0; i < group->coming.count; i++) {
        struct ut_hold_value *value = *AT(&group->coming, struct ut_hold_value *, i);
        uint32_t count = value->count;
        if (error == 0) {
            answer_value(hold, value, puts);
        } else {
            ut_pool_free(&hold->worker->pool, value);
            for (uint32_t j = 0; j < count; j++) {
                hold->figures.promised -= puts[j]->promised;
                puts[j]->done(puts[j], NULL, error);
            }
        }
        puts += count;
    }
}

static void log_failure(struct ut_hold *hold, int error)
{
    const char *advice =
        error == -ENOSPC ? "make room on its disk" : "look at its disk, and at the kernel's log";
    ut_hold_note_trouble(hold, error, advice);
    ut_log_cause(hold->worker->log, UT_LOG_ERROR, "hold_failed", hold->directory.path,
                 "directory=%s error=\"%s\" text=\"nothing of this group was acknowledged; %s\"",
                 hold->directory.path, strerror(-error), advice);
}

void ut_hold_group_finish(struct ut_hold *hold, int error)
{
    const struct ut_store_group *store = &hold->group.store;
    struct ut_hold_figures *figures = &hold->figures;
    figures->commits += error == 0;
    figures->failures += error != 0;
    figures->damaged += store->stuck;
    if (error == 0) {
        figures->commit_ns += store->sync_ns;
        hold->patience_ns = store->sync_ns < PATIENCE_NS_MAX ? store->sync_ns : PATIENCE_NS_MAX;
        if (store->sync_ns > figures->commit_most_ns)
            figures->commit_most_ns = store->sync_ns;
        finish_names(hold);
    } else {
        log_failure(hold, error);
        hold->rest_until_ns = ut_worker_now(hold->worker) + REST_NS;
        ut_hold_wake_later(hold);
    }
    if (error == 0 && store->puts_refused && hold->group.put_of.count > 0)
        ut_hold_refused(hold, hold->group.put_of.count,
                        "make room on its disk, or raise max_bytes");
    finish_outcomes(hold);
    finish_deletes(hold, error == 0);
    finish_changes(hold, error == 0);
    int refused = error != 0 ? error : store->puts_refused ? -ENOSPC : 0;
    figures->written += refused == 0 ? hold->group.put_of.count : 0;
    finish_puts(hold, refused);
}
