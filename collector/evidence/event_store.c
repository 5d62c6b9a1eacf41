/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants: 1. an event is on the list of its connection and, by side, on the list of
 * workload[side] (of slot 0, side local only, where that is nobody), or it is free; 2. lists are
 * ordered by `seen`;
 * 3. the events of one connection are oldest first, and so an event that goes for its age or for
 * room is the first of its connection; 4. all events of a connection stand under the same two
 * workloads, which its chain remembers in `assigned`, or under the first of them alone.
 */
#include "evidence/event_store.h"

#include <errno.h>
#include <stdlib.h>

_Static_assert(sizeof(struct ut_event) <= UT_EVENT_BYTES_MAX, "an event outgrew its slot");
_Static_assert(sizeof(struct ut_fold) * UT_FOLDS_MAX <= 1 << 20, "the folds outgrew 1 MiB");

/* Where the timeout is not told: the smallest there is. */
enum { RTO_MIN_US = 200000, RTO_MAX_US = 120000000 };
enum { UNDONE_LOOKED_AT_MAX = 1024 };
enum { EVICTIONS_A_LOOK = 64, MEAN_EVENTS = UT_EVENTS_MAX / UT_WORKLOADS_MAX };

int ut_event_store_init(struct ut_event_store *s, struct ut_connections *connections)
{
    *s = (struct ut_event_store){.connections = connections, .next_fold = 1, .oldest_fold = 1};
    s->events = calloc(UT_EVENTS_MAX + 1, sizeof(s->events[0]));
    s->chains = calloc(UT_CONNECTIONS_MAX + 1, sizeof(s->chains[0]));
    s->first_id = calloc(UT_EVENTS_MAX + 1, sizeof(s->first_id[0]));
    s->thread = calloc(UT_EVENTS_MAX + 1, sizeof(s->thread[0]));
    s->folds = calloc(UT_FOLDS_MAX + 1, sizeof(s->folds[0]));
    s->horizon_ns = calloc(UT_WORKLOADS_MAX, sizeof(s->horizon_ns[0]));
    bool complete = ut_trace_ids_init(&s->trace_ids) == 0;
    complete &= s->chains != NULL && s->first_id != NULL && s->thread != NULL &&
                s->events != NULL && s->folds != NULL && s->horizon_ns != NULL;
    for (int side = 0; side < UT_SIDES; side++) {
        s->lists[side] = calloc(UT_WORKLOADS_MAX, sizeof(s->lists[0][0]));
        s->fold_lists[side] = calloc(UT_WORKLOADS_MAX, sizeof(s->fold_lists[0][0]));
        complete &= s->lists[side] != NULL && s->fold_lists[side] != NULL;
    }
    if (!complete) {
        ut_event_store_done(s);
        return -ENOMEM;
    }
    return 0;
}

void ut_event_store_done(struct ut_event_store *s)
{
    ut_trace_ids_done(&s->trace_ids);
    free(s->chains);
    free(s->first_id);
    free(s->thread);
    free(s->events);
    free(s->folds);
    free(s->horizon_ns);
    for (int side = 0; side < UT_SIDES; side++) {
        free(s->lists[side]);
        free(s->fold_lists[side]);
    }
    *s = (struct ut_event_store){0};
}

uint64_t ut_event_sent_low_ns(const struct ut_event *event)
{
    uint64_t since_ns = (uint64_t)event->since_sent_us * 1000;
    if (event->kind != UT_EVENT_RETRANSMIT || (event->has & UT_HAS_SENT_EXACT))
        return event->seen_ns > since_ns ? event->seen_ns - since_ns : 0;
    uint64_t rto_us = event->has & UT_HAS_RTO ? event->rto_us : RTO_MIN_US;
    if (rto_us > RTO_MAX_US)
        rto_us = RTO_MAX_US;
    uint64_t before_ns = rto_us * 1250;
    return event->seen_ns > before_ns ? event->seen_ns - before_ns : 0;
}

/* ---- lists ---------------------------------------------------------------------------------- */

