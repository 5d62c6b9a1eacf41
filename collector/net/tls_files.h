/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PEM texts behind a `tls:` section, read whole, so that what is compared, and what is used,
 * are the same bytes. Keys are wiped when they are let go.
 */
#ifndef UT_NET_TLS_FILES_H
#define UT_NET_TLS_FILES_H

#include <openssl/ssl.h>

#include "net/tls_context.h"

enum { UT_TLS_FILE_MAX = 1 << 20 }; /* bytes */

struct ut_tls_pem {
    const char *key;  /* of the setting */
    const char *name; /* of the file, or of the setting */
    uint8_t *data;
    size_t size;
};

struct ut_tls_files {
    struct ut_tls_pem cert, key, ca; /* data NULL: not configured */
};

/* 0, or a negative errno with *error. To be let go by ut_tls_files_done in either case. */
int ut_tls_files_read(struct ut_tls_files *files, const struct ut_tls_settings *settings,
                      enum ut_tls_role role, struct ut_tls_error *error) UT_MUST_USE;
void ut_tls_files_done(struct ut_tls_files *files);
int ut_tls_files_digest(const struct ut_tls_files *files, uint8_t digest[UT_TLS_DIGEST]);

/* Puts certificate, chain and key into `ssl`. */
int ut_tls_files_use_certificate(const struct ut_tls_files *files, SSL_CTX *ssl,
                                 struct ut_tls_error *error) UT_MUST_USE;
/* Makes the CA the peer's: whoever is verified needs a certificate of it. */
int ut_tls_files_use_ca(const struct ut_tls_files *files, SSL_CTX *ssl,
                        struct ut_tls_error *error) UT_MUST_USE;

#endif
