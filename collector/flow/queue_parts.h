/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue is made of; shared by its files, seen by nobody else. */
#ifndef UT_FLOW_QUEUE_PARTS_H
#define UT_FLOW_QUEUE_PARTS_H

#include "flow/circuit.h"
#include "flow/keeping.h"
#include "flow/queue.h"
#include "flow/queue_counters.h"
#include "flow/queue_entry.h"

#define UT_QUEUE_WORDS 448 /* what went wrong and what to do about it, uncut */

/* A read of what is on the disk; it may outlive its queue. */
struct ut_queue_reader;

/* What is on the disk alone. How much, and where, stands in the cursor's place (keeping.h), while
 * the queue owns that; afterwards another queue does. */
struct ut_queue_backlog {
    struct ut_keeping *keeping; /* NULL: there is no hold */
    uint32_t cursor;
    struct ut_keeping_owner owner;
    uint64_t left;                  /* spans that it left to the queue after it */
    uint64_t memory_most;           /* bytes of entries that are kept on disk as well */
    uint64_t read_on;               /* where the last read ended */
    struct ut_queue_reader *reader; /* NULL: nothing is being read */
    struct ut_timer again;          /* reads on, off the stack, or after a read that failed */
    bool whole;                     /* the last reads went from the first record on without a gap */
};

struct ut_queue {
    const char *id;
    struct ut_worker *worker;
    struct ut_exporter *exporter;
    struct ut_exporter_settings settings;
    uint64_t random;
    struct ut_entry_list fresh, due, waiting;
    struct ut_entry *oldest, *newest; /* of all entries, in order of the puts */
    struct ut_queue_feed *feeds[UT_QUEUE_FEEDS_MAX];
    size_t feed_count;
    struct ut_entry *spares; /* for batches that were admitted and have not come yet */
    uint64_t spare_count;
    uint64_t entries, bytes;
    uint64_t fresh_spans, fresh_bytes;  /* of the fresh entries */
    uint64_t consumers;                 /* entries in flight */
    uint64_t unfinished, in_flight;     /* spans; those in flight are among the unfinished */
    uint64_t accepted, recovered, sent; /* spans */
    uint64_t dropped[UT_DROP_REASONS];
    struct ut_queue_counters counters;
    struct ut_circuit circuits[UT_ENDPOINTS_MAX];
    uint32_t next_endpoint;
    struct ut_timer gate;  /* when an endpoint takes something again, or small batches are due */
    struct ut_timer sweep; /* withdrawn spans are looked for */
    struct ut_timer stuck; /* what is tried in vain is told of */
    char words[UT_QUEUE_WORDS]; /* of the last failure */
    uint64_t failed_ns;         /* when that was, monotonic */
    struct ut_queue_backlog backlog;
    bool due_went_last, pumping, draining, abandoned;
    bool gave_room; /* since the feeds were last told */
    void (*drained)(void *arg);
    void *drained_arg;
};

static inline struct ut_retry_clock ut_queue_clock(struct ut_queue *queue)
{
    return (struct ut_retry_clock){&queue->settings, ut_worker_now(queue->worker), &queue->random};
}

/* ---- queue.c -------------------------------------------------------------------------------- */

/* A fresh entry of a batch that the books know. NULL: out of memory. */
struct ut_entry *ut_queue_new_entry(struct ut_queue *queue, struct ut_batch *batch);
void ut_queue_add_fresh(struct ut_entry *entry);
/* Sends what may be sent now. */
void ut_queue_pump(struct ut_queue *queue);
/* The end of an entry that is in no list. */
void ut_queue_finish(struct ut_entry *entry);
/* What is left of an entry that is in no list and not in flight is dropped. */
void ut_queue_drop_rest(struct ut_entry *entry, enum ut_drop_reason reason);
/* Counts withdrawn spans of an entry that is in no list; true: nothing was left, it is gone. */
bool ut_queue_settle(struct ut_entry *entry);
void ut_queue_count_dropped(struct ut_queue *queue, enum ut_drop_reason reason, uint64_t spans);
/* Entries whose back-off was our own idea, or those that an endpoint kept waiting, may go now. */
void ut_queue_wake_waiting(struct ut_queue *queue);
/* Takes the entry out of the list of its state, with its timer and its counts. */
void ut_queue_unlist(struct ut_entry *entry);

