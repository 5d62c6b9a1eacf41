/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker in virtual time: pool, budget, timers and metrics of a real one, but no loop behind it.
 * Time moves only in virtual_worker_advance, which fires what falls due on the way, in order.
 */
#ifndef UT_TEST_VIRTUAL_WORKER_H
#define UT_TEST_VIRTUAL_WORKER_H

#include "base/clock.h"
#include "loop/worker.h"

#define VIRTUAL_START_MS 1000000

static inline void virtual_worker_init(struct ut_worker *worker)
{
    *worker = (struct ut_worker){0};
    worker->deferred_last = &worker->deferred_first;
    worker->uv.time = VIRTUAL_START_MS;
    ut_timers_init(&worker->timers);
    ut_pool_init(&worker->pool, (size_t)8 << 20);
    ut_budget_init(&worker->budget, (size_t)64 << 20);
    worker->metrics = ut_metrics_new();
}

/* Checks, in ut_pool_done, that every block was given back. */
static inline void virtual_worker_done(struct ut_worker *worker)
{
    ut_timers_done(&worker->timers);
    ut_pool_done(&worker->pool);
    ut_metrics_free(worker->metrics);
}

static inline void virtual_worker_advance(struct ut_worker *worker, uint64_t ms)
{
    uint64_t end_ms = worker->uv.time + ms;
    for (;;) {
        uint64_t due_ns = ut_timers_next(&worker->timers);
        uint64_t due_ms = due_ns / UT_NS_PER_MS + (due_ns % UT_NS_PER_MS != 0);
        if (due_ms > end_ms)
            break;
        if (due_ms > worker->uv.time)
            worker->uv.time = due_ms;
        ut_timers_run(&worker->timers, worker->uv.time * UT_NS_PER_MS);
    }
    worker->uv.time = end_ms;
}

#endif
