/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to one backend: one connection that takes calls, opened when there is something to send,
 * with a growing pause between attempts; and older ones that got GOAWAY and only finish what they
 * have. A connection on which an answer is overdue is probed with a PING; without an answer, and
 * without bytes leaving, it is given up.
 *
 * Invariants: 1. at most one connection is being opened and at most one takes calls; 2. a
 * connection that takes no calls and has none is closed; 3. the pause grows with each attempt that
 * brought no answered call, and begins anew with the first answer.
 *
 * States: idle → pause → connecting (→ securing) → open → idle; any → stopping → stopped.
 */
#ifndef UT_NET_LINK_H
#define UT_NET_LINK_H

#include "loop/worker.h"
#include "net/connector.h"
#include "net/endpoint.h"
#include "net/h2_client.h"
#include "net/stream.h"
#include "net/tls_end.h"

struct ut_link;
struct ut_link_connection;

struct ut_link_call {
    struct ut_h2_call call;
    struct ut_link_connection *connection; /* that it was submitted on; NULL: on none */
};

struct ut_link_options {
    const char *id; /* the exporter's, for metrics and the log */
    struct ut_endpoint_text endpoint;
    const struct ut_h2_header *headers;
    size_t header_count;
    struct ut_tls_end *tls;      /* NULL: cleartext */
    uint64_t connect_timeout_ns; /* for TCP, and again for a TLS handshake */
    struct ut_link_keepalive {
        uint64_t time_ns; /* of silence, after which a PING goes; 0: never */
        uint64_t timeout_ns;
        bool permit_without_stream; /* also where no answer is waited for */
    } keepalive;
    int number; /* where there are several of one exporter, for metrics; -1: it is the only one */
    /* Something has changed: submit what waits, and ask for a connection if that fails. */
    void (*on_ready)(struct ut_link *link);
    /* Nothing of the link is in use any more, after ut_link_stop. */
    void (*on_stopped)(struct ut_link *link);
};

struct ut_link {
    struct ut_worker *worker;
    struct ut_link_options options;
    struct ut_connector connector;
    struct ut_timer pause;
    struct ut_deferred stopped;
    struct ut_link_connection *connections; /* all that are not freed */
    struct ut_link_connection *current;     /* the one that takes calls, or NULL */
    struct ut_link_connection *securing;    /* the one whose TLS handshake is under way, or NULL */
    char address[UT_ADDRESS_TEXT]; /* where the endpoint is, numeric; "": as its name says */
    uint32_t connection_count;
    uint32_t failures;      /* attempts in a row that brought no answer */
    uint64_t random;        /* state of the jitter */
    uint64_t next_start_ns; /* not before then is a connection opened */
    bool stopping;
    uint64_t *connects, *connect_failures, *sent_bytes; /* counters */
    char trouble[448]; /* why there is no connection, for people; "" where there is one */
};

/* Registers the metrics; opens nothing. */
void ut_link_init(struct ut_link *link, struct ut_worker *worker,
                  const struct ut_link_options *options);
/* It never connected, or has stopped. */
void ut_link_done(struct ut_link *link);

/* Sees to it that there is a connection; on_ready follows. */
void ut_link_connect(struct ut_link *link);
/* Whether attempts to connect have failed, and the next one is some time off. */
bool ut_link_rests(const struct ut_link *link);
/* 0 and the call is taken (its `done` comes as h2_client.h says), or -EAGAIN where no connection
 * takes calls now. */
int ut_link_submit(struct ut_link *link, struct ut_link_call *call) UT_MUST_USE;
/* Connections go to this address of the endpoint from now on; the one that is open elsewhere takes
 * no more calls. With "", as at the beginning, to any that its name has. on_ready may come in here.
 */
void ut_link_move(struct ut_link *link, const char *address);
/* The connection takes no more calls and is closed when it has none; the next call opens another.
 */
void ut_link_renew(struct ut_link *link);
/* Its answer is overdue: cancels the call and looks after the connection. `done` may come in here.
 */
void ut_link_cancel(struct ut_link *link, struct ut_link_call *call);
/* The call, just done, was answered: the backend is there. */
void ut_link_praise(struct ut_link *link, const struct ut_link_call *call);
/* Closes everything at once; calls end as lost in here. on_stopped comes later. */
void ut_link_stop(struct ut_link *link);

#endif
