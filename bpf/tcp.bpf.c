// SPDX-License-Identifier: GPL-2.0
/*
 * TCP: retransmits, SYN-ACK retransmits, and the life of connections.
 *
 * The owner of a record is always the socket's cgroup: the tracepoints fire in softirq, where
 * `current` is whoever was interrupted. What a connection's later records need (role and the pair
 * of initial sequence numbers) is kept until the socket goes. Only bytes of packet *headers* that
 * the kernel keeps about a segment are read, never its payload.
 */
#include "sent_kept.bpf.h"
#include "socket.bpf.h"

#include <bpf/bpf_tracing.h>

/* The length of a timer tick, which is the unit of the kernel's timeouts. Set by the loader, which
 * can read it as the resolution of CLOCK_MONOTONIC_COARSE; no kernel config file is needed. */
const volatile __u64 tick_ns = 4000000;

/* 0: `snapshot` learns which ports listen; 1: it writes out the connections. */
int snapshot_pass = 0;

struct connections_map connections SEC(".maps");
struct connections_by_address_map connections_by_address SEC(".maps");

struct listening_port {
    __u64 netns_cookie;
    __u64 port;
};

/* For the snapshot only: a socket whose local port listens in its namespace was accepted. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, struct listening_port);
    __type(value, __u8);
} listening SEC(".maps");

/* The pair of initial sequence numbers, from how far each direction has come. It holds at any time
 * of the connection, with Fast Open too: `bytes_acked` counts the SYN of a connecting socket and
 * not the one of an accepted socket, `bytes_received` never counts a SYN. A connecting socket whose
 * SYN has not been counted never sent one: it was restored by TCP_REPAIR, and where it began nobody
 * knows. */
static __always_inline void learn_isn(struct connection *connection, const struct tcp_sock *tcp)
{
    __u32 own_syn = connection->role == UT_ROLE_ACCEPT ? 1 : 0,
          acked = (__u32)GET(tcp, bytes_acked);
    connection->local_isn = GET(tcp, snd_una) - acked - own_syn;
    connection->remote_isn = GET(tcp, rcv_nxt) - (__u32)GET(tcp, bytes_received) - 1;
    connection->known_isn = own_syn != 0 || GET(tcp, bytes_acked) != 0;
}

/* ---- retransmits ---------------------------------------------------------------------------- */

/* The congestion state decides, because a pending probe timer may still stand when an ACK starts a
 * fast recovery. `icsk_retransmits` counts the timeouts in a row. */
static __always_inline ut_u32 retransmit_cause(const struct tcp_sock *tcp, ut_u8 state)
{
    const struct inet_connection_sock *icsk = &tcp->inet_conn;
    if (state == TCP_SYN_SENT || state == TCP_SYN_RECV)
        return UT_CAUSE_SYN;
    ut_u8 ca_state = GET_BITS(icsk, icsk_ca_state);
    if (ca_state == TCP_CA_RECOVERY)
        return UT_CAUSE_FAST;
    if (ca_state == TCP_CA_LOSS)
        return UT_CAUSE_TIMEOUT;
    if (GET(icsk, icsk_pending) == ICSK_TIME_LOSS_PROBE)
        return UT_CAUSE_TAIL_LOSS_PROBE;
    return GET(icsk, icsk_retransmits) != 0 ? UT_CAUSE_TIMEOUT : UT_CAUSE_UNKNOWN;
}

static __always_inline ut_u32 ticks_to_us(__u64 ticks)
{
    __u64 us = ticks * tick_ns / 1000;
    return us > 0xffffffffULL ? 0xffffffffU : (ut_u32)us;
}

static __always_inline ut_u32 write_path_state(struct ut_record_retransmit *record,
                                               const struct tcp_sock *tcp, const struct sock *sk)
{
    ut_u32 has = UT_HAS_RTO | write_path(&record->path, tcp, sk);
    record->rto_us = ticks_to_us(GET(tcp, inet_conn.icsk_rto));
    record->since_received_us = 0;
    if (record->cause != UT_CAUSE_SYN) {
        ut_u32 since = (ut_u32)bpf_jiffies64() - GET(tcp, inet_conn.icsk_ack.lrcvtime);
        record->since_received_us = ticks_to_us(since);
        has |= UT_HAS_SINCE_RECEIVED;
    }
    return has;
}

