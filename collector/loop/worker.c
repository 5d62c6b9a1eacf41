/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's turn of the loop: timers, then the work put off, then sleep until a socket wakes it.
 *
 * libuv's timer has milliseconds, ours have nanoseconds: `tick` is set to the first whole
 * millisecond at which the earliest timer is due, and time is the loop's own, so nothing fires
 * early and no system call is needed to know it.
 */
#include "loop/worker.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

enum {
    READ_BUFFER_BYTES = 256 << 10,
    POOL_RETAIN_BYTES = 8 << 20,
    /* Work put off by work put off; beyond these rounds sockets get their turn first. */
    DEFERRED_ROUNDS = 8,
};

uint64_t ut_worker_now(const struct ut_worker *worker)
{
    return uv_now(&worker->uv) * UT_NS_PER_MS;
}

static void on_tick(uv_timer_t *tick)
{
    struct ut_worker *worker = tick->data;
    ut_timers_run(&worker->timers, ut_worker_now(worker));
}

static void on_timers_changed(struct ut_timers *timers)
{
    struct ut_worker *worker = UT_CONTAINER_OF(timers, struct ut_worker, timers);
    if (uv_is_closing((uv_handle_t *)&worker->tick))
        return;
    uint64_t due_ns = ut_timers_next(timers);
    if (due_ns == UINT64_MAX) {
        uv_timer_stop(&worker->tick);
        return;
    }
    uint64_t due_ms = due_ns / UT_NS_PER_MS + (due_ns % UT_NS_PER_MS != 0);
    uint64_t now_ms = uv_now(&worker->uv);
    UT_CHECK(uv_timer_start(&worker->tick, on_tick, due_ms > now_ms ? due_ms - now_ms : 0, 0) == 0);
}

static struct ut_deferred *take_first(struct ut_worker *worker)
{
    struct ut_deferred *first = worker->deferred_first;
    worker->deferred_first = first->next;
    if (worker->deferred_first == NULL)
        worker->deferred_last = &worker->deferred_first;
    first->next = NULL;
    first->queued = false;
    return first;
}

/* One round runs what is queued as it begins; `end` marks where the work of the next round starts
 * and, being an entry itself, stays right when entries are taken out meanwhile. */
static void run_round(struct ut_worker *worker)
{
    struct ut_deferred end = {0};
    ut_worker_defer(worker, &end);
    for (;;) {
        struct ut_deferred *first = take_first(worker);
        if (first == &end)
            return;
        first->run(first);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct ut_worker *worker = prepare->data;
    for (int round = 0; worker->deferred_first != NULL && round < DEFERRED_ROUNDS; round++)
        run_round(worker);
    /* What is left keeps the loop from sleeping: a tick that is due at once. */
    if (worker->deferred_first != NULL)
        UT_CHECK(uv_timer_start(&worker->tick, on_tick, 0, 0) == 0);
}

static int open_handles(struct ut_worker *worker)
{
    int error = uv_loop_init(&worker->uv);
    if (error != 0)
        return error;
    UT_CHECK(uv_timer_init(&worker->uv, &worker->tick) == 0);
    UT_CHECK(uv_prepare_init(&worker->uv, &worker->prepare) == 0);
    worker->tick.data = worker;
    worker->prepare.data = worker;
    UT_CHECK(uv_prepare_start(&worker->prepare, on_prepare) == 0);
    return 0;
}

int ut_worker_init(struct ut_worker *worker, size_t budget_bytes, struct ut_log *log,
                   struct ut_metrics *metrics)
{
    *worker = (struct ut_worker){.log = log, .metrics = metrics};
    worker->deferred_last = &worker->deferred_first;
    worker->read_buffer_size = READ_BUFFER_BYTES;
    worker->read_buffer = malloc(READ_BUFFER_BYTES);
    if (worker->read_buffer == NULL)
        return -ENOMEM;
    int error = open_handles(worker);
    if (error != 0) {
        free(worker->read_buffer);
        worker->read_buffer = NULL;
        return error;
    }
    ut_timers_init(&worker->timers);
    worker->timers.changed = on_timers_changed;
    ut_pool_init(&worker->pool, POOL_RETAIN_BYTES);
    ut_budget_init(&worker->budget, budget_bytes);
    return 0;
}

void ut_worker_run(struct ut_worker *worker)
{
    (void)uv_run(&worker->uv, UV_RUN_DEFAULT);
}

void ut_worker_stop(struct ut_worker *worker)
{
    uv_stop(&worker->uv);
}

static void on_turned(uv_timer_t *timer)
{
    (void)timer;
}

void ut_worker_turn(struct ut_worker *worker)
{
    uv_timer_t bound;
    UT_CHECK(uv_timer_init(&worker->uv, &bound) == 0);
    /* Again and again: by the loop's own time, which is that of its last run, it may be due before
     * the wait begins. */
    UT_CHECK(uv_timer_start(&bound, on_turned, 100, 100) == 0);
    (void)uv_run(&worker->uv, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&bound, NULL);
    (void)uv_run(&worker->uv, UV_RUN_NOWAIT);
}

void ut_worker_done(struct ut_worker *worker)
{
    uv_close((uv_handle_t *)&worker->tick, NULL);
    uv_close((uv_handle_t *)&worker->prepare, NULL);
    (void)uv_run(&worker->uv, UV_RUN_DEFAULT);
    UT_CHECK(uv_loop_close(&worker->uv) == 0);
    ut_timers_done(&worker->timers);
    ut_pool_done(&worker->pool);
    free(worker->read_buffer);
}

void ut_worker_defer(struct ut_worker *worker, struct ut_deferred *deferred)
{
    if (deferred->queued)
        return;
    deferred->queued = true;
    deferred->next = NULL;
    *worker->deferred_last = deferred;
    worker->deferred_last = &deferred->next;
}

void ut_worker_undefer(struct ut_worker *worker, struct ut_deferred *deferred)
{
    if (!deferred->queued)
        return;
    struct ut_deferred **link = &worker->deferred_first;
    while (*link != deferred)
        link = &(*link)->next;
    *link = deferred->next;
    if (deferred->next == NULL)
        worker->deferred_last = link;
    deferred->queued = false;
    deferred->next = NULL;
}
