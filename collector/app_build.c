/* SPDX-License-Identifier: Apache-2.0 */
#include "app_parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "app_privileges.h"
#include "base/clock.h"

static bool fail(struct ut_app *app, const char *id, const char *text)
{
    char shown[UT_ERROR_TEXT + 64];
    ut_log(app->log, UT_LOG_ERROR, "start_failed", "component=%s text=%s", id,
           ut_log_quote(shown, sizeof(shown), text));
    return false;
}

static bool fail_with(struct ut_app *app, const char *id, int error)
{
    return fail(app, id, strerror(-error));
}

static uint64_t make_seed(void)
{
    uint64_t seed = ut_clock_monotonic_ns();
    ssize_t got = getrandom(&seed, sizeof(seed), GRND_NONBLOCK);
    (void)got; /* jitter is no secret: the clock will do */
    return seed;
}

static struct ut_build build_of(struct ut_app *app, const struct ut_config_component *component)
{
    return (struct ut_build){
        .id = component->id,
        .config = component->config,
        .worker = &app->worker,
        .extensions = app->extensions,
        .extension_count = app->config->extensions.count,
    };
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool list_extensions(struct ut_app *app)
{
    const struct ut_config_components *all = &app->config->extensions;
    app->extensions = calloc(all->count + 1, sizeof(*app->extensions));
    if (app->extensions == NULL)
        return fail(app, "extensions", "out of memory");
    for (size_t i = 0; i < all->count; i++)
        app->extensions[i] = (struct ut_extension){
            .id = all->items[i].id,
            .type = all->items[i].type->name,
            .config = all->items[i].config,
        };
    return true;
}

static bool make_exporter(struct ut_app *app, const struct ut_config_component *component)
{
    struct ut_app_exporter *part = &app->exporters[app->exporter_count++];
    struct ut_build build = build_of(app, component);
    *part = (struct ut_app_exporter){
        .app = app,
        .component = component,
        .type = component->type->implementation,
    };
    int error = part->type->create(&part->exporter, &build);
    if (error != 0)
        return fail_with(app, component->id, error);
    struct ut_queue_config config = {
        .id = component->id,
        .worker = &app->worker,
        .exporter = part->exporter,
        .settings = part->type->settings != NULL ? part->type->settings(component->config) : NULL,
        .random_seed = make_seed(),
    };
    part->queue = ut_queue_new(&config);
    return part->queue != NULL || fail(app, component->id, "out of memory");
}

static bool make_exporters(struct ut_app *app)
{
    const struct ut_config_components *all = &app->config->exporters;
    app->exporters = calloc(all->count + 1, sizeof(*app->exporters));
    if (app->exporters == NULL)
        return fail(app, "exporters", "out of memory");
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].uses != 0 && !make_exporter(app, &all->items[i]))
            return false;
    }
    return true;
}

static struct ut_queue *find_queue(const struct ut_app *app,
                                   const struct ut_config_component *component)
{
    for (size_t i = 0; i < app->exporter_count; i++) {
        if (app->exporters[i].component == component)
            return app->exporters[i].queue;
    }
    return NULL;
}

static bool watches_kernel(const struct ut_config_component *receiver)
{
    const struct ut_receiver_type *type = receiver->type->implementation;
    return type->event_source != NULL;
}

static bool pipeline_watches_kernel(const struct ut_config_pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->receiver_count; i++) {
        if (watches_kernel(pipeline->receivers[i]))
            return true;
    }
    return false;
}

static bool make_pipeline(struct ut_app *app, size_t index)
{
    const struct ut_config_pipeline *config = &app->config->pipelines[index];
    struct ut_queue *queues[UT_PIPELINE_QUEUES_MAX];
    if (config->exporter_count > UT_PIPELINE_QUEUES_MAX)
        return fail(app, config->id, "more than 16 exporters in one pipeline");
    for (size_t i = 0; i < config->exporter_count; i++)
        queues[i] = find_queue(app, config->exporters[i]);
    struct ut_pipeline_config pipeline_config = {
        .id = config->id,
        .worker = &app->worker,
        .queues = queues,
        .queue_count = config->exporter_count,
        .delivered_within_ns = config->ack == UT_ACK_DELIVERED ? config->ack_timeout_ns : 0,
    };
    struct ut_pipeline *pipeline = ut_pipeline_new(&pipeline_config);
    if (pipeline == NULL)
        return fail(app, config->id, "out of memory");
    app->pipelines[index] = pipeline;
    struct ut_evidence *evidence = pipeline_watches_kernel(config) ? app->evidence : NULL;
    for (size_t i = config->processor_count; i-- > 0;) {
        struct ut_build build = build_of(app, config->processors[i]);
        int error = ut_pipeline_prepend(pipeline, config->processors[i]->type->implementation,
                                        &build, evidence);
        if (error != 0)
            return fail_with(app, config->processors[i]->id, error);
    }
    return true;
}

/* The front of the pipeline that names the receiver; a receiver of spans feeds exactly one. */
static struct ut_push_target *find_target(struct ut_app *app,
                                          const struct ut_config_component *receiver)
{
    for (size_t i = 0; i < app->config->pipeline_count; i++) {
        const struct ut_config_pipeline *pipeline = &app->config->pipelines[i];
        for (size_t j = 0; j < pipeline->receiver_count; j++) {
            if (pipeline->receivers[j] == receiver)
                return ut_pipeline_target(app->pipelines[i]);
        }
    }
    return NULL;
}

