/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics and logs are every SDK's default, and go to the same port: who sends them is named in the
 * log, one line a sender and signal, not one a minute. A sender is a workload or, where that is not
 * known, an address. Bounded; the oldest entry gives its place away.
 */
#ifndef UT_OTLP_RECEIVER_SIGNALS_H
#define UT_OTLP_RECEIVER_SIGNALS_H

#include <stdint.h>

enum { UT_OTLP_SIGNALS_TOLD = 64 };

struct ut_otlp_signals {
    struct {
        uint64_t sender; /* a fingerprint */
        unsigned signal;
    } told[UT_OTLP_SIGNALS_TOLD];
    uint64_t count; /* ever told */
};

#endif