static inline uint32_t ut_queue_endpoints(const struct ut_queue *queue)
{
    const struct ut_exporter *exporter = queue->exporter;
    uint32_t count = exporter->type->endpoints != NULL ? exporter->type->endpoints(exporter) : 1;
    return count < UT_ENDPOINTS_MAX ? count : UT_ENDPOINTS_MAX;
}

/* ---- queue_answers.c ------------------------------------------------------------------------ */

void ut_queue_on_done(struct ut_item *item, const struct ut_outcome *outcome);
void ut_queue_on_entry_timer(struct ut_timer *timer, uint64_t now_ns);
void ut_queue_on_stuck(struct ut_timer *timer, uint64_t now_ns);

/* ---- queue_room.c --------------------------------------------------------------------------- */

/* A place for an entry: a spare one, or of the system. NULL: out of memory. */
struct ut_entry *ut_queue_take_place(struct ut_queue *queue);
/* Says that spans are dropped because there was no place for them. */
void ut_queue_log_no_memory(const struct ut_queue *queue, uint64_t spans);
/* Gives back the spare places beyond `count`. */
void ut_queue_trim_spares(struct ut_queue *queue, uint64_t count);
/* In units of the settings' sizer, what is on the way included. */
uint64_t ut_queue_size(const struct ut_queue *queue);
/* Bytes, what is on the way included. */
uint64_t ut_queue_bytes(const struct ut_queue *queue);
/* Whether it fits into what is inside now. */
bool ut_queue_fits(const struct ut_queue *queue, const struct ut_batch *batch);
/* For a queue that drops: makes room for the batch; false: the batch itself is to be dropped. */
bool ut_queue_make_room(struct ut_queue *queue, const struct ut_batch *batch);
/* Tells the feeds where something has come free since they were told. */
void ut_queue_tell_room(struct ut_queue *queue);
/* When the gate opens by itself; 0: it is open; UINT64_MAX: an answer opens it. */
uint64_t ut_queue_gate_ns(const struct ut_queue *queue);

/* ---- queue_backlog.c ------------------------------------------------------------------------ */

/* At the queue's beginning: what an earlier process left. */
void ut_queue_backlog_init(struct ut_queue *queue, struct ut_keeping *keeping, uint32_t cursor);
void ut_queue_backlog_done(struct ut_queue *queue);
/* Leaves the batch to the disk where it has to wait there; true: it is gone. */
bool ut_queue_backlog_takes(struct ut_queue *queue, struct ut_batch *batch);
/* Spans of the entry's bodies that are on the disk stay there alone; returns how many. */
uint32_t ut_queue_backlog_leave(struct ut_entry *entry);
/* Leaves all that is not in flight to the queue that owns the backlog now, where one does. */
void ut_queue_backlog_hand_over(struct ut_queue *queue);
/* Reads on where there is room. */
void ut_queue_backlog_pump(struct ut_queue *queue);
/* Spans on the disk alone that are in its books: those that it will read back, and those that it
 * has left to the queue after it. */
uint64_t ut_queue_backlog_stored(const struct ut_queue *queue);

/* ---- queue_figures.c ------------------------------------------------------------------------ */

void ut_queue_register_gauges(struct ut_queue *queue);
/* Spans of entries that were tried in vain, and since when the first of them is (UINT64_MAX: there
 * is none). */
uint64_t ut_queue_failing(const struct ut_queue *queue, uint64_t *ret_spans);

#endif
