/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all connections of a listener, or to a backend, share under TLS: certificate, key, CA, what
 * sessions are resumed with. A change of files makes a new context, so no session from before the
 * change is resumed; connections keep the context they began with.
 *
 * TLS 1.2 and 1.3; no renegotiation, no compression, no early data. A server with a client CA lets
 * in nobody without a certificate of it; it prefers HTTP/2 and speaks HTTP/1.1. A client insists on
 * HTTP/2, and on a certificate of its CA (who it is for is the connection's to check).
 */
#ifndef UT_NET_TLS_CONTEXT_H
#define UT_NET_TLS_CONTEXT_H

#include <stdatomic.h>

#include "net/tls_settings.h"
#include "net/tls_tickets.h"

enum { UT_TLS_ERROR_TEXT = 224, UT_TLS_DIGEST = 32 };

struct ut_tls_error {
    const char *key; /* of the setting that is wrong, "cert_file"; "": none of them alone */
    char text[UT_TLS_ERROR_TEXT];
    /* It may be right in a moment: files that are being replaced do not match, or are half there.
     */
    bool passing;
};

struct ut_tls_context {
    SSL_CTX *ssl;
    enum ut_tls_role role;
    atomic_uint references;
    uint8_t digest[UT_TLS_DIGEST]; /* of all files */
    int64_t not_after_s;           /* UNIX time, of the own certificate; 0: there is none */
    struct ut_tls_tickets tickets; /* of a server */
    /* Of a client: the newest session, for its next connection to the same host; or NULL. */
    SSL_SESSION *session;
    const char *session_host;
};

/* Reads the files of `settings` (blocking: they are small). 0, or a negative errno with *error. */
int ut_tls_context_new(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                       enum ut_tls_role role, struct ut_tls_error *error) UT_MUST_USE;
/* The same again, but -EALREADY where the files are what `known` was made of. */
int ut_tls_context_renew(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                         const struct ut_tls_context *known,
                         struct ut_tls_error *error) UT_MUST_USE;
struct ut_tls_context *ut_tls_context_ref(struct ut_tls_context *context);
void ut_tls_context_unref(struct ut_tls_context *context); /* NULL is fine */

#endif
