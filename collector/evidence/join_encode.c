/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence to attributes and span events. Spans with the same evidence share its bytes: of the many
 * spans that one retransmit meets only the first is encoded.
 *
 * A span event shows the connection as the span's own process has it: `network.local.*` is its own
 * end, whoever retransmitted; `undertrace.side` says who did. The peer's retransmits come first and
 * probes last, because a probe is no proof that its bytes were missing. Class `workload` and sums
 * only count. What the memory system did comes before all that (join_memory.c).
 *
 * What the allowance (allowance.h) has no bytes for is left out and counted; a span that would gain
 * nothing else gains nothing.
 */
#include "evidence/join_view.h"

#include <stdio.h>

#include "model/attributes.h"
#include "otlp/encode.h"

/* The most that a span's attributes take, and one of its events. */
enum { ATTRIBUTES_BYTES = 960, EVENT_BYTES = 1088 };

struct totals {
    struct ut_allowed allowed;
    enum ut_match_class weakest;
    bool side[UT_SIDES];
    uint64_t retransmits, bytes, timeouts, probes;
    uint64_t resets, receive_drops, listen_overflows;
    uint64_t connect_ns, zero_window_ns; /* the longest one; all of them, within the span */
    bool timed;                          /* zero_window_ns depends on the span's own times */
    uint32_t shared_by, events;          /* that may be told */
};

static const char *side_name(enum ut_side side)
{
    return side == UT_SIDE_LOCAL ? "local" : "peer";
}

static const char *cause_name(uint8_t cause)
{
    static const char *const names[] = {
        [UT_CAUSE_UNKNOWN] = "unknown", [UT_CAUSE_FAST] = "fast",
        [UT_CAUSE_TIMEOUT] = "timeout", [UT_CAUSE_TAIL_LOSS_PROBE] = "tail_loss_probe",
        [UT_CAUSE_SYN] = "syn",         [UT_CAUSE_SYN_ACK] = "syn_ack",
    };
    return cause < sizeof(names) / sizeof(names[0]) ? names[cause] : names[0];
}

/* enum in the kernel's net/tcp_states.h */
static const char *state_name(uint8_t state)
{
    static const char *const names[] = {
        "UNKNOWN", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",    "TIME_WAIT",
        "CLOSE",   "CLOSE_WAIT",  "LAST_ACK", "LISTEN",   "CLOSING",   "NEW_SYN_RECV",
    };
    return state < sizeof(names) / sizeof(names[0]) ? names[state] : names[0];
}

static bool makes_event(const struct ut_join_view *view, const struct ut_join_match *match)
{
    return match->match > UT_MATCH_WORKLOAD && view->event != NULL &&
           view->kind != UT_EVENT_CONNECT;
}

/* Attributes of the span itself: of TCP, and of memory. */
static bool tells_tcp(const struct ut_join_span *span, const struct totals *totals)
{
    return span->count > 0 && totals->weakest >= totals->allowed.counts;
}

static bool tells_memory(const struct ut_join_span *span, const struct totals *totals)
{
    return span->memory.any && totals->allowed.counts <= UT_MATCH_WORKLOAD;
}

/* Of the segment's bytes those that are the span's. */
static uint32_t bytes_of(const struct ut_join_view *view)
{
    return view->traced != NULL ? view->traced->bytes : view->event->bytes;
}

static uint64_t lasted_ns(const struct ut_event *e)
{
    return (uint64_t)e->since_sent_us * 1000;
}

