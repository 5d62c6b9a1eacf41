/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and certificates for tests, made on the spot (P-256) and written as PEM files. */
#ifndef UT_TEST_CERTIFICATES_H
#define UT_TEST_CERTIFICATES_H

#include <openssl/x509.h>

struct test_identity {
    EVP_PKEY *key;
    X509 *certificate;
};

struct test_wish {
    const char *name;         /* CN */
    const char *alternatives; /* as in OpenSSL's configuration, "DNS:localhost,IP:127.0.0.1" */
    const struct test_identity *issuer; /* NULL: itself */
    long valid_s;                       /* from now on; negative: it has expired; 0: a day */
};

/* A new key and certificate; an authority where `wish` names no alternatives. */
struct test_identity test_identity_make(const struct test_wish *wish);
void test_identity_free(struct test_identity *identity);

/* Writes the certificate; the key. The file is replaced as a whole (rename). */
void test_write_certificate(const struct test_identity *identity, const char *path);
void test_write_key(const struct test_identity *identity, const char *path);
void test_write_text(const char *text, const char *path);

#endif
