/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a running program is made of; shared by the app_*.c files, seen by nobody else.
 *
 * Start order: evidence → disk holds (while there is one thread) → a generation (exporters and
 * their queues, pipelines) → receivers are made; then the kernel is watched, then listeners open
 * (so that no connection is older than the watch), then capabilities go, then exporters start. Stop
 * order is flow order, see app_stop.c.
 *
 * A reload (app_reload.c) makes another generation, with receivers of its own, and retires the one
 * before. The worker, the evidence and what watches the kernel stay; all else goes with its
 * configuration.
 */
#ifndef UT_APP_PARTS_H
#define UT_APP_PARTS_H

#include <stdio.h>

#include "app.h"
#include "component.h"
#include "config/config.h"
#include "evidence/containerd.h"
#include "evidence/evidence.h"
#include "flow/pipeline.h"
#include "loop/work.h"
#include "telemetry/health.h"
#include "web/http_server.h"

struct ut_app;
struct ut_app_generation;

#define UT_APP_ERROR (UT_ERROR_TEXT + 128) /* bytes of "component: reason" */

enum ut_app_phase {
    UT_APP_RUNNING,
    UT_APP_RECEIVERS, /* receivers of spans finish what is arriving */
    UT_APP_QUEUES,    /* queues send what they hold, exporters let go of what is in flight */
    UT_APP_KERNEL,    /* the kernel is no longer watched */
    UT_APP_STOPPED,
};

struct ut_app_receiver {
    struct ut_app *app;
    struct ut_app_generation *generation; /* whose configuration it was made with */
    const struct ut_config_component *component;
    const struct ut_receiver_type *type;
    struct ut_receiver *receiver;
    struct ut_app_receiver *next;
    bool watches_kernel; /* it stays over reloads; the component is that of the present one */
    bool started;
    /* While a reload is made: it has come with it, and whom it takes over from (NULL: nobody). */
    bool fresh;
    struct ut_app_receiver *before;
    struct ut_app_receiver *heir;     /* has taken over from it; NULL: nobody */
    bool retired, stopping;           /* it goes when its connections have; they are sent away */
    struct ut_app_generation *blocks; /* that waits for it before it drains; NULL: none */
    struct ut_deferred gone;          /* frees it, off its own stack */
};

/* A directory, whichever pipelines use it, over all reloads. */
struct ut_app_hold {
    struct ut_config_storage config; /* its texts are copies */
    bool durable;
    struct ut_keeping keeping;
    struct ut_hold *hold; /* NULL: closed */
    struct ut_app_hold *next;
};

struct ut_app_exporter {
    struct ut_app_generation *generation;
    const struct ut_config_component *component;
    const struct ut_exporter_type *type;
    struct ut_exporter *exporter;
    struct ut_queue *queue;
    bool started, drained;
};

/* What a configuration makes and a reload replaces. States: serving → draining (the pipelines are
 * flushed, the queues send what they hold) → stopping (exporters let go) → stopped. */
struct ut_app_generation {
    struct ut_app *app;
    struct ut_config *config;        /* owned; everything in it is borrowed by the parts */
    struct ut_extension *extensions; /* as in the config */
    struct ut_app_exporter *exporters;
    size_t exporter_count;
    struct ut_pipeline **pipelines; /* as in the config, NULL until made */
    struct ut_app_generation *next; /* among those that retire */
    enum ut_generation_phase {
        UT_GENERATION_SERVING,
        UT_GENERATION_DRAINING,
        UT_GENERATION_STOPPING,
        UT_GENERATION_STOPPED,
    } phase;
    bool cut_off;          /* what its queues hold is dropped now, and counted */
    size_t receivers;      /* that were made with its configuration */
    size_t blocked;        /* by so many receivers that stop and still push to it */
    size_t waiting_for;    /* exporters whose `stopped` is to come */
    struct ut_deferred go; /* its next step, off the callbacks' stack */
    struct ut_timer deadline;
    void (*stopped)(struct ut_app_generation *generation);
};

/* The books of exporters whose generation is gone, by id. */
struct ut_app_retired {
    char *id;
    struct ut_queue_books books;
    struct ut_app_retired *next;
};

struct ut_app_types;

struct ut_app {
    const char *path; /* of the configuration; NULL: the preset */
    const struct ut_app_types *types;
    struct ut_log *log;
    struct ut_metrics *metrics;
    struct ut_worker worker;
    struct ut_work first_work;        /* starts libuv's threads */
    struct ut_evidence *evidence;     /* NULL: no pipeline has a receiver that watches the kernel */
    struct ut_containerd *containerd; /* NULL: it is not asked */
    struct ut_health health;
    uint64_t started_ns; /* monotonic */

    struct ut_app_hold *holds;
    struct ut_app_generation *current, *retiring;
    struct ut_app_retired *retired;
    struct ut_app_receiver *receivers; /* those that leave among them */
    struct ut_app_reloads {
        uint64_t done, failed;
        char trouble[UT_APP_ERROR]; /* why the last one failed; "": it did not */
        uint64_t trouble_at_ns;     /* monotonic */
    } reloads;

