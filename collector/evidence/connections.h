/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections, each as one of its ends sees it. Where both ends are on this host they are two
 * rows that mirror each other.
 *
 * Mirrors are found by the pair of initial sequence numbers, which both ends know, NAT keeps and
 * nobody off the path can guess. Where one end does not know the pair (it was open before the
 * programs were attached, or the kernel skipped them) or something rewrites sequences, by the
 * tuple: the same two endpoints the other way round, if that end can be no other's mirror and no
 * other end its. Ends of which several would do are ambiguous, and have no mirror, until more is
 * known.
 *
 * Rows are kept after the close, because spans come late. The table is bounded: for a new row the
 * one that was closed first goes, of those without kernel events before those with; where all are
 * open, the first of the workload that has most. One that has more than half of them takes its own.
 * `complete_since_ns` of the workload whose row goes says what the table can still vouch for.
 */
#ifndef UT_EVIDENCE_CONNECTIONS_H
#define UT_EVIDENCE_CONNECTIONS_H

#include <stdbool.h>

#include "base/clock.h"
#include "bpf/records.h"
#include "evidence/table_size.h"
#include "evidence/workloads.h"
#include "model/address.h"

#define UT_CONNECTIONS_MAX UT_TABLE_SIZE(100000, 20)
#define UT_CONNECTION_SLOT_BITS 17
#define UT_CONNECTION_SLOT(id) ((id) & ((UINT32_C(1) << UT_CONNECTION_SLOT_BITS) - 1))
#define UT_CONNECTION_KEPT_NS (900 * UT_NS_PER_S)

/* One look through all rows serves for that many that go. */
enum { UT_VICTIMS_MAX = UT_TABLE_SIZE(512, 4) };

enum ut_connection_index {
    UT_BY_COOKIE,
    UT_BY_ISN,
    UT_BY_TUPLE,
    UT_BY_PORT,
    UT_BY_WORKLOAD,
    UT_BY_AGE,
    UT_CONNECTION_INDEXES
};

struct ut_connection {
    uint32_t id;             /* slot | generation << UT_CONNECTION_SLOT_BITS; slot 0: free */
    uint32_t workload;       /* id; 0: nobody's, or not known yet (cgroup_id is set then) */
    uint64_t cgroup_id;      /* of an owner that is not known yet; else 0 */
    uint64_t cookie;         /* 0: not known */
    uint64_t netns_cookie;   /* 0: not known */
    uint64_t opened_ns;      /* UNIX; when connect() began or it was established; 0: before us */
    uint64_t established_ns; /* 0: not (yet), or before us */
    uint64_t known_ns;       /* of the first record of it */
    uint64_t closed_ns;      /* 0: open */
    uint64_t last_event_ns;  /* of its newest kernel event; 0: none */
    uint64_t instance;       /* fingerprint of the service instance that sends on it; 0: none */
    struct ut_endpoint local, remote;
    uint32_t local_isn, remote_isn;
    uint8_t role; /* enum ut_tcp_role */
    bool has_isn;
    bool mirror_by_isn;
    bool ambiguous;   /* several ends could be the mirror, or one that could be another's */
    bool isn_claimed; /* three rows have its sequence numbers, or more: ambiguous for good */
    bool failed;      /* closed before it was established, as far as is known */
    bool forwarder;   /* brought several service instances */
    bool kept;        /* closed with kernel events on it */
    uint32_t mirror;  /* slot; 0: none */
    struct {
        uint32_t next, previous; /* slots */
    } links[UT_CONNECTION_INDEXES];
};

/* What a record tells of a connection, checked. Zero where not told. */
struct ut_connection_fact {
    uint64_t unix_ns;
    uint64_t cgroup_id, cookie, netns_cookie;
    struct ut_endpoint local, remote;
    uint8_t role;
    bool has_isn;
    uint32_t local_isn, remote_isn;
};

struct ut_connections {
    struct ut_connection *slots; /* from index 1 */
    uint32_t *buckets[UT_CONNECTION_INDEXES - 1];
    struct ut_connection_list {
        uint32_t first, last;
    } open, closed, kept, free; /* by UT_BY_AGE: opened first, closed first (kept:
                                 * with kernel events on them), freed first */
    uint32_t ever_used;         /* slots beyond it have never been */
    uint32_t open_count, closed_count;
    uint32_t swept;                               /* the slot that expire looks at next */
    uint32_t unresolved;                          /* rows that wait for their owner */
    uint64_t complete_since_ns[UT_WORKLOADS_MAX]; /* by workload slot */
    uint64_t evicted_open, evicted_closed, ambiguous;
    uint32_t largest;    /* the slot of the workload that had most rows when one had to go */
    bool largest_floods; /* they were more than half */
    uint32_t victims[UT_VICTIMS_MAX]; /* ids of its rows, in the order in which they go */
    uint32_t victim_count, victims_looked_at;
    struct ut_workloads *workloads; /* borrowed */
    /* A row's mirror or owner has changed. / A row is about to go. */
    void (*changed)(void *arg, struct ut_connection *connection);
    void (*forget)(void *arg, struct ut_connection *connection);
    void *arg;
};

int ut_connections_init(struct ut_connections *connections,
                        struct ut_workloads *workloads) UT_MUST_USE; /* 0 or -ENOMEM */
void ut_connections_done(struct ut_connections *connections);

/* Beside enum ut_connection_change: something was seen on it. */
#define UT_CONNECTION_SEEN ((enum ut_connection_change)0)

/* The row that a fact speaks of, made if there is none; `change` is what happened to it. Never
 * NULL. */
struct ut_connection *ut_connections_learn(struct ut_connections *connections,
                                           const struct ut_connection_fact *fact,
                                           enum ut_connection_change change);

struct ut_connection *ut_connections_by_cookie(const struct ut_connections *connections,
                                               uint64_t cookie);
struct ut_connection *ut_connections_get(const struct ut_connections *connections, uint32_t id);
struct ut_connection *ut_connections_mirror(const struct ut_connections *connections,
                                            const struct ut_connection *connection);

/* The rows of a workload with that remote port, newest first: NULL begins, NULL ends. */
struct ut_connection *ut_connections_next_on_port(const struct ut_connections *connections,
                                                  uint32_t workload, uint16_t remote_port,
                                                  const struct ut_connection *previous);

/* The rows of a workload, likewise, in the order in which something was learnt of them last. */
struct ut_connection *ut_connections_next_of(const struct ut_connections *connections,
                                             uint32_t workload,
                                             const struct ut_connection *previous);

static inline bool ut_connection_same_end(const struct ut_endpoint *a, const struct ut_endpoint *b)
{
    return a->port == b->port && ut_address_equal(&a->address, &b->address);
}

static inline bool ut_connection_open_in(const struct ut_connection *connection, uint64_t from_ns,
                                         uint64_t to_ns)
{
    return connection->opened_ns <= to_ns &&
           (connection->closed_ns == 0 || connection->closed_ns >= from_ns);
}

/* Asks the workload table again for owners that were not known. */
void ut_connections_resolve(struct ut_connections *connections);
/* A workload's slot will be used again. */
void ut_connections_forget_workload(struct ut_connections *connections, uint32_t slot);
/* Drops what was closed too long ago; of what never was established a part at each call. */
void ut_connections_expire(struct ut_connections *connections, uint64_t now_ns);

#endif
