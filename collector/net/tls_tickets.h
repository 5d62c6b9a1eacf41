/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a server's session tickets, and what OpenSSL asks about them. */
#ifndef UT_NET_TLS_TICKETS_H
#define UT_NET_TLS_TICKETS_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "base/check.h"

/* A ticket is good for that long; a key gives tickets for that long, and is known for twice. */
enum { UT_TLS_TICKET_S = 3600 };

struct ut_tls_ticket_key {
    uint8_t name[16], cipher[32], mac[32];
};

struct ut_tls_tickets {
    EVP_CIPHER *cipher;
    struct ut_tls_ticket_key keys[2]; /* the newest first */
};

/* Becomes the app data of `ssl`. A session is resumed only while the certificate that the client
 * opened it with is valid. 0 or -ENOMEM. */
int ut_tls_tickets_init(struct ut_tls_tickets *tickets, SSL_CTX *ssl) UT_MUST_USE;
void ut_tls_tickets_done(struct ut_tls_tickets *tickets); /* cleared is fine */
/* A new key for tickets, the one before stays known: due every UT_TLS_TICKET_S. */
void ut_tls_tickets_rotate(struct ut_tls_tickets *tickets);

#endif
