/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk holds belong to the program, not to a configuration: a directory is opened once, and stays
 * open over all reloads, also where no pipeline names it any more.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app_parts.h"
#include "base/clock.h"

/* A disk that takes longer for the last commit is given up; what is finished is then sent again. */
#define CLOSE_NS (10 * UT_NS_PER_S)

static struct ut_app_hold *find_hold(struct ut_app *app, const struct ut_config_storage *storage)
{
    for (struct ut_app_hold *hold = app->holds; storage->present && hold != NULL;
         hold = hold->next) {
        if (strcmp(hold->config.directory, storage->directory) == 0)
            return hold;
    }
    return NULL;
}

/* Whether a pipeline's promise rests on the directory. */
static bool is_durable(const struct ut_config *config, const char *directory)
{
    for (size_t i = 0; i < config->pipeline_count; i++) {
        const struct ut_config_pipeline *pipeline = &config->pipelines[i];
        if (pipeline->ack == UT_ACK_DURABLE && strcmp(pipeline->storage.directory, directory) == 0)
            return true;
    }
    return false;
}

static void log_open(struct ut_app *app, const struct ut_app_hold *hold)
{
    uint64_t spans = 0;
    for (size_t i = 0; i < UT_HOLD_CURSORS_MAX; i++)
        spans += hold->keeping.places[i].stored;
    ut_log_cause(app->log, UT_LOG_INFO, "hold_open", hold->config.directory,
                 "directory=%s max_mib=%" PRIu64 " spans_found=%" PRIu64, hold->config.directory,
                 hold->config.max_bytes >> 20, spans);
}

/* LMDB takes the pages of each group from malloc and gives them back, which by default maps them,
 * or trims the heap, anew each time: the faults cost as much as the copy. And whichever thread
 * commits has a heap of its own, so that the pages of the group before, which are still in the
 * cache, would be those of another. Called while the process has one thread. */
static void keep_pages(void)
{
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, 4 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 16 << 20);
}

static bool open_hold(struct ut_app *app, const struct ut_config_storage *storage, bool durable,
                      char error[UT_APP_ERROR])
{
    char text[UT_DISK_ERROR_TEXT] = "";
    const struct ut_hold_config config = {
        .worker = &app->worker,
        .directory = storage->directory,
        .max_bytes = storage->max_bytes,
        .sync = storage->sync == 0,
        .durable = durable,
    };
    struct ut_app_hold *hold = calloc(1, sizeof(*hold));
    UT_CHECK_MEMORY(hold != NULL);
    keep_pages();
    int code = ut_hold_open(&hold->hold, &config, text);
    if (code != 0) {
        free(hold);
        snprintf(error, UT_APP_ERROR, "storage: %s", text[0] != '\0' ? text : strerror(-code));
        return false;
    }
    hold->config = *storage;
    hold->config.directory = strdup(storage->directory);
    UT_CHECK_MEMORY(hold->config.directory != NULL);
    hold->durable = durable;
    ut_keeping_init(&hold->keeping, &app->worker, hold->hold);
    hold->next = app->holds;
    app->holds = hold;
    log_open(app, hold);
    return true;
}

static bool refuse(char error[UT_APP_ERROR], const char *what)
{
    snprintf(error, UT_APP_ERROR, "storage: %s: restart needed to change it", what);
    return false;
}

bool ut_app_open_holds(struct ut_app_generation *generation, char error[UT_APP_ERROR])
{
    const struct ut_config *config = generation->config;
    for (size_t i = 0; i < config->pipeline_count; i++) {
        const struct ut_config_storage *storage = &config->pipelines[i].storage;
        const struct ut_app_hold *hold = find_hold(generation->app, storage);
        bool durable = storage->present && is_durable(config, storage->directory);
        if (!storage->present)
            continue;
        if (hold == NULL && !open_hold(generation->app, storage, durable, error))
            return false;
        if (hold != NULL && hold->config.max_bytes != storage->max_bytes)
            return refuse(error, "max_bytes of a directory that is open");
        if (hold != NULL && hold->config.sync != storage->sync)
            return refuse(error, "sync of a directory that is open");
        if (hold != NULL && durable && !hold->durable)
            return refuse(error, "a directory that was not opened for ack: durable");
    }
    return true;
}

struct ut_keeping *ut_app_keeping_of(struct ut_app *app, const struct ut_config_pipeline *pipeline)
{
    struct ut_app_hold *hold = find_hold(app, &pipeline->storage);
    return hold != NULL ? &hold->keeping : NULL;
}

struct ut_keeping *ut_app_keeping_for(const struct ut_app_generation *generation,
                                      const struct ut_config_component *exporter)
{
    for (size_t i = 0; i < generation->config->pipeline_count; i++) {
        const struct ut_config_pipeline *pipeline = &generation->config->pipelines[i];
        struct ut_keeping *keeping = ut_app_keeping_of(generation->app, pipeline);
        for (size_t j = 0; keeping != NULL && j < pipeline->exporter_count; j++) {
            if (pipeline->exporters[j] == exporter)
                return keeping;
        }
    }
    return NULL;
}

uint64_t ut_app_spans_on_disk(const struct ut_app *app, const char *exporter)
{
    struct ut_hold_backlog backlogs[UT_HOLD_CURSORS_MAX];
    uint64_t spans = 0;
    for (const struct ut_app_hold *hold = app->holds; hold != NULL; hold = hold->next) {
        size_t count =
            hold->hold != NULL ? ut_hold_backlogs(hold->hold, backlogs, UT_HOLD_CURSORS_MAX) : 0;
        for (size_t i = 0; i < count; i++) {
            if (strcmp(backlogs[i].name, exporter) == 0)
                spans += hold->keeping.places[backlogs[i].cursor].stored;
        }
    }
    return spans;
}

/* ---- closing --------------------------------------------------------------------------------- */

static void on_closed(void *arg)
{
    struct ut_app_hold *hold = arg;
    hold->hold = NULL;
}

static bool any_open(const struct ut_app *app)
{
    for (const struct ut_app_hold *hold = app->holds; hold != NULL; hold = hold->next) {
        if (hold->hold != NULL)
            return true;
    }
    return false;
}

void ut_app_close_holds(struct ut_app *app)
{
    uint64_t end_ns = ut_clock_monotonic_ns() + CLOSE_NS;
    for (struct ut_app_hold *hold = app->holds; hold != NULL; hold = hold->next) {
        ut_keeping_close(&hold->keeping);
        ut_hold_close(hold->hold, on_closed, hold);
    }
    while (any_open(app) && ut_clock_monotonic_ns() < end_ns)
        ut_worker_turn(&app->worker);
    if (!any_open(app))
        return;
    ut_log(
        app->log, UT_LOG_ERROR, "hold_stuck",
        "text=\"a disk does not answer; what was sent last is sent again after the next start\"");
    _exit(1);
}

void ut_app_free_holds(struct ut_app *app)
{
    while (app->holds != NULL) {
        struct ut_app_hold *hold = app->holds;
        app->holds = hold->next;
        free(hold->config.directory);
        free(hold);
    }
}
