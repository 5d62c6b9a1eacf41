/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tls:` in the Collector's shape, of a listener (configtls's server) and of an exporter (its
 * client), and what of it can be checked before anything is opened.
 */
#ifndef UT_NET_TLS_SETTINGS_H
#define UT_NET_TLS_SETTINGS_H

#include "config/field.h"

enum ut_tls_version { UT_TLS_1_2, UT_TLS_1_3 };

enum ut_tls_role { UT_TLS_SERVER, UT_TLS_CLIENT };

struct ut_tls_settings {
    /* PEM, in a file or as it is: the own certificate with its chain, and its key, not encrypted. A
     * server has them; a client where the server wants one. */
    char *cert_file, *cert_pem;
    char *key_file, *key_pem;
    /* A server's client_ca_file: clients need a certificate of it; NULL: they need none. A client's
     * ca_file: the server's comes from it; NULL: from a CA that this host trusts. */
    char *ca_file, *ca_pem;
    int min_version, max_version;    /* enum ut_tls_version */
    struct ut_strings cipher_suites; /* IANA names; those of a version that has none: its default */
    uint64_t reload_interval_ns;     /* 0: the files are read again on SIGHUP only */
    /* Of a server alone, no key of its own: what clients show is verified, but they need not. */
    bool client_optional;
    /* Of a client alone. */
    char *server_name_override; /* NULL: the endpoint's host */
    bool insecure;              /* without TLS, where the endpoint's scheme does not say it */
    bool insecure_skip_verify;
    bool include_system_ca_certs_pool; /* besides ca_file or ca_pem */
};

/* The tables of `tls:`, over struct ut_tls_settings. */
extern const struct ut_field ut_tls_server_fields[];
extern const struct ut_field ut_tls_client_fields[];

/* Reports what the table cannot express, files that cannot be used among it; `path` is that of
 * `tls` below the component. */
void ut_tls_check(const struct ut_tls_settings *settings, enum ut_tls_role role, const char *path,
                  struct ut_config_report *report);

#endif
