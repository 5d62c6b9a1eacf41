/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a connection fit the ends that a span names?
 *
 * Socket-level keys contradict; logical ones (server.*, url.full, client.*) only confirm, because a
 * proxy, DNS or a header may stand behind them. Numeric addresses alone do either; an unspecified
 * one (0.0.0.0, ::) is what a server listens on and says nothing. All is compared with what the
 * workload's own socket says, so that a translated address fits where it is seen.
 *
 * An end that is confirmed with address and port is `connection` if no other connection of the
 * workload (of the pod, for a proxy's) that was open in the span's time fits as well, and the table
 * can vouch for that; else `peer`. An accepting end needs no vouching: no two clients share an
 * address and port at a time. The port alone is `peer` if the table is complete and all connections
 * to that port lead to one address.
 */
#include <stdio.h>

#include "evidence/join_view.h"

enum { LOOKED_AT_MAX = 512 };

/* After a loss of records a long-lived connection may be missing for as long as it lives. */
#define LOSS_DOUBTED_NS (900 * UT_NS_PER_S)

static bool is_unspecified(const struct ut_address *address)
{
    static const uint8_t zeros[16];
    return memcmp(address->bytes, zeros, 16) == 0 ||
           (ut_address_is_v4(address) && memcmp(address->bytes + 12, zeros, 4) == 0);
}

/* Whether the bytes that name the ends of both spans are the same, and mean the same. */
static bool named_alike(const struct ut_body *body, const struct ut_span *a,
                        const struct ut_span *b)
{
    size_t size = (size_t)(a->ends_end - a->ends_begin);
    const uint8_t *segment = body->segment->data;
    return a->kind == b->kind && a->ends_end != UT_SPAN_ENDS_FAR &&
           b->ends_end != UT_SPAN_ENDS_FAR && size == (size_t)(b->ends_end - b->ends_begin) &&
           memcmp(segment + a->offset + a->ends_begin, segment + b->offset + b->ends_begin, size) ==
               0;
}

static void read_named(const struct ut_body *body, const struct ut_span *span,
                       struct ut_join_named *ret)
{
    ut_span_read_ends(body, span, &ret->ends);
    struct ut_named_end *const ends[] = {&ret->ends.remote, &ret->ends.local, &ret->ends.logical};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (ends[i]->has_address && is_unspecified(&ends[i]->endpoint.address))
            ends[i]->has_address = false;
    }
    const struct ut_named_end *address =
        ret->ends.remote.has_address ? &ret->ends.remote : &ret->ends.logical;
    ret->has_address = address->has_address;
    ret->remote.address = address->endpoint.address;
    ret->remote.port = ret->ends.remote.endpoint.port != 0 ? ret->ends.remote.endpoint.port
                                                           : ret->ends.logical.endpoint.port;
}

const struct ut_join_named *ut_join_read_named(struct ut_join *join, const struct ut_body *body,
                                               const struct ut_span *span)
{
    if (join->named_by == span)
        return &join->named;
    if (join->named_by == NULL || !named_alike(body, join->named_by, span))
        read_named(body, span, &join->named);
    join->named_by = span;
    return &join->named;
}

static bool end_contradicts(const struct ut_named_end *named, const struct ut_endpoint *socket)
{
    if (named->has_address && !is_unspecified(&socket->address) &&
        !ut_address_equal(&named->endpoint.address, &socket->address))
        return true;
    return named->endpoint.port != 0 && socket->port != 0 && named->endpoint.port != socket->port;
}

bool ut_join_contradicts(const struct ut_join_named *named, const struct ut_connection *own)
{
    return end_contradicts(&named->ends.remote, &own->remote) ||
           end_contradicts(&named->ends.local, &own->local);
}

static bool role_takes(const struct ut_span *span, uint8_t role)
{
    return ut_join_is_client(span) ? role != UT_ROLE_ACCEPT : role != UT_ROLE_CONNECT;
}

/* How many connections of one workload fit the whole remote end as `own` does; two are enough to
 * know. */
static uint32_t count_fitting(const struct ut_join *join, uint32_t workload,
                              const struct ut_span *span, const struct ut_join_named *named)
{
    uint32_t fitting = 0, looked_at = 0;
    uint64_t from_ns = span->start_ns - join->slack_ns, to_ns = span->end_ns + join->slack_ns;
    for (const struct ut_connection *c = NULL;
         (c = ut_connections_next_on_port(&join->tables->connections, workload, named->remote.port,
                                          c)) != NULL;) {
        if (++looked_at > LOOKED_AT_MAX)
            return 2; /* nobody knows; several is the careful answer */
        if (ut_connection_same_end(&c->remote, &named->remote) && role_takes(span, c->role) &&
            ut_connection_open_in(c, from_ns, to_ns) && !ut_join_contradicts(named, c) &&
            ++fitting == 2)
            break;
    }
    return fitting;
}

/* Of the span's own workload; once for each span. */
static uint32_t count_own_fitting(struct ut_join *join, const struct ut_span *span,
                                  const struct ut_join_named *named)
{
    if (join->fitting_serial != join->serial) {
        join->fitting_serial = join->serial;
        join->fitting = count_fitting(join, join->workload->id, span, named);
    }
    return join->fitting;
}

