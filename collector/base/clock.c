/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * UT_NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t ut_clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t ut_clock_unix_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t ut_clock_boot_ns(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

int64_t ut_clock_unix_offset_ns(void)
{
    /* The wall clock between two readings of the boot clock; an interrupted pair is read again. */
    int64_t best = 0;
    uint64_t best_width = UINT64_MAX;
    for (int i = 0; i < 3; i++) {
        uint64_t before = ut_clock_boot_ns();
        uint64_t wall = ut_clock_unix_ns();
        uint64_t width = ut_clock_boot_ns() - before;
        if (width < best_width) {
            best_width = width;
            best = (int64_t)(wall - before - width / 2);
        }
    }
    return best;
}
