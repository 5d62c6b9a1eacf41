/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A binary heap on deadlines, from index 1, in which every timer knows its position.
 *
 * Invariants: 1. heap[t->position] == t for every timer that is set; 2. no timer is due before its
 * parent; 3. `changed` is called after, never during, a change.
 */
#include "loop/timer.h"

#include <sys/mman.h>

/* 64 MiB of addresses; only what has been used of them is memory. */
#define HEAP_BYTES (UT_TIMERS_MAX * sizeof(struct ut_timer *))

void ut_timers_init(struct ut_timers *timers)
{
    void *heap = mmap(NULL, HEAP_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    UT_CHECK_MEMORY(heap != MAP_FAILED);
    *timers = (struct ut_timers){.heap = heap};
}

void ut_timers_done(struct ut_timers *timers)
{
    for (size_t i = 1; i <= timers->count; i++)
        timers->heap[i]->position = 0;
    if (timers->heap != NULL)
        (void)munmap(timers->heap, HEAP_BYTES);
    *timers = (struct ut_timers){0};
}

static void place(struct ut_timers *timers, struct ut_timer *timer, size_t position)
{
    timers->heap[position] = timer;
    timer->position = position;
}

static void move_up(struct ut_timers *timers, struct ut_timer *timer, size_t position)
{
    while (position > 1 && timers->heap[position / 2]->due_ns > timer->due_ns) {
        place(timers, timers->heap[position / 2], position);
        position /= 2;
    }
    place(timers, timer, position);
}

static void move_down(struct ut_timers *timers, struct ut_timer *timer, size_t position)
{
    for (;;) {
        size_t child = position * 2;
        if (child > timers->count)
            break;
        if (child < timers->count && timers->heap[child + 1]->due_ns < timers->heap[child]->due_ns)
            child++;
        if (timers->heap[child]->due_ns >= timer->due_ns)
            break;
        place(timers, timers->heap[child], position);
        position = child;
    }
    place(timers, timer, position);
}

static void settle(struct ut_timers *timers, struct ut_timer *timer, size_t position)
{
    move_up(timers, timer, position);
    if (timer->position == position)
        move_down(timers, timer, position);
}

static void take_out(struct ut_timers *timers, struct ut_timer *timer)
{
    size_t position = timer->position;
    struct ut_timer *last = timers->heap[timers->count--];
    timer->position = 0;
    if (last != timer)
        settle(timers, last, position);
}

/* While timers fire (`running`) the earliest deadline is told once, at the end. */
static void tell(struct ut_timers *timers, uint64_t earliest_before)
{
    if (!timers->running && timers->changed != NULL && ut_timers_next(timers) != earliest_before)
        timers->changed(timers);
}

void ut_timer_set(struct ut_timers *timers, struct ut_timer *timer, uint64_t due_ns)
{
    uint64_t earliest = ut_timers_next(timers);
    timer->due_ns = due_ns;
    if (timer->position == 0) {
        UT_CHECK(timers->count + 1 < UT_TIMERS_MAX);
        move_up(timers, timer, ++timers->count);
    } else {
        settle(timers, timer, timer->position);
    }
    tell(timers, earliest);
}

void ut_timer_cancel(struct ut_timers *timers, struct ut_timer *timer)
{
    if (timer->position == 0)
        return;
    uint64_t earliest = ut_timers_next(timers);
    take_out(timers, timer);
    tell(timers, earliest);
}

uint64_t ut_timers_next(const struct ut_timers *timers)
{
    return timers->count > 0 ? timers->heap[1]->due_ns : UINT64_MAX;
}

/* A timer that sets itself to a time that has passed must not hold the loop: no more fire in one
 * run than were set when it began. */
void ut_timers_run(struct ut_timers *timers, uint64_t now_ns)
{
    timers->now_ns = now_ns;
    timers->running = true;
    for (size_t left = timers->count; left > 0 && ut_timers_next(timers) <= now_ns; left--) {
        struct ut_timer *timer = timers->heap[1];
        take_out(timers, timer);
        timer->fire(timer, now_ns);
    }
    timers->running = false;
    if (timers->changed != NULL)
        timers->changed(timers);
}
