/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/retry.h"

#include "base/clock.h"

/* splitmix64: one multiply-xor chain over a counter; any seed is a good one. */
uint64_t ut_retry_random(uint64_t *random)
{
    uint64_t z = *random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* `interval` ± up to `factor` of it, evenly spread. */
static uint64_t spread(uint64_t interval_ns, double factor, uint64_t *random)
{
    double unit = (double)(ut_retry_random(random) >> 11) * 0x1p-53; /* [0, 1) */
    double scale = 1 - factor + 2 * factor * unit;
    return (uint64_t)((double)interval_ns * scale);
}

static uint64_t grow(uint64_t interval_ns, double multiplier, uint64_t max_ns)
{
    double next = (double)interval_ns * multiplier;
    return next < (double)max_ns ? (uint64_t)next : max_ns;
}

uint64_t ut_retry_asked_ns(uint32_t asked_ms)
{
    return (asked_ms < UT_RETRY_ASKED_MAX_MS ? asked_ms : UT_RETRY_ASKED_MAX_MS) * UT_NS_PER_MS;
}

uint64_t ut_retry_interval(const struct ut_exporter_settings *settings, struct ut_backoff *backoff,
                           uint64_t *random)
{
    uint64_t max_ns = settings->retry_on_failure.max_interval_ns;
    if (backoff->interval_ns == 0) {
        uint64_t first = settings->retry_on_failure.initial_interval_ns;
        backoff->interval_ns = first < max_ns ? first : max_ns;
    } else {
        backoff->interval_ns =
            grow(backoff->interval_ns, settings->retry_on_failure.multiplier, max_ns);
    }
    /* Zero would start the back-off anew with each failure. */
    if (backoff->interval_ns == 0)
        backoff->interval_ns = 1;
    uint64_t delay =
        spread(backoff->interval_ns, settings->retry_on_failure.randomization_factor, random);
    return delay > UT_NS_PER_MS ? delay : UT_NS_PER_MS;
}

bool ut_retry_next(struct ut_backoff *backoff, const struct ut_retry_clock *clock,
                   uint32_t asked_ms, uint64_t *ret_delay_ns)
{
    const struct ut_exporter_settings *settings = clock->settings;
    if (!settings->retry_on_failure.enabled)
        return false;
    if (backoff->first_failure_ns == 0)
        backoff->first_failure_ns = clock->now_ns;
    uint64_t delay = asked_ms != 0 ? ut_retry_asked_ns(asked_ms)
                                   : ut_retry_interval(settings, backoff, clock->random);
    uint64_t limit = settings->retry_on_failure.max_elapsed_time_ns;
    if (limit != 0 && clock->now_ns - backoff->first_failure_ns + delay > limit)
        return false;
    *ret_delay_ns = delay;
    return true;
}
