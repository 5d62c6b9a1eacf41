/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue is what one exporter still has to send: batches held in memory, in order, with retry and
 * limits. Pipelines put batches in; the exporter's `send` takes pieces of them out, several at
 * once; `done` of the piece decides what comes next. One queue belongs to one exporter of one
 * worker, and several pipelines may share it.
 *
 * Its size is counted in requests (a batch in the queue, or one that a pipeline has admitted and
 * that is still on the way through its processors), in spans or in bytes. Room is taken at
 * admission, so a put never fails; where processors merge two batches a request is free again. A
 * queue that drops when it is full (`on_full`) admits everything, and drops at the put.
 *
 * An entry (one batch, or several that were joined when they were taken) is in one of these states:
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
 * What is known of an endpoint is kept per endpoint (circuit.h): one that asks for a pause, or does
 * not answer, holds up what would be sent to it, and nothing else; one that does not answer is
 * tried again with one item.
 *
 * Where there is a disk hold (keeping.h), what does not fit into memory, or finds others waiting on
 * the disk, stays there, and is read back in order when there is room again; the size of the queue
 * is that of its part in memory, and the hold's limit the limit. What an earlier process left there
 * is read back likewise.
 *
 * Invariants: 1. accepted + recovered = sent + held + in flight + Σ dropped, in spans, at all times
 * (see ut_queue_books); 2. an entry has at most one piece in flight; 3. what is in flight is never
 * dropped; 4. an exporter that finishes inside `send` does not recurse: the pump is a loop.
 *
 * Files: queue.c (the life, the way in and out), queue_answers.c (what becomes of a piece),
 * queue_entry.c (one entry), queue_room.c (sizes and limits), queue_backlog.c (what is on the
 * disk), queue_stop.c, queue_figures.c.
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
    struct ut_keeping *keeping; /* of the disk hold; NULL: none. It outlives the queue */
    uint32_t cursor;            /* the exporter's number there, claimed */
};

/* What an exporter that gives no settings gets; the values of the Collector. */
extern const struct ut_exporter_settings ut_queue_defaults;

/* Why spans were dropped; the label `reason` of undertrace_exporter_dropped_spans. */
enum ut_drop_reason {
    UT_DROP_PERMANENT,   /* "permanent": the backend refused them for good */
    UT_DROP_REJECTED,    /* "rejected": the backend's partial_success */
    UT_DROP_TOO_LARGE,   /* "too_large": a single span above the backend's limit */
    UT_DROP_RETRY_ENDED, /* "retry_ended": max_elapsed_time is over, or retry is disabled */
    UT_DROP_QUEUE_FULL,  /* "queue_full": on_full said so */
    UT_DROP_WITHDRAWN,   /* "withdrawn": their sender was told to send them again */
    UT_DROP_DAMAGED,     /* "damaged": the disk did not give them back as they were */
    UT_DROP_SHUTDOWN,    /* "shutdown": still here at the deadline */
    UT_DROP_MEMORY,      /* "memory": the system had none */
    UT_DROP_REASONS,
};

/* In spans, since the start. */
struct ut_queue_books {
    uint64_t accepted, recovered, sent, held, in_flight;
    uint64_t stored; /* of those held: on the disk alone, for it or for the queue after it */
    uint64_t dropped[UT_DROP_REASONS];
};

/* How it stands, for people. */
struct ut_queue_figures {
    enum ut_sizer sizer;
    uint64_t size, capacity;       /* in units of `sizer` */
    uint64_t batches, bytes;       /* in the queue */
    uint64_t oldest_ns;            /* age of the oldest batch; 0: there is none */
    uint64_t failing_spans;        /* of entries that were tried in vain */
    uint64_t failing_ns;           /* since when the first of them is tried; 0: none */
    uint64_t refused_spans;        /* of requests that found no room */
    uint64_t retries[UT_SETBACKS]; /* sends that were put off */
    uint32_t endpoints, endpoints_down;
    uint64_t silent_ns; /* until anything is sent again; 0: now, or nobody knows */
    const char *words;  /* of the last failure; "" */
    uint64_t words_ns;  /* how long ago that was */
};

