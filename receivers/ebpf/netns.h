/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that stands in a network namespace and does there what it is told, one thing after
 * another, while the caller waits. The kernel makes tcx links and netlink sockets in the namespace
 * of the calling thread, and the right to enter another one goes with the other capabilities after
 * the start: so each namespace has a thread that stays. It keeps CAP_NET_ADMIN and CAP_BPF, and no
 * other capability.
 */
#ifndef UT_EBPF_NETNS_H
#define UT_EBPF_NETNS_H

#include <stdbool.h>

#include "base/check.h"

struct ut_netns;

/* `path` is that of a namespace ("/run/netns/NAME", "/proc/PID/ns/net"), NULL: the caller's own.
 * 0 or a negative errno: what open(2) or setns(2) say, which needs CAP_SYS_ADMIN. It holds the
 * namespace: one whose last process has gone lasts until `close`. */
int ut_netns_open(struct ut_netns **ret, const char *path) UT_MUST_USE;
void ut_netns_close(struct ut_netns *netns); /* takes NULL */

bool ut_netns_same(const struct ut_netns *a, const struct ut_netns *b);

/* Runs work(arg) in there; returns what it returns. */
int ut_netns_do(struct ut_netns *netns, int (*work)(void *arg), void *arg);

#endif
