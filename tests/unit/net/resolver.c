/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver.h"

#include <criterion/criterion.h>

#include "base/clock.h"

struct fixture {
    struct ut_worker worker;
    struct ut_resolver resolver;
    int changes;
};

static struct fixture f;
static struct ut_metrics *metrics;

static void on_changed(struct ut_resolver *resolver)
{
    (void)resolver;
    f.changes++;
}

static void set_up(void)
{
    metrics = ut_metrics_new();
    f = (struct fixture){.resolver = {.changed = on_changed}};
    cr_assert_eq(ut_worker_init(&f.worker, 1 << 20, NULL, metrics), 0);
}

static void tear_down(void)
{
    ut_resolver_stop(&f.resolver);
    ut_worker_done(&f.worker);
    ut_metrics_free(metrics);
}

TestSuite(resolver, .init = set_up, .fini = tear_down, .timeout = 60);

static void wait_for_answer(void)
{
    while (f.resolver.question != NULL)
        (void)uv_run(&f.worker.uv, UV_RUN_ONCE);
}

Test(resolver, addresses_are_in_order_and_told_once)
{
    ut_resolver_start(&f.resolver, &f.worker, "localhost");
    cr_assert_eq(f.changes, 0, "never from inside start");
    wait_for_answer();
    cr_assert_eq(f.resolver.error, 0);
    cr_assert_geq(f.resolver.count, 1);
    for (size_t i = 1; i < f.resolver.count; i++)
        cr_expect_lt(strcmp(f.resolver.addresses[i - 1], f.resolver.addresses[i]), 0);
    cr_expect_eq(f.changes, 1);
    cr_expect(ut_timer_is_set(&f.resolver.timer));
    ut_timers_run(&f.worker.timers, f.resolver.timer.due_ns);
    cr_assert_not_null(f.resolver.question, "asked again when it is due");
    wait_for_answer();
    cr_expect_eq(f.changes, 1, "the same addresses are no news");
}

Test(resolver, doubt_asks_soon_but_not_at_once)
{
    ut_resolver_start(&f.resolver, &f.worker, "127.0.0.1");
    wait_for_answer();
    uint64_t regular = f.resolver.timer.due_ns;
    ut_resolver_doubt(&f.resolver);
    cr_expect_lt(f.resolver.timer.due_ns, regular);
    cr_expect_geq(f.resolver.timer.due_ns, f.resolver.asked_ns + UT_NS_PER_S);
}

Test(resolver, name_that_there_is_not_keeps_what_was_found)
{
    ut_resolver_start(&f.resolver, &f.worker, "no-such-host.invalid");
    wait_for_answer();
    cr_expect_neq(f.resolver.error, 0);
    cr_expect_eq(f.changes, 0);
    cr_expect(ut_timer_is_set(&f.resolver.timer));
}

Test(resolver, stop_cuts_an_open_question_loose)
{
    ut_resolver_start(&f.resolver, &f.worker, "localhost");
    ut_resolver_stop(&f.resolver);
    cr_expect_null(f.resolver.question);
    ut_resolver_doubt(&f.resolver);
    cr_expect_not(ut_timer_is_set(&f.resolver.timer));
}
