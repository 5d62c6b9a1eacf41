/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who was told already that metrics or logs are not taken here: one log line a sender, not one a
 * minute. Bounded; the oldest entry gives its place away.
 */
#ifndef UT_OTLP_RECEIVER_SIGNALS_H
#define UT_OTLP_RECEIVER_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include "model/address.h"

enum { UT_OTLP_SIGNALS_TOLD = 64 };

struct ut_otlp_signals {
    struct {
        struct ut_address address;
        unsigned signal;
    } told[UT_OTLP_SIGNALS_TOLD];
    uint64_t count; /* ever told */
};

/* Whether the sender at `address` is told of this signal now for the first
 * time. */
static inline bool ut_otlp_signals_tell(struct ut_otlp_signals *signals,
                                        const struct ut_address *address, unsigned signal)
{
    uint64_t known = signals->count < UT_OTLP_SIGNALS_TOLD ? signals->count : UT_OTLP_SIGNALS_TOLD;
    for (uint64_t i = 0; i < known; i++) {
        if (signals->told[i].signal == signal &&
            ut_address_equal(&signals->told[i].address, address))
            return false;
    }
    uint64_t at = signals->count++ % UT_OTLP_SIGNALS_TOLD;
    signals->told[at].address = *address;
    signals->told[at].signal = signal;
    return true;
}

#endif
