/* SPDX-License-Identifier: Apache-2.0 */
#include "debug_exporter/findings.h"

#include <stdlib.h>

#include "model/batch.h"

enum { HITS_MAX = 4096 };

struct hit {
    const struct debug_node *node;
    const struct debug_event *event;
    enum debug_finding_kind kind;
};

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_slices(ut_slice a, ut_slice b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return order != 0 ? order : compare(a.size, b.size);
}

static bool is_peer(const struct debug_event *event)
{
    return ut_slice_equal(event->side, UT_SLICE("peer"));
}

/* 0: the same retransmission, seen from either end. The closing count of many has no sequence
 * number and is nobody's but its span's. */
static int by_event(const struct hit *x, const struct hit *y)
{
    int order = compare(x->event->time_ns, y->event->time_ns);
    order = order != 0 ? order : compare((uint64_t)x->event->seq, (uint64_t)y->event->seq);
    order = order != 0 ? order : compare((uint64_t)x->event->bytes, (uint64_t)y->event->bytes);
    return order != 0 || x->event->seq >= 0 ? order : compare(x->node->order, y->node->order);
}

/* Among the spans with the same one, first the one that lasted longest, and the client's. */
static int by_event_then_wait(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    int order = by_event(x, y);
    if (order == 0)
        order = compare(debug_span_duration(y->node->span), debug_span_duration(x->node->span));
    if (order == 0)
        order = (y->node->span->kind == UT_SPAN_KIND_CLIENT) -
                (x->node->span->kind == UT_SPAN_KIND_CLIENT);
    return order != 0 ? order : compare(x->node->order, y->node->order);
}

static const struct debug_event *other_end(const struct hit *hit, ut_slice *address, int64_t *port)
{
    const struct debug_event *event = hit->event;
    *address = is_peer(event) ? event->peer_address : event->local_address;
    *port = is_peer(event) ? event->peer_port : event->local_port;
    return event;
}

/* 0: one line tells both. Of one span the peer's retransmissions come first, probes last. */
static int by_line(const struct hit *x, const struct hit *y)
{
    ut_slice x_address, y_address;
    int64_t x_port, y_port;
    const struct debug_event *p = other_end(x, &x_address, &x_port);
    const struct debug_event *q = other_end(y, &y_address, &y_port);
    int order = compare(x->node->order, y->node->order);
    order = order != 0 ? order : compare(x->kind, y->kind);
    order = order != 0 ? order : is_peer(q) - is_peer(p);
    order = order != 0 ? order : compare_slices(p->type, q->type);
    order = order != 0 ? order : compare_slices(p->match, q->match);
    order = order != 0 ? order : compare_slices(x_address, y_address);
    return order != 0 ? order : compare((uint64_t)x_port, (uint64_t)y_port);
}

static int by_line_then_time(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    int order = by_line(x, y);
    return order != 0 ? order : compare(x->event->time_ns, y->event->time_ns);
}

static enum debug_finding_kind kind_of(const struct debug_event *event)
{
    if (event->omitted >= 0)
        return DEBUG_OMITTED;
    return ut_slice_equal(event->type, UT_SLICE("tail_loss_probe")) ? DEBUG_PROBE
                                                                    : DEBUG_RETRANSMIT;
}

static bool collect(const struct debug_tree *tree, struct ut_arena *arena, struct hit **ret,
                    size_t *ret_count)
{
    size_t count = 0, filled = 0;
    for (const struct debug_node *node = tree->first; node != NULL; node = node->next)
        for (const struct debug_event *e = node->span->events; e != NULL; e = e->next)
            count++;
    count = count < HITS_MAX ? count : HITS_MAX;
    *ret_count = count;
    *ret = count > 0 ? ut_arena_alloc(arena, count * sizeof(**ret)) : NULL;
    if (count > 0 && *ret == NULL)
        return false;
    for (const struct debug_node *node = tree->first; node != NULL; node = node->next)
        for (const struct debug_event *e = node->span->events; e != NULL && filled < count;
             e = e->next)
            (*ret)[filled++] = (struct hit){.node = node, .event = e, .kind = kind_of(e)};
    return true;
}

static size_t drop_copies(struct hit *hits, size_t count)
{
    size_t kept = 0;
    if (count > 0)
        qsort(hits, count, sizeof(*hits), by_event_then_wait);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || by_event(&hits[kept - 1], &hits[i]) != 0)
            hits[kept++] = hits[i];
    return kept;
}

