/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the layer and what is known of their gaps. Written by ingest.c, read by the
 * join; one writer, all on one thread. */
#ifndef UT_EVIDENCE_TABLES_H
#define UT_EVIDENCE_TABLES_H

#include "evidence/event_store.h"
#include "evidence/held.h"
#include "evidence/memory_store.h"
#include "evidence/tally.h"
#include "evidence/unix_links.h"

#define UT_LOSSES_MAX 64

struct ut_tables {
    struct ut_workloads workloads;
    struct ut_connections connections;
    struct ut_event_store events;
    struct ut_memory_store memory;
    struct ut_held held;
    struct ut_tally tally;
    struct ut_unix_links unix_links;
    char containerd_version[64]; /* "": not known */
    uint64_t version;            /* grows with every change */
    uint64_t requests_untold;    /* in retransmits of more of them than a record tells */
    uint64_t attached_ns;        /* UNIX; the kernel is watched from here on; 0: it is not */
    struct {
        uint64_t from_ns, to_ns;
    } losses[UT_LOSSES_MAX]; /* a ring: the latest ones */
    uint32_t loss_count;     /* since start */
};

int ut_tables_init(struct ut_tables *tables) UT_MUST_USE; /* 0 or -ENOMEM */
void ut_tables_done(struct ut_tables *tables);

/* Records were lost shortly before `unix_ns`. */
void ut_tables_lost(struct ut_tables *tables, uint64_t unix_ns);
bool ut_tables_lost_in(const struct ut_tables *tables, uint64_t from_ns, uint64_t to_ns);
/* Whether the connection table can vouch for the workload in the window: it watched all the time,
 * lost nothing and evicted none of its rows. */
bool ut_tables_complete(const struct ut_tables *tables, uint32_t workload, uint64_t from_ns,
                        uint64_t to_ns);

#endif
