/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel records into the tables. The records are untrusted: size, version, type and every range
 * are checked here, and nowhere behind it. */
#ifndef UT_EVIDENCE_INGEST_H
#define UT_EVIDENCE_INGEST_H

#include "evidence/tables.h"

enum ut_ingest_result {
    UT_INGEST_RETRANSMIT,
    UT_INGEST_NOT_SENT, /* the kernel could not send it: no evidence */
    UT_INGEST_EMPTY,    /* a FIN alone: no bytes were missing */
    UT_INGEST_CONNECTION,
    UT_INGEST_CGROUP,
    UT_INGEST_OOM_KILL,
    UT_INGEST_STALL,
    UT_INGEST_RESET,
    UT_INGEST_ZERO_WINDOW,
    UT_INGEST_RECEIVE_DROP,
    UT_INGEST_LISTEN_OVERFLOW,
    UT_INGEST_UNDO,
    UT_INGEST_TRACE_IDS,
    UT_INGEST_TRACE_IDS_ALONE, /* their retransmit is not known */
    UT_INGEST_ALLOCATED,
    UT_INGEST_HELD_BACK,
    UT_INGEST_BAD,
    UT_INGEST_RESULTS,
};

/* `now_ns`: UNIX, as far as is known, 0: not at all; a record from the future is bad. */
enum ut_ingest_result ut_ingest_record(struct ut_tables *tables, const void *data, size_t size,
                                       int64_t unix_offset_ns, uint64_t now_ns);

#endif
