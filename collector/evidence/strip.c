/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/strip.h"

#include "otlp/span_reader.h"

void ut_strip_counters_init(struct ut_strip_counters *counters, struct ut_metrics *metrics)
{
    counters->removed = ut_metrics_counter(
        metrics, "undertrace_forged_removed_total", "",
        "Spans and resources that came with keys undertrace.* from no trusted forwarder.");
    counters->kept =
        ut_metrics_counter(metrics, "undertrace_forged_kept_total", "",
                           "Spans and resources whose forged keys stayed for want of memory.");
}

static void count(const struct ut_strip_counters *counters, bool done)
{
    if (counters != NULL)
        ++*(done ? counters->removed : counters->kept);
}

static bool strip_span(struct ut_body *body, uint32_t row)
{
    struct ut_range *ranges;
    int removed = ut_span_forged_ranges(body, &body->spans[row], &ranges);
    if (removed <= 0)
        return removed == 0;
    struct ut_edit *edit = ut_arena_alloc(&body->arena, sizeof(*edit));
    if (edit == NULL)
        return false;
    *edit = (struct ut_edit){.removed = ranges, .removed_count = (uint32_t)removed};
    return ut_body_set_edit(body, row, edit) == 0;
}

void ut_strip_spans(struct ut_body *body, const struct ut_strip_counters *counters)
{
    for (uint32_t row = 0; row < body->span_count; row++) {
        uint8_t flags = body->spans[row].flags;
        if ((flags & UT_SPAN_FORGED) && !(flags & UT_SPAN_LEFT_OUT))
            count(counters, strip_span(body, row));
    }
}

void ut_strip_resource(struct ut_body *body, struct ut_resource *resource,
                       const struct ut_identity *identity, ut_slice encoded,
                       const struct ut_strip_counters *counters)
{
    bool forged = resource->flags & UT_RESOURCE_FORGED;
    if (!forged && identity == NULL)
        return;
    struct ut_range *ranges = NULL;
    int removed = ut_resource_ranges(body, resource, identity != NULL ? identity->keys : NULL,
                                     identity != NULL ? identity->count : 0, &ranges);
    struct ut_edit *edit = removed >= 0 ? ut_arena_alloc(&body->arena, sizeof(*edit)) : NULL;
    if (edit != NULL) {
        *edit = (struct ut_edit){.removed = ranges, .removed_count = (uint32_t)removed};
        if (identity != NULL)
            edit->added = encoded;
        resource->edit = edit;
    }
    if (forged)
        count(counters, edit != NULL);
}

void ut_strip_charge(struct ut_body *body, size_t before)
{
    size_t grown = body->arena.bytes - before;
    if (grown > 0 && body->budget != NULL && ut_budget_take(body->budget, grown))
        body->charge += grown;
}