/* As above, over the workload of the spans and, where the connection is another's in the pod, over
 * the whole pod. */
static uint32_t count_in_scope(struct ut_join *join, const struct ut_join_group *group,
                               const struct ut_span *span, const struct ut_join_named *named)
{
    uint32_t fitting = count_own_fitting(join, span, named);
    if (!group->mate)
        return fitting;
    for (const struct ut_workload *mate = NULL;
         fitting < 2 &&
         (mate = ut_workloads_next_in_pod(&join->tables->workloads, join->workload, mate)) != NULL;)
        fitting += count_fitting(join, mate->id, span, named);
    return fitting;
}

/* That none of the connections counted above is missing. */
static bool is_vouched_for(const struct ut_join *join, const struct ut_join_group *group,
                           const struct ut_span *span, const struct ut_join_named *named)
{
    const struct ut_tables *tables = join->tables;
    if (group->own->role == UT_ROLE_ACCEPT || named->ends.local.endpoint.port != 0)
        return true;
    bool complete = ut_tables_complete(tables, join->workload->id, span->start_ns, span->end_ns);
    for (const struct ut_workload *mate = NULL;
         complete && group->mate &&
         (mate = ut_workloads_next_in_pod(&tables->workloads, join->workload, mate)) != NULL;)
        complete = ut_tables_complete(tables, mate->id, span->start_ns, span->end_ns);
    return complete;
}

static bool one_address_on_port(const struct ut_join *join, const struct ut_join_group *group,
                                const struct ut_span *span, const struct ut_join_named *named)
{
    const struct ut_tables *tables = join->tables;
    uint32_t workload = join->workload->id, looked_at = 0;
    uint64_t from_ns = span->start_ns - join->slack_ns, to_ns = span->end_ns + join->slack_ns;
    uint64_t doubted_ns = from_ns > LOSS_DOUBTED_NS ? from_ns - LOSS_DOUBTED_NS : 0;
    if (!ut_tables_complete(tables, workload, span->start_ns, span->end_ns) ||
        ut_gaps_lack_connections(&tables->gaps, workload, doubted_ns, to_ns))
        return false;
    for (const struct ut_connection *c = NULL;
         (c = ut_connections_next_on_port(&tables->connections, workload, named->remote.port, c)) !=
         NULL;) {
        if (++looked_at > LOOKED_AT_MAX)
            return false;
        if (role_takes(span, c->role) && ut_connection_open_in(c, from_ns, to_ns) &&
            !ut_address_equal(&c->remote.address, &group->own->remote.address))
            return false;
    }
    return true;
}

/* A client's span that names in full where another connection of its workload led was on that one:
 * no proxy stands between the two. */
static bool names_another(struct ut_join *join, const struct ut_span *span,
                          const struct ut_join_named *named)
{
    return ut_join_is_client(span) && named->has_address &&
           count_own_fitting(join, span, named) > 0;
}

enum ut_match_class ut_join_ends_class(struct ut_join *join, const struct ut_join_group *group,
                                       const struct ut_span *span,
                                       const struct ut_join_named *named)
{
    const struct ut_connection *own = group->own;
    if (ut_join_contradicts(named, own))
        return UT_MATCH_NONE;
    if (named->remote.port == 0)
        return UT_MATCH_WORKLOAD;
    if (named->remote.port != own->remote.port)
        return names_another(join, span, named) ? UT_MATCH_NONE : UT_MATCH_WORKLOAD;
    if (!named->has_address)
        return one_address_on_port(join, group, span, named) ? UT_MATCH_PEER : UT_MATCH_WORKLOAD;
    if (!ut_address_equal(&named->remote.address, &own->remote.address))
        return names_another(join, span, named) ? UT_MATCH_NONE : UT_MATCH_WORKLOAD;
    if (!ut_connection_open_in(own, span->start_ns - join->slack_ns, span->end_ns + join->slack_ns))
        return UT_MATCH_WORKLOAD; /* the same two ends at another time */
    if (count_in_scope(join, group, span, named) == 1 && is_vouched_for(join, group, span, named))
        return UT_MATCH_CONNECTION;
    return UT_MATCH_PEER;
}

void ut_join_note_contradiction(struct ut_join *join, const struct ut_join_group *group,
                                const struct ut_span *span, const struct ut_join_named *named)
{
    struct ut_unmatched_ends *unmatched = &join->unmatched;
    bool names_it = ut_join_is_client(span) && !group->mate && named->ends.remote.has_address &&
                    named->remote.port != 0;
    if (!names_it || join->unmatched_serial == join->serial)
        return;
    join->unmatched_serial = join->serial;
    if (!ut_tables_complete(join->tables, join->workload->id, span->start_ns, span->end_ns) ||
        count_own_fitting(join, span, named) > 0)
        return;
    ++*join->counters.unmatched;
    unmatched->spans++;
    unmatched->named = named->remote;
    unmatched->socket = group->own->remote;
    (void)snprintf(unmatched->workload, sizeof(unmatched->workload), "%s",
                   join->workload->shown_path);
}

const struct ut_unmatched_ends *ut_join_unmatched(const struct ut_join *join)
{
    return &join->unmatched;
}
