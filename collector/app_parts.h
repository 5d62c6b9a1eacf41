/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a running program is made of; shared by the app_*.c files, seen by nobody else.
 *
 * Start order: evidence → exporters and their queues → pipelines → receivers are made; then the
 * kernel is watched, then listeners open (so that no connection is older than the watch), then
 * capabilities go, then exporters start. Stop order is flow order, see app_stop.c.
 */
#ifndef UT_APP_PARTS_H
#define UT_APP_PARTS_H

#include "app.h"
#include "component.h"
#include "evidence/evidence.h"
#include "flow/pipeline.h"
#include "telemetry/health.h"
#include "web/http_server.h"

struct ut_app;

enum ut_app_phase {
    UT_APP_RUNNING,
    UT_APP_RECEIVERS, /* receivers of spans finish what is arriving */
    UT_APP_QUEUES,    /* queues send what they hold */
    UT_APP_EXPORTERS, /* exporters let go of what is in flight; the kernel is no longer watched */
    UT_APP_STOPPED,
};

struct ut_app_receiver {
    struct ut_app *app;
    const struct ut_config_component *component;
    const struct ut_receiver_type *type;
    struct ut_receiver *receiver;
    bool watches_kernel;
    bool started;
};

struct ut_app_exporter {
    struct ut_app *app;
    const struct ut_config_component *component;
    const struct ut_exporter_type *type;
    struct ut_exporter *exporter;
    struct ut_queue *queue;
    bool started, drained;
};

struct ut_app {
    const struct ut_config *config;
    struct ut_log *log;
    struct ut_metrics *metrics;
    struct ut_worker worker;
    struct ut_evidence *evidence; /* NULL: no pipeline has a receiver that watches the kernel */
    struct ut_health health;
    uint64_t started_ns; /* monotonic */

    struct ut_extension *extensions; /* as in the config */
    struct ut_app_exporter *exporters;
    size_t exporter_count;
    struct ut_pipeline **pipelines; /* as in the config, NULL until made */
    struct ut_app_receiver *receivers;
    size_t receiver_count;

    struct ut_http_server *web, *admin;
    uv_signal_t signals[3];
    bool has_signals;
    struct ut_timer second; /* ticks once a second */

    enum ut_app_phase phase;
    struct ut_timer deadline;
    bool cut_off;          /* the deadline is over */
    size_t waiting_for;    /* components whose `stopped` is to come */
    struct ut_deferred go; /* the next step of stopping, off the callbacks' stack */
    int exit_code;
};

/* app_build.c: makes and starts all parts; false with the reason in the log. */
bool ut_app_build(struct ut_app *app);
bool ut_app_start(struct ut_app *app);
void ut_app_free_parts(struct ut_app *app);

/* app_stop.c */
void ut_app_stop(struct ut_app *app);

/* app_status.c: opens what one can look at from outside; failures are warnings. */
void ut_app_status_open(struct ut_app *app);
void ut_app_status_close(struct ut_app *app);

/* app_account.c: the one line that accounts for every span. */
void ut_app_account(struct ut_app *app);

/* Bytes that are not for spans in flight: see app_memory.c. */
size_t ut_app_budget_bytes(const struct ut_config *config, bool kernel);
/* Registers the process's own figures. */
void ut_app_memory_metrics(struct ut_app *app);

#endif
