/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session tickets hold the session itself, encrypted (RFC 5077 4, RFC 8446 4.6.1); the server keeps
 * nothing per session. A ticket's key is found by its name; an unknown name is a full handshake.
 */
#include "net/tls_context.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls_ciphers.h"
#include "net/tls_error.h"
#include "net/tls_files.h"

/* ---- tickets -------------------------------------------------------------------------------- */

static bool make_key(struct ut_tls_ticket_key *key)
{
    return RAND_bytes(key->name, sizeof(key->name)) == 1 &&
           RAND_priv_bytes(key->cipher, sizeof(key->cipher)) == 1 &&
           RAND_priv_bytes(key->mac, sizeof(key->mac)) == 1;
}

void ut_tls_context_rotate(struct ut_tls_context *context)
{
    struct ut_tls_ticket_key fresh;
    if (make_key(&fresh)) { /* else the old one serves on */
        context->ticket_keys[1] = context->ticket_keys[0];
        context->ticket_keys[0] = fresh;
    }
    OPENSSL_cleanse(&fresh, sizeof(fresh));
}

/* Index of the key of that name, or -1. */
static int find_key(const struct ut_tls_context *context, const uint8_t name[16])
{
    for (int i = 0; i < 2; i++) {
        if (memcmp(context->ticket_keys[i].name, name, 16) == 0)
            return i;
    }
    return -1;
}

static bool init_ticket(const struct ut_tls_context *context, const struct ut_tls_ticket_key *key,
                        EVP_CIPHER_CTX *cipher, const uint8_t *iv, EVP_MAC_CTX *mac, int encrypt)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac,
                                          sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex2(cipher, context->ticket_cipher, key->cipher, iv, encrypt, NULL) ==
               1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature. Answers -1: no ticket; 0: an
 * unknown one; 1: good; 2: good, and to be replaced. */
static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int encrypt)
{
    const struct ut_tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    int index = 0;
    if (encrypt) {
        memcpy(name, context->ticket_keys[0].name, sizeof(context->ticket_keys[0].name));
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(context->ticket_cipher)) != 1)
            return -1;
    } else {
        index = find_key(context, name);
        if (index < 0)
            return 0;
    }
    if (!init_ticket(context, &context->ticket_keys[index], cipher, iv, mac, encrypt))
        return -1;
    return index == 0 ? 1 : 2;
}

/* Whether the certificate that the session was opened with is still valid. */
static bool is_peer_valid(SSL_SESSION *session)
{
    const X509 *peer = SSL_SESSION_get0_peer(session);
    return peer == NULL || X509_cmp_current_time(X509_get0_notAfter(peer)) > 0;
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature. */
static SSL_TICKET_RETURN on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                          size_t name_size, SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl, (void)name, (void)name_size, (void)arg;
    switch (status) {
    case SSL_TICKET_EMPTY:
    case SSL_TICKET_NO_DECRYPT:
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    case SSL_TICKET_SUCCESS:
    case SSL_TICKET_SUCCESS_RENEW:
        if (!is_peer_valid(session))
            return SSL_TICKET_RETURN_IGNORE_RENEW;
        return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
    default:
        return SSL_TICKET_RETURN_ABORT;
    }
}

static void set_tickets(struct ut_tls_context *context)
{
    static const unsigned char id[] = "undertrace";
    SSL_CTX *ssl = context->ssl;
    SSL_CTX_set_app_data(ssl, context);
    SSL_CTX_set_session_id_context(ssl, id, sizeof(id) - 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ssl, UT_TLS_TICKET_S);
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket_key);
    SSL_CTX_set_session_ticket_cb(ssl, NULL, on_ticket_opened, NULL);
}

/* ---- making --------------------------------------------------------------------------------- */

