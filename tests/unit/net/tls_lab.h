/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's end under test and a client of OpenSSL's, in memory: the test moves the bytes between
 * them, in pieces of its choice. The server's protocol keeps what it is given and sends what the
 * test wants sent.
 */
#ifndef UT_TEST_TLS_LAB_H
#define UT_TEST_TLS_LAB_H

#include "certificates.h"
#include "net/tls.h"

enum { LAB_BYTES = 2 << 20 };

/* A folder with an authority's certificate (ca.pem) and a server's (server.pem, server.key). */
struct lab {
    char folder[64];
    char cert[96], key[96], ca[96]; /* paths */
    struct test_identity authority, server;
    struct ut_tls_settings settings;
    struct ut_pool pool;
    struct ut_tls_channel *channel;
    struct ut_tls_context *context;
};

void lab_open(struct lab *lab);
void lab_close(struct lab *lab);
/* Makes the context anew from the settings. */
void lab_renew(struct lab *lab);

struct pair {
    struct ut_tls tls;
    SSL *client;
    BIO *to_client, *from_client; /* memory */
    size_t piece;                 /* bytes moved at once; 0: all */
    int opened, error;            /* of ut_tls_receive, the first */
    uint8_t *got;                 /* by the server's protocol */
    size_t got_size;
    const uint8_t *out; /* what the server's protocol has pending */
    size_t out_size;
};

/* `tune` may be NULL; it changes the client's context. */
struct pair *pair_open(struct lab *lab, void (*tune)(SSL_CTX *client));
void pair_close(struct pair *pair);
/* Moves bytes until nothing moves; the client shakes hands and reads nothing else. */
void pair_move(struct pair *pair);
/* pair_move until the client is connected; whether it is. */
bool pair_shake(struct pair *pair);
void pair_move_in(struct pair *pair);  /* what the client has written, to the server */
void pair_move_out(struct pair *pair); /* what the server has pending, to the client */

#endif
