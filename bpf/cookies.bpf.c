// SPDX-License-Identifier: GPL-2.0
/*
 * For kernels that tell the programs of tracepoints no socket cookie (flavors.bpf.h); on others
 * they are not loaded. A socket gets its cookie when it is first asked for and keeps it. These
 * programs may ask, and do so before any tracepoint sees the socket, which can read it from then
 * on: one when a program makes a socket, one when a connection is accepted. They leave every socket
 * and every other program as it is.
 */
#include "kernel_types.h"

#include <bpf/bpf_helpers.h>

SEC("cgroup/sock_create")
int cookie_when_made(struct bpf_sock *sk)
{
    if (sk->protocol == IPPROTO_TCP)
        bpf_get_socket_cookie(sk);
    return 1;
}

/* `reply` is left alone: what it holds is another program's, or the kernel's default. */
SEC("sockops")
int cookie_when_accepted(struct bpf_sock_ops *ops)
{
    if (ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
        bpf_get_socket_cookie(ops);
    return 1;
}

char LICENSE[] SEC("license") = "GPL";
