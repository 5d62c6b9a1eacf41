/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events whose bytes carried ids on the wire. A request's head names the span that waits for it,
 * and the server's span names that one as its parent; so the ids alone tell whose bytes they are,
 * in two words of 24 bytes that nobody guesses.
 *
 * What is on the wire was written by whoever sent it, and anybody may write anybody's ids. So the
 * sender of the span has to own the end of that connection that the span stands for: the connecting
 * one for the span that is named, the accepting one for a server span whose parent it is; and where
 * that one names its socket's ends they have to be this connection's, because anybody may have sent
 * its parent's ids over another. Several server spans with one parent are several attempts, or
 * forged: then none of them is sure.
 */
#include "evidence/join_view.h"

static bool is_zero(const uint8_t id[8])
{
    static const uint8_t zeros[8];
    return memcmp(id, zeros, 8) == 0;
}

static bool names_parent(const struct ut_span *span)
{
    return span->kind == UT_SPAN_KIND_SERVER && !is_zero(span->parent_id);
}

bool ut_join_is_named(const struct ut_join *join, const struct ut_span *span)
{
    const struct ut_trace_ids *ids = &join->tables->events.trace_ids;
    if (ids->count == 0)
        return false;
    return ut_trace_ids_next(ids, span->trace_id, span->span_id, NULL) != NULL ||
           (names_parent(span) &&
            ut_trace_ids_next(ids, span->trace_id, span->parent_id, NULL) != NULL);
}

enum ownership { OTHERS, MATES, OWN };

static enum ownership owned(const struct ut_join *join, const struct ut_connection *end)
{
    if (end->workload == join->workload->id)
        return OWN;
    for (const struct ut_workload *mate = NULL;
         (mate = ut_workloads_next_in_pod(&join->tables->workloads, join->workload, mate)) != NULL;)
        if (end->workload == mate->id)
            return MATES;
    return OTHERS;
}

/* The end of the event's connection that the span stands for, if it is the sender's. */
static struct ut_connection *find_end(const struct ut_join *join, const struct ut_event *event,
                                      bool by_parent, uint8_t *ret_side, bool *ret_mate)
{
    const struct ut_connections *connections = &join->tables->connections;
    const uint8_t others_role = by_parent ? UT_ROLE_CONNECT : UT_ROLE_ACCEPT;
    struct ut_connection *local = ut_connections_get(connections, event->connection);
    if (local == NULL)
        return NULL;
    struct ut_connection *const ends[UT_SIDES] = {
        [UT_SIDE_LOCAL] = local,
        [UT_SIDE_PEER] = ut_connections_mirror(connections, local),
    };
    for (int side = 0; side < UT_SIDES; side++) {
        if (ends[side] == NULL || ends[side]->role == others_role)
            continue;
        enum ownership ownership = owned(join, ends[side]);
        *ret_side = (uint8_t)side;
        *ret_mate = ownership == MATES;
        if (ownership != OTHERS)
            return ends[side];
    }
    return NULL;
}

static void note_server(struct ut_traced *traced, const struct ut_span *span)
{
    if (is_zero(traced->server))
        memcpy(traced->server, span->span_id, sizeof(traced->server));
    else if (memcmp(traced->server, span->span_id, sizeof(traced->server)) != 0)
        traced->several = true;
}

/* `other_end`: what a server span names, where it is named by its parent; else NULL. */
static void match_entry(struct ut_join *join, const struct ut_span *span, struct ut_traced *traced,
                        const struct ut_join_named *other_end)
{
    bool by_parent = other_end != NULL;
    struct ut_event *event = &join->tables->events.events[traced->event];
    uint8_t side;
    bool mate;
    struct ut_connection *own = find_end(join, event, by_parent, &side, &mate);
    if (own == NULL) {
        ++*join->counters.ids_untrusted;
        return;
    }
    if (by_parent && ut_join_contradicts(other_end, own)) {
        ++*join->counters.contradicted;
        return;
    }
    int group = ut_join_group_of(join, own, mate);
    if (group < 0 || join->exact_count == UT_EXACT_VIEWS_MAX ||
        join->match_count == UT_MATCHES_MAX) {
        join->exceeded = true;
        return;
    }
    if (by_parent)
        note_server(traced, span);
    uint32_t index = join->view_count + join->exact_count++;
    join->views[index] = (struct ut_join_view){
        .seen_ns = event->seen_ns,
        .low_ns = event->seen_ns,
        .high_ns = event->seen_ns,
        .event = event,
        .traced = traced,
        .group = (uint16_t)group,
        .side = side,
        .cause = event->cause,
        .by_parent = by_parent,
        .best = UT_MATCH_EXACT,
    };
    join->matches[join->match_count++] =
        (struct ut_join_match){(uint16_t)index, UT_MATCH_EXACT, UT_FIT_HOLDS};
}

void ut_join_match_named(struct ut_join *join, const struct ut_body *body,
                         const struct ut_span *span)
{
    const struct ut_trace_ids *ids = &join->tables->events.trace_ids;
    if (ids->count == 0)
        return;
    for (struct ut_traced *traced = NULL;
         (traced = ut_trace_ids_next(ids, span->trace_id, span->span_id, traced)) != NULL;)
        match_entry(join, span, traced, NULL);
    for (struct ut_traced *traced = NULL;
         names_parent(span) &&
         (traced = ut_trace_ids_next(ids, span->trace_id, span->parent_id, traced)) != NULL;)
        match_entry(join, span, traced, ut_join_read_named(join, body, span));
}

enum ut_match_class ut_join_named_class(const struct ut_join_view *view)
{
    return view->by_parent && view->traced->several ? UT_MATCH_CONNECTION : UT_MATCH_EXACT;
}
