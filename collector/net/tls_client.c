/* SPDX-License-Identifier: Apache-2.0 */
/* What the user of a client is told when TLS fails: what is wrong, where, and what to do. */
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "net/tls.h"

/* The certificate that the server showed, whether it held or not. */
static X509 *shown(const struct ut_tls *tls)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(tls->ssl);
    return sk_X509_num(chain) > 0 ? sk_X509_value(chain, 0) : NULL;
}

static void put_time(const ASN1_TIME *time, char out[32])
{
    struct tm tm;
    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1 ||
        strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        (void)snprintf(out, 32, "an unknown time");
}

static void put_names(X509 *certificate, char *out, size_t size)
{
    GENERAL_NAMES *names = certificate != NULL
                               ? X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL)
                               : NULL;
    BIO *text = BIO_new(BIO_s_mem());
    for (int i = 0; text != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        if (i > 0)
            (void)BIO_puts(text, ", ");
        (void)GENERAL_NAME_print(text, sk_GENERAL_NAME_value(names, i));
    }
    int got = text != NULL ? BIO_read(text, out, (int)size - 1) : 0;
    out[got > 0 ? got : 0] = '\0';
    if (got <= 0)
        (void)snprintf(out, size, "no name at all");
    BIO_free(text);
    GENERAL_NAMES_free(names);
}

static void put_certificate(const struct ut_tls *tls, char *out, size_t size)
{
    char names[128], when[32];
    X509 *certificate = shown(tls);
    long code = SSL_get_verify_result(tls->ssl);
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        put_time(certificate != NULL ? X509_get0_notAfter(certificate) : NULL, when);
        (void)snprintf(out, size,
                       "the certificate of the backend, or of its CA, has expired (the "
                       "backend's is valid until %s): renew it there",
                       when);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        put_time(certificate != NULL ? X509_get0_notBefore(certificate) : NULL, when);
        (void)snprintf(out, size,
                       "the certificate of the backend is not valid before %s: look at "
                       "the clocks of both hosts",
                       when);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        put_names(certificate, names, sizeof(names));
        (void)snprintf(out, size,
                       "the certificate of the backend is for %s, not for %s: connect by "
                       "a name it has, or set tls.server_name_override to one",
                       names, tls->host);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        (void)snprintf(out, size,
                       "the certificate of the backend is of a CA that is not trusted "
                       "here (%s): set tls.ca_file to the certificate of that CA",
                       X509_verify_cert_error_string(code));
        break;
    default:
        (void)snprintf(out, size, "the certificate of the backend is not accepted: %s",
                       X509_verify_cert_error_string(code));
    }
}

/* The backend ended the handshake, or refused us right after it. */
static void put_refused(const struct ut_tls *tls, char *out, size_t size)
{
    const char *detail = tls->why.detail, *advice = "";
    if (strstr(detail, "certificate required") != NULL ||
        strstr(detail, "handshake failure") != NULL)
        advice = ": maybe it wants a client certificate, set tls.cert_file and tls.key_file";
    else if (strstr(detail, "certificate") != NULL || strstr(detail, "unknown ca") != NULL)
        advice = ": it does not accept the client certificate of tls.cert_file";
    else if (strstr(detail, "protocol version") != NULL)
        advice = ": it has no version of TLS that min_version and max_version allow";
    (void)snprintf(out, size, "the backend refuses TLS with us (%s)%s", detail, advice);
}

const char *ut_tls_client_trouble(const struct ut_tls *tls, char *out, size_t size)
{
    static const char *const texts[UT_TLS_FAILURES] = {
        [UT_TLS_FAILURE_NOT_TLS] = "the backend does not speak TLS on this port: if it is to be "
                                   "reached without, write the endpoint with http://",
        [UT_TLS_FAILURE_VERSION] = "the backend has no version of TLS that min_version and "
                                   "max_version allow",
        [UT_TLS_FAILURE_CIPHER] = "the backend has none of the cipher suites",
        [UT_TLS_FAILURE_ALPN] = "the backend does not agree on HTTP/2 (ALPN h2), which gRPC needs: "
                                "is this the port of OTLP/gRPC?",
        [UT_TLS_FAILURE_CLOSED] = "the backend closed the connection in the middle of the TLS "
                                  "handshake: is this a port with TLS?",
    };
    enum ut_tls_failure failure = tls->why.failure;
    if (tls->state == UT_TLS_HANDSHAKE)
        failure = UT_TLS_FAILURE_CLOSED;
    if (failure == UT_TLS_FAILURE_CERTIFICATE)
        put_certificate(tls, out, size);
    else if (failure == UT_TLS_FAILURE_REFUSED)
        put_refused(tls, out, size);
    else
        (void)snprintf(out, size, "%s%s", texts[failure] != NULL ? texts[failure] : "broken TLS: ",
                       texts[failure] != NULL ? "" : tls->why.detail);
    return out;
}
