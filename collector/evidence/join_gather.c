/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events that a body's spans may meet: those listed under its workload and under the others of
 * its pod, newest first until they are too old. Each becomes a view from the workload's own end.
 */
#include "evidence/join_view.h"

#define GATHER_BACK_NS (2 * UT_NS_PER_S)
#define GATHER_AHEAD_NS (30 * UT_NS_PER_S)

int ut_join_group_of(struct ut_join *join, struct ut_connection *own, bool mate)
{
    uint32_t slot = UT_CONNECTION_SLOT(own->id);
    if (join->marks[slot].pass == join->pass)
        return (int)join->marks[slot].group;
    if (join->group_count == UT_GROUPS_MAX) {
        join->exceeded = true;
        return -1;
    }
    join->marks[slot].pass = join->pass;
    join->marks[slot].group = join->group_count;
    join->groups[join->group_count] =
        (struct ut_join_group){.own = own, .role = own->role, .mate = mate};
    return (int)join->group_count++;
}

static bool add_view(struct ut_join *join, const struct ut_join_view *from, uint32_t connection_id,
                     bool mate)
{
    struct ut_connection *connection =
        ut_connections_get(&join->tables->connections, connection_id);
    struct ut_connection *own = connection;
    if (connection != NULL && from->side == UT_SIDE_PEER)
        own = ut_connections_mirror(&join->tables->connections, connection);
    if (own == NULL)
        return true;
    int group = ut_join_group_of(join, own, mate);
    if (join->view_count == UT_VIEWS_MAX || group < 0) {
        join->exceeded = true;
        return false;
    }
    struct ut_join_view *view = &join->views[join->view_count++];
    *view = *from;
    view->group = (uint16_t)group;
    view->first_start_ns = UINT64_MAX;
    return true;
}

/* A listener without room belongs to whom a SYN-ACK that is sent again belongs; what is no
 * retransmit has no cause. */
static uint8_t cause_of(const struct ut_event *e)
{
    if (e->kind == UT_EVENT_LISTEN_OVERFLOW)
        return UT_CAUSE_SYN_ACK;
    return e->kind == UT_EVENT_RETRANSMIT ? e->cause : UT_CAUSE_UNKNOWN;
}

static void gather_events(struct ut_join *join, uint32_t workload, int side, uint64_t from_ns,
                          uint64_t to_ns)
{
    const struct ut_event_store *store = &join->tables->events;
    uint32_t slot = store->lists[side][UT_WORKLOAD_SLOT(workload)].newest;
    for (; slot != 0; slot = store->events[slot].links[side].older) {
        struct ut_event *e = &store->events[slot];
        if (e->seen_ns < from_ns)
            break;
        if (store->first_id[slot] != 0)
            continue; /* found by the span that its bytes named */
        struct ut_join_view view = {
            .seen_ns = e->seen_ns,
            .event = e,
            .side = (uint8_t)side,
            .cause = cause_of(e),
            .kind = e->kind,
            .best = e->taken[side],
            .arrived = e->arrived,
            .twice = e->workload[0] == e->workload[1],
        };
        ut_join_place(&view);
        if (view.low_ns <= to_ns &&
            !add_view(join, &view, e->connection, workload != join->workload->id))
            break;
    }
}

static void gather_folds(struct ut_join *join, uint32_t workload, int side, uint64_t from_ns,
                         uint64_t to_ns)
{
    const struct ut_event_store *store = &join->tables->events;
    uint32_t slot = store->fold_lists[side][UT_WORKLOAD_SLOT(workload)].newest;
    for (; slot != 0; slot = store->folds[slot].links[side].older) {
        struct ut_fold *f = &store->folds[slot];
        /* Folds are listed by when they were begun, which is not quite the order of their ends. */
        if (f->last_seen_ns + 2 * UT_FOLD_SPAN_NS < from_ns)
            break;
        struct ut_join_view view = {
            .seen_ns = f->last_seen_ns,
            .low_ns = f->first_sent_ns,
            .high_ns = f->last_seen_ns,
            .fold = f,
            .side = (uint8_t)side,
            .best = f->taken[side],
            .twice = f->workload[0] == f->workload[1],
        };
        if (view.seen_ns >= from_ns && view.low_ns <= to_ns &&
            !add_view(join, &view, f->connection, workload != join->workload->id))
            break;
    }
}

