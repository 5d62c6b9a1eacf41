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
    uint64_t interval_ns;      /* before jitter; 0: has not failed yet */
};

/* However long a backend asks us to wait, it is not believed beyond this. */
#define UT_RETRY_ASKED_MAX_MS (UINT32_C(3600) * 1000)

/* `random` is the state of a generator (any value; it changes). */
uint64_t ut_retry_random(uint64_t *random);

/* It has failed at `now_ns`, and the backend asked for `asked_ms` (0: nothing). The delay until the
 * next try in `*ret_delay_ns` (at least 1 ms), and true; false when it is time to give up. */
bool ut_retry_next(const struct ut_exporter_settings *settings, struct ut_backoff *backoff,
                   uint64_t now_ns, uint32_t asked_ms, uint64_t *random,
                   uint64_t *ret_delay_ns) UT_MUST_USE;

#endif
