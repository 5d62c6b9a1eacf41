/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the pipelines and a disk hold: stores the bodies of pushes, keeps count of which exporter
 * has finished which of their spans, and turns records that were read back into batches again.
 *
 * With `ack: durable` a push is answered when its body is on the disk, or when every exporter has
 * finished it before: it goes on at once while its queues keep up, and what they have finished when
 * its group begins is not written at all. Where they do not keep up it goes on when it is stored,
 * for it may have to wait on the disk alone. With `ack: queued` it is answered at once, and goes on
 * when it is stored.
 *
 *     push ─► put ─┬─► processors ─► outcome noted ─► queues ─► finished by all: ACCEPTED
 *                  └─► stored: ACCEPTED
 *     push ─► put ─► stored: ACCEPTED ─► processors ─► outcome noted ─► queues ─► finished
 *
 * Where the disk does not take it, a durable push is refused, retryably; what has gone on goes its
 * way in memory only, and so does a queued one. A sender whose time is over before the disk has
 * answered is told to send again, and what had not gone on is finished unsent. So a sender that
 * is refused may have been heard: what is promised is at least once.
 *
 * What of an exporter's spans is on the disk alone is counted here, one place for each cursor, so
 * that it outlives the queues: a reload makes another queue of the same name, which owns the place
 * from then on and reads back what the one before leaves.
 *
 * Invariants: 1. every push is answered once; 2. a body's keep lives as long as the body and its
 * put; 3. after ut_keeping_close no record is touched, whatever bodies still live; 4. of a cursor,
 * pending in the hold = in memory + `stored`, in spans; 5. the bytes of a put stay, and stay
 * charged, until it ends, though their body may end before; 6. only what is stored is left.
 */
#ifndef UT_FLOW_KEEPING_H
#define UT_FLOW_KEEPING_H

#include "component.h"
#include "flow/disk/hold.h"

/* The queue that reads a cursor's records back. */
struct ut_keeping_owner {
    void (*changed)(struct ut_keeping_owner *owner); /* more is on the disk alone */
    void (*lost)(struct ut_keeping_owner *owner);    /* another one owns it from now on */
};

struct ut_keeping_place {
    struct ut_keeping_owner *owner; /* NULL: none */
    uint64_t stored;                /* spans on the disk alone */
    uint64_t unclaimed;             /* of these, those that are in no queue's books yet */
    uint64_t from; /* their sequences are not before it; UINT64_MAX: there are none */
};

/* One for each hold. */
struct ut_keeping {
    struct ut_worker *worker;
    struct ut_hold *hold; /* NULL: closed */
    uint64_t open;        /* keeps and pushes that live */
    struct ut_keeping_place places[UT_HOLD_CURSORS_MAX];
};

/* Around a hold that was just opened. */
void ut_keeping_init(struct ut_keeping *keeping, struct ut_worker *worker, struct ut_hold *hold);
/* `spans` of the record are on the disk alone from now on. `unclaimed`: no queue counts them. */
void ut_keeping_wait(struct ut_keeping *keeping, uint32_t cursor, uint64_t sequence, uint64_t spans,
                     bool unclaimed);

/* What a pipeline wants of it. */
struct ut_keeping_client {
    struct ut_keeping *keeping;
    uint64_t cursors;    /* of the pipeline's exporters */
    uint64_t timeout_ns; /* `ack: durable`: its ack_timeout; 0: `ack: queued` */
    /* The batch goes on to the processors. */
    void (*go_on)(struct ut_keeping_client *client, struct ut_batch *batch);
    /* Whether what was admitted last may go on before it is stored: every queue has room for it in
     * memory, and nothing waits on the disk before it. */
    bool (*keeps_up)(struct ut_keeping_client *client);
    /* How long a sender who found no room should wait. */
    uint32_t (*delay_ms)(struct ut_keeping_client *client);
    struct ut_storing *storing; /* pushes whose bodies are not stored yet */
};

/* Takes the push over; it is answered now or later. Its batch has one body. */
void ut_keeping_store(struct ut_keeping_client *client, struct ut_push *push);
/* The client goes. Pushes that wait are answered all the same; what they bring stays on the disk
 * for the queues of another. */
void ut_keeping_leave(struct ut_keeping_client *client);
/* The sender of the push (held_by is not NULL) has gone; answers it. */
void ut_keeping_abandon(struct ut_push *push);
/* The batch leaves the processors for the queues: what they found out is kept, and what they left
 * out is finished. */
void ut_keeping_note(struct ut_batch *batch);

/* A record that was read back for a cursor. */
struct ut_recall {
    const struct ut_record *record;
    ut_slice outcome; /* empty: there is none */
    struct ut_hold_record *handle;
    uint32_t cursor;
};

/* The batch of it, charged to the budget; the handle is the batch's then. *ret_unjoined: nobody
 * knows what the processors found out. -ENOMEM, -ENOBUFS (no room in the budget); -EBADMSG: the
 * body does not parse (nor would it have been accepted). */
int ut_keeping_recall(struct ut_keeping *keeping, const struct ut_recall *recall,
                      struct ut_batch **ret, bool *ret_unjoined) UT_MUST_USE;

/* No record is touched from now on; the hold may be closed. */
void ut_keeping_close(struct ut_keeping *keeping);

#endif
