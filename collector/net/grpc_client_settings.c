/* SPDX-License-Identifier: Apache-2.0 */
#include "net/grpc_client_settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "base/clock.h"

#define KEEPALIVE(member) offsetof(struct ut_link_keepalive, member)

/* With the least time that gRPC's own clients allow: servers take more for an attack. */
const struct ut_field ut_grpc_client_keepalive_fields[] = {
    {
        .key = "time",
        .type = UT_FIELD_DURATION,
        .offset = KEEPALIVE(time_ns),
        .least = 10,
        .most = 86400,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "timeout",
        .type = UT_FIELD_DURATION,
        .offset = KEEPALIVE(timeout_ns),
        .fallback = "20s",
        .least = 0.1,
        .most = 3600,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "permit_without_stream",
        .type = UT_FIELD_BOOL,
        .offset = KEEPALIVE(permit_without_stream),
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_FIELD_END,
};

bool ut_grpc_client_is_secure(const struct ut_grpc_client_settings *settings,
                              const struct ut_endpoint_text *endpoint)
{
    if (endpoint->scheme != UT_SCHEME_NONE)
        return endpoint->scheme == UT_SCHEME_HTTPS;
    return !settings->tls.insecure;
}

/* ---- the check ------------------------------------------------------------------------------ */

static void check_endpoint(const struct ut_grpc_client_settings *settings, uint16_t default_port,
                           struct ut_config_report *report)
{
    struct ut_endpoint_text endpoint;
    const char *error = "";
    if (settings->endpoint == NULL || settings->endpoint[0] == '\0') {
        report->error(report, "",
                      "endpoint is missing: the backend's address, as "
                      "\"https://traces.example:%u\"; http:// sends without TLS",
                      default_port);
        return;
    }
    if (ut_destination_parse(&endpoint, settings->endpoint, default_port, &error) != 0) {
        report->error(report, "endpoint", "\"%s\" is no address of a backend: %s",
                      settings->endpoint, error);
        return;
    }
    if (endpoint.all_addresses && settings->connections > 1)
        report->error(report, "connections",
                      "dns: opens one to each address; write the endpoint without it, or leave "
                      "connections out");
    if (ut_grpc_client_is_secure(settings, &endpoint))
        ut_tls_check(&settings->tls, UT_TLS_CLIENT, "tls", report);
}

static bool is_token(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && strchr("!#$%&'*+-.^_`|~", *at) == NULL)
            return false;
    }
    return text[0] != '\0';
}

static bool is_field_value(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
            return false;
    }
    return text[0] != ' ' && (text[0] == '\0' || text[strlen(text) - 1] != ' ');
}

/* Names that belong to the protocol. */
static bool is_reserved(const char *name)
{
    static const char *const names[] = {
        "connection", "content-length",    "content-type", "host",
        "te",         "transfer-encoding", "upgrade",      "user-agent"};
    if (name[0] == ':' || strncasecmp(name, "grpc-", 5) == 0)
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static void check_headers(const struct ut_pairs *headers, struct ut_config_report *report)
{
    size_t bytes = 0;
    for (size_t i = 0; i < headers->count; i++) {
        const char *key = headers->items[i].key;
        const char *value = headers->items[i].value;
        bytes += strlen(key) + strlen(value);
        if (is_reserved(key))
            report->error(report, "headers", "\"%s\" is set by the protocol itself", key);
        else if (!is_token(key))
            report->error(report, "headers", "\"%s\" is no name of a header", key);
        else if (!is_field_value(value))
            report->error(report, "headers",
                          "the value of \"%s\" has characters that a header cannot carry", key);
    }
    if (headers->count > UT_GRPC_CLIENT_HEADERS_MAX || bytes >= UT_GRPC_CLIENT_HEADER_BYTES)
        report->error(report, "headers", "at most %d headers and %d bytes in all",
                      UT_GRPC_CLIENT_HEADERS_MAX, UT_GRPC_CLIENT_HEADER_BYTES - 1);
}

static enum ut_coding coding_of(const char *compression)
{
    static const struct {
        const char *name;
        enum ut_coding coding;
    } known[] = {
        {"none", UT_CODING_IDENTITY},
        {"", UT_CODING_IDENTITY},
        {"gzip", UT_CODING_GZIP},
        {"zstd", UT_CODING_ZSTD},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(compression, known[i].name) == 0)
            return known[i].coding;
    }
    return UT_CODING_UNKNOWN;
}

