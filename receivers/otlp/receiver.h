/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the otlp receiver, from the listeners (otlp.c) over connections (connection.c;
 * deadlines.c bounds them in time, sources.c each address's), TLS where it is configured (secure.c)
 * and the protocols that they speak (protocol.c) to export calls (export_call.c).
 *
 * Each port takes what comes: gRPC, and OTLP/HTTP over HTTP/1.1 or HTTP/2. A port's name and limits
 * are those of its section in the config; a request is counted under what it is.
 *
 * Invariant: the receiver outlives its connections and its pushes; stop ends when both are gone.
 */
#ifndef UT_OTLP_RECEIVER_RECEIVER_H
#define UT_OTLP_RECEIVER_RECEIVER_H

#include "access.h"
#include "base/clock.h"
#include "component.h"
#include "counters.h"
#include "net/h2_calls.h"
#include "net/http1.h"
#include "net/listener.h"
#include "net/rate_floor.h"
#include "net/stream.h"
#include "net/tls_end.h"
#include "settings.h"
#include "signals.h"
#include "sources.h"

struct ut_otlp_connection;
struct ut_otlp_receiver;

extern const struct ut_receiver_type ut_receiver_otlp;

/* A listener with its limits. */
struct ut_otlp_port {
    struct ut_otlp_receiver *receiver;
    enum ut_transport transport; /* as in the config */
    const char *endpoint;
    bool configured, listening;
    struct ut_tls_settings tls_own;             /* the same, with what auth makes of it */
    const struct ut_tls_settings *tls_settings; /* NULL: without TLS */
    struct ut_tls_end tls;
    struct ut_listener listener;
    const struct ut_otlp_access_settings *access_settings;
    struct ut_otlp_access access; /* of a unix socket */
    struct ut_otlp_auth auth;
    struct ut_service service;
    struct ut_h2_limits h2_limits;
    struct ut_http1_limits http1_limits;
    uint64_t connections_max, connections_per_address;
    uint64_t requests_max;         /* of a connection; 0: any number */
    uint64_t handshake_timeout_ns; /* for the first bytes, a header, an HTTP/2 handshake */
    uint64_t read_timeout_ns;      /* for a body */
    uint64_t write_timeout_ns;     /* for an answer to be taken */
    struct ut_rate_floor_limits rate;
    uint64_t idle_ns, age_ns;              /* 0: none */
    uint64_t age_grace_ns;                 /* for requests in flight */
    uint64_t ping_after_ns, ping_grace_ns; /* of HTTP/2; ping_after_ns 0: none */
    uint32_t connection_count;
    struct ut_otlp_sources sources;
};

struct ut_otlp_receiver {
    struct ut_receiver base;
    struct ut_build build;
    const char *id;
    struct ut_build next; /* of a reload that is being made */
    struct ut_worker *worker;
    struct ut_push_target *target;
    struct ut_otlp_port ports[UT_TRANSPORTS];
    struct ut_otlp_counters counters[UT_TRANSPORTS];
    struct ut_inflates inflates;
    char http_codings_text[UT_OTLP_CODINGS_TEXT];
    struct ut_http_cors cors;
    char cors_headers[UT_OTLP_CORS_HEADERS_MAX + 1];
    struct ut_otlp_signals signals;
    enum ut_otlp_invalid_utf8 invalid_utf8;
    struct ut_otlp_connection *connections;
    /* Before and after reloads, while they have connections or are the one in force. */
    struct ut_otlp_receiver *former, *latter;
    uint32_t pushes; /* not answered yet */
    bool stopping;   /* it goes with its last connection */
    bool abandoned;  /* freed while a listener of a failed start is still closing */
    void (*stopped)(void *arg);
    void *stopped_arg;
};

enum { UT_OTLP_OPENING = 4 }; /* bytes that tell HTTP/2 from HTTP/1 */

struct ut_otlp_connection {
    struct ut_stream stream;
    struct ut_tls *tls; /* NULL: without; its names say who an authenticated client is */
    struct ut_calls calls;
    const struct ut_otlp_protocol *protocol; /* NULL: the first bytes are not here yet */
    union {
        struct ut_h2_calls h2;
        struct ut_http1 http1;
        uint8_t opening[UT_OTLP_OPENING]; /* while protocol is NULL */
    };
    uint8_t opening_size;
    struct ut_otlp_port *port;
    struct ut_otlp_receiver *receiver;
    struct ut_otlp_connection *previous, *next;
    struct ut_otlp_source *source;
    struct ut_timer timer;
    struct ut_sender sender;
    struct ut_endpoint peer;       /* of TCP */
    struct ut_unix_peer unix_peer; /* where the sender is one */
    /* Monotonic: when it was opened; when bytes last came; when a call was last answered, which is
     * what counts for idleness: a client's PINGs do not keep a connection. */
    uint64_t opened_ns, heard_ns, answered_ns;
    uint64_t pinged_ns; /* when it was asked for a sign of life; 0: never */
    uint64_t requests;
    bool excused;  /* something was due at the last look, and we were late */
    unsigned told; /* bits by enum ut_refusal: signals of which its sender was told */
    struct ut_rate_floor floor;
    uint64_t output_since_ns, output_mark; /* the socket takes nothing since then; that
                                            * byte of it tells the contrary */
    uint64_t drain_ns, drain_end_ns; /* when the end was announced; 0: not. When it is enforced */
};

/* What a connection waits for; since when, monotonic. UINT64_MAX: it does not. */
struct ut_otlp_progress {
    uint64_t handshake_ns, header_ns, body_ns;
    uint64_t answer_ns; /* the peer does not let it out */
    const struct ut_h2_output *output;
};

struct ut_otlp_deadline {
    uint64_t due_ns; /* UINT64_MAX: none */
    enum ut_otlp_limit limit;
};

/* What a connection speaks (protocol.c): HTTP/2 or HTTP/1.1. */
struct ut_otlp_protocol {
    int (*init)(struct ut_otlp_connection *connection);
    void (*done)(struct ut_otlp_connection *connection);
    int (*receive)(struct ut_otlp_connection *connection, ut_slice bytes);
    int (*pending)(struct ut_otlp_connection *connection, struct iovec *runs, size_t room);
    void (*consumed)(struct ut_otlp_connection *connection, size_t bytes);
    /* Announces the end; at the second call it is final. */
    void (*drain)(struct ut_otlp_connection *connection);
    /* Asks for a sign of life; NULL: it cannot. */
    void (*ping)(struct ut_otlp_connection *connection);
    /* Fills what is not UINT64_MAX. */
    void (*progress)(struct ut_otlp_connection *connection, uint64_t now_ns,
                     struct ut_otlp_progress *out);
};

/* NULL with *ret_wrong unset: more bytes are needed to tell; with it set: neither of them. */
const struct ut_otlp_protocol *ut_otlp_protocol_of(ut_slice opening, bool *ret_wrong);
/* What was agreed on in a TLS handshake; NULL: the first bytes tell. */
const struct ut_otlp_protocol *ut_otlp_protocol_agreed(enum ut_tls_protocol agreed);

/* peer.c: the peer as a log line has it, "peer=10.0.0.7 port=4711" or "peer=unix pid=7 uid=0";
 * returns `out`. */
#define UT_OTLP_PEER_TEXT (UT_ADDRESS_TEXT + 32)
const char *ut_otlp_peer_text(char out[UT_OTLP_PEER_TEXT],
                              const struct ut_otlp_connection *connection);
/* What tells this sender from others: its address or, on a unix socket, its cgroup and user. */
struct ut_address ut_otlp_peer_key(const struct ut_otlp_connection *connection);
/* How a body of the connection on `fd` reaches us; `peer` is NULL where it is TCP. */
struct ut_sender ut_otlp_peer_sender(int fd, const struct ut_unix_peer *peer,
                                     const struct ut_unix_allowed *forwarders);

/* What a stop gives to requests in flight. */
#define UT_OTLP_STOP_GRACE_NS (5 * UT_NS_PER_S)

/* connection.c: takes the accepted socket over. */
void ut_otlp_connection_open(struct ut_otlp_port *port, int fd, const struct ut_endpoint *peer);
/* Lets requests in flight finish, for `grace_ns` at most, then ends the connection. */
void ut_otlp_connection_drain(struct ut_otlp_connection *connection, uint64_t grace_ns);
/* A request was answered. */
void ut_otlp_connection_answered(struct ut_otlp_connection *connection);
/* Counts and logs that the connection reached a limit. */
void ut_otlp_connection_count(struct ut_otlp_connection *connection, enum ut_otlp_limit limit);
/* The plain bytes of a connection, for secure.c; as in ut_stream_ops. */
int ut_otlp_connection_receive(struct ut_otlp_connection *connection, ut_slice bytes);
int ut_otlp_connection_pending(struct ut_otlp_connection *connection, struct iovec *runs,
                               size_t room);
void ut_otlp_connection_consumed(struct ut_otlp_connection *connection, size_t bytes);

/* secure.c: TLS between a connection and its stream. */
int ut_otlp_secure_open(struct ut_otlp_connection *connection) UT_MUST_USE;  /* 0 or -ENOMEM */
void ut_otlp_secure_close(struct ut_otlp_connection *connection, int error); /* of its end */
int ut_otlp_secure_receive(struct ut_otlp_connection *connection, ut_slice bytes) UT_MUST_USE;
int ut_otlp_secure_pending(struct ut_otlp_connection *connection, struct iovec *runs,
                           size_t room) UT_MUST_USE;

/* signals.c: a request with metrics or logs was refused; names the sender where that is new. */
void ut_otlp_signal_refused(struct ut_otlp_connection *connection, enum ut_transport transport,
                            enum ut_refusal why, const char *text);

/* refusals.c: what is said of it in the log. A request that is not taken; one that does not parse;
 * spans of one that are left out; a connection that was closed when it came, `error` being 0 or
 * why it could not be opened. */
void ut_otlp_log_refused(const struct ut_otlp_connection *connection, enum ut_transport transport,
                         enum ut_refusal why, const char *reason);
void ut_otlp_log_malformed(const struct ut_call *call, const char *reason);
void ut_otlp_log_left_out(const struct ut_call *call, uint32_t spans, const char *reason);
void ut_otlp_log_turned_away(const struct ut_otlp_port *port, enum ut_otlp_limit limit, int error);

/* deadlines.c: what is due next, by what goes on now. */
struct ut_otlp_deadline ut_otlp_deadline_of(struct ut_otlp_connection *connection, uint64_t now_ns);
/* The longest that a connection may be left alone: a request may begin right after a look at it. */
uint64_t ut_otlp_longest_look(const struct ut_otlp_port *port);

/* export_call.c: the two ends of a call that ut_service names. */
void ut_otlp_export(struct ut_call *call);
void ut_otlp_export_abandon(struct ut_call *call);

/* otlp.c: a connection or a push is gone; ends the stop where it was the last. */
void ut_otlp_receiver_settle(struct ut_otlp_receiver *receiver);

static inline struct ut_otlp_connection *ut_otlp_connection_of(struct ut_calls *calls)
{
    return UT_CONTAINER_OF(calls, struct ut_otlp_connection, calls);
}

static inline struct ut_otlp_counters *ut_otlp_counters_of(const struct ut_call *call)
{
    struct ut_otlp_receiver *receiver = ut_otlp_connection_of(call->calls)->receiver;
    return &receiver->counters[call->ops->transport];
}

#endif
