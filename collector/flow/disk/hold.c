/* SPDX-License-Identifier: Apache-2.0 */
/* Records, cursors, and whose turn it is. Opening and closing: hold_life.c; a group: hold_group.c;
 * reading back: hold_read.c. */
#include "flow/disk/hold.h"

#include <errno.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "flow/disk/hold_parts.h"

/* Records that are finished while nobody puts are sent again after a crash for so long. */
#define FLUSH_NS UT_NS_PER_S

/* ---- values ---------------------------------------------------------------------------------- */

static struct ut_hold_value **bucket_of(struct ut_hold *hold, uint64_t key)
{
    return &hold->buckets[key % UT_HOLD_BUCKETS];
}

struct ut_hold_value *ut_hold_find(struct ut_hold *hold, uint64_t key)
{
    struct ut_hold_value *value = *bucket_of(hold, key);
    while (value != NULL && value->key != key)
        value = value->next_in_bucket;
    return value;
}

struct ut_hold_value *ut_hold_value_new(struct ut_hold *hold, uint64_t key, uint32_t count)
{
    struct ut_hold_value *value =
        ut_pool_alloc(&hold->worker->pool, sizeof(*value) + count * sizeof(struct ut_hold_record));
    if (value == NULL)
        return NULL;
    *value = (struct ut_hold_value){.hold = hold, .key = key, .count = count};
    for (uint32_t i = 0; i < count; i++)
        value->records[i] = (struct ut_hold_record){.index = i};
    return value;
}

void ut_hold_value_add(struct ut_hold_value *value)
{
    struct ut_hold_value **bucket = bucket_of(value->hold, value->key);
    value->next_in_bucket = *bucket;
    *bucket = value;
}

void ut_hold_value_drop(struct ut_hold_value *value)
{
    struct ut_hold_value **at = bucket_of(value->hold, value->key);
    while (*at != value)
        at = &(*at)->next_in_bucket;
    *at = value->next_in_bucket;
    for (uint32_t i = 0; i < value->count; i++) {
        if (value->records[i].outcome != NULL)
            ut_hold_outcome_drop(value->hold, value->records[i].outcome);
    }
    ut_pool_free(&value->hold->worker->pool, value);
}

void ut_hold_value_rest(struct ut_hold_value *value)
{
    bool waits = value->changed || value->in_use > 0 || value->in_memory > 0;
    for (uint32_t i = 0; i < value->count && !waits; i++)
        waits = value->records[i].outcome != NULL;
    if (!waits)
        ut_hold_value_drop(value);
}

void ut_hold_value_change(struct ut_hold_value *value)
{
    if (value->changed)
        return;
    value->changed = true;
    value->next_changed = value->hold->changed;
    value->hold->changed = value;
    ut_hold_wake_later(value->hold);
}

void ut_hold_count(struct ut_hold *hold, const struct ut_hold_record *record, uint64_t cursors,
                   int sign)
{
    uint64_t one = sign > 0 ? 1 : UINT64_MAX; /* wraps to a subtraction */
    while (cursors != 0) {
        struct ut_hold_cursor *cursor = &hold->cursors[__builtin_ctzll(cursors)];
        cursor->records += one;
        cursor->spans += one * record->spans;
        cursor->bytes += one * record->size;
        cursors &= cursors - 1;
    }
}

/* ---- records --------------------------------------------------------------------------------- */

uint64_t ut_hold_sequence(const struct ut_hold_record *record)
{
    return ut_hold_value_of((struct ut_hold_record *)(uintptr_t)record)->key + record->index;
}

uint32_t ut_hold_spans(const struct ut_hold_record *record)
{
    return record->spans;
}

void ut_hold_set_spans(struct ut_hold_record *record, uint32_t spans)
{
    struct ut_hold_value *value = ut_hold_value_of(record);
    if (record->spans == spans)
        return;
    ut_hold_count(value->hold, record, record->pending, -1);
    record->spans = spans;
    ut_hold_count(value->hold, record, record->pending, 1);
    ut_hold_value_change(value);
}

static void let_go(struct ut_hold_record *record, uint64_t bit)
{
    UT_CHECK(record->held & bit);
    record->held &= ~bit;
    if (record->held == 0)
        ut_hold_value_of(record)->in_memory--;
}

void ut_hold_done(struct ut_hold_record *record, uint32_t cursor)
{
    ut_crash_point("finished");
    struct ut_hold_value *value = ut_hold_value_of(record);
    uint64_t bit = UINT64_C(1) << cursor;
    let_go(record, bit);
    record->pending &= ~bit;
    ut_hold_count(value->hold, record, bit, -1);
    if (record->pending == 0 && record->outcome != NULL)
        ut_hold_outcome_drop(value->hold, record->outcome);
    ut_hold_value_change(value);
}

void ut_hold_leave(struct ut_hold_record *record, uint32_t cursor)
{
    ut_crash_point("left_to_disk");
    let_go(record, UINT64_C(1) << cursor);
    ut_hold_value_rest(ut_hold_value_of(record));
}

void ut_hold_outcome_drop(struct ut_hold *hold, struct ut_hold_outcome *outcome)
{
    outcome->record->outcome = NULL;
    *(outcome->previous != NULL ? &outcome->previous->next : &hold->outcomes) = outcome->next;
    *(outcome->next != NULL ? &outcome->next->previous : &hold->outcomes_last) = outcome->previous;
    ut_pool_free(&hold->worker->pool, outcome);
}

