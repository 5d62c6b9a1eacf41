/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all connections of a listener share under TLS: certificate, key, client CA, the keys of its
 * session tickets. Immutable but for the ticket keys' age: a change of files makes a new context
 * with ticket keys of its own, so no session from before the change is resumed; connections keep
 * the context they began with.
 *
 * TLS 1.2 and 1.3; no renegotiation, no compression, no early data. With a client CA every client
 * needs a certificate of it, and a session is resumed only while that certificate is valid.
 */
#ifndef UT_NET_TLS_CONTEXT_H
#define UT_NET_TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "base/check.h"
#include "net/tls_settings.h"

enum {
    UT_TLS_ERROR_TEXT = 224,
    UT_TLS_DIGEST = 32,
    /* A ticket is good for that long; a key gives tickets for that long, and is known for twice. */
    UT_TLS_TICKET_S = 3600,
};

struct ut_tls_error {
    const char *key; /* of the setting that is wrong, "cert_file"; "": none of them alone */
    char text[UT_TLS_ERROR_TEXT];
    /* It may be right in a moment: files that are being replaced do not match, or are half there.
     */
    bool passing;
};

struct ut_tls_ticket_key {
    uint8_t name[16], cipher[32], mac[32];
};

struct ut_tls_context {
    SSL_CTX *ssl;
    atomic_uint references;
    uint8_t digest[UT_TLS_DIGEST]; /* of all files */
    int64_t not_after_s;           /* UNIX time, of the certificate */
    EVP_CIPHER *ticket_cipher;
    struct ut_tls_ticket_key ticket_keys[2]; /* the newest first */
};

/* Reads the files of `settings` (blocking: they are small). 0, or a negative errno with *error. */
int ut_tls_context_new(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                       struct ut_tls_error *error) UT_MUST_USE;
/* The same, but -EALREADY where the files are what `known` was made of. */
int ut_tls_context_renew(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                         const struct ut_tls_context *known,
                         struct ut_tls_error *error) UT_MUST_USE;
struct ut_tls_context *ut_tls_context_ref(struct ut_tls_context *context);
void ut_tls_context_unref(struct ut_tls_context *context); /* NULL is fine */

/* A new key for tickets, the one before stays known: due every UT_TLS_TICKET_S. */
void ut_tls_context_rotate(struct ut_tls_context *context);

#endif
