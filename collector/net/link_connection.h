/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of a link, shared by link.c, which opens and ends it, and link_secure.c, which
 * puts TLS between its HTTP/2 and its socket. */
#ifndef UT_NET_LINK_CONNECTION_H
#define UT_NET_LINK_CONNECTION_H

#include "loop/patience.h"
#include "net/link.h"
#include "net/tls_end.h"

struct ut_link_connection {
    struct ut_link *link;
    struct ut_link_connection *previous, *next;
    struct ut_stream stream;
    struct ut_h2_client client;
    bool secure;
    struct ut_tls tls; /* if secure */
    /* Before it takes calls: bounds the handshake. Then: an answer is overdue. */
    struct ut_patience probe;
    uint64_t probe_bytes_out; /* `bytes_out` of the stream when the probe began */
    uint64_t probe_bytes_in;  /* … and `bytes_in` when the PING was sent */
    uint32_t probe_turns;     /* that are left to a peer from which nothing comes */
    bool answered;            /* at least one call */
    bool given_up;            /* it takes no more calls by our own will */
    struct ut_patience keepalive;
    uint64_t keepalive_bytes_in; /* `bytes_in` of the stream when that began */
    bool keepalive_asked;        /* … for the answer to a PING */
    char where[UT_CONNECTOR_WHERE];
};

/* link.c: plain bytes, as in ut_stream_ops. */
int ut_link_connection_receive(struct ut_link_connection *connection, ut_slice bytes);
void ut_link_connection_consumed(struct ut_link_connection *connection, size_t bytes);
/* It takes calls from now on. */
void ut_link_connection_ready(struct ut_link_connection *connection);

/* link_secure.c: TLS. Open: 0 or -ENOMEM. */
int ut_link_secure_open(struct ut_link_connection *connection) UT_MUST_USE;
/* The stream has ended with `error`. Where TLS is why: true, and what to do in `out`. */
bool ut_link_secure_ended(struct ut_link_connection *connection, int error, char *out, size_t size);
int ut_link_secure_receive(struct ut_link_connection *connection, ut_slice bytes) UT_MUST_USE;
int ut_link_secure_pending(struct ut_link_connection *connection, struct iovec *runs,
                           size_t room) UT_MUST_USE;

#endif
