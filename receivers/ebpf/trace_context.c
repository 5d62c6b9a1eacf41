/* SPDX-License-Identifier: Apache-2.0 */
#include "trace_context.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>
#include <stdlib.h>

static const char *const attach_words[] = {"cgroup", NULL};

const struct ut_field ut_trace_context_fields[] = {
    {.key = "enabled",
     .type = UT_FIELD_BOOL,
     .offset = offsetof(struct ut_trace_context_config, enabled),
     .fallback = "false"},
    {.key = "attach",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct ut_trace_context_config, attach),
     .fallback = "cgroup",
     .words = attach_words},
    /* Followed at a time; 2 KiB of kernel memory each. */
    {.key = "max_sockets",
     .type = UT_FIELD_UINT,
     .offset = offsetof(struct ut_trace_context_config, max_sockets),
     .fallback = "32768",
     .least = 1,
     .most = 1 << 20},
    UT_FIELD_END,
};

bool ut_trace_context_same(const struct ut_trace_context_config *a,
                           const struct ut_trace_context_config *b)
{
    return a->enabled == b->enabled && a->attach == b->attach && a->max_sockets == b->max_sockets;
}

void ut_trace_context_init(struct ut_trace_context *context, struct ut_metrics *metrics)
{
    static const char *const reasons[UT_TRACE_LOSSES] = {
        [UT_TRACE_NOT_HTTP] = "reason=\"not_http\"",
        [UT_TRACE_MALFORMED] = "reason=\"malformed\"",
        [UT_TRACE_AMBIGUOUS] = "reason=\"ambiguous_length\"",
        [UT_TRACE_UPGRADE] = "reason=\"upgrade\"",
        [UT_TRACE_EXPECT] = "reason=\"expect\"",
        [UT_TRACE_TOO_LONG] = "reason=\"too_long\"",
        [UT_TRACE_GAP] = "reason=\"gap\"",
        [UT_TRACE_UNREADABLE] = "reason=\"unreadable\"",
        [UT_TRACE_MULTIPATH] = "reason=\"multipath\"",
        [UT_TRACE_NO_ROOM] = "reason=\"max_sockets\"",
    };
    const char *requests = "undertrace_trace_context_requests_total";
    const char *help = "Requests whose heads were read, by whether they named a span.";
    context->traced = ut_metrics_counter(metrics, requests, "span=\"named\"", help);
    context->untraced = ut_metrics_counter(metrics, requests, "span=\"none\"", help);
    context->sockets =
        ut_metrics_counter(metrics, "undertrace_trace_context_sockets_total", "",
                           "Sockets whose requests were followed from their first byte on.");
    context->displaced =
        ut_metrics_counter(metrics, "undertrace_trace_context_displaced_total", "",
                           "Requests that named a span and made room for later ones on their "
                           "socket before they were acknowledged.");
    for (int i = 1; i < UT_TRACE_LOSSES; i++)
        context->lost[i] =
            ut_metrics_counter(metrics, "undertrace_trace_context_lost_total", reasons[i],
                               "Sockets whose requests are not followed, or no more; they give no "
                               "further ids.");
}

int ut_trace_context_start(struct ut_trace_context *context, int cpus)
{
    context->cpus = cpus;
    context->per_cpu = calloc((size_t)cpus, sizeof(*context->per_cpu));
    return context->per_cpu != NULL ? 0 : -ENOMEM;
}

void ut_trace_context_done(struct ut_trace_context *context)
{
    free(context->per_cpu);
    context->per_cpu = NULL;
}

static void add(struct ut_trace_counters *sum, const struct ut_trace_counters *cpu)
{
    sum->sockets += cpu->sockets;
    sum->traced_requests += cpu->traced_requests;
    sum->untraced_requests += cpu->untraced_requests;
    sum->displaced += cpu->displaced;
    for (int i = 0; i < UT_TRACE_LOSSES; i++)
        sum->lost[i] += cpu->lost[i];
}

void ut_trace_context_count(struct ut_trace_context *context, struct ut_bpf *skeleton)
{
    uint32_t zero = 0;
    const struct ut_trace_counters *before = &context->counted;
    struct ut_trace_counters now = {.sockets = 0};
    if (context->per_cpu == NULL ||
        bpf_map_lookup_elem(bpf_map__fd(skeleton->maps.trace_counters), &zero, context->per_cpu))
        return;
    for (int cpu = 0; cpu < context->cpus; cpu++)
        add(&now, &context->per_cpu[cpu]);
    *context->sockets += now.sockets - before->sockets;
    *context->traced += now.traced_requests - before->traced_requests;
    *context->untraced += now.untraced_requests - before->untraced_requests;
    *context->displaced += now.displaced - before->displaced;
    for (int i = 1; i < UT_TRACE_LOSSES; i++)
        *context->lost[i] += now.lost[i] - before->lost[i];
    context->counted = now;
}

int ut_trace_context_follow(struct ut_bpf *skeleton, uint64_t cgroup_id, bool follow)
{
    const uint8_t yes = 1;
    int senders = bpf_map__fd(skeleton->maps.senders), error;
    if (follow)
        error = bpf_map_update_elem(senders, &cgroup_id, &yes, BPF_ANY);
    else
        error = bpf_map_delete_elem(senders, &cgroup_id);
    return error != -ENOENT ? error : 0;
}
