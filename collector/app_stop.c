/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stop order is flow order:
 *
 *   not ready → receivers of spans stop accepting and finish what is arriving → processors pass on
 *   what they hold (the last join still reads the kernel) → queues drain → at the deadline what is
 *   left is dropped and counted → exporters stop → the kernel is no longer watched → the loop ends
 *
 * Steps are taken from the loop (`go`), never from inside a component's callback, because a step
 * may free what is calling. The deadline is one for everything; a second signal makes it now. What
 * still has not stopped a second after it is cut off: the line of account is written and the
 * process ends.
 */
#include <unistd.h>

#include "app_parts.h"
#include "base/clock.h"

#define GRACE_NS UT_NS_PER_S /* for components to let go after the deadline */

static void go_on(struct ut_app *app)
{
    ut_worker_defer(&app->worker, &app->go);
}

/* ---- answers of the components -----------------------------------------------------------------
 */

static void on_stopped(void *arg)
{
    struct ut_app *app = arg;
    UT_CHECK(app->waiting_for > 0);
    app->waiting_for--;
    go_on(app);
}

static void on_generation_stopped(struct ut_app_generation *generation)
{
    go_on(generation->app);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void stop_receivers(struct ut_app *app, bool kernel)
{
    for (struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (!part->started || part->retired || part->watches_kernel != kernel)
            continue;
        part->started = false;
        app->waiting_for++;
        part->type->stop(part->receiver, on_stopped, app);
    }
}

static void stop_containerd(struct ut_app *app)
{
    if (app->containerd == NULL)
        return;
    app->waiting_for++;
    ut_containerd_stop(app->containerd, on_stopped, app);
}

/* Receivers that a reload has left behind. */
static bool any_retired(const struct ut_app *app)
{
    for (const struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (part->retired)
            return true;
    }
    return false;
}

static void cut_off_generations(struct ut_app *app)
{
    ut_app_generation_cut_off(app->current);
    for (struct ut_app_generation *g = app->retiring; g != NULL; g = g->next)
        ut_app_generation_cut_off(g);
}

static void close_handles(struct ut_app *app)
{
    ut_timer_cancel(&app->worker.timers, &app->second);
    ut_timer_cancel(&app->worker.timers, &app->deadline);
    ut_app_status_close(app);
    ut_app_account(app);
    ut_worker_stop(&app->worker);
}

/* Takes every step whose condition holds by now. */
static void on_go(struct ut_deferred *deferred)
{
    struct ut_app *app = UT_CONTAINER_OF(deferred, struct ut_app, go);
    bool quiet = app->waiting_for == 0 && !any_retired(app);
    if (app->phase == UT_APP_RECEIVERS && (app->cut_off || quiet)) {
        app->phase = UT_APP_QUEUES;
        ut_app_generation_retire(app->current, on_generation_stopped);
    }
    if (app->phase == UT_APP_QUEUES && app->current->phase == UT_GENERATION_STOPPED &&
        app->retiring == NULL) {
        app->phase = UT_APP_KERNEL;
        stop_receivers(app, true);
        stop_containerd(app);
    }
    if (app->phase == UT_APP_KERNEL && app->waiting_for == 0) {
        app->phase = UT_APP_STOPPED;
        close_handles(app);
    }
}

void ut_app_stop_go_on(struct ut_app *app)
{
    if (app->phase != UT_APP_RUNNING)
        go_on(app);
}

/* A component does not let go. Freeing what it may still use would be worse than leaving. */
static void give_up(struct ut_app *app)
{
    ut_log(app->log, UT_LOG_ERROR, "stop_incomplete",
           "text=\"components are still busy after the deadline; leaving without them\"");
    ut_app_account(app);
    _exit(1);
}

static void on_deadline(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_app *app = UT_CONTAINER_OF(timer, struct ut_app, deadline);
    if (app->cut_off) {
        give_up(app);
        return;
    }
    app->cut_off = true;
    cut_off_generations(app);
    ut_timer_set(&app->worker.timers, &app->deadline, now_ns + GRACE_NS);
    go_on(app);
}

void ut_app_stop(struct ut_app *app)
{
    uint64_t now = ut_worker_now(&app->worker);
    if (app->phase != UT_APP_RUNNING) {
        ut_log(app->log, UT_LOG_WARN, "stopping_now",
               "text=\"second signal: what is held is dropped and counted\"");
        if (!app->cut_off)
            ut_timer_set(&app->worker.timers, &app->deadline, now);
        return;
    }
    app->phase = UT_APP_RECEIVERS;
    app->health.state = UT_HEALTH_STOPPING;
    app->go.run = on_go;
    app->deadline.fire = on_deadline;
    ut_log(app->log, UT_LOG_INFO, "stopping", "timeout_s=%.3g",
           (double)app->current->config->program.shutdown_timeout_ns / 1e9);
    ut_timer_set(&app->worker.timers, &app->deadline,
                 now + app->current->config->program.shutdown_timeout_ns);
    stop_receivers(app, false);
    ut_app_reload_stop(app);
    go_on(app);
}
