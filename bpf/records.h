/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The records that the kernel programs write to the ring buffer: with trace_counters.h, the only
 * header that both worlds include. All numbers are in the machine's byte order, ports in host
 * order, addresses 16 bytes with IPv4 as ::ffff:a.b.c.d. Records are also what a capture file
 * holds. A field that the kernel could not tell has its `UT_HAS_…` bit clear; absent is never
 * written as 0 with the bit set.
 */
#ifndef UT_BPF_RECORDS_H
#define UT_BPF_RECORDS_H

#ifdef __BPF__
typedef unsigned char ut_u8;
typedef unsigned short ut_u16;
typedef unsigned int ut_u32;
typedef int ut_s32;
typedef unsigned long long ut_u64;
#else
#include <stdint.h>
typedef uint8_t ut_u8;
typedef uint16_t ut_u16;
typedef uint32_t ut_u32;
typedef int32_t ut_s32;
typedef uint64_t ut_u64;
#endif

#define UT_RECORD_VERSION 1
#define UT_CGROUP_PATH_MAX 512

enum ut_record_type {
    UT_RECORD_RETRANSMIT = 1,
    UT_RECORD_CONNECTION = 2,
    UT_RECORD_CGROUP = 3,
    UT_RECORD_OOM_KILL = 4,
    UT_RECORD_STALL = 5,
    UT_RECORD_RESET = 6,
    UT_RECORD_ZERO_WINDOW = 7,
    UT_RECORD_RECEIVE_DROP = 8,
    UT_RECORD_LISTEN_OVERFLOW = 9,
    UT_RECORD_UNDO = 10,
    UT_RECORD_TRACE_IDS = 11,
    UT_RECORD_ALLOCATED = 12,
    UT_RECORD_HELD_BACK = 13,
};

#define UT_RECORD_TYPES 14 /* one more than the highest, so that a type is an index */

enum ut_tcp_role { UT_ROLE_UNKNOWN, UT_ROLE_CONNECT, UT_ROLE_ACCEPT };

enum ut_tcp_cause {
    UT_CAUSE_UNKNOWN,
    UT_CAUSE_FAST,
    UT_CAUSE_TIMEOUT,
    UT_CAUSE_TAIL_LOSS_PROBE,
    UT_CAUSE_SYN,
    UT_CAUSE_SYN_ACK,
};

enum ut_has {
    UT_HAS_NETNS = 1,
    UT_HAS_RTO = 2,
    UT_HAS_SRTT = 4,
    UT_HAS_CWND = 8,
    UT_HAS_WMEM = 16,
    UT_HAS_ISN = 32, /* both initial sequence numbers */
    UT_HAS_COOKIE = 64,
    UT_HAS_ERR = 128, /* the kernel tells whether the retransmit was sent */
    UT_HAS_SINCE_RECEIVED = 256,
    UT_HAS_SINCE_SENT = 512,  /* the bytes were first sent no longer ago than since_sent_us … */
    UT_HAS_SENT_EXACT = 1024, /* … and no less long ago either */
    UT_HAS_SIZE = 2048,       /* how much memory the victim had */
    UT_HAS_MIN_RTT = 4096,
    UT_HAS_DELIVERY_RATE = 8192,
};

struct ut_record_header {
    ut_u16 size; /* of the whole record */
    ut_u8 version;
    ut_u8 type;
    ut_u32 has;       /* enum ut_has */
    ut_u64 boot_ns;   /* CLOCK_BOOTTIME */
    ut_u64 cgroup_id; /* cgroup v2 id of the socket's owner; 0: none known */
};

struct ut_record_socket {
    ut_u64 cookie;
    ut_u64 netns_cookie;
    ut_u8 local_address[16];
    ut_u8 remote_address[16];
    ut_u16 local_port, remote_port;
    ut_u8 role;  /* enum ut_tcp_role */
    ut_u8 state; /* TCP_ESTABLISHED = 1, … as in the kernel */
    ut_u8 reserved[2];
    ut_u32 local_isn;  /* the initial sequence number of this end */
    ut_u32 remote_isn; /* … and of the other */
};

/* What the kernel knew of the path then. */
struct ut_record_path {
    ut_u32 srtt_us;
    ut_u32 min_rtt_us; /* over the last minutes (tcp_min_rtt_wlen) */
    ut_u32 cwnd;
    ut_u32 wmem_alloc;    /* sk_wmem_alloc, bytes */
    ut_u32 delivery_rate; /* bytes a second, the latest sample; above 4 GiB/s: that */
};

struct ut_record_retransmit {
    struct ut_record_header header;
    struct ut_record_socket socket;
    ut_u32 seq, end_seq;
    ut_u32 bytes; /* payload; 0 for SYN-, SYN-ACK- and FIN-only segments */
    ut_u32 segments;
    ut_s32 err;            /* ≠ 0: not sent */
    ut_u32 cause;          /* enum ut_tcp_cause */
    ut_u32 rto_us;         /* the timeout that elapsed */
    ut_u32 sent_within_us; /* if exact: how long after the first byte the last was first sent */
    /* Since this socket last received data (icsk_ack.lrcvtime, in whole ticks): where requests and
     * answers alternate, the retransmitted bytes were sent after that. */
    ut_u32 since_received_us;
    /* Since the retransmitted bytes were first sent, the first of them if exact, to 0.1 ms. */
    ut_u32 since_sent_us;
    struct ut_record_path path;
    ut_u32 thread; /* that sent all of the bytes, as its own pid namespace numbers it; 0: unknown */
};

