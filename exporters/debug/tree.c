/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order by id to find the parents and the copies, order by start time to find the order, then cut
 * the circles, then link. O(n log n), no recursion.
 */
#include "debug_exporter/tree.h"

#include <stdlib.h>

enum mark { NOT_SEEN, ON_THE_WAY, KNOWN };

static int by_id(const void *a, const void *b)
{
    const struct debug_span *x = *(const struct debug_span *const *)a;
    const struct debug_span *y = *(const struct debug_span *const *)b;
    int order = memcmp(x->id, y->id, sizeof(x->id));
    if (order == 0)
        order = (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
    return order != 0 ? order : (x->kind > y->kind) - (x->kind < y->kind);
}

static int by_start(const void *a, const void *b)
{
    const struct debug_span *x = ((const struct debug_node *)a)->span;
    const struct debug_span *y = ((const struct debug_node *)b)->span;
    if (x->start_ns != y->start_ns)
        return x->start_ns > y->start_ns ? 1 : -1;
    /* Of two that begin together the longer one is probably the outer one. */
    if (x->end_ns != y->end_ns)
        return x->end_ns < y->end_ns ? 1 : -1;
    return memcmp(x->id, y->id, sizeof(x->id));
}

/* Client and server may share an id (Zipkin); only the very same span twice is a copy. */
static uint32_t drop_copies(const struct debug_span **spans, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || by_id(&spans[kept - 1], &spans[i]) != 0)
            spans[kept++] = spans[i];
    return kept;
}

struct id_entry {
    uint8_t id[8];
    struct debug_node *node;
};

static int by_entry_id(const void *a, const void *b)
{
    const struct id_entry *x = a, *y = b;
    int order = memcmp(x->id, y->id, sizeof(x->id));
    return order != 0 ? order : (x->node > y->node) - (x->node < y->node);
}

/* The first node with the id that is not `self`. */
static struct debug_node *find(const struct id_entry *entries, uint32_t count, const uint8_t id[8],
                               const struct debug_node *self)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (memcmp(entries[middle].id, id, 8) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < count && entries[low].node == self)
        low++;
    return low < count && memcmp(entries[low].id, id, 8) == 0 ? entries[low].node : NULL;
}

static bool is_zero(const uint8_t id[8])
{
    static const uint8_t zero[8];
    return memcmp(id, zero, sizeof(zero)) == 0;
}

static bool find_parents(struct debug_tree *tree, struct ut_arena *arena)
{
    struct id_entry *entries = ut_arena_alloc(arena, tree->count * sizeof(*entries));
    if (entries == NULL)
        return false;
    for (uint32_t i = 0; i < tree->count; i++) {
        memcpy(entries[i].id, tree->nodes[i].span->id, sizeof(entries[i].id));
        entries[i].node = &tree->nodes[i];
    }
    qsort(entries, tree->count, sizeof(*entries), by_entry_id);
    for (uint32_t i = 0; i < tree->count; i++) {
        struct debug_node *node = &tree->nodes[i];
        if (is_zero(node->span->parent))
            continue;
        node->parent = find(entries, tree->count, node->span->parent, node);
        if (node->parent == NULL)
            node->note = memcmp(node->span->parent, node->span->id, 8) == 0 ? DEBUG_PARENT_CIRCLE
                                                                            : DEBUG_PARENT_MISSING;
    }
    return true;
}

/* From each node upwards until a node that is known: one that is met again on the same way is part
 * of a circle, and loses its parent. Each node is marked once. */
static void cut_circles(struct debug_tree *tree)
{
    for (uint32_t i = 0; i < tree->count; i++) {
        struct debug_node *at = &tree->nodes[i];
        while (at != NULL && at->mark == NOT_SEEN) {
            at->mark = ON_THE_WAY;
            at = at->parent;
        }
        struct debug_node *met_again = at != NULL && at->mark == ON_THE_WAY ? at : NULL;
        for (at = &tree->nodes[i]; at != NULL && at->mark == ON_THE_WAY; at = at->parent)
            at->mark = KNOWN;
        if (met_again != NULL) {
            met_again->parent = NULL;
            met_again->note = DEBUG_PARENT_CIRCLE;
        }
    }
}

/* From the last to the first, each in front of its siblings. Returns the first root. */
static struct debug_node *link_children(struct debug_tree *tree)
{
    struct debug_node *roots = NULL;
    for (uint32_t i = tree->count; i-- > 0;) {
        struct debug_node *node = &tree->nodes[i];
        struct debug_node **list = node->parent != NULL ? &node->parent->child : &roots;
        node->after = *list;
        *list = node;
    }
    return roots;
}

static struct debug_node *next_in_order(struct debug_node *node)
{
    if (node->child != NULL)
        return node->child;
    while (node != NULL && node->after == NULL)
        node = node->parent;
    return node != NULL ? node->after : NULL;
}

static void set_order(struct debug_tree *tree, struct debug_node *roots)
{
    uint32_t order = 0;
    tree->first = roots;
    for (struct debug_node *node = roots; node != NULL; node = node->next) {
        node->order = order++;
        node->depth = node->parent != NULL ? node->parent->depth + 1 : 0;
        node->next = next_in_order(node);
    }
    UT_CHECK(order == tree->count);
}

static void measure(struct debug_tree *tree)
{
    tree->start_ns = UINT64_MAX;
    for (uint32_t i = 0; i < tree->count; i++) {
        const struct debug_span *span = tree->nodes[i].span;
        if (span->start_ns < tree->start_ns)
            tree->start_ns = span->start_ns;
        if (span->end_ns > tree->end_ns)
            tree->end_ns = span->end_ns;
    }
}

bool debug_tree_build(struct debug_tree *tree, const struct debug_trace *trace,
                      struct ut_arena *arena)
{
    *tree = (struct debug_tree){0};
    const struct debug_span **spans =
        ut_arena_alloc(arena, trace->span_count * sizeof(struct debug_span *));
    tree->nodes = ut_arena_alloc(arena, trace->span_count * sizeof(*tree->nodes));
    if (spans == NULL || tree->nodes == NULL)
        return false;
    uint32_t count = 0;
    for (const struct debug_span *span = trace->first; span != NULL; span = span->next)
        spans[count++] = span;
    qsort(spans, count, sizeof(struct debug_span *), by_id);
    tree->count = drop_copies(spans, count);
    for (uint32_t i = 0; i < tree->count; i++)
        tree->nodes[i] = (struct debug_node){.span = spans[i]};
    qsort(tree->nodes, tree->count, sizeof(*tree->nodes), by_start);
    if (!find_parents(tree, arena))
        return false;
    cut_circles(tree);
    set_order(tree, link_children(tree));
    measure(tree);
    return true;
}
