/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door of the layer: records in, edits out, figures for whoever asks. What it adds to the
 * tables and the join is the work on Resources and on forged keys, and the counting.
 */
#include "evidence/evidence.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/cgroup_scan.h"
#include "evidence/identity.h"
#include "evidence/ingest.h"
#include "evidence/join.h"
#include "evidence/sender.h"
#include "evidence/strip.h"

/* Of each cgroup that the last scan saw, which cost some 10 µs: a hundredth of the time at most. */
#define SCAN_REST_NS UT_NS_PER_MS

struct counters {
    uint64_t *records[UT_INGEST_RESULTS];
    uint64_t *lost_records;
    uint64_t *sender_spans[UT_SENDER_KNOWLEDGE];
    uint64_t *claims_contradicted;
    struct ut_strip_counters strip;
    struct ut_join_counters join;
};

struct ut_evidence {
    struct ut_event_sink sink;
    struct ut_sender_names names;
    struct ut_event_source *source; /* borrowed; may be NULL */
    struct ut_metrics *metrics;
    struct ut_log *log;
    struct ut_tables tables;
    struct ut_allowance allowance;
    struct ut_join *join;
    struct counters counters;
    uint64_t withheld_logged; /* events and counts that the log has told of */
    uint64_t now_ns;          /* UNIX, the latest that anybody told; 0: nobody yet */
    uint64_t scanned_ns;      /* UNIX; 0: never asked to */
    bool scan_failed;         /* the latest one */
    char *scan_root;          /* NULL: found by mountinfo */
};

/* ---- records ----------------------------------------------------------------------------------
 */

/* The latest one; whether or not any span was open. */
static void log_oom_kill(const struct ut_evidence *e)
{
    const struct ut_memory_store *store = &e->tables.memory;
    const struct ut_oom_kill *kill = &store->kills[(store->kill_count - 1) % UT_OOM_KILLS_MAX];
    const struct ut_workload *victim = ut_workloads_get(&e->tables.workloads, kill->workload);
    char quoted[512];
    ut_log(e->log, UT_LOG_WARN, "oom_kill", "cgroup=%s pid=%u bytes=%llu",
           ut_log_quote(quoted, sizeof(quoted), victim != NULL ? victim->shown_path : ""),
           kill->pid, (unsigned long long)kill->bytes);
}

static void on_record(struct ut_event_sink *sink, const void *data, size_t size,
                      int64_t unix_offset_ns)
{
    struct ut_evidence *e = UT_CONTAINER_OF(sink, struct ut_evidence, sink);
    enum ut_ingest_result result =
        ut_ingest_record(&e->tables, data, size, unix_offset_ns, e->now_ns);
    ++*e->counters.records[result];
    if (result == UT_INGEST_OOM_KILL)
        log_oom_kill(e);
}

static void on_lost(struct ut_event_sink *sink, uint64_t records, uint64_t unix_ns)
{
    struct ut_evidence *e = UT_CONTAINER_OF(sink, struct ut_evidence, sink);
    *e->counters.lost_records += records;
    ut_tables_lost(&e->tables, unix_ns);
}

static void on_attached(struct ut_event_sink *sink, uint64_t unix_ns)
{
    struct ut_evidence *e = UT_CONTAINER_OF(sink, struct ut_evidence, sink);
    e->tables.attached_ns = unix_ns;
    e->tables.version++;
}

static void on_cgroups_missed(struct ut_event_sink *sink)
{
    ut_workloads_missed(&UT_CONTAINER_OF(sink, struct ut_evidence, sink)->tables.workloads);
}

static void on_sample(struct ut_event_sink *sink, uint64_t unix_ns)
{
    ut_held_sample(&UT_CONTAINER_OF(sink, struct ut_evidence, sink)->tables.held, unix_ns);
}

/* ---- metrics ----------------------------------------------------------------------------------
 */

