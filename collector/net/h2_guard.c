/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_guard.h"

#include "base/check.h"
#include "base/clock.h"

static const struct bucket {
    uint16_t full, per_answer, per_second;
} buckets[UT_H2_BUCKETS] = {
    [UT_H2_HIT_CANCELS] = {100, 1, 1},        [UT_H2_HIT_RESETS] = {100, 1, 1},
    [UT_H2_HIT_EARLY_STREAMS] = {1000, 0, 0}, [UT_H2_HIT_SETTINGS] = {100, 1, 1},
    [UT_H2_HIT_PINGS] = {100, 1, 0}, /* in time by an interval of its own */
    [UT_H2_HIT_WINDOWS] = {1000, 8, 8},       [UT_H2_HIT_EMPTY_FRAMES] = {100, 1, 1},
    [UT_H2_HIT_OTHER_FRAMES] = {100, 1, 1},
};

static void gain(struct ut_h2_guard *guard, int kind, uint64_t tokens)
{
    uint64_t room = buckets[kind].full - guard->left[kind];
    guard->left[kind] = (uint16_t)(guard->left[kind] + (tokens < room ? tokens : room));
}

/* Whole intervals that have passed since `*since_ns`, which moves on by them. */
static uint64_t intervals(uint64_t *since_ns, uint64_t now_ns, uint64_t interval_ns)
{
    if (now_ns <= *since_ns)
        return 0;
    uint64_t count = (now_ns - *since_ns) / interval_ns;
    *since_ns += count * interval_ns;
    return count;
}

static void refill(struct ut_h2_guard *guard, uint64_t now_ns, bool open)
{
    uint64_t seconds = intervals(&guard->filled_ns, now_ns, UT_NS_PER_S);
    for (int kind = 0; kind < UT_H2_BUCKETS && seconds > 0; kind++)
        gain(guard, kind, seconds * buckets[kind].per_second);
    uint64_t pings = intervals(&guard->ping_filled_ns, now_ns, guard->ping_interval_ns);
    if (open || guard->ping_idle)
        gain(guard, UT_H2_HIT_PINGS, pings);
}

void ut_h2_guard_init(struct ut_h2_guard *guard, uint64_t ping_interval_ns, bool ping_idle)
{
    *guard = (struct ut_h2_guard){
        .ping_interval_ns = ping_interval_ns > 0 ? ping_interval_ns : UT_NS_PER_S,
        .ping_idle = ping_idle,
    };
    for (int kind = 0; kind < UT_H2_BUCKETS; kind++)
        guard->left[kind] = buckets[kind].full;
}

bool ut_h2_guard_take(struct ut_h2_guard *guard, enum ut_h2_hit kind, uint64_t now_ns, bool open)
{
    UT_CHECK((int)kind < UT_H2_BUCKETS);
    refill(guard, now_ns, open);
    if (guard->left[kind] == 0)
        return false;
    guard->left[kind]--;
    return true;
}

void ut_h2_guard_credit(struct ut_h2_guard *guard)
{
    for (int kind = 0; kind < UT_H2_BUCKETS; kind++)
        gain(guard, kind, buckets[kind].per_answer);
}

const char *ut_h2_hit_name(enum ut_h2_hit hit)
{
    static const char *const names[UT_H2_HITS] = {
        [UT_H2_HIT_CANCELS] = "cancels",
        [UT_H2_HIT_RESETS] = "resets",
        [UT_H2_HIT_EARLY_STREAMS] = "early_streams",
        [UT_H2_HIT_SETTINGS] = "settings",
        [UT_H2_HIT_PINGS] = "pings",
        [UT_H2_HIT_WINDOWS] = "windows",
        [UT_H2_HIT_EMPTY_FRAMES] = "empty_frames",
        [UT_H2_HIT_OTHER_FRAMES] = "other_frames",
        [UT_H2_HIT_HEADERS] = "headers",
        [UT_H2_HIT_CONTINUATIONS] = "continuations",
        [UT_H2_HIT_UNREAD] = "unread",
        [UT_H2_HIT_PROTOCOL] = "protocol",
    };
    UT_CHECK(hit < UT_H2_HITS);
    return names[hit];
}
