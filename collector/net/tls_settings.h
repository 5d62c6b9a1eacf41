/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tls:` of a listener, in the Collector's shape, and what of it can be checked before anything
 * is opened. The certificates themselves are tls_context.h's.
 */
#ifndef UT_NET_TLS_SETTINGS_H
#define UT_NET_TLS_SETTINGS_H

#include "config/field.h"

enum ut_tls_version { UT_TLS_1_2, UT_TLS_1_3 };

struct ut_tls_settings {
    char *cert_file, *cert_pem;      /* one of them: the certificate and its chain, PEM */
    char *key_file, *key_pem;        /* one of them: its key, PEM, not encrypted */
    char *client_ca_file;            /* NULL: clients need no certificate */
    bool client_optional;            /* what they show is verified, but they need not; no key */
    int min_version, max_version;    /* enum ut_tls_version */
    struct ut_strings cipher_suites; /* IANA names; those of a version that has none: its default */
    uint64_t reload_interval_ns;     /* 0: the files are read again on SIGHUP only */
};

/* The table of `tls:`, over struct ut_tls_settings. */
extern const struct ut_field ut_tls_server_fields[];

/* Reports what the table cannot express, files that cannot be used among it; `path` is that of
 * `tls` below the component. */
void ut_tls_server_check(const struct ut_tls_settings *settings, const char *path,
                         struct ut_config_report *report);

#endif
