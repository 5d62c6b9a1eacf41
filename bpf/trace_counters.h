/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What trace_context.bpf.c counts beside its records. */
#ifndef UT_BPF_TRACE_COUNTERS_H
#define UT_BPF_TRACE_COUNTERS_H

#include "records.h"

/* Why the requests of a socket are not followed, or no more. */
enum ut_trace_loss {
    UT_TRACE_NOT_HTTP = 1, /* no request of HTTP/1.1 where one has to begin */
    UT_TRACE_MALFORMED,    /* a line that not all read alike */
    UT_TRACE_AMBIGUOUS,    /* a body whose length is not told, or twice */
    UT_TRACE_UPGRADE,      /* the connection may have gone over to another protocol */
    UT_TRACE_EXPECT,       /* the body may come or not */
    UT_TRACE_TOO_LONG,     /* a head, a body, or more of them in one packet than are looked at */
    UT_TRACE_GAP,          /* bytes went by unseen */
    UT_TRACE_UNREADABLE,   /* a packet of a shape that is not known */
    UT_TRACE_MULTIPATH,    /* MPTCP: the bytes go over several connections */
    UT_TRACE_NO_ROOM,      /* as many sockets as may be are followed */
    UT_TRACE_UNASKED,      /* an answer to no request that was seen */
};

#define UT_TRACE_LOSSES 12 /* one more than the highest */

/* Per CPU. */
struct ut_trace_counters {
    ut_u64 sockets;                            /* that were followed from their first byte on */
    ut_u64 traced_requests, untraced_requests; /* by whether the head named a span */
    ut_u64 traced_answers;
    ut_u64 displaced; /* messages that made room for later ones before they were acknowledged */
    ut_u64 lost[UT_TRACE_LOSSES]; /* sockets, by the reason */
};

#endif
