/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spans of a trace as a forest, in the order in which they are printed. Whatever parents say
 * (missing ones, themselves, circles) every span is in it exactly once; a span that came twice
 * counts once.
 */
#ifndef UT_DEBUG_TREE_H
#define UT_DEBUG_TREE_H

#include "debug_exporter/trace.h"

enum debug_note { DEBUG_NO_NOTE, DEBUG_PARENT_MISSING, DEBUG_PARENT_CIRCLE };

struct debug_node {
    const struct debug_span *span;
    struct debug_node *parent;        /* NULL: a root */
    struct debug_node *child, *after; /* first child, next sibling, by start time */
    struct debug_node *next;          /* in the order of printing */
    uint32_t depth, order;
    uint8_t mark; /* of the search for circles */
    enum debug_note note;
};

struct debug_tree {
    struct debug_node *nodes; /* `count`, by start time */
    struct debug_node *first; /* to print */
    uint32_t count;
    uint64_t start_ns, end_ns; /* of the whole */
};

/* In `arena`, which outlives the tree. false: no memory. */
bool debug_tree_build(struct debug_tree *tree, const struct debug_trace *trace,
                      struct ut_arena *arena) UT_MUST_USE;

#endif
