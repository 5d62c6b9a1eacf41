/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The cgroups of workloads that send spans here: of their sockets alone more is kept than of all.
 */
#ifndef UT_BPF_SENDERS_H
#define UT_BPF_SENDERS_H

#include "output.bpf.h"

struct senders_map {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, __u64);
    __type(value, __u8);
};

extern struct senders_map senders SEC(".maps"); /* user space writes it */

static __always_inline bool sends_spans(const struct sock *sk)
{
    __u64 cgroup = socket_cgroup(sk);
    return bpf_map_lookup_elem(&senders, &cgroup) != NULL;
}

#endif
