/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp receiver's settings as they come out of a configuration file. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "config_types.h"
#include "net/auth_settings.h"
#include "otlp_receiver/receiver.h"

static const char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

/* `behind` follows what stands under `service:`. `said` gets the messages; the caller frees it. */
static struct ut_config *read_both(const char *otlp, const char *behind, char **said)
{
    static struct ut_config_type receivers[2];
    receivers[0] = (struct ut_config_type){
        .name = "otlp",
        .fields = ut_receiver_otlp.fields,
        .config_size = ut_receiver_otlp.config_size,
        .check = ut_receiver_otlp.check,
        .listens = ut_receiver_otlp.endpoints,
        .names = ut_receiver_otlp.extensions,
    };
    static struct ut_config_type extensions[UT_AUTH_EXTENSIONS + 1];
    memcpy(extensions, ut_auth_extensions, sizeof(ut_auth_extensions));
    static struct ut_config_types types;
    types = (struct ut_config_types){
        .receivers = receivers,
        .processors = test_processors,
        .exporters = test_exporters,
        .extensions = extensions,
    };
    char text[2048];
    (void)snprintf(text, sizeof(text),
                   "receivers:\n  otlp:%s\nexporters:\n  debug:\nservice:\n  pipelines:\n"
                   "    traces: {receivers: [otlp], exporters: [debug]}\n%s",
                   otlp, behind);
    struct ut_config_messages messages;
    size_t size;
    FILE *out = open_memstream(said, &size);
    cr_assert_not_null(out);
    ut_config_messages_init(&messages, "c.yaml");
    struct ut_config_source source = {.text = ut_slice_str(text), .env = no_env};
    struct ut_config *config = ut_config_read(&source, &types, &messages);
    ut_config_messages_print(&messages, out);
    fclose(out);
    ut_config_messages_done(&messages);
    return config;
}

static struct ut_config *read_receiver(const char *otlp, char **said)
{
    return read_both(otlp, "", said);
}

static void expect_both(const char *otlp, const char *behind, const char *part)
{
    char *said;
    struct ut_config *config = read_both(otlp, behind, &said);
    cr_expect_null(config, "%s%s", otlp, behind);
    cr_expect_not_null(strstr(said, part), "%s%s said:\n%s", otlp, behind, said);
    free(said);
}

static void expect_error(const char *otlp, const char *part)
{
    expect_both(otlp, "", part);
}

Test(otlp_settings, text_that_is_not_utf8_is_replaced_or_rejected_and_nothing_else)
{
    char *said;
    struct ut_config *config = read_receiver(" {protocols: {http: }, invalid_utf8: reject}", &said);
    cr_assert_not_null(config, "%s", said);
    const struct ut_otlp_receiver_settings *settings = config->receivers.items[0].config;
    cr_expect_eq(settings->invalid_utf8, UT_OTLP_UTF8_REJECT);
    ut_config_free(config);
    free(said);
    expect_error(" {protocols: {http: }, invalid_utf8: drop}", "replace");
}

