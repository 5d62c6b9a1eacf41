/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "flow/circuit.h"
#include "flow/queue.h"

#define S UT_NS_PER_S

static struct ut_exporter_settings settings;
static struct ut_circuit circuit;
static uint64_t random_state, now_ns;

static const struct ut_outcome sent = {.result = UT_SENT};
static const struct ut_outcome unavailable = {.result = UT_RETRY, .cause = UT_SETBACK_UNAVAILABLE};
static const struct ut_outcome throttled = {.result = UT_RETRY, .after_ms = 7000};

static void prepare(void)
{
    settings = ut_queue_defaults;
    settings.retry_on_failure.randomization_factor = 0;
    settings.retry_on_failure.multiplier = 2;
    circuit = (struct ut_circuit){0};
    random_state = 1;
    now_ns = 100 * S;
}

TestSuite(circuit, .init = prepare);

static enum ut_circuit_change answer(const struct ut_outcome *outcome, bool probe)
{
    const struct ut_retry_clock clock = {&settings, now_ns, &random_state};
    return ut_circuit_answer(&circuit, outcome, probe, &clock);
}

static void fail_times(int times)
{
    for (int i = 0; i < times; i++)
        cr_assert_eq(answer(&unavailable, false), UT_CIRCUIT_SAME);
}

static void open_it(void)
{
    fail_times(UT_CIRCUIT_FAILURES - 1);
    cr_assert_eq(answer(&unavailable, false), UT_CIRCUIT_OPENED);
}

Test(circuit, opens_after_five_failures_in_a_row)
{
    fail_times(4);
    cr_assert(ut_circuit_allows(&circuit, now_ns));
    cr_assert_eq(answer(&unavailable, false), UT_CIRCUIT_OPENED);
    cr_assert_not(ut_circuit_allows(&circuit, now_ns + 5 * S - 1));
    cr_assert(ut_circuit_allows(&circuit, now_ns + 5 * S));
}

Test(circuit, whatever_the_backend_answers_ends_the_row)
{
    static const struct ut_outcome answers[] = {
        {.result = UT_SENT},
        {.result = UT_PERMANENT},
        {.result = UT_TOO_LARGE},
        {.result = UT_RETRY, .cause = UT_SETBACK_BACKEND},
        {.result = UT_RETRY, .cause = UT_SETBACK_UNAVAILABLE, .after_ms = 1},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        fail_times(4);
        cr_assert_eq(answer(&answers[i], false), UT_CIRCUIT_SAME);
    }
}

Test(circuit, failures_of_our_own_say_nothing_of_the_endpoint)
{
    static const struct ut_outcome local = {.result = UT_RETRY, .cause = UT_SETBACK_LOCAL};
    fail_times(4);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(answer(&local, false), UT_CIRCUIT_SAME);
    cr_assert_eq(answer(&unavailable, false), UT_CIRCUIT_OPENED);
}

Test(circuit, half_opens_with_one_probe)
{
    open_it();
    now_ns += 5 * S;
    cr_assert(ut_circuit_allows(&circuit, now_ns));
    cr_assert(ut_circuit_send(&circuit));
    cr_assert_not(ut_circuit_allows(&circuit, now_ns + 3600 * S), "one probe, not the whole queue");
    cr_assert_eq(answer(&sent, true), UT_CIRCUIT_RECOVERED);
    cr_assert(ut_circuit_allows(&circuit, now_ns));
    cr_assert_not(ut_circuit_send(&circuit), "no probe is needed any more");
}

Test(circuit, a_failed_probe_makes_the_pause_longer_up_to_the_maximum)
{
    const uint64_t pauses[] = {10 * S, 20 * S, 30 * S, 30 * S};
    open_it();
    now_ns += 5 * S;
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        cr_assert(ut_circuit_send(&circuit));
        cr_assert_eq(answer(&unavailable, true), UT_CIRCUIT_SAME);
        cr_assert_not(ut_circuit_allows(&circuit, now_ns + pauses[i] - 1));
        now_ns += pauses[i];
        cr_assert(ut_circuit_allows(&circuit, now_ns));
    }
}

Test(circuit, late_failures_of_what_was_in_flight_change_nothing)
{
    open_it();
    uint64_t until_ns = circuit.quiet_until_ns;
    for (int i = 0; i < 100; i++)
        cr_assert_eq(answer(&unavailable, false), UT_CIRCUIT_SAME);
    cr_assert_eq(circuit.quiet_until_ns, until_ns);
    now_ns = until_ns;
    cr_assert(ut_circuit_send(&circuit));
    cr_assert_eq(answer(&unavailable, false), UT_CIRCUIT_SAME);
    cr_assert_eq(circuit.state, UT_CIRCUIT_HALF_OPEN, "the probe is still out");
}

Test(circuit, a_late_success_of_what_was_in_flight_closes_it)
{
    open_it();
    cr_assert_eq(answer(&sent, false), UT_CIRCUIT_RECOVERED);
    cr_assert(ut_circuit_allows(&circuit, now_ns));
}

Test(circuit, a_pause_that_is_asked_for_is_kept_whatever_else_is_said)
{
    cr_assert_eq(answer(&throttled, false), UT_CIRCUIT_SAME);
    cr_assert_eq(answer(&sent, false), UT_CIRCUIT_SAME);
    open_it();
    cr_assert_not(ut_circuit_allows(&circuit, now_ns + 7 * S - 1));
    cr_assert(ut_circuit_allows(&circuit, now_ns + 7 * S));
}

Test(circuit, a_shorter_wish_does_not_shorten_a_longer_one)
{
    static const struct ut_outcome shorter = {.result = UT_RETRY, .after_ms = 10};
    (void)answer(&throttled, false);
    (void)answer(&shorter, false);
    cr_assert_not(ut_circuit_allows(&circuit, now_ns + 7 * S - 1));
}

Test(circuit, hurrying_ends_our_own_pause_and_not_the_backends)
{
    open_it();
    ut_circuit_hurry(&circuit);
    cr_assert(ut_circuit_allows(&circuit, now_ns));
    prepare();
    (void)answer(&throttled, false);
    ut_circuit_hurry(&circuit);
    cr_assert_not(ut_circuit_allows(&circuit, now_ns));
}
