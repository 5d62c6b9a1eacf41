/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The join, in prose. The sender of a body is one workload (sender.c); only events of its own
 * connections can belong to its spans: those that one of its ends sent again (side local), and
 * those that the other end of one of its connections did (side peer). They become views, in order
 * of time.
 *
 * Pass 1, classify. For each span the views whose times meet it are looked at. A view fits a span
 * in time in one of five ways (join_window.c); the ends that the span names allow a class or
 * contradict (join_ends.c). CLIENT, PRODUCER and CONSUMER spans look at connecting sockets only,
 * SERVER at accepted ones; INTERNAL spans can only be local roots. So each pair of span and view
 * has a class: connection, peer   by the ends, where the span holds the bytes, or is (as a server
 * span of that very connection) the last that ended before, or the first that begins after;
 *   workload           where the times meet, nothing contradicts, and the span is a local root.
 * SYN- ACKs never, events of others in the pod never: they join by connection only. Each view
 * learns the strongest class that takes it. Events remember that from join to join, so that what a
 * span of an earlier batch took is not taken again by a weaker class.
 *
 * Pass 2, narrow. Among the matches of the strongest class each view learns which server span ended
 * last before it and which began first after it.
 *
 * Pass 3, award. A match stands if it is of the view's strongest class and, for spans that ended
 * before or begin after, is the nearest one, also of those in earlier batches. Views count their
 * sharers.
 *
 * Pass 4, encode (join_encode.c).
 *
 * An event whose bytes carried ids takes no part in that: it goes to the spans that they name,
 * whatever the clocks say, and to no others (join_exact.c).
 *
 * What the memory system did to the workload goes to every span that was open then
 * (join_memory.c); it takes no part in the passes.
 *
 * Limits, known: spans of one request come in different batches, so a weaker class may have taken
 * an event before the stronger came; that is not taken back. `shared_by` counts the spans in hand.
 * Matches are held for at most UT_JOIN_SPANS_MAX spans at once; larger bodies go through in parts.
 */
#include "evidence/join_view.h"

#include <stdlib.h>

/* Without a connection to tell them apart, only a server span that begins this soon after the
 * retransmit of a request counts it. */
#define BEGINS_SOON_NS (250 * UT_NS_PER_MS)
/* Events of other ports than a span names, until one contradicts it. */
enum { OTHERS_LOOKED_AT = 16 };

struct ut_join *ut_join_new(struct ut_tables *tables, struct ut_allowance *allowance,
                            const struct ut_join_counters *counters)
{
    struct ut_join *join = calloc(1, sizeof(*join));
    if (join == NULL)
        return NULL;
    join->tables = tables;
    join->allowance = allowance;
    join->counters = *counters;
    join->views = calloc(UT_VIEWS_MAX + UT_EXACT_VIEWS_MAX, sizeof(join->views[0]));
    join->spare = calloc(UT_VIEWS_MAX, sizeof(join->spare[0]));
    join->lowest_ns = calloc(UT_VIEWS_MAX, sizeof(join->lowest_ns[0]));
    join->ports.views = calloc(UT_VIEWS_MAX, sizeof(join->ports.views[0]));
    join->groups = calloc(UT_GROUPS_MAX, sizeof(join->groups[0]));
    join->marks = calloc(UT_CONNECTIONS_MAX + 1, sizeof(join->marks[0]));
    join->matches = calloc(UT_MATCHES_MAX, sizeof(join->matches[0]));
    join->spans = calloc(UT_JOIN_SPANS_MAX, sizeof(join->spans[0]));
    join->stalls = calloc(UT_STALLS_VIEWED_MAX, sizeof(join->stalls[0]));
    join->kills = calloc(UT_KILLS_VIEWED_MAX, sizeof(join->kills[0]));
    join->allocators = calloc(UT_SERIES_POINTS, sizeof(join->allocators[0]));
    if (join->views == NULL || join->spare == NULL || join->lowest_ns == NULL ||
        join->ports.views == NULL || join->groups == NULL || join->marks == NULL ||
        join->matches == NULL || join->spans == NULL || join->stalls == NULL ||
        join->kills == NULL || join->allocators == NULL) {
        ut_join_free(join);
        return NULL;
    }
    return join;
}