Test(otlp_settings, codings_are_all_unless_listed_and_unknown_ones_are_refused)
{
    static const struct {
        const char *otlp, *text;
    } rows[] = {
        {" {protocols: {http: }}", "gzip, deflate, zstd, identity"},
        {" {protocols: {http: {compression_algorithms: []}}}", "gzip, deflate, zstd, identity"},
        {" {protocols: {http: {compression_algorithms: [zstd, \"\"]}}}", "zstd, identity"},
        {" {protocols: {http: {compression_algorithms: [gzip, zlib]}}}", "gzip, deflate, identity"},
        {" {protocols: {http: {compression_algorithms: [\"\"]}}}", "identity"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *said, text[UT_OTLP_CODINGS_TEXT];
        struct ut_config *config = read_receiver(rows[i].otlp, &said);
        cr_assert_not_null(config, "%s", said);
        const struct ut_otlp_receiver_settings *settings = config->receivers.items[0].config;
        ut_otlp_codings_text(text, ut_otlp_http_codings(&settings->protocols.http));
        cr_expect_str_eq(text, rows[i].text);
        ut_config_free(config);
        free(said);
    }
    expect_error(" {protocols: {http: {compression_algorithms: [gzip, snappy]}}}",
                 "\"snappy\" is not supported; gzip, zstd and deflate are");
}

Test(otlp_settings, defaults_are_the_collectors_where_it_has_them)
{
    char *said;
    struct ut_config *config = read_receiver(" {protocols: {grpc: }}", &said);
    cr_assert_not_null(config, "%s", said);
    const struct ut_otlp_receiver_settings *settings = config->receivers.items[0].config;
    const struct ut_otlp_grpc_settings *grpc = &settings->protocols.grpc;
    cr_expect(settings->has_protocols && settings->protocols.has_grpc);
    cr_expect_eq(settings->invalid_utf8, UT_OTLP_UTF8_REPLACE);
    cr_expect_str_eq(grpc->endpoint, "localhost:4317");
    cr_expect_eq(grpc->max_recv_msg_size_mib, 64);
    cr_expect_eq(grpc->limits.max_concurrent_streams, 128);
    cr_expect_eq(grpc->limits.max_header_bytes, 16 << 10);
    cr_expect_eq(grpc->handshake_timeout_ns, 10 * UT_NS_PER_S);
    cr_expect_eq(grpc->keepalive.server_parameters.max_connection_idle_ns, 600 * UT_NS_PER_S);
    const char *listens = NULL;
    cr_expect_eq(ut_receiver_otlp.endpoints(settings, &listens, 1), 1);
    cr_expect_str_eq(listens, "localhost:4317");
    cr_expect_str_eq(settings->protocols.http.traces_url_path, "/v1/traces",
                     "HTTP is spoken on the port of gRPC too");
    ut_config_free(config);
    free(said);
}

Test(otlp_settings, every_key_is_read)
{
    char *said;
    struct ut_config *config =
        read_receiver(" {protocols: {grpc: {endpoint: '[::]:1', max_recv_msg_size_mib: 4, "
                      "max_concurrent_streams: 7, max_connections: 9, max_header_bytes: 8KiB, "
                      "max_connections_per_address: 3, max_requests_per_connection: 11, "
                      "max_header_fields: 20, handshake_timeout: 3s, read_timeout: 20s, "
                      "write_timeout: 7s, min_receive_rate: 1KiB, receive_grace: 2s, "
                      "keepalive: {server_parameters: {max_connection_idle: 0, "
                      "max_connection_age: 1h, max_connection_age_grace: 9s, time: 30s, "
                      "timeout: 4s}, enforcement_policy: {min_time: 5m, "
                      "permit_without_stream: false}}}}}",
                      &said);
    cr_assert_not_null(config, "%s", said);
    const struct ut_otlp_receiver_settings *settings = config->receivers.items[0].config;
    const struct ut_otlp_grpc_settings *grpc = &settings->protocols.grpc;
    cr_expect_str_eq(grpc->endpoint, "[::]:1");
    cr_expect_eq(grpc->max_recv_msg_size_mib, 4);
    cr_expect_eq(grpc->limits.max_concurrent_streams, 7);
    cr_expect_eq(grpc->limits.max_connections, 9);
    cr_expect_eq(grpc->limits.max_header_bytes, 8192);
    cr_expect_eq(grpc->limits.max_header_fields, 20);
    cr_expect_eq(grpc->handshake_timeout_ns, 3 * UT_NS_PER_S);
    cr_expect_eq(grpc->limits.read_timeout_ns, 20 * UT_NS_PER_S);
    cr_expect_eq(grpc->limits.max_connections_per_address, 3);
    cr_expect_eq(grpc->limits.max_requests_per_connection, 11);
    cr_expect_eq(grpc->limits.write_timeout_ns, 7 * UT_NS_PER_S);
    cr_expect_eq(grpc->limits.min_receive_rate, 1024);
    cr_expect_eq(grpc->limits.receive_grace_ns, 2 * UT_NS_PER_S);
    cr_expect_eq(grpc->keepalive.server_parameters.max_connection_idle_ns, 0);
    cr_expect_eq(grpc->keepalive.server_parameters.max_connection_age_ns, 3600 * UT_NS_PER_S);
    cr_expect_eq(grpc->keepalive.server_parameters.max_connection_age_grace_ns, 9 * UT_NS_PER_S);
    cr_expect_eq(grpc->keepalive.server_parameters.time_ns, 30 * UT_NS_PER_S);
    cr_expect_eq(grpc->keepalive.server_parameters.timeout_ns, 4 * UT_NS_PER_S);
    cr_expect_eq(grpc->keepalive.enforcement_policy.min_time_ns, 300 * UT_NS_PER_S);
    cr_expect_not(grpc->keepalive.enforcement_policy.permit_without_stream);
    ut_config_free(config);
    free(said);
}

Test(otlp_settings, http_has_the_collectors_keys_and_defaults)
{
    char *said;
    struct ut_config *config = read_receiver(" {protocols: {http: }}", &said);
    cr_assert_not_null(config, "%s", said);
    const struct ut_otlp_receiver_settings *settings = config->receivers.items[0].config;
    const struct ut_otlp_http_settings *http = &settings->protocols.http;
    cr_expect(settings->protocols.has_http && !settings->protocols.has_grpc);
    cr_expect_str_eq(http->endpoint, "localhost:4318");
    cr_expect_str_eq(http->traces_url_path, "/v1/traces");
    cr_expect_eq(http->max_request_body_size, 64 << 20);
    cr_expect_eq(http->read_header_timeout_ns, 10 * UT_NS_PER_S);
    cr_expect_eq(http->cors.allowed_origins.count, 0);
    cr_expect(http->keep_alives_enabled);
    const char *listens[2] = {0};
    cr_expect_eq(ut_receiver_otlp.endpoints(settings, listens, 2), 1);
    cr_expect_str_eq(listens[0], "localhost:4318");
    ut_config_free(config);
    free(said);
}

Test(otlp_settings, every_key_of_http_is_read)
{
    char *said;
    struct ut_config *config =
        read_receiver(" {protocols: {grpc: , http: {endpoint: '[::]:1', traces_url_path: /t, "
                      "metrics_url_path: /m, logs_url_path: /l, max_request_body_size: 1MiB, "
                      "max_concurrent_streams: 7, max_connections: 9, max_header_bytes: 8KiB, "
                      "max_header_fields: 20, read_header_timeout: 3s, read_timeout: 20s, "
                      "write_timeout: 7s, idle_timeout: 0, "
                      "keep_alives_enabled: false, cors: {allowed_origins: ['https://*.x', a], "
                      "allowed_headers: [X-A], max_age: 60}}}}",
                      &said);
    cr_assert_not_null(config, "%s", said);
    const struct ut_otlp_receiver_settings *settings = config->receivers.items[0].config;
    const struct ut_otlp_http_settings *http = &settings->protocols.http;
    cr_expect_str_eq(http->endpoint, "[::]:1");
    cr_expect_str_eq(http->traces_url_path, "/t");
    cr_expect_str_eq(http->metrics_url_path, "/m");
    cr_expect_str_eq(http->logs_url_path, "/l");
    cr_expect_eq(http->max_request_body_size, 1 << 20);
    cr_expect_eq(http->limits.max_concurrent_streams, 7);
    cr_expect_eq(http->limits.max_connections, 9);
    cr_expect_eq(http->limits.max_header_bytes, 8192);
    cr_expect_eq(http->limits.max_header_fields, 20);
    cr_expect_eq(http->read_header_timeout_ns, 3 * UT_NS_PER_S);
    cr_expect_eq(http->limits.read_timeout_ns, 20 * UT_NS_PER_S);
    cr_expect_eq(http->limits.write_timeout_ns, 7 * UT_NS_PER_S);
    cr_expect_eq(http->idle_timeout_ns, 0);
    cr_expect_not(http->keep_alives_enabled);
    cr_expect_eq(http->cors.allowed_origins.count, 2);
    cr_expect_eq(http->cors.allowed_headers.count, 1);
    cr_expect_eq(http->cors.max_age_s, 60);
    const char *listens[2] = {0};
    cr_expect_eq(ut_receiver_otlp.endpoints(settings, listens, 2), 2);
    ut_config_free(config);
    free(said);
}

Test(otlp_settings, what_cannot_work_is_an_error)
{
    expect_error("", "name at least one protocol");
    expect_error(" {protocols: }", "name at least one protocol");
    expect_error(" {protocols: {grpc: {endpoint: '4317'}}}", "a port is missing");
    expect_error(" {protocols: {grpc: {endpoint: 'http://localhost:4317'}}}", "no scheme");
    expect_error(" {protocols: {grpc: {endpoint: '::1:4317'}}}", "brackets");
    expect_error(" {protocols: {grpc: {endpont: ':1'}}}", "endpoint");
    expect_error(" {protocols: {grpc: {max_connections: -1}}}", "max_connections");
    expect_error(" {protocols: {http: {endpoint: '4318'}}}", "a port is missing");
    expect_error(" {protocols: {http: {traces_url_path: v1/traces}}}", "a path begins with /");
    expect_error(" {protocols: {http: {cors: {allowed_origins: ['*.*']}}}}", "one * at most");
    expect_error(" {protocols: {http: {max_request_body_siz: 1}}}", "max_request_body_size");
}

Test(otlp_settings, unix_sockets_are_endpoints_of_both_protocols)
{
    char *said;
    struct ut_config *config = read_receiver(
        " {protocols: {grpc: {endpoint: 'unix:///run/a.sock', socket_mode: '0666', socket_owner: "
        "app, socket_group: '7', auth: {allowed_uids: [0, app, '*'], allowed_gids: [7]}}, http: "
        "{transport: unix, endpoint: /run/b.sock, socket_mode: 660}}}",
        &said);
    cr_assert_not_null(config, "%s", said);
    const struct ut_otlp_receiver_settings *settings = config->receivers.items[0].config;
    const struct ut_otlp_access_settings *grpc = &settings->protocols.grpc.access;
    const struct ut_otlp_access_settings *http = &settings->protocols.http.access;
    cr_expect(ut_otlp_access_is_unix(grpc, settings->protocols.grpc.endpoint));
    cr_expect(ut_otlp_access_is_unix(http, settings->protocols.http.endpoint));
    cr_expect_str_eq(grpc->socket_mode, "0666");
    cr_expect_str_eq(grpc->socket_owner, "app");
    cr_expect_str_eq(grpc->socket_group, "7");
    cr_expect_eq(grpc->auth.allowed_uids.count, 3);
    cr_expect_eq(grpc->auth.allowed_gids.count, 1);
    cr_expect(grpc->has_auth);
    cr_expect_not(http->has_auth);
    ut_config_free(config);
    free(said);
}

Test(otlp_settings, unix_sockets_that_cannot_work_are_errors)
{
    expect_error(" {protocols: {grpc: {endpoint: 'unix:relative'}}}", "unix:///absolute/path");
    expect_error(" {protocols: {grpc: {transport: unix}}}", "unix:///absolute/path");
    expect_error(" {protocols: {grpc: {transport: udp}}}", "transport");
    expect_error(" {protocols: {http: {endpoint: 'unix:/a', socket_mode: '0888'}}}",
                 "protocols.http.socket_mode: expected three octal digits");
    expect_error(" {protocols: {http: {endpoint: 'unix:/a', socket_mode: '1777'}}}", "octal");
    expect_error(" {protocols: {http: {endpoint: 'unix:/a', socket_mode: rw}}}", "octal");
    expect_error(" {protocols: {http: {socket_mode: '0660'}}}", "belongs to a unix socket");
    expect_error(" {protocols: {grpc: {auth: {allowed_uids: [0]}}}}",
                 "protocols.grpc.auth.allowed_uids: belongs to a unix socket");
    expect_error(" {protocols: {grpc: {endpoint: 'unix:/a'}, http: {endpoint: 'unix:/a'}}}",
                 "takes HTTP as well");
}

Test(otlp_settings, senders_can_be_asked_for_tokens)
{
    char *said;
    struct ut_config *config = read_receiver(
        " {protocols: {grpc: {auth: {any: [bearer], bearer: {token_file: /t}}}, http: {auth: "
        "{bearer: {token_file: /u, scheme: '', header: X-Key}}}}}",
        &said);
    cr_assert_not_null(config, "%s", said);
    const struct ut_otlp_receiver_settings *settings = config->receivers.items[0].config;
    const struct ut_otlp_auth_settings *grpc = &settings->protocols.grpc.access.auth;
    const struct ut_otlp_auth_settings *http = &settings->protocols.http.access.auth;
    cr_expect_str_eq(grpc->bearer.token_file, "/t");
    cr_expect_str_eq(grpc->bearer.scheme, "Bearer");
    cr_expect_str_eq(grpc->bearer.header, "Authorization");
    cr_expect_str_eq(http->bearer.scheme, "");
    cr_expect_str_eq(http->bearer.header, "X-Key");
    ut_config_free(config);
    free(said);
    expect_error(" {protocols: {grpc: {auth: }}}", "auth: asks for nothing");
    expect_error(" {protocols: {grpc: {auth: {bearer: }}}}", "token_file is missing");
    expect_error(" {protocols: {grpc: {auth: {any: [bearer]}}}}", "there is no `bearer:");
    expect_error(" {protocols: {grpc: {auth: {any: [token], bearer: {token_file: /t}}}}}",
                 "\"token\" is no way to authenticate");
    expect_error(" {protocols: {grpc: {auth: {client_cert: {names: [a]}}}}}",
                 "client_cert: needs tls.client_ca_file");
    expect_error(" {protocols: {grpc: {auth: {client_cert: }}}}", "names is missing");
    expect_error(" {protocols: {grpc: {auth: {any: [client_cert], bearer: {token_file: /t}}}}}",
                 "leaves bearer out");
    expect_error(" {protocols: {grpc: {auth: {bearer: {token_file: /t, scheme: a b}}}}}",
                 "words without blanks");
    expect_error(" {protocols: {grpc: {auth: {authenticator: x, bearer: {token_file: /t}}}}}",
                 "remove one");
}

#define SECTION "  extensions: [bearertokenauth/x, basicauth]\nextensions:\n"

Test(otlp_settings, extensions_of_the_collector_are_authenticators)
{
    char *said;
    const char *ours = " {protocols: {grpc: {auth: {authenticator: bearertokenauth/x}}, http: "
                       "{auth: {authenticator: basicauth}}}}";
    struct ut_config *config =
        read_both(ours,
                  SECTION "  bearertokenauth/x: {tokens: [a, b], scheme: Token, header: X-Key}\n"
                          "  basicauth: {htpasswd: {file: /h, inline: \"a:b\\nc:d\"}}\n",
                  &said);
    cr_assert_not_null(config, "%s", said);
    cr_expect_eq(config->extensions.count, 2);
    cr_expect_eq(config->extensions.items[0].uses, 1);
    const struct ut_bearer_extension *bearer = config->extensions.items[0].config;
    const struct ut_basic_extension *basic = config->extensions.items[1].config;
    cr_expect_eq(bearer->tokens.count, 2);
    cr_expect_str_eq(bearer->scheme, "Token");
    cr_expect_str_eq(basic->htpasswd.file, "/h");
    struct ut_auth_setup setup;
    cr_expect(ut_auth_setup_of(&setup, "bearertokenauth", bearer));
    cr_expect_eq(setup.text_count, 2);
    cr_expect_null(setup.file);
    cr_expect(ut_auth_setup_of(&setup, "basicauth", basic));
    cr_expect_eq(setup.kind, UT_AUTH_BASIC);
    cr_expect_str_eq(setup.file, "/h");
    cr_expect_not(ut_auth_setup_of(&setup, "oidc", basic));
    ut_config_free(config);
    free(said);

    expect_both(ours, "  extensions: [bearertokenauth/x, basicauth]\n", "not defined");
    expect_both(ours,
                "extensions: {bearertokenauth/x: {token: a}, basicauth: {htpasswd: {inline: "
                "'a:b'}}}\n",
                "service.extensions does not name it");
    expect_both(ours, SECTION "  bearertokenauth/x:\n  basicauth:\n",
                "expected one of token, tokens and filename");
    expect_both(ours, SECTION "  bearertokenauth/x: {token: a b}\n  basicauth:\n",
                "no header field");
    expect_both(ours,
                SECTION "  bearertokenauth/x: {token: a}\n  basicauth: {htpasswd: {inline: "
                        "'a:$2y$10$x'}}\n",
                "htpasswd -s");
    expect_both(ours, SECTION "  bearertokenauth/x: {token: a}\n  basicauth: {htpasswd: }\n",
                "expected file, inline or both");
    expect_both(" {protocols: {grpc: {auth: {authenticator: health_check}}}}",
                "  extensions: [health_check]\nextensions: {health_check: }\n", "cannot do this");
}
