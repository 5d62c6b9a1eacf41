/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reload: the configuration is read again and, if all of it can be had, takes the place of the one
 * in force. Everything new is made and opened first, beside what runs; then, in one turn of the
 * loop, the new receivers take over the listeners of those before: of the one of their name, else
 * of one that is gone and had an address of theirs. Connections that are open stay with the
 * receiver that accepted them, under its settings, and push to the pipeline of its heir; it goes
 * with the last of them. The generation before drains for `shutdown_timeout` at most.
 *
 * A generation that fails half-made takes the same way out as one that has served. Where a
 * configuration is read, and its parts are listed, the program cannot go on without memory; so a
 * reload begins by asking for as much as that takes.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "app_load.h"
#include "app_parts.h"
#include "base/clock.h"
#include "config/yaml.h"

enum { ADDRESSES_MAX = 8 }; /* of a receiver */

/* ---- what cannot be reloaded ----------------------------------------------------------------- */

static bool stores(const struct ut_config *config)
{
    for (size_t i = 0; i < config->pipeline_count; i++) {
        if (config->pipelines[i].storage.present)
            return true;
    }
    return false;
}

/* The name of a setting that holds for the life of the process and would change; NULL: none. */
static const char *fixed_setting(const struct ut_config *now, const struct ut_config *next)
{
    if (now->program.memory.limit_mib != next->program.memory.limit_mib)
        return "undertrace.memory.limit_mib";
    if (strcmp(now->program.admin, next->program.admin) != 0)
        return "undertrace.admin";
    if (strcmp(now->program.identity.containerd, next->program.identity.containerd) != 0)
        return "undertrace.identity.containerd";
    if (now->telemetry.metrics.level != next->telemetry.metrics.level)
        return "service.telemetry.metrics.level";
    if (strcmp(now->telemetry.metrics.address, next->telemetry.metrics.address) != 0)
        return "service.telemetry.metrics.address";
    if (!stores(now) && stores(next))
        return "the first storage of a pipeline, whose memory is set aside at the start";
    return NULL;
}

static bool refuse(char error[UT_APP_ERROR], const char *what)
{
    snprintf(error, UT_APP_ERROR, "%s: restart needed to change it", what);
    return false;
}

/* ---- what retires ---------------------------------------------------------------------------- */

static void free_if_gone(struct ut_app_generation *generation)
{
    struct ut_app *app = generation->app;
    struct ut_app_generation **at = &app->retiring;
    if (generation->phase != UT_GENERATION_STOPPED || generation->receivers > 0)
        return;
    while (*at != generation)
        at = &(*at)->next;
    *at = generation->next;
    ut_app_generation_free(generation);
    ut_app_stop_go_on(app);
}

static void on_stopped(struct ut_app_generation *generation)
{
    ut_app_generation_free_parts(generation);
    free_if_gone(generation);
}

static void on_deadline(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    ut_app_generation_cut_off(UT_CONTAINER_OF(timer, struct ut_app_generation, deadline));
}

static void retire(struct ut_app_generation *generation)
{
    struct ut_app *app = generation->app;
    generation->next = app->retiring;
    app->retiring = generation;
    generation->deadline.fire = on_deadline;
    ut_timer_set(&app->worker.timers, &generation->deadline,
                 ut_worker_now(&app->worker) + generation->config->program.shutdown_timeout_ns);
    if (generation->blocked == 0)
        ut_app_generation_retire(generation, on_stopped);
}

static void on_gone(struct ut_deferred *deferred)
{
    struct ut_app_receiver *part = UT_CONTAINER_OF(deferred, struct ut_app_receiver, gone);
    struct ut_app *app = part->app;
    struct ut_app_generation *generation = part->generation, *blocked = part->blocks;
    struct ut_app_receiver **at = &app->receivers;
    for (struct ut_app_receiver *other = app->receivers; other != NULL; other = other->next) {
        if (other->heir == part)
            other->heir = part->heir;
    }
    while (*at != part)
        at = &(*at)->next;
    *at = part->next;
    ut_app_receiver_free(part);
    if (blocked != NULL && --blocked->blocked == 0)
        ut_app_generation_retire(blocked, on_stopped);
    free_if_gone(generation);
    ut_app_stop_go_on(app);
}

/* Comes from inside the receiver, which is freed later. */
static void on_left(void *arg)
{
    struct ut_app_receiver *part = arg;
    part->gone.run = on_gone;
    ut_worker_defer(&part->app->worker, &part->gone);
}

/* Its connections are sent away. */
static void stop_receiver(struct ut_app_receiver *part)
{
    part->retired = part->stopping = true;
    part->type->stop(part->receiver, on_left, part);
}

void ut_app_reload_stop(struct ut_app *app)
{
    for (struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (part->retired && !part->stopping)
            stop_receiver(part);
    }
}

/* ---- receivers ------------------------------------------------------------------------------- */

