/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the programs that watch sockets share: what is kept of a connection, in its socket's own
 * storage where the kernel lets them, and how a record describes the socket and its path.
 */
#ifndef UT_BPF_SOCKET_H
#define UT_BPF_SOCKET_H

#include "output.bpf.h"

#include <bpf/bpf_endian.h>

#define ZERO_WINDOW_LEAST_NS 1000000 /* shorter ones are no stall that a span would feel */

struct connection {
    ut_u32 local_isn;
    ut_u32 remote_isn;
    ut_u8 role; /* enum ut_tcp_role */
    ut_u8 known_isn;
    ut_u8 told; /* user space was: that it opened, or by the snapshot */
    ut_u8 reserved[5];
    __u64 zero_window_boot_ns; /* since then bytes wait for the other end's window; 0: none do */
    __u64 retransmitted_us;    /* when it last sent something again, CLOCK_MONOTONIC; 0: never */
    __u64 episode_boot_ns;     /* when the loss recovery began that the kernel may undo; 0: none */
};

struct connections_map {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct connection);
};

extern struct connections_map connections SEC(".maps");

/* Where a program of a tracepoint cannot reach the sockets' own storage: by the socket's address,
 * until it closes. The least recently used one beyond is forgotten. */
struct connections_by_address_map {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 32768);
    __type(key, __u64);
    __type(value, struct connection);
};

extern struct connections_by_address_map connections_by_address SEC(".maps");

/* What is kept of the connection; NULL: nothing. */
static __always_inline struct connection *find_connection(struct sock *sk)
{
    if (has_socket_storage())
        return bpf_sk_storage_get(&connections, sk, NULL, 0);
    __u64 address = (__u64)sk;
    return bpf_map_lookup_elem(&connections_by_address, &address);
}

/* Likewise, but where nothing is kept yet `fresh` is from now on. NULL: there is no room. */
static __always_inline struct connection *find_or_add_connection(struct sock *sk,
                                                                 struct connection *fresh)
{
    if (has_socket_storage())
        return bpf_sk_storage_get(&connections, sk, fresh, BPF_SK_STORAGE_GET_F_CREATE);
    __u64 address = (__u64)sk;
    bpf_map_update_elem(&connections_by_address, &address, fresh, BPF_NOEXIST);
    return bpf_map_lookup_elem(&connections_by_address, &address);
}

/* The socket is closed. Its own storage goes with it. */
static __always_inline void forget_connection(struct sock *sk)
{
    __u64 address = (__u64)sk;
    if (!has_socket_storage())
        bpf_map_delete_elem(&connections_by_address, &address);
}

static __always_inline void write_v4(ut_u8 out[16], __be32 address)
{
    __u32 *words = (__u32 *)out;
    words[0] = 0;
    words[1] = 0;
    words[2] = bpf_htonl(0xffff);
    words[3] = address;
}

static __always_inline void write_v6(ut_u8 out[16], const struct in6_addr *address)
{
    __u32 *words = (__u32 *)out;
    words[0] = GET(address, in6_u.u6_addr32[0]);
    words[1] = GET(address, in6_u.u6_addr32[1]);
    words[2] = GET(address, in6_u.u6_addr32[2]);
    words[3] = GET(address, in6_u.u6_addr32[3]);
}

/* An IPv6 socket that speaks IPv4 holds its addresses v4-mapped already. */
static __always_inline void write_addresses(struct ut_record_socket *out,
                                            const struct sock_common *common)
{
    if (GET(common, skc_family) == AF_INET6) {
        write_v6(out->local_address, &common->skc_v6_rcv_saddr);
        write_v6(out->remote_address, &common->skc_v6_daddr);
    } else {
        write_v4(out->local_address, GET(common, skc_rcv_saddr));
        write_v4(out->remote_address, GET(common, skc_daddr));
    }
}