/* How much of what lasted from low to seen lies within the span. */
static uint64_t part_within(const struct ut_join_view *view, const struct ut_span *span)
{
    uint64_t from_ns = view->low_ns > span->start_ns ? view->low_ns : span->start_ns;
    uint64_t to_ns = view->seen_ns < span->end_ns ? view->seen_ns : span->end_ns;
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

static void add_happening(struct totals *totals, const struct ut_join_view *view,
                          const struct ut_span *span)
{
    switch (view->event->kind) {
    case UT_EVENT_RESET:
        totals->resets++;
        break;
    case UT_EVENT_ZERO_WINDOW:
        totals->zero_window_ns += part_within(view, span);
        totals->timed = true;
        break;
    case UT_EVENT_RECEIVE_DROP:
        totals->receive_drops++;
        break;
    case UT_EVENT_LISTEN_OVERFLOW:
        totals->listen_overflows++;
        break;
    default:
        if (lasted_ns(view->event) > totals->connect_ns)
            totals->connect_ns = lasted_ns(view->event);
        break;
    }
}

static void add_event_counts(struct totals *totals, const struct ut_join_view *view,
                             const struct ut_span *span)
{
    const struct ut_event *e = view->event;
    if (e->kind != UT_EVENT_RETRANSMIT) {
        add_happening(totals, view, span);
        return;
    }
    if (e->cause == UT_CAUSE_TAIL_LOSS_PROBE) {
        totals->probes++;
        return;
    }
    totals->retransmits += e->segments;
    totals->bytes += bytes_of(view);
    totals->timeouts += e->cause == UT_CAUSE_TIMEOUT;
}

static void add_fold_counts(struct totals *totals, const struct ut_fold *fold)
{
    totals->retransmits += fold->segments;
    totals->bytes += fold->bytes;
    totals->timeouts += fold->timeouts;
    totals->probes += fold->probes;
    totals->resets += fold->resets;
    totals->receive_drops += fold->receive_drops;
    totals->listen_overflows += fold->listen_overflows;
    totals->zero_window_ns += fold->zero_window_ns;
}

static struct totals sum_up(const struct ut_join *join, const struct ut_span *of,
                            const struct ut_join_span *span, struct ut_allowed allowed)
{
    struct totals totals = {.allowed = allowed, .weakest = UT_MATCH_EXACT};
    for (uint32_t i = span->first; i < span->first + span->count; i++) {
        const struct ut_join_match *match = &join->matches[i];
        const struct ut_join_view *view = &join->views[match->view];
        if (match->match == UT_MATCH_NONE)
            continue;
        if (match->match < totals.weakest)
            totals.weakest = match->match;
        if (view->sharers > totals.shared_by)
            totals.shared_by = view->sharers;
        totals.side[view->side] = true;
        totals.events += makes_event(view, match) && match->match >= allowed.events;
        if (view->event != NULL)
            add_event_counts(&totals, view, of);
        else
            add_fold_counts(&totals, view->fold);
    }
    return totals;
}

static void encode_text(struct ut_encoder *out, int field, const char *key, const char *value)
{
    ut_encode_string(out, field, key, ut_slice_str(value));
}

static void encode_count(struct ut_encoder *out, const char *key, uint64_t count)
{
    if (count > 0)
        ut_encode_int(out, UT_FIELD_SPAN_ATTRIBUTES, key, (int64_t)count);
}

static void encode_tcp(struct ut_encoder *out, const struct totals *totals)
{
    bool both = totals->side[UT_SIDE_LOCAL] && totals->side[UT_SIDE_PEER];
    const char *side =
        both ? "both" : side_name(totals->side[UT_SIDE_LOCAL] ? UT_SIDE_LOCAL : UT_SIDE_PEER);
    encode_text(out, UT_FIELD_SPAN_ATTRIBUTES, UT_ATTR_TCP_MATCH,
                ut_match_class_name(totals->weakest));
    encode_text(out, UT_FIELD_SPAN_ATTRIBUTES, UT_ATTR_TCP_SIDE, side);
    encode_count(out, UT_ATTR_TCP_RETRANSMITS, totals->retransmits);
    encode_count(out, UT_ATTR_TCP_RETRANSMIT_BYTES, totals->bytes);
    encode_count(out, UT_ATTR_TCP_TIMEOUTS, totals->timeouts);
    encode_count(out, UT_ATTR_TCP_PROBES, totals->probes);
    encode_count(out, UT_ATTR_TCP_RESETS, totals->resets);
    encode_count(out, UT_ATTR_TCP_CONNECT_NS, totals->connect_ns);
    encode_count(out, UT_ATTR_TCP_ZERO_WINDOW_NS, totals->zero_window_ns);
    encode_count(out, UT_ATTR_TCP_RECEIVE_DROPS, totals->receive_drops);
    encode_count(out, UT_ATTR_TCP_LISTEN_OVERFLOWS, totals->listen_overflows);
}

/* ---- span events ------------------------------------------------------------------------------
 */

static void encode_end(struct ut_encoder *out, const struct ut_endpoint *end,
                       const char *address_key, const char *port_key)
{
    char text[UT_ADDRESS_TEXT];
    if (end->port == 0)
        return;
    encode_text(out, UT_FIELD_EVENT_ATTRIBUTES, address_key, ut_address_text(text, &end->address));
    ut_encode_int(out, UT_FIELD_EVENT_ATTRIBUTES, port_key, end->port);
}

static void encode_path(struct ut_encoder *out, const struct ut_event *e)
{
    const int field = UT_FIELD_EVENT_ATTRIBUTES;
    if (e->has & UT_HAS_SRTT)
        ut_encode_int(out, field, UT_ATTR_TCP_SRTT_US, e->srtt_us);
    if (e->has & UT_HAS_MIN_RTT)
        ut_encode_int(out, field, UT_ATTR_TCP_MIN_RTT_US, e->min_rtt_us);
    if (e->has & UT_HAS_DELIVERY_RATE)
        ut_encode_int(out, field, UT_ATTR_TCP_DELIVERY_RATE, e->delivery_rate);
    if (e->has & UT_HAS_CWND)
        ut_encode_int(out, field, UT_ATTR_TCP_CWND, e->cwnd);
    if (e->has & UT_HAS_WMEM)
        ut_encode_int(out, field, UT_ATTR_TCP_SK_WMEM_ALLOC, e->wmem_alloc);
    encode_text(out, field, UT_ATTR_TCP_STATE, state_name(e->state));
}

static void encode_retransmit(struct ut_encoder *out, const struct ut_join *join,
                              const struct ut_join_view *view)
{
    const struct ut_event *e = view->event;
    const int field = UT_FIELD_EVENT_ATTRIBUTES;
    bool waited =
        e->cause == UT_CAUSE_TIMEOUT || e->cause == UT_CAUSE_SYN || e->cause == UT_CAUSE_SYN_ACK;
    uint32_t offset = view->traced != NULL ? view->traced->offset : 0;
    ut_encode_int(out, field, UT_ATTR_TCP_SEQ, (uint32_t)(e->seq + offset));
    ut_encode_int(out, field, UT_ATTR_TCP_BYTES, bytes_of(view));
    ut_encode_int(out, field, UT_ATTR_TCP_SEGMENTS, e->segments);
    if (e->spurious)
        ut_encode_bool(out, field, UT_ATTR_TCP_SPURIOUS, true);
    const struct ut_event_store *store = &join->tables->events;
    uint32_t thread = store->thread[e - store->events];
    if (thread != 0)
        ut_encode_int(out, field, UT_ATTR_TCP_SENDING_THREAD, thread);
    if (e->has & UT_HAS_SENT_EXACT)
        ut_encode_int(out, field, UT_ATTR_TCP_WAITED_NS, (int64_t)lasted_ns(e));
    else if ((e->has & UT_HAS_RTO) && waited)
        ut_encode_int(out, field, UT_ATTR_TCP_WAITED_MIN_NS, (int64_t)e->rto_us * 1000);
}

static void encode_happening(struct ut_encoder *out, const struct ut_event *e)
{
    const int field = UT_FIELD_EVENT_ATTRIBUTES;
    if (e->kind == UT_EVENT_ZERO_WINDOW)
        ut_encode_int(out, field, UT_ATTR_TCP_WAITED_NS, (int64_t)lasted_ns(e));
    if (e->bytes > 0)
        ut_encode_int(out, field, UT_ATTR_TCP_BYTES, e->bytes);
}

/* What `undertrace.tcp.type` says; NULL: the event's name says all. */
static const char *type_name(const struct ut_event *e)
{
    static const char *const resets[] = {
        [UT_RESET_SENT] = "sent", [UT_RESET_RECEIVED] = "received"};
    static const char *const drops[] = {[UT_DROP_RECEIVE_BUFFER] = "receive_buffer",
                                        [UT_DROP_BACKLOG] = "backlog",
                                        [UT_DROP_WINDOW] = "window"};
    switch (e->kind) {
    case UT_EVENT_RETRANSMIT:
        return cause_name(e->cause);
    case UT_EVENT_RESET:
        return resets[e->cause];
    case UT_EVENT_RECEIVE_DROP:
        return drops[e->cause];
    default:
        return NULL;
    }
}

static const char *event_name(uint8_t kind)
{
    static const char *const names[UT_EVENT_KINDS] = {
        UT_EVENT_TCP_RETRANSMIT,   UT_EVENT_TCP_RESET,           UT_EVENT_TCP_ZERO_WINDOW,
        UT_EVENT_TCP_RECEIVE_DROP, UT_EVENT_TCP_LISTEN_OVERFLOW, NULL,
    };
    return names[kind];
}

static void encode_event(struct ut_encoder *out, const struct ut_join *join,
                         const struct ut_join_match *match)
{
    const int field = UT_FIELD_EVENT_ATTRIBUTES;
    const struct ut_join_view *view = &join->views[match->view];
    const struct ut_connection *own = join->groups[view->group].own;
    const struct ut_event *e = view->event;
    const char *type = type_name(e);
    size_t begin = ut_encode_event_begin(out, event_name(e->kind), e->seen_ns);
    encode_text(out, field, UT_ATTR_MATCH, ut_match_class_name(match->match));
    encode_text(out, field, UT_ATTR_SIDE, side_name(view->side));
    if (type != NULL)
        encode_text(out, field, UT_ATTR_TCP_TYPE, type);
    encode_end(out, &own->local, UT_ATTR_LOCAL_ADDRESS, UT_ATTR_LOCAL_PORT);
    encode_end(out, &own->remote, UT_ATTR_PEER_ADDRESS, UT_ATTR_PEER_PORT);
    if (e->kind == UT_EVENT_RETRANSMIT)
        encode_retransmit(out, join, view);
    else
        encode_happening(out, e);
    if (e->kind != UT_EVENT_LISTEN_OVERFLOW)
        encode_path(out, e);
    ut_encode_event_end(out, begin);
}

static void encode_closing(struct ut_encoder *out, const char *name, uint32_t omitted,
                           uint64_t time_ns)
{
    size_t begin = ut_encode_event_begin(out, name, time_ns);
    ut_encode_int(out, UT_FIELD_EVENT_ATTRIBUTES, UT_ATTR_OMITTED, omitted);
    ut_encode_event_end(out, begin);
}

#define RANKS (4 * (UT_MATCH_EXACT + 1))

/* Where there is no room for all: the surest first, and of those the peer's retransmits, this end's
 * own, and probes likewise. */
static int rank_of(const struct ut_join_match *match, const struct ut_join_view *view)
{
    int own = view->side == UT_SIDE_PEER ? 0 : 1;
    int rank = view->cause == UT_CAUSE_TAIL_LOSS_PROBE ? 2 + own : own;
    return 4 * (UT_MATCH_EXACT - match->match) + rank;
}

/* `most`: how many may be written. */
static void encode_events(struct ut_encoder *out, const struct ut_join *join,
                          const struct ut_join_span *span, const struct totals *totals,
                          uint32_t most)
{
    uint32_t events = totals->events, weakest = totals->allowed.events;
    uint32_t room = events > most ? most - 1 : events;
    uint32_t written = 0, seen = 0;
    uint64_t last_ns = 0;
    const char *last_name = UT_EVENT_TCP_RETRANSMIT;
    for (int rank = 0; rank < RANKS && seen < events; rank++) {
        for (uint32_t i = span->first; i < span->first + span->count; i++) {
            const struct ut_join_match *match = &join->matches[i];
            const struct ut_join_view *view = &join->views[match->view];
            if (!makes_event(view, match) || match->match < weakest || rank_of(match, view) != rank)
                continue;
            seen++;
            last_ns = view->seen_ns > last_ns ? view->seen_ns : last_ns;
            last_name = event_name(view->kind);
            if (written < room) {
                encode_event(out, join, match);
                written++;
            }
        }
    }
    if (written < events)
        encode_closing(out, last_name, events - written, last_ns);
}

/* ---- room -------------------------------------------------------------------------------------
 */

/* Charges what the arena may have to grow by, so that the growth is paid before it is made; what
 * was not needed goes back in settle_charge. False: no room. */
static bool take_charge(struct ut_body *body, size_t bytes, size_t *charged)
{
    const struct ut_arena *arena = &body->arena;
    *charged = 0;
    bytes *= 2;
    if (body->budget == NULL || (size_t)(arena->end - arena->next) >= bytes)
        return true;
    /* Chunks double, and come in powers of two. */
    size_t chunk = arena->bytes > bytes ? arena->bytes : bytes;
    if (!ut_budget_take(body->budget, 4 * chunk))
        return false;
    *charged = 4 * chunk;
    return true;
}

static void settle_charge(struct ut_body *body, size_t charged, size_t before)
{
    size_t grown = body->arena.bytes - before;
    if (body->budget == NULL || charged == 0)
        return;
    UT_CHECK(grown <= charged);
    ut_budget_return(body->budget, charged - grown);
    body->charge += grown;
}

/* ---- the span
 * ------------------------------------------------------------------------------------ */

static bool same_evidence(const struct ut_join *join, const struct ut_join_span *span,
                          struct ut_allowed allowed)
{
    const struct ut_join_span *last = join->encoded;
    return last != NULL && !join->encoded_timed && !last->memory.any && !span->memory.any &&
           last->count == span->count && last->partial == span->partial &&
           join->encoded_allowed.events == allowed.events &&
           join->encoded_allowed.counts == allowed.counts &&
           memcmp(&join->matches[last->first], &join->matches[span->first],
                  span->count * sizeof(join->matches[0])) == 0;
}

/* The evidence, with what was removed from the span before. */
static int set_edit(struct ut_join *join, struct ut_body *body, uint32_t row)
{
    const struct ut_edit *before = ut_body_edit(body, row);
    if (before == NULL && join->encoded_edit != NULL)
        return ut_body_set_edit(body, row, join->encoded_edit);
    struct ut_edit *edit = ut_arena_alloc(&body->arena, sizeof(*edit));
    if (edit == NULL)
        return -1;
    *edit = before != NULL ? *before : (struct ut_edit){0};
    edit->added = join->encoded_bytes;
    if (before == NULL)
        join->encoded_edit = edit;
    return ut_body_set_edit(body, row, edit);
}

static bool encode_bytes(struct ut_join *join, struct ut_body *body,
                         const struct ut_join_span *span, const struct totals *totals)
{
    const struct ut_span *of = &body->spans[span->row];
    struct ut_encoder encoder;
    uint32_t shared_by = totals->weakest != UT_MATCH_EXACT ? totals->shared_by : 0, written = 0;
    ut_encoder_init(&encoder, &body->arena);
    if (tells_tcp(span, totals))
        encode_tcp(&encoder, totals);
    if (tells_memory(span, totals)) {
        uint32_t sharers = ut_join_memory_attributes(join, of, &span->memory, &encoder);
        shared_by = sharers > shared_by ? sharers : shared_by;
    }
    encode_count(&encoder, UT_ATTR_SHARED_BY, shared_by);
    if (span->partial)
        ut_encode_bool(&encoder, UT_FIELD_SPAN_ATTRIBUTES, UT_ATTR_PARTIAL, true);
    if (span->memory.any && totals->allowed.events <= UT_MATCH_WORKLOAD)
        written = ut_join_memory_events(join, of, &span->memory, &encoder);
    encode_events(&encoder, join, span, totals, UT_SPAN_EVENTS_MAX - written);
    join->encoded_bytes = ut_encoder_bytes(&encoder);
    join->encoded_allowed = totals->allowed;
    join->encoded = span;
    join->encoded_timed = totals->timed;
    join->encoded_edit = NULL;
    return join->encoded_bytes.size > 0;
}

/* What the span would have gained as well. */
static void count_withheld(struct ut_join *join, const struct ut_body *body,
                           const struct ut_join_span *span, const struct totals *totals)
{
    const struct ut_allowed *allowed = &totals->allowed;
    if (allowed->events <= UT_MATCH_WORKLOAD)
        return; /* and so all counts as well */
    for (uint32_t i = span->first; i < span->first + span->count; i++) {
        const struct ut_join_match *match = &join->matches[i];
        *join->counters.withheld_events[match->match] +=
            match->match < allowed->events && makes_event(&join->views[match->view], match);
    }
    if (span->memory.any)
        *join->counters.withheld_events[UT_MATCH_WORKLOAD] +=
            ut_join_memory_event_count(join, &body->spans[span->row], &span->memory);
    if (span->count > 0 && !tells_tcp(span, totals))
        ++*join->counters.withheld_counts[totals->weakest];
    else if (span->memory.any && !tells_memory(span, totals))
        ++*join->counters.withheld_counts[UT_MATCH_WORKLOAD];
}

/* The most bytes that the span may gain. */
static size_t room_of(const struct ut_join_span *span, uint32_t tcp_events)
{
    uint32_t events = tcp_events < UT_SPAN_EVENTS_MAX ? tcp_events : UT_SPAN_EVENTS_MAX;
    return ATTRIBUTES_BYTES + events * EVENT_BYTES + ut_join_memory_room(&span->memory);
}

static void count_joined(struct ut_join *join, const struct ut_join_span *span,
                         const struct totals *totals)
{
    enum ut_match_class match = span->count > 0 ? totals->weakest : UT_MATCH_WORKLOAD;
    ++*join->counters.joined[match];
    ut_tally_add(&join->tables->tally, join->workload->id, UT_TALLY_JOINED + (int)match, 1);
    *join->counters.joined_memory += tells_memory(span, totals);
    *join->counters.added_bytes += join->encoded_bytes.size;
    ut_allowance_spend(join->allowance, join->encoded_bytes.size);
}

void ut_join_encode(struct ut_join *join, struct ut_body *body, const struct ut_join_span *span)
{
    struct ut_allowed allowed =
        ut_allowance_ask(join->allowance, room_of(span, span->count), join->now_ns);
    struct totals totals = sum_up(join, &body->spans[span->row], span, allowed);
    bool same = same_evidence(join, span, allowed);
    size_t need = sizeof(struct ut_edit) + (same ? 0 : room_of(span, totals.events));
    count_withheld(join, body, span, &totals);
    if (!tells_tcp(span, &totals) && !tells_memory(span, &totals))
        return;
    if (body->span_edits == NULL)
        need += body->span_count * sizeof(const struct ut_edit *);
    size_t charged, before = body->arena.bytes;
    if (join->no_room || !take_charge(body, need, &charged)) {
        join->no_room = true;
        ++*join->counters.dropped_budget;
        return;
    }
    bool written =
        (same || encode_bytes(join, body, span, &totals)) && set_edit(join, body, span->row) == 0;
    settle_charge(body, charged, before);
    if (!written) {
        join->encoded = NULL;
        ++*join->counters.dropped_memory;
        return;
    }
    count_joined(join, span, &totals);
}
