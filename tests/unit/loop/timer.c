/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/timer.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { MANY = 1000 };

struct probe {
    struct ut_timer timer;
    struct ut_timers *timers;
    int fired;
    uint64_t again_ns; /* 0: not again */
    struct probe *cancels;
};

static int order[MANY];
static int order_count;
static int changes;

static void on_fire(struct ut_timer *timer, uint64_t now_ns)
{
    struct probe *probe = UT_CONTAINER_OF(timer, struct probe, timer);
    (void)now_ns;
    probe->fired++;
    if (order_count < MANY)
        order[order_count++] = (int)timer->due_ns;
    if (probe->again_ns != 0)
        ut_timer_set(probe->timers, timer, probe->again_ns);
    if (probe->cancels != NULL)
        ut_timer_cancel(probe->timers, &probe->cancels->timer);
}

static void on_changed(struct ut_timers *timers)
{
    (void)timers;
    changes++;
}

static struct ut_timers timers;

static void set_up(void)
{
    ut_timers_init(&timers);
    timers.changed = on_changed;
}

static void tear_down(void)
{
    ut_timers_done(&timers);
}

TestSuite(timer, .init = set_up, .fini = tear_down);

static struct probe make_probe(void)
{
    return (struct probe){.timer = {.fire = on_fire}, .timers = &timers};
}

Test(timer, fires_in_order_of_deadline_and_only_what_is_due)
{
    static struct probe probes[MANY];
    uint32_t random = 1;
    for (int i = 0; i < MANY; i++) {
        random = random * 1664525 + 1013904223;
        probes[i] = make_probe();
        ut_timer_set(&timers, &probes[i].timer, random >> 12);
    }
    ut_timers_run(&timers, UINT32_MAX >> 13);
    cr_assert_gt(order_count, MANY / 4);
    cr_assert_lt(order_count, MANY);
    for (int i = 1; i < order_count; i++)
        cr_assert_leq(order[i - 1], order[i]);
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(probes[i].fired == 0, probes[i].timer.due_ns > UINT32_MAX >> 13);
}

Test(timer, cancelled_timer_never_fires)
{
    struct probe a = make_probe(), b = make_probe(), c = make_probe();
    ut_timer_set(&timers, &a.timer, 1);
    ut_timer_set(&timers, &b.timer, 2);
    ut_timer_set(&timers, &c.timer, 3);
    ut_timer_cancel(&timers, &b.timer);
    ut_timer_cancel(&timers, &b.timer);
    a.cancels = &c;
    ut_timers_run(&timers, 10);
    cr_expect_eq(a.fired, 1);
    cr_expect_eq(b.fired, 0);
    cr_expect_eq(c.fired, 0, "cancelled by one that fired in the same run");
    cr_expect_eq(ut_timers_next(&timers), UINT64_MAX);
}

Test(timer, setting_again_moves_it_both_ways)
{
    struct probe a = make_probe(), b = make_probe();
    ut_timer_set(&timers, &a.timer, 10);
    ut_timer_set(&timers, &b.timer, 20);
    ut_timer_set(&timers, &a.timer, 30);
    cr_expect_eq(ut_timers_next(&timers), 20);
    ut_timer_set(&timers, &a.timer, 5);
    cr_expect_eq(ut_timers_next(&timers), 5);
    ut_timers_run(&timers, 30);
    cr_expect_eq(a.fired, 1);
    cr_expect_eq(b.fired, 1);
}

Test(timer, one_that_sets_itself_to_the_past_does_not_hold_the_run)
{
    struct probe a = make_probe();
    a.again_ns = 1;
    ut_timer_set(&timers, &a.timer, 1);
    ut_timers_run(&timers, 10);
    cr_expect_eq(a.fired, 1);
    cr_expect(ut_timer_is_set(&a.timer));
}

Test(timer, change_is_told_only_when_the_earliest_deadline_moves)
{
    struct probe a = make_probe(), b = make_probe();
    ut_timer_set(&timers, &a.timer, 10);
    cr_expect_eq(changes, 1);
    ut_timer_set(&timers, &b.timer, 20);
    cr_expect_eq(changes, 1);
    ut_timer_cancel(&timers, &b.timer);
    cr_expect_eq(changes, 1);
    ut_timer_cancel(&timers, &a.timer);
    cr_expect_eq(changes, 2);
}
