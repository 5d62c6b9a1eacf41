/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel events, kept for the spans that come later. Whole events stand UT_EVENT_KEPT_NS in fixed
 * slots; then they are folded into sums per connection and 10 s, which stand UT_FOLD_KEPT_NS.
 *
 * Each event is listed under up to two workloads: the one whose end retransmitted (side local), and
 * the one of the other end, where it is on this host (side peer); what either end has a record of
 * (resets, slow connects) under the first alone. The lists are ordered by time.
 * What a workload loses before its time raises its horizon: before that its evidence is partial.
 *
 * Full, the store takes the oldest event of the workload that has most: nobody blinds a neighbour.
 */
#ifndef UT_EVIDENCE_EVENT_STORE_H
#define UT_EVIDENCE_EVENT_STORE_H

#include "evidence/connections.h"
#include "evidence/trace_ids.h"

#define UT_EVENTS_MAX UT_TABLE_SIZE(65536, 24)
#define UT_EVENT_BYTES_MAX 96
#define UT_FOLDS_MAX UT_TABLE_SIZE(10922, 12) /* 1 MiB of them */
#define UT_EVENT_KEPT_NS (120 * UT_NS_PER_S)
#define UT_FOLD_KEPT_NS (900 * UT_NS_PER_S)
#define UT_FOLD_SPAN_NS (10 * UT_NS_PER_S)

enum ut_side { UT_SIDE_LOCAL, UT_SIDE_PEER, UT_SIDES };

enum ut_event_kind {
    UT_EVENT_RETRANSMIT,
    UT_EVENT_RESET,
    UT_EVENT_ZERO_WINDOW,
    UT_EVENT_RECEIVE_DROP,
    UT_EVENT_LISTEN_OVERFLOW,
    UT_EVENT_CONNECT, /* a connect() that took long, or never came through */
    UT_EVENT_KINDS
};

struct ut_event {
    uint64_t seen_ns;            /* UNIX; the retransmit, the end of what lasts */
    uint32_t connection;         /* id; the end that retransmitted, or to which it happened */
    uint32_t workload[UT_SIDES]; /* under whom it is listed; 0: nobody */
    struct {
        uint32_t newer, older; /* slots */
    } links[UT_SIDES];
    uint32_t next_on_connection; /* newer; also the free list */
    union {
        uint32_t rto_us;         /* with UT_HAS_RTO; or, with UT_HAS_SENT_EXACT: */
        uint32_t sent_within_us; /* the last byte was first sent so long after the first */
    };
    uint32_t srtt_us, cwnd, wmem_alloc, seq, bytes, since_received_us;
    uint32_t since_sent_us; /* for how long it lasted, where it is no retransmit */
    uint32_t min_rtt_us, delivery_rate;
    uint16_t segments;
    uint16_t has;      /* enum ut_has */
    uint8_t cause : 4; /* enum ut_tcp_cause, ut_reset or ut_receive_drop */
    uint8_t kind : 4;  /* enum ut_event_kind */
    uint8_t state : 4;
    bool spurious : 1; /* the kernel has undone the recovery that it was part of */
    bool arrived : 1;  /* a server span had begun before: no later one waited for these bytes */
    /* What joins remember, by side: the strongest class that took it, and which server span was the
     * nearest so far to its end (distances to `seen`, UINT32_MAX: none yet). */
    uint8_t taken[UT_SIDES];
    uint32_t ended_before_us, began_after_us;
};

struct ut_fold {
    uint64_t first_sent_ns, last_seen_ns; /* UNIX, of the events in it */
    uint32_t connection;
    uint32_t workload[UT_SIDES];
    struct {
        uint32_t newer, older;
    } links[UT_SIDES];
    uint64_t zero_window_ns;
    uint32_t segments, bytes, timeouts, probes; /* probes are not among the segments */
    uint32_t resets, receive_drops, listen_overflows;
    uint8_t taken[UT_SIDES];
};

/* The events of a connection, from the oldest one on. */
struct ut_event_chain {
    uint32_t first, last; /* slots; 0: none */
    uint32_t fold;        /* the latest; 0: none */
    uint32_t
        assigned[UT_SIDES]; /* the workloads under which they stand, of this end and the other */
};

struct ut_event_list {
    uint32_t newest, oldest; /* slots; 0: empty */
    uint32_t count;
};

#define UT_NO_ID_KEPT UINT32_MAX

struct ut_event_store {
    struct ut_event *events;       /* from index 1 */
    struct ut_event_chain *chains; /* by slot of the connection */
    /* By event: where the list of the ids that its bytes carried begins; 0: none are known of,
     * NO_ID_KEPT: there was no room for them. Such an event belongs to the spans that they name and
     * is in no sum. */
    uint32_t *first_id;
    uint32_t *thread; /* by event: that sent its bytes, for itself; 0: not known */
    struct ut_trace_ids trace_ids;
    struct ut_fold *folds; /* from index 1, a ring: the oldest is overwritten */
    /* By side and workload slot; slot 0 holds the events of nobody. */
    struct ut_event_list *lists[UT_SIDES], *fold_lists[UT_SIDES];
    uint64_t *horizon_ns; /* by workload slot */
    uint32_t ever_used, free;
    uint32_t next_fold, oldest_fold, fold_count;
    uint32_t count;
    uint64_t evicted;                   /* whole events that went before they could be folded */
    uint32_t largest;                   /* the slot of the workload that had most when one went */
    struct ut_connections *connections; /* borrowed */
};

int ut_event_store_init(struct ut_event_store *store,
                        struct ut_connections *connections) UT_MUST_USE; /* 0 or -ENOMEM */
void ut_event_store_done(struct ut_event_store *store);

/* Keeps a copy of the event's own fields, on `connection`; returns its slot. */
uint32_t ut_event_store_add(struct ut_event_store *store, const struct ut_event *event,
                            struct ut_connection *connection);
/* The kernel has found out that what the connection sent again since then was not missing: marks
 * these events, of the newest ones. */
void ut_event_store_undo(struct ut_event_store *store, const struct ut_connection *connection,
                         uint64_t since_ns);
/* The newest event of the connection, if it is the one of these bytes, carried these ids. Returns
 * whether it is. */
bool ut_event_store_trace(struct ut_event_store *store, const struct ut_connection *connection,
                          const struct ut_record_trace_ids *record);
/* The owner or the mirror of a connection has changed: its events move to the right lists. The
 * owner of an event, once known, stays. */
void ut_event_store_assign(struct ut_event_store *store, struct ut_connection *connection);
/* The connection is about to go, and its events with it. */
void ut_event_store_forget(struct ut_event_store *store, struct ut_connection *connection);
/* A workload's slot will be used again. */
void ut_event_store_forget_workload(struct ut_event_store *store, uint32_t slot);
/* Folds what is old and drops what is very old. */
void ut_event_store_age(struct ut_event_store *store, uint64_t now_ns);

/* Before when the evidence of a workload is not whole; 0: it is. */
static inline uint64_t ut_event_store_horizon(const struct ut_event_store *store, uint32_t workload)
{
    return store->horizon_ns[UT_WORKLOAD_SLOT(workload)];
}

/* The earliest moment at which the retransmitted bytes can have been sent. Where that is not known
 * an estimate: 1.25 timeouts ago, because the kernel's timers fire late by up to an eighth and a
 * tick. */
uint64_t ut_event_sent_low_ns(const struct ut_event *event);

#endif
