/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "component.h"
#include "ebpf_receiver/trace_context.h"

struct report {
    struct ut_config_report base;
    char paths[256]; /* of all errors, each with a blank behind */
};

__attribute__((format(printf, 3, 4))) static void
on_error(struct ut_config_report *base, const char *path, const char *format, ...)
{
    struct report *report = UT_CONTAINER_OF(base, struct report, base);
    (void)format;
    strncat(report->paths, path, sizeof(report->paths) - strlen(report->paths) - 1);
    strncat(report->paths, " ", sizeof(report->paths) - strlen(report->paths) - 1);
}

static char *names[] = {"eth0", "veth*"};
static char *paths[] = {"/run/netns/shop", "/proc/7/ns/net"};
static char *wrong[] = {"/run/netns/shop", "shop"};

#define LIST(items)                                                                                \
    {                                                                                              \
        items, sizeof(items) / sizeof((items)[0])                                                  \
    }

static void expect_errors(struct ut_trace_context_config config, const char *expected)
{
    struct report report = {.base.error = on_error};
    ut_trace_context_check(&config, &report.base);
    cr_expect_str_eq(report.paths, expected);
}

Test(trace_context, interfaces_and_namespaces_are_for_tc)
{
    expect_errors((struct ut_trace_context_config){.attach = UT_TRACE_ATTACH_CGROUP}, "");
    expect_errors((struct ut_trace_context_config){.attach = UT_TRACE_ATTACH_TC}, "");
    expect_errors((struct ut_trace_context_config){.attach = UT_TRACE_ATTACH_TC,
                                                   .interfaces = LIST(names),
                                                   .namespaces = LIST(paths)},
                  "");
    expect_errors((struct ut_trace_context_config){.attach = UT_TRACE_ATTACH_CGROUP,
                                                   .interfaces = LIST(names),
                                                   .namespaces = LIST(paths)},
                  "trace_context.interfaces trace_context.namespaces ");
}

Test(trace_context, namespaces_are_paths)
{
    expect_errors(
        (struct ut_trace_context_config){.attach = UT_TRACE_ATTACH_TC, .namespaces = LIST(wrong)},
        "trace_context.namespaces ");
}

Test(trace_context, namespaces_are_bounded)
{
    char *many[65];
    for (size_t i = 0; i < 65; i++)
        many[i] = paths[0];
    struct ut_trace_context_config config = {.attach = UT_TRACE_ATTACH_TC,
                                             .namespaces = {many, 64}};
    expect_errors(config, "");
    config.namespaces.count = 65;
    expect_errors(config, "trace_context.namespaces ");
}

Test(trace_context, settings_that_name_other_places_are_others)
{
    const struct ut_trace_context_config a = {.interfaces = LIST(names), .namespaces = LIST(paths)};
    struct ut_trace_context_config b = a;
    cr_assert(ut_trace_context_own(&b));
    cr_expect_neq(b.interfaces.items[0], a.interfaces.items[0]);
    cr_expect(ut_trace_context_same(&a, &b));
    b.interfaces.items[1][0] = 'w';
    cr_expect_not(ut_trace_context_same(&a, &b));
    b.interfaces.items[1][0] = 'v';
    b.namespaces.items[0][1] = 'p';
    cr_expect_not(ut_trace_context_same(&a, &b));
    ut_trace_context_disown(&b);
    cr_expect_not(ut_trace_context_same(&a, &b));
    ut_trace_context_disown(&b);
}
