// SPDX-License-Identifier: GPL-2.0
/*
 * Which thread of a program sends which bytes of a connection, and when: for the few latest sends
 * on each socket of a workload that sends spans here (`senders`). Of the bytes nothing is looked
 * at.
 *
 * `send_begins` runs under the socket's lock, before bytes are taken from the program; `send_ends`
 * after it let go of the lock, and tells only how far the socket has got by then. Both run for
 * every send on the machine, so they leave at once where nothing is kept.
 */
#include "sent_kept.bpf.h"

#include <bpf/bpf_tracing.h>

/* The parts of kernel types that only these programs look at. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct msghdr {
    struct {
        unsigned long count;
    } msg_iter;
};

struct upid {
    int nr;
};

struct pid {
    unsigned int level;
    struct upid numbers[1];
};

struct task_struct___sending {
    unsigned int flags;
    struct pid *thread_pid;
};
#pragma clang attribute pop

enum { PF_KTHREAD = 0x00200000, PID_LEVELS = 32 };

/* As its own pid namespace numbers it; 0: it is the kernel's. */
static __always_inline __u32 sending_thread(void)
{
    const struct task_struct___sending *task = (const void *)bpf_get_current_task_btf();
    int number = 0;
    if (task->flags & PF_KTHREAD)
        return 0;
    const struct pid *pid = task->thread_pid;
    if (pid == NULL)
        return 0;
    __u32 level = pid->level;
    if (level > PID_LEVELS)
        return 0;
    bpf_probe_read_kernel(&number, sizeof(number),
                          (const char *)pid + bpf_core_field_offset(struct pid, numbers) +
                              (__u64)level * bpf_core_type_size(struct upid) +
                              bpf_core_field_offset(struct upid, nr));
    return (__u32)number & SEND_THREAD;
}

SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(send_begins, struct sock *sk, struct msghdr *msg)
{
    if (!sends_spans(sk)) /* first, for it takes the least time */
        return 0;
    struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    if (tcp == NULL)
        return 0;
    __u8 state = sk->__sk_common.skc_state;
    if (state == TCP_SYN_SENT || state == TCP_SYN_RECV || state == TCP_CLOSE)
        return 0;
    struct sent_kept *kept = find_kept(sk);
    if (kept == NULL)
        kept = keep_alone(sk, max_kept - max_kept / 8);
    if (kept == NULL)
        count(&sends_refused);
    else
        note_send(&kept->sends, tcp, msg->msg_iter.count, sending_thread(),
                  bpf_ktime_get_ns() / 1000);
    return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(send_ends, struct sock *sk)
{
    if (sk == NULL)
        return 0;
    struct sent_kept *kept = find_kept(sk);
    if (kept == NULL || kept->sends.base_us == 0)
        return 0;
    struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    if (tcp == NULL)
        return 0;
    /* In this order, whoever else is at work on the socket. */
    __u32 reached = *(volatile __u32 *)&tcp->write_seq;
    bool left = *(volatile __u32 *)&tcp->snd_nxt == reached;
    __u64 us = bpf_ktime_get_ns() / 1000 - kept->sends.base_us;
    if (!left || us > SENT_NEVER)
        us = SENT_NEVER;
    *(volatile __u64 *)&kept->sends.reached = us << 32 | reached;
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
