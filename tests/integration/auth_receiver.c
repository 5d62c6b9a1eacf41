/* SPDX-License-Identifier: Apache-2.0 */
/* Who may send: what the otlp receiver answers to requests with and without credentials. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "http_harness.h"
#include "otlp_builder.h"

#define MIB ((size_t)1 << 20)

static struct harness harness;
static char folder[64], path[96];

static struct ut_otlp_access_settings *access_settings(void)
{
    return &harness.settings.protocols.grpc.access;
}

static void write_tokens(const char *text)
{
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void set_up(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/ut-who-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/tokens", folder);
    write_tokens("sesame\n");
    http_harness_defaults(&harness);
    harness.settings.protocols.has_http = false; /* the port of gRPC takes it */
    access_settings()->has_auth = access_settings()->auth.has_bearer = true;
    access_settings()->auth.bearer.token_file = path;
}

static void tear_down(void)
{
    harness_done(&harness);
    (void)unlink(path);
    cr_expect_eq(rmdir(folder), 0);
}

TestSuite(auth_receiver, .init = set_up, .fini = tear_down);

static struct http_answer ask(struct http_client *client, const char *fields, const char *body)
{
    char text[24 << 10];
    (void)snprintf(text, sizeof(text), "%s\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s", fields,
                   strlen(body), body);
    http_send(&harness, client, text);
    return http_await(&harness, client, false);
}

#define POST "POST /v1/traces HTTP/1.1\r\nContent-Type: application/json"

static double refused(const char *reason)
{
    char line[160];
    (void)snprintf(line, sizeof(line),
                   "undertrace_receiver_auth_refused_total{receiver=\"otlp\",transport=\"grpc\","
                   "reason=\"%s\"",
                   reason);
    return harness_metric(&harness, line);
}

static double granted(const char *by)
{
    char line[160];
    (void)snprintf(line, sizeof(line),
                   "undertrace_receiver_auth_requests_total{receiver=\"otlp\",transport=\"grpc\","
                   "by=\"%s\"",
                   by);
    return harness_metric(&harness, line);
}

Test(auth_receiver, http_without_the_right_credentials_is_401_and_the_connection_lives)
{
    static char huge[8192] = POST "\r\nAuthorization: Bearer ";
    static const struct {
        const char *fields, *reason;
    } rows[] = {
        {POST, "missing"},
        {POST "\r\nAuthorization: Bearer wrong", "credentials"},
        {POST "\r\nAuthorization: Bearer", "malformed"},
        {POST "\r\nAuthorization: Basic c2VzYW1lOnNlc2FtZQ==", "scheme"},
        {POST "\r\nAuthorization: sesame", "scheme"},
        {POST "\r\nAuthorization: Bearer sesame\r\nAuthorization: Bearer sesame", "several"},
        {POST "\r\nAuthorization: Bearer wrong\r\nauthorization: Bearer sesame", "several"},
        {POST "\r\nProxy-Authorization: Bearer sesame", "missing"},
        {huge, "malformed"},
        {"GET /v1/traces HTTP/1.1", "missing"},
        {"POST /nothing/here HTTP/1.1", "missing"},
        {"POST /v1/metrics HTTP/1.1\r\nContent-Type: application/json", "missing"},
        {"POST /v1/traces HTTP/1.1\r\nContent-Type: text/plain", "missing"},
    };
    memset(huge + strlen(huge), 'x', 5000);
    harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double before = refused(rows[i].reason);
        struct http_answer answer = ask(client, rows[i].fields, "{}");
        cr_expect_eq(answer.status, 401, "row %zu: %d", i, answer.status);
        cr_expect_not_null(
            strstr(answer.head, "\r\nWww-Authenticate: Bearer realm=\"undertrace\"\r\n"),
            "row %zu: %s", i, answer.head);
        cr_expect_not_null(strstr(answer.body, "{\"code\":16,\"message\":\""), "row %zu: %s", i,
                           answer.body);
        cr_expect_eq(refused(rows[i].reason), before + 1, "row %zu: %s", i, rows[i].reason);
    }
    struct http_answer answer = ask(client, POST "\r\nAuthorization: Bearer sesame", "{}");
    cr_expect_eq(answer.status, 200, "%d", answer.status);
    cr_expect_null(strstr(answer.head, "Authenticate"));
    cr_expect_eq(granted("bearer"), 1);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_requests_total{receiver=\"otlp\","
                                          "transport=\"http\",code=\"401\""),
                 sizeof(rows) / sizeof(rows[0]));
    http_disconnect(client);
}

