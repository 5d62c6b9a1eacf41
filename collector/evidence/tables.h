/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the layer and what is known of their gaps. Written by ingest.c, read by the
 * join; one writer, all on one thread. */
#ifndef UT_EVIDENCE_TABLES_H
#define UT_EVIDENCE_TABLES_H

#include "evidence/event_store.h"
#include "evidence/gaps.h"
#include "evidence/held.h"
#include "evidence/memory_store.h"
#include "evidence/tally.h"
#include "evidence/unix_links.h"

struct ut_tables {
    struct ut_workloads workloads;
    struct ut_connections connections;
    struct ut_event_store events;
    struct ut_memory_store memory;
    struct ut_held held;
    struct ut_tally tally;
    struct ut_unix_links unix_links;
    struct ut_gaps gaps;
    char containerd_version[64]; /* "": not known */
    uint64_t version;            /* grows with every change */
    uint64_t requests_untold;    /* in retransmits of more of them than a record tells */
    uint64_t attached_ns;        /* UNIX; the kernel is watched from here on; 0: it is not */
};

int ut_tables_init(struct ut_tables *tables) UT_MUST_USE; /* 0 or -ENOMEM */
void ut_tables_done(struct ut_tables *tables);

/* Records were lost shortly before `unix_ns`. */
void ut_tables_lost(struct ut_tables *tables, uint64_t unix_ns);
/* From `unix_ns` on records of the workload (0: of one that is not known) were held back. */
void ut_tables_held_back(struct ut_tables *tables, uint32_t workload, bool connections,
                         uint64_t unix_ns);
/* Whether the connection table can vouch for the workload in the window: it watched all the time,
 * none of its records is missing, and none of its rows was evicted. */
bool ut_tables_complete(const struct ut_tables *tables, uint32_t workload, uint64_t from_ns,
                        uint64_t to_ns);

#endif