/* The server's span of a client's, if there is one answer to that. */
static const struct debug_node *server_of(const struct debug_node *node)
{
    const struct debug_node *found = NULL;
    for (const struct debug_node *child = node->child; child != NULL; child = child->after) {
        if (child->span->kind != UT_SPAN_KIND_SERVER)
            continue;
        if (found != NULL && !ut_slice_equal(found->span->service, child->span->service))
            return NULL;
        found = found != NULL ? found : child;
    }
    return found;
}

static ut_slice peer_service(const struct debug_node *node)
{
    const struct debug_node *other = NULL;
    if (node->span->kind == UT_SPAN_KIND_SERVER)
        other = node->parent != NULL && node->parent->span->kind == UT_SPAN_KIND_CLIENT
                    ? node->parent
                    : NULL;
    else
        other = server_of(node);
    return other != NULL ? other->span->service : (ut_slice){0};
}

ut_slice debug_request_name(const struct debug_node *node)
{
    ut_slice name = node->span->name;
    const struct debug_node *server = server_of(node);
    if (node->span->kind == UT_SPAN_KIND_CLIENT && server != NULL && name.size > 0 &&
        memchr(name.data, ' ', name.size) == NULL && ut_slice_starts(server->span->name, name))
        return server->span->name;
    return name;
}

static uint64_t at_least_zero(int64_t number)
{
    return number > 0 ? (uint64_t)number : 0;
}

static void add_hit(struct debug_finding *finding, const struct debug_event *event)
{
    if (finding->kind == DEBUG_OMITTED) {
        finding->segments += at_least_zero(event->omitted);
        return;
    }
    finding->bytes += at_least_zero(event->bytes);
    finding->segments += event->segments > 0 ? (uint64_t)event->segments : 1;
    if (event->waited_min_ns > finding->waited_min_ns)
        finding->waited_min_ns = event->waited_min_ns;
}

static struct debug_finding *finding_of(struct ut_arena *arena, const struct hit *hit)
{
    struct debug_finding *finding = ut_arena_alloc(arena, sizeof(*finding));
    if (finding == NULL)
        return NULL;
    *finding = (struct debug_finding){
        .node = hit->node, .kind = hit->kind, .event = hit->event, .waited_min_ns = -1};
    (void)other_end(hit, &finding->address, &finding->port);
    finding->service = is_peer(hit->event) ? peer_service(hit->node) : hit->node->span->service;
    add_hit(finding, hit->event);
    return finding;
}

/* Spans that have numbers and no event. */
static struct debug_finding *count_of(struct ut_arena *arena, const struct debug_node *node)
{
    struct debug_finding *finding = ut_arena_alloc(arena, sizeof(*finding));
    if (finding != NULL)
        *finding = (struct debug_finding){
            .node = node,
            .kind = DEBUG_COUNT,
            .port = -1,
            .bytes = at_least_zero(node->span->counts.bytes),
            .segments = at_least_zero(node->span->counts.retransmits),
            .waited_min_ns = -1,
        };
    return finding;
}

/* Adds the lines of one node, whose hits begin at hits[*at]; moves *at behind them. */
static bool add_node(const struct debug_node *node, const struct hit *hits, size_t count,
                     size_t *at, struct ut_arena *arena, struct debug_finding ***last)
{
    struct debug_finding *newest = NULL;
    bool sent_again = false;
    if (node->span->events == NULL && node->span->counts.match.size > 0) {
        newest = **last = count_of(arena, node);
        if (newest == NULL)
            return false;
        *last = &newest->next;
        return true;
    }
    for (; *at < count && hits[*at].node == node; ++*at) {
        const struct hit *hit = &hits[*at];
        sent_again |= hit->kind == DEBUG_RETRANSMIT;
        /* Where an answer is lost, the client probes its request too: no news. */
        if (hit->kind == DEBUG_PROBE && sent_again)
            continue;
        if (newest != NULL && by_line(hit - 1, hit) == 0) {
            add_hit(newest, hit->event);
            continue;
        }
        newest = **last = finding_of(arena, hit);
        if (newest == NULL)
            return false;
        *last = &newest->next;
    }
    return true;
}

bool debug_findings(const struct debug_tree *tree, struct ut_arena *arena,
                    struct debug_finding **ret)
{
    struct hit *hits;
    size_t count, at = 0;
    *ret = NULL;
    if (!collect(tree, arena, &hits, &count))
        return false;
    count = drop_copies(hits, count);
    if (count > 0)
        qsort(hits, count, sizeof(*hits), by_line_then_time);
    for (const struct debug_node *node = tree->first; node != NULL; node = node->next)
        if (!add_node(node, hits, count, &at, arena, &ret))
            return false;
    return true;
}
