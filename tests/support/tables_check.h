/* SPDX-License-Identifier: Apache-2.0 */
/* The invariants of the evidence tables, checked one by one; ends the program where one is broken.
 */
#ifndef UT_TEST_TABLES_CHECK_H
#define UT_TEST_TABLES_CHECK_H

#include "evidence/tables.h"

static inline void tables_check_ids(const struct ut_event_store *s, uint32_t event)
{
    const struct ut_trace_ids *ids = &s->trace_ids;
    if (s->first_id[event] == UT_NO_ID_KEPT)
        return;
    for (uint32_t i = s->first_id[event]; i != 0; i = ids->slots[i].next) {
        const struct ut_traced *id = &ids->slots[i], *found = NULL;
        UT_CHECK(id->event == event);
        do
            found = ut_trace_ids_next(ids, id->trace_id, id->span_id, found);
        while (found != NULL && found != id);
        UT_CHECK(found == id);
    }
}

static inline void tables_check_connection(const struct ut_tables *t, const struct ut_connection *c,
                                           uint32_t *events)
{
    const struct ut_connection *mirror = ut_connections_mirror(&t->connections, c);
    UT_CHECK(mirror == NULL || ut_connections_mirror(&t->connections, mirror) == c);
    UT_CHECK(mirror == NULL || (!c->ambiguous && mirror != c));
    UT_CHECK(c->cookie == 0 || ut_connections_by_cookie(&t->connections, c->cookie) != NULL);
    const struct ut_event_chain *chain = &t->events.chains[UT_CONNECTION_SLOT(c->id)];
    uint64_t last_ns = 0;
    uint32_t last = 0;
    for (uint32_t i = chain->first; i != 0; i = t->events.events[i].next_on_connection) {
        const struct ut_event *e = &t->events.events[i];
        UT_CHECK(e->connection == c->id && e->seen_ns >= last_ns);
        UT_CHECK(e->workload[UT_SIDE_LOCAL] == c->workload);
        bool own = e->kind == UT_EVENT_RESET || e->kind == UT_EVENT_CONNECT;
        UT_CHECK(e->workload[UT_SIDE_PEER] == (mirror != NULL && !own ? mirror->workload : 0));
        tables_check_ids(&t->events, i);
        last_ns = e->seen_ns;
        last = i;
        ++*events;
    }
    UT_CHECK(chain->last == last);
}

static inline uint32_t tables_check_list(const struct ut_event_store *s, int side, uint32_t slot)
{
    const struct ut_event_list *list = &s->lists[side][slot];
    uint32_t newer = 0, count = 0;
    for (uint32_t i = list->newest; i != 0; i = s->events[i].links[side].older) {
        UT_CHECK(s->events[i].links[side].newer == newer);
        UT_CHECK(newer == 0 || s->events[newer].seen_ns >= s->events[i].seen_ns);
        UT_CHECK(UT_WORKLOAD_SLOT(s->events[i].workload[side]) == slot);
        newer = i;
        count++;
    }
    UT_CHECK(list->oldest == newer && list->count == count);
    return count;
}

static inline void tables_check_memory(const struct ut_memory_store *s)
{
    uint32_t listed = 0;
    for (uint32_t slot = 0; slot < UT_WORKLOADS_MAX; slot++) {
        const struct ut_stall_list *list = &s->lists[slot];
        uint32_t newer = 0, count = 0;
        for (uint32_t i = list->newest; i != 0; i = s->stalls[i].older) {
            const struct ut_stall *stall = &s->stalls[i];
            UT_CHECK(stall->newer == newer && UT_WORKLOAD_SLOT(stall->workload) == slot);
            UT_CHECK(newer == 0 || s->stalls[newer].slot >= stall->slot);
            UT_CHECK(stall->from_ns <= stall->to_ns && stall->scope < UT_SCOPES);
            newer = i;
            count++;
        }
        UT_CHECK(list->oldest == newer && list->count == count && (slot != 0 || count == 0));
        listed += count;
    }
    UT_CHECK(listed == s->count && s->count <= UT_STALLS_MAX);
}

static inline void tables_check(const struct ut_tables *t)
{
    const struct ut_connections *c = &t->connections;
    tables_check_memory(&t->memory);
    uint32_t rows = 0, events = 0, listed = 0, unresolved = 0;
    for (uint32_t i = 1; i <= c->ever_used; i++) {
        if ((c->slots[i].id & 0xffff) == 0)
            continue;
        rows++;
        unresolved += c->slots[i].cgroup_id != 0;
        tables_check_connection(t, &c->slots[i], &events);
    }
    UT_CHECK(rows == c->open_count + c->closed_count && unresolved == c->unresolved);
    for (uint32_t slot = 0; slot < UT_WORKLOADS_MAX; slot++) {
        listed += tables_check_list(&t->events, UT_SIDE_LOCAL, slot);
        (void)tables_check_list(&t->events, UT_SIDE_PEER, slot);
    }
    UT_CHECK(events == t->events.count && listed == t->events.count);
}

#endif
