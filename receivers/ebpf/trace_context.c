/* SPDX-License-Identifier: Apache-2.0 */
#include "trace_context.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "programs.h"
#include "tc.h"

static const char *const attach_words[] = {
    [UT_TRACE_ATTACH_CGROUP] = "cgroup",
    [UT_TRACE_ATTACH_TC] = "tc",
    NULL,
};

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
    /* With `attach: tc`: names of interfaces, `*` and `?` in them; every one, if none is given. */
    {.key = "interfaces",
     .type = UT_FIELD_STRINGS,
     .offset = offsetof(struct ut_trace_context_config, interfaces)},
    /* With `attach: tc`: paths of network namespaces; the own one, if none is given. */
    {.key = "namespaces",
     .type = UT_FIELD_STRINGS,
     .offset = offsetof(struct ut_trace_context_config, namespaces)},
    UT_FIELD_END,
};

void ut_trace_context_check(const struct ut_trace_context_config *config,
                            struct ut_config_report *report)
{
    const struct ut_strings *namespaces = &config->namespaces;
    bool by_tc = config->attach == UT_TRACE_ATTACH_TC;
    if (!by_tc && config->interfaces.count > 0)
        report->error(report, "trace_context.interfaces", "is for attach: tc");
    if (!by_tc && namespaces->count > 0)
        report->error(report, "trace_context.namespaces", "is for attach: tc");
    if (namespaces->count > UT_TC_NAMESPACES_MAX)
        report->error(report, "trace_context.namespaces", "must be at most %d",
                      UT_TC_NAMESPACES_MAX);
    for (size_t i = 0; i < namespaces->count; i++) {
        if (namespaces->items[i][0] != '/')
            report->error(report, "trace_context.namespaces",
                          "\"%s\" is no path such as /run/netns/NAME or /proc/PID/ns/net",
                          namespaces->items[i]);
    }
}

int ut_trace_context_ways(const struct ut_trace_context_config *config)
{
    if (!config->enabled)
        return 0;
    return config->attach == UT_TRACE_ATTACH_TC ? UT_EBPF_BY_TC : UT_EBPF_BY_CGROUP;
}

static bool same_strings(const struct ut_strings *a, const struct ut_strings *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; i < a->count && same; i++)
        same = strcmp(a->items[i], b->items[i]) == 0;
    return same;
}

bool ut_trace_context_same(const struct ut_trace_context_config *a,
                           const struct ut_trace_context_config *b)
{
    return a->enabled == b->enabled && a->attach == b->attach && a->max_sockets == b->max_sockets &&
           same_strings(&a->interfaces, &b->interfaces) &&
           same_strings(&a->namespaces, &b->namespaces);
}

static void free_strings(struct ut_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct ut_strings){.count = 0};
}

static bool copy_strings(struct ut_strings *strings)
{
    const struct ut_strings borrowed = *strings;
    *strings = (struct ut_strings){.items = calloc(borrowed.count + 1, sizeof(char *))};
    bool done = strings->items != NULL;
    for (size_t i = 0; i < borrowed.count && done; i++) {
        strings->items[i] = strdup(borrowed.items[i]);
        done = strings->items[i] != NULL;
        strings->count += done;
    }
    return done;
}

bool ut_trace_context_own(struct ut_trace_context_config *config)
{
    bool interfaces = copy_strings(&config->interfaces);
    bool namespaces = copy_strings(&config->namespaces);
    if (interfaces && namespaces)
        return true;
    ut_trace_context_disown(config);
    return false;
}

void ut_trace_context_disown(struct ut_trace_context_config *config)
{
    free_strings(&config->interfaces);
    free_strings(&config->namespaces);
}

static void init_interfaces(struct ut_trace_context *context, struct ut_metrics *metrics)
{
    const char *name = "undertrace_trace_context_interfaces";
    const char *help = "Interfaces whose packets are read, by how the program is attached.";
    context->links = ut_metrics_level(metrics, name, "by=\"tcx\"", help);
    context->filters = ut_metrics_level(metrics, name, "by=\"filter\"", help);
    context->refused =
        ut_metrics_counter(metrics, "undertrace_trace_context_interfaces_refused_total", "",
                           "Attempts to attach the program to an interface that failed.");
}

void ut_trace_context_init(struct ut_trace_context *context,
                           const struct ut_trace_context_config *config, struct ut_metrics *metrics)
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
        [UT_TRACE_UNASKED] = "reason=\"unasked\"",
    };
    const char *requests = "undertrace_trace_context_requests_total";
    const char *help = "Requests whose heads were read, by whether they named a span.";
    context->traced = ut_metrics_counter(metrics, requests, "span=\"named\"", help);
    context->untraced = ut_metrics_counter(metrics, requests, "span=\"none\"", help);
    context->answers = ut_metrics_counter(metrics, "undertrace_trace_context_answers_total", "",
                                          "Answers to requests that named a span.");
    context->sockets =
        ut_metrics_counter(metrics, "undertrace_trace_context_sockets_total", "",
                           "Sockets whose requests were followed from their first byte on.");
    context->displaced = ut_metrics_counter(
        metrics, "undertrace_trace_context_displaced_total", "",
        "Requests that named a span, and answers to such, that made room for later ones on their "
        "socket before they were acknowledged.");
    for (int i = 1; i < UT_TRACE_LOSSES; i++)
        context->lost[i] =
            ut_metrics_counter(metrics, "undertrace_trace_context_lost_total", reasons[i],
                               "Sockets whose requests are not followed, or no more; they give no "
                               "further ids.");
    if (config->attach == UT_TRACE_ATTACH_TC)
        init_interfaces(context, metrics);
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
    sum->traced_answers += cpu->traced_answers;
    sum->displaced += cpu->displaced;
    for (int i = 0; i < UT_TRACE_LOSSES; i++)
        sum->lost[i] += cpu->lost[i];
}

static void count_interfaces(struct ut_trace_context *context, struct ut_tc *tc)
{
    struct ut_tc_figures figures;
    ut_tc_check(tc, ut_clock_monotonic_ns());
    ut_tc_figures(tc, &figures);
    *context->links = figures.links;
    *context->filters = figures.filters;
    *context->refused = figures.refused;
}

void ut_trace_context_count(struct ut_trace_context *context,
                            const struct ut_ebpf_programs *programs)
{
    uint32_t zero = 0;
    const struct ut_trace_counters *before = &context->counted;
    struct ut_trace_counters now = {.sockets = 0};
    const struct ut_bpf *skeleton = programs->skeleton;
    if (context->links != NULL)
        count_interfaces(context, programs->tc);
    if (context->per_cpu == NULL ||
        bpf_map_lookup_elem(bpf_map__fd(skeleton->maps.trace_counters), &zero, context->per_cpu))
        return;
    for (int cpu = 0; cpu < context->cpus; cpu++)
        add(&now, &context->per_cpu[cpu]);
    *context->sockets += now.sockets - before->sockets;
    *context->traced += now.traced_requests - before->traced_requests;
    *context->untraced += now.untraced_requests - before->untraced_requests;
    *context->answers += now.traced_answers - before->traced_answers;
    *context->displaced += now.displaced - before->displaced;
    for (int i = 1; i < UT_TRACE_LOSSES; i++)
        *context->lost[i] += now.lost[i] - before->lost[i];
    context->counted = now;
}