static bool is_same(const struct ut_app_receiver *part, const struct ut_config_component *component)
{
    return component->uses != 0 && part->type == component->type->implementation &&
           strcmp(part->component->id, component->id) == 0;
}

static struct ut_app_receiver *find_receiver(const struct ut_app *app,
                                             const struct ut_config_component *component)
{
    for (struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (!part->retired && !part->fresh && is_same(part, component))
            return part;
    }
    return NULL;
}

static const struct ut_config_component *find_component(const struct ut_app_generation *generation,
                                                        const struct ut_app_receiver *part)
{
    const struct ut_config_components *all = &generation->config->receivers;
    for (size_t i = 0; i < all->count; i++) {
        if (is_same(part, &all->items[i]))
            return &all->items[i];
    }
    return NULL;
}

static bool is_taken_over(const struct ut_app_receiver *part)
{
    const struct ut_app_receiver *other = part->app->receivers;
    while (other != NULL && other->before != part)
        other = other->next;
    return other != NULL;
}

static bool shares_address(const struct ut_app_receiver *part,
                           const struct ut_config_component *component)
{
    const char *ours[ADDRESSES_MAX], *theirs[ADDRESSES_MAX];
    if (part->type != component->type->implementation || part->type->endpoints == NULL)
        return false;
    size_t count = part->type->endpoints(part->component->config, ours, ADDRESSES_MAX);
    size_t others = part->type->endpoints(component->config, theirs, ADDRESSES_MAX);
    for (size_t i = 0; i < count * others; i++) {
        if (strcmp(ours[i / others], theirs[i % others]) == 0)
            return true;
    }
    return false;
}

/* Whom a receiver with another name takes over from; NULL: nobody. */
static struct ut_app_receiver *find_renamed(const struct ut_app_generation *generation,
                                            const struct ut_config_component *component)
{
    for (struct ut_app_receiver *part = generation->app->receivers; part != NULL;
         part = part->next) {
        if (!part->retired && !part->fresh && find_component(generation, part) == NULL &&
            !is_taken_over(part) && shares_address(part, component))
            return part;
    }
    return NULL;
}

/* A code with its words, or without. */
static bool fail(char error[UT_APP_ERROR], const char *id, int code, const char *text)
{
    snprintf(error, UT_APP_ERROR, "%s: %s", id, text[0] != '\0' ? text : strerror(-code));
    return false;
}

static bool keep_receiver(struct ut_app_generation *generation,
                          const struct ut_config_component *component, char error[UT_APP_ERROR])
{
    char text[UT_ERROR_TEXT] = "";
    struct ut_app_receiver *part = find_receiver(generation->app, component);
    if (part == NULL)
        return refuse(error, component->id);
    struct ut_build build = ut_app_build_of(generation, component);
    int code = part->type->keep(part->receiver, &build, text);
    return code == 0 || fail(error, component->id, code, text);
}

static bool start_receiver(struct ut_app_receiver *part, char error[UT_APP_ERROR])
{
    char text[UT_ERROR_TEXT] = "";
    if (part->before == NULL)
        return ut_app_receiver_start(part, error);
    int code = part->type->start_beside(part->receiver, part->before->receiver, text);
    part->started = code == 0;
    return code == 0 || fail(error, part->component->id, code, text);
}

static bool open_receiver(struct ut_app_generation *generation,
                          const struct ut_config_component *component, char error[UT_APP_ERROR])
{
    struct ut_app *app = generation->app;
    struct ut_app_receiver *before = find_receiver(app, component);
    struct ut_app_receiver *part = ut_app_receiver_new(generation, component, error);
    if (part == NULL)
        return false;
    part->before = before != NULL ? before : find_renamed(generation, component);
    if (!start_receiver(part, error)) {
        ut_app_receiver_free(part);
        return false;
    }
    part->fresh = true;
    part->next = app->receivers;
    app->receivers = part;
    return true;
}

static bool open_receivers(struct ut_app_generation *generation, char error[UT_APP_ERROR])
{
    const struct ut_config_components *all = &generation->config->receivers;
    for (size_t i = 0; i < all->count; i++) {
        const struct ut_receiver_type *type = all->items[i].type->implementation;
        if (all->items[i].uses == 0)
            continue;
        if (type->keep != NULL ? !keep_receiver(generation, &all->items[i], error)
                               : !open_receiver(generation, &all->items[i], error))
            return false;
    }
    for (struct ut_app_receiver *part = generation->app->receivers; part != NULL;
         part = part->next) {
        if (part->type->keep != NULL && find_component(generation, part) == NULL)
            return refuse(error, part->component->id);
    }
    return true;
}

static void abandon(struct ut_app_generation *generation)
{
    for (struct ut_app_receiver *part = generation->app->receivers; part != NULL;
         part = part->next) {
        if (!part->fresh)
            continue;
        part->fresh = false;
        stop_receiver(part);
    }
    retire(generation);
}