void ut_join_free(struct ut_join *join)
{
    if (join == NULL)
        return;
    free(join->views);
    free(join->spare);
    free(join->lowest_ns);
    free(join->ports.views);
    free(join->groups);
    free(join->marks);
    free(join->matches);
    free(join->spans);
    free(join->stalls);
    free(join->kills);
    free(join->allocators);
    free(join);
}

/* ---- pass 1: classify ------------------------------------------------------------------------ */

static bool is_root(const struct ut_span *span)
{
    uint64_t parent;
    memcpy(&parent, span->parent_id, sizeof(parent));
    return parent == 0;
}

static bool kind_takes(const struct ut_span *span, const struct ut_join_view *view, uint8_t role)
{
    if (span->kind == UT_SPAN_KIND_SERVER)
        return role != UT_ROLE_CONNECT;
    if (ut_join_is_client(span))
        return role != UT_ROLE_ACCEPT;
    /* Both ends may be this workload's own: an event counts once. */
    return is_root(span) && !(view->twice && view->side == UT_SIDE_PEER);
}

/* What the ends of the span at hand allow on this connection; looked at once per span. */
static enum ut_match_class ends_class(struct ut_join *join, const struct ut_body *body,
                                      const struct ut_span *span, struct ut_join_group *group)
{
    if (group->span != join->serial) {
        group->span = join->serial;
        group->ends =
            (uint8_t)ut_join_ends_class(join, group, span, ut_join_read_named(join, body, span));
    }
    return group->ends;
}

static enum ut_match_class weakest_allowed(const struct ut_join_view *view,
                                           const struct ut_join_group *group,
                                           const struct ut_span *span, enum ut_join_fit fit)
{
    bool local_root = span->kind == UT_SPAN_KIND_SERVER || is_root(span);
    if (!local_root || group->mate || view->cause == UT_CAUSE_SYN_ACK)
        return UT_MATCH_NONE;
    if (fit == UT_FIT_BEGAN && span->start_ns > view->seen_ns + BEGINS_SOON_NS)
        return UT_MATCH_NONE;
    return UT_MATCH_WORKLOAD;
}

static enum ut_match_class class_of(const struct ut_join_view *view,
                                    const struct ut_join_group *group, const struct ut_span *span,
                                    enum ut_join_fit fit, enum ut_match_class ends)
{
    bool named = ut_join_is_client(span) || span->kind == UT_SPAN_KIND_SERVER;
    bool nearest = fit == UT_FIT_ENDED || fit == UT_FIT_BEGAN;
    enum ut_match_class least = nearest || group->mate || view->cause == UT_CAUSE_SYN_ACK
                                    ? UT_MATCH_CONNECTION
                                    : UT_MATCH_PEER;
    if (named && ends >= UT_MATCH_PEER && fit == UT_FIT_MEETS)
        return UT_MATCH_NONE; /* it is its connection, and so the time decides */
    if (named && ends >= least)
        return ends;
    return weakest_allowed(view, group, span, fit);
}

static void look_at_view(struct ut_join *join, const struct ut_body *body,
                         struct ut_join_span *entry, uint32_t index)
{
    const struct ut_span *span = &body->spans[entry->row];
    struct ut_join_view *view = &join->views[index];
    struct ut_join_group *group = &join->groups[view->group];
    if (!kind_takes(span, view, group->role))
        return;
    enum ut_join_fit fit = ut_join_fit(view, group, span, join->slack_ns);
    if (fit == UT_FIT_NONE) {
        entry->partial |=
            view->fold != NULL && view->seen_ns >= span->start_ns && view->low_ns <= span->end_ns;
        return;
    }
    enum ut_match_class ends = ends_class(join, body, span, group);
    if (ends == UT_MATCH_NONE) {
        ++*join->counters.contradicted;
        ut_join_note_contradiction(join, group, span, ut_join_read_named(join, body, span));
        return;
    }
    if (fit == UT_FIT_MEETS && ends == UT_MATCH_CONNECTION && view->side == UT_SIDE_PEER &&
        span->kind == UT_SPAN_KIND_SERVER && ut_join_had_arrived(view, span, join->slack_ns))
        view->arrived = join->learnt = true;
    enum ut_match_class match = class_of(view, group, span, fit, ends);
    if (match == UT_MATCH_NONE)
        return;
    if (match > view->best)
        view->best = (uint8_t)match;
    join->matches[join->match_count++] =
        (struct ut_join_match){(uint16_t)index, (uint8_t)match, (uint8_t)fit};
}

