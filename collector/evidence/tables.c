/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/tables.h"

#include <errno.h>

/* Losses are noticed when the ring is drained, at the latest so long after they happened. */
#define NOTICED_WITHIN_NS UT_NS_PER_S

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
    uint64_t from_ns = unix_ns > NOTICED_WITHIN_NS ? unix_ns - NOTICED_WITHIN_NS : 0;
    t->version++;
    if (t->loss_count > 0) {
        uint32_t last = (t->loss_count - 1) % UT_LOSSES_MAX;
        if (from_ns <= t->losses[last].to_ns && unix_ns >= t->losses[last].to_ns) {
            t->losses[last].to_ns = unix_ns;
            return;
        }
    }
    uint32_t next = t->loss_count++ % UT_LOSSES_MAX;
    t->losses[next].from_ns = from_ns;
    t->losses[next].to_ns = unix_ns;
}

bool ut_tables_lost_in(const struct ut_tables *t, uint64_t from_ns, uint64_t to_ns)
{
    uint32_t count = t->loss_count < UT_LOSSES_MAX ? t->loss_count : UT_LOSSES_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (t->losses[i].from_ns <= to_ns && t->losses[i].to_ns >= from_ns)
            return true;
    }
    return false;
}

bool ut_tables_complete(const struct ut_tables *t, uint32_t workload, uint64_t from_ns,
                        uint64_t to_ns)
{
    return t->attached_ns != 0 && from_ns >= t->attached_ns &&
           from_ns >= t->connections.complete_since_ns[UT_WORKLOAD_SLOT(workload)] &&
           !ut_tables_lost_in(t, from_ns, to_ns);
}