/* In the ring of what the socket had in flight when it began to send again. */
static __always_inline bool find_noted(struct sent_kept *kept, const struct tcp_sock *tcp,
                                       const struct ut_record_retransmit *record, __u64 ret_us[2])
{
    return kept != NULL && find_sent(&kept->ring, tcp, record->seq, record->end_seq, ret_us);
}

/* Where nobody noted down when the bytes were sent: from the stamps of the kernel's rate sampling
 * (b9f64820fb22, 4.9). A send with nothing in flight sets both to its own time, which no retransmit
 * changes; an ACK moves first_tx_mstamp to when the newest bytes that it covers were sent. So while
 * the two are still equal, the first unacknowledged byte was sent just then. Later what is in
 * flight was sent no earlier, as long as what was acknowledged came before it: with no holes, and
 * not as a retransmit. */
static __always_inline ut_u32 flight_begin(const struct ut_record_retransmit *record,
                                           const struct tcp_sock *tcp, __u64 retransmitted_us,
                                           __u64 *ret_us)
{
    if (!bpf_core_field_exists(tcp->first_tx_mstamp))
        return 0;
    *ret_us = GET(tcp, first_tx_mstamp);
    if (*ret_us == GET(tcp, delivered_mstamp) && record->seq == GET(tcp, snd_una))
        return UT_HAS_SINCE_SENT | UT_HAS_SENT_EXACT;
    return GET(tcp, sacked_out) == 0 && *ret_us > retransmitted_us ? UT_HAS_SINCE_SENT : 0;
}

/* A probe leaves the congestion state as it is, and overwrites the stamp. */
static __always_inline void note_begin(struct sock *sk, const struct tcp_sock *tcp,
                                       const struct ut_record_retransmit *record, __u64 sent_us)
{
    struct sent_ring *ring = has_socket_storage() ? begin_sent(sk, tcp) : NULL;
    if (ring != NULL && ring->count == 0)
        add_sent_range(ring, record->end_seq, sent_stamp(ring, sent_us));
}

/* By what is known of the program's own sends: at best when each of the bytes left, else that they
 * did not before they were handed over. */
static __always_inline ut_u32 by_sends(const struct sent_by *by, __u64 now_us, ut_u32 has,
                                       __u64 ret_us[2])
{
    if (by->first_left) {
        ret_us[0] = by->first_us;
        ret_us[1] = by->last_left ? by->last_us : now_us;
        return UT_HAS_SINCE_SENT | UT_HAS_SENT_EXACT;
    }
    if (!(has & UT_HAS_SINCE_SENT) || ret_us[0] < by->first_us)
        ret_us[0] = by->first_us;
    return UT_HAS_SINCE_SENT;
}

/* When the bytes were first sent, and by whom. */
static __always_inline ut_u32 write_sent(struct ut_record_retransmit *record, struct sock *sk,
                                         const struct tcp_sock *tcp, struct connection *connection)
{
    __u64 sent_us[2] = {}, now_us = bpf_ktime_get_ns() / 1000, retransmitted_us = now_us;
    record->since_sent_us = record->sent_within_us = record->thread = 0;
    if (record->cause == UT_CAUSE_SYN)
        return 0;
    if (connection != NULL) {
        retransmitted_us = connection->retransmitted_us;
        connection->retransmitted_us = now_us;
    }
    ut_u32 has = UT_HAS_SINCE_SENT | UT_HAS_SENT_EXACT;
    struct sent_kept *kept = find_kept(sk);
    struct sent_by by = {};
    bool noted = find_noted(kept, tcp, record, sent_us);
    if (kept != NULL && find_send(&kept->sends, tcp, record->seq, record->bytes, now_us, &by))
        record->thread = by.thread;
    if (!noted) {
        has = flight_begin(record, tcp, retransmitted_us, sent_us);
        if (has & UT_HAS_SENT_EXACT)
            note_begin(sk, tcp, record, sent_us[0]);
    } else if (sent_us[1] == 0) {
        sent_us[1] = now_us; /* at the latest */
    }
    if (!(has & UT_HAS_SENT_EXACT) && by.first_us != 0)
        has = by_sends(&by, now_us, has, sent_us);
    if (has == 0 || sent_us[0] == 0 || sent_us[0] > now_us || now_us - sent_us[0] > 0xffffffffULL)
        return 0;
    record->since_sent_us = (ut_u32)(now_us - sent_us[0]);
    if (sent_us[1] > sent_us[0])
        record->sent_within_us = (ut_u32)(sent_us[1] - sent_us[0]);
    return has;
}