static uint64_t *counter(struct ut_evidence *e, const char *name, const char *labels,
                         const char *help)
{
    return ut_metrics_counter(e->metrics, name, labels, help);
}

static void count_records(struct ut_evidence *e)
{
    static const char *const labels[UT_INGEST_RESULTS] = {
        [UT_INGEST_RETRANSMIT] = "type=\"retransmit\"",
        [UT_INGEST_NOT_SENT] = "type=\"retransmit_not_sent\"",
        [UT_INGEST_EMPTY] = "type=\"retransmit_without_data\"",
        [UT_INGEST_CONNECTION] = "type=\"connection\"",
        [UT_INGEST_CGROUP] = "type=\"cgroup\"",
        [UT_INGEST_OOM_KILL] = "type=\"oom_kill\"",
        [UT_INGEST_STALL] = "type=\"stall\"",
        [UT_INGEST_RESET] = "type=\"reset\"",
        [UT_INGEST_ZERO_WINDOW] = "type=\"zero_window\"",
        [UT_INGEST_RECEIVE_DROP] = "type=\"receive_drop\"",
        [UT_INGEST_LISTEN_OVERFLOW] = "type=\"listen_overflow\"",
        [UT_INGEST_UNDO] = "type=\"undo\"",
        [UT_INGEST_TRACE_IDS] = "type=\"trace_ids\"",
        [UT_INGEST_TRACE_IDS_ALONE] = "type=\"trace_ids_without_retransmit\"",
        [UT_INGEST_ALLOCATED] = "type=\"allocated\"",
        [UT_INGEST_HELD_BACK] = "type=\"held_back\"",
        [UT_INGEST_BAD] = "type=\"bad\"",
    };
    for (int i = 0; i < UT_INGEST_RESULTS; i++)
        e->counters.records[i] =
            counter(e, "undertrace_kernel_records_total", labels[i],
                    "Kernel records taken in, and those that were refused as malformed.");
    e->counters.lost_records = counter(e, "undertrace_kernel_lost_records_total", "",
                                       "Kernel records that were lost, and runs of the programs "
                                       "that the kernel skipped.");
}

static void count_spans(struct ut_evidence *e)
{
    static const char *const senders[UT_SENDER_KNOWLEDGE] = {
        "sender=\"known\"",     "sender=\"no_socket\"", "sender=\"no_record\"",
        "sender=\"remote\"",    "sender=\"ambiguous\"", "sender=\"unowned\"",
        "sender=\"forwarder\"", "sender=\"no_peer\"",   "sender=\"forwarded\"",
        "sender=\"claimed\"",
    };
    static const char *const matches[UT_MATCH_CLASSES] = {
        "match=\"none\"",       "match=\"workload\"", "match=\"peer\"",
        "match=\"connection\"", "match=\"exact\"",
    };
    for (int i = 0; i < UT_SENDER_KNOWLEDGE; i++)
        e->counters.sender_spans[i] = counter(e, "undertrace_sender_spans_total", senders[i],
                                              "Spans by what is known of their sender.");
    for (int i = 0; i < UT_MATCH_CLASSES; i++)
        e->counters.join.joined[i] =
            counter(e, "undertrace_joined_spans_total", matches[i],
                    "Spans that gained evidence, by the weakest class among their TCP events; "
                    "memory evidence alone is of class workload.");
    e->counters.join.joined_memory =
        counter(e, "undertrace_memory_joined_spans_total", "",
                "Spans that gained memory evidence; they are among the joined ones.");
    e->counters.claims_contradicted =
        counter(e, "undertrace_claims_contradicted_total", "",
                "Resources that claim another container or pod than the kernel knows.");
    ut_strip_counters_init(&e->counters.strip, e->metrics);
}

