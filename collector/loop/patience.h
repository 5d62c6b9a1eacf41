/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A time that a peer is given to answer in. It is counted in ten steps, and however long one takes
 * it counts for no more than a tenth: while the process does not run (it is stopped, it starves,
 * the machine sleeps) the peer may have answered long ago, and between two steps the loop reads
 * what has come. So nobody is given up for a time in which we did not listen. Pure: no clock.
 */
#ifndef UT_LOOP_PATIENCE_H
#define UT_LOOP_PATIENCE_H

#include "loop/timer.h"

struct ut_patience {
    /* Called once per beginning, when it is at an end; it may begin again. */
    void (*over)(struct ut_patience *patience, uint64_t now_ns);
    struct ut_timers *timers;
    struct ut_timer timer;
    uint64_t step_ns;
    uint32_t steps; /* left, the one under way included */
};

/* Begins, or begins anew. */
void ut_patience_begin(struct ut_patience *patience, struct ut_timers *timers, uint64_t now_ns,
                       uint64_t duration_ns);
/* It will not be over. Fine where it has not begun, all zero included. */
void ut_patience_cancel(struct ut_patience *patience);
static inline bool ut_patience_has_begun(const struct ut_patience *patience)
{
    return ut_timer_is_set(&patience->timer);
}

#endif