SEC("raw_tp/tcp_retransmit_skb")
int BPF_PROG(tcp_retransmit_skb, struct sock *sk, struct sk_buff *skb)
{
    struct tcp_sock *tcp = tcp_sock_of(sk);
    if (tcp == NULL)
        return 0;
    __u64 owner = socket_cgroup(sk);
    struct ut_record_retransmit *record =
        begin_record(UT_RECORD_RETRANSMIT, sizeof(*record), owner, owner);
    if (record == NULL)
        return 0;
    struct connection *connection = find_connection(sk);
    ut_u32 has = write_socket(&record->socket, tcp, sk, connection);
    ut_u8 state = record->socket.state;
    if (state == TCP_SYN_SENT)
        record->socket.role = UT_ROLE_CONNECT;
    record->err = 0;
    if (retransmit_tells_error()) {
        record->err = (int)ctx[2];
        has |= UT_HAS_ERR;
    }
    const struct tcp_skb_cb *segment = (const void *)&skb->cb[0];
    record->seq = BPF_CORE_READ(segment, seq);
    record->end_seq = BPF_CORE_READ(segment, end_seq);
    record->segments = BPF_CORE_READ(segment, tcp_gso_segs);
    record->bytes = GET(skb, len);
    record->cause = retransmit_cause(tcp, state);
    has |= write_path_state(record, tcp, sk);
    has |= write_sent(record, sk, tcp, connection);
    record->header.has = has;
    end_record(record);
    return 0;
}

/* ---- SYN-ACK retransmits -------------------------------------------------------------------- */

/* How long the other end has waited: the request's timeout, or the time since the first SYN-ACK
 * where that is less, because a SYN that comes again is answered at once. */
static __always_inline ut_u32 synack_waited_us(const struct request_sock *request, ut_u32 *has)
{
    const struct tcp_request_sock *tcp = (const void *)request;
    __u64 timeout = request_timeout(request);
    __u64 first_us = BPF_CORE_READ(tcp, snt_synack);
    __u64 now_us = bpf_ktime_get_ns() / 1000;
    if (timeout == 0 || first_us == 0 || first_us > now_us)
        return 0;
    ut_u32 timeout_us = ticks_to_us(timeout);
    __u64 since_us = now_us - first_us;
    *has |= UT_HAS_RTO;
    return since_us < timeout_us ? (ut_u32)since_us : timeout_us;
}

static __always_inline void write_request(struct ut_record_retransmit *record,
                                          const struct request_sock *request)
{
    const struct tcp_request_sock *tcp = (const void *)request;
    const struct sock_common *common = &request->__req_common;
    struct ut_record_socket *out = &record->socket;
    ut_u32 has = UT_HAS_ISN;
    write_addresses(out, common);
    out->local_port = GET(common, skc_num);
    out->remote_port = bpf_ntohs(GET(common, skc_dport));
    out->state = TCP_NEW_SYN_RECV;
    out->role = UT_ROLE_ACCEPT;
    /* A request has a cookie only if somebody asked for it; the accepted socket takes it over. */
    out->cookie = (__u64)GET(common, skc_cookie.counter);
    if (out->cookie != 0)
        has |= UT_HAS_COOKIE;
    __u64 netns = 0;
    if (netns_cookie(common, &netns))
        has |= UT_HAS_NETNS;
    out->netns_cookie = netns;
    out->local_isn = BPF_CORE_READ(tcp, snt_isn);
    out->remote_isn = BPF_CORE_READ(tcp, rcv_isn);
    record->seq = out->local_isn;
    record->end_seq = out->local_isn + 1;
    record->rto_us = synack_waited_us(request, &has);
    record->header.has |= has;
}

