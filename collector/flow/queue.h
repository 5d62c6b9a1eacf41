/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue is what one exporter still has to send: batches held in memory, in order, with retry and
 * limits. Pipelines put batches in; the exporter's `send` takes pieces of them out, several at
 * once; `done` of the piece decides what comes next. One queue belongs to one exporter of one
 * worker, and several pipelines may share it.
 *
 * A place is a batch: one in the queue, or one that a pipeline has admitted and that is still on
 * the way through its processors. A place is taken at admission, so a put never fails; where
 * processors merge two batches one place is free again.
 *
 * An entry (one batch) is in one of these states:
 *
 *     fresh ──► in flight ──► finished
 *                │    ▲
 *         RETRY  ▼    │ TOO_LARGE (a smaller piece), or the next piece
 *             waiting ┴─► due
 *
 * First sends keep the order of the puts. An entry that waits for its back-off holds nobody up: due
 * and fresh entries take turns. TOO_LARGE halves the piece; after two pieces in a row that were
 * taken it doubles again. A single span that is too large is dropped and counted.
 *
 * Invariants: 1. accepted = sent + held + in flight + Σ dropped, in spans, at all times (see
 * ut_queue_books); 2. places taken =
 * entries + Σ batches on the way; 3. an entry has at most one piece in
 * flight; 4. an exporter that finishes inside `send` does not recurse: the pump is a loop.
 */
#ifndef UT_FLOW_QUEUE_H
#define UT_FLOW_QUEUE_H

#include "component.h"

struct ut_queue;

struct ut_queue_config {
    const char *id; /* the exporter's, for metrics and the log; lives as long as the queue */
    struct ut_worker *worker;
    struct ut_exporter *exporter;                /* created; freed after the queue */
    const struct ut_exporter_settings *settings; /* copied; NULL: ut_queue_defaults */
    uint64_t random_seed;                        /* for the jitter of the back-off */
};

/* What an exporter that gives no settings gets; the values of the Collector. */
extern const struct ut_exporter_settings ut_queue_defaults;

/* Why spans were dropped; the label `reason` of undertrace_exporter_dropped_spans. */
enum ut_drop_reason {
    UT_DROP_PERMANENT,   /* "permanent": the backend refused them for good */
    UT_DROP_REJECTED,    /* "rejected": the backend's partial_success */
    UT_DROP_TOO_LARGE,   /* "too_large": a single span above the backend's limit */
    UT_DROP_RETRY_ENDED, /* "retry_ended": max_elapsed_time is over, or retry is disabled */
    UT_DROP_SHUTDOWN,    /* "shutdown": still here at the deadline */
    UT_DROP_MEMORY,      /* "memory": the system had none */
    UT_DROP_REASONS,
};

/* In spans, since the start. */
struct ut_queue_books {
    uint64_t accepted, sent, held, in_flight;
    uint64_t dropped[UT_DROP_REASONS];
};

/* Registers its metrics. NULL when out of memory. */
struct ut_queue *ut_queue_new(const struct ut_queue_config *config) UT_MUST_USE;
/* Nothing may be in flight; what is still held is counted as dropped. NULL is fine. */
void ut_queue_free(struct ut_queue *queue);

#define UT_QUEUE_FEEDS_MAX 16

/* A pipeline that puts into this queue lends its count of batches on the way. */
void ut_queue_add_feed(struct ut_queue *queue, const uint32_t *on_the_way);
void ut_queue_remove_feed(struct ut_queue *queue, const uint32_t *on_the_way);
/* Whether there is a place for one more batch. false: there is none, or the queue is stopping; the
 * spans are counted as refused (otelcol_exporter_enqueue_failed_spans). */
bool ut_queue_admits(struct ut_queue *queue, const struct ut_batch *batch) UT_MUST_USE;
/* How long a sender who found no room should wait: until the entry that waits longest is tried
 * again, at least 1 s and at most 30 s. */
uint32_t ut_queue_delay_ms(const struct ut_queue *queue);

/* Takes over one reference of `batch`, which was admitted. The batch must not change from now on.
 * The exporter's `send` may be called in here. */
void ut_queue_put(struct ut_queue *queue, struct ut_batch *batch);

/* Stop, in two steps. Drain: no more room is given, entries whose back-off was our own idea are
 * tried at once, and drained(arg) comes once when nothing is left (perhaps in here, and perhaps
 * from inside the exporter: it must free neither). Abandon, at the deadline: what is not in flight
 * is dropped and counted now, what is in flight when the exporter answers RETRY (its `stop` does).
 */
void ut_queue_drain(struct ut_queue *queue, void (*drained)(void *arg), void *arg);
void ut_queue_abandon(struct ut_queue *queue);

void ut_queue_books(const struct ut_queue *queue, struct ut_queue_books *ret);
/* The text of the reason's label. */
const char *ut_drop_reason_name(enum ut_drop_reason reason);

#endif
