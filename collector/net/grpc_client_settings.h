/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exporters over gRPC have in common in their configs, under the Collector's names
 * (configgrpc, configtls): their tables include the rows of UT_GRPC_CLIENT_FIELDS and their struct
 * holds a struct ut_grpc_client_settings. And the header fields of requests made from it.
 */
#ifndef UT_NET_GRPC_CLIENT_SETTINGS_H
#define UT_NET_GRPC_CLIENT_SETTINGS_H

#include "config/field.h"
#include "net/auth_settings.h"
#include "net/endpoint.h"
#include "net/h2_client.h"
#include "net/inflate.h"
#include "net/link.h"
#include "net/tls_settings.h"

#define UT_GRPC_CLIENT_CONNECTIONS 16
#define UT_GRPC_CLIENT_HEADERS_MAX 32 /* pairs in `headers` */
#define UT_GRPC_CLIENT_HEADER_BYTES 8192

struct ut_grpc_client_settings {
    char *endpoint;
    struct ut_tls_settings tls;
    struct ut_pairs headers;
    uint64_t timeout_ns;        /* of one send, connecting included */
    uint64_t max_message_bytes; /* of one request */
    char *compression;          /* NULL: none to this host, else gzip */
    uint64_t connections;       /* that calls take in turn; up to UT_GRPC_CLIENT_CONNECTIONS */
    struct ut_link_keepalive keepalive;
    struct ut_client_auth_settings auth;
};

extern const struct ut_field ut_grpc_client_keepalive_fields[];

#define UT_GRPC_CLIENT_FIELD(config, settings, name)                                               \
    .offset = offsetof(config, settings) + offsetof(struct ut_grpc_client_settings, name),         \
    .present = UT_FIELD_NO_PRESENT
/* The rows for the member `settings` of the struct `config`. */
#define UT_GRPC_CLIENT_FIELDS(config, settings)                                                    \
    {                                                                                              \
        .key = "endpoint",                                                                         \
        .type = UT_FIELD_STRING,                                                                   \
        UT_GRPC_CLIENT_FIELD(config, settings, endpoint),                                          \
    },                                                                                             \
        {                                                                                          \
            .key = "tls",                                                                          \
            .type = UT_FIELD_MAP,                                                                  \
            UT_GRPC_CLIENT_FIELD(config, settings, tls),                                           \
            .fields = ut_tls_client_fields,                                                        \
        },                                                                                         \
        {                                                                                          \
            .key = "headers",                                                                      \
            .type = UT_FIELD_PAIRS,                                                                \
            UT_GRPC_CLIENT_FIELD(config, settings, headers),                                       \
        },                                                                                         \
        {                                                                                          \
            .key = "timeout",                                                                      \
            .type = UT_FIELD_DURATION,                                                             \
            UT_GRPC_CLIENT_FIELD(config, settings, timeout_ns),                                    \
            .fallback = "5s",                                                                      \
            .least = 0.01,                                                                         \
            .most = 3600,                                                                          \
        },                                                                                         \
        {                                                                                          \
            .key = "max_message_bytes",                                                            \
            .type = UT_FIELD_BYTES,                                                                \
            UT_GRPC_CLIENT_FIELD(config, settings, max_message_bytes),                             \
            .fallback = "4MiB",                                                                    \
            .least = 1024,                                                                         \
            .most = 1 << 30,                                                                       \
        },                                                                                         \
        {                                                                                          \
            .key = "auth",                                                                         \
            .type = UT_FIELD_MAP,                                                                  \
            UT_GRPC_CLIENT_FIELD(config, settings, auth),                                          \
            .fields = ut_client_auth_fields,                                                       \
        },                                                                                         \
        {                                                                                          \
            .key = "connections",                                                                  \
            .type = UT_FIELD_UINT,                                                                 \
            UT_GRPC_CLIENT_FIELD(config, settings, connections),                                   \
            .fallback = "1",                                                                       \
            .least = 1,                                                                            \
            .most = UT_GRPC_CLIENT_CONNECTIONS,                                                    \
        },                                                                                         \
        {                                                                                          \
            .key = "keepalive",                                                                    \
            .type = UT_FIELD_MAP,                                                                  \
            UT_GRPC_CLIENT_FIELD(config, settings, keepalive),                                     \
            .fields = ut_grpc_client_keepalive_fields,                                             \
        },                                                                                         \
    {                                                                                              \
        .key = "compression", .type = UT_FIELD_STRING,                                             \
        UT_GRPC_CLIENT_FIELD(config, settings, compression),                                       \
    }

/* Reports what the rows cannot express. `default_port` is that of an endpoint which names none. */
void ut_grpc_client_check(const struct ut_grpc_client_settings *settings, uint16_t default_port,
                          struct ut_config_report *report);

/* What requests are compressed with; the settings have passed the check, here and below. */
enum ut_coding ut_grpc_client_coding(const struct ut_grpc_client_settings *settings,
                                     const struct ut_endpoint_text *endpoint);

/* Whether TLS is spoken: by the endpoint's scheme or, where it has none, unless tls.insecure. Never
 * on a unix socket. */
bool ut_grpc_client_is_secure(const struct ut_grpc_client_settings *settings,
                              const struct ut_endpoint_text *endpoint);

/* The header fields of every request. Their texts point into this struct, into the settings and to
 * the path. */
struct ut_grpc_client_headers {
    struct ut_h2_header fields[UT_H2_CLIENT_HEADERS_MAX];
    size_t count;
    char authority[UT_ENDPOINT_HOST + 16];
    char timeout[16];
    char names[UT_GRPC_CLIENT_HEADER_BYTES]; /* of `headers`, in lower case */
};

/* `path` is the method's: "/package.Service/Method". */
void ut_grpc_client_headers_init(struct ut_grpc_client_headers *headers,
                                 const struct ut_grpc_client_settings *settings,
                                 const struct ut_endpoint_text *endpoint, const char *path);

#endif
