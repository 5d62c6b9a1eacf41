/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The views by the remote port of their connections. A span that names its socket's remote port is
 * contradicted by every event of a connection to another port; a workload that talks to many ports
 * would look at all their events for each of its spans. So such a span looks at those of its own
 * port alone, in order of time as ever.
 *
 * The index is a permutation of the views: bucket after bucket, in each of them by time. Where a
 * connection does not know its remote port yet, which contradicts nobody, there is no index.
 */
#include "evidence/join_view.h"

/* Below that the views themselves are looked through as fast. */
enum { WORTH_AN_INDEX = UT_TABLE_SIZE(16, 2) };

static uint16_t port_of(const struct ut_join *join, uint32_t view)
{
    return join->groups[join->views[view].group].own->remote.port;
}

void ut_join_index_ports(struct ut_join *join)
{
    uint32_t *ends = join->ports.begins;
    memset(ends, 0, sizeof(join->ports.begins));
    join->ports.known = join->view_count > WORTH_AN_INDEX;
    for (uint32_t i = 0; i < join->view_count && join->ports.known; i++) {
        join->ports.known = port_of(join, i) != 0;
        ends[port_of(join, i) % UT_PORT_BUCKETS]++;
    }
    if (!join->ports.known)
        return;
    for (uint32_t bucket = 1; bucket < UT_PORT_BUCKETS; bucket++)
        ends[bucket] += ends[bucket - 1];
    /* From the last one on, so that each bucket's end becomes its beginning, which is the end of
     * the one before. */
    for (uint32_t i = join->view_count; i-- > 0;)
        join->ports.views[--ends[port_of(join, i) % UT_PORT_BUCKETS]] = (uint16_t)i;
}

bool ut_join_has_port_index(const struct ut_join *join, uint32_t first)
{
    return join->ports.known && join->view_count - first > WORTH_AN_INDEX;
}

uint32_t ut_join_next_on_port(const struct ut_join *join, uint16_t port, uint32_t *at)
{
    uint32_t bucket = port % UT_PORT_BUCKETS;
    uint32_t end = bucket + 1 < UT_PORT_BUCKETS ? join->ports.begins[bucket + 1] : join->view_count;
    while (*at < end) {
        uint32_t view = join->ports.views[(*at)++];
        if (port_of(join, view) == port)
            return view;
    }
    return UINT32_MAX;
}

uint32_t ut_join_seek_port(const struct ut_join *join, uint16_t port, uint32_t first)
{
    uint32_t bucket = port % UT_PORT_BUCKETS;
    uint32_t low = join->ports.begins[bucket];
    uint32_t high =
        bucket + 1 < UT_PORT_BUCKETS ? join->ports.begins[bucket + 1] : join->view_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (join->ports.views[middle] < first)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