static void count_join(struct ut_evidence *e)
{
    struct ut_join_counters *join = &e->counters.join;
    const char *dropped = "undertrace_evidence_dropped_spans_total";
    const char *dropped_help = "Spans whose evidence found no room.";
    const char *unjoined = "undertrace_unjoined_spans_total";
    const char *unjoined_help = "Spans that are not joined because their times make no sense.";
    join->contradicted =
        counter(e, "undertrace_join_contradicted_total", "",
                "Pairs of a span and a kernel event whose ends contradict; of many events on "
                "other ports than the span names one at most.");
    join->unmatched = counter(e, "undertrace_join_unmatched_ends_total", "",
                              "Spans that name an end to which no connection of their workload "
                              "led.");
    join->ends_before_start = counter(e, unjoined, "reason=\"ends_before_start\"", unjoined_help);
    join->late = counter(e, "undertrace_join_late_spans_total", "",
                         "Spans that began when what happened to their workload is no longer "
                         "known in full.");
    join->in_future = counter(e, unjoined, "reason=\"in_future\"", unjoined_help);
    join->dropped_budget = counter(e, dropped, "reason=\"budget\"", dropped_help);
    join->dropped_memory = counter(e, dropped, "reason=\"memory\"", dropped_help);
    join->ids_untrusted =
        counter(e, "undertrace_trace_context_untrusted_total", "",
                "Pairs of a span and a retransmit whose bytes named it, although the span's sender "
                "owns no end of that connection.");
    join->views_exceeded = counter(e, "undertrace_join_events_exceeded_total", "",
                                   "Requests that met more kernel events than are looked at.");
}

static void count_allowance(struct ut_evidence *e)
{
    static const char *const labels[UT_MATCH_CLASSES] = {
        "match=\"none\"",       "match=\"workload\"", "match=\"peer\"",
        "match=\"connection\"", "match=\"exact\"",
    };
    e->counters.join.added_bytes =
        counter(e, "undertrace_evidence_added_bytes_total", "",
                "Bytes that evidence added to spans, without the identity in Resources.");
    for (int i = UT_MATCH_NONE; i < UT_MATCH_CLASSES; i++) {
        e->counters.join.withheld_events[i] =
            counter(e, "undertrace_evidence_withheld_events_total", labels[i],
                    "Kernel events that max_bytes_per_hour left no span event for.");
        e->counters.join.withheld_counts[i] =
            counter(e, "undertrace_evidence_withheld_spans_total", labels[i],
                    "Spans that max_bytes_per_hour left without counts of that class.");
    }
}

#define READER(name, expression)                                                                   \
    static double name(void *arg)                                                                  \
    {                                                                                              \
        const struct ut_tables *t = &((const struct ut_evidence *)arg)->tables;                    \
        return (double)(expression);                                                               \
    }

READER(read_events, t->events.count)
READER(read_folds, t->events.fold_count)
READER(read_events_evicted, t->events.evicted)
READER(read_ids_refused, t->events.trace_ids.refused)
READER(read_requests_untold, t->requests_untold)
READER(read_open, t->connections.open_count)
READER(read_closed, t->connections.closed_count)
READER(read_evicted_open, t->connections.evicted_open)
READER(read_evicted_closed, t->connections.evicted_closed)
READER(read_ambiguous, t->connections.ambiguous)
READER(read_workloads, t->workloads.count)
READER(read_unknown_cgroups, t->workloads.unknown_ids)
READER(read_overflows, t->workloads.overflows)
READER(read_living_cgroups, ut_workloads_living(&t->workloads))
READER(read_impostors, t->workloads.impostors)
READER(read_stalls, t->memory.count)
READER(read_stalls_evicted, t->memory.evicted)
READER(read_stalled_own, (double)t->memory.stalled_ns[UT_SCOPE_OWN] / 1e9)
READER(read_stalled_ancestor, (double)t->memory.stalled_ns[UT_SCOPE_ANCESTOR] / 1e9)
READER(read_stalled_global, (double)t->memory.stalled_ns[UT_SCOPE_GLOBAL] / 1e9)
READER(read_stalled_unowned, (double)t->memory.unowned_stalled_ns / 1e9)
READER(read_held, t->held.count)
READER(read_held_refused, t->held.refused)
READER(read_held_slot, (double)t->held.slot_ns / 1e9)
READER(read_held_evicted, t->held.pool.evicted)
READER(read_allocated, t->memory.allocated_bytes)
READER(read_allocated_unowned, t->memory.unowned_allocated_bytes)
READER(read_kills, t->memory.kills_owned)
READER(read_kills_unowned, t->memory.kills_unowned)

