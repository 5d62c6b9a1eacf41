/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "app_parts.h"
#include "base/clock.h"

static bool fail(char error[UT_APP_ERROR], const char *id, const char *text)
{
    snprintf(error, UT_APP_ERROR, "%s: %s", id, text);
    return false;
}

static uint64_t make_seed(void)
{
    uint64_t seed = ut_clock_monotonic_ns();
    ssize_t got = getrandom(&seed, sizeof(seed), GRND_NONBLOCK);
    (void)got; /* jitter is no secret: the clock will do */
    return seed;
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool list_extensions(struct ut_app_generation *g, char error[UT_APP_ERROR])
{
    const struct ut_config_components *all = &g->config->extensions;
    g->extensions = calloc(all->count + 1, sizeof(*g->extensions));
    if (g->extensions == NULL)
        return fail(error, "extensions", "out of memory");
    for (size_t i = 0; i < all->count; i++)
        g->extensions[i] = (struct ut_extension){
            .id = all->items[i].id,
            .type = all->items[i].type->name,
            .config = all->items[i].config,
        };
    return true;
}

static bool make_exporter(struct ut_app_generation *g, const struct ut_config_component *component,
                          char error[UT_APP_ERROR])
{
    struct ut_app_exporter *part = &g->exporters[g->exporter_count++];
    struct ut_build build = ut_app_build_of(g, component);
    *part = (struct ut_app_exporter){
        .generation = g,
        .component = component,
        .type = component->type->implementation,
    };
    int code = part->type->create(&part->exporter, &build);
    if (code != 0)
        return fail(error, component->id, strerror(-code));
    struct ut_queue_config config = {
        .id = component->id,
        .worker = &g->app->worker,
        .exporter = part->exporter,
        .settings = part->type->settings != NULL ? part->type->settings(component->config) : NULL,
        .random_seed = make_seed(),
    };
    config.keeping = ut_app_keeping_for(g, component);
    if (config.keeping != NULL) {
        int cursor = ut_hold_claim(config.keeping->hold, component->id);
        if (cursor < 0)
            return fail(error, component->id, "its disk hold has no place for one more exporter");
        config.cursor = (uint32_t)cursor;
    }
    part->queue = ut_queue_new(&config);
    return part->queue != NULL || fail(error, component->id, "out of memory");
}

static bool make_exporters(struct ut_app_generation *g, char error[UT_APP_ERROR])
{
    const struct ut_config_components *all = &g->config->exporters;
    g->exporters = calloc(all->count + 1, sizeof(*g->exporters));
    if (g->exporters == NULL)
        return fail(error, "exporters", "out of memory");
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].uses != 0 && !make_exporter(g, &all->items[i], error))
            return false;
    }
    return true;
}

static struct ut_queue *find_queue(const struct ut_app_generation *g,
                                   const struct ut_config_component *component)
{
    for (size_t i = 0; i < g->exporter_count; i++) {
        if (g->exporters[i].component == component)
            return g->exporters[i].queue;
    }
    return NULL;
}

static bool watches_kernel(const struct ut_config_pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->receiver_count; i++) {
        const struct ut_receiver_type *type = pipeline->receivers[i]->type->implementation;
        if (type->event_source != NULL)
            return true;
    }
    return false;
}