/* The other end's last step of the handshake came, and found the queue of finished ones full, as it
 * still is: that is why the SYN-ACK is sent again. */
static __always_inline void record_overflow(const struct sock *listener,
                                            const struct request_sock *request,
                                            const struct ut_record_retransmit *of, __u64 owner)
{
    const struct inet_request_sock *inet = (const void *)request;
    if (BPF_CORE_READ_BITFIELD_PROBED(inet, acked) == 0 ||
        GET(listener, sk_ack_backlog) <= GET(listener, sk_max_ack_backlog))
        return;
    struct ut_record_tcp *record =
        begin_record(UT_RECORD_LISTEN_OVERFLOW, sizeof(*record), owner, owner);
    if (record == NULL)
        return;
    __builtin_memset(&record->socket, 0, sizeof(*record) - sizeof(record->header));
    record->socket = of->socket;
    record->header.has = of->header.has & (UT_HAS_ISN | UT_HAS_COOKIE | UT_HAS_NETNS);
    end_record(record);
}

SEC("raw_tp/tcp_retransmit_synack")
int BPF_PROG(tcp_retransmit_synack, struct sock *listener, struct request_sock *request)
{
    __u64 owner = socket_cgroup(listener);
    struct ut_record_retransmit *record =
        begin_record(UT_RECORD_RETRANSMIT, sizeof(*record), owner, owner);
    if (record == NULL)
        return 0;
    __builtin_memset(&record->socket, 0, sizeof(*record) - sizeof(record->header));
    write_request(record, request);
    record->segments = 1;
    /* The tracepoint stands behind the check that the segment was sent. */
    record->header.has |= UT_HAS_ERR;
    record->cause = UT_CAUSE_SYN_ACK;
    record_overflow(listener, request, record, owner);
    end_record(record);
    return 0;
}

/* ---- the life of connections ---------------------------------------------------------------- */

/* Whether the record is on its way. */
static __always_inline bool record_connection(struct sock *sk, struct tcp_sock *tcp, __u32 change,
                                              int state, const struct connection *connection)
{
    __u64 owner = socket_cgroup(sk);
    struct ut_record_connection *record =
        begin_record(UT_RECORD_CONNECTION, sizeof(*record), owner, owner);
    if (record == NULL)
        return false;
    record->header.has = write_socket(&record->socket, tcp, sk, connection);
    record->socket.state = (ut_u8)state; /* the socket still holds the old one */
    record->change = change;
    record->reserved = 0;
    end_record(record);
    return true;
}

static __always_inline void on_established(struct sock *sk, struct tcp_sock *tcp, int old_state)
{
    struct connection fresh = {
        .role = old_state == TCP_SYN_SENT ? UT_ROLE_CONNECT : UT_ROLE_ACCEPT,
    };
    /* What connect() left stays: both ends may have connected at once (SYN_SENT, then SYN_RECV). */
    struct connection *connection = find_or_add_connection(sk, &fresh);
    if (connection == NULL)
        connection = &fresh;
    else if (connection->told)
        *connection = fresh; /* of an earlier socket at this address, whose close went unseen */
    learn_isn(connection, tcp);
    connection->told =
        record_connection(sk, tcp, UT_CONNECTION_OPENED, TCP_ESTABLISHED, connection);
}

static __always_inline void on_closed(struct sock *sk, struct tcp_sock *tcp, int old_state)
{
    if (old_state == TCP_LISTEN || old_state == TCP_CLOSE)
        return;
    struct connection *connection = find_connection(sk);
    if (old_state == TCP_SYN_RECV && connection == NULL)
        return; /* a request that the program has never seen */
    bool failed = old_state == TCP_SYN_SENT || old_state == TCP_SYN_RECV;
    record_connection(sk, tcp, failed ? UT_CONNECTION_FAILED : UT_CONNECTION_CLOSED, TCP_CLOSE,
                      connection);
}