static void read_memory(struct ut_evidence *e)
{
    struct ut_metrics *m = e->metrics;
    const char *stalled = "undertrace_memory_stall_seconds_total";
    const char *stalled_help = "Task time spent on reclaiming memory, by whose limit was met; of "
                               "tasks that belong to no workload: unowned.";
    const char *allocated = "undertrace_memory_allocated_bytes_total";
    const char *allocated_help = "Memory that tasks were given, with `memory: exact`, by whether "
                                 "they belonged to a workload.";
    const char *kills = "undertrace_oom_kills_total";
    const char *kills_help = "Processes that the kernel killed for want of memory, by whether "
                             "they belonged to a workload.";
    ut_metrics_counter_read(m, stalled, "scope=\"own\"", stalled_help, read_stalled_own, e);
    ut_metrics_counter_read(m, stalled, "scope=\"ancestor\"", stalled_help, read_stalled_ancestor,
                            e);
    ut_metrics_counter_read(m, stalled, "scope=\"global\"", stalled_help, read_stalled_global, e);
    ut_metrics_counter_read(m, stalled, "scope=\"unowned\"", stalled_help, read_stalled_unowned, e);
    ut_metrics_counter_read(m, kills, "victim=\"workload\"", kills_help, read_kills, e);
    ut_metrics_counter_read(m, kills, "victim=\"unowned\"", kills_help, read_kills_unowned, e);
    ut_metrics_counter_read(m, allocated, "owner=\"workload\"", allocated_help, read_allocated, e);
    ut_metrics_counter_read(m, allocated, "owner=\"unowned\"", allocated_help,
                            read_allocated_unowned, e);
    ut_metrics_gauge(m, "undertrace_memory_watched_workloads", "",
                     "Workloads whose held memory is read because they send spans.", read_held, e);
    ut_metrics_counter_read(m, "undertrace_memory_unwatched_requests_total", "",
                            "Requests of workloads whose held memory is not read: too many.",
                            read_held_refused, e);
    ut_metrics_gauge(m, "undertrace_memory_slot_seconds", "",
                     "Time between two readings of what a workload holds, at the least.",
                     read_held_slot, e);
    ut_metrics_counter_read(m, "undertrace_memory_readings_evicted_total", "",
                            "Readings of what workloads hold, allocate and stall that made room "
                            "within two minutes.",
                            read_held_evicted, e);
    ut_metrics_gauge(m, "undertrace_memory_stalls", "", "Sums of stalls kept.", read_stalls, e);
    ut_metrics_counter_read(m, "undertrace_memory_stalls_evicted_total", "",
                            "Sums of stalls that made room before their time.", read_stalls_evicted,
                            e);
}