static bool make_pipeline(struct ut_app_generation *g, size_t index, char error[UT_APP_ERROR])
{
    const struct ut_config_pipeline *config = &g->config->pipelines[index];
    struct ut_queue *queues[UT_PIPELINE_QUEUES_MAX];
    if (config->exporter_count > UT_PIPELINE_QUEUES_MAX)
        return fail(error, config->id, "more than 16 exporters in one pipeline");
    for (size_t i = 0; i < config->exporter_count; i++)
        queues[i] = find_queue(g, config->exporters[i]);
    struct ut_pipeline_config pipeline_config = {
        .id = config->id,
        .worker = &g->app->worker,
        .queues = queues,
        .queue_count = config->exporter_count,
        .delivered_within_ns = config->ack == UT_ACK_DELIVERED ? config->ack_timeout_ns : 0,
        .durable_within_ns = config->ack == UT_ACK_DURABLE ? config->ack_timeout_ns : 0,
        .keeping = ut_app_keeping_of(g->app, config),
    };
    struct ut_pipeline *pipeline = ut_pipeline_new(&pipeline_config);
    if (pipeline == NULL)
        return fail(error, config->id, "out of memory");
    g->pipelines[index] = pipeline;
    struct ut_evidence *evidence = watches_kernel(config) ? g->app->evidence : NULL;
    for (size_t i = config->processor_count; i-- > 0;) {
        const struct ut_config_component *processor = config->processors[i];
        struct ut_build build = ut_app_build_of(g, processor);
        int code = ut_pipeline_prepend(pipeline, processor->type->implementation, &build, evidence);
        if (code != 0)
            return fail(error, processor->id, strerror(-code));
    }
    return true;
}

static bool make_parts(struct ut_app_generation *g, char error[UT_APP_ERROR])
{
    g->pipelines = calloc(g->config->pipeline_count, sizeof(struct ut_pipeline *));
    if (g->pipelines == NULL)
        return fail(error, "pipelines", "out of memory");
    if (!list_extensions(g, error) || !ut_app_open_holds(g, error) || !make_exporters(g, error))
        return false;
    for (size_t i = 0; i < g->config->pipeline_count; i++) {
        if (!make_pipeline(g, i, error))
            return false;
    }
    return true;
}

struct ut_app_generation *ut_app_generation_new(struct ut_app *app, struct ut_config *config,
                                                char error[UT_APP_ERROR])
{
    struct ut_app_generation *g = calloc(1, sizeof(*g));
    UT_CHECK_MEMORY(g != NULL);
    g->app = app;
    g->config = config;
    if (make_parts(g, error))
        return g;
    ut_app_generation_free(g);
    return NULL;
}

bool ut_app_generation_start(struct ut_app_generation *g, char error[UT_APP_ERROR])
{
    for (size_t i = 0; i < g->exporter_count; i++) {
        struct ut_app_exporter *part = &g->exporters[i];
        char text[UT_ERROR_TEXT] = "";
        int code = part->type->start(part->exporter, text);
        if (code != 0)
            return fail(error, part->component->id, text[0] != '\0' ? text : strerror(-code));
        part->started = true;
    }
    return true;
}

void ut_app_generation_serve(struct ut_app_generation *g)
{
    for (size_t i = 0; i < g->exporter_count; i++)
        ut_queue_own_backlog(g->exporters[i].queue);
}

struct ut_push_target *ut_app_generation_target(const struct ut_app_generation *g,
                                                const struct ut_config_component *receiver)
{
    for (size_t i = 0; i < g->config->pipeline_count; i++) {
        const struct ut_config_pipeline *pipeline = &g->config->pipelines[i];
        for (size_t j = 0; j < pipeline->receiver_count; j++) {
            if (pipeline->receivers[j] == receiver)
                return ut_pipeline_target(g->pipelines[i]);
        }
    }
    return NULL;
}

/* ---- retiring -------------------------------------------------------------------------------- */

static void go_on(struct ut_app_generation *g)
{
    ut_worker_defer(&g->app->worker, &g->go);
}

static void on_stopped(void *arg)
{
    struct ut_app_generation *g = arg;
    UT_CHECK(g->waiting_for > 0);
    g->waiting_for--;
    go_on(g);
}

static void on_drained(void *arg)
{
    struct ut_app_exporter *part = arg;
    part->drained = true;
    go_on(part->generation);
}

static bool all_drained(const struct ut_app_generation *g)
{
    for (size_t i = 0; i < g->exporter_count; i++) {
        if (!g->exporters[i].drained)
            return false;
    }
    return true;
}

static void stop_exporter(struct ut_app_exporter *part)
{
    struct ut_app_generation *g = part->generation;
    if (!part->started)
        return;
    part->started = false;
    g->waiting_for++;
    part->type->stop(part->exporter, on_stopped, g);
}

