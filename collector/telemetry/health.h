/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the program is alive and whether it takes spans: what `/healthz` and `/readyz` answer.
 *
 * States: starting → ready → stopping. `healthy` means that the loop turns: whoever reads it from
 * the loop's thread may say so. Ready is the only state in which senders are wanted.
 */
#ifndef UT_TELEMETRY_HEALTH_H
#define UT_TELEMETRY_HEALTH_H

#include <stdbool.h>

enum ut_health_state { UT_HEALTH_STARTING, UT_HEALTH_READY, UT_HEALTH_STOPPING };

struct ut_health {
    enum ut_health_state state;
};

static inline bool ut_health_is_ready(const struct ut_health *health)
{
    return health->state == UT_HEALTH_READY;
}

static inline const char *ut_health_text(const struct ut_health *health)
{
    switch (health->state) {
    case UT_HEALTH_STARTING:
        return "starting";
    case UT_HEALTH_READY:
        return "ready";
    case UT_HEALTH_STOPPING:
        break;
    }
    return "stopping";
}

#endif
