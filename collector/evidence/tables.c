/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/tables.h"

#include <errno.h>

/* Losses are noticed when the ring is drained, at the latest so long after they happened. */
#define NOTICED_WITHIN_NS UT_NS_PER_S
/* What a record that was held back would have told may have begun as long before: the bytes that
 * were sent again then, and the span that had waited for them, or ended without. */
#define WAITED_NS UT_NS_PER_S

static void on_changed(void *arg, struct ut_connection *connection)
{
    struct ut_tables *t = arg;
    struct ut_connection *mirror = ut_connections_mirror(&t->connections, connection);
    ut_event_store_assign(&t->events, connection);
    if (mirror != NULL)
        ut_event_store_assign(&t->events, mirror);
}

static void on_forget_connection(void *arg, struct ut_connection *connection)
{
    ut_event_store_forget(&((struct ut_tables *)arg)->events, connection);
}

static void on_forget_workload(void *arg, uint32_t slot)
{
    struct ut_tables *t = arg;
    ut_connections_forget_workload(&t->connections, slot);
    ut_event_store_forget_workload(&t->events, slot);
    ut_memory_store_forget_workload(&t->memory, slot);
    ut_held_forget_workload(&t->held, slot);
    ut_tally_forget_workload(&t->tally, slot);
    ut_gaps_forget_workload(&t->gaps, slot);
}

int ut_tables_init(struct ut_tables *t)
{
    *t = (struct ut_tables){0};
    if (ut_workloads_init(&t->workloads) != 0 ||
        ut_connections_init(&t->connections, &t->workloads) != 0 ||
        ut_event_store_init(&t->events, &t->connections) != 0 ||
        ut_memory_store_init(&t->memory) != 0 || ut_held_init(&t->held) != 0 ||
        ut_unix_links_init(&t->unix_links) != 0 ||
        ut_tally_init(&t->tally, &t->workloads, &t->held) != 0) {
        ut_tables_done(t);
        return -ENOMEM;
    }
    t->workloads.forget = on_forget_workload;
    t->workloads.forget_arg = t;
    t->connections.changed = on_changed;
    t->connections.forget = on_forget_connection;
    t->connections.arg = t;
    return 0;
}

void ut_tables_done(struct ut_tables *t)
{
    ut_tally_done(&t->tally);
    ut_unix_links_done(&t->unix_links);
    ut_held_done(&t->held);
    ut_memory_store_done(&t->memory);
    ut_event_store_done(&t->events);
    ut_connections_done(&t->connections);
    ut_workloads_done(&t->workloads);
}

void ut_tables_lost(struct ut_tables *t, uint64_t unix_ns)
{
    const struct ut_gap gap = {
        .from_ns = unix_ns > NOTICED_WITHIN_NS ? unix_ns - NOTICED_WITHIN_NS : 0,
        .to_ns = unix_ns,
        .connections = true,
    };
    t->version++;
    ut_gaps_note(&t->gaps, 0, gap);
}

void ut_tables_held_back(struct ut_tables *t, uint32_t workload, bool connections, uint64_t unix_ns)
{
    const struct ut_gap gap = {
        .from_ns = unix_ns > WAITED_NS ? unix_ns - WAITED_NS : 0,
        .to_ns = unix_ns + UT_HELD_BACK_NS,
        .connections = connections,
    };
    t->version++;
    ut_gaps_note(&t->gaps, workload, gap);
}

bool ut_tables_complete(const struct ut_tables *t, uint32_t workload, uint64_t from_ns,
                        uint64_t to_ns)
{
    return t->attached_ns != 0 && from_ns >= t->attached_ns &&
           from_ns >= t->connections.complete_since_ns[UT_WORKLOAD_SLOT(workload)] &&
           !ut_gaps_lack_connections(&t->gaps, workload, from_ns, to_ns);
}
