/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app_load.h"
#include "app_parts.h"
#include "base/clock.h"

static const int handled_signals[] = {SIGTERM, SIGINT, SIGHUP};

static void on_signal(uv_signal_t *handle, int number)
{
    struct ut_app *app = handle->data;
    if (number == SIGHUP)
        (void)ut_app_reload(app, stderr); /* it says by itself how that went */
    else
        ut_app_stop(app);
}

static void watch_signals(struct ut_app *app)
{
    for (int i = 0; i < 3; i++) {
        UT_CHECK(uv_signal_init(&app->worker.uv, &app->signals[i]) == 0);
        app->signals[i].data = app;
        UT_CHECK(uv_signal_start(&app->signals[i], on_signal, handled_signals[i]) == 0);
    }
    app->has_signals = true;
}

static void forget_signals(struct ut_app *app)
{
    for (int i = 0; app->has_signals && i < 3; i++)
        uv_close((uv_handle_t *)&app->signals[i], NULL);
}

static void on_second(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_app *app = UT_CONTAINER_OF(timer, struct ut_app, second);
    if (app->evidence != NULL)
        ut_evidence_tick(app->evidence, ut_clock_unix_ns());
    ut_timer_set(&app->worker.timers, timer, now_ns + UT_NS_PER_S);
}

/* "otlp, ebpf > correlate, batch > otlp_grpc" */
static void describe_flow(const struct ut_config_pipeline *pipeline, char *out, size_t out_size)
{
    const struct {
        const struct ut_config_component **items;
        size_t count;
    } stages[] = {
        {pipeline->receivers, pipeline->receiver_count},
        {pipeline->processors, pipeline->processor_count},
        {pipeline->exporters, pipeline->exporter_count},
    };
    size_t size = 0;
    for (int stage = 0; stage < 3; stage++) {
        for (size_t i = 0; i < stages[stage].count && size < out_size; i++) {
            const char *joint = size == 0 ? "" : i == 0 ? " > " : ", ";
            size += (size_t)snprintf(out + size, out_size - size, "%s%s", joint,
                                     stages[stage].items[i]->id);
        }
    }
}

static void say_ready(struct ut_app *app)
{
    const struct ut_config *config = app->current->config;
    for (size_t i = 0; i < config->pipeline_count; i++) {
        char flow[512];
        describe_flow(&config->pipelines[i], flow, sizeof(flow));
        ut_log_cause(app->log, UT_LOG_INFO, "ready", config->pipelines[i].id,
                     "pipeline=%s flow=\"%s\" memory_limit_mib=%" PRIu64 " budget_mib=%zu",
                     config->pipelines[i].id, flow, config->program.memory.limit_mib,
                     app->worker.budget.limit >> 20);
    }
}

static void do_nothing(struct ut_work *work)
{
    (void)work;
}

/* libuv makes its threads for the first work and ends the process where it cannot: better before
 * anything is acknowledged than in the first commit. After the rights were dropped, which each
 * thread does for itself. */
static void start_threads(struct ut_app *app)
{
    app->first_work = (struct ut_work){.run = do_nothing, .done = do_nothing};
    ut_work_start(&app->worker, &app->first_work);
}

static void run(struct ut_app *app)
{
    start_threads(app);
    app->second.fire = on_second;
    on_second(&app->second, ut_worker_now(&app->worker));
    app->health.state = UT_HEALTH_READY;
    say_ready(app);
    ut_worker_run(&app->worker);
}

/* After a start that failed, whatever had been opened is stopped in the same order as ever. */
static void unwind(struct ut_app *app)
{
    app->exit_code = 1;
    ut_app_stop(app);
    ut_worker_run(&app->worker);
}

int ut_app_run(const char *path, const struct ut_app_types *types)
{
    struct ut_config *config = ut_app_load(path, types, stderr);
    if (config == NULL)
        return 1;
    struct ut_app *app = calloc(1, sizeof(*app));
    UT_CHECK_MEMORY(app != NULL);
    app->path = path;
    app->types = types;
    app->log = ut_log_new(STDERR_FILENO, (enum ut_log_level)config->telemetry.logs.level);
    app->metrics = ut_metrics_new();
    UT_CHECK_MEMORY(app->log != NULL && app->metrics != NULL);
    ut_log(app->log, UT_LOG_INFO, "starting", "version=%s pid=%d", UT_VERSION, (int)getpid());

    bool built = ut_app_build(app, config);
    if (built) {
        watch_signals(app);
        if (ut_app_start(app))
            run(app);
        else
            unwind(app);
    }
    int exit_code = built ? app->exit_code : 1;
    ut_metrics_remove(app->metrics, app);
    ut_app_free_parts(app);
    forget_signals(app);
    if (app->worker.read_buffer != NULL)
        ut_worker_done(&app->worker);
    ut_metrics_free(app->metrics);
    ut_log_free(app->log);
    free(app);
    return exit_code;
}