/* All views from `first` on, or the next ones until one contradicts. */
static void look_at_all(struct ut_join *join, const struct ut_body *body,
                        struct ut_join_span *entry, uint32_t first, bool one_contradiction)
{
    uint64_t until_ns = body->spans[entry->row].end_ns + join->slack_ns;
    uint64_t contradicted = *join->counters.contradicted;
    uint32_t end = join->view_count;
    if (one_contradiction && end > first + OTHERS_LOOKED_AT)
        end = first + OTHERS_LOOKED_AT;
    for (uint32_t i = first; i < end && join->lowest_ns[i] <= until_ns; i++) {
        look_at_view(join, body, entry, i);
        if (one_contradiction && *join->counters.contradicted != contradicted)
            break;
    }
}

/* Those of connections to the port that the span names. Where that gives nothing, the span may be
 * one whose end the kernel sees differently: then one event that contradicts it tells of all. */
static void look_at_port(struct ut_join *join, const struct ut_body *body,
                         struct ut_join_span *entry, uint32_t first, uint16_t port)
{
    uint64_t until_ns = body->spans[entry->row].end_ns + join->slack_ns;
    uint64_t contradicted = *join->counters.contradicted;
    uint32_t at = ut_join_seek_port(join, port, first);
    for (uint32_t view; (view = ut_join_next_on_port(join, port, &at)) != UINT32_MAX &&
                        join->lowest_ns[view] <= until_ns;)
        look_at_view(join, body, entry, view);
    if (join->match_count == entry->first && *join->counters.contradicted == contradicted)
        look_at_all(join, body, entry, first, true);
}

static void look_at_views(struct ut_join *join, const struct ut_body *body,
                          struct ut_join_span *entry, uint32_t first)
{
    const struct ut_span *span = &body->spans[entry->row];
    if (!ut_join_is_client(span) && span->kind != UT_SPAN_KIND_SERVER && !is_root(span))
        return;
    uint16_t port = 0;
    if (ut_join_has_port_index(join, first))
        port = ut_join_read_named(join, body, span)->ends.remote.endpoint.port;
    if (port != 0)
        look_at_port(join, body, entry, first, port);
    else
        look_at_all(join, body, entry, first, false);
}

static void look_at(struct ut_join *join, const struct ut_body *body, uint32_t row, uint32_t first)
{
    const struct ut_span *span = &body->spans[row];
    struct ut_join_span *entry = &join->spans[join->span_count];
    *entry = (struct ut_join_span){.row = row, .first = join->match_count};
    join->serial++;
    ut_join_meet_memory(join, span, &entry->memory);
    look_at_views(join, body, entry, first);
    ut_join_match_named(join, body, span);
    entry->count = join->match_count - entry->first;
    join->span_count += entry->count > 0 || entry->memory.any;
}

/* ---- pass 2: narrow -------------------------------------------------------------------------- */

static void narrow(struct ut_join *join, const struct ut_span *span,
                   const struct ut_join_match *match)
{
    struct ut_join_view *view = &join->views[match->view];
    if (match->match != view->best)
        return;
    if (match->fit == UT_FIT_HOLDS) {
        view->held = true;
    } else if (match->fit == UT_FIT_ENDED && span->end_ns > view->last_end_ns) {
        view->last_end_ns = span->end_ns;
        view->last_start_ns = span->start_ns;
    } else if (match->fit == UT_FIT_BEGAN && span->start_ns < view->first_start_ns) {
        view->first_start_ns = span->start_ns;
    }
}

/* ---- pass 3: award --------------------------------------------------------------------------- */

static uint32_t distance_us(uint64_t from_ns, uint64_t to_ns)
{
    uint64_t us = to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX - 1;
}

/* The last server span that ended before, or one that was open at the same time as that one: then
 * requests are not one at a time, and any of them may be meant. */
static bool ended_last(const struct ut_join_view *view, const struct ut_span *span)
{
    return !view->held && span->end_ns > view->last_start_ns &&
           distance_us(view->last_end_ns, view->seen_ns) <= view->event->ended_before_us;
}

