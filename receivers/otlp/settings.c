/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <stdio.h>
#include <string.h>

#include "net/endpoint.h"
#include "net/inflate.h"

#define KEEPALIVE_AT(part, member)                                                                 \
    offsetof(__typeof__(((struct ut_otlp_grpc_settings *)0)->keepalive.part), member)
#define SERVER_ROW(key_, member, fallback_, least_, most_)                                         \
    {                                                                                              \
        .key = (key_), .type = UT_FIELD_DURATION,                                                  \
        .offset = KEEPALIVE_AT(server_parameters, member), .fallback = (fallback_),                \
        .least = (least_), .most = (most_)                                                         \
    }

static const struct ut_field server_parameter_fields[] = {
    SERVER_ROW("max_connection_idle", max_connection_idle_ns, "10m", 0, 86400),
    SERVER_ROW("max_connection_age", max_connection_age_ns, "0", 0, 86400),
    SERVER_ROW("max_connection_age_grace", max_connection_age_grace_ns, "1m", 0.1, 86400),
    SERVER_ROW("time", time_ns, "2h", 0, 86400),
    SERVER_ROW("timeout", timeout_ns, "20s", 0.1, 86400),
    UT_FIELD_END,
};

static const struct ut_field enforcement_policy_fields[] = {
    {.key = "min_time",
     .type = UT_FIELD_DURATION,
     .offset = KEEPALIVE_AT(enforcement_policy, min_time_ns),
     .fallback = "1s",
     .least = 0.001,
     .most = 86400},
    {.key = "permit_without_stream",
     .type = UT_FIELD_BOOL,
     .offset = KEEPALIVE_AT(enforcement_policy, permit_without_stream),
     .fallback = "true"},
    UT_FIELD_END,
};

#define KEEPALIVE_PART(part)                                                                       \
    offsetof(__typeof__(((struct ut_otlp_grpc_settings *)0)->keepalive), part)

static const struct ut_field keepalive_fields[] = {
    {.key = "server_parameters",
     .type = UT_FIELD_MAP,
     .offset = KEEPALIVE_PART(server_parameters),
     .fields = server_parameter_fields,
     .present = UT_FIELD_NO_PRESENT},
    {.key = "enforcement_policy",
     .type = UT_FIELD_MAP,
     .offset = KEEPALIVE_PART(enforcement_policy),
     .fields = enforcement_policy_fields,
     .present = UT_FIELD_NO_PRESENT},
    UT_FIELD_END,
};

/* The rows that both protocols have. */
#define TLS_ROW(owner)                                                                             \
    {                                                                                              \
        .key = "tls", .type = UT_FIELD_MAP, .offset = offsetof(owner, tls),                        \
        .fields = ut_tls_server_fields, .present = offsetof(owner, has_tls)                        \
    }
#define LIMIT_ROW(owner, type_, key_, member, fallback_, least_, most_)                            \
    {                                                                                              \
        .key = (key_), .type = (type_), .offset = offsetof(owner, limits.member),                  \
        .fallback = (fallback_), .least = (least_), .most = (most_)                                \
    }