/* On this host bytes cost less than compressing them. */
static bool is_this_host(const struct ut_endpoint_text *endpoint)
{
    const char *host = endpoint->host;
    return endpoint->scheme == UT_SCHEME_UNIX || strcasecmp(host, "localhost") == 0 ||
           strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

enum ut_coding ut_grpc_client_coding(const struct ut_grpc_client_settings *settings,
                                     const struct ut_endpoint_text *endpoint)
{
    if (settings->compression != NULL)
        return coding_of(settings->compression);
    return is_this_host(endpoint) ? UT_CODING_IDENTITY : UT_CODING_GZIP;
}

void ut_grpc_client_check(const struct ut_grpc_client_settings *settings, uint16_t default_port,
                          struct ut_config_report *report)
{
    check_endpoint(settings, default_port, report);
    check_headers(&settings->headers, report);
    if (settings->compression != NULL && coding_of(settings->compression) == UT_CODING_UNKNOWN)
        report->error(report, "compression", "\"%s\" is not supported; gzip, zstd and none are",
                      settings->compression);
}

/* ---- headers -------------------------------------------------------------------------------- */

static void add(struct ut_grpc_client_headers *headers, const char *name, const char *value)
{
    UT_CHECK(headers->count < UT_H2_CLIENT_HEADERS_MAX);
    headers->fields[headers->count++] =
        (struct ut_h2_header){ut_slice_str(name), ut_slice_str(value)};
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static void add_configured(struct ut_grpc_client_headers *headers, const struct ut_pairs *pairs)
{
    char *name = headers->names;
    for (size_t i = 0; i < pairs->count; i++) {
        const char *key = pairs->items[i].key;
        size_t size = strlen(key) + 1;
        UT_CHECK(size <= (size_t)(headers->names + sizeof(headers->names) - name));
        for (size_t k = 0; k < size; k++)
            name[k] = lower(key[k]);
        add(headers, name, pairs->items[i].value);
        name += size;
    }
}

/* Of a unix socket as other gRPC clients have it. */
static void write_authority(struct ut_grpc_client_headers *headers,
                            const struct ut_endpoint_text *endpoint)
{
    bool ipv6 = strchr(endpoint->host, ':') != NULL;
    if (endpoint->scheme == UT_SCHEME_UNIX)
        (void)snprintf(headers->authority, sizeof(headers->authority), "localhost");
    else
        (void)snprintf(headers->authority, sizeof(headers->authority), ipv6 ? "[%s]:%u" : "%s:%u",
                       endpoint->host, endpoint->port);
}

void ut_grpc_client_headers_init(struct ut_grpc_client_headers *headers,
                                 const struct ut_grpc_client_settings *settings,
                                 const struct ut_endpoint_text *endpoint, const char *path)
{
    write_authority(headers, endpoint);
    /* At most 8 digits (gRPC over HTTP/2, "Timeout"). */
    (void)snprintf(headers->timeout, sizeof(headers->timeout), "%llum",
                   (unsigned long long)(settings->timeout_ns / UT_NS_PER_MS));
    headers->count = 0;
    add(headers, ":method", "POST");
    add(headers, ":scheme", ut_grpc_client_is_secure(settings, endpoint) ? "https" : "http");
    add(headers, ":path", path);
    add(headers, ":authority", headers->authority);
    add(headers, "te", "trailers");
    add(headers, "content-type", "application/grpc");
    add(headers, "user-agent", "undertrace/" UT_VERSION);
    add(headers, "grpc-timeout", headers->timeout);
    enum ut_coding coding = ut_grpc_client_coding(settings, endpoint);
    if (coding != UT_CODING_IDENTITY)
        add(headers, "grpc-encoding", ut_coding_name(coding));
    add_configured(headers, &settings->headers);
}