static bool began_first(const struct ut_join_view *view, const struct ut_join_group *group,
                        const struct ut_span *span)
{
    if (view->held || view->arrived || span->start_ns != view->first_start_ns)
        return false;
    uint64_t from_ns = view->cause == UT_CAUSE_SYN_ACK ? group->own->established_ns : view->seen_ns;
    return distance_us(from_ns, span->start_ns) <= view->event->began_after_us;
}

static bool stands(const struct ut_join *join, const struct ut_span *span,
                   const struct ut_join_match *match)
{
    const struct ut_join_view *view = &join->views[match->view];
    if (view->traced != NULL)
        return true;
    if (match->match != view->best)
        return false;
    switch (match->fit) {
    case UT_FIT_ENDED:
        return match->match == UT_MATCH_WORKLOAD || ended_last(view, span);
    case UT_FIT_BEGAN:
        return began_first(view, &join->groups[view->group], span);
    default:
        return true;
    }
}

static void award(struct ut_join *join, const struct ut_body *body, struct ut_join_span *entry)
{
    const struct ut_span *span = &body->spans[entry->row];
    bool any = false;
    for (uint32_t i = entry->first; i < entry->first + entry->count; i++) {
        struct ut_join_match *match = &join->matches[i];
        struct ut_join_view *view = &join->views[match->view];
        if (!stands(join, span, match))
            match->match = UT_MATCH_NONE;
        else
            view->sharers++;
        if (view->traced != NULL)
            match->match = (uint8_t)ut_join_named_class(view);
        if (view->traced != NULL && match->match != UT_MATCH_EXACT)
            view->sharers = 2; /* at least: the other may be in another batch */
        any |= match->match != UT_MATCH_NONE;
        match->fit = 0; /* what is left tells all that the evidence says */
    }
    if (!any)
        entry->count = 0;
}

/* What the event keeps in mind for the batches that come later. */
static void remember(const struct ut_join *join, const struct ut_join_view *view)
{
    if (view->fold != NULL) {
        view->fold->taken[view->side] = view->best;
        return;
    }
    struct ut_event *e = view->event;
    e->taken[view->side] = view->best;
    e->arrived |= view->arrived;
    if (view->held && view->best >= UT_MATCH_PEER &&
        join->groups[view->group].role != UT_ROLE_CONNECT)
        e->ended_before_us = e->began_after_us = 0;
    if (view->last_end_ns != 0 && view->best >= UT_MATCH_PEER) {
        uint32_t us = distance_us(view->last_end_ns, view->seen_ns);
        e->ended_before_us = us < e->ended_before_us ? us : e->ended_before_us;
    }
    if (view->first_start_ns != UINT64_MAX) {
        uint64_t from_ns = view->cause == UT_CAUSE_SYN_ACK
                               ? join->groups[view->group].own->established_ns
                               : view->seen_ns;
        uint32_t us = distance_us(from_ns, view->first_start_ns);
        e->began_after_us = us < e->began_after_us ? us : e->began_after_us;
    }
}

/* ---- the flow ----------------------------------------------------------------------------------
 */

/* Passes 2 to 4 over the spans in hand. */
static void settle(struct ut_join *join, struct ut_body *body)
{
    for (uint32_t s = 0; s < join->span_count; s++) {
        const struct ut_join_span *entry = &join->spans[s];
        for (uint32_t i = entry->first; i < entry->first + entry->count; i++)
            narrow(join, &body->spans[entry->row], &join->matches[i]);
    }
    for (uint32_t s = 0; s < join->span_count; s++)
        award(join, body, &join->spans[s]);
    join->encoded = NULL;
    for (uint32_t s = 0; s < join->span_count; s++) {
        struct ut_join_span *entry = &join->spans[s];
        if (entry->count == 0 && !entry->memory.any)
            continue;
        entry->partial |= ut_join_is_partial(join, &body->spans[entry->row]);
        ut_join_encode(join, body, entry);
    }
    for (uint32_t i = 0; i < join->view_count; i++) {
        struct ut_join_view *view = &join->views[i];
        remember(join, view);
        view->held = false;
        view->sharers = 0;
        view->last_end_ns = view->last_start_ns = 0;
        view->first_start_ns = UINT64_MAX;
    }
    ut_join_forget_sharers(join);
    join->span_count = join->match_count = join->exact_count = 0;
    join->learnt = false;
}

