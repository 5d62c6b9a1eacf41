/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/allowance.h"

#include "base/check.h"
#include "base/clock.h"
#include "evidence/evidence.h"

#define HOUR_NS (3600 * UT_NS_PER_S)

enum {
    AT_ONCE = 6, /* the part of an hour's bytes that may come at once */
    CLASSES = UT_MATCH_CLASSES - UT_MATCH_WORKLOAD,
    STEPS = 2 * CLASSES, /* of what is left out: events by class, then counts by class */
};

static double most_at_once(const struct ut_allowance *a)
{
    return (double)a->per_hour / AT_ONCE;
}

static void fill(struct ut_allowance *a, uint64_t now_ns)
{
    uint64_t passed_ns = now_ns > a->filled_ns ? now_ns - a->filled_ns : 0;
    double rate = ((double)a->per_hour - most_at_once(a)) / (double)HOUR_NS;
    a->filled_ns = now_ns;
    a->bytes += (double)(passed_ns < HOUR_NS ? passed_ns : HOUR_NS) * rate;
    if (a->bytes > most_at_once(a))
        a->bytes = most_at_once(a);
}

void ut_allowance_set(struct ut_allowance *a, uint64_t per_hour, uint64_t now_ns)
{
    fill(a, now_ns);
    double spent = a->per_hour != 0 ? most_at_once(a) - a->bytes : 0;
    a->per_hour = per_hour;
    a->bytes = most_at_once(a) > spent ? most_at_once(a) - spent : 0;
}

/* The weakest class whose step, counted from `first`, leaves enough. */
static uint8_t weakest(const struct ut_allowance *a, int first, double most_bytes)
{
    int match = UT_MATCH_WORKLOAD;
    for (int step = first; match < UT_MATCH_CLASSES; match++, step++) {
        double kept = most_at_once(a) * (STEPS - 1 - step) / STEPS;
        if (a->bytes >= kept + most_bytes)
            break;
    }
    return (uint8_t)match;
}

struct ut_allowed ut_allowance_ask(struct ut_allowance *a, uint64_t most_bytes, uint64_t now_ns)
{
    if (a->per_hour == 0)
        return (struct ut_allowed){UT_MATCH_WORKLOAD, UT_MATCH_WORKLOAD};
    fill(a, now_ns);
    return (struct ut_allowed){
        .events = weakest(a, 0, (double)most_bytes),
        .counts = weakest(a, CLASSES, (double)most_bytes),
    };
}

void ut_allowance_spend(struct ut_allowance *a, uint64_t bytes)
{
    if (a->per_hour == 0)
        return;
    UT_CHECK(a->bytes >= (double)bytes);
    a->bytes -= (double)bytes;
}