Test(auth_receiver, protobuf_is_refused_in_protobuf)
{
    harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    http_post(&harness, client, "", 0);
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 401);
    cr_expect_not_null(strstr(answer.head, "Content-Type: application/x-protobuf\r\n"));
    cr_expect_eq(memcmp(answer.body, "\x08\x10\x12", 3), 0, "UNAUTHENTICATED");
    http_disconnect(client);
}

Test(auth_receiver, who_has_credentials_is_told_what_else_is_wrong)
{
    harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    static const struct {
        const char *fields;
        int status;
    } rows[] = {
        {"POST /nothing HTTP/1.1\r\nAuthorization: Bearer sesame", 404},
        {"GET /v1/traces HTTP/1.1\r\nAuthorization: Bearer sesame", 405},
        {"POST /v1/traces HTTP/1.1\r\nAuthorization: Bearer sesame", 415},
        {"OPTIONS /v1/traces HTTP/1.1", 204},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(ask(client, rows[i].fields, "").status, rows[i].status, "row %zu", i);
    cr_expect_eq(granted("bearer"), 3, "OPTIONS needs none");
    http_disconnect(client);
}

Test(auth_receiver, browsers_ask_first_without_credentials)
{
    static char *origins[] = {(char *)(uintptr_t) "https://app"};
    static char *any[] = {(char *)(uintptr_t) "*"};
    harness.settings.protocols.http.cors.allowed_origins = (struct ut_strings){origins, 1};
    harness.settings.protocols.http.cors.allowed_headers = (struct ut_strings){any, 1};
    harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    struct http_answer answer =
        ask(client,
            "OPTIONS /v1/traces HTTP/1.1\r\nOrigin: https://app\r\nAccess-Control-Request-Method: "
            "POST\r\nAccess-Control-Request-Headers: authorization",
            "");
    cr_expect_eq(answer.status, 204);
    cr_expect_not_null(strstr(answer.head, "Access-Control-Allow-Headers: authorization\r\n"));
    answer = ask(client, POST "\r\nOrigin: https://app", "{}");
    cr_expect_eq(answer.status, 401);
    cr_expect_not_null(strstr(answer.head, "Access-Control-Allow-Origin: https://app\r\n"),
                       "the page may read why");
    http_disconnect(client);
}

Test(auth_receiver, body_of_a_stranger_is_never_charged)
{
    static char body[200 << 10];
    harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    char head[256];
    (void)snprintf(head, sizeof(head), POST "\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                   sizeof(body));
    http_send(&harness, client, head);
    cr_expect_eq(http_await(&harness, client, false).status, 401, "before the body has come");
    for (int i = 0; i < 4; i++) {
        http_send_pieces(&harness, client, body + i * sizeof(body) / 4, sizeof(body) / 4, 4096);
        cr_expect_eq(harness.worker.budget.used, 0);
    }
    struct http_answer answer = ask(client, POST "\r\nAuthorization: Bearer sesame", "{}");
    cr_expect_eq(answer.status, 200, "the rest was swallowed");
    http_disconnect(client);

    client = http_connect(&harness);
    http_send(&harness, client,
              POST "\r\nHost: a\r\nContent-Length: 50000000\r\nExpect: 100-continue\r\n\r\n");
    cr_expect_eq(http_await(&harness, client, false).status, 401, "and no 100");
    cr_expect(http_is_ended(&harness, client), "so much is not waited for");
    http_disconnect(client);
}

static struct grpc_reply *export(struct harness_client *client, const char *type,
                                 const char *path_asked, const char *credentials)
{
    const nghttp2_nv field = {
        .name = (uint8_t *)(uintptr_t) "authorization",
        .namelen = 13,
        .value = (uint8_t *)(uintptr_t)credentials,
        .valuelen = credentials != NULL ? strlen(credentials) : 0,
    };
    bool grpc = type == NULL;
    const struct grpc_request request = {
        .path = path_asked,
        .content_type = type,
        .body = grpc ? "\0\0\0\0\0" : "{}",
        .size = grpc ? 5 : 2,
        .extra = &field,
        .extra_count = credentials != NULL ? 1 : 0,
    };
    struct grpc_reply *reply = grpc_peer_send(&client->peer, &request);
    harness_await(&harness, client, reply);
    return reply;
}

Test(auth_receiver, grpc_without_the_right_credentials_is_unauthenticated)
{
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    static const char *const wrong[] = {NULL, "Bearer wrong", "Basic x", "Bearer"};
    for (int i = 0; i < 4; i++) {
        const struct grpc_reply *reply = export(client, NULL, NULL, wrong[i]);
        cr_expect_eq(reply->grpc_status, UT_GRPC_UNAUTHENTICATED, "row %d: %d", i,
                     reply->grpc_status);
        cr_expect_eq(reply->http_status, 200);
        cr_expect_str_empty(reply->details, "not to be sent again");
    }
    const struct grpc_reply *reply = export(client, NULL, "/unknown.Service/Method", NULL);
    cr_expect_eq(reply->grpc_status, UT_GRPC_UNAUTHENTICATED, "before anything else");
    reply = export(client, NULL, NULL, "Bearer sesame");
    cr_expect_eq(reply->grpc_status, 0, "%d: %s", reply->grpc_status, reply->message);
    reply = export(client, "application/json", "/v1/traces", NULL);
    cr_expect_eq(reply->http_status, 401, "HTTP/2: %d", reply->http_status);
    reply = export(client, "application/json", "/v1/traces", "Bearer sesame");
    cr_expect_eq(reply->http_status, 200);
    cr_expect_eq(granted("bearer"), 2);
    cr_expect_not(client->ended);
    harness_disconnect(client);
}

Test(auth_receiver, longest_token_fits_into_either_protocol)
{
    static char field[] = POST "\r\nAuthorization: Bearer ", value[UT_AUTH_SECRET_MAX + 8];
    static char fields[sizeof(field) + UT_AUTH_SECRET_MAX];
    memset(value, 't', sizeof(value) - 1);
    memcpy(value, "Bearer ", 7);
    write_tokens(value + 7);
    memcpy(fields, field, sizeof(field) - 1);
    memcpy(fields + sizeof(field) - 1, value + 7, UT_AUTH_SECRET_MAX);
    harness_start(&harness, 64 * MIB);
    struct http_client *http = http_connect(&harness);
    cr_expect_eq(ask(http, fields, "{}").status, 200);
    http_disconnect(http);
    struct harness_client *grpc = harness_connect(&harness, false);
    cr_expect_eq(export(grpc, NULL, NULL, value)->grpc_status, 0);
    harness_disconnect(grpc);
}

Test(auth_receiver, rotated_tokens_count_when_somebody_says_so)
{
    harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    write_tokens("open\n");
    cr_expect_eq(ask(client, POST "\r\nAuthorization: Bearer open", "{}").status, 401);
    ut_receiver_otlp.reread_files(harness.receiver);
    cr_expect_eq(ask(client, POST "\r\nAuthorization: Bearer open", "{}").status, 200);
    cr_expect_eq(ask(client, POST "\r\nAuthorization: Bearer sesame", "{}").status, 200,
                 "for a minute yet");
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_auth_file_reloads_total{"), 1);
    http_disconnect(client);
}

Test(auth_receiver, without_usable_tokens_it_does_not_start)
{
    char error[UT_ERROR_TEXT] = "";
    write_tokens("");
    cr_expect_eq(harness_start_error(&harness, error), -EINVAL);
    cr_expect_not_null(strstr(error, "tokens: it holds no credentials"), "%s", error);
    (void)unlink(path);
    cr_expect_eq(harness_start_error(&harness, error), -ENOENT);
    access_settings()->auth.authenticator = (char *)(uintptr_t) "basicauth/nowhere";
    cr_expect_eq(harness_start_error(&harness, error), -ENOENT);
    access_settings()->auth.authenticator = NULL;
    write_tokens("sesame\n");
    harness_start(&harness, 64 * MIB);
}

Test(auth_receiver, extensions_of_the_collector_say_who_may_send)
{
    static struct ut_basic_extension basic;
    static struct ut_bearer_extension bearer;
    static const struct ut_extension extensions[] = {
        {"bearertokenauth", "bearertokenauth", &bearer},
        {"basicauth/office", "basicauth", &basic},
    };
    basic.htpasswd.text = (char *)(uintptr_t) "alice:secret\n";
    bearer.scheme = (char *)(uintptr_t) "";
    bearer.header = (char *)(uintptr_t) "X-Api-Key";
    bearer.token = (char *)(uintptr_t) "sesame";
    static const struct {
        const char *id, *right, *wrong, *challenge;
    } rows[] = {
        {"basicauth/office", "Authorization: Basic YWxpY2U6c2VjcmV0",
         "Authorization: Bearer sesame", "\r\nWww-Authenticate: Basic realm="},
        {"bearertokenauth", "x-api-key: sesame", "X-Api-Key: Bearer sesame",
         "\r\nWww-Authenticate: Bearer realm="},
    };
    access_settings()->auth.has_bearer = false;
    for (int i = 0; i < 2; i++) {
        char fields[256];
        access_settings()->auth.authenticator = (char *)(uintptr_t)rows[i].id;
        harness.extensions = extensions;
        harness.extension_count = 2;
        harness_start(&harness, 64 * MIB);
        struct http_client *client = http_connect(&harness);
        (void)snprintf(fields, sizeof(fields), POST "\r\n%s", rows[i].right);
        cr_expect_eq(ask(client, fields, "{}").status, 200, "%s", rows[i].id);
        (void)snprintf(fields, sizeof(fields), POST "\r\n%s", rows[i].wrong);
        struct http_answer answer = ask(client, fields, "{}");
        cr_expect_eq(answer.status, 401, "%s", rows[i].id);
        cr_expect_not_null(strstr(answer.head, rows[i].challenge), "%s", answer.head);
        cr_expect_eq(granted(i == 0 ? "basic" : "bearer"), 1);
        http_disconnect(client);
        if (i == 0)
            harness_done(&harness);
        harness.stopped = false;
    }
}

Test(auth_receiver, users_of_a_unix_socket_come_first)
{
    char endpoint[128];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    static char *uids[] = {(char *)(uintptr_t) "54321"};
    (void)snprintf(endpoint, sizeof(endpoint), "unix://%s/otlp.sock", folder);
    memcpy(address.sun_path, endpoint + 7, strlen(endpoint + 7));
    harness.settings.protocols.grpc.endpoint = endpoint;
    for (int i = 0; i < 2; i++) {
        access_settings()->auth.allowed_uids = (struct ut_strings){uids, i == 0 ? 1 : 0};
        harness_start(&harness, 64 * MIB);
        struct http_client *client = calloc(1, sizeof(*client));
        client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        cr_assert_eq(connect(client->fd, (struct sockaddr *)&address, sizeof(address)), 0);
        if (i == 0) {
            cr_expect_eq(ask(client, POST "\r\nAuthorization: Bearer sesame", "{}").status, 0,
                         "the right token does not help");
            cr_expect_eq(refused("user"), 1);
        } else {
            cr_expect_eq(ask(client, POST, "{}").status, 401, "nor does the right user alone");
            cr_expect_eq(ask(client, POST "\r\nAuthorization: Bearer sesame", "{}").status, 200);
        }
        http_disconnect(client);
        if (i == 0)
            harness_done(&harness);
        harness.stopped = false;
    }
}
