/* SPDX-License-Identifier: Apache-2.0 */
#include "certificates.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

enum { DAY_S = 86400 };

static void add_extension(X509 *certificate, X509V3_CTX *context, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    cr_assert_not_null(extension, "%s", value);
    cr_assert_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void add_extensions(X509 *certificate, X509 *issuer, const char *alternatives)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    add_extension(certificate, &context, NID_subject_key_identifier, "hash");
    if (alternatives != NULL)
        add_extension(certificate, &context, NID_subject_alt_name, alternatives);
    else
        add_extension(certificate, &context, NID_basic_constraints, "critical,CA:TRUE");
}

struct test_identity test_identity_make(const struct test_wish *wish)
{
    struct test_identity identity = {EVP_EC_gen("P-256"), X509_new()};
    const struct test_identity *issuer = wish->issuer != NULL ? wish->issuer : &identity;
    X509 *certificate = identity.certificate;
    uint64_t serial;
    cr_assert(identity.key != NULL && certificate != NULL);
    RAND_bytes((unsigned char *)&serial, sizeof(serial));
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1);
    X509_set_version(certificate, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -2L * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(certificate), wish->valid_s != 0 ? wish->valid_s : DAY_S);
    X509_set_pubkey(certificate, identity.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                               (const unsigned char *)wish->name, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer->certificate));
    add_extensions(certificate, issuer->certificate, wish->alternatives);
    cr_assert_gt(X509_sign(certificate, issuer->key, EVP_sha256()), 0);
    return identity;
}

void test_identity_free(struct test_identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
    *identity = (struct test_identity){0};
}

static FILE *begin(const char *path, char temporary[512])
{
    (void)snprintf(temporary, 512, "%s.new", path);
    FILE *out = fopen(temporary, "w");
    cr_assert_not_null(out, "%s", temporary);
    return out;
}

static void end(FILE *out, const char *temporary, const char *path)
{
    cr_assert_eq(fclose(out), 0);
    cr_assert_eq(rename(temporary, path), 0);
}

void test_write_certificate(const struct test_identity *identity, const char *path)
{
    char temporary[512];
    FILE *out = begin(path, temporary);
    cr_assert_eq(PEM_write_X509(out, identity->certificate), 1);
    end(out, temporary, path);
}

void test_write_key(const struct test_identity *identity, const char *path)
{
    char temporary[512];
    FILE *out = begin(path, temporary);
    cr_assert_eq(PEM_write_PrivateKey(out, identity->key, NULL, NULL, 0, NULL, NULL), 1);
    end(out, temporary, path);
}

void test_write_text(const char *text, const char *path)
{
    char temporary[512];
    FILE *out = begin(path, temporary);
    cr_assert_geq(fputs(text, out), 0);
    end(out, temporary, path);
}
