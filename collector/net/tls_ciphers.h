/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cipher suites by their IANA names, as configurations have them, in OpenSSL's words. Only suites
 * with forward secrecy (ECDHE) are taken, as the Collector does.
 */
#ifndef UT_NET_TLS_CIPHERS_H
#define UT_NET_TLS_CIPHERS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/field.h"

/* Whether `name` can be used here; if not, why, in `text`. */
bool ut_tls_cipher_check(const char *name, char *text, size_t size);

/* OpenSSL's lists of `names` (checked); a version that has none of them: the default. */
struct ut_tls_cipher_lists {
    char tls_1_2[2048], tls_1_3[2048];
};

int ut_tls_cipher_lists(struct ut_tls_cipher_lists *ret, const struct ut_strings *names);
int ut_tls_ciphers_set(SSL_CTX *ssl, const struct ut_strings *names); /* 0, -EINVAL, -ENOMEM */

#endif
