/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "net/endpoint.h"

#define SERVER_AT(member)                                                                          \
    offsetof(__typeof__(((struct ut_otlp_grpc_settings *)0)->keepalive.server_parameters), member)

static const struct ut_field server_parameter_fields[] = {
    {.key = "max_connection_idle",
     .type = UT_FIELD_DURATION,
     .offset = SERVER_AT(max_connection_idle_ns),
     .fallback = "10m",
     .most = 86400},
    UT_FIELD_END,
};

static const struct ut_field keepalive_fields[] = {
    {.key = "server_parameters",
     .type = UT_FIELD_MAP,
     .fields = server_parameter_fields,
     .present = UT_FIELD_NO_PRESENT},
    UT_FIELD_END,
};

#define GRPC_AT(member) offsetof(struct ut_otlp_grpc_settings, member)

static const struct ut_field grpc_fields[] = {
    {.key = "endpoint",
     .type = UT_FIELD_STRING,
     .offset = GRPC_AT(endpoint),
     .fallback = "localhost:4317"},
    {.key = "max_recv_msg_size_mib",
     .type = UT_FIELD_UINT,
     .offset = GRPC_AT(max_recv_msg_size_mib),
     .fallback = "64",
     .least = 1,
     .most = 1024},
    {.key = "max_concurrent_streams",
     .type = UT_FIELD_UINT,
     .offset = GRPC_AT(max_concurrent_streams),
     .fallback = "128",
     .least = 1,
     .most = 10000},
    {.key = "max_connections",
     .type = UT_FIELD_UINT,
     .offset = GRPC_AT(max_connections),
     .fallback = "1024",
     .least = 1,
     .most = 100000},
    {.key = "max_header_bytes",
     .type = UT_FIELD_BYTES,
     .offset = GRPC_AT(max_header_bytes),
     .fallback = "16KiB",
     .least = 1024,
     .most = 1048576},
    {.key = "max_header_fields",
     .type = UT_FIELD_UINT,
     .offset = GRPC_AT(max_header_fields),
     .fallback = "128",
     .least = 16,
     .most = 10000},
    {.key = "handshake_timeout",
     .type = UT_FIELD_DURATION,
     .offset = GRPC_AT(handshake_timeout_ns),
     .fallback = "10s",
     .least = 0.1,
     .most = 600},
    {.key = "request_timeout",
     .type = UT_FIELD_DURATION,
     .offset = GRPC_AT(request_timeout_ns),
     .fallback = "1m",
     .least = 0.1,
     .most = 3600},
    {.key = "keepalive",
     .type = UT_FIELD_MAP,
     .offset = GRPC_AT(keepalive),
     .fields = keepalive_fields,
     .present = UT_FIELD_NO_PRESENT},
    UT_FIELD_END,
};

static const struct ut_field protocol_fields[] = {
    {.key = "grpc",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_otlp_protocols, grpc),
     .fields = grpc_fields,
     .present = offsetof(struct ut_otlp_protocols, has_grpc)},
    UT_FIELD_END,
};

const struct ut_field ut_otlp_receiver_fields[] = {
    {.key = "protocols",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_otlp_receiver_settings, protocols),
     .fields = protocol_fields,
     .present = offsetof(struct ut_otlp_receiver_settings, has_protocols)},
    UT_FIELD_END,
};

void ut_otlp_receiver_check(const void *config, struct ut_config_report *report)
{
    const struct ut_otlp_receiver_settings *settings = config;
    if (!settings->protocols.has_grpc) {
        report->error(report, settings->has_protocols ? "protocols" : "",
                      "name at least one protocol: `protocols: {grpc: }`");
        return;
    }
    struct ut_endpoint_text text;
    const char *error;
    if (settings->protocols.grpc.endpoint == NULL)
        return;
    if (ut_endpoint_parse(&text, settings->protocols.grpc.endpoint, 0, &error) != 0)
        report->error(report, "protocols.grpc.endpoint", "%s", error);
    else if (text.scheme != UT_SCHEME_NONE)
        report->error(report, "protocols.grpc.endpoint", "an address to listen on has no scheme");
}