/* Each that has nothing left lets go of what it has open: its successor may wait for it. */
static void stop_drained(struct ut_app_generation *g)
{
    for (size_t i = 0; i < g->exporter_count; i++) {
        if (g->exporters[i].drained)
            stop_exporter(&g->exporters[i]);
    }
}

static void stop_all(struct ut_app_generation *g)
{
    for (size_t i = 0; i < g->exporter_count; i++)
        ut_queue_abandon(g->exporters[i].queue);
    for (size_t i = 0; i < g->exporter_count; i++)
        stop_exporter(&g->exporters[i]);
}

/* Takes every step whose condition holds by now. */
static void on_go(struct ut_deferred *deferred)
{
    struct ut_app_generation *g = UT_CONTAINER_OF(deferred, struct ut_app_generation, go);
    if (g->phase == UT_GENERATION_DRAINING)
        stop_drained(g);
    if (g->phase == UT_GENERATION_DRAINING && (g->cut_off || all_drained(g))) {
        g->phase = UT_GENERATION_STOPPING;
        stop_all(g);
    }
    if (g->phase == UT_GENERATION_STOPPING && g->waiting_for == 0) {
        g->phase = UT_GENERATION_STOPPED;
        ut_timer_cancel(&g->app->worker.timers, &g->deadline);
        /* An exporter may have stopped inside this very step and asked for another one. */
        ut_worker_undefer(&g->app->worker, &g->go);
        g->stopped(g);
    }
}

void ut_app_generation_retire(struct ut_app_generation *g,
                              void (*stopped)(struct ut_app_generation *generation))
{
    UT_CHECK(g->phase == UT_GENERATION_SERVING);
    g->phase = UT_GENERATION_DRAINING;
    g->stopped = stopped;
    g->go.run = on_go;
    for (size_t i = 0; i < g->config->pipeline_count; i++)
        ut_pipeline_flush(g->pipelines[i]);
    for (size_t i = 0; i < g->exporter_count; i++)
        ut_queue_drain(g->exporters[i].queue, on_drained, &g->exporters[i]);
    go_on(g);
}

void ut_app_generation_cut_off(struct ut_app_generation *g)
{
    g->cut_off = true;
    if (g->phase != UT_GENERATION_SERVING)
        go_on(g);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void keep_books(struct ut_app *app, const char *id, const struct ut_queue_books *books)
{
    struct ut_app_retired *kept = app->retired;
    while (kept != NULL && strcmp(kept->id, id) != 0)
        kept = kept->next;
    if (kept == NULL) {
        kept = calloc(1, sizeof(*kept));
        UT_CHECK_MEMORY(kept != NULL && (kept->id = strdup(id)) != NULL);
        kept->next = app->retired;
        app->retired = kept;
    }
    kept->books.accepted += books->accepted;
    kept->books.recovered += books->recovered;
    kept->books.sent += books->sent;
    kept->books.held += books->stored;
    kept->books.stored += books->stored;
    for (int i = 0; i < UT_DROP_REASONS; i++)
        kept->books.dropped[i] += books->dropped[i];
}

void ut_app_generation_free_parts(struct ut_app_generation *g)
{
    for (size_t i = 0; g->pipelines != NULL && i < g->config->pipeline_count; i++)
        ut_pipeline_free(g->pipelines[i]);
    for (size_t i = 0; i < g->exporter_count; i++) {
        struct ut_app_exporter *part = &g->exporters[i];
        struct ut_queue_books books;
        if (part->queue != NULL) {
            ut_queue_books(part->queue, &books);
            keep_books(g->app, part->component->id, &books);
        }
        ut_queue_free(part->queue);
        if (part->exporter != NULL)
            part->type->free(part->exporter);
    }
    free(g->exporters);
    free(g->pipelines);
    g->exporters = NULL;
    g->pipelines = NULL;
    g->exporter_count = 0;
}

void ut_app_generation_free(struct ut_app_generation *g)
{
    if (g == NULL)
        return;
    ut_app_generation_free_parts(g);
    free(g->extensions);
    ut_config_free(g->config);
    free(g);
}
