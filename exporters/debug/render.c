/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     trace 4bf92f3577b34da6a3ce929d0e0e4736   231 ms   4 spans   order, payment
 *       231 ms  order    POST /order
 *       215 ms  order    └─ POST
 *       213 ms  payment     └─ POST /payment
 *       212 ms  payment        └─ POST
 *               POST 212 ms ← 10.77.0.12:8003 retransmitted 800 B, waited ≥ 204 ms (timeout),
 * connection
 *
 * Three columns: durations, right; services; the tree. Everything that is not ours is escaped.
 */
#include "debug_exporter/render.h"

#include "debug_exporter/details.h"
#include "debug_exporter/findings.h"
#include "debug_exporter/tree.h"

enum {
    DURATION_COLUMNS = 8,
    SERVICE_COLUMNS_MAX = 24,
    SERVICES_SHOWN = 8,
    SPANS_SHOWN = 1000,
    FINDINGS_SHOWN = 20,
    LEVELS_SHOWN = 24,
    PREFIX_MAX = 1024,
    STATUS_ERROR = 2,
};

struct rendering {
    struct debug_text *text;
    struct debug_tree tree;
    struct debug_text prefix; /* of the lines below a span */
    size_t service_columns;
    bool detailed;
};

static ut_slice service_of(const struct debug_span *span)
{
    return span->service.size > 0 ? span->service : UT_SLICE("?");
}

/* Columns of a name once it is escaped: known by writing it where nobody looks. */
static size_t columns_of(struct debug_text *scratch, ut_slice name)
{
    debug_text_clear(scratch);
    return debug_text_foreign(scratch, name);
}

static void measure_services(struct rendering *r, struct ut_pool *pool)
{
    struct debug_text scratch;
    ut_slice last = {0};
    debug_text_init(&scratch, pool, 4096);
    for (uint32_t i = 0; i < r->tree.count; i++) {
        ut_slice service = service_of(r->tree.nodes[i].span);
        if (ut_slice_equal(service, last))
            continue;
        last = service;
        size_t columns = columns_of(&scratch, service);
        if (columns > r->service_columns && columns <= SERVICE_COLUMNS_MAX)
            r->service_columns = columns;
    }
    debug_text_done(&scratch);
}

/* The distinct services in order of their first span, as many as one can read. */
static size_t list_services(const struct debug_tree *tree, ut_slice out[SERVICES_SHOWN], bool *more)
{
    size_t count = 0;
    *more = false;
    for (uint32_t i = 0; i < tree->count; i++) {
        ut_slice service = service_of(tree->nodes[i].span);
        size_t j = 0;
        while (j < count && !ut_slice_equal(out[j], service))
            j++;
        if (j < count)
            continue;
        if (count == SERVICES_SHOWN) {
            *more = true;
            break;
        }
        out[count++] = service;
    }
    return count;
}

static void add_header(struct rendering *r, const struct debug_trace *trace)
{
    struct debug_text *text = r->text;
    char duration[DEBUG_NUMBER_BYTES];
    uint64_t end = r->tree.end_ns, start = r->tree.start_ns;
    debug_text_colour(text, DEBUG_BOLD);
    debug_text_add(text, "trace ");
    debug_text_hex(text, trace->id, sizeof(trace->id));
    debug_text_colour(text, DEBUG_PLAIN);
    (void)debug_duration(duration, end > start ? end - start : 0);
    debug_text_format(text, "   %s   %u span%s   ", duration, r->tree.count,
                      r->tree.count == 1 ? "" : "s");
    debug_text_colour(text, DEBUG_DIM);
    ut_slice services[SERVICES_SHOWN];
    bool more;
    size_t count = list_services(&r->tree, services, &more);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            debug_text_add(text, ", ");
        (void)debug_text_foreign(text, services[i]);
    }
    debug_text_add(text, more ? ", …" : "");
    debug_text_colour(text, DEBUG_PLAIN);
    debug_text_add(text, "\n");
}

/* The lines that come down from the ancestors, for the span itself or for a line below it. Of a
 * very deep tree only the inner levels show. */
static void add_branches(struct debug_text *text, const struct debug_node *node, bool below)
{
    const struct debug_node *levels[LEVELS_SHOWN];
    size_t count = 0;
    const char *of_children = node->child != NULL ? "│  " : "   ";
    for (; node->parent != NULL && count < LEVELS_SHOWN; node = node->parent)
        levels[count++] = node;
    if (node->parent != NULL)
        debug_text_add(text, "… ");
    for (size_t i = count; i-- > 0;) {
        bool last = levels[i]->after == NULL;
        if (i == 0 && !below)
            debug_text_add(text, last ? "└─ " : "├─ ");
        else
            debug_text_add(text, last ? "   " : "│  ");
    }
    if (below)
        debug_text_add(text, of_children);
}

