/* SPDX-License-Identifier: Apache-2.0 */
#include "app_parts.h"

#include <stdlib.h>
#include <string.h>

#include "app_privileges.h"
#include "app_types.h"
#include "base/clock.h"

static bool fail(struct ut_app *app, const char *text)
{
    char shown[UT_APP_ERROR + 64];
    ut_log(app->log, UT_LOG_ERROR, "start_failed", "text=%s",
           ut_log_quote(shown, sizeof(shown), text));
    return false;
}

struct ut_build ut_app_build_of(struct ut_app_generation *generation,
                                const struct ut_config_component *component)
{
    struct ut_app *app = generation->app;
    return (struct ut_build){
        .id = component->id,
        .config = component->config,
        .worker = &app->worker,
        .extensions = generation->extensions,
        .extension_count = generation->config->extensions.count,
        .identity = &generation->config->program.identity,
        .sender_names = app->evidence != NULL ? ut_evidence_sender_names(app->evidence) : NULL,
        .reload = app->current != NULL && app->current != generation,
    };
}

/* ---- receivers ------------------------------------------------------------------------------- */

struct ut_app_receiver *ut_app_receiver_new(struct ut_app_generation *generation,
                                            const struct ut_config_component *component,
                                            char error[UT_APP_ERROR])
{
    struct ut_app *app = generation->app;
    struct ut_app_receiver *part = calloc(1, sizeof(*part));
    UT_CHECK_MEMORY(part != NULL);
    *part = (struct ut_app_receiver){
        .app = app,
        .generation = generation,
        .component = component,
        .type = component->type->implementation,
    };
    part->watches_kernel = part->type->event_source != NULL;
    struct ut_build build = ut_app_build_of(generation, component);
    struct ut_event_sink *sink = part->watches_kernel ? ut_evidence_sink(app->evidence) : NULL;
    int code = part->type->create(&part->receiver, &build,
                                  ut_app_generation_target(generation, component), sink);
    if (code == 0) {
        generation->receivers++;
        return part;
    }
    snprintf(error, UT_APP_ERROR, "%s: %s", component->id, strerror(-code));
    free(part);
    return NULL;
}

void ut_app_receiver_free(struct ut_app_receiver *part)
{
    part->type->free(part->receiver);
    part->generation->receivers--;
    free(part);
}

bool ut_app_receiver_start(struct ut_app_receiver *part, char error[UT_APP_ERROR])
{
    char text[UT_ERROR_TEXT] = "";
    int code = part->type->start(part->receiver, text);
    part->started = code == 0;
    if (code != 0)
        snprintf(error, UT_APP_ERROR, "%s: %s", part->component->id,
                 text[0] != '\0' ? text : strerror(-code));
    return code == 0;
}

static bool make_receivers(struct ut_app *app, char error[UT_APP_ERROR])
{
    const struct ut_config_components *all = &app->current->config->receivers;
    struct ut_app_receiver **end = &app->receivers;
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].uses == 0)
            continue;
        *end = ut_app_receiver_new(app->current, &all->items[i], error);
        if (*end == NULL)
            return false;
        end = &(*end)->next;
    }
    return true;
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool any_watches_kernel(const struct ut_config *config)
{
    for (size_t i = 0; i < config->receivers.count; i++) {
        const struct ut_receiver_type *type = config->receivers.items[i].type->implementation;
        if (config->receivers.items[i].uses != 0 && type->event_source != NULL)
            return true;
    }
    return false;
}

/* `setting`: "auto", "off", or its socket. */
static int make_containerd(struct ut_app *app, const char *setting)
{
    static const char scheme[] = "unix://";
    if (strcmp(setting, "off") == 0)
        return 0;
    bool named = strcmp(setting, "auto") != 0;
    app->containerd =
        ut_containerd_new(&app->worker, app->evidence,
                          named ? setting + sizeof(scheme) - 1 : UT_CONTAINERD_SOCKET, named);
    return app->containerd != NULL ? 0 : -ENOMEM;
}

bool ut_app_build(struct ut_app *app, struct ut_config *config)
{
    char error[UT_APP_ERROR];
    bool kernel = any_watches_kernel(config);
    int code =
        ut_worker_init(&app->worker, ut_app_budget_bytes(config, kernel), app->log, app->metrics);
    if (code == 0 && kernel) {
        app->evidence = ut_evidence_new(app->metrics, app->log);
        code = app->evidence != NULL ? 0 : -ENOMEM;
    }
    if (app->evidence != NULL)
        ut_evidence_set_allowance(app->evidence, config->program.max_bytes_per_hour,
                                  ut_clock_unix_ns());
    if (code == 0 && app->evidence != NULL)
        code = make_containerd(app, config->program.identity.containerd);
    if (code != 0) {
        ut_config_free(config);
        return fail(app, strerror(-code));
    }
    app->started_ns = ut_worker_now(&app->worker);
    ut_app_memory_metrics(app);
    app->current = ut_app_generation_new(app, config, error);
    if (app->current == NULL || !make_receivers(app, error))
        return fail(app, error);
    return true;
}

/* ---- starting -------------------------------------------------------------------------------- */

static bool start_kernel(struct ut_app *app, char error[UT_APP_ERROR])
{
    for (struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (!part->watches_kernel)
            continue;
        if (!ut_app_receiver_start(part, error))
            return false;
        /* The kernel may have taken seconds to check the programs: what is timed from here on must
         * not count from before. */
        uv_update_time(&app->worker.uv);
        /* After the programs are attached, so that no cgroup is born between the two unseen, and
         * before the first record is read, so that its cgroup has a name. */
        int code = ut_evidence_scan_cgroups(app->evidence, NULL, ut_clock_unix_ns());
        if (code != 0)
            ut_log(app->log, UT_LOG_WARN, "cgroups_unknown",
                   "error=\"%s\" text=\"the cgroup tree cannot be read: workloads that exist "
                   "already stay unnamed\"",
                   strerror(-code));
        ut_evidence_set_source(app->evidence, part->type->event_source(part->receiver));
    }
    return true;
}

static bool start_receivers(struct ut_app *app, char error[UT_APP_ERROR])
{
    for (struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (!part->watches_kernel && !ut_app_receiver_start(part, error))
            return false;
    }
    return true;
}

bool ut_app_start(struct ut_app *app)
{
    char error[UT_APP_ERROR];
    if (!start_kernel(app, error) || !start_receivers(app, error))
        return fail(app, error);
    ut_app_status_open(app);
    ut_app_drop_privileges(app->evidence != NULL, app->log);
    if (app->containerd != NULL)
        ut_containerd_start(app->containerd);
    if (!ut_app_generation_start(app->current, error))
        return fail(app, error);
    ut_app_generation_serve(app->current);
    return true;
}

/* ---- the end --------------------------------------------------------------------------------- */

void ut_app_free_parts(struct ut_app *app)
{
    if (app->evidence != NULL)
        ut_evidence_set_source(app->evidence, NULL);
    for (struct ut_app_receiver *part = app->receivers, *next; part != NULL; part = next) {
        next = part->next;
        ut_app_receiver_free(part);
    }
    ut_app_close_holds(app);
    ut_app_generation_free(app->current);
    ut_app_free_holds(app);
    ut_containerd_free(app->containerd);
    ut_evidence_free(app->evidence);
    for (struct ut_app_retired *retired = app->retired, *next; retired != NULL; retired = next) {
        next = retired->next;
        free(retired->id);
        free(retired);
    }
}
