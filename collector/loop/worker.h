/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: one thread, one libuv loop, and what everything on it shares: pool, budget, timers, log
 * and metrics. Nothing here is touched by another thread.
 */
#ifndef UT_LOOP_WORKER_H
#define UT_LOOP_WORKER_H

#include <uv.h>

#include "base/budget.h"
#include "base/log.h"
#include "base/pool.h"
#include "loop/timer.h"
#include "telemetry/metrics.h"

/* Work put off to the end of the loop's present turn, once however often it is asked for. */
struct ut_deferred {
    void (*run)(struct ut_deferred *deferred);
    struct ut_deferred *next;
    bool queued;
};

struct ut_worker {
    uv_loop_t uv;
    uv_timer_t tick;      /* drives `timers` */
    uv_prepare_t prepare; /* runs the deferred work before the loop sleeps */
    struct ut_timers timers;
    struct ut_pool pool;
    struct ut_budget budget;
    struct ut_log *log;         /* borrowed */
    struct ut_metrics *metrics; /* borrowed */
    struct ut_deferred *deferred_first, **deferred_last;
    /* Where every socket of the worker is read into; its bytes are valid until the next read. */
    uint8_t *read_buffer;
    size_t read_buffer_size;
};

/* `budget_bytes` bounds the bytes in flight. 0 or a negative errno. */
int ut_worker_init(struct ut_worker *worker, size_t budget_bytes, struct ut_log *log,
                   struct ut_metrics *metrics) UT_MUST_USE;
/* Runs until ut_worker_stop. */
void ut_worker_run(struct ut_worker *worker);
void ut_worker_stop(struct ut_worker *worker);
/* One turn of the loop that does not run; waits for something to happen, 100 ms at most. */
void ut_worker_turn(struct ut_worker *worker);
/* All handles that others opened on the loop must be closing; runs the loop until they are gone. */
void ut_worker_done(struct ut_worker *worker);

void ut_worker_defer(struct ut_worker *worker, struct ut_deferred *deferred);
/* Takes it out again where it is queued, so that its owner may be freed. */
void ut_worker_undefer(struct ut_worker *worker, struct ut_deferred *deferred);
/* Monotonic; fresh at each loop turn, no system call. */
uint64_t ut_worker_now(const struct ut_worker *worker);

#endif