/* Registers its metrics. NULL when out of memory. */
struct ut_queue *ut_queue_new(const struct ut_queue_config *config) UT_MUST_USE;
/* Nothing may be in flight; what is still held is counted as dropped. NULL is fine. */
void ut_queue_free(struct ut_queue *queue);

#define UT_QUEUE_FEEDS_MAX 16

/* A pipeline that puts into this queue: lends its count of what is on the way, and is told when
 * there may be room again after it was refused. */
struct ut_queue_feed {
    const struct ut_on_the_way *on_the_way;
    void (*room)(struct ut_queue_feed *feed); /* may push; NULL: nobody waits for room */
};

void ut_queue_add_feed(struct ut_queue *queue, struct ut_queue_feed *feed);
void ut_queue_remove_feed(struct ut_queue *queue, struct ut_queue_feed *feed);
/* Whether there is room for the batch. A batch larger than the whole queue finds it when the queue
 * is empty. false: there is none, or the queue is stopping. */
bool ut_queue_admits(const struct ut_queue *queue, const struct ut_batch *batch) UT_MUST_USE;
/* Takes the memory for the place of a batch that is to be admitted, beside those on the way. false:
 * there is none. */
bool ut_queue_prepare(struct ut_queue *queue) UT_MUST_USE;
/* Counts the spans of a request that was refused for want of room here. */
void ut_queue_count_refused(struct ut_queue *queue, uint64_t spans);
/* Whether requests may be held for a moment until there is room (block_on_overflow). */
bool ut_queue_blocks(const struct ut_queue *queue);
/* How long a sender who found no room, or whose spans were withdrawn, should wait: until something
 * is sent again, at least 1 s and at most 30 s. */
uint32_t ut_queue_delay_ms(const struct ut_queue *queue);

/* From now on it is this queue that reads back what is on the disk for its cursor; one that did so
 * before leaves it what it has. Where it has a hold. */
void ut_queue_own_backlog(struct ut_queue *queue);
/* Whether what is on the way to it has room in its memory, its exporter takes something now, and
 * nothing waits on the disk before it. The queue has a hold. */
bool ut_queue_keeps_up(const struct ut_queue *queue);
/* The exporter's bit in the hold's masks. The queue has a hold. */
uint64_t ut_queue_cursor_bit(const struct ut_queue *queue);

/* Takes over one reference of `batch`, which was admitted. The batch must not change from now on.
 * The exporter's `send` may be called in here. */
void ut_queue_put(struct ut_queue *queue, struct ut_batch *batch);

/* Spans of bodies whose watch says withdrawn may be here; they are dropped within 100 ms. */
void ut_queue_withdraw(struct ut_queue *queue);
/* Says what the last failure was, in the backend's words or ours; "" before the first. */
const char *ut_queue_words(const struct ut_queue *queue);

/* Stop, in two steps. Drain: no more room is given, entries whose back-off was our own idea are
 * tried at once, and drained(arg) comes once when nothing is left (perhaps in here, and perhaps
 * from inside the exporter: it must free neither). Abandon, at the deadline: what is not in flight
 * is dropped and counted now, what is in flight when the exporter answers RETRY (its `stop` does).
 */
void ut_queue_drain(struct ut_queue *queue, void (*drained)(void *arg), void *arg);
void ut_queue_abandon(struct ut_queue *queue);

void ut_queue_books(const struct ut_queue *queue, struct ut_queue_books *ret);
void ut_queue_figures(const struct ut_queue *queue, struct ut_queue_figures *ret);
/* The texts of the labels `reason` and `cause`. */
const char *ut_drop_reason_name(enum ut_drop_reason reason);
const char *ut_setback_name(enum ut_setback cause);

#endif
