/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/worker.h"

#include <criterion/criterion.h>
#include <unistd.h>

#include "base/clock.h"

static struct ut_worker worker;

static void set_up(void)
{
    cr_assert_eq(ut_worker_init(&worker, (size_t)1 << 20, NULL, NULL), 0);
}

static void tear_down(void)
{
    ut_worker_done(&worker);
}

TestSuite(worker, .init = set_up, .fini = tear_down);

struct work {
    struct ut_deferred deferred;
    int runs;
    int again;          /* times that it puts itself off again */
    struct work *takes; /* another that it takes out */
};

static void on_run(struct ut_deferred *deferred)
{
    struct work *work = UT_CONTAINER_OF(deferred, struct work, deferred);
    work->runs++;
    if (work->again-- > 0)
        ut_worker_defer(&worker, deferred);
    if (work->takes != NULL)
        ut_worker_undefer(&worker, &work->takes->deferred);
}

static struct work make_work(void)
{
    return (struct work){.deferred = {.run = on_run}};
}

static void turn(void)
{
    (void)uv_run(&worker.uv, UV_RUN_NOWAIT);
}

Test(worker, deferred_work_runs_once_however_often_it_is_asked_for)
{
    struct work work = make_work();
    ut_worker_defer(&worker, &work.deferred);
    ut_worker_defer(&worker, &work.deferred);
    cr_expect_eq(work.runs, 0);
    turn();
    cr_expect_eq(work.runs, 1);
    turn();
    cr_expect_eq(work.runs, 1);
}

Test(worker, work_may_be_taken_out_also_by_other_work)
{
    struct work a = make_work(), b = make_work(), c = make_work();
    a.takes = &b;
    ut_worker_defer(&worker, &a.deferred);
    ut_worker_defer(&worker, &b.deferred);
    ut_worker_defer(&worker, &c.deferred);
    ut_worker_undefer(&worker, &c.deferred);
    turn();
    cr_expect_eq(a.runs, 1);
    cr_expect_eq(b.runs, 0);
    cr_expect_eq(c.runs, 0);
    ut_worker_defer(&worker, &b.deferred);
    turn();
    cr_expect_eq(b.runs, 1);
}

Test(worker, work_put_off_by_work_runs_in_the_same_turn_within_bounds)
{
    struct work few = make_work(), many = make_work();
    few.again = 3;
    many.again = 1000;
    ut_worker_defer(&worker, &few.deferred);
    ut_worker_defer(&worker, &many.deferred);
    turn();
    cr_expect_eq(few.runs, 4);
    cr_expect_lt(many.runs, 20);
    for (int i = 0; i < 1000 && many.deferred.queued; i++)
        turn();
    cr_expect_eq(many.runs, 1001);
}

static void on_fire(struct ut_timer *timer, uint64_t now_ns)
{
    cr_expect_geq(now_ns, timer->due_ns, "never early");
    ut_worker_stop(&worker);
}

Test(worker, timer_wakes_a_sleeping_loop)
{
    struct ut_timer timer = {.fire = on_fire};
    /* The loop's own time: it may be older than the clock's. */
    uint64_t due_ns = ut_worker_now(&worker) + 20 * UT_NS_PER_MS + 1;
    ut_timer_set(&worker.timers, &timer, due_ns);
    ut_worker_run(&worker);
    cr_expect_geq(ut_clock_monotonic_ns(), due_ns);
    cr_expect_not(ut_timer_is_set(&timer));
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
}

Test(worker, turn_ends_though_the_loops_time_stood_still, .timeout = 10)
{
    int ends[2];
    uv_poll_t poll; /* what the loop waits for, in vain */
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(uv_poll_init(&worker.uv, &poll, ends[0]), 0);
    cr_assert_eq(uv_poll_start(&poll, UV_READABLE, on_readable), 0);
    (void)usleep(150000);
    ut_worker_turn(&worker);
    uv_close((uv_handle_t *)&poll, NULL);
    turn();
    (void)close(ends[0]);
    (void)close(ends[1]);
}