#define LIMIT_NUMBER(owner, member, fallback_, least_, most_)                                      \
    LIMIT_ROW(owner, UT_FIELD_UINT, #member, member, fallback_, least_, most_)
#define LIMIT_TIME(owner, member, fallback_)                                                       \
    LIMIT_ROW(owner, UT_FIELD_DURATION, #member, member##_ns, fallback_, 0.1, 3600)
#define LIMIT_ROWS(owner)                                                                          \
    LIMIT_NUMBER(owner, max_concurrent_streams, "128", 1, 10000),                                  \
        LIMIT_NUMBER(owner, max_connections, "0", 0, 100000),                                      \
        LIMIT_NUMBER(owner, max_connections_per_address, "0", 0, 100000),                          \
        LIMIT_NUMBER(owner, max_requests_per_connection, "1000000", 0, 1000000000),                \
        LIMIT_ROW(owner, UT_FIELD_BYTES, "max_header_bytes", max_header_bytes, "16KiB", 1024,      \
                  1048576),                                                                        \
        LIMIT_NUMBER(owner, max_header_fields, "128", 16, 10000),                                  \
        LIMIT_TIME(owner, read_timeout, "1m"), LIMIT_TIME(owner, write_timeout, "30s"),            \
        LIMIT_ROW(owner, UT_FIELD_BYTES, "min_receive_rate", min_receive_rate, "240", 0, 1048576), \
        LIMIT_TIME(owner, receive_grace, "10s")

#define GRPC_AT(member) offsetof(struct ut_otlp_grpc_settings, member)

static const struct ut_field grpc_fields[] = {
    {.key = "endpoint",
     .type = UT_FIELD_STRING,
     .offset = GRPC_AT(endpoint),
     .fallback = "localhost:4317"},
    UT_OTLP_ACCESS_FIELDS(struct ut_otlp_grpc_settings),
    TLS_ROW(struct ut_otlp_grpc_settings),
    {.key = "max_recv_msg_size_mib",
     .type = UT_FIELD_UINT,
     .offset = GRPC_AT(max_recv_msg_size_mib),
     .fallback = "64",
     .least = 1,
     .most = 1024},
    LIMIT_ROWS(struct ut_otlp_grpc_settings),
    {.key = "handshake_timeout",
     .type = UT_FIELD_DURATION,
     .offset = GRPC_AT(handshake_timeout_ns),
     .fallback = "10s",
     .least = 0.1,
     .most = 600},
    {.key = "keepalive",
     .type = UT_FIELD_MAP,
     .offset = GRPC_AT(keepalive),
     .fields = keepalive_fields,
     .present = UT_FIELD_NO_PRESENT},
    UT_FIELD_END,
};

#define CORS_AT(member) offsetof(struct ut_otlp_cors_settings, member)

static const struct ut_field cors_fields[] = {
    {.key = "allowed_origins", .type = UT_FIELD_STRINGS, .offset = CORS_AT(allowed_origins)},
    {.key = "allowed_headers", .type = UT_FIELD_STRINGS, .offset = CORS_AT(allowed_headers)},
    {.key = "max_age", .type = UT_FIELD_UINT, .offset = CORS_AT(max_age_s), .most = 31536000},
    UT_FIELD_END,
};

#define HTTP_AT(member) offsetof(struct ut_otlp_http_settings, member)

static const struct ut_field http_fields[] = {
    {.key = "endpoint",
     .type = UT_FIELD_STRING,
     .offset = HTTP_AT(endpoint),
     .fallback = "localhost:4318"},
    UT_OTLP_ACCESS_FIELDS(struct ut_otlp_http_settings),
    TLS_ROW(struct ut_otlp_http_settings),
    {.key = "traces_url_path",
     .type = UT_FIELD_STRING,
     .offset = HTTP_AT(traces_url_path),
     .fallback = "/v1/traces"},
    {.key = "metrics_url_path",
     .type = UT_FIELD_STRING,
     .offset = HTTP_AT(metrics_url_path),
     .fallback = "/v1/metrics"},
    {.key = "logs_url_path",
     .type = UT_FIELD_STRING,
     .offset = HTTP_AT(logs_url_path),
     .fallback = "/v1/logs"},
    {.key = "cors",
     .type = UT_FIELD_MAP,
     .offset = HTTP_AT(cors),
     .fields = cors_fields,
     .present = UT_FIELD_NO_PRESENT},
    {.key = "compression_algorithms",
     .type = UT_FIELD_STRINGS,
     .offset = HTTP_AT(compression_algorithms)},
    {.key = "max_request_body_size",
     .type = UT_FIELD_BYTES,
     .offset = HTTP_AT(max_request_body_size),
     .fallback = "64MiB",
     .least = 1024,
     .most = 1073741824},
    LIMIT_ROWS(struct ut_otlp_http_settings),
    {.key = "read_header_timeout",
     .type = UT_FIELD_DURATION,
     .offset = HTTP_AT(read_header_timeout_ns),
     .fallback = "10s",
     .least = 0.1,
     .most = 600},
    {.key = "idle_timeout",
     .type = UT_FIELD_DURATION,
     .offset = HTTP_AT(idle_timeout_ns),
     .fallback = "10m",
     .most = 86400},
    {.key = "keep_alives_enabled",
     .type = UT_FIELD_BOOL,
     .offset = HTTP_AT(keep_alives_enabled),
     .fallback = "true"},
    UT_FIELD_END,
};

static const struct ut_field protocol_fields[] = {
    {.key = "grpc",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_otlp_protocols, grpc),
     .fields = grpc_fields,
     .present = offsetof(struct ut_otlp_protocols, has_grpc)},
    {.key = "http",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_otlp_protocols, http),
     .fields = http_fields,
     .present = offsetof(struct ut_otlp_protocols, has_http)},
    UT_FIELD_END,
};

static const char *const invalid_utf8_words[] = {
    [UT_OTLP_UTF8_REPLACE] = "replace",
    [UT_OTLP_UTF8_REJECT] = "reject",
    NULL,
};

const struct ut_field ut_otlp_receiver_fields[] = {
    {.key = "protocols",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_otlp_receiver_settings, protocols),
     .fields = protocol_fields,
     .present = offsetof(struct ut_otlp_receiver_settings, has_protocols)},
    {.key = "invalid_utf8",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct ut_otlp_receiver_settings, invalid_utf8),
     .fallback = "replace",
     .words = invalid_utf8_words},
    UT_FIELD_END,
};

static void check_endpoint(struct ut_config_report *report, const char *path, const char *endpoint,
                           const struct ut_otlp_access_settings *access)
{
    struct ut_endpoint_text text;
    const char *error;
    if (endpoint == NULL || ut_otlp_access_is_unix(access, endpoint))
        return;
    if (ut_endpoint_parse(&text, endpoint, 0, &error) != 0)
        report->error(report, path, "%s", error);
    else if (text.scheme != UT_SCHEME_NONE)
        report->error(report, path, "an address to listen on has no scheme");
}