/* HTTP/2 where the client has it. A client that offers none is told so (RFC 7301 3.2). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                   const unsigned char *in, unsigned in_size, void *arg)
{
    (void)ssl, (void)arg;
    static const unsigned char ours[] = "\x02h2\x08http/1.1\x08http/1.0";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_size, ours, sizeof(ours) - 1, in, in_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int fail(struct ut_tls_error *error, const char *key, int code)
{
    error->key = key;
    error->passing = false;
    (void)snprintf(error->text, sizeof(error->text), "OpenSSL refuses it: %s",
                   ut_tls_error_reason(ERR_peek_error()));
    return code;
}

static int set_manners(SSL_CTX *ssl, const struct ut_tls_settings *settings,
                       struct ut_tls_error *error)
{
    static const int versions[] = {[UT_TLS_1_2] = TLS1_2_VERSION, [UT_TLS_1_3] = TLS1_3_VERSION};
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* An idle connection has no buffers. */
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ssl, on_alpn, NULL);
    if (SSL_CTX_set_min_proto_version(ssl, versions[settings->min_version]) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, versions[settings->max_version]) != 1)
        return fail(error, "min_version", -EINVAL);
    int result = ut_tls_ciphers_set(ssl, &settings->cipher_suites);
    return result == 0 ? 0 : fail(error, "cipher_suites", result);
}

static int fill(struct ut_tls_context *context, const struct ut_tls_settings *settings,
                const struct ut_tls_files *files, struct ut_tls_error *error)
{
    context->ssl = SSL_CTX_new(TLS_server_method());
    context->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (context->ssl == NULL || context->ticket_cipher == NULL ||
        !make_key(&context->ticket_keys[0]) || !make_key(&context->ticket_keys[1]))
        return fail(error, "", -ENOMEM);
    set_tickets(context);
    int result = set_manners(context->ssl, settings, error);
    if (result == 0)
        result = ut_tls_files_use_certificate(files, context->ssl, error);
    if (result == 0 && files->client_ca.data != NULL)
        result = ut_tls_files_use_client_ca(files, settings->client_optional, context->ssl, error);
    if (result != 0)
        return result;
    struct tm end;
    const X509 *certificate = SSL_CTX_get0_certificate(context->ssl);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1)
        context->not_after_s = timegm(&end);
    return 0;
}

static int make(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                const struct ut_tls_files *files, struct ut_tls_error *error)
{
    struct ut_tls_context *context = calloc(1, sizeof(*context));
    if (context == NULL)
        return fail(error, "", -ENOMEM);
    atomic_init(&context->references, 1);
    ERR_clear_error();
    int result = ut_tls_files_digest(files, context->digest);
    if (result == 0)
        result = fill(context, settings, files, error);
    ERR_clear_error();
    if (result == 0)
        *ret = context;
    else
        ut_tls_context_unref(context);
    return result;
}

int ut_tls_context_renew(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                         const struct ut_tls_context *known, struct ut_tls_error *error)
{
    struct ut_tls_files files;
    uint8_t digest[UT_TLS_DIGEST];
    *error = (struct ut_tls_error){.key = ""};
    int result = ut_tls_files_read(&files, settings, error);
    if (result == 0 && known != NULL && ut_tls_files_digest(&files, digest) == 0 &&
        memcmp(digest, known->digest, sizeof(digest)) == 0)
        result = -EALREADY;
    if (result == 0)
        result = make(ret, settings, &files, error);
    ut_tls_files_done(&files);
    return result;
}

int ut_tls_context_new(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                       struct ut_tls_error *error)
{
    return ut_tls_context_renew(ret, settings, NULL, error);
}

struct ut_tls_context *ut_tls_context_ref(struct ut_tls_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void ut_tls_context_unref(struct ut_tls_context *context)
{
    if (context == NULL ||
        atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(context->ssl);
    EVP_CIPHER_free(context->ticket_cipher);
    OPENSSL_cleanse(context->ticket_keys, sizeof(context->ticket_keys));
    free(context);
}
