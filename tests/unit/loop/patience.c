/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/patience.h"

#include <criterion/criterion.h>

#define MS UINT64_C(1000000)

static struct ut_timers timers;
static int over;

static void on_over(struct ut_patience *patience, uint64_t now_ns)
{
    (void)patience, (void)now_ns;
    over++;
}

static struct ut_patience patience = {.over = on_over};

static void set_up(void)
{
    ut_timers_init(&timers);
}

static void tear_down(void)
{
    ut_timers_done(&timers);
}

TestSuite(patience, .init = set_up, .fini = tear_down);

/* The loop turns each 10 ms. When it was over; 0: it was not. */
static uint64_t run(uint64_t from_ns, uint64_t to_ns)
{
    for (uint64_t now = from_ns; now <= to_ns; now += 10 * MS) {
        ut_timers_run(&timers, now);
        if (over > 0)
            return now;
    }
    return 0;
}

Test(patience, lasts_as_long_as_it_should_while_the_process_runs)
{
    static const uint64_t durations_ms[] = {10, 100, 250, 2500, 20000};
    for (size_t i = 0; i < sizeof(durations_ms) / sizeof(durations_ms[0]); i++) {
        over = 0;
        ut_patience_begin(&patience, &timers, 0, durations_ms[i] * MS);
        uint64_t took_ms = run(0, 30000 * MS) / MS;
        cr_expect_geq(took_ms, durations_ms[i]);
        cr_expect_leq(took_ms, durations_ms[i] + 100, "each step may wait for a turn");
        cr_expect_not(ut_patience_has_begun(&patience));
    }
}

Test(patience, does_not_count_what_the_process_did_not_see)
{
    ut_patience_begin(&patience, &timers, 0, 2500 * MS);
    cr_expect_eq(run(0, 1100 * MS), 0);
    uint64_t day = 86400000 * MS;
    ut_timers_run(&timers, day); /* the first turn after it */
    cr_expect_eq(over, 0, "there was no turn to hear the peer in");
    /* The step that it fell into, the fifth, counts for one. */
    cr_expect_eq(run(day + 10 * MS, day + 1240 * MS), 0);
    cr_expect_neq(run(day + 1250 * MS, day + 1350 * MS), 0);
    cr_expect_eq(over, 1);
}

/* The worst case: each turn comes too late. */
Test(patience, leaves_turns_to_hear_the_peer_in_however_late_they_come)
{
    int turns = 0;
    ut_patience_begin(&patience, &timers, 0, 2500 * MS);
    for (uint64_t now = 3000 * MS; over == 0; now += 3000 * MS, turns++)
        ut_timers_run(&timers, now);
    cr_expect_eq(turns, 10);
}

Test(patience, begins_anew_and_is_cancelled)
{
    ut_patience_cancel(&patience); /* which has not begun */
    ut_patience_begin(&patience, &timers, 0, 500 * MS);
    cr_expect_eq(run(0, 400 * MS), 0);
    ut_patience_begin(&patience, &timers, 400 * MS, 500 * MS);
    cr_expect_eq(run(400 * MS, 890 * MS), 0);
    ut_patience_cancel(&patience);
    cr_expect_eq(run(890 * MS, 5000 * MS), 0);
    cr_expect_eq(timers.count, 0);
}
