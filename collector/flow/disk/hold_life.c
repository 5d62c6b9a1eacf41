/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing, and the jobs between. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "flow/disk/check.h"
#include "flow/disk/hold_parts.h"

/* A disk on which the pages of a file cannot be walked in this time is not to be relied on. */
enum { CHECK_TIMEOUT_MS = 60000 };

/* ---- jobs ------------------------------------------------------------------------------------ */

static void on_run(struct ut_work *work)
{
    struct ut_hold *hold = UT_CONTAINER_OF(work, struct ut_hold, work);
    if (hold->job == UT_HOLD_COMMIT) {
        hold->job_error = ut_store_commit(hold->store, &hold->group.store);
    } else if (hold->job == UT_HOLD_READ) {
        ut_hold_read_run(hold);
    } else {
        ut_store_close(hold->store);
        hold->store = NULL;
    }
}

static void free_values(struct ut_hold *hold)
{
    for (size_t i = 0; i < UT_HOLD_BUCKETS; i++) {
        while (hold->buckets[i] != NULL)
            ut_hold_value_drop(hold->buckets[i]);
    }
}

static void free_hold(struct ut_hold *hold)
{
    ut_store_close(hold->store);
    ut_disk_directory_close(&hold->directory);
    ut_hold_group_free(&hold->group);
    free(hold);
}

static void end(struct ut_hold *hold)
{
    void (*closed)(void *) = hold->closed;
    void *arg = hold->closed_arg;
    ut_hold_metrics_done(hold);
    ut_timer_cancel(&hold->worker->timers, &hold->flush);
    ut_timer_cancel(&hold->worker->timers, &hold->ripe);
    ut_worker_undefer(hold->worker, &hold->turn);
    free_values(hold);
    free_hold(hold);
    closed(arg);
}

static void on_run_done(struct ut_work *work)
{
    struct ut_hold *hold = UT_CONTAINER_OF(work, struct ut_hold, work);
    enum ut_hold_job job = hold->job;
    if (job == UT_HOLD_CLOSE) {
        end(hold);
        return;
    }
    if (job == UT_HOLD_COMMIT)
        ut_hold_group_finish(hold, hold->job_error);
    else
        ut_hold_read_finish(hold);
    hold->job = UT_HOLD_IDLE;
    ut_hold_wake(hold);
}

static void start_job(struct ut_hold *hold, enum ut_hold_job job)
{
    hold->job = job;
    hold->job_began_ns = ut_worker_now(hold->worker);
    hold->read_is_next = job == UT_HOLD_COMMIT;
    ut_work_start(hold->worker, &hold->work);
}

static void start_read(struct ut_hold *hold)
{
    hold->reading = hold->reads;
    hold->reads = hold->reading->next_read;
    if (hold->reads == NULL)
        hold->reads_last = &hold->reads;
    hold->store_read = (struct ut_store_read){
        .from = hold->reading->from,
        .cursors = UINT64_C(1) << hold->reading->cursor,
        .bytes_max = hold->reading->bytes_max,
    };
    start_job(hold, UT_HOLD_READ);
}

static void cancel_waiting(struct ut_hold *hold)
{
    while (hold->waiting != NULL) {
        struct ut_hold_put *put = hold->waiting;
        ut_hold_unlist(hold, put);
        hold->figures.promised -= put->promised;
        put->done(put, NULL, -ECANCELED);
    }
    while (hold->reads != NULL) {
        struct ut_hold_read *read = hold->reads;
        hold->reads = read->next_read;
        read->done(read, read->from, -ECANCELED);
    }
    hold->reads_last = &hold->reads;
}

static void on_turn(struct ut_deferred *deferred)
{
    struct ut_hold *hold = UT_CONTAINER_OF(deferred, struct ut_hold, turn);
    if (hold->job != UT_HOLD_IDLE)
        return;
    if (hold->closing)
        cancel_waiting(hold);
    bool read = hold->reads != NULL;
    uint64_t now_ns = ut_worker_now(hold->worker);
    if (ut_hold_group_wanted(hold, now_ns) && !(read && hold->read_is_next)) {
        ut_hold_group_build(hold);
        start_job(hold, UT_HOLD_COMMIT);
    } else if (read) {
        start_read(hold);
    } else if (hold->closing) {
        start_job(hold, UT_HOLD_CLOSE);
    } else if (hold->waiting != NULL && hold->waiting->ripe_ns > now_ns) {
        ut_timer_set(&hold->worker->timers, &hold->ripe, hold->waiting->ripe_ns);
    }
}

static void on_ripe(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    ut_hold_wake(UT_CONTAINER_OF(timer, struct ut_hold, ripe));
}

static void on_flush(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_hold *hold = UT_CONTAINER_OF(timer, struct ut_hold, flush);
    (void)now_ns;
    hold->flush_due = true;
    ut_hold_wake(hold);
}

