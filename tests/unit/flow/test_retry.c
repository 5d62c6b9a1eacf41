/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "flow/queue.h"
#include "flow/retry.h"

#define S UT_NS_PER_S

static struct ut_exporter_settings without_jitter(void)
{
    struct ut_exporter_settings settings = ut_queue_defaults;
    settings.retry_on_failure.randomization_factor = 0;
    settings.retry_on_failure.multiplier = 2;
    return settings;
}

static uint64_t next(const struct ut_exporter_settings *settings, struct ut_backoff *backoff,
                     uint64_t now_ns, uint32_t asked_ms)
{
    uint64_t random = 1, delay = 0;
    const struct ut_retry_clock clock = {settings, now_ns, &random};
    return ut_retry_next(backoff, &clock, asked_ms, &delay) ? delay : 0;
}

Test(retry, interval_grows_to_the_maximum)
{
    struct ut_exporter_settings settings = without_jitter();
    struct ut_backoff backoff = {0};
    const uint64_t expected[] = {5 * S, 10 * S, 20 * S, 30 * S, 30 * S};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        cr_assert_eq(next(&settings, &backoff, 7 * S, 0), expected[i], "step %zu", i);
}

Test(retry, first_interval_never_exceeds_the_maximum)
{
    struct ut_exporter_settings settings = without_jitter();
    settings.retry_on_failure.max_interval_ns = 2 * S;
    struct ut_backoff backoff = {0};
    cr_assert_eq(next(&settings, &backoff, S, 0), 2 * S);
    cr_assert_eq(next(&settings, &backoff, S, 0), 2 * S);
}

Test(retry, jitter_covers_its_range_and_stays_in_it)
{
    struct ut_exporter_settings settings = ut_queue_defaults;
    uint64_t random = 42, least = UINT64_MAX, most = 0, sum = 0;
    enum { ROUNDS = 10000 };
    for (int i = 0; i < ROUNDS; i++) {
        struct ut_backoff backoff = {0};
        uint64_t delay;
        const struct ut_retry_clock clock = {&settings, S, &random};
        cr_assert(ut_retry_next(&backoff, &clock, 0, &delay));
        least = delay < least ? delay : least;
        most = delay > most ? delay : most;
        sum += delay;
    }
    cr_assert_geq(least, 5 * S / 2);
    cr_assert_lt(least, 26 * S / 10);
    cr_assert_leq(most, 15 * S / 2);
    cr_assert_gt(most, 74 * S / 10);
    cr_assert_float_eq((double)sum / ROUNDS / (double)S, 5.0, 0.1);
}

Test(retry, what_the_backend_asks_for_is_obeyed_and_does_not_grow_the_back_off)
{
    struct ut_exporter_settings settings = without_jitter();
    struct ut_backoff backoff = {0};
    cr_assert_eq(next(&settings, &backoff, S, 12000), 12 * S);
    cr_assert_eq(next(&settings, &backoff, S, 100), S / 10);
    cr_assert_eq(next(&settings, &backoff, S, 0), 5 * S);
}

Test(retry, an_absurd_wish_is_cut)
{
    struct ut_exporter_settings settings = without_jitter();
    settings.retry_on_failure.max_elapsed_time_ns = 0;
    struct ut_backoff backoff = {0};
    cr_assert_eq(next(&settings, &backoff, S, UINT32_MAX), 3600 * S);
}

Test(retry, gives_up_when_the_next_try_would_be_too_late)
{
    struct ut_exporter_settings settings = without_jitter();
    settings.retry_on_failure.max_elapsed_time_ns = 20 * S;
    struct ut_backoff backoff = {0};
    cr_assert_eq(next(&settings, &backoff, 100 * S, 0), 5 * S);
    cr_assert_eq(next(&settings, &backoff, 105 * S, 0), 10 * S);
    cr_assert_eq(next(&settings, &backoff, 115 * S, 0), 0);
}

Test(retry, disabled_gives_up_at_once)
{
    struct ut_exporter_settings settings = without_jitter();
    settings.retry_on_failure.enabled = false;
    struct ut_backoff backoff = {0};
    cr_assert_eq(next(&settings, &backoff, S, 0), 0);
}

Test(retry, zero_elapsed_time_goes_on_for_days)
{
    struct ut_exporter_settings settings = ut_queue_defaults;
    settings.retry_on_failure.max_elapsed_time_ns = 0;
    struct ut_backoff backoff = {0};
    uint64_t random = 3, now = 5 * S, tries = 0;
    while (now < 10 * 86400 * S) {
        uint64_t delay;
        const struct ut_retry_clock clock = {&settings, now, &random};
        cr_assert(ut_retry_next(&backoff, &clock, 0, &delay));
        cr_assert_leq(delay, 45 * S);
        now += delay;
        tries++;
    }
    /* 10 days at 30 s on average. */
    cr_assert_gt(tries, 28000);
    cr_assert_lt(tries, 30000);
}

Test(retry, a_zero_interval_still_waits_a_millisecond)
{
    struct ut_exporter_settings settings = without_jitter();
    settings.retry_on_failure.initial_interval_ns = 0;
    struct ut_backoff backoff = {0};
    cr_assert_eq(next(&settings, &backoff, S, 0), UT_NS_PER_MS);
    cr_assert_eq(next(&settings, &backoff, S, 0), UT_NS_PER_MS);
}