static void unlink_event(struct ut_event_store *s, uint32_t slot, int side)
{
    struct ut_event *e = &s->events[slot];
    struct ut_event_list *list = &s->lists[side][UT_WORKLOAD_SLOT(e->workload[side])];
    *(e->links[side].newer != 0 ? &s->events[e->links[side].newer].links[side].older
                                : &list->newest) = e->links[side].older;
    *(e->links[side].older != 0 ? &s->events[e->links[side].older].links[side].newer
                                : &list->oldest) = e->links[side].newer;
    list->count--;
}

/* Puts the event behind the newest one that is not newer than it. `hint` is one that is not newer,
 * where the caller knows one: events that come in order then cost one step each. */
static void link_event(struct ut_event_store *s, uint32_t slot, int side, uint32_t hint)
{
    struct ut_event *e = &s->events[slot];
    struct ut_event_list *list = &s->lists[side][UT_WORKLOAD_SLOT(e->workload[side])];
    uint32_t older = hint;
    if (hint != 0) {
        for (uint32_t next; (next = s->events[older].links[side].newer) != 0 &&
                            s->events[next].seen_ns <= e->seen_ns;)
            older = next;
    } else {
        for (older = list->newest; older != 0 && s->events[older].seen_ns > e->seen_ns;)
            older = s->events[older].links[side].older;
    }
    uint32_t newer = older != 0 ? s->events[older].links[side].newer : list->oldest;
    e->links[side].older = older;
    e->links[side].newer = newer;
    *(older != 0 ? &s->events[older].links[side].newer : &list->oldest) = slot;
    *(newer != 0 ? &s->events[newer].links[side].older : &list->newest) = slot;
    list->count++;
}

static struct ut_event_chain *chain_of(const struct ut_event_store *s,
                                       const struct ut_connection *connection)
{
    return &s->chains[UT_CONNECTION_SLOT(connection->id)];
}

/* The other end of a reset has its own record of it, or never heard of it; and nobody but the
 * connecting end waits for a connect. */
static uint32_t listed_under(const struct ut_event *e, const struct ut_event_chain *chain, int side)
{
    bool own = e->kind == UT_EVENT_RESET || e->kind == UT_EVENT_CONNECT;
    return own && side == UT_SIDE_PEER ? 0 : chain->assigned[side];
}

static bool is_listed(const struct ut_event *e, int side)
{
    return side == UT_SIDE_LOCAL || e->workload[side] != 0;
}

static void raise_horizon(struct ut_event_store *s, const uint32_t workload[UT_SIDES],
                          uint64_t until_ns)
{
    for (int side = 0; side < UT_SIDES; side++) {
        uint64_t *horizon_ns = &s->horizon_ns[UT_WORKLOAD_SLOT(workload[side])];
        if (workload[side] != 0 && until_ns > *horizon_ns)
            *horizon_ns = until_ns;
    }
}

/* Takes the first event of a connection out of the store. */
static void release_first(struct ut_event_store *s, struct ut_event_chain *chain)
{
    uint32_t slot = chain->first;
    struct ut_event *e = &s->events[slot];
    for (int side = 0; side < UT_SIDES; side++) {
        if (is_listed(e, side))
            unlink_event(s, slot, side);
    }
    if (s->first_id[slot] != UT_NO_ID_KEPT)
        ut_trace_ids_release(&s->trace_ids, s->first_id[slot]);
    s->first_id[slot] = 0;
    chain->first = e->next_on_connection;
    if (chain->first == 0)
        chain->last = 0;
    e->next_on_connection = s->free;
    s->free = slot;
    s->count--;
}

/* ---- room ----------------------------------------------------------------------------------- */

/* Looking through all workloads costs microseconds, so one look serves for some evictions;
 * meanwhile another may come to have a few events more. */
static const struct ut_event_list *largest_list(struct ut_event_store *s)
{
    const struct ut_event_list *lists = s->lists[UT_SIDE_LOCAL];
    if (s->evicted % EVICTIONS_A_LOOK == 0 || lists[s->largest].count < MEAN_EVENTS) {
        for (uint32_t i = 0; i < UT_WORKLOADS_MAX; i++) {
            if (lists[i].count > lists[s->largest].count)
                s->largest = i;
        }
    }
    return &lists[s->largest];
}

