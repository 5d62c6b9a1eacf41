/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_ciphers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* AES-128 first: it is the cheapest where the processor knows AES; a client that puts ChaCha20
 * first does not, and is given that (SSL_OP_PRIORITIZE_CHACHA). */
static const char suites_1_3[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
/* What HTTP/2 allows of TLS 1.2 (RFC 9113 9.2.2). */
static const char suites_1_2[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

static bool is_1_3(const SSL_CIPHER *cipher)
{
    return SSL_CIPHER_get_kx_nid(cipher) == NID_kx_any;
}

/* The suite of that IANA name among those that `ssl` can use; NULL: none. */
static const SSL_CIPHER *find(SSL_CTX *ssl, const char *name)
{
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ssl);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(all, i);
        const char *known = SSL_CIPHER_standard_name(cipher);
        if (known != NULL && strcmp(known, name) == 0)
            return cipher;
    }
    return NULL;
}

/* All that OpenSSL has, so that what is wrong with a suite can be said. */
static SSL_CTX *new_scratch(void)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    if (ssl != NULL && SSL_CTX_set_cipher_list(ssl, "ALL:@SECLEVEL=0") == 1)
        return ssl;
    SSL_CTX_free(ssl);
    return NULL;
}

static const char *wrong_with(SSL_CTX *ssl, const char *name)
{
    const SSL_CIPHER *cipher = find(ssl, name);
    if (cipher == NULL)
        return "is no cipher suite known here; write it as the standard does, "
               "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    if (is_1_3(cipher))
        return NULL;
    if (SSL_CIPHER_get_kx_nid(cipher) != NID_kx_ecdhe)
        return "has no forward secrecy; take one that begins with TLS_ECDHE_";
    if (SSL_CIPHER_get_auth_nid(cipher) == NID_auth_null ||
        SSL_CIPHER_get_cipher_nid(cipher) == NID_undef)
        return "does not encrypt, or tells nobody who the server is";
    return NULL;
}

bool ut_tls_cipher_check(const char *name, char *text, size_t size)
{
    SSL_CTX *ssl = new_scratch();
    const char *wrong = ssl == NULL ? "cannot be looked up: OpenSSL has no memory" : NULL;
    if (wrong == NULL)
        wrong = wrong_with(ssl, name);
    SSL_CTX_free(ssl);
    (void)snprintf(text, size, "\"%s\" %s", name, wrong != NULL ? wrong : "");
    return wrong == NULL;
}

static void append(char *list, size_t size, const char *name)
{
    size_t had = strlen(list);
    (void)snprintf(list + had, size - had, "%s%s", had > 0 ? ":" : "", name);
}

int ut_tls_cipher_lists(struct ut_tls_cipher_lists *ret, const struct ut_strings *names)
{
    SSL_CTX *scratch = names->count > 0 ? new_scratch() : NULL;
    if (names->count > 0 && scratch == NULL)
        return -ENOMEM;
    ret->tls_1_2[0] = ret->tls_1_3[0] = '\0';
    for (size_t i = 0; i < names->count; i++) {
        const SSL_CIPHER *cipher = find(scratch, names->items[i]);
        if (cipher != NULL)
            append(is_1_3(cipher) ? ret->tls_1_3 : ret->tls_1_2, sizeof(ret->tls_1_2),
                   SSL_CIPHER_get_name(cipher));
    }
    SSL_CTX_free(scratch);
    if (ret->tls_1_2[0] == '\0')
        append(ret->tls_1_2, sizeof(ret->tls_1_2), suites_1_2);
    if (ret->tls_1_3[0] == '\0')
        append(ret->tls_1_3, sizeof(ret->tls_1_3), suites_1_3);
    return 0;
}

int ut_tls_ciphers_set(SSL_CTX *ssl, const struct ut_strings *names)
{
    struct ut_tls_cipher_lists lists;
    int error = ut_tls_cipher_lists(&lists, names);
    if (error != 0)
        return error;
    bool set = SSL_CTX_set_cipher_list(ssl, lists.tls_1_2) == 1 &&
               SSL_CTX_set_ciphersuites(ssl, lists.tls_1_3) == 1;
    return set ? 0 : -EINVAL;
}
