/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to try again: exponential back-off with jitter, as the Collector's retry_on_failure. Pure:
 * the caller brings the time and the state of the random numbers.
 */
#ifndef UT_FLOW_RETRY_H
#define UT_FLOW_RETRY_H

#include "component.h"

/* Of one thing that is tried; all zero before the first failure. */
struct ut_backoff {
    uint64_t first_failure_ns; /* monotonic */
    uint64_t interval_ns;      /* before jitter; 0: has not failed yet, or only when told to wait */
};

/* What a decision is made from. */
struct ut_retry_clock {
    const struct ut_exporter_settings *settings;
    uint64_t now_ns;  /* monotonic, not 0 */
    uint64_t *random; /* the state of a generator (any value; it changes) */
};

/* However long a backend asks us to wait, it is not believed beyond this. */
#define UT_RETRY_ASKED_MAX_MS (UINT32_C(3600) * 1000)

uint64_t ut_retry_random(uint64_t *random);

/* How long a backend that asks for `asked_ms` is left alone. */
uint64_t ut_retry_asked_ns(uint32_t asked_ms);
/* It has failed once more: the next interval, with jitter; at least 1 ms. */
uint64_t ut_retry_interval(const struct ut_exporter_settings *settings, struct ut_backoff *backoff,
                           uint64_t *random);

/* It has failed, and the backend asked for `asked_ms` (0: nothing). The delay until the next try in
 * `*ret_delay_ns`, and true; false when it is time to give up. What the backend asks for is obeyed
 * as it is: the back-off is for those who are told nothing. */
bool ut_retry_next(struct ut_backoff *backoff, const struct ut_retry_clock *clock,
                   uint32_t asked_ms, uint64_t *ret_delay_ns) UT_MUST_USE;

#endif
