/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cipher suites by their IANA names, as configurations have them, in OpenSSL's words. Only suites
 * with forward secrecy (ECDHE) are taken, as the Collector does.
 */
#ifndef UT_NET_TLS_CIPHERS_H
#define UT_NET_TLS_CIPHERS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "config/field.h"

/* Whether `name` can be used here; if not, why, in `text`. */
bool ut_tls_cipher_check(const char *name, char *text, size_t size);
/* Sets the suites of both versions; a version that `names` (checked) has none of keeps the default.
 * 0 or -EINVAL. */
int ut_tls_ciphers_set(SSL_CTX *ssl, const struct ut_strings *names);

#endif