/* Fills `out`; returns the enum ut_has bits of what it could tell. */
static __always_inline ut_u32 write_socket(struct ut_record_socket *out, struct tcp_sock *tcp,
                                           struct sock *sk, const struct connection *connection)
{
    const struct sock_common *common = &sk->__sk_common;
    ut_u32 has = 0;
    write_addresses(out, common);
    /* skc_num is 0 again by the time a socket is closed; the port in the header template is not. */
    out->local_port = bpf_ntohs(GET(tcp, inet_conn.icsk_inet.inet_sport));
    out->remote_port = bpf_ntohs(GET(common, skc_dport));
    out->state = GET(common, skc_state);
    out->reserved[0] = 0;
    out->reserved[1] = 0;
    out->cookie = socket_cookie(sk);
    if (out->cookie != 0)
        has |= UT_HAS_COOKIE;
    __u64 netns = 0;
    if (netns_cookie(common, &netns))
        has |= UT_HAS_NETNS;
    out->netns_cookie = netns;
    out->role = connection != NULL ? connection->role : UT_ROLE_UNKNOWN;
    bool known_isn = connection != NULL && connection->known_isn;
    out->local_isn = known_isn ? connection->local_isn : 0;
    out->remote_isn = known_isn ? connection->remote_isn : 0;
    return known_isn ? has | UT_HAS_ISN : has;
}

/* Bytes a second of the kernel's latest sample; 0: there was none. */
static __always_inline ut_u32 delivery_rate(const struct tcp_sock *tcp)
{
    __u64 interval_us = GET(tcp, rate_interval_us);
    if (interval_us == 0)
        return 0;
    __u64 rate = (__u64)GET(tcp, rate_delivered) * GET(tcp, mss_cache) * 1000000 / interval_us;
    return rate > 0xffffffffULL ? 0xffffffffU : (ut_u32)rate;
}

/* Fills `out`; returns the enum ut_has bits of what it could tell. */
static __always_inline ut_u32 write_path(struct ut_record_path *out, const struct tcp_sock *tcp,
                                         const struct sock *sk)
{
    ut_u32 has = UT_HAS_CWND | UT_HAS_WMEM;
    out->srtt_us = GET(tcp, srtt_us) >> 3;
    if (out->srtt_us != 0)
        has |= UT_HAS_SRTT;
    out->min_rtt_us = GET(tcp, rtt_min.s[0].v);
    if (out->min_rtt_us != 0 && out->min_rtt_us != 0xffffffffU)
        has |= UT_HAS_MIN_RTT;
    out->cwnd = GET(tcp, snd_cwnd);
    out->wmem_alloc = (ut_u32)GET(sk, sk_wmem_alloc.refs.counter);
    out->delivery_rate = delivery_rate(tcp);
    if (out->delivery_rate != 0)
        has |= UT_HAS_DELIVERY_RATE;
    return has;
}

/* A record of a socket that is no retransmit; NULL where there is no room. */
static __always_inline struct ut_record_tcp *begin_tcp_record(__u32 type, struct tcp_sock *tcp,
                                                              struct sock *sk)
{
    __u64 owner = socket_cgroup(sk);
    struct ut_record_tcp *record = begin_record(type, sizeof(*record), owner, owner);
    if (record == NULL)
        return NULL;
    struct connection *connection = find_connection(sk);
    ut_u32 has = write_socket(&record->socket, tcp, sk, connection);
    if (record->socket.state == TCP_SYN_SENT)
        record->socket.role = UT_ROLE_CONNECT;
    record->header.has = has | write_path(&record->path, tcp, sk);
    record->ns = 0;
    record->reserved = 0;
    record->bytes = 0;
    record->detail = 0;
    return record;
}

/* The other end's window opens, or nothing can wait for it any more. */
static __always_inline void end_zero_window(struct tcp_sock *tcp, struct sock *sk)
{
    struct connection *connection = find_connection(sk);
    if (connection == NULL || connection->zero_window_boot_ns == 0)
        return;
    __u64 ns = bpf_ktime_get_boot_ns() - connection->zero_window_boot_ns;
    connection->zero_window_boot_ns = 0;
    if (ns < ZERO_WINDOW_LEAST_NS)
        return;
    struct ut_record_tcp *record = begin_tcp_record(UT_RECORD_ZERO_WINDOW, tcp, sk);
    if (record == NULL)
        return;
    record->ns = ns;
    record->bytes = GET(tcp, write_seq) - GET(tcp, snd_nxt);
    end_record(record);
}

#endif