/* Of the generation before, or of an earlier one whose connections are still there. */
static void retire_receiver(struct ut_app_receiver *part, struct ut_app_generation *before)
{
    struct ut_app_generation *current = part->app->current;
    const struct ut_app_receiver *heir = part;
    while (heir->heir != NULL)
        heir = heir->heir;
    if (heir->generation == current) {
        part->retired = true;
        part->type->retire(part->receiver, ut_app_generation_target(current, heir->component),
                           on_left, part);
        return;
    }
    part->blocks = before;
    before->blocked++;
    stop_receiver(part);
}

/* One that stays has nothing of the configuration that it was made with. */
static void adopt(struct ut_app_receiver *part, struct ut_app_generation *generation)
{
    part->component = find_component(generation, part);
    part->generation->receivers--;
    part->generation = generation;
    generation->receivers++;
}

static void take_over(struct ut_app_generation *generation)
{
    struct ut_app *app = generation->app;
    struct ut_app_generation *before = app->current;
    app->current = generation;
    for (struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (!part->fresh || part->before == NULL)
            continue;
        part->type->take_over(part->receiver, part->before->receiver);
        part->before->heir = part;
    }
    for (struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (part->type->keep != NULL)
            adopt(part, generation);
        else if (!part->fresh && !part->stopping)
            retire_receiver(part, before);
        part->fresh = false;
        part->before = NULL;
    }
    ut_app_generation_serve(generation);
    retire(before);
}

/* ---- the reload ------------------------------------------------------------------------------ */

static bool try_config(struct ut_app *app, struct ut_config *config, char error[UT_APP_ERROR])
{
    const char *fixed = fixed_setting(app->current->config, config);
    if (fixed != NULL) {
        ut_config_free(config);
        return refuse(error, fixed);
    }
    struct ut_app_generation *generation = ut_app_generation_new(app, config, error);
    if (generation == NULL)
        return false;
    if (!open_receivers(generation, error) || !ut_app_generation_start(generation, error)) {
        abandon(generation);
        return false;
    }
    take_over(generation);
    ut_log_set_level(app->log, (enum ut_log_level)config->telemetry.logs.level);
    if (app->evidence != NULL)
        ut_evidence_set_allowance(app->evidence, config->program.max_bytes_per_hour,
                                  ut_clock_unix_ns());
    return true;
}

/* Files that the settings name (certificates, credentials) may be what has changed. */
static void reread_files(struct ut_app *app)
{
    for (struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (part->started && part->type->reread_files != NULL)
            part->type->reread_files(part->receiver);
    }
    for (size_t i = 0; i < app->current->exporter_count; i++) {
        const struct ut_app_exporter *part = &app->current->exporters[i];
        if (part->type->reread_files != NULL)
            part->type->reread_files(part->exporter);
    }
}

/* What reading the file takes (25 times its size was measured), and what is made of it. */
static size_t memory_for(const char *path)
{
    struct stat info;
    size_t size = path != NULL && stat(path, &info) == 0 ? (size_t)info.st_size : 0;
    return ((size_t)4 << 20) + 48 * (size < UT_YAML_SIZE_MAX ? size : UT_YAML_SIZE_MAX);
}

/* Mapped and given back at once: whether the system would give it is all that is asked. */
static bool has_memory(size_t bytes)
{
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block != MAP_FAILED && munmap(block, bytes) == 0;
}

bool ut_app_reload(struct ut_app *app, FILE *out)
{
    char error[UT_APP_ERROR] = "the file has errors, which `undertrace validate` lists",
         shown[UT_APP_ERROR + 64];
    bool done = false;
    if (app->phase != UT_APP_RUNNING) {
        snprintf(error, sizeof(error), "the program is stopping");
    } else if (!has_memory(memory_for(app->path))) {
        snprintf(error, sizeof(error),
                 "out of memory: let the process have %zu MiB more for the time of a reload",
                 (memory_for(app->path) >> 20) + 1);
    } else {
        struct ut_config *config = ut_app_load(app->path, app->types, out);
        done = config != NULL && try_config(app, config, error);
    }
    reread_files(app);
    if (done) {
        app->reloads.done++;
        app->reloads.trouble[0] = '\0';
        fprintf(out, "reloaded\n");
        ut_log(app->log, UT_LOG_INFO, "reloaded", "pipelines=%zu",
               app->current->config->pipeline_count);
        return true;
    }
    app->reloads.failed++;
    app->reloads.trouble_at_ns = ut_worker_now(&app->worker);
    memcpy(app->reloads.trouble, error, sizeof(error));
    fprintf(out, "not reloaded: %s\n", error);
    ut_log(app->log, UT_LOG_ERROR, "reload_failed",
           "text=%s effect=\"the configuration before stays in force\"",
           ut_log_quote(shown, sizeof(shown), error));
    return false;
}
