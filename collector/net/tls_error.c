/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_error.h"

#include <openssl/err.h>
#include <string.h>

/* OpenSSL's reasons above this are alerts of the peer. */
enum { ALERTS = SSL_AD_REASON_OFFSET };

static const char *const names[UT_TLS_FAILURES] = {
    [UT_TLS_FAILURE_NONE] = "none",
    [UT_TLS_FAILURE_PLAIN] = "plain_http",
    [UT_TLS_FAILURE_NOT_TLS] = "not_tls",
    [UT_TLS_FAILURE_VERSION] = "version",
    [UT_TLS_FAILURE_CIPHER] = "cipher_suite",
    [UT_TLS_FAILURE_ALPN] = "alpn",
    [UT_TLS_FAILURE_NO_CERTIFICATE] = "no_certificate",
    [UT_TLS_FAILURE_CERTIFICATE] = "bad_certificate",
    [UT_TLS_FAILURE_REFUSED] = "refused_by_peer",
    [UT_TLS_FAILURE_PROTOCOL] = "protocol",
    [UT_TLS_FAILURE_FLOOD] = "flood",
    [UT_TLS_FAILURE_CLOSED] = "closed",
};

static const char *const advice[UT_TLS_FAILURES] = {
    [UT_TLS_FAILURE_NONE] = "",
    [UT_TLS_FAILURE_PLAIN] = "the client sends without TLS: give it an endpoint with https://, or "
                             "take `tls` out of this listener",
    [UT_TLS_FAILURE_NOT_TLS] = "the client speaks neither TLS nor HTTP",
    [UT_TLS_FAILURE_VERSION] = "the client has no version of TLS that min_version and max_version "
                               "allow",
    [UT_TLS_FAILURE_CIPHER] = "the client has none of the cipher suites of this listener, or they "
                              "do not fit its certificate's kind of key",
    [UT_TLS_FAILURE_ALPN] = "the client asks (ALPN) for a protocol that is neither h2 nor http/1",
    [UT_TLS_FAILURE_NO_CERTIFICATE] = "the client shows no certificate, which client_ca_file "
                                      "demands: give it one and its key",
    [UT_TLS_FAILURE_CERTIFICATE] = "the client's certificate is not accepted: it must be valid now "
                                   "and come from a CA in client_ca_file",
    [UT_TLS_FAILURE_REFUSED] = "the client ended the handshake",
    [UT_TLS_FAILURE_PROTOCOL] = "the client breaks the TLS protocol, or bytes were changed on the "
                                "way",
    [UT_TLS_FAILURE_FLOOD] = "the client sends TLS messages that carry nothing",
    [UT_TLS_FAILURE_CLOSED] = "the client went away in the middle of the handshake",
};

static enum ut_tls_failure of_reason(int reason)
{
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
        return UT_TLS_FAILURE_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_CIPHERS_SPECIFIED:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        return UT_TLS_FAILURE_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return UT_TLS_FAILURE_ALPN;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return UT_TLS_FAILURE_NO_CERTIFICATE;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return UT_TLS_FAILURE_CERTIFICATE;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return UT_TLS_FAILURE_NOT_TLS;
    default:
        return reason > ALERTS ? UT_TLS_FAILURE_REFUSED : UT_TLS_FAILURE_PROTOCOL;
    }
}

const char *ut_tls_error_reason(unsigned long code)
{
    const char *text = ERR_reason_error_string(code);
    return text != NULL ? text : "no reason given";
}

struct ut_tls_why ut_tls_error_why(const SSL *ssl)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    struct ut_tls_why why = {of_reason(reason), ut_tls_error_reason(code)};
    if (why.failure == UT_TLS_FAILURE_CERTIFICATE)
        why.detail = X509_verify_cert_error_string(SSL_get_verify_result(ssl));
    return why;
}

const char *ut_tls_failure_name(enum ut_tls_failure failure)
{
    return names[failure];
}

/* What a client thinks of our certificate; an alert says little more than that. */
const char *ut_tls_failure_advice(const struct ut_tls_why *why)
{
    if (why->failure != UT_TLS_FAILURE_REFUSED)
        return advice[why->failure];
    if (strstr(why->detail, "unknown ca") != NULL || strstr(why->detail, "certificate") != NULL)
        return "the client does not trust this listener's certificate: give it the CA of "
               "cert_file, and let cert_file hold the intermediates and the name it connects to";
    if (strstr(why->detail, "protocol version") != NULL)
        return advice[UT_TLS_FAILURE_VERSION];
    return advice[UT_TLS_FAILURE_REFUSED];
}
