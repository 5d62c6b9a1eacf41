/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel said about a trace, as the lines below its tree: each retransmission once, at the
 * span that waited longest, though both ends' spans carry it; those of one end and kind together.
 */
#ifndef UT_DEBUG_FINDINGS_H
#define UT_DEBUG_FINDINGS_H

#include "debug_exporter/tree.h"

enum debug_finding_kind {
    DEBUG_RETRANSMIT,
    DEBUG_PROBE,   /* a tail loss probe: no proof that anything was lost */
    DEBUG_OMITTED, /* how many more there were: `segments` */
    DEBUG_COUNT,   /* only the numbers on the span are known */
};

struct debug_finding {
    struct debug_finding *next;
    const struct debug_node *node;
    enum debug_finding_kind kind;
    const struct debug_event *event; /* the first of them; NULL for DEBUG_COUNT */
    /* The end that sent again: which service (empty: not known) and where (likewise). */
    ut_slice service, address;
    int64_t port;
    uint64_t bytes, segments;
    int64_t waited_min_ns; /* the longest single wait, so a lower bound; -1: not known */
};

/* In order of the tree, in `arena`; *ret NULL where there are none. false: no memory. */
bool debug_findings(const struct debug_tree *tree, struct ut_arena *arena,
                    struct debug_finding **ret) UT_MUST_USE;

/* The name that says most about the request: of a client span that is called by its method alone,
 * the name of the server's span. */
ut_slice debug_request_name(const struct debug_node *node);

#endif