    struct ut_http_server *web, *admin;
    uv_signal_t signals[3];
    bool has_signals;
    struct ut_timer second; /* ticks once a second */

    enum ut_app_phase phase;
    struct ut_timer deadline;
    bool cut_off;          /* the deadline is over */
    size_t waiting_for;    /* receivers whose `stopped` is to come */
    struct ut_deferred go; /* the next step of stopping, off the callbacks' stack */
    int exit_code;
};

/* app_build.c: makes and starts all parts; false with the reason in the log. `config` is taken over
 * in any case. */
bool ut_app_build(struct ut_app *app, struct ut_config *config);
bool ut_app_start(struct ut_app *app);
void ut_app_free_parts(struct ut_app *app);
/* A receiver of `generation`, not started; NULL: the reason is in `error`. */
struct ut_app_receiver *ut_app_receiver_new(struct ut_app_generation *generation,
                                            const struct ut_config_component *component,
                                            char error[UT_APP_ERROR]);
void ut_app_receiver_free(struct ut_app_receiver *part);
bool ut_app_receiver_start(struct ut_app_receiver *part, char error[UT_APP_ERROR]);
struct ut_build ut_app_build_of(struct ut_app_generation *generation,
                                const struct ut_config_component *component);

/* app_generation.c. Makes its parts; takes `config` over in any case. NULL: the component and the
 * reason are in `error`. */
struct ut_app_generation *ut_app_generation_new(struct ut_app *app, struct ut_config *config,
                                                char error[UT_APP_ERROR]);
bool ut_app_generation_start(struct ut_app_generation *generation, char error[UT_APP_ERROR]);
/* Frees its exporters and pipelines, and adds their books to the retired ones. Nothing of it may be
 * in flight. The configuration stays for the receivers. */
void ut_app_generation_free_parts(struct ut_app_generation *generation);
/* All of it. NULL is fine. */
void ut_app_generation_free(struct ut_app_generation *generation);
/* Where a receiver pushes: the front of the pipeline that names it. */
struct ut_push_target *ut_app_generation_target(const struct ut_app_generation *generation,
                                                const struct ut_config_component *receiver);
/* Drains and stops it, then calls stopped(generation) from the loop. */
void ut_app_generation_retire(struct ut_app_generation *generation,
                              void (*stopped)(struct ut_app_generation *generation));
/* Does not wait for its queues any longer. */
void ut_app_generation_cut_off(struct ut_app_generation *generation);

/* Its queues are those that read back what is on disk. */
void ut_app_generation_serve(struct ut_app_generation *generation);

/* app_holds.c: opens the disk holds that the generation's configuration names and that are not open
 * yet; false: the reason is in `error`. Blocks for a moment. */
bool ut_app_open_holds(struct ut_app_generation *generation, char error[UT_APP_ERROR]);
/* The one that keeps what the pipeline accepts; NULL: none does. */
struct ut_keeping *ut_app_keeping_of(struct ut_app *app, const struct ut_config_pipeline *pipeline);
/* The one that an exporter's queue reads back from. */
struct ut_keeping *ut_app_keeping_for(const struct ut_app_generation *generation,
                                      const struct ut_config_component *exporter);
/* Spans of an exporter that are on disk alone, whoever has them in its books. */
uint64_t ut_app_spans_on_disk(const struct ut_app *app, const char *exporter);
/* Commits what is finished and closes them; turns the loop for it. */
void ut_app_close_holds(struct ut_app *app);
void ut_app_free_holds(struct ut_app *app);

/* app_reload.c: reads the configuration again and takes it into use. What there is to say goes to
 * `out` as text for people, and to the log. False: nothing has changed. */
bool ut_app_reload(struct ut_app *app, FILE *out);
/* The receivers that reloads have left behind send their connections away. */
void ut_app_reload_stop(struct ut_app *app);

/* app_stop.c */
void ut_app_stop(struct ut_app *app);
/* What a stop may wait for has gone. */
void ut_app_stop_go_on(struct ut_app *app);

/* app_status.c: opens what one can look at from outside; failures are warnings. */
void ut_app_status_open(struct ut_app *app);
void ut_app_status_close(struct ut_app *app);

/* app_status_queue.c: the exporters, a row each; the caller's. */
struct json_t;
struct json_t *ut_app_describe_exporters(const struct ut_app *app);
/* app_status_storage.c: the disk holds; the caller's. */
struct json_t *ut_app_describe_holds(const struct ut_app *app);

/* app_account.c: the one line that accounts for every span. */
void ut_app_account(struct ut_app *app);
/* The books of the exporter of that id, with those of its predecessors that reloads have retired.
 */
void ut_app_books(const struct ut_app *app, const char *id, struct ut_queue_books *ret);

/* Bytes that are not for spans in flight: see app_memory.c. */
size_t ut_app_budget_bytes(const struct ut_config *config, bool kernel);
/* Registers the process's own figures. */
void ut_app_memory_metrics(struct ut_app *app);

#endif
