/* SPDX-License-Identifier: Apache-2.0 */
/* Why a TLS connection failed, in kinds that one can count, and in words that help. */
#ifndef UT_NET_TLS_ERROR_H
#define UT_NET_TLS_ERROR_H

#include <openssl/ssl.h>

enum ut_tls_failure {
    UT_TLS_FAILURE_NONE,
    UT_TLS_FAILURE_PLAIN,          /* HTTP without TLS */
    UT_TLS_FAILURE_NOT_TLS,        /* neither */
    UT_TLS_FAILURE_VERSION,        /* no version in common */
    UT_TLS_FAILURE_CIPHER,         /* no cipher suite in common */
    UT_TLS_FAILURE_ALPN,           /* no protocol in common */
    UT_TLS_FAILURE_NO_CERTIFICATE, /* the peer showed none */
    UT_TLS_FAILURE_CERTIFICATE,    /* … one that does not hold */
    UT_TLS_FAILURE_REFUSED,        /* the peer ended it with an alert */
    UT_TLS_FAILURE_PROTOCOL,       /* broken TLS */
    UT_TLS_FAILURE_FLOOD,          /* too many messages that carry nothing */
    UT_TLS_FAILURE_CLOSED,         /* the peer went away in the middle of the handshake */
    UT_TLS_FAILURES,
};

struct ut_tls_why {
    enum ut_tls_failure failure;
    const char *detail; /* OpenSSL's words; a constant */
};

/* Of the error that OpenSSL has queued for `ssl`. */
struct ut_tls_why ut_tls_error_why(const SSL *ssl);
/* A constant word for metrics: "no_certificate". */
const char *ut_tls_failure_name(enum ut_tls_failure failure);
/* What whoever reads a server's log is to do. */
const char *ut_tls_failure_advice(const struct ut_tls_why *why);
/* OpenSSL's text of an error code; a constant. */
const char *ut_tls_error_reason(unsigned long code);

#endif