SEC("raw_tp/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state, struct sock *sk, int old_state, int new_state)
{
    struct tcp_sock *tcp = tcp_sock_of(sk);
    if (tcp == NULL)
        return 0;
    if (old_state == TCP_ESTABLISHED)
        end_zero_window(tcp, sk);
    if (new_state == TCP_SYN_SENT) {
        struct connection fresh = {.role = UT_ROLE_CONNECT};
        struct connection *connection = find_or_add_connection(sk, &fresh);
        if (connection != NULL)
            *connection = fresh; /* the socket may have been connected before */
        record_connection(sk, tcp, UT_CONNECTION_CONNECTING, TCP_SYN_SENT, connection);
    } else if (new_state == TCP_ESTABLISHED &&
               (old_state == TCP_SYN_SENT || old_state == TCP_SYN_RECV)) {
        on_established(sk, tcp, old_state);
    } else if (new_state == TCP_CLOSE) {
        on_closed(sk, tcp, old_state);
        forget_connection(sk);
        end_alone(sk);
    }
    return 0;
}

/* ---- what was open before, or was not told ----------------------------------------------------
 */

static __always_inline bool port_key(struct listening_port *key, struct tcp_sock *tcp,
                                     const struct sock_common *common)
{
    key->netns_cookie = 0;
    netns_cookie(common, &key->netns_cookie);
    key->port = bpf_ntohs(GET(tcp, inet_conn.icsk_inet.inet_sport));
    return key->port != 0;
}

static __always_inline void write_snapshot(struct seq_file *seq, struct sock *sk,
                                           struct tcp_sock *tcp, struct connection *connection)
{
    struct ut_record_connection record = {
        .header =
            {
                .size = sizeof(record),
                .version = UT_RECORD_VERSION,
                .type = UT_RECORD_CONNECTION,
                .boot_ns = bpf_ktime_get_boot_ns(),
                .cgroup_id = socket_cgroup(sk),
            },
        .change = UT_CONNECTION_SNAPSHOT,
    };
    draw_socket_cookie(sk);
    record.header.has = write_socket(&record.socket, tcp, sk, connection);
    /* What does not fit is asked for again, so the socket counts as told only when it was. */
    if (bpf_seq_write(seq, &record, sizeof(record)) != 0)
        return;
    connection->told = 1;
    struct connection *kept = find_or_add_connection(sk, connection);
    if (kept == NULL)
        return;
    /* The rest is what other programs know of it, or are just finding out. */
    kept->role = connection->role;
    kept->local_isn = connection->local_isn;
    kept->remote_isn = connection->remote_isn;
    kept->known_isn = connection->known_isn;
    kept->told = 1;
}

/* Over the files of all tasks, because that reaches every network namespace. What was told already,
 * by inet_sock_set_state or under another task, is not told again. */
SEC("iter/task_file")
int snapshot(struct bpf_iter__task_file *ctx)
{
    struct file *file = ctx->file;
    if (file == NULL)
        return 0;
    struct socket *socket = bpf_sock_from_file(file);
    if (socket == NULL)
        return 0;
    struct sock *sk = socket->sk;
    if (sk == NULL)
        return 0;
    struct tcp_sock *tcp = tcp_sock_of(sk);
    struct listening_port key;
    if (tcp == NULL || !port_key(&key, tcp, &sk->__sk_common))
        return 0;
    __u8 state = GET(sk, __sk_common.skc_state);
    if (snapshot_pass == 0) {
        __u8 yes = 1;
        if (state == TCP_LISTEN)
            bpf_map_update_elem(&listening, &key, &yes, BPF_ANY);
        return 0;
    }
    if (state == TCP_LISTEN || state == TCP_CLOSE || state == TCP_SYN_SENT || state == TCP_SYN_RECV)
        return 0;
    struct connection connection = {
        .role = bpf_map_lookup_elem(&listening, &key) != NULL ? UT_ROLE_ACCEPT : UT_ROLE_CONNECT,
    };
    const struct connection *kept = find_connection(sk);
    if (kept != NULL && kept->told)
        return 0;
    if (kept != NULL && kept->role != UT_ROLE_UNKNOWN)
        connection.role = kept->role;
    learn_isn(&connection, tcp);
    write_snapshot(ctx->meta->seq, sk, tcp, &connection);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