static void add_note(struct debug_text *text, const struct debug_node *node)
{
    if (node->note == DEBUG_NO_NOTE)
        return;
    debug_text_colour(text, DEBUG_DIM);
    if (node->note == DEBUG_PARENT_MISSING) {
        debug_text_add(text, "  (its parent ");
        debug_text_hex(text, node->span->parent, sizeof(node->span->parent));
        debug_text_add(text, " has not come)");
    } else {
        debug_text_add(text, "  (its parents form a circle)");
    }
    debug_text_colour(text, DEBUG_PLAIN);
}

static void add_details(struct rendering *r, const struct debug_node *node)
{
    struct debug_text *prefix = &r->prefix;
    debug_text_clear(prefix);
    debug_text_blanks(prefix, DURATION_COLUMNS + 2 + r->service_columns + 2);
    add_branches(prefix, node, true);
    debug_add_details(r->text, node->span->fields, ut_slice_of(prefix->data, prefix->size));
}

static void add_span(struct rendering *r, const struct debug_node *node)
{
    struct debug_text *text = r->text;
    const struct debug_span *span = node->span;
    char duration[DEBUG_NUMBER_BYTES];
    size_t columns = 1;
    if (span->end_ns < span->start_ns)
        (void)memcpy(duration, "?", 2);
    else
        columns = debug_duration(duration, debug_span_duration(span));
    debug_text_blanks(text, columns < DURATION_COLUMNS ? DURATION_COLUMNS - columns : 0);
    debug_text_format(text, "%s  ", duration);

    debug_text_colour(text, DEBUG_DIM);
    columns = debug_text_foreign(text, service_of(span));
    debug_text_blanks(text, columns < r->service_columns ? r->service_columns - columns : 0);
    debug_text_add(text, "  ");
    add_branches(text, node, false);
    debug_text_colour(text, DEBUG_PLAIN);
    (void)debug_text_foreign(text, span->name.size > 0 ? span->name : UT_SLICE("(no name)"));
    if (span->status == STATUS_ERROR) {
        debug_text_colour(text, DEBUG_YELLOW);
        debug_text_add(text, "  error");
        debug_text_colour(text, DEBUG_PLAIN);
    }
    add_note(text, node);
    debug_text_add(text, "\n");
    if (r->detailed)
        add_details(r, node);
}

static void add_end(struct debug_text *text, const struct debug_finding *finding)
{
    ut_slice address = finding->address;
    bool v6 = address.size > 0 && memchr(address.data, ':', address.size) != NULL;
    if (finding->service.size > 0)
        (void)debug_text_foreign(text, finding->service);
    if (finding->service.size > 0 && address.size > 0)
        debug_text_add(text, " ");
    debug_text_add(text, v6 ? "[" : "");
    (void)debug_text_foreign(text, address);
    debug_text_add(text, v6 ? "]" : "");
    if (address.size > 0 && finding->port >= 0)
        debug_text_format(text, ":%lld", (long long)finding->port);
    if (finding->service.size == 0 && address.size == 0)
        debug_text_add(text, ut_slice_equal(finding->event->side, UT_SLICE("peer"))
                                 ? "the other end"
                                 : "this end");
}

/* What was sent again: a SYN has no bytes. */
static void add_amount(struct debug_text *text, const struct debug_finding *finding)
{
    char size[DEBUG_NUMBER_BYTES];
    ut_slice type = finding->event != NULL ? finding->event->type : (ut_slice){0};
    if (ut_slice_equal(type, UT_SLICE("syn")) || ut_slice_equal(type, UT_SLICE("syn_ack"))) {
        debug_text_add(text, ut_slice_equal(type, UT_SLICE("syn")) ? "its SYN" : "its SYN-ACK");
        if (finding->segments > 1)
            debug_text_format(text, " %llu times", (unsigned long long)finding->segments);
        return;
    }
    debug_text_add(text, debug_size(size, finding->bytes));
    if (finding->segments > 1)
        debug_text_format(text, " in %llu segments", (unsigned long long)finding->segments);
}

static void add_cause(struct debug_text *text, const struct debug_finding *finding)
{
    const struct debug_event *event = finding->event;
    char duration[DEBUG_NUMBER_BYTES];
    if (finding->kind == DEBUG_PROBE) {
        debug_text_add(text, " sent a tail loss probe of ");
        add_amount(text, finding);
    } else {
        debug_text_add(text, " retransmitted ");
        add_amount(text, finding);
        if (finding->waited_min_ns >= 0) {
            (void)debug_duration(duration, (uint64_t)finding->waited_min_ns);
            debug_text_format(text, ", waited ≥ %s", duration);
        }
        if (event->type.size > 0) {
            debug_text_add(text, " (");
            (void)debug_text_foreign(text, event->type);
            debug_text_add(text, ")");
        }
    }
    if (event->match.size > 0) {
        debug_text_add(text, ", ");
        (void)debug_text_foreign(text, event->match);
    }
}

