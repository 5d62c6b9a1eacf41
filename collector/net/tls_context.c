/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls.h"
#include "net/tls_ciphers.h"
#include "net/tls_error.h"
#include "net/tls_files.h"

static int fail(struct ut_tls_error *error, const char *key, int code)
{
    error->key = key;
    error->passing = false;
    (void)snprintf(error->text, sizeof(error->text), "OpenSSL refuses it: %s",
                   ut_tls_error_reason(ERR_peek_error()));
    return code;
}

/* ---- a server -------------------------------------------------------------------------------- */

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

static int fill_server(struct ut_tls_context *context, const struct ut_tls_settings *settings,
                       const struct ut_tls_files *files, struct ut_tls_error *error)
{
    int required = settings->client_optional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_options(context->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_alpn_select_cb(context->ssl, on_alpn, NULL);
    if (ut_tls_tickets_init(&context->tickets, context->ssl) != 0)
        return fail(error, "", -ENOMEM);
    if (files->ca.data == NULL)
        return 0;
    SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER | required, NULL);
    return ut_tls_files_use_ca(files, context->ssl, error);
}

/* ---- a client -------------------------------------------------------------------------------- */

/* Keeps the session, which is then ours (1). */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    const struct ut_tls *tls = SSL_get_app_data(ssl);
    SSL_SESSION_free(tls->context->session);
    tls->context->session = session;
    tls->context->session_host = tls->host;
    return 1;
}

static int fill_client(struct ut_tls_context *context, const struct ut_tls_settings *settings,
                       const struct ut_tls_files *files, struct ut_tls_error *error)
{
    static const unsigned char wanted[] = "\x02h2";
    SSL_CTX *ssl = context->ssl;
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, on_session);
    SSL_CTX_set_verify(ssl, settings->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       NULL);
    /* As the Collector: a name in the subject alone is no name (RFC 9525 2). */
    X509_VERIFY_PARAM_set_hostflags(SSL_CTX_get0_param(ssl),
                                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_CTX_set_alpn_protos(ssl, wanted, sizeof(wanted) - 1) != 0)
        return fail(error, "", -ENOMEM);
    bool system = files->ca.data == NULL || settings->include_system_ca_certs_pool;
    if (system && SSL_CTX_set_default_verify_paths(ssl) != 1)
        return fail(error, "include_system_ca_certs_pool", -EINVAL);
    return files->ca.data != NULL ? ut_tls_files_use_ca(files, ssl, error) : 0;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int set_manners(SSL_CTX *ssl, const struct ut_tls_settings *settings,
                       struct ut_tls_error *error)
{
    static const int versions[] = {[UT_TLS_1_2] = TLS1_2_VERSION, [UT_TLS_1_3] = TLS1_3_VERSION};
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* An idle connection has no buffers. */
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_set_min_proto_version(ssl, versions[settings->min_version]) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, versions[settings->max_version]) != 1)
        return fail(error, "min_version", -EINVAL);
    int result = ut_tls_ciphers_set(ssl, &settings->cipher_suites);
    return result == 0 ? 0 : fail(error, "cipher_suites", result);
}

static void read_not_after(struct ut_tls_context *context)
{
    struct tm end;
    const X509 *certificate = SSL_CTX_get0_certificate(context->ssl);
    if (certificate != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1)
        context->not_after_s = timegm(&end);
}

static int fill(struct ut_tls_context *context, const struct ut_tls_settings *settings,
                const struct ut_tls_files *files, struct ut_tls_error *error)
{
    bool server = context->role == UT_TLS_SERVER;
    context->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (context->ssl == NULL || ut_tls_files_digest(files, context->digest) != 0)
        return fail(error, "", -ENOMEM);
    int result = set_manners(context->ssl, settings, error);
    if (result == 0 && files->cert.data != NULL)
        result = ut_tls_files_use_certificate(files, context->ssl, error);
    if (result == 0)
        result = server ? fill_server(context, settings, files, error)
                        : fill_client(context, settings, files, error);
    read_not_after(context);
    return result;
}

static int make(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                const struct ut_tls_files *files, enum ut_tls_role role, struct ut_tls_error *error)
{
    struct ut_tls_context *context = calloc(1, sizeof(*context));
    if (context == NULL)
        return fail(error, "", -ENOMEM);
    context->role = role;
    atomic_init(&context->references, 1);
    ERR_clear_error();
    int result = fill(context, settings, files, error);
    ERR_clear_error();
    if (result == 0)
        *ret = context;
    else
        ut_tls_context_unref(context);
    return result;
}

int ut_tls_context_new(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                       enum ut_tls_role role, struct ut_tls_error *error)
{
    struct ut_tls_files files;
    *error = (struct ut_tls_error){.key = ""};
    int result = ut_tls_files_read(&files, settings, role, error);
    if (result == 0)
        result = make(ret, settings, &files, role, error);
    ut_tls_files_done(&files);
    return result;
}

int ut_tls_context_renew(struct ut_tls_context **ret, const struct ut_tls_settings *settings,
                         const struct ut_tls_context *known, struct ut_tls_error *error)
{
    struct ut_tls_files files;
    uint8_t digest[UT_TLS_DIGEST];
    *error = (struct ut_tls_error){.key = ""};
    int result = ut_tls_files_read(&files, settings, known->role, error);
    if (result == 0 && ut_tls_files_digest(&files, digest) == 0 &&
        memcmp(digest, known->digest, sizeof(digest)) == 0)
        result = -EALREADY;
    if (result == 0)
        result = make(ret, settings, &files, known->role, error);
    ut_tls_files_done(&files);
    return result;
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
    SSL_SESSION_free(context->session);
    ut_tls_tickets_done(&context->tickets);
    free(context);
}