/* The first view that may fit a span; those before it were seen too early. */
static uint32_t first_view(const struct ut_join *join, const struct ut_span *span)
{
    uint64_t back_ns = join->slack_ns;
    if (span->kind == UT_SPAN_KIND_SERVER)
        back_ns += 2 * UT_JOIN_BEGINS_WITHIN_NS;
    uint64_t from_ns = span->start_ns > back_ns ? span->start_ns - back_ns : 0;
    uint32_t low = 0, high = join->view_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (join->views[middle].seen_ns < from_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_sane_times(struct ut_join *join, const struct ut_span *span)
{
    if (span->end_ns < span->start_ns || span->start_ns <= UT_NS_PER_S) {
        ++*join->counters.ends_before_start;
        return false;
    }
    if (span->end_ns > join->now_ns + join->slack_ns) {
        ++*join->counters.in_future;
        return false;
    }
    return true;
}

static uint64_t horizon_of(const struct ut_tables *tables, uint32_t workload)
{
    uint64_t events_ns = ut_event_store_horizon(&tables->events, workload);
    uint64_t memory_ns = ut_memory_store_horizon(&tables->memory, workload);
    return events_ns > memory_ns ? events_ns : memory_ns;
}

bool ut_join_begin(struct ut_join *join, const struct ut_body *body,
                   const struct ut_workload *workload, const struct ut_join_options *options,
                   uint64_t now_ns)
{
    const uint64_t back_ns = options->slack_ns + 2 * UT_JOIN_BEGINS_WITHIN_NS;
    join->workload = workload;
    join->slack_ns = options->slack_ns;
    join->now_ns = now_ns;
    join->horizon_ns = horizon_of(join->tables, workload->id);
    join->no_room = false;
    join->named_by = NULL;
    join->span_count = join->match_count = join->exact_count = 0;
    uint64_t from_ns = body->oldest_start_ns > back_ns ? body->oldest_start_ns - back_ns : 0;
    uint64_t to_ns = body->newest_end_ns < now_ns ? body->newest_end_ns : now_ns;
    ut_join_gather(join, from_ns, to_ns + join->slack_ns);
    ut_join_begin_held(join, body->oldest_start_ns, to_ns);
    ut_join_begin_doubts(join, body->oldest_start_ns, to_ns);
    return join->held_changed || join->allocated_much || join->tables->events.trace_ids.count > 0 ||
           join->view_count + join->stall_count + join->kill_count > 0;
}

void ut_join_resource(struct ut_join *join, struct ut_body *body,
                      const struct ut_resource *resource)
{
    uint32_t end = resource->first_span + resource->span_count;
    bool memory =
        join->held_changed || join->allocated_much || join->stall_count + join->kill_count > 0;
    bool nothing = join->view_count == 0 && !memory && join->tables->events.trace_ids.count == 0;
    /* What a trusted forwarder has joined is not joined again. */
    uint8_t skipped = UT_SPAN_LEFT_OUT | (body->sender.is_forwarder ? UT_SPAN_FORGED : 0);
    for (uint32_t row = resource->first_span; row < end; row++) {
        const struct ut_span *span = &body->spans[row];
        if ((span->flags & skipped) || !has_sane_times(join, span))
            continue;
        *join->counters.late += span->start_ns < join->horizon_ns;
        if (nothing)
            continue;
        uint32_t first = first_view(join, span);
        bool views =
            first < join->view_count && join->lowest_ns[first] <= span->end_ns + join->slack_ns;
        if (!views && !memory && !ut_join_is_named(join, span))
            continue;
        if (join->exact_count == UT_EXACT_VIEWS_MAX || join->span_count == UT_JOIN_SPANS_MAX ||
            join->match_count + join->view_count > UT_MATCHES_MAX)
            settle(join, body);
        look_at(join, body, row, first);
    }
}

void ut_join_end(struct ut_join *join, struct ut_body *body)
{
    if (join->span_count > 0 || join->learnt)
        settle(join, body);
    *join->counters.views_exceeded += join->exceeded;
}
