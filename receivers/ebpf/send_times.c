/* SPDX-License-Identifier: Apache-2.0 */
#include "send_times.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>

void ut_send_times_init(struct ut_send_times *times, struct ut_metrics *metrics)
{
    const char *name = "undertrace_ebpf_send_times_total";
    const char *help =
        "Times that a socket began to send again, and when it had first sent what was "
        "in flight was noted down, of all of it or of as much as there is room for.";
    times->whole = ut_metrics_counter(metrics, name, "noted=\"whole\"", help);
    times->in_part = ut_metrics_counter(metrics, name, "noted=\"in_part\"", help);
    times->refused =
        ut_metrics_counter(metrics, "undertrace_ebpf_send_times_refused_total", "",
                           "Likewise, but nothing was noted down: too many sockets at a time.");
    times->sends_refused = ut_metrics_counter(metrics, "undertrace_ebpf_sends_refused_total", "",
                                              "Sends of which neither the time nor the thread was "
                                              "noted down: too many sockets at a time.");
}

void ut_send_times_count(struct ut_send_times *times, const struct ut_bpf *skeleton)
{
    *times->whole = __atomic_load_n(&skeleton->bss->sent_noted, __ATOMIC_RELAXED);
    *times->in_part = __atomic_load_n(&skeleton->bss->sent_noted_in_part, __ATOMIC_RELAXED);
    *times->refused = __atomic_load_n(&skeleton->bss->sent_refused, __ATOMIC_RELAXED);
    *times->sends_refused = __atomic_load_n(&skeleton->bss->sends_refused, __ATOMIC_RELAXED);
}

int ut_ebpf_follow(struct ut_bpf *skeleton, uint64_t cgroup_id, bool follow)
{
    const uint8_t yes = 1;
    int senders = bpf_map__fd(skeleton->maps.senders), error;
    if (follow)
        error = bpf_map_update_elem(senders, &cgroup_id, &yes, BPF_ANY);
    else
        error = bpf_map_delete_elem(senders, &cgroup_id);
    return error != -ENOENT ? error : 0;
}
