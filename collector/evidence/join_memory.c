/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory evidence of the spans of one workload. It is always of class `workload`: nothing says for
 * which of several requests a task allocated. So every span that was open while tasks of its
 * workload stalled is told for how long they did within it, and how many spans share that
 * (`undertrace.shared_by`); likewise of OOM kills.
 *
 * A stall's time is known to lie in a window of 100 ms at most. A span that covers a part of the
 * window gets that part of the time: an estimate, and the whole where it covers all.
 *
 * What the workload held is known once a slot (evidence/held.h), what it allocated, if that is
 * counted, each 100 ms; in between in proportion. Either is told where it is much, and beside other
 * evidence of memory; it is the workload's, never the span's own.
 */
#include "evidence/join_view.h"
#include "model/attributes.h"
#include "otlp/encode.h"

/* Readings that lie further apart than this are told, because then a span knows less. */
#define LONG_SLOT_NS (UT_HELD_INTERVAL_NS * 3 / 2)

/* One closing event included; with the stalls' less than half of what a span may gain. */
enum { KILL_EVENTS_MAX = 4, ATTRIBUTES_BYTES = 448, EVENT_BYTES = 224 };

_Static_assert(2 * (KILL_EVENTS_MAX + UT_SCOPES) < UT_SPAN_EVENTS_MAX, "TCP's events find room");

/* ---- gather --------------------------------------------------------------------------------- */

static void gather_stalls(struct ut_join *join, uint64_t from_ns, uint64_t to_ns)
{
    const struct ut_memory_store *store = &join->tables->memory;
    uint32_t index = store->lists[UT_WORKLOAD_SLOT(join->workload->id)].newest;
    for (; index != 0; index = store->stalls[index].older) {
        const struct ut_stall *stall = &store->stalls[index];
        if (stall->to_ns < from_ns)
            break;
        if (stall->from_ns > to_ns)
            continue;
        if (join->stall_count == UT_STALLS_VIEWED_MAX) {
            join->exceeded = true;
            break;
        }
        join->stalls[join->stall_count++] = (struct ut_join_stall){
            .from_ns = stall->from_ns,
            .to_ns = stall->to_ns,
            .ns = stall->ns,
            .scope = stall->scope,
        };
    }
}

/* From newest to oldest first; nearly in order, because the slots are and stalls lie within. */
static void order_stalls(struct ut_join *join)
{
    struct ut_join_stall *stalls = join->stalls;
    uint32_t count = join->stall_count;
    for (uint32_t i = 0; i < count / 2; i++) {
        struct ut_join_stall swapped = stalls[i];
        stalls[i] = stalls[count - 1 - i];
        stalls[count - 1 - i] = swapped;
    }
    for (uint32_t i = 1; i < count; i++) {
        struct ut_join_stall moved = stalls[i];
        uint32_t to = i;
        for (; to > 0 && stalls[to - 1].from_ns > moved.from_ns; to--)
            stalls[to] = stalls[to - 1];
        stalls[to] = moved;
    }
}

static void gather_kills(struct ut_join *join, uint64_t from_ns, uint64_t to_ns)
{
    const struct ut_memory_store *store = &join->tables->memory;
    uint32_t kept = store->kill_count < UT_OOM_KILLS_MAX ? store->kill_count : UT_OOM_KILLS_MAX;
    for (uint32_t i = kept; i > 0 && join->kill_count < UT_KILLS_VIEWED_MAX; i--) {
        uint32_t at = store->kill_count - i;
        const struct ut_oom_kill *kill = &store->kills[at % UT_OOM_KILLS_MAX];
        if (kill->workload == join->workload->id && kill->seen_ns >= from_ns &&
            kill->seen_ns <= to_ns)
            join->kills[join->kill_count++] = (struct ut_join_kill){.kill = kill};
    }
    join->exceeded |= join->kill_count == UT_KILLS_VIEWED_MAX;
}

void ut_join_gather_memory(struct ut_join *join, uint64_t from_ns, uint64_t to_ns)
{
    join->stall_count = join->kill_count = 0;
    gather_stalls(join, from_ns, to_ns);
    order_stalls(join);
    gather_kills(join, from_ns, to_ns);
}

