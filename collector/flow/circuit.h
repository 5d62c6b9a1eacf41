/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether anything is sent to an endpoint now. Pure: time and random numbers are the caller's.
 *
 *     CLOSED ── 5 failures in a row ──► OPEN ── its time is over, one item is sent ──► HALF_OPEN
 *        ▲                               ▲  │                                             │
 *        │           any answer          │  │              the probe fails                │
 *        └───────────────────────────────┼──┴───────── any answer ────────────────────────┤
 *                                        └────────────────────────────────────────────────┘
 *
 * A failure is: no connection, no answer in time, or UNAVAILABLE. Whatever else the endpoint says
 * shows that it is there, and so does a request to wait (RetryInfo, Retry-After): nothing is sent
 * until that time is over, in any state.
 */
#ifndef UT_FLOW_CIRCUIT_H
#define UT_FLOW_CIRCUIT_H

#include "flow/retry.h"

#define UT_CIRCUIT_FAILURES 5

enum ut_circuit_state { UT_CIRCUIT_CLOSED, UT_CIRCUIT_OPEN, UT_CIRCUIT_HALF_OPEN };

/* All zero: closed. */
struct ut_circuit {
    enum ut_circuit_state state;
    uint32_t failures;       /* in a row */
    uint64_t quiet_until_ns; /* monotonic: nothing is sent before then */
    bool asked;              /* the endpoint named that time */
    struct ut_backoff backoff;
};

/* What an answer changed. */
enum ut_circuit_change { UT_CIRCUIT_SAME, UT_CIRCUIT_OPENED, UT_CIRCUIT_RECOVERED };

bool ut_circuit_allows(const struct ut_circuit *circuit, uint64_t now_ns);
/* An item is on its way; true: it is the probe, and nothing else is sent until it is answered. */
bool ut_circuit_send(struct ut_circuit *circuit) UT_MUST_USE;
/* What became of an item; `probe` as ut_circuit_send said. `random` as in ut_retry_next. */
enum ut_circuit_change ut_circuit_answer(struct ut_circuit *circuit,
                                         const struct ut_outcome *outcome, bool probe,
                                         const struct ut_retry_clock *clock);
/* The program stops: an open circuit may be probed at once. A time that the endpoint named stays.
 */
void ut_circuit_hurry(struct ut_circuit *circuit);

#endif
