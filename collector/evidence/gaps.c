/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/gaps.h"

#include <string.h>

/* Whoever had no gap for so long gives its room to another. */
#define KEPT_NS UT_WORKLOAD_KEPT_NS

static uint32_t join_oldest(struct ut_gap *list, uint32_t count)
{
    list[0].to_ns = list[1].to_ns;
    list[0].connections |= list[1].connections;
    memmove(&list[1], &list[2], (count - 2) * sizeof(list[0]));
    return count - 1;
}

uint32_t ut_gap_add(struct ut_gap *list, uint32_t count, uint32_t max, const struct ut_gap *gap)
{
    struct ut_gap added = *gap;
    if (count == max && !ut_gap_meets(&list[count - 1], gap->from_ns, gap->to_ns))
        count = join_oldest(list, count);
    uint32_t first = 0;
    while (first < count && list[first].to_ns < added.from_ns)
        first++;
    uint32_t end = first;
    for (; end < count && list[end].from_ns <= added.to_ns; end++)
        added.connections |= list[end].connections;
    if (end > first) {
        added.from_ns = list[first].from_ns < added.from_ns ? list[first].from_ns : added.from_ns;
        added.to_ns = list[end - 1].to_ns > added.to_ns ? list[end - 1].to_ns : added.to_ns;
    }
    memmove(&list[first + 1], &list[end], (count - end) * sizeof(list[0]));
    list[first] = added;
    return count - (end - first) + 1;
}

static void add_to_all(struct ut_gaps *g, const struct ut_gap *gap)
{
    g->of_all_count = ut_gap_add(g->of_all, g->of_all_count, UT_GAPS_OF_ALL_MAX, gap);
}

/* They are of a time of which hardly any span is still to come; where one is, it is in doubt. */
static void give_to_all(struct ut_gaps *g, struct ut_gapped *gapped)
{
    for (uint32_t i = 0; i < gapped->count; i++)
        add_to_all(g, &gapped->gaps[i]);
    *gapped = g->gapped[--g->gapped_count];
}

static const struct ut_gapped *find(const struct ut_gaps *g, uint32_t workload)
{
    for (uint32_t i = 0; i < g->gapped_count; i++) {
        if (g->gapped[i].workload == workload)
            return &g->gapped[i];
    }
    return NULL;
}

static uint64_t end_of(const struct ut_gapped *gapped)
{
    return gapped->gaps[gapped->count - 1].to_ns;
}

/* NULL: all have had gaps lately. */
static struct ut_gapped *find_room(struct ut_gaps *g, uint64_t now_ns)
{
    struct ut_gapped *oldest = &g->gapped[0];
    if (g->gapped_count == UT_GAPPED_MAX) {
        for (uint32_t i = 1; i < g->gapped_count; i++)
            oldest = end_of(&g->gapped[i]) < end_of(oldest) ? &g->gapped[i] : oldest;
        if (end_of(oldest) + KEPT_NS > now_ns)
            return NULL;
        give_to_all(g, oldest);
    }
    return &g->gapped[g->gapped_count++];
}

static bool note_of(struct ut_gaps *g, uint32_t workload, const struct ut_gap *gap)
{
    const struct ut_gapped *known = find(g, workload);
    struct ut_gapped *gapped =
        known != NULL ? &g->gapped[known - g->gapped] : find_room(g, gap->to_ns);
    if (gapped == NULL)
        return false;
    if (known == NULL)
        *gapped = (struct ut_gapped){.workload = workload};
    gapped->count = ut_gap_add(gapped->gaps, gapped->count, UT_GAPS_OF_ONE_MAX, gap);
    return true;
}

void ut_gaps_note(struct ut_gaps *g, uint32_t workload, struct ut_gap gap)
{
    g->latest_ns = gap.to_ns > g->latest_ns ? gap.to_ns : g->latest_ns;
    if (workload != 0 && note_of(g, workload, &gap)) {
        g->noted_of_one++;
        return;
    }
    g->noted_of_all++;
    add_to_all(g, &gap);
}

static bool lacks_connections(const struct ut_gap *list, uint32_t count, uint64_t from_ns,
                              uint64_t to_ns)
{
    for (uint32_t i = count; i-- > 0 && list[i].to_ns >= from_ns;) {
        if (list[i].connections && list[i].from_ns <= to_ns)
            return true;
    }
    return false;
}

bool ut_gaps_lack_connections(const struct ut_gaps *g, uint32_t workload, uint64_t from_ns,
                              uint64_t to_ns)
{
    if (g->latest_ns < from_ns)
        return false;
    const struct ut_gapped *gapped = find(g, workload);
    return lacks_connections(g->of_all, g->of_all_count, from_ns, to_ns) ||
           (gapped != NULL && lacks_connections(gapped->gaps, gapped->count, from_ns, to_ns));
}

void ut_gaps_forget_workload(struct ut_gaps *g, uint32_t slot)
{
    for (uint32_t i = 0; i < g->gapped_count; i++) {
        if (UT_WORKLOAD_SLOT(g->gapped[i].workload) == slot) {
            give_to_all(g, &g->gapped[i]);
            return;
        }
    }
}

static double read_of_all(void *arg)
{
    return (double)((const struct ut_gaps *)arg)->noted_of_all;
}

static double read_of_one(void *arg)
{
    return (double)((const struct ut_gaps *)arg)->noted_of_one;
}

void ut_gaps_show(struct ut_gaps *g, struct ut_metrics *metrics)
{
    const char *name = "undertrace_kernel_gaps_total";
    const char *help = "Times that records were found missing, by whose spans of then are marked "
                       "as partial: everyone's, where they were lost; the workload's whose rate "
                       "limit held them back, and those of its connections' other ends.";
    ut_metrics_counter_read(metrics, name, "of=\"everyone\"", help, read_of_all, g);
    ut_metrics_counter_read(metrics, name, "of=\"workload\"", help, read_of_one, g);
}

void ut_gaps_hide(struct ut_gaps *g, struct ut_metrics *metrics)
{
    ut_metrics_remove(metrics, g);
}
