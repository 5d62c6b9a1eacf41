/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/circuit.h"

#include "base/clock.h"

bool ut_circuit_allows(const struct ut_circuit *circuit, uint64_t now_ns)
{
    return circuit->state != UT_CIRCUIT_HALF_OPEN && now_ns >= circuit->quiet_until_ns;
}

bool ut_circuit_send(struct ut_circuit *circuit)
{
    if (circuit->state != UT_CIRCUIT_OPEN)
        return false;
    circuit->state = UT_CIRCUIT_HALF_OPEN;
    return true;
}

static bool is_failure(const struct ut_outcome *outcome)
{
    return outcome->result == UT_RETRY && outcome->after_ms == 0 &&
           (outcome->cause == UT_SETBACK_TRANSPORT || outcome->cause == UT_SETBACK_UNAVAILABLE ||
            outcome->cause == UT_SETBACK_TIMEOUT);
}

static void open_circuit(struct ut_circuit *circuit, const struct ut_retry_clock *clock)
{
    uint64_t until_ns =
        clock->now_ns + ut_retry_interval(clock->settings, &circuit->backoff, clock->random);
    circuit->state = UT_CIRCUIT_OPEN;
    if (circuit->asked && circuit->quiet_until_ns > until_ns)
        return;
    circuit->asked = false;
    circuit->quiet_until_ns = until_ns;
}

static void pause_circuit(struct ut_circuit *circuit, uint32_t after_ms, uint64_t now_ns)
{
    uint64_t until_ns = now_ns + ut_retry_asked_ns(after_ms);
    if (until_ns > circuit->quiet_until_ns)
        circuit->quiet_until_ns = until_ns;
    circuit->asked = true;
}

/* The endpoint is there. */
static enum ut_circuit_change close_circuit(struct ut_circuit *circuit)
{
    bool was_open = circuit->state != UT_CIRCUIT_CLOSED;
    if (!circuit->asked)
        circuit->quiet_until_ns = 0;
    circuit->state = UT_CIRCUIT_CLOSED;
    circuit->failures = 0;
    circuit->backoff = (struct ut_backoff){0};
    return was_open ? UT_CIRCUIT_RECOVERED : UT_CIRCUIT_SAME;
}

enum ut_circuit_change ut_circuit_answer(struct ut_circuit *circuit,
                                         const struct ut_outcome *outcome, bool probe,
                                         const struct ut_retry_clock *clock)
{
    bool local = outcome->result == UT_RETRY && outcome->cause == UT_SETBACK_LOCAL;
    if (!local && !is_failure(outcome)) {
        enum ut_circuit_change change = close_circuit(circuit);
        if (outcome->result == UT_RETRY && outcome->after_ms != 0)
            pause_circuit(circuit, outcome->after_ms, clock->now_ns);
        return change;
    }
    circuit->failures += !local;
    /* Of what was sent before the circuit opened, failures are no news. */
    if (circuit->state != UT_CIRCUIT_CLOSED && !probe)
        return UT_CIRCUIT_SAME;
    if (circuit->state == UT_CIRCUIT_CLOSED && circuit->failures < UT_CIRCUIT_FAILURES)
        return UT_CIRCUIT_SAME;
    bool was_closed = circuit->state == UT_CIRCUIT_CLOSED;
    open_circuit(circuit, clock);
    return was_closed ? UT_CIRCUIT_OPENED : UT_CIRCUIT_SAME;
}

void ut_circuit_hurry(struct ut_circuit *circuit)
{
    if (!circuit->asked)
        circuit->quiet_until_ns = 0;
}
