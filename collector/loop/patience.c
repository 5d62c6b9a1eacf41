/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/patience.h"

enum { STEPS = 10 };

static void on_step(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_patience *patience = UT_CONTAINER_OF(timer, struct ut_patience, timer);
    if (--patience->steps == 0) {
        patience->over(patience, now_ns);
        return;
    }
    /* A turn that comes a little late does not make the whole longer. */
    uint64_t due_ns = timer->due_ns + patience->step_ns;
    ut_timer_set(patience->timers, timer, due_ns > now_ns ? due_ns : now_ns + patience->step_ns);
}

void ut_patience_begin(struct ut_patience *patience, struct ut_timers *timers, uint64_t now_ns,
                       uint64_t duration_ns)
{
    patience->timers = timers;
    patience->timer.fire = on_step;
    patience->step_ns = duration_ns / STEPS + 1;
    patience->steps = STEPS;
    ut_timer_set(timers, &patience->timer, now_ns + patience->step_ns);
}

void ut_patience_cancel(struct ut_patience *patience)
{
    if (ut_patience_has_begun(patience))
        ut_timer_cancel(patience->timers, &patience->timer);
}
