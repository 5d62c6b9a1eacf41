/* SPDX-License-Identifier: Apache-2.0 */
#include "net/rate_floor.h"

#include "base/clock.h"

static uint64_t worth_ns(uint64_t bytes, uint64_t rate)
{
    uint64_t seconds = bytes / rate;
    return seconds >= UINT64_MAX / UT_NS_PER_S / 2
               ? UINT64_MAX / 2
               : seconds * UT_NS_PER_S + bytes % rate * UT_NS_PER_S / rate;
}

uint64_t ut_rate_floor_due(struct ut_rate_floor *floor, const struct ut_rate_floor_limits *limits,
                           uint64_t since_ns, uint64_t bytes, uint64_t now_ns)
{
    if (limits->rate == 0)
        return UINT64_MAX;
    if (floor->looked_ns == 0 || since_ns > floor->looked_ns)
        floor->due_ns = since_ns + limits->grace_ns;
    /* At the first look that is more than came since then, which does no harm. */
    floor->due_ns += worth_ns(bytes - floor->bytes, limits->rate);
    if (floor->due_ns > now_ns + limits->grace_ns)
        floor->due_ns = now_ns + limits->grace_ns;
    floor->bytes = bytes;
    floor->looked_ns = now_ns;
    return floor->due_ns;
}
