/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether there may have been more for a span than is known: records are missing that could have
 * been of its workload, of the others in its pod, or of the other ends of their connections.
 *
 * Whose records a rate limit held back is known (gaps.h). It concerns the workload at hand if it
 * has a connection, open while the body's spans were, whose other end is that one's; or one whose
 * other end is not known, and which opened while openings of that one were held back: then it may
 * well be its. Where the table cannot vouch for the workload's connections, or they are too many to
 * be looked through, the careful answer is that it does.
 *
 * It is looked for once for a body, and only if any of its spans has evidence.
 */
#include "evidence/join_view.h"

/* Rows of the table, and gapped workloads at each. */
enum { LOOKS_MAX = 8192 };

/* The others with gaps within the body's times, as long as nothing is found that they share. */
struct others {
    const struct ut_gapped *gapped[UT_GAPPED_MAX];
    uint32_t count, looks;
};

void ut_join_begin_doubts(struct ut_join *join, uint64_t from_ns, uint64_t to_ns)
{
    join->doubts.known = false;
    join->doubts.from_ns = from_ns;
    join->doubts.to_ns = to_ns;
}

static bool meets_any(const struct ut_join *join, const struct ut_gap *gaps, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ut_gap_meets(&gaps[i], join->doubts.from_ns, join->doubts.to_ns))
            return true;
    }
    return false;
}

static void doubt(struct ut_join *join, const struct ut_gap *gaps, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ut_gap_meets(&gaps[i], join->doubts.from_ns, join->doubts.to_ns))
            join->doubts.count =
                ut_gap_add(join->doubts.gaps, join->doubts.count, UT_DOUBTS_MAX, &gaps[i]);
    }
}

static bool is_in_pod(const struct ut_join *join, uint32_t workload)
{
    const struct ut_workload *mate = NULL;
    bool found = workload == join->workload->id;
    while (!found && (mate = ut_workloads_next_in_pod(&join->tables->workloads, join->workload,
                                                      mate)) != NULL)
        found = workload == mate->id;
    return found;
}

static void find_others(struct ut_join *join, struct others *ret)
{
    const struct ut_gaps *gaps = &join->tables->gaps;
    for (uint32_t i = 0; i < gaps->gapped_count; i++) {
        const struct ut_gapped *gapped = &gaps->gapped[i];
        if (!meets_any(join, gapped->gaps, gapped->count))
            continue;
        if (is_in_pod(join, gapped->workload))
            doubt(join, gapped->gaps, gapped->count);
        else
            ret->gapped[ret->count++] = gapped;
    }
}

/* Whether it opened while openings of the other one were held back. */
static bool may_lead_to(const struct ut_connection *c, const struct ut_gapped *gapped)
{
    uint64_t opened_ns = c->established_ns;
    if (opened_ns == 0 && c->opened_ns == 0)
        opened_ns = c->known_ns; /* at some time before that */
    else if (opened_ns == 0)
        opened_ns = c->closed_ns != 0 ? c->closed_ns : UINT64_MAX;
    for (uint32_t i = 0; i < gapped->count; i++) {
        if (gapped->gaps[i].connections && ut_gap_meets(&gapped->gaps[i], c->opened_ns, opened_ns))
            return true;
    }
    return false;
}

static void look_at_row(struct ut_join *join, const struct ut_connection *c, struct others *others)
{
    const struct ut_connection *mirror = ut_connections_mirror(&join->tables->connections, c);
    for (uint32_t i = 0; i < others->count;) {
        const struct ut_gapped *gapped = others->gapped[i];
        bool leads = mirror != NULL ? mirror->workload == gapped->workload : may_lead_to(c, gapped);
        if (leads) {
            doubt(join, gapped->gaps, gapped->count);
            others->gapped[i] = others->gapped[--others->count];
        } else {
            i++;
        }
        others->looks++;
    }
}

/* False: the careful answer is asked for. */
static bool look_at_rows(struct ut_join *join, uint32_t workload, struct others *others)
{
    const struct ut_connections *connections = &join->tables->connections;
    const struct ut_connection *c = NULL;
    if (connections->complete_since_ns[UT_WORKLOAD_SLOT(workload)] > join->doubts.from_ns)
        return false;
    while (others->count > 0 && (c = ut_connections_next_of(connections, workload, c)) != NULL) {
        if (++others->looks > LOOKS_MAX)
            return false;
        if (ut_connection_open_in(c, join->doubts.from_ns, join->doubts.to_ns))
            look_at_row(join, c, others);
    }
    return true;
}

static void look_at_others(struct ut_join *join)
{
    struct others others = {.count = 0};
    find_others(join, &others);
    const struct ut_workload *mate = join->workload;
    bool certain = look_at_rows(join, mate->id, &others);
    for (mate = NULL;
         certain && others.count > 0 &&
         (mate = ut_workloads_next_in_pod(&join->tables->workloads, join->workload, mate)) != NULL;)
        certain = look_at_rows(join, mate->id, &others);
    for (uint32_t i = 0; !certain && i < others.count; i++)
        doubt(join, others.gapped[i]->gaps, others.gapped[i]->count);
}

static void gather(struct ut_join *join)
{
    const struct ut_gaps *gaps = &join->tables->gaps;
    join->doubts.known = true;
    join->doubts.count = 0;
    if (gaps->latest_ns < join->doubts.from_ns)
        return;
    doubt(join, gaps->of_all, gaps->of_all_count);
    if (gaps->gapped_count > 0)
        look_at_others(join);
}

bool ut_join_is_partial(struct ut_join *join, const struct ut_span *span)
{
    uint64_t attached_ns = join->tables->attached_ns;
    if (join->exceeded || attached_ns == 0 || span->start_ns < attached_ns ||
        span->start_ns < join->horizon_ns)
        return true;
    if (!join->doubts.known)
        gather(join);
    for (uint32_t i = 0; i < join->doubts.count; i++) {
        if (ut_gap_meets(&join->doubts.gaps[i], span->start_ns, span->end_ns))
            return true;
    }
    return false;
}