static void read_tables(struct ut_evidence *e)
{
    struct ut_metrics *m = e->metrics;
    const char *connections = "undertrace_connections";
    const char *connections_help = "Connection ends in the table.";
    const char *evicted = "undertrace_connections_evicted_total";
    const char *evicted_help = "Connection ends that made room for others.";
    ut_metrics_gauge(m, "undertrace_kernel_events", "", "Whole kernel events kept.", read_events,
                     e);
    ut_metrics_gauge(m, "undertrace_kernel_event_sums", "", "Sums of older kernel events kept.",
                     read_folds, e);
    ut_metrics_counter_read(m, "undertrace_kernel_events_evicted_total", "",
                            "Kernel events that made room before their time.", read_events_evicted,
                            e);
    ut_metrics_counter_read(m, "undertrace_trace_context_refused_total", "",
                            "Ids from the wire that found no room.", read_ids_refused, e);
    ut_metrics_counter_read(m, "undertrace_trace_context_untold_total", "",
                            "Requests in retransmits of more of them than a record tells.",
                            read_requests_untold, e);
    ut_metrics_gauge(m, connections, "state=\"open\"", connections_help, read_open, e);
    ut_metrics_gauge(m, connections, "state=\"closed\"", connections_help, read_closed, e);
    ut_metrics_counter_read(m, evicted, "state=\"open\"", evicted_help, read_evicted_open, e);
    ut_metrics_counter_read(m, evicted, "state=\"closed\"", evicted_help, read_evicted_closed, e);
    ut_metrics_counter_read(m, "undertrace_connections_ambiguous_total", "",
                            "Connection ends with several candidates for the other end.",
                            read_ambiguous, e);
    ut_metrics_gauge(m, "undertrace_workloads", "", "Workloads known.", read_workloads, e);
    ut_metrics_gauge(m, "undertrace_cgroups", "",
                     "Cgroups that are known and not known to be gone.", read_living_cgroups, e);
    ut_metrics_counter_read(m, "undertrace_cgroups_unknown_total", "",
                            "Cgroup ids that no record had announced.", read_unknown_cgroups, e);
    ut_metrics_counter_read(m, "undertrace_workloads_overflow_total", "",
                            "Workloads and cgroups that found no room in the table.",
                            read_overflows, e);
    ut_metrics_counter_read(m, "undertrace_cgroups_impostors_total", "",
                            "Cgroups within containers, units or sessions whose paths carried the "
                            "ids of others' containers or pods; they gain no identity from them.",
                            read_impostors, e);
}