void ut_join_begin_held(struct ut_join *join, uint64_t from_ns, uint64_t to_ns)
{
    const struct ut_held_watch *held = ut_held_of(&join->tables->held, join->workload->id);
    join->held = held;
    join->held_changed =
        held != NULL && ut_held_range(held, from_ns, to_ns) >= UT_HELD_CHANGE_LEAST;
    join->allocated_much = false;
    if (held == NULL || ut_series_kept(&held->allocated) == 0)
        return;
    /* Up to the point behind: between two points nobody knows. */
    uint32_t kept = ut_series_kept(&held->allocated);
    uint32_t first = ut_series_first(&held->allocated, from_ns);
    uint32_t last = ut_series_first(&held->allocated, to_ns);
    const struct ut_point *before = ut_series_point(&held->allocated, first > 0 ? first - 1 : 0);
    const struct ut_point *after = ut_series_point(&held->allocated, last < kept ? last : kept - 1);
    join->allocated_much = after->value >= before->value + UT_ALLOCATED_LEAST;
}

void ut_join_forget_sharers(struct ut_join *join)
{
    for (uint32_t i = 0; i < join->stall_count; i++)
        join->stalls[i].sharers = 0;
    for (uint32_t i = 0; i < join->kill_count; i++)
        join->kills[i].sharers = 0;
    if (join->allocated_much)
        memset(join->allocators, 0, UT_SERIES_POINTS * sizeof(join->allocators[0]));
}

/* ---- what a span meets ---------------------------------------------------------------------- */

/* How much of the stall's time falls into the span. */
static uint64_t share_of(const struct ut_join_stall *stall, const struct ut_span *span)
{
    uint64_t from_ns = stall->from_ns > span->start_ns ? stall->from_ns : span->start_ns;
    uint64_t to_ns = stall->to_ns < span->end_ns ? stall->to_ns : span->end_ns;
    if (from_ns >= to_ns)
        return 0;
    if (from_ns == stall->from_ns && to_ns == stall->to_ns)
        return stall->ns;
    double part = (double)(to_ns - from_ns) / (double)(stall->to_ns - stall->from_ns);
    return (uint64_t)((double)stall->ns * part);
}