static bool make_receiver(struct ut_app *app, const struct ut_config_component *component)
{
    struct ut_app_receiver *part = &app->receivers[app->receiver_count++];
    struct ut_build build = build_of(app, component);
    *part = (struct ut_app_receiver){
        .app = app,
        .component = component,
        .type = component->type->implementation,
        .watches_kernel = watches_kernel(component),
    };
    struct ut_event_sink *sink = part->watches_kernel ? ut_evidence_sink(app->evidence) : NULL;
    int error = part->type->create(&part->receiver, &build, find_target(app, component), sink);
    return error == 0 || fail_with(app, component->id, error);
}

static bool make_receivers(struct ut_app *app)
{
    const struct ut_config_components *all = &app->config->receivers;
    app->receivers = calloc(all->count + 1, sizeof(*app->receivers));
    if (app->receivers == NULL)
        return fail(app, "receivers", "out of memory");
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].uses != 0 && !make_receiver(app, &all->items[i]))
            return false;
    }
    return true;
}

static bool any_watches_kernel(const struct ut_config *config)
{
    for (size_t i = 0; i < config->pipeline_count; i++) {
        if (pipeline_watches_kernel(&config->pipelines[i]))
            return true;
    }
    return false;
}

bool ut_app_build(struct ut_app *app)
{
    bool kernel = any_watches_kernel(app->config);
    int error = ut_worker_init(&app->worker, ut_app_budget_bytes(app->config, kernel), app->log,
                               app->metrics);
    if (error != 0)
        return fail_with(app, "worker", error);
    app->started_ns = ut_worker_now(&app->worker);
    ut_app_memory_metrics(app);
    if (kernel) {
        app->evidence = ut_evidence_new(app->metrics, app->log);
        if (app->evidence == NULL)
            return fail(app, "evidence", "out of memory");
    }
    app->pipelines = calloc(app->config->pipeline_count, sizeof(struct ut_pipeline *));
    if (app->pipelines == NULL)
        return fail(app, "pipelines", "out of memory");
    if (!list_extensions(app) || !make_exporters(app))
        return false;
    for (size_t i = 0; i < app->config->pipeline_count; i++) {
        if (!make_pipeline(app, i))
            return false;
    }
    return make_receivers(app);
}

/* ---- starting -------------------------------------------------------------------------------- */

static bool start_receiver(struct ut_app *app, struct ut_app_receiver *part)
{
    char error[UT_ERROR_TEXT] = "";
    int code = part->type->start(part->receiver, error);
    if (code != 0)
        return fail(app, part->component->id, error[0] != '\0' ? error : strerror(-code));
    part->started = true;
    return true;
}

static bool start_kernel(struct ut_app *app)
{
    for (size_t i = 0; i < app->receiver_count; i++) {
        struct ut_app_receiver *part = &app->receivers[i];
        if (!part->watches_kernel)
            continue;
        if (!start_receiver(app, part))
            return false;
        /* After the programs are attached, so that no cgroup is born between the two unseen, and
         * before the first record is read, so that its cgroup has a name. */
        int error = ut_evidence_scan_cgroups(app->evidence, NULL, ut_clock_unix_ns());
        if (error != 0)
            ut_log(app->log, UT_LOG_WARN, "cgroups_unknown",
                   "error=\"%s\" text=\"the cgroup tree cannot be read: workloads that exist "
                   "already stay unnamed\"",
                   strerror(-error));
        ut_evidence_set_source(app->evidence, part->type->event_source(part->receiver));
    }
    return true;
}

static bool start_receivers(struct ut_app *app)
{
    for (size_t i = 0; i < app->receiver_count; i++) {
        if (!app->receivers[i].watches_kernel && !start_receiver(app, &app->receivers[i]))
            return false;
    }
    return true;
}

static bool start_exporters(struct ut_app *app)
{
    for (size_t i = 0; i < app->exporter_count; i++) {
        struct ut_app_exporter *part = &app->exporters[i];
        char error[UT_ERROR_TEXT] = "";
        int code = part->type->start(part->exporter, error);
        if (code != 0)
            return fail(app, part->component->id, error[0] != '\0' ? error : strerror(-code));
        part->started = true;
    }
    return true;
}

bool ut_app_start(struct ut_app *app)
{
    if (!start_kernel(app) || !start_receivers(app))
        return false;
    ut_app_status_open(app);
    ut_app_drop_privileges(app->evidence != NULL, app->log);
    return start_exporters(app);
}

/* ---- the end --------------------------------------------------------------------------------- */

void ut_app_free_parts(struct ut_app *app)
{
    if (app->evidence != NULL)
        ut_evidence_set_source(app->evidence, NULL);
    for (size_t i = 0; i < app->receiver_count; i++) {
        if (app->receivers[i].receiver != NULL)
            app->receivers[i].type->free(app->receivers[i].receiver);
    }
    for (size_t i = 0; app->pipelines != NULL && i < app->config->pipeline_count; i++)
        ut_pipeline_free(app->pipelines[i]);
    for (size_t i = 0; i < app->exporter_count; i++) {
        ut_queue_free(app->exporters[i].queue);
        if (app->exporters[i].exporter != NULL)
            app->exporters[i].type->free(app->exporters[i].exporter);
    }
    ut_evidence_free(app->evidence);
    free(app->receivers);
    free(app->pipelines);
    free(app->exporters);
    free(app->extensions);
    app->extensions = NULL;
    app->receivers = NULL;
    app->pipelines = NULL;
    app->exporters = NULL;
    app->evidence = NULL;
    app->receiver_count = app->exporter_count = 0;
}
