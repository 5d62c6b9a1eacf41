// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to a connection besides retransmits: resets, windows that stand at zero, segments
 * for which its receive queue has no room, and retransmits that turn out to have been needless.
 *
 * The owner is the socket's cgroup, as everywhere. What a state lasts for is kept in the socket's
 * own storage until it ends. Of packets one field of the TCP header is read: the window.
 */
#include "socket.bpf.h"

#include <bpf/bpf_tracing.h>

/* ---- resets --------------------------------------------------------------------------------- */

static __always_inline void record_reset(struct sock *sk, __u32 detail)
{
    /* Without a socket (nobody listens) there is no owner; a listener has no connection. */
    if (sk == NULL)
        return;
    struct tcp_sock *tcp = tcp_sock_of(sk);
    if (tcp == NULL || GET(sk, __sk_common.skc_state) == TCP_LISTEN)
        return;
    struct ut_record_tcp *record = begin_tcp_record(UT_RECORD_RESET, tcp, sk);
    if (record == NULL)
        return;
    record->detail = detail;
    end_record(record);
}

SEC("raw_tp/tcp_send_reset")
int BPF_PROG(tcp_send_reset, struct sock *sk)
{
    record_reset(sk, UT_RESET_SENT);
    return 0;
}

SEC("raw_tp/tcp_receive_reset")
int BPF_PROG(tcp_receive_reset, struct sock *sk)
{
    record_reset(sk, UT_RESET_RECEIVED);
    return 0;
}

/* ---- zero windows --------------------------------------------------------------------------- */

/* For each segment that an established connection receives, before it is looked at: snd_wnd is what
 * the one before it said, so that both directions of the change are seen with the segment that
 * brings them. */
SEC("raw_tp/tcp_probe")
int BPF_PROG(tcp_probe, struct sock *sk, struct sk_buff *skb)
{
    __be16 window = 0;
    const unsigned char *header = GET(skb, head) + GET(skb, transport_header);
    bpf_probe_read_kernel(&window, sizeof(window),
                          header + bpf_core_field_offset(struct tcphdr, window));
    struct tcp_sock *tcp = tcp_sock_of(sk);
    if (tcp == NULL || (window != 0 && GET(tcp, snd_wnd) != 0))
        return 0;
    if (window != 0) {
        end_zero_window(tcp, sk);
        return 0;
    }
    if (GET(tcp, write_seq) == GET(tcp, snd_nxt))
        return 0; /* nothing waits for it */
    struct connection fresh = {.role = UT_ROLE_UNKNOWN};
    struct connection *connection = find_or_add_connection(sk, &fresh);
    if (connection != NULL && connection->zero_window_boot_ns == 0)
        connection->zero_window_boot_ns = bpf_ktime_get_boot_ns();
    return 0;
}

/* ---- the receive queue ---------------------------------------------------------------------- */

#define IS_REASON(reason, name)                                                                    \
    (bpf_core_enum_value_exists(enum skb_drop_reason, name) &&                                     \
     (reason) == bpf_core_enum_value(enum skb_drop_reason, name))

static __always_inline __u32 receive_drop(__u32 reason)
{
    if (IS_REASON(reason, SKB_DROP_REASON_PROTO_MEM) ||
        IS_REASON(reason, SKB_DROP_REASON_SOCKET_RCVBUFF) ||
        IS_REASON(reason, SKB_DROP_REASON_TCP_OFO_QUEUE_PRUNE))
        return UT_DROP_RECEIVE_BUFFER;
    if (IS_REASON(reason, SKB_DROP_REASON_SOCKET_BACKLOG))
        return UT_DROP_BACKLOG;
    if (IS_REASON(reason, SKB_DROP_REASON_TCP_ZEROWINDOW) ||
        IS_REASON(reason, SKB_DROP_REASON_TCP_OVERWINDOW))
        return UT_DROP_WINDOW;
    return 0;
}

/* The tracepoint names the receiving socket since ba8de796baf4 ("net: introduce
 * sk_skb_reason_drop function", 6.11); before, the program does not load. */
SEC("raw_tp/kfree_skb")
int BPF_PROG(kfree_skb, struct sk_buff *skb, void *location, __u32 reason, struct sock *sk)
{
    __u32 detail = receive_drop(reason);
    if (detail == 0 || sk == NULL)
        return 0;
    struct tcp_sock *tcp = tcp_sock_of(sk);
    if (tcp == NULL || GET(sk, __sk_common.skc_state) == TCP_LISTEN)
        return 0;
    struct ut_record_tcp *record = begin_tcp_record(UT_RECORD_RECEIVE_DROP, tcp, sk);
    if (record == NULL)
        return 0;
    record->bytes = GET(skb, len);
    record->detail = detail;
    end_record(record);
    return 0;
}

/* ---- needless retransmits ------------------------------------------------------------------- */

/* A recovery begins with a mark that says from where on it can be undone; undoing it clears the
 * mark (tcp_undo_cwnd_reduction), and leaving it in the usual way does not. The kernel undoes a
 * recovery when time stamps or the other end's duplicate SACKs prove that nothing was missing. */
SEC("raw_tp/tcp_cong_state_set")
int BPF_PROG(tcp_cong_state_set, struct sock *sk, __u8 new_state)
{
    struct tcp_sock *tcp = tcp_sock_of(sk);
    if (tcp == NULL)
        return 0;
    const struct inet_connection_sock *icsk = &tcp->inet_conn;
    ut_u8 old_state = GET_BITS(icsk, icsk_ca_state);
    bool was = old_state >= TCP_CA_RECOVERY, is = new_state >= TCP_CA_RECOVERY;
    if (was == is)
        return 0;
    __u64 now = bpf_ktime_get_boot_ns();
    struct connection fresh = {.role = UT_ROLE_UNKNOWN};
    struct connection *connection = is ? find_or_add_connection(sk, &fresh) : find_connection(sk);
    if (connection == NULL)
        return 0;
    if (is) {
        /* A path with smaller packets makes a recovery without a mark: nothing to be undone. */
        connection->episode_boot_ns = GET(tcp, undo_marker) != 0 ? now : 0;
        return 0;
    }
    __u64 since = connection->episode_boot_ns;
    connection->episode_boot_ns = 0;
    if (since == 0 || since > now || GET(tcp, undo_marker) != 0)
        return 0;
    struct ut_record_tcp *record = begin_tcp_record(UT_RECORD_UNDO, tcp, sk);
    if (record == NULL)
        return 0;
    record->ns = record->header.boot_ns - since; /* what it counts back from */
    end_record(record);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