void ut_hold_close(struct ut_hold *hold, void (*closed)(void *arg), void *arg)
{
    UT_CHECK(!hold->closing);
    hold->closing = true;
    hold->closed = closed;
    hold->closed_arg = arg;
    ut_hold_wake(hold);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int set_aside(struct ut_hold *hold, const char *why, char error[UT_DISK_ERROR_TEXT])
{
    char path[PATH_MAX];
    int code = ut_disk_directory_set_aside(&hold->directory, path);
    if (code != 0) {
        (void)snprintf(error, UT_DISK_ERROR_TEXT, "%.100s is damaged (%.80s), and cannot be moved",
                       hold->directory.path, why);
        return code;
    }
    hold->figures.set_aside = true;
    ut_log(hold->worker->log, UT_LOG_ERROR, "hold_set_aside",
           "file=%s reason=\"%s\" text=\"the hold begins anew; what was in that file is not sent\"",
           path, why);
    return 0;
}

/* The file as an earlier process left it is sound, or out of the way. */
static int examine(struct ut_hold *hold, char error[UT_DISK_ERROR_TEXT])
{
    char path[PATH_MAX];
    struct ut_disk_check check;
    ut_disk_directory_name(&hold->directory, "hold.mdb", path);
    ut_disk_guard_init(&hold->guard, path);
    bool marked = ut_disk_guard_take_marker(&hold->guard);
    if (access(path, F_OK) != 0)
        return 0;
    if (marked)
        return set_aside(hold, "the last process could not read it any more", error);
    int code = ut_disk_check(path, CHECK_TIMEOUT_MS, &check);
    if (code == -EBADMSG)
        return set_aside(hold, check.text, error);
    if (code != 0) {
        (void)snprintf(error, UT_DISK_ERROR_TEXT, "%.160s cannot be checked: %s", path,
                       strerror(-code));
        return code;
    }
    if (check.commit_uncertain) {
        hold->figures.damaged++;
        ut_log(hold->worker->log, UT_LOG_ERROR, "hold_header_damaged",
               "file=%s text=\"one of its two headers is not what was written; records of its "
               "last commit may be missing\"",
               path);
    }
    return 0;
}

struct left {
    struct ut_store_visitor visitor;
    struct ut_hold *hold;
};

static void on_cursor(struct ut_store_visitor *visitor, ut_slice name, uint32_t number)
{
    struct ut_hold *hold = UT_CONTAINER_OF(visitor, struct left, visitor)->hold;
    if (number >= UT_HOLD_CURSORS_MAX || name.size >= UT_HOLD_NAME_MAX)
        return;
    struct ut_hold_cursor *cursor = &hold->cursors[number];
    memcpy(cursor->name, name.data, name.size);
    cursor->name[name.size] = '\0';
}

static void on_value(struct ut_store_visitor *visitor, const struct ut_index *index, uint64_t taken)
{
    struct ut_hold *hold = UT_CONTAINER_OF(visitor, struct left, visitor)->hold;
    hold->figures.taken += taken;
    hold->next_sequence = index->key + index->count;
    uint64_t all = 0;
    for (uint32_t i = 0; i < index->count; i++) {
        const struct ut_index_entry *entry = &index->entries[i];
        const struct ut_hold_record record = {.spans = entry->spans, .size = entry->size};
        ut_hold_count(hold, &record, entry->pending, 1);
        all |= entry->pending;
    }
    /* Somebody's whose name was damaged. */
    for (; all != 0; all &= all - 1) {
        unsigned number = (unsigned)__builtin_ctzll(all);
        struct ut_hold_cursor *cursor = &hold->cursors[number];
        if (cursor->name[0] != '\0')
            continue;
        (void)snprintf(cursor->name, sizeof(cursor->name), "unknown-%u", number);
        cursor->unwritten = true;
    }
}

static int take_over(struct ut_hold *hold, char error[UT_DISK_ERROR_TEXT])
{
    struct left left = {.visitor = {.cursor = on_cursor, .value = on_value}, .hold = hold};
    int code = ut_store_visit(hold->store, &left.visitor);
    hold->figures.damaged += left.visitor.damaged;
    if (code != 0)
        (void)snprintf(error, UT_DISK_ERROR_TEXT, "%.160s cannot be read: %s", hold->directory.path,
                       strerror(-code));
    return code;
}

static struct ut_hold *new_hold(const struct ut_hold_config *config)
{
    struct ut_hold *hold = calloc(1, sizeof(*hold));
    if (hold == NULL)
        return NULL;
    hold->config = *config;
    hold->worker = config->worker;
    hold->figures.max_bytes = config->max_bytes;
    hold->waiting_last = &hold->waiting;
    hold->reads_last = &hold->reads;
    hold->next_sequence = 1;
    hold->work = (struct ut_work){.run = on_run, .done = on_run_done};
    hold->turn.run = on_turn;
    hold->flush.fire = on_flush;
    hold->ripe.fire = on_ripe;
    hold->directory.fd = hold->directory.lock_fd = -1;
    return hold;
}

int ut_hold_open(struct ut_hold **ret, const struct ut_hold_config *config,
                 char error[UT_DISK_ERROR_TEXT])
{
    struct ut_hold *hold = new_hold(config);
    error[0] = '\0';
    if (hold == NULL)
        return -ENOMEM;
    int code = ut_disk_directory_open(&hold->directory, config->directory, config->durable, error);
    if (code == 0)
        code = examine(hold, error);
    if (code == 0)
        code = ut_disk_directory_has_room(&hold->directory, config->max_bytes, error);
    if (code == 0) {
        const struct ut_store_config store = {
            .directory = &hold->directory,
            .guard = &hold->guard,
            .max_bytes = config->max_bytes,
            .sync = config->sync,
        };
        code = ut_store_open(&hold->store, &store, error);
    }
    if (code == 0)
        code = take_over(hold, error);
    if (code != 0) {
        free_hold(hold);
        return code;
    }
    ut_hold_metrics_init(hold);
    *ret = hold;
    return 0;
}
