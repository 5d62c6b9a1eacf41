/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes between OpenSSL and a socket, without a buffer per connection. OpenSSL reads, by a BIO
 * of ours, straight from what the socket brought, and writes into one output buffer that all
 * connections of a worker share.
 *
 * Invariants: 1. the output buffer holds bytes of one connection (`holder`), or none; who writes
 * next moves what the socket has not taken into a block of the holder's own (`kept`); 2. a
 * connection's bytes leave in order: `kept`, then its part of the buffer; 3. both together are at
 * most UT_TLS_OUT_BYTES: more is an error of the writer's, which only a peer can bring about that
 * makes us answer and does not read.
 */
#ifndef UT_NET_TLS_CHANNEL_H
#define UT_NET_TLS_CHANNEL_H

#include <openssl/ssl.h>
#include <sys/uio.h>

#include "base/pool.h"
#include "base/slice.h"

enum {
    UT_TLS_RECORD = 16384, /* plain bytes of a record, at most (RFC 8446 5.1) */
    /* Four full records with what encryption adds. */
    UT_TLS_OUT_RECORDS = 4,
    UT_TLS_OUT_BYTES = UT_TLS_OUT_RECORDS * (UT_TLS_RECORD + 256),
    /* The longest input at once: the worker's read buffer. What it decrypts to is no longer, but
     * for a record that began before. */
    UT_TLS_IN_BYTES = 256 << 10,
    UT_TLS_PLAIN_BYTES = UT_TLS_IN_BYTES + UT_TLS_RECORD,
};

struct ut_tls_port; /* a connection's end of the channel */

struct ut_tls_channel {
    BIO_METHOD *method;
    struct ut_pool *pool;
    struct ut_tls_port *holder;
    size_t start, end; /* of the holder's bytes in `out` */
    uint8_t out[UT_TLS_OUT_BYTES];
    uint8_t record[UT_TLS_RECORD];     /* small runs are gathered here before they are encrypted */
    uint8_t plain[UT_TLS_PLAIN_BYTES]; /* what was decrypted, while it is handed on */
};

struct ut_tls_port {
    struct ut_tls_channel *channel;
    ut_slice input; /* of the peer, while it is being read */
    struct ut_tls_kept *kept;
};

/* NULL: out of memory. The pool outlives it; so does it all its ports. */
struct ut_tls_channel *ut_tls_channel_new(struct ut_pool *pool);
void ut_tls_channel_free(struct ut_tls_channel *channel); /* NULL is fine */

/* A BIO that reads the port's input and writes its output; NULL: out of memory. */
BIO *ut_tls_port_bio(struct ut_tls_port *port);
/* Lets go of what has not left. */
void ut_tls_port_done(struct ut_tls_port *port);

/* Appends to the port's output. false: there is no room. */
bool ut_tls_port_write(struct ut_tls_port *port, const void *bytes, size_t size) UT_MUST_USE;
/* What is to leave next, into at most two runs; returns their number. */
int ut_tls_port_peek(const struct ut_tls_port *port, struct iovec runs[2]);
void ut_tls_port_consume(struct ut_tls_port *port, size_t bytes);
/* Bytes that have not left. */
size_t ut_tls_port_bytes(const struct ut_tls_port *port);

#endif