static uint32_t take_slot(struct ut_event_store *s)
{
    if (s->free == 0 && s->ever_used < UT_EVENTS_MAX) {
        s->count++;
        return ++s->ever_used;
    }
    if (s->free == 0) {
        uint32_t oldest = largest_list(s)->oldest;
        struct ut_event *e = &s->events[oldest];
        raise_horizon(s, e->workload, e->seen_ns);
        s->evicted++;
        struct ut_connection *connection = ut_connections_get(s->connections, e->connection);
        UT_CHECK(connection != NULL && chain_of(s, connection)->first == oldest);
        release_first(s, chain_of(s, connection));
    }
    uint32_t slot = s->free;
    s->free = s->events[slot].next_on_connection;
    s->count++;
    return slot;
}

static uint32_t mirror_workload(const struct ut_event_store *s,
                                const struct ut_connection *connection)
{
    const struct ut_connection *mirror = ut_connections_mirror(s->connections, connection);
    return mirror != NULL ? mirror->workload : 0;
}

uint32_t ut_event_store_add(struct ut_event_store *s, const struct ut_event *event,
                            struct ut_connection *connection)
{
    uint32_t slot = take_slot(s);
    struct ut_event_chain *chain = chain_of(s, connection);
    struct ut_event *e = &s->events[slot];
    *e = *event;
    e->connection = connection->id;
    e->next_on_connection = 0;
    e->taken[UT_SIDE_LOCAL] = e->taken[UT_SIDE_PEER] = 0;
    e->ended_before_us = e->began_after_us = UINT32_MAX;
    e->arrived = false;
    s->thread[slot] = 0;
    /* Records come in the order of the ring; one that claims to be older than its predecessor on
     * the same connection is taken to be as old, so that both orders agree. */
    if (chain->last != 0 && e->seen_ns < s->events[chain->last].seen_ns)
        e->seen_ns = s->events[chain->last].seen_ns;
    if (chain->last == 0) {
        chain->assigned[UT_SIDE_LOCAL] = connection->workload;
        chain->assigned[UT_SIDE_PEER] = mirror_workload(s, connection);
        chain->first = slot;
    } else {
        s->events[chain->last].next_on_connection = slot;
    }
    chain->last = slot;
    connection->last_event_ns = e->seen_ns;
    for (int side = 0; side < UT_SIDES; side++) {
        e->workload[side] = listed_under(e, chain, side);
        if (is_listed(e, side))
            link_event(s, slot, side, 0);
    }
    return slot;
}

/* Newest first, and no further than a recovery is likely to reach. */
void ut_event_store_undo(struct ut_event_store *s, const struct ut_connection *connection,
                         uint64_t since_ns)
{
    const struct ut_event_chain *chain = chain_of(s, connection);
    uint32_t workload = chain->assigned[UT_SIDE_LOCAL];
    uint32_t slot = s->lists[UT_SIDE_LOCAL][UT_WORKLOAD_SLOT(workload)].newest;
    if (chain->first == 0)
        return;
    for (int i = 0; i < UNDONE_LOOKED_AT_MAX && slot != 0; i++) {
        struct ut_event *e = &s->events[slot];
        if (e->seen_ns < since_ns)
            break;
        if (e->connection == connection->id && e->kind == UT_EVENT_RETRANSMIT)
            e->spurious = true;
        slot = e->links[UT_SIDE_LOCAL].older;
    }
}

bool ut_event_store_trace(struct ut_event_store *s, const struct ut_connection *connection,
                          const struct ut_record_trace_ids *record)
{
    uint32_t slot = chain_of(s, connection)->last;
    const struct ut_event *e = &s->events[slot];
    if (slot == 0 || e->kind != UT_EVENT_RETRANSMIT || e->seq != record->seq ||
        e->bytes != record->bytes || s->first_id[slot] != 0)
        return false;
    for (uint32_t i = 0; i < record->count; i++)
        s->first_id[slot] =
            ut_trace_ids_add(&s->trace_ids, s->first_id[slot], &record->ids[i], slot);
    if (s->first_id[slot] == 0)
        s->first_id[slot] = UT_NO_ID_KEPT;
    return true;
}

