/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exporters over HTTP have in common in their configs, under the Collector's names
 * (confighttp, configtls): their tables include the rows of UT_HTTP_CLIENT_FIELDS and their struct
 * holds a struct ut_http_client_settings.
 */
#ifndef UT_NET_HTTP_CLIENT_SETTINGS_H
#define UT_NET_HTTP_CLIENT_SETTINGS_H

#include "config/field.h"
#include "net/auth_settings.h"
#include "net/inflate.h"
#include "net/tls_settings.h"

enum { UT_HTTP_CLIENT_HEADERS_MAX = 32, UT_HTTP_CLIENT_HEADER_BYTES = 8192 };

struct ut_http_client_settings {
    struct ut_pairs headers;
    uint64_t timeout_ns;        /* of one request, connecting included */
    char *proxy_url;            /* NULL: as the environment says */
    char *compression;          /* NULL: gzip, but none where the backend is on this host */
    struct ut_tls_settings tls; /* `insecure` means nothing: the URL's scheme says it */
    struct ut_client_auth_settings auth;
};

#define UT_HTTP_CLIENT_FIELD(config, settings, name)                                               \
    .offset = offsetof(config, settings) + offsetof(struct ut_http_client_settings, name),         \
    .present = UT_FIELD_NO_PRESENT
/* The rows for the member `settings` of the struct `config`. */
#define UT_HTTP_CLIENT_FIELDS(config, settings)                                                    \
    {                                                                                              \
        .key = "headers",                                                                          \
        .type = UT_FIELD_PAIRS,                                                                    \
        UT_HTTP_CLIENT_FIELD(config, settings, headers),                                           \
    },                                                                                             \
        {                                                                                          \
            .key = "timeout",                                                                      \
            .type = UT_FIELD_DURATION,                                                             \
            UT_HTTP_CLIENT_FIELD(config, settings, timeout_ns),                                    \
            .fallback = "30s",                                                                     \
            .least = 0.01,                                                                         \
            .most = 3600,                                                                          \
        },                                                                                         \
        {                                                                                          \
            .key = "proxy_url",                                                                    \
            .type = UT_FIELD_STRING,                                                               \
            UT_HTTP_CLIENT_FIELD(config, settings, proxy_url),                                     \
        },                                                                                         \
        {                                                                                          \
            .key = "auth",                                                                         \
            .type = UT_FIELD_MAP,                                                                  \
            UT_HTTP_CLIENT_FIELD(config, settings, auth),                                          \
            .fields = ut_client_auth_fields,                                                       \
        },                                                                                         \
        {                                                                                          \
            .key = "compression",                                                                  \
            .type = UT_FIELD_STRING,                                                               \
            UT_HTTP_CLIENT_FIELD(config, settings, compression),                                   \
        },                                                                                         \
    {                                                                                              \
        .key = "tls", .type = UT_FIELD_MAP, UT_HTTP_CLIENT_FIELD(config, settings, tls),           \
        .fields = ut_tls_client_fields,                                                            \
    }

/* Whether `text` is a URL that can be sent to: http or https, with a host, without a user. NULL: it
 * is; else why not, a constant text. */
const char *ut_http_url_wrong(const char *text);
/* Whether its host is this one: localhost, 127.0.0.0/8 or ::1. */
bool ut_http_url_is_loopback(const char *text);

/* What bodies to `url` are compressed with, of settings that have passed the check. */
enum ut_coding ut_http_client_coding(const struct ut_http_client_settings *settings,
                                     const char *url);

/* Reports what the rows cannot express; files that cannot be read among it. */
void ut_http_client_check(const struct ut_http_client_settings *settings,
                          struct ut_config_report *report);

#endif