/* Each port takes both protocols, and only one can listen at a path. */
static void check_one_socket(struct ut_config_report *report,
                             const struct ut_otlp_receiver_settings *settings)
{
    const struct ut_otlp_protocols *protocols = &settings->protocols;
    const char *grpc = protocols->grpc.endpoint, *http = protocols->http.endpoint;
    if (protocols->has_grpc && protocols->has_http && grpc != NULL && http != NULL &&
        strcmp(grpc, http) == 0 && ut_otlp_access_is_unix(&protocols->http.access, http))
        report->error(report, "protocols.http.endpoint",
                      "protocols.grpc listens there, and takes HTTP as well: leave `http:` out");
}

/* Names in certificates are worth something where somebody has verified them. */
static void check_certificates(struct ut_config_report *report, const char *path,
                               const struct ut_otlp_access_settings *access,
                               const struct ut_tls_settings *tls)
{
    if (access->auth.has_client_cert && (tls == NULL || tls->ca_file == NULL))
        report->error(report, path, "needs tls.client_ca_file beside auth");
}

static void check_path(struct ut_config_report *report, const char *key, const char *path)
{
    if (path != NULL && (path[0] != '/' || strpbrk(path, "?# ") != NULL))
        report->error(report, key, "a path begins with / and has no query");
}

static void check_cors(struct ut_config_report *report, const struct ut_otlp_cors_settings *cors)
{
    size_t size = 0;
    for (size_t i = 0; i < cors->allowed_origins.count; i++) {
        const char *star = strchr(cors->allowed_origins.items[i], '*');
        if (star != NULL && strchr(star + 1, '*') != NULL)
            report->error(report, "protocols.http.cors.allowed_origins",
                          "an origin has one * at most");
    }
    for (size_t i = 0; i < cors->allowed_headers.count; i++)
        size += strlen(cors->allowed_headers.items[i]) + 2;
    if (size > UT_OTLP_CORS_HEADERS_MAX)
        report->error(report, "protocols.http.cors.allowed_headers",
                      "the names are longer than %d bytes in all", UT_OTLP_CORS_HEADERS_MAX);
}

static void check_codings(struct ut_config_report *report, const struct ut_strings *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (ut_coding_of(ut_slice_str(names->items[i])) == UT_CODING_UNKNOWN)
            report->error(report, "protocols.http.compression_algorithms",
                          "\"%s\" is not supported; gzip, zstd and deflate are", names->items[i]);
    }
}

uint32_t ut_otlp_http_codings(const struct ut_otlp_http_settings *http)
{
    const struct ut_strings *names = &http->compression_algorithms;
    uint32_t codings = 0;
    for (size_t i = 0; i < names->count; i++)
        codings |= 1u << ut_coding_of(ut_slice_str(names->items[i]));
    return names->count > 0 ? codings : (1u << UT_CODINGS) - 1;
}

void ut_otlp_codings_text(char out[UT_OTLP_CODINGS_TEXT], uint32_t codings)
{
    int size = 0;
    for (enum ut_coding coding = UT_CODING_GZIP; coding < UT_CODINGS; coding++) {
        if ((codings >> coding & 1) != 0)
            size += snprintf(out + size, (size_t)(UT_OTLP_CODINGS_TEXT - size), "%s, ",
                             ut_coding_name(coding));
    }
    (void)snprintf(out + size, (size_t)(UT_OTLP_CODINGS_TEXT - size), "identity");
}

void ut_otlp_receiver_check(const void *config, struct ut_config_report *report)
{
    const struct ut_otlp_receiver_settings *settings = config;
    const struct ut_otlp_grpc_settings *grpc = &settings->protocols.grpc;
    const struct ut_otlp_http_settings *http = &settings->protocols.http;
    if (!settings->protocols.has_grpc && !settings->protocols.has_http) {
        report->error(report, settings->has_protocols ? "protocols" : "",
                      "name at least one protocol: `protocols: {grpc: , http: }`");
        return;
    }
    check_endpoint(report, "protocols.grpc.endpoint", grpc->endpoint, &grpc->access);
    check_endpoint(report, "protocols.http.endpoint", http->endpoint, &http->access);
    ut_otlp_access_check(report, "grpc", &grpc->access, grpc->endpoint);
    ut_otlp_access_check(report, "http", &http->access, http->endpoint);
    check_one_socket(report, settings);
    check_certificates(report, "protocols.grpc.auth.client_cert", &grpc->access,
                       grpc->has_tls ? &grpc->tls : NULL);
    check_certificates(report, "protocols.http.auth.client_cert", &http->access,
                       http->has_tls ? &http->tls : NULL);
    if (settings->protocols.has_grpc && grpc->has_tls)
        ut_tls_check(&grpc->tls, UT_TLS_SERVER, "protocols.grpc.tls", report);
    if (settings->protocols.has_http && http->has_tls)
        ut_tls_check(&http->tls, UT_TLS_SERVER, "protocols.http.tls", report);
    check_path(report, "protocols.http.traces_url_path", http->traces_url_path);
    check_path(report, "protocols.http.metrics_url_path", http->metrics_url_path);
    check_path(report, "protocols.http.logs_url_path", http->logs_url_path);
    check_cors(report, &http->cors);
    check_codings(report, &http->compression_algorithms);
}