static void move_events(struct ut_event_store *s, struct ut_event_chain *chain, int side,
                        uint32_t workload)
{
    uint32_t previous = 0;
    chain->assigned[side] = workload;
    for (uint32_t slot = chain->first; slot != 0; slot = s->events[slot].next_on_connection) {
        struct ut_event *e = &s->events[slot];
        if (is_listed(e, side))
            unlink_event(s, slot, side);
        e->workload[side] = listed_under(e, chain, side);
        if (!is_listed(e, side))
            continue;
        link_event(s, slot, side, previous);
        previous = slot;
    }
}

void ut_event_store_assign(struct ut_event_store *s, struct ut_connection *connection)
{
    struct ut_event_chain *chain = chain_of(s, connection);
    if (chain->first == 0)
        return;
    uint32_t peer = mirror_workload(s, connection);
    if (chain->assigned[UT_SIDE_LOCAL] != connection->workload)
        move_events(s, chain, UT_SIDE_LOCAL, connection->workload);
    if (chain->assigned[UT_SIDE_PEER] != peer)
        move_events(s, chain, UT_SIDE_PEER, peer);
}

/* ---- folds ---------------------------------------------------------------------------------- */

static void unlink_fold(struct ut_event_store *s, uint32_t slot, int side)
{
    struct ut_fold *f = &s->folds[slot];
    struct ut_event_list *list = &s->fold_lists[side][UT_WORKLOAD_SLOT(f->workload[side])];
    *(f->links[side].newer != 0 ? &s->folds[f->links[side].newer].links[side].older
                                : &list->newest) = f->links[side].older;
    *(f->links[side].older != 0 ? &s->folds[f->links[side].older].links[side].newer
                                : &list->oldest) = f->links[side].newer;
    list->count--;
}

static void link_fold(struct ut_event_store *s, uint32_t slot, int side)
{
    struct ut_fold *f = &s->folds[slot];
    struct ut_event_list *list = &s->fold_lists[side][UT_WORKLOAD_SLOT(f->workload[side])];
    f->links[side].newer = 0;
    f->links[side].older = list->newest;
    *(list->newest != 0 ? &s->folds[list->newest].links[side].newer : &list->oldest) = slot;
    list->newest = slot;
    list->count++;
}

static void drop_oldest_fold(struct ut_event_store *s)
{
    struct ut_fold *f = &s->folds[s->oldest_fold];
    if (f->connection != 0) {
        raise_horizon(s, f->workload, f->last_seen_ns);
        for (int side = 0; side < UT_SIDES; side++) {
            if (f->workload[side] != 0)
                unlink_fold(s, s->oldest_fold, side);
        }
        f->connection = 0;
    }
    s->oldest_fold = s->oldest_fold < UT_FOLDS_MAX ? s->oldest_fold + 1 : 1;
    s->fold_count--;
}

static struct ut_fold *new_fold(struct ut_event_store *s, const struct ut_event *e)
{
    if (s->fold_count == UT_FOLDS_MAX)
        drop_oldest_fold(s);
    uint32_t slot = s->next_fold;
    s->next_fold = slot < UT_FOLDS_MAX ? slot + 1 : 1;
    s->fold_count++;
    struct ut_fold *f = &s->folds[slot];
    *f = (struct ut_fold){
        .first_sent_ns = UINT64_MAX,
        .connection = e->connection,
        .workload = {e->workload[0], e->workload[1]},
    };
    for (int side = 0; side < UT_SIDES; side++) {
        if (f->workload[side] != 0)
            link_fold(s, slot, side);
    }
    return f;
}

static void add_retransmit(struct ut_fold *f, const struct ut_event *e)
{
    if (e->cause == UT_CAUSE_TAIL_LOSS_PROBE) {
        f->probes++;
        return;
    }
    f->segments += e->segments;
    f->bytes += e->bytes;
    f->timeouts += e->cause == UT_CAUSE_TIMEOUT;
}

