/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/series.h"

#include "base/clock.h"

/* Two times that were read one after the other but mean the same moment. */
#define SAME_NS UT_NS_PER_MS

static struct ut_point *latest(const struct ut_series *series)
{
    return &series->points[(series->count - 1) % UT_SERIES_POINTS];
}

void ut_series_add(struct ut_series *series, uint64_t unix_ns, uint64_t value)
{
    if (series->count > 0 && latest(series)->unix_ns >= unix_ns)
        series->count = 0;
    series->count++;
    *latest(series) = (struct ut_point){unix_ns, value};
}

void ut_series_grow(struct ut_series *series, uint64_t from_ns, uint64_t to_ns, uint64_t amount)
{
    uint64_t value = series->count > 0 ? latest(series)->value : 0;
    if (series->count == 0 || from_ns > latest(series)->unix_ns + SAME_NS ||
        from_ns + SAME_NS < latest(series)->unix_ns)
        ut_series_add(series, from_ns, value);
    uint32_t kept = ut_series_kept(series);
    bool rests = amount == 0 && kept > 1 && ut_series_point(series, kept - 2)->value == value;
    if (rests && to_ns > latest(series)->unix_ns)
        latest(series)->unix_ns = to_ns; /* one point for a rest, however long */
    else
        ut_series_add(series, to_ns, value + amount);
}

uint32_t ut_series_kept(const struct ut_series *series)
{
    return series->count < UT_SERIES_POINTS ? series->count : UT_SERIES_POINTS;
}

const struct ut_point *ut_series_point(const struct ut_series *series, uint32_t i)
{
    return &series->points[(series->count - ut_series_kept(series) + i) % UT_SERIES_POINTS];
}

uint32_t ut_series_first(const struct ut_series *series, uint64_t unix_ns)
{
    uint32_t low = 0, high = ut_series_kept(series);
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ut_series_point(series, middle)->unix_ns < unix_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ut_series_at(const struct ut_series *series, uint64_t unix_ns, uint64_t apart_ns,
                  uint64_t *ret)
{
    uint32_t next = ut_series_first(series, unix_ns);
    if (next == ut_series_kept(series))
        return false;
    const struct ut_point *after = ut_series_point(series, next);
    if (after->unix_ns == unix_ns) {
        *ret = after->value;
        return true;
    }
    if (next == 0)
        return false;
    const struct ut_point *before = ut_series_point(series, next - 1);
    uint64_t whole_ns = after->unix_ns - before->unix_ns;
    double part = (double)(unix_ns - before->unix_ns) / (double)whole_ns;
    *ret =
        (uint64_t)((double)before->value + ((double)after->value - (double)before->value) * part);
    return whole_ns <= apart_ns;
}