uint8_t *ut_hold_outcome(struct ut_hold_record *record, size_t size)
{
    struct ut_hold *hold = ut_hold_value_of(record)->hold;
    if (record->outcome != NULL)
        ut_hold_outcome_drop(hold, record->outcome);
    struct ut_hold_outcome *outcome = ut_pool_alloc(&hold->worker->pool, sizeof(*outcome) + size);
    if (outcome == NULL)
        return NULL;
    *outcome = (struct ut_hold_outcome){
        .previous = hold->outcomes_last,
        .record = record,
        .sequence = ut_hold_sequence(record),
        .size = size,
    };
    *(hold->outcomes_last != NULL ? &hold->outcomes_last->next : &hold->outcomes) = outcome;
    hold->outcomes_last = outcome;
    record->outcome = outcome;
    ut_hold_wake_later(hold);
    return outcome->bytes;
}

/* ---- cursors --------------------------------------------------------------------------------- */

int ut_hold_claim(struct ut_hold *hold, const char *name)
{
    int free_number = -ENOSPC;
    if (name[0] == '\0' || name[0] == '\001' || strlen(name) >= UT_HOLD_NAME_MAX)
        return -EINVAL;
    for (int i = UT_HOLD_CURSORS_MAX - 1; i >= 0; i--) {
        struct ut_hold_cursor *cursor = &hold->cursors[i];
        if (strcmp(cursor->name, name) == 0) {
            cursor->claimed = true;
            return i;
        }
        if (cursor->name[0] == '\0')
            free_number = i;
    }
    if (free_number < 0)
        return free_number;
    hold->cursors[free_number] = (struct ut_hold_cursor){.claimed = true, .unwritten = true};
    memcpy(hold->cursors[free_number].name, name, strlen(name) + 1);
    return free_number;
}

void ut_hold_unclaim(struct ut_hold *hold, uint32_t cursor)
{
    hold->cursors[cursor].claimed = false;
}

size_t ut_hold_backlogs(const struct ut_hold *hold, struct ut_hold_backlog *out, size_t room)
{
    size_t count = 0;
    for (uint32_t i = 0; i < UT_HOLD_CURSORS_MAX && count < room; i++) {
        const struct ut_hold_cursor *cursor = &hold->cursors[i];
        if (cursor->name[0] == '\0')
            continue;
        out[count++] = (struct ut_hold_backlog){
            .name = cursor->name,
            .cursor = i,
            .claimed = cursor->claimed,
            .records = cursor->records,
            .spans = cursor->spans,
            .bytes = cursor->bytes,
        };
    }
    return count;
}

/* ---- putting and reading --------------------------------------------------------------------- */

void ut_hold_note_trouble(struct ut_hold *hold, int error, const char *advice)
{
    hold->figures.trouble = advice;
    hold->figures.trouble_error = error;
    hold->trouble_at_ns = ut_worker_now(hold->worker);
}

void ut_hold_refused(struct ut_hold *hold, size_t requests, const char *advice)
{
    hold->figures.refused += requests;
    ut_hold_note_trouble(hold, 0, advice);
    ut_log_cause(hold->worker->log, UT_LOG_WARN, "hold_full", hold->directory.path,
                 "directory=%s text=\"requests are refused, to be sent again; %s\"",
                 hold->directory.path, advice);
}

int ut_hold_put(struct ut_hold *hold, struct ut_hold_put *put)
{
    struct ut_hold_figures *figures = &hold->figures;
    UT_CHECK(put->record.cursors != 0);
    if (hold->closing)
        return -ECANCELED;
    uint64_t now_ns = ut_worker_now(hold->worker);
    if (now_ns < hold->rest_until_ns)
        return -EIO;
    put->promised = ut_store_taken(hold->store, ut_record_size(put->record.body.size));
    if (put->promised > figures->max_bytes - figures->taken - figures->promised) {
        ut_hold_refused(hold, 1, "max_bytes are taken: look at what its exporters wait for");
        hold->flush_due = hold->changed != NULL; /* room that only has to be committed */
        ut_hold_wake(hold);
        return -ENOSPC;
    }
    figures->promised += put->promised;
    put->ripe_ns = put->patient ? now_ns + hold->patience_ns : 0;
    put->next = NULL;
    put->link = hold->waiting_last;
    *hold->waiting_last = put;
    hold->waiting_last = &put->next;
    ut_hold_wake(hold);
    return 0;
}

void ut_hold_unlist(struct ut_hold *hold, struct ut_hold_put *put)
{
    *put->link = put->next;
    *(put->next != NULL ? &put->next->link : &hold->waiting_last) = put->link;
    put->link = NULL;
}

bool ut_hold_withdraw(struct ut_hold *hold, struct ut_hold_put *put)
{
    if (put->link == NULL)
        return false;
    ut_crash_point("withdrawn");
    ut_hold_unlist(hold, put);
    hold->figures.promised -= put->promised;
    hold->figures.withdrawn++;
    return true;
}

void ut_hold_read(struct ut_hold *hold, struct ut_hold_read *read)
{
    read->next_read = NULL;
    *hold->reads_last = read;
    hold->reads_last = &read->next_read;
    ut_hold_wake(hold);
}

void ut_hold_figures(const struct ut_hold *hold, struct ut_hold_figures *ret)
{
    *ret = hold->figures;
    ret->trouble_ns = ut_worker_now(hold->worker) - hold->trouble_at_ns;
    if (hold->job != UT_HOLD_IDLE)
        ret->silent_ns = ut_worker_now(hold->worker) - hold->job_began_ns;
}

/* ---- whose turn it is ------------------------------------------------------------------------ */

void ut_hold_wake(struct ut_hold *hold)
{
    if (hold->job == UT_HOLD_IDLE)
        ut_worker_defer(hold->worker, &hold->turn);
}

void ut_hold_wake_later(struct ut_hold *hold)
{
    if (!ut_timer_is_set(&hold->flush))
        ut_timer_set(&hold->worker->timers, &hold->flush, ut_worker_now(hold->worker) + FLUSH_NS);
}