static void add_number(struct debug_text *text, int64_t number, const char *what)
{
    if (number > 0)
        debug_text_format(text, " %lld %s%s,", (long long)number, what, number == 1 ? "" : "s");
}

static void add_time(struct debug_text *text, const char *verb, int64_t ns, const char *what)
{
    char duration[DEBUG_NUMBER_BYTES];
    if (ns <= 0)
        return;
    (void)debug_duration(duration, (uint64_t)ns);
    debug_text_format(text, " %s %s %s,", verb, duration, what);
}

/* Numbers alone name no connection: of class `workload` they may be anybody's in it. */
static const char *subject_of(const struct debug_counts *counts)
{
    if (ut_slice_equal(counts->match, UT_SLICE("workload")))
        return "its workload";
    if (ut_slice_equal(counts->side, UT_SLICE("both")))
        return "both ends";
    return ut_slice_equal(counts->side, UT_SLICE("peer")) ? "the other end" : "this end";
}

static void add_counts(struct debug_text *text, const struct debug_finding *finding)
{
    const struct debug_counts *counts = &finding->node->span->counts;
    debug_text_add(text, subject_of(counts));
    if (finding->segments > 0) {
        debug_text_add(text, " retransmitted ");
        add_amount(text, finding);
        debug_text_add(text, ",");
    }
    add_number(text, counts->timeouts, "timeout");
    add_number(text, counts->probes, "tail loss probe");
    add_number(text, counts->resets, "reset");
    add_time(text, "took", counts->connect_ns, "to connect");
    add_time(text, "waited", counts->zero_window_ns, "for a shut window");
    add_number(text, counts->receive_drops, "dropped segment");
    add_number(text, counts->listen_overflows, "listener overflow");
    debug_text_add(text, " ");
    (void)debug_text_foreign(text, counts->match);
}

static void add_finding(struct rendering *r, const struct debug_finding *finding)
{
    struct debug_text *text = r->text;
    const struct debug_counts *counts = &finding->node->span->counts;
    char duration[DEBUG_NUMBER_BYTES];
    debug_text_blanks(text, DURATION_COLUMNS + 2);
    debug_text_colour(text, DEBUG_RED);
    (void)debug_text_foreign(text, debug_request_name(finding->node));
    (void)debug_duration(duration, debug_span_duration(finding->node->span));
    debug_text_format(text, " %s ← ", duration);
    if (finding->kind == DEBUG_COUNT) {
        add_counts(text, finding);
    } else if (finding->kind == DEBUG_OMITTED) {
        debug_text_format(text, "and %llu more", (unsigned long long)finding->segments);
    } else {
        add_end(text, finding);
        add_cause(text, finding);
    }
    if (counts->shared_by > 1)
        debug_text_format(text, ", shared by %lld", (long long)counts->shared_by);
    if (counts->partial)
        debug_text_add(text, ", partial");
    debug_text_colour(text, DEBUG_PLAIN);
    debug_text_add(text, "\n");
}

static void add_more(struct debug_text *text, size_t count, const char *what)
{
    if (count > 0) {
        debug_text_blanks(text, DURATION_COLUMNS + 2);
        debug_text_format(text, "… and %zu more %s\n", count, what);
    }
}

bool debug_render(struct debug_text *text, const struct debug_trace *trace, struct ut_pool *pool,
                  bool detailed)
{
    struct rendering r = {.text = text, .detailed = detailed};
    struct debug_finding *findings;
    struct ut_arena arena;
    ut_arena_init(&arena, pool);
    debug_text_init(&r.prefix, pool, PREFIX_MAX);
    bool built =
        debug_tree_build(&r.tree, trace, &arena) && debug_findings(&r.tree, &arena, &findings);
    if (built) {
        measure_services(&r, pool);
        add_header(&r, trace);
        size_t shown = 0, more = 0;
        for (const struct debug_node *node = r.tree.first; node != NULL; node = node->next)
            if (shown++ < SPANS_SHOWN)
                add_span(&r, node);
        add_more(text, shown > SPANS_SHOWN ? shown - SPANS_SHOWN : 0, "spans");
        for (shown = 0; findings != NULL; findings = findings->next)
            if (shown++ < FINDINGS_SHOWN)
                add_finding(&r, findings);
            else
                more++;
        add_more(text, more, "retransmissions");
        debug_text_add(text, "\n");
    }
    debug_text_done(&r.prefix);
    ut_arena_done(&arena);
    return built;
}
