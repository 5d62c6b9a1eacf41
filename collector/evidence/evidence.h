/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The evidence of one node: what the kernel said (connections, workloads, events), and the join of
 * it with the spans of a batch. This is the layer's door: the ebpf receiver writes into the sink,
 * `correlate` joins through it, the app drives it once a second and reads its figures.
 *
 * All memory is taken by ut_evidence_new and never grows. Nothing here reads a clock: whoever calls
 * says what time it is, so that captured records replay in virtual time. The one thing that touches
 * the system is the scan of the cgroup tree.
 */
#ifndef UT_EVIDENCE_EVIDENCE_H
#define UT_EVIDENCE_EVIDENCE_H

#include <stdbool.h>

#include "base/log.h"
#include "config/identity.h"
#include "model/address.h"
#include "model/batch.h"
#include "model/kernel_event.h"
#include "telemetry/metrics.h"

struct ut_evidence;
struct ut_tables;
struct ut_strip_counters;

/* `metrics` and `log` are borrowed and outlive the evidence; `log` may be NULL. NULL when out of
 * memory. */
struct ut_evidence *ut_evidence_new(struct ut_metrics *metrics, struct ut_log *log) UT_MUST_USE;
void ut_evidence_free(struct ut_evidence *evidence); /* NULL is fine */

/* Where the kernel's records go; lives as long as the evidence. */
struct ut_event_sink *ut_evidence_sink(struct ut_evidence *evidence);
/* Who can bring the sink up to date; borrowed, NULL takes it out again. */
void ut_evidence_set_source(struct ut_evidence *evidence, struct ut_event_source *source);
/* Asks the source for all that the kernel has recorded so far; without a source nothing happens. */
void ut_evidence_drain(struct ut_evidence *evidence);

/* Names senders by what the kernel has recorded; lives as long as the evidence. */
struct ut_sender_names *ut_evidence_sender_names(struct ut_evidence *evidence);

/* Reads the cgroup v2 tree, found by /proc/self/mountinfo, into the workload table: once after the
 * kernel programs are attached and before the first record is drained. `root` names another
 * directory to read instead (tests), NULL: find it. 0, or a negative errno (-ENOENT: no cgroup v2
 * mount); records still fill the table then. */
int ut_evidence_scan_cgroups(struct ut_evidence *evidence, const char *root,
                             uint64_t now_unix_ns) UT_MUST_USE;

/* Once a second: folds and forgets what is old, and reads the cgroup tree again (where it was read
 * before) if a record named a cgroup that the table does not know. */
void ut_evidence_tick(struct ut_evidence *evidence, uint64_t now_unix_ns);

struct ut_join_options {
    uint64_t slack_ns;        /* two clocks that tell the same time may differ by this much */
    bool resource_attributes; /* write the sender's verified identity into its Resources */
    const struct ut_config_identity *identity; /* NULL: nobody's word counts beside the kernel's */
    const struct ut_strip_counters *strip;     /* NULL: not counted; evidence counts its own */
};

/* Joins the batch: gives its spans and Resources their edits. `undertrace.*` keys are removed
 * whoever sent them, but for trusted forwarders; what those have joined is not joined again.
 * `evidence` may be NULL: then only that is done. Spans are never dropped; where memory or budget
 * is short, evidence is, and counted. To be called once per batch. */
void ut_evidence_join(struct ut_evidence *evidence, struct ut_batch *batch,
                      const struct ut_join_options *options, uint64_t now_unix_ns);

/* How many bytes of evidence may be added to spans in an hour (allowance.h), from now on; 0, as at
 * the start: any number. */
void ut_evidence_set_allowance(struct ut_evidence *evidence, uint64_t bytes_per_hour,
                               uint64_t now_unix_ns);

enum ut_match_class {
    UT_MATCH_NONE,
    UT_MATCH_WORKLOAD,
    UT_MATCH_PEER,
    UT_MATCH_CONNECTION,
    UT_MATCH_EXACT,
    UT_MATCH_CLASSES
};

/* How the sender of a body was found, or why not. */
enum ut_sender_knowledge {
    UT_SENDER_KNOWN,
    UT_SENDER_NO_SOCKET, /* the socket's cookie is not known */
    UT_SENDER_NO_RECORD, /* the kernel side has no record of our socket */
    UT_SENDER_REMOTE,    /* the other end is not on this host, or was never seen */
    UT_SENDER_AMBIGUOUS, /* two ends could be the other one */
    UT_SENDER_UNOWNED,   /* its socket belongs to no workload (root cgroup, user session) */
    UT_SENDER_FORWARDER, /* brings the spans of several service instances */
    UT_SENDER_NO_PEER,   /* who opened the unix socket had gone, or is not to be seen from here */
    UT_SENDER_FORWARDED, /* an Undertrace before us knows it, says a trusted forwarder */
    UT_SENDER_CLAIMED,   /* the Resource names it, and the configuration trusts that */
    UT_SENDER_KNOWLEDGE,
};

/* The tables behind it (evidence/tables.h), for checks. */
struct ut_tables *ut_evidence_tables(struct ut_evidence *evidence);

/* Spans that name an end to which no connection of their workload led while they were open, though
 * bytes of one were sent again: the program and the kernel see it differently (a balancer in the
 * kernel), or the span is wrong. */
struct ut_unmatched_ends {
    uint64_t spans;
    /* Of the latest: its workload's path, what it names, and where the event's connection leads. */
    char workload[256];
    struct ut_endpoint named, socket;
};

/* Figures for `doctor` and the status page; totals since start. */
struct ut_evidence_figures {
    uint64_t sender_spans[UT_SENDER_KNOWLEDGE];
    uint64_t joined_spans[UT_MATCH_CLASSES]; /* by the weakest class among a span's events */
    uint64_t contradicted, claims_contradicted, forged_removed, dropped_no_room;
    uint64_t records, bad_records, lost_records;
    /* By evidence: what it added to spans, and what the allowance had no room for. */
    uint64_t added_bytes, withheld_events, withheld_counts;
    uint32_t events, folds, connections_open, connections_closed, workloads;
    uint64_t attached_unix_ns; /* 0: the kernel is not watched */
    struct ut_unmatched_ends unmatched;
};

void ut_evidence_figures(const struct ut_evidence *evidence, struct ut_evidence_figures *ret);
/* "known", "remote", … and "connection", "peer", …: as in metrics; never NULL. */
const char *ut_sender_knowledge_name(enum ut_sender_knowledge knowledge);
const char *ut_match_class_name(enum ut_match_class match);

#endif