enum ut_reset { UT_RESET_SENT = 1, UT_RESET_RECEIVED = 2 };

enum ut_receive_drop {
    UT_DROP_RECEIVE_BUFFER = 1, /* the receive queue has no room */
    UT_DROP_BACKLOG = 2,        /* nor the one beside it, while a task holds the socket */
    UT_DROP_WINDOW = 3,         /* the other end sent although the window was shut */
};

/* All else that happens to a connection; by header.type: a reset; the other end's window stood at
 * zero while bytes waited to be sent; a segment found no room in the socket's own receive queue; a
 * finished handshake found none in the listener's queue; or the kernel found out that what it had
 * sent again was not missing. */
struct ut_record_tcp {
    struct ut_record_header header;
    struct ut_record_socket socket;
    ut_u64 ns;     /* for how long the window was shut; since when retransmits are undone */
    ut_u32 bytes;  /* of the dropped segment; that waited for the window */
    ut_u32 detail; /* enum ut_reset, enum ut_receive_drop */
    struct ut_record_path path;
    ut_u32 reserved;
};

#define UT_TRACE_IDS_MAX 8
struct ut_trace_id {
    ut_u8 trace_id[16];
    ut_u8 span_id[8];
    ut_u32 bytes;  /* of the segment, that belong to the request with these ids, or its answer */
    ut_u32 offset; /* of their first one, from the segment's */
};

/* Follows a retransmit's record where its bytes are of requests that named spans, or of answers. */
struct ut_record_trace_ids {
    struct ut_record_header header;
    ut_u64 cookie;     /* of the socket */
    ut_u32 seq, bytes; /* as in the retransmit's record */
    ut_u32 count;      /* of ids, 1 to UT_TRACE_IDS_MAX */
    ut_u32 more;       /* requests or answers of which there is no room to tell */
    struct ut_trace_id ids[UT_TRACE_IDS_MAX];
};

enum ut_connection_change {
    UT_CONNECTION_OPENED = 1,     /* established */
    UT_CONNECTION_CLOSED = 2,     /* an established one is gone */
    UT_CONNECTION_CONNECTING = 3, /* a connect() began (SYN_SENT); the local port may still be 0 */
    UT_CONNECTION_FAILED = 4,     /* it never became established */
    UT_CONNECTION_SNAPSHOT = 5,   /* was open when the programs were attached */
};

struct ut_record_connection {
    struct ut_record_header header;
    struct ut_record_socket socket;
    ut_u32 change, reserved; /* enum ut_connection_change */
};

enum ut_cgroup_change { UT_CGROUP_CREATED = 1, UT_CGROUP_REMOVED = 2 };

/* Of the cgroup v2 hierarchy only; header.cgroup_id names it. */
struct ut_record_cgroup {
    struct ut_record_header header;
    ut_u32 change;                 /* enum ut_cgroup_change */
    ut_u32 path_size;              /* bytes in path, no terminator; 0: not told */
    char path[UT_CGROUP_PATH_MAX]; /* from the hierarchy's root, "/a/b" */
};

/* The kernel killed a process for want of memory. header.cgroup_id is the victim's. */
struct ut_record_oom_kill {
    struct ut_record_header header;
    ut_u32 pid, reserved; /* the process, as the first pid namespace numbers it */
    ut_u64 bytes;         /* resident; as exact as the kernel's own per-CPU counting */
};

#define UT_STALL_SLOT_NS 100000000
#define UT_STALL_GLOBAL 0xffffffff /* the machine was short of memory, not a cgroup */

/* The time that the tasks of one cgroup spent on reclaiming memory before they got some, summed
 * over one slot of time: several tasks together may have spent more than the slot is long.
 * header.boot_ns is the slot's start. These come from a table, not through the ring. */
struct ut_record_stall {
    struct ut_record_header header;
    ut_u64 ns;
    ut_u32 first_ns, last_ns; /* all of it lies between these, counted from the slot's start */
    ut_u32 level, reserved;   /* how far above the cgroup the limit stands, 0: its own; GLOBAL */
};

/* What the tasks of one cgroup were given in a window from header.boot_ns on; from a table as well.
 * Behind all those of a window comes one without a cgroup. */
struct ut_record_allocated {
    struct ut_record_header header;
    ut_u64 bytes, window_ns;
};

/* Records of header.cgroup_id are held back by their rate limit from header.boot_ns on. For so long
 * at least it is not told again; once for connections and once for all other types. */
#define UT_HELD_BACK_NS 100000000
struct ut_record_held_back {
    struct ut_record_header header;
    ut_u32 type, reserved; /* enum ut_record_type */
};

/* The types of which that is told. Resets and the like are many where somebody makes them, and say
 * nothing of what else happened; cgroups are found by reading their tree. */
#define UT_RECORD_HELD_BACK_IS_TOLD(type)                                                          \
    ((type) == UT_RECORD_RETRANSMIT || (type) == UT_RECORD_CONNECTION ||                           \
     (type) == UT_RECORD_OOM_KILL || (type) == UT_RECORD_TRACE_IDS)

/* What the programs counted, per CPU; the arrays are indexed by record type. Every event is in
 * exactly one of recorded, limited and lost. */
struct ut_kernel_counters {
    ut_u64 recorded[UT_RECORD_TYPES];
    ut_u64 limited[UT_RECORD_TYPES]; /* held back by the rate limit of their cgroup */
    ut_u64 lost[UT_RECORD_TYPES];    /* found no room in the ring */
    ut_u64 unowned;                  /* among the recorded: without a cgroup */
};

#endif