/* The first stall that may meet the span: no window is longer than a slot. */
static uint32_t first_stall(const struct ut_join *join, const struct ut_span *span)
{
    uint32_t low = 0, high = join->stall_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (join->stalls[middle].from_ns + UT_STALL_SLOT_NS < span->start_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool meets_kill(const struct ut_join *join, const struct ut_span *span, uint32_t index)
{
    uint64_t seen_ns = join->kills[index].kill->seen_ns;
    return seen_ns + join->slack_ns >= span->start_ns && seen_ns <= span->end_ns + join->slack_ns;
}

/* Of evidence enough by itself, or as a figure beside other evidence of memory. */
static void meet_held(const struct ut_join *join, const struct ut_span *span,
                      struct ut_join_memory *ret)
{
    uint64_t before;
    if (join->held == NULL || (!join->held_changed && !ret->any))
        return;
    ret->held = ut_held_at(join->held, span->end_ns, &ret->held_bytes);
    ret->held_change = ret->held && ut_held_at(join->held, span->start_ns, &before);
    if (ret->held_change)
        ret->held_change_bytes = (int64_t)(ret->held_bytes - before);
    ret->any |= ret->held_change_bytes >= UT_HELD_CHANGE_LEAST ||
                ret->held_change_bytes <= -UT_HELD_CHANGE_LEAST;
}

/* The parts of the series in which it grew and the span was open: [*ret, returned). */
static uint32_t allocated_parts(const struct ut_join *join, const struct ut_span *span,
                                uint32_t *first)
{
    const struct ut_series *series = &join->held->allocated;
    uint32_t last = ut_series_first(series, span->end_ns);
    *first = ut_series_first(series, span->start_ns + 1);
    return last < ut_series_kept(series) ? last + 1 : last;
}

static bool allocated_in(const struct ut_join *join, uint32_t part)
{
    const struct ut_series *series = &join->held->allocated;
    return part > 0 &&
           ut_series_point(series, part)->value > ut_series_point(series, part - 1)->value;
}

static void meet_allocated(struct ut_join *join, const struct ut_span *span,
                           struct ut_join_memory *ret)
{
    uint32_t part;
    if (join->held == NULL || (!join->allocated_much && !ret->any))
        return;
    ret->allocated =
        ut_held_growth(&join->held->allocated, span->start_ns, span->end_ns, &ret->allocated_bytes);
    ret->allocated &= ret->any || ret->allocated_bytes >= UT_ALLOCATED_LEAST;
    ret->any |= ret->allocated;
    if (!ret->allocated || !join->allocated_much)
        return;
    for (uint32_t end = allocated_parts(join, span, &part); part < end; part++)
        join->allocators[part] += allocated_in(join, part);
}

void ut_join_meet_memory(struct ut_join *join, const struct ut_span *span,
                         struct ut_join_memory *ret)
{
    *ret = (struct ut_join_memory){.first_stall = first_stall(join, span)};
    for (uint32_t i = ret->first_stall;
         i < join->stall_count && join->stalls[i].from_ns < span->end_ns; i++) {
        bool met = share_of(&join->stalls[i], span) > 0;
        join->stalls[i].sharers += met;
        ret->any |= met;
        ret->stalls = i + 1 - ret->first_stall;
    }
    for (uint32_t i = 0; i < join->kill_count; i++) {
        if (!meets_kill(join, span, i))
            continue;
        join->kills[i].sharers++;
        if (ret->kills++ == 0)
            ret->first_kill = i;
        ret->any = true;
    }
    meet_allocated(join, span, ret);
    meet_held(join, span, ret);
    if (ret->stalls > 0 && join->held != NULL)
        ret->wall =
            ut_held_growth(&join->held->pressure, span->start_ns, span->end_ns, &ret->wall_ns);
}

/* ---- what it says of them ------------------------------------------------------------------- */

static const char *scope_name(int scope)
{
    static const char *const names[UT_SCOPES] = {"own", "ancestor", "global"};
    return names[scope];
}

struct stalled {
    uint64_t ns, first_ns; /* `first_ns`: UNIX, when the first of it began within the span */
};

/* By scope; returns the sum. */
static uint64_t sum_stalls(const struct ut_join *join, const struct ut_span *span,
                           const struct ut_join_memory *memory, struct stalled ret[UT_SCOPES],
                           uint32_t *sharers)
{
    uint64_t sum_ns = 0;
    for (uint32_t i = memory->first_stall; i < memory->first_stall + memory->stalls; i++) {
        const struct ut_join_stall *stall = &join->stalls[i];
        uint64_t ns = share_of(stall, span);
        if (ns == 0)
            continue;
        struct stalled *of_scope = &ret[stall->scope];
        if (of_scope->ns == 0)
            of_scope->first_ns = stall->from_ns > span->start_ns ? stall->from_ns : span->start_ns;
        of_scope->ns += ns;
        sum_ns += ns;
        *sharers = stall->sharers > *sharers ? stall->sharers : *sharers;
    }
    return sum_ns;
}

/* The longest that either end of the span is in. */
static uint64_t held_slot_ns(const struct ut_join *join, const struct ut_span *span,
                             const struct ut_join_memory *memory)
{
    uint64_t end_ns = ut_held_slot_at(join->held, span->end_ns);
    uint64_t start_ns = memory->held_change ? ut_held_slot_at(join->held, span->start_ns) : 0;
    return end_ns > start_ns ? end_ns : start_ns;
}

static void encode_held(const struct ut_join *join, const struct ut_span *span,
                        const struct ut_join_memory *memory, struct ut_encoder *out)
{
    const int field = UT_FIELD_SPAN_ATTRIBUTES;
    if (!memory->held)
        return;
    ut_encode_int(out, field, UT_ATTR_MEMORY_HELD_BYTES, (int64_t)memory->held_bytes);
    if (memory->held_change)
        ut_encode_int(out, field, UT_ATTR_MEMORY_HELD_CHANGE_BYTES, memory->held_change_bytes);
    uint64_t slot_ns = held_slot_ns(join, span, memory);
    if (slot_ns >= LONG_SLOT_NS)
        ut_encode_int(out, field, UT_ATTR_MEMORY_HELD_SLOT_MS, (int64_t)(slot_ns / UT_NS_PER_MS));
}

static int main_scope(const struct stalled by_scope[UT_SCOPES])
{
    int main = UT_SCOPE_OWN;
    for (int scope = 1; scope < UT_SCOPES; scope++)
        main = by_scope[scope].ns > by_scope[main].ns ? scope : main;
    return main;
}

size_t ut_join_memory_room(const struct ut_join_memory *memory)
{
    uint32_t kills = memory->kills < KILL_EVENTS_MAX ? memory->kills : KILL_EVENTS_MAX;
    return memory->any ? ATTRIBUTES_BYTES + (UT_SCOPES + kills) * EVENT_BYTES : 0;
}

uint32_t ut_join_memory_attributes(const struct ut_join *join, const struct ut_span *span,
                                   const struct ut_join_memory *memory, struct ut_encoder *out)
{
    const int field = UT_FIELD_SPAN_ATTRIBUTES;
    struct stalled by_scope[UT_SCOPES] = {{0}};
    uint32_t sharers = 0;
    uint64_t sum_ns = sum_stalls(join, span, memory, by_scope, &sharers);
    encode_held(join, span, memory, out);
    if (memory->allocated) {
        uint32_t part;
        ut_encode_int(out, field, UT_ATTR_MEMORY_ALLOCATED_BYTES, (int64_t)memory->allocated_bytes);
        for (uint32_t end = allocated_parts(join, span, &part); part < end; part++)
            sharers = join->allocators[part] > sharers ? join->allocators[part] : sharers;
    }
    if (sum_ns > 0 && memory->wall)
        ut_encode_int(out, field, UT_ATTR_MEMORY_STALL_WALL_NS, (int64_t)memory->wall_ns);
    if (sum_ns > 0) {
        ut_encode_int(out, field, UT_ATTR_MEMORY_STALL_NS, (int64_t)sum_ns);
        ut_encode_string(out, field, UT_ATTR_MEMORY_STALL_SCOPE,
                         ut_slice_str(scope_name(main_scope(by_scope))));
    }
    if (memory->kills > 0)
        ut_encode_int(out, field, UT_ATTR_MEMORY_OOM_KILLS, memory->kills);
    for (uint32_t i = memory->first_kill; i < join->kill_count && memory->kills > 0; i++) {
        if (meets_kill(join, span, i) && join->kills[i].sharers > sharers)
            sharers = join->kills[i].sharers;
    }
    return sharers;
}

static size_t begin_event(struct ut_encoder *out, const char *name, uint64_t time_ns)
{
    size_t begin = ut_encode_event_begin(out, name, time_ns);
    ut_encode_string(out, UT_FIELD_EVENT_ATTRIBUTES, UT_ATTR_MATCH,
                     ut_slice_str(ut_match_class_name(UT_MATCH_WORKLOAD)));
    return begin;
}

static uint32_t encode_kills(const struct ut_join *join, const struct ut_span *span,
                             const struct ut_join_memory *memory, struct ut_encoder *out)
{
    const int field = UT_FIELD_EVENT_ATTRIBUTES;
    uint32_t room = memory->kills > KILL_EVENTS_MAX ? KILL_EVENTS_MAX - 1 : memory->kills;
    uint32_t written = 0;
    uint64_t last_ns = 0;
    for (uint32_t i = memory->first_kill; i < join->kill_count && written < room; i++) {
        const struct ut_oom_kill *kill = join->kills[i].kill;
        if (!meets_kill(join, span, i))
            continue;
        last_ns = kill->seen_ns;
        size_t begin = begin_event(out, UT_EVENT_MEMORY_OOM_KILL, last_ns);
        ut_encode_int(out, field, UT_ATTR_MEMORY_VICTIM_PID, kill->pid);
        if (kill->has_bytes)
            ut_encode_int(out, field, UT_ATTR_MEMORY_VICTIM_BYTES, (int64_t)kill->bytes);
        ut_encode_event_end(out, begin);
        written++;
    }
    if (written == memory->kills)
        return written;
    size_t begin = ut_encode_event_begin(out, UT_EVENT_MEMORY_OOM_KILL, last_ns);
    ut_encode_int(out, field, UT_ATTR_OMITTED, memory->kills - written);
    ut_encode_event_end(out, begin);
    return written + 1;
}

uint32_t ut_join_memory_event_count(const struct ut_join *join, const struct ut_span *span,
                                    const struct ut_join_memory *memory)
{
    struct stalled by_scope[UT_SCOPES] = {{0}};
    uint32_t sharers = 0, count = memory->kills;
    (void)sum_stalls(join, span, memory, by_scope, &sharers);
    for (int scope = 0; scope < UT_SCOPES; scope++)
        count += by_scope[scope].ns > 0;
    return count;
}

uint32_t ut_join_memory_events(const struct ut_join *join, const struct ut_span *span,
                               const struct ut_join_memory *memory, struct ut_encoder *out)
{
    const int field = UT_FIELD_EVENT_ATTRIBUTES;
    struct stalled by_scope[UT_SCOPES] = {{0}};
    uint32_t sharers = 0, written = encode_kills(join, span, memory, out);
    (void)sum_stalls(join, span, memory, by_scope, &sharers);
    for (int scope = 0; scope < UT_SCOPES; scope++) {
        if (by_scope[scope].ns == 0)
            continue;
        size_t begin = begin_event(out, UT_EVENT_MEMORY_STALL, by_scope[scope].first_ns);
        ut_encode_int(out, field, UT_ATTR_MEMORY_STALL_NS, (int64_t)by_scope[scope].ns);
        ut_encode_string(out, field, UT_ATTR_MEMORY_STALL_SCOPE, ut_slice_str(scope_name(scope)));
        ut_encode_event_end(out, begin);
        written++;
    }
    return written;
}
