/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry of a queue: a batch that the exporter has not finished, and which of its spans are
 * left. The spans before `first` are finished. Only the queue's files include this.
 *
 * Withdrawn spans are counted once, when they are found (ut_entry_settle); they stay in their place
 * until the entry comes to them, so that the numbers of the others do not change.
 */
#ifndef UT_FLOW_QUEUE_ENTRY_H
#define UT_FLOW_QUEUE_ENTRY_H

#include "flow/retry.h"

struct ut_entry {
    struct ut_item item; /* the piece in flight */
    struct ut_queue *queue;
    struct ut_entry_list *list;       /* of its state; NULL: in flight */
    struct ut_entry *previous, *next; /* in that list */
    struct ut_entry *older, *newer;   /* among all entries of the queue */
    struct ut_timer timer;            /* while it waits; or is due and will be given up */
    struct ut_backoff backoff;
    struct ut_batch *batch;
    const struct ut_body *body; /* that `first` is in, or one before it */
    uint32_t body_first;        /* that body's first span */
    uint32_t first, count;      /* spans that are left */
    uint32_t withdrawn;         /* of `count`: counted as dropped already */
    uint32_t piece_max;         /* spans to send at once; UINT32_MAX: no limit known */
    uint32_t pieces_taken;      /* in a row */
    uint32_t endpoints_tried;   /* in a row, in vain */
    uint64_t bytes;             /* of the batch */
    uint64_t put_ns;
    uint64_t age_ns; /* when it was put: what comes from the disk has waited there */
    bool watched;    /* some body has a watch */
    bool kept;       /* some body is on the disk as well */
    bool probe;      /* the piece in flight is the one that tries an endpoint */
};

struct ut_entry_list {
    struct ut_entry *first, *last;
};

void ut_entry_append(struct ut_entry_list *list, struct ut_entry *entry);
void ut_entry_prepend(struct ut_entry_list *list, struct ut_entry *entry);
/* Out of the list it is in. */
void ut_entry_take_out(struct ut_entry *entry);

/* Finds spans that were withdrawn and are not counted yet; returns how many. Not while a piece is
 * in flight. */
uint32_t ut_entry_settle(struct ut_entry *entry);
/* Passes over withdrawn spans at the front, and chooses the next piece: at most `spans_max` spans
 * and (0: any number) `bytes_max` bytes, at least one span. The entry is settled, and not all of it
 * is withdrawn. */
uint32_t ut_entry_choose(struct ut_entry *entry, uint64_t spans_max, uint64_t bytes_max);
/* Tells those who wait for them that the next `spans` spans are finished, the withdrawn ones
 * excepted. */
void ut_entry_report(struct ut_entry *entry, uint32_t spans, const struct ut_outcome *outcome);
/* Tells those who keep the next `spans` spans on disk that they are finished at `cursor`. */
void ut_entry_finish_kept(struct ut_entry *entry, uint32_t spans, uint32_t cursor);
/* Calls for each body with spans that are left; how many. */
void ut_entry_each_body(struct ut_entry *entry,
                        void (*visit)(void *arg, const struct ut_body *body, uint32_t spans),
                        void *arg);
/* Appends the batch of `other`, which is emptied; both are fresh. false: out of memory, nothing has
 * changed. */
bool ut_entry_join(struct ut_entry *entry, struct ut_entry *other) UT_MUST_USE;

#endif