static void add_to_fold(struct ut_fold *f, const struct ut_event *e)
{
    uint64_t sent_ns = ut_event_sent_low_ns(e);
    if (sent_ns < f->first_sent_ns)
        f->first_sent_ns = sent_ns;
    f->last_seen_ns = e->seen_ns;
    if (e->kind == UT_EVENT_RETRANSMIT)
        add_retransmit(f, e);
    f->resets += e->kind == UT_EVENT_RESET;
    f->receive_drops += e->kind == UT_EVENT_RECEIVE_DROP;
    f->listen_overflows += e->kind == UT_EVENT_LISTEN_OVERFLOW;
    if (e->kind == UT_EVENT_ZERO_WINDOW)
        f->zero_window_ns += (uint64_t)e->since_sent_us * 1000;
    for (int side = 0; side < UT_SIDES; side++) {
        if (e->taken[side] > f->taken[side])
            f->taken[side] = e->taken[side];
    }
}

static bool fold_takes(const struct ut_fold *f, const struct ut_event *e)
{
    return f->connection == e->connection && f->workload[0] == e->workload[0] &&
           f->workload[1] == e->workload[1] &&
           f->last_seen_ns / UT_FOLD_SPAN_NS == e->seen_ns / UT_FOLD_SPAN_NS;
}

static void fold_first(struct ut_event_store *s, struct ut_event_chain *chain)
{
    const struct ut_event *e = &s->events[chain->first];
    bool counts = e->kind != UT_EVENT_CONNECT;
    if (s->first_id[chain->first] != 0) {
        raise_horizon(s, e->workload, e->seen_ns);
    } else if (counts && (e->workload[0] != 0 || e->workload[1] != 0)) {
        struct ut_fold *f = &s->folds[chain->fold];
        if (chain->fold == 0 || !fold_takes(f, e)) {
            f = new_fold(s, e);
            chain->fold = (uint32_t)(f - s->folds);
        }
        add_to_fold(f, e);
    }
    release_first(s, chain);
}

static void fold_list(struct ut_event_store *s, uint32_t workload_slot, uint64_t before_ns)
{
    const struct ut_event_list *list = &s->lists[UT_SIDE_LOCAL][workload_slot];
    while (list->oldest != 0 && s->events[list->oldest].seen_ns < before_ns) {
        struct ut_connection *connection =
            ut_connections_get(s->connections, s->events[list->oldest].connection);
        UT_CHECK(connection != NULL && chain_of(s, connection)->first == list->oldest);
        fold_first(s, chain_of(s, connection));
    }
}

void ut_event_store_age(struct ut_event_store *s, uint64_t now_ns)
{
    if (now_ns < UT_FOLD_KEPT_NS)
        return;
    for (uint32_t i = 0; i < UT_WORKLOADS_MAX; i++)
        fold_list(s, i, now_ns - UT_EVENT_KEPT_NS);
    while (s->fold_count > 0 && (s->folds[s->oldest_fold].connection == 0 ||
                                 s->folds[s->oldest_fold].last_seen_ns < now_ns - UT_FOLD_KEPT_NS))
        drop_oldest_fold(s);
}

/* ---- what goes with others ----------------------------------------------------------------------
 */

/* Folds of the connection stay in the ring until it is their turn; nobody finds their connection.
 */
void ut_event_store_forget(struct ut_event_store *s, struct ut_connection *connection)
{
    struct ut_event_chain *chain = chain_of(s, connection);
    if (connection->last_event_ns != 0)
        raise_horizon(s, chain->assigned, connection->last_event_ns);
    while (chain->first != 0)
        release_first(s, chain);
    *chain = (struct ut_event_chain){0};
}

/* Takes a fold out of its lists; its place in the ring is passed over later. */
static void empty_fold(struct ut_event_store *s, uint32_t slot)
{
    struct ut_fold *f = &s->folds[slot];
    for (int side = 0; side < UT_SIDES; side++) {
        if (f->workload[side] != 0)
            unlink_fold(s, slot, side);
    }
    f->connection = 0;
}

void ut_event_store_forget_workload(struct ut_event_store *s, uint32_t slot)
{
    for (int side = 0; side < UT_SIDES; side++) {
        const struct ut_event_list *folds = &s->fold_lists[side][slot];
        while (slot != 0 && folds->oldest != 0)
            empty_fold(s, folds->oldest);
    }
    s->horizon_ns[slot] = 0;
}