/* Folds are nearly in order: by when they were begun, not by when they ended. */
static void order_folds(struct ut_join *join, uint32_t first)
{
    struct ut_join_view *views = join->views;
    for (uint32_t i = first + 1; i < join->view_count; i++) {
        struct ut_join_view moved = views[i];
        uint32_t to = i;
        for (; to > first && views[to - 1].seen_ns < moved.seen_ns; to--)
            views[to] = views[to - 1];
        views[to] = moved;
    }
}

/* Merges the views from `second` on, newest first, with those before them, newest first too. */
static void merge_run(struct ut_join *join, uint32_t second)
{
    struct ut_join_view *views = join->views;
    uint32_t left = second, right = join->view_count - second, to = join->view_count;
    if (left == 0 || right == 0 || views[second - 1].seen_ns >= views[second].seen_ns)
        return;
    memcpy(join->spare, views + second, right * sizeof(views[0]));
    while (right > 0) {
        bool take_left = left > 0 && views[left - 1].seen_ns < join->spare[right - 1].seen_ns;
        views[--to] = take_left ? views[--left] : join->spare[--right];
    }
}

static void gather_workload(struct ut_join *join, uint32_t workload, uint64_t from_ns,
                            uint64_t to_ns)
{
    for (int side = 0; side < UT_SIDES; side++) {
        uint32_t second = join->view_count;
        gather_events(join, workload, side, from_ns, to_ns);
        merge_run(join, second);
        second = join->view_count;
        gather_folds(join, workload, side, from_ns, to_ns);
        order_folds(join, second);
        merge_run(join, second);
    }
}

/* From newest first to oldest first, and what the search over them asks for. */
static void finish(struct ut_join *join)
{
    struct ut_join_view *views = join->views;
    uint32_t count = join->view_count;
    for (uint32_t i = 0; i < count / 2; i++) {
        struct ut_join_view swapped = views[i];
        views[i] = views[count - 1 - i];
        views[count - 1 - i] = swapped;
    }
    uint64_t lowest_ns = UINT64_MAX;
    for (uint32_t i = count; i-- > 0;) {
        lowest_ns = views[i].low_ns < lowest_ns ? views[i].low_ns : lowest_ns;
        join->lowest_ns[i] = lowest_ns;
    }
    ut_join_index_ports(join);
}

/* The same events as for the body before, and nothing new since: they are in hand already. */
static bool still_good(const struct ut_join *join, uint64_t from_ns, uint64_t to_ns)
{
    return join->gathered.workload == join->workload->id &&
           join->gathered.version == join->tables->version && !join->exceeded &&
           from_ns >= join->gathered.from_ns && to_ns <= join->gathered.to_ns;
}

void ut_join_gather(struct ut_join *join, uint64_t from_ns, uint64_t to_ns)
{
    const struct ut_workloads *workloads = &join->tables->workloads;
    if (still_good(join, from_ns, to_ns))
        return;
    /* Bodies come in about the order of their spans: what the next ones will need is not far. */
    from_ns = from_ns > GATHER_BACK_NS ? from_ns - GATHER_BACK_NS : 0;
    if (to_ns + GATHER_AHEAD_NS > join->now_ns)
        to_ns = UINT64_MAX;
    join->gathered.workload = join->workload->id;
    join->gathered.version = join->tables->version;
    join->gathered.from_ns = from_ns;
    join->gathered.to_ns = to_ns;
    join->view_count = join->group_count = 0;
    join->exceeded = false;
    join->pass++;
    gather_workload(join, join->workload->id, from_ns, to_ns);
    for (const struct ut_workload *mate = NULL;
         (mate = ut_workloads_next_in_pod(workloads, join->workload, mate)) != NULL;)
        gather_workload(join, mate->id, from_ns, to_ns);
    finish(join);
    ut_join_gather_memory(join, from_ns, to_ns);
}
