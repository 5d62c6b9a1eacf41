/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where bpf/trace_tc.bpf.c is attached with `trace_context.attach: tc`: to the interfaces that are
 * asked for of the network namespaces that are asked for, those that are there and those that come.
 * Each namespace has a thread (netns.h) in which all its work is done while the caller waits, so
 * that nothing here is shared.
 *
 * 1. An interface has the program once, whoever names it and its namespace how often.
 * 2. Every ten seconds all are looked at again, so that a message that was lost or a program that
 *    somebody took out costs no more than that time.
 */
#ifndef UT_EBPF_TC_H
#define UT_EBPF_TC_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/log.h"
#include "config/field.h"

struct ut_tc;

enum { UT_TC_NAMESPACES_MAX = 64 };

struct ut_tc_settings {
    const struct ut_strings *interfaces; /* names or fnmatch(3) patterns; none: every one */
    const struct ut_strings *namespaces; /* paths; none: the own one */
};

struct ut_tc_figures {
    uint64_t links, filters; /* interfaces that have the program, by how */
    uint64_t refused;        /* attempts so far that failed */
};

/* Attaches `program` (a descriptor, borrowed until `stop`). NULL: to no namespace. `reason` (size
 * bytes) gets why one of them, the first such, could not be entered; else it is "". */
struct ut_tc *ut_tc_start(const struct ut_tc_settings *settings, int program, struct ut_log *log,
                          char *reason, size_t size) UT_MUST_USE;
void ut_tc_stop(struct ut_tc *tc); /* takes NULL, as all below do */

/* Adds the descriptors that tell of new interfaces to an epoll descriptor; ut_tc_read takes the
 * event's data.ptr, which is not NULL. 0 or a negative errno. */
int ut_tc_watch(struct ut_tc *tc, int epoll) UT_MUST_USE;
void ut_tc_read(void *data);

/* Looks at all interfaces if that is due; to be called now and then, `now_ns` is monotonic. */
void ut_tc_check(struct ut_tc *tc, uint64_t now_ns);

void ut_tc_figures(const struct ut_tc *tc, struct ut_tc_figures *ret);

#endif
