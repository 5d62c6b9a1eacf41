/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections that are open now, of all network namespaces whose processes can be seen: a
 * kernel program walks the files of all tasks. A socket that is in no task's table (still to be
 * accepted, or held by io_uring alone) is not found, and one of another pid namespace neither.
 *
 * Who connected is not kept by the kernel: a socket whose local port listens in its namespace was
 * accepted. Where the listener is gone already, an accepted socket passes for a connecting one, and
 * its own initial sequence number is told one too high.
 */
#ifndef UT_EBPF_SNAPSHOT_H
#define UT_EBPF_SNAPSHOT_H

#include <stddef.h>

#include "base/check.h"
#include "bpf/records.h"

struct ut_bpf;

enum { UT_EBPF_SNAPSHOT_MAX = 1 << 18 }; /* connections; what is beyond is not told */

/* Calls record(arg, …) for each connection that inet_sock_set_state has not told already, which
 * must be attached. Returns how many, or a negative errno. */
int ut_ebpf_snapshot(struct ut_bpf *skeleton,
                     void (*record)(void *arg, const struct ut_record_connection *record),
                     void *arg) UT_MUST_USE;

#endif