/* Who connected a moment ago may have been recorded only now. */
static bool find_name(struct ut_sender_names *names, const struct ut_sender *sender, char *out,
                      size_t room)
{
    struct ut_evidence *e = UT_CONTAINER_OF(names, struct ut_evidence, names);
    ut_evidence_drain(e);
    const struct ut_workload *workload = ut_sender_workload(&e->tables, sender);
    if (workload == NULL)
        return false;
    (void)snprintf(out, room, "%s", workload->shown_path);
    return true;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void on_follow(void *arg, uint64_t cgroup_id, bool follow)
{
    struct ut_event_source *source = ((struct ut_evidence *)arg)->source;
    if (source != NULL && source->follow != NULL)
        source->follow(source, cgroup_id, follow);
}

struct ut_evidence *ut_evidence_new(struct ut_metrics *metrics, struct ut_log *log)
{
    struct ut_evidence *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return NULL;
    e->sink = (struct ut_event_sink){on_record, on_lost, on_attached, on_sample, on_cgroups_missed};
    e->names.find = find_name;
    e->metrics = metrics;
    e->log = log;
    count_records(e);
    count_spans(e);
    count_join(e);
    count_allowance(e);
    if (ut_tables_init(&e->tables) != 0) {
        free(e);
        return NULL;
    }
    e->tables.workloads.follow = on_follow;
    e->tables.workloads.follow_arg = e;
    e->join = ut_join_new(&e->tables, &e->allowance, &e->counters.join);
    if (e->join == NULL) {
        ut_tables_done(&e->tables);
        free(e);
        return NULL;
    }
    read_tables(e);
    ut_tally_show(&e->tables.tally, metrics);
    ut_gaps_show(&e->tables.gaps, metrics);
    read_memory(e);
    return e;
}

void ut_evidence_free(struct ut_evidence *e)
{
    if (e == NULL)
        return;
    ut_metrics_remove(e->metrics, e);
    ut_tally_hide(&e->tables.tally, e->metrics);
    ut_gaps_hide(&e->tables.gaps, e->metrics);
    free(e->scan_root);
    ut_join_free(e->join);
    ut_tables_done(&e->tables);
    free(e);
}

struct ut_event_sink *ut_evidence_sink(struct ut_evidence *e)
{
    return &e->sink;
}

void ut_evidence_set_source(struct ut_evidence *e, struct ut_event_source *source)
{
    e->source = source;
    ut_held_set_source(&e->tables.held, source);
    ut_workloads_follow_all(&e->tables.workloads);
}

void ut_evidence_set_allowance(struct ut_evidence *e, uint64_t bytes_per_hour, uint64_t now_ns)
{
    ut_allowance_set(&e->allowance, bytes_per_hour, now_ns);
}

void ut_evidence_drain(struct ut_evidence *e)
{
    if (e->source != NULL)
        e->source->drain(e->source);
}

struct ut_sender_names *ut_evidence_sender_names(struct ut_evidence *e)
{
    return &e->names;
}

static int scan(struct ut_evidence *e, uint64_t now_ns)
{
    e->now_ns = e->scanned_ns = now_ns;
    e->tables.version++;
    int error = ut_cgroup_scan(&e->tables.workloads, e->scan_root, now_ns);
    ut_connections_resolve(&e->tables.connections);
    e->scan_failed = error != 0;
    return error;
}

int ut_evidence_scan_cgroups(struct ut_evidence *e, const char *root, uint64_t now_unix_ns)
{
    if (root != NULL && root != e->scan_root) {
        free(e->scan_root);
        e->scan_root = strdup(root);
        if (e->scan_root == NULL)
            return -ENOMEM;
    }
    return scan(e, now_unix_ns);
}

void ut_evidence_tick(struct ut_evidence *e, uint64_t now_unix_ns)
{
    e->now_ns = now_unix_ns;
    e->tables.version++;
    ut_event_store_age(&e->tables.events, now_unix_ns);
    ut_memory_store_age(&e->tables.memory, now_unix_ns);
    ut_connections_expire(&e->tables.connections, now_unix_ns);
    ut_workloads_expire(&e->tables.workloads, now_unix_ns);
    uint64_t rest_ns = e->tables.workloads.seen * SCAN_REST_NS;
    rest_ns = rest_ns > UT_NS_PER_S ? rest_ns : UT_NS_PER_S;
    bool rested = e->scanned_ns != 0 && now_unix_ns - e->scanned_ns >= rest_ns;
    if (!e->tables.workloads.rescan_wanted || !rested)
        return;
    bool said = e->scan_failed; /* where there is no tree, it fails for ever */
    int error = scan(e, now_unix_ns);
    if (error != 0 && !said)
        ut_log(e->log, UT_LOG_WARN, "cgroup_scan_failed",
               "error=\"%s\" text=\"containers that came unannounced have no name until the cgroup "
               "tree can be read; that is tried every second\"",
               strerror(-error));
}

/* ---- the join ---------------------------------------------------------------------------------
 */

/* The work on one body. */
struct body_work {
    struct ut_evidence *evidence; /* NULL: only forged keys go */
    struct ut_body *body;
    const struct ut_join_options *options;
    uint64_t now_ns;
    const struct ut_strip_counters *strip; /* NULL: nobody counts */
    struct ut_found_sender found;
    struct ut_workload *sender;  /* of the Resource at hand; its join has begun. NULL: not known */
    struct ut_identity identity; /* of `sender` */
    ut_slice encoded;            /* that; empty: not encoded yet, or not wanted */
    uint32_t senders;            /* that there were so far, repeated ones too */
};

/* A body of one sender begins one join. Those that forwarders bring may name another sender with
 * each Resource; beyond so many changes they gain no more. */
enum { SENDERS_OF_BODY_MAX = 256 };

static void end_sender(struct body_work *work)
{
    if (work->sender != NULL)
        ut_join_end(work->evidence->join, work->body);
    work->sender = NULL;
}

static void begin_sender(struct body_work *work, struct ut_workload *sender)
{
    if (sender == work->sender)
        return;
    end_sender(work);
    if (work->senders++ == SENDERS_OF_BODY_MAX)
        work->found.claims = false;
    struct ut_evidence *e = work->evidence;
    work->sender = sender;
    work->encoded = (ut_slice){NULL, 0};
    ut_workloads_want_names(&e->tables.workloads, sender, true);
    ut_workloads_sends(&e->tables.workloads, sender);
    ut_held_want(&e->tables.held, sender, work->now_ns);
    (void)ut_join_begin(e->join, work->body, sender, work->options, work->now_ns);
}

static uint32_t spans_of(const struct ut_body *body, const struct ut_resource *resource)
{
    uint32_t count = resource->span_count;
    for (uint32_t i = 0; body->left_out > 0 && i < resource->span_count; i++)
        count -= (body->spans[resource->first_span + i].flags & UT_SPAN_LEFT_OUT) != 0;
    return count;
}

/* The workload whose spans the Resource holds, if its spans may be joined: it is known, and the
 * Resource claims nothing else. */
static struct ut_workload *sender_of(struct body_work *work, const struct ut_resource *resource)
{
    struct ut_evidence *e = work->evidence;
    struct ut_workload *sender;
    enum ut_sender_knowledge knowledge =
        ut_sender_of_resource(&e->tables, &work->found, resource, &sender);
    *e->counters.sender_spans[knowledge] += spans_of(work->body, resource);
    if (sender == NULL)
        return NULL;
    if (!ut_sender_contradicts(sender, &resource->claims)) {
        ut_tally_add(&e->tables.tally, sender->id, UT_TALLY_SPANS, spans_of(work->body, resource));
        return sender;
    }
    ++*e->counters.claims_contradicted;
    return NULL;
}

/* Forged keys go; the verified identity comes, in the place of what was claimed. A Resource whose
 * claim contradicts the kernel gains nothing. */
static void work_on_resource(struct body_work *work, struct ut_resource *resource)
{
    struct ut_workload *sender = work->evidence != NULL ? sender_of(work, resource) : NULL;
    if (sender == NULL && work->found.passes_on)
        return;
    size_t before = work->body->arena.bytes;
    if (sender != NULL)
        begin_sender(work, sender);
    if (sender != NULL && work->options->resource_attributes && work->encoded.size == 0) {
        ut_identity_of(&work->identity, &work->evidence->tables, sender);
        work->encoded = ut_identity_encode(&work->identity, work->body);
    }
    bool identified = sender != NULL && work->encoded.size > 0 && resource->resource_end != 0;
    ut_strip_resource(work->body, resource, identified ? &work->identity : NULL, work->encoded,
                      work->strip);
    ut_strip_charge(work->body, before);
    if (sender != NULL)
        ut_join_resource(work->evidence->join, work->body, resource);
}

static void work_on_body(struct body_work *work)
{
    struct ut_body *body = work->body;
    work->found.passes_on = body->sender.is_forwarder;
    if (work->evidence != NULL)
        ut_sender_find(&work->evidence->tables, body, work->options->identity, &work->found);
    size_t before = body->arena.bytes;
    if (!work->found.passes_on)
        ut_strip_spans(body, work->strip);
    ut_strip_charge(body, before);
    for (uint32_t i = 0; i < body->resource_count; i++) {
        if ((body->resources[i].flags & UT_RESOURCE_LEFT_OUT) == 0)
            work_on_resource(work, &body->resources[i]);
    }
    end_sender(work);
}

static uint64_t sum(uint64_t *const counters[UT_MATCH_CLASSES])
{
    uint64_t all = 0;
    for (int i = 0; i < UT_MATCH_CLASSES; i++)
        all += *counters[i];
    return all;
}

static void log_withheld(struct ut_evidence *e)
{
    uint64_t events = sum(e->counters.join.withheld_events);
    uint64_t counts = sum(e->counters.join.withheld_counts);
    if (events + counts == e->withheld_logged)
        return;
    e->withheld_logged = events + counts;
    ut_log(e->log, UT_LOG_WARN, "evidence_withheld",
           "events=%llu spans=%llu max_bytes_per_hour=%llu text=\"span events, then counts, are "
           "left out; metrics count all; undertrace.max_bytes_per_hour allows more\"",
           (unsigned long long)events, (unsigned long long)counts,
           (unsigned long long)e->allowance.per_hour);
}

void ut_evidence_join(struct ut_evidence *e, struct ut_batch *batch,
                      const struct ut_join_options *options, uint64_t now_unix_ns)
{
    if (e != NULL)
        e->now_ns = now_unix_ns;
    for (struct ut_body *body = batch->first; body != NULL; body = body->next) {
        struct body_work work = {
            .evidence = e,
            .body = body,
            .options = options,
            .now_ns = now_unix_ns,
            .strip = e != NULL ? &e->counters.strip : options->strip,
        };
        work_on_body(&work);
    }
    if (e != NULL)
        log_withheld(e);
}

struct ut_tables *ut_evidence_tables(struct ut_evidence *e)
{
    return &e->tables;
}

/* ---- figures ------------------------------------------------------------------------------------
 */

void ut_evidence_figures(const struct ut_evidence *e, struct ut_evidence_figures *ret)
{
    const struct counters *c = &e->counters;
    *ret = (struct ut_evidence_figures){
        .contradicted = *c->join.contradicted,
        .claims_contradicted = *c->claims_contradicted,
        .forged_removed = *c->strip.removed,
        .dropped_no_room = *c->join.dropped_budget + *c->join.dropped_memory,
        .bad_records = *c->records[UT_INGEST_BAD],
        .lost_records = *c->lost_records,
        .added_bytes = *c->join.added_bytes,
        .withheld_events = sum(c->join.withheld_events),
        .withheld_counts = sum(c->join.withheld_counts),
        .events = e->tables.events.count,
        .folds = e->tables.events.fold_count,
        .connections_open = e->tables.connections.open_count,
        .connections_closed = e->tables.connections.closed_count,
        .workloads = e->tables.workloads.count,
        .attached_unix_ns = e->tables.attached_ns,
        .unmatched = *ut_join_unmatched(e->join),
    };
    for (int i = 0; i < UT_INGEST_RESULTS; i++)
        ret->records += *c->records[i];
    for (int i = 0; i < UT_SENDER_KNOWLEDGE; i++)
        ret->sender_spans[i] = *c->sender_spans[i];
    for (int i = 0; i < UT_MATCH_CLASSES; i++)
        ret->joined_spans[i] = *c->join.joined[i];
}

const char *ut_sender_knowledge_name(enum ut_sender_knowledge knowledge)
{
    static const char *const names[UT_SENDER_KNOWLEDGE] = {
        [UT_SENDER_KNOWN] = "known",         [UT_SENDER_NO_SOCKET] = "no_socket",
        [UT_SENDER_NO_RECORD] = "no_record", [UT_SENDER_REMOTE] = "remote",
        [UT_SENDER_AMBIGUOUS] = "ambiguous", [UT_SENDER_UNOWNED] = "unowned",
        [UT_SENDER_FORWARDER] = "forwarder", [UT_SENDER_NO_PEER] = "no_peer",
        [UT_SENDER_FORWARDED] = "forwarded", [UT_SENDER_CLAIMED] = "claimed",
    };
    return (unsigned)knowledge < UT_SENDER_KNOWLEDGE ? names[knowledge] : "unknown";
}

const char *ut_match_class_name(enum ut_match_class match)
{
    static const char *const names[UT_MATCH_CLASSES] = {"none", "workload", "peer", "connection",
                                                        "exact"};
    return (unsigned)match < UT_MATCH_CLASSES ? names[match] : "none";
}
