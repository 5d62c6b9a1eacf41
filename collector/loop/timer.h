/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of one worker: a heap on deadlines, driven by the worker's loop, or by a test in virtual
 * time. Setting and cancelling are synchronous; a cancelled timer never fires. Pure: no clock.
 */
#ifndef UT_LOOP_TIMER_H
#define UT_LOOP_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

/* More than there can be connections and streams. */
#define UT_TIMERS_MAX ((size_t)1 << 23)

struct ut_timer {
    /* Called once per setting, after the timer was taken out; it may set itself again. */
    void (*fire)(struct ut_timer *timer, uint64_t now_ns);
    uint64_t due_ns; /* monotonic */
    size_t position; /* in the heap, from 1; 0: not set */
};

struct ut_timers {
    struct ut_timer **heap; /* from index 1 */
    size_t count;
    uint64_t now_ns; /* monotonic, as of the last run */
    bool running;
    void (*changed)(struct ut_timers *timers); /* the earliest deadline moved; may be NULL */
};

/* Takes the heap's addresses, all that it will ever need; where there are none the program ends.
 * A timer that is set later asks the system for nothing. */
void ut_timers_init(struct ut_timers *timers);
void ut_timers_done(struct ut_timers *timers);
/* Setting again moves it. */
void ut_timer_set(struct ut_timers *timers, struct ut_timer *timer, uint64_t due_ns);
void ut_timer_cancel(struct ut_timers *timers, struct ut_timer *timer); /* not set: nothing */
static inline bool ut_timer_is_set(const struct ut_timer *timer)
{
    return timer->position != 0;
}
/* The earliest deadline, UINT64_MAX if none. */
uint64_t ut_timers_next(const struct ut_timers *timers);
/* Fires what is due at `now_ns`, in order of deadline; at most as many as were set when it began.
 */
void ut_timers_run(struct ut_timers *timers, uint64_t now_ns);

#endif
