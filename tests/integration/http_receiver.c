/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp receiver over HTTP on a real loop: verdicts, books, bodies, and the wrong port. */
#include "http_harness.h"
#include "malformed.h"

#define MIB ((size_t)1 << 20)

static struct harness harness;

static void set_up(void)
{
    http_harness_defaults(&harness);
}

static void tear_down(void)
{
    harness_done(&harness);
}

TestSuite(http_receiver, .init = set_up, .fini = tear_down);

static struct http_answer export_spans(struct http_client *client, size_t spans, size_t padding)
{
    struct otlp_bytes request = otlp_request_of(spans, padding);
    http_post(&harness, client, request.data, request.size);
    otlp_free(&request);
    return http_await(&harness, client, false);
}

static void expect_lives(struct http_client *client)
{
    cr_expect_eq(export_spans(client, 1, 0).status, 200);
    cr_expect(!client->ended);
}

Test(http_receiver, success_is_an_empty_message)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    struct http_answer answer = export_spans(client, 3, 100);
    cr_expect_eq(answer.status, 200);
    cr_expect_eq(answer.body_size, 0);
    cr_expect_not_null(strstr(answer.head, "\r\nContent-Type: application/x-protobuf\r\n"));
    cr_expect_not_null(strstr(answer.head, "\r\nContent-Length: 0\r\n"));
    cr_expect_eq(harness.target.spans, 3);
    cr_expect_neq(harness.target.sender.socket_cookie, 0);
    cr_expect_eq(harness_metric(&harness, "otelcol_receiver_accepted_spans{receiver=\"otlp\","
                                          "transport=\"http\""),
                 3);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_requests_total{receiver=\"otlp\","
                                          "transport=\"http\",code=\"200\""),
                 1);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_connections_total{receiver=\"otlp\","
                                          "transport=\"http\""),
                 1);
    http_disconnect(client);
}

/* partial_success.rejected_spans of a protobuf answer; 0: there is none. */
static unsigned rejected_spans(const struct http_answer *answer)
{
    if (answer->body_size < 4)
        return 0;
    cr_assert_eq(answer->body[0], 1 << 3 | 2);
    const uint8_t *p = (const uint8_t *)answer->body + 2;
    p += (answer->body[1] & 0x80) != 0; /* a length of two bytes */
    cr_assert_eq(*p, 1 << 3);
    unsigned value = p[1] & 0x7fu;
    return (p[1] & 0x80) != 0 ? value | (unsigned)p[2] << 7 : value;
}

static void check_row(const struct malformed *row, const struct http_answer *answer)
{
    cr_expect_eq(answer->status, row->answer == MALFORMED_REFUSED ? 400 : 200, "%s: %d", row->name,
                 answer->status);
    cr_expect_null(strstr(answer->head, "Retry-After"), "%s", row->name);
    if (row->answer == MALFORMED_OK)
        cr_expect_eq(answer->body_size, 0, "%s: no partial_success", row->name);
    if (row->answer == MALFORMED_PARTIAL)
        cr_expect_eq(rejected_spans(answer), row->left_out, "%s: rejected_spans", row->name);
    if (row->answer == MALFORMED_REFUSED)
        cr_expect_eq(memcmp(answer->body, "\x08\x03\x12", 3), 0, "%s: INVALID_ARGUMENT", row->name);
}

Test(http_receiver, each_malformed_body_has_its_status_and_the_connection_lives_on)
{
    harness.settings.invalid_utf8 = UT_OTLP_UTF8_REJECT;
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes body = {0};
    for (size_t i = 0; i < MALFORMED_COUNT; i++) {
        malformed_build(&body, &MALFORMED[i]);
        http_post(&harness, client, body.data, body.size);
        struct http_answer answer = http_await(&harness, client, false);
        check_row(&MALFORMED[i], &answer);
        http_post_chunked(&harness, client, body.data, body.size, body.size / 3 + 1);
        answer = http_await(&harness, client, false);
        check_row(&MALFORMED[i], &answer);
    }
    otlp_free(&body);
    expect_lives(client);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_received_spans{receiver=\"otlp\","
                                          "transport=\"http\""),
                 harness_metric(&harness, "otelcol_receiver_accepted_spans{receiver=\"otlp\","
                                          "transport=\"http\"") +
                     harness_metric(&harness, "undertrace_receiver_rejected_spans{"
                                              "receiver=\"otlp\",transport=\"http\""),
                 "the books balance");
    http_disconnect(client);
}

Test(http_receiver, json_is_answered_in_json)
{
    static const char good[] =
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":["
        "{\"traceId\":\"5B8EFFF798038103D269B633813FC60C\",\"spanId\":\"EEE19B7EC3C1B174\","
        "\"name\":\"a\",\"startTimeUnixNano\":\"1\",\"endTimeUnixNano\":2,\"kind\":2},"
        "{\"traceId\":\"00\",\"spanId\":\"EEE19B7EC3C1B174\",\"name\":\"bad\"}]}]}]}";
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    char text[1024];
    snprintf(text, sizeof(text),
             "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             strlen(good), good);
    http_send(&harness, client, text);
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 200);
    cr_expect_not_null(strstr(answer.head, "\r\nContent-Type: application/json\r\n"));
    cr_expect_not_null(strstr(answer.body, "\"partialSuccess\""), "%s", answer.body);
    cr_expect_eq(harness.target.spans, 1);
    http_send(&harness, client,
              "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
              "Content-Length: 3\r\n\r\n{]}");
    answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 400);
    cr_expect_eq(strncmp(answer.body, "{\"code\":3,", 10), 0, "%s", answer.body);
    cr_expect_eq(harness.worker.budget.used, 0);
    http_disconnect(client);
}

Test(http_receiver, busy_pipeline_is_503_with_whole_seconds)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    harness.target.verdict = UT_BUSY;
    struct http_answer answer = export_spans(client, 2, 0);
    cr_expect_eq(answer.status, 503);
    cr_expect_not_null(strstr(answer.head, "\r\nRetry-After: 2\r\n"), "1500 ms: %s", answer.head);
    cr_expect_not_null(memmem(answer.body, answer.body_size, "google.rpc.RetryInfo", 20));
    cr_expect_eq(harness_metric(&harness, "otelcol_receiver_refused_spans{receiver=\"otlp\","
                                          "transport=\"http\""),
                 2);
    harness.target.verdict = UT_REJECTED;
    answer = export_spans(client, 2, 0);
    cr_expect_eq(answer.status, 400);
    cr_expect_null(strstr(answer.head, "Retry-After"));
    harness.target.verdict = UT_ACCEPTED;
    expect_lives(client);
    http_disconnect(client);
}

Test(http_receiver, a_backends_refusal_becomes_the_status_that_http_has_for_it)
{
    /* By gRPC's code; those that a client would try again are 400 here, as they are over gRPC. */
    static const int expected[UT_GRPC_CODES] = {
        [UT_GRPC_OK] = 400,
        [UT_GRPC_CANCELLED] = 400,
        [UT_GRPC_UNKNOWN] = 400,
        [UT_GRPC_INVALID_ARGUMENT] = 400,
        [UT_GRPC_DEADLINE_EXCEEDED] = 400,
        [UT_GRPC_NOT_FOUND] = 404,
        [UT_GRPC_ALREADY_EXISTS] = 400,
        [UT_GRPC_PERMISSION_DENIED] = 403,
        [UT_GRPC_RESOURCE_EXHAUSTED] = 413,
        [UT_GRPC_FAILED_PRECONDITION] = 400,
        [UT_GRPC_ABORTED] = 400,
        [UT_GRPC_OUT_OF_RANGE] = 400,
        [UT_GRPC_UNIMPLEMENTED] = 404,
        [UT_GRPC_INTERNAL] = 400,
        [UT_GRPC_UNAVAILABLE] = 400,
        [UT_GRPC_DATA_LOSS] = 400,
        [UT_GRPC_UNAUTHENTICATED] = 401,
    };
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    harness.target.verdict = UT_REJECTED;
    for (uint8_t code = 0; code < UT_GRPC_CODES; code++) {
        harness.target.status = code;
        struct http_answer answer = export_spans(client, 1, 0);
        cr_expect_eq(answer.status, expected[code], "code %u: %d", code, answer.status);
        cr_expect_null(strstr(answer.head, "Retry-After"), "code %u", code);
        cr_expect_not_null(memmem(answer.body, answer.body_size, "stub says no", 12));
    }
    harness.target.verdict = UT_ACCEPTED;
    expect_lives(client);
    http_disconnect(client);
}

Test(http_receiver, body_is_the_same_however_it_is_cut)
{
    static const size_t pieces[] = {1000, 4096, 65536, 300000};
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = otlp_request_of(50, 20000);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        http_post_chunked(&harness, client, request.data, request.size, pieces[i]);
        cr_expect_eq(http_await(&harness, client, false).status, 200);
        cr_expect_eq(harness.target.spans, 50 * (i + 1));
    }
    otlp_free(&request);
    http_disconnect(client);
}

Test(http_receiver, big_body_arrives_whole)
{
    http_harness_start(&harness, 256 * MIB);
    struct http_client *client = http_connect(&harness);
    cr_expect_eq(export_spans(client, 512, 40000).status, 200);
    cr_expect_eq(harness.target.spans, 512);
    http_disconnect(client);
}

Test(http_receiver, pipelined_requests_are_answered_in_order)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    static const char *const requests[] = {
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
        "GET /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    static const int statuses[] = {200, 404, 405};
    static char text[64 << 10];
    size_t size = 0;
    for (int i = 0; i < 300; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s", requests[i % 3]);
    http_send_pieces(&harness, client, text, size, SIZE_MAX / 2);
    for (int i = 0; i < 300; i++)
        cr_assert_eq(http_await(&harness, client, false).status, statuses[i % 3], "request %d", i);
    cr_expect_eq(harness.worker.budget.used, 0, "nothing is kept any more");
    expect_lives(client);
    http_disconnect(client);
}

Test(http_receiver, what_comes_behind_a_late_answer_waits_for_it)
{
    http_harness_start(&harness, 64 * MIB);
    harness.target.delay = true;
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = otlp_request_of(1, 1000);
    for (int i = 0; i < 3; i++)
        http_post(&harness, client, request.data, request.size);
    otlp_free(&request);
    for (int i = 0; i < 100; i++)
        harness_turn(&harness);
    cr_assert_eq(harness.target.delayed_count, 1, "one at a time");
    for (int i = 0; i < 3; i++) {
        stub_answer(&harness.target, harness.target.delayed[i]);
        cr_expect_eq(http_await(&harness, client, false).status, 200);
    }
    cr_expect_eq(harness.target.spans, 3);
    harness.target.delay = false;
    expect_lives(client);
    http_disconnect(client);
}

Test(http_receiver, client_that_goes_away_loses_the_answer_not_the_batch)
{
    http_harness_start(&harness, 64 * MIB);
    harness.target.delay = true;
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = otlp_request_of(1, 0);
    http_post(&harness, client, request.data, request.size);
    otlp_free(&request);
    for (int i = 0; i < 100; i++)
        harness_turn(&harness);
    cr_assert_eq(harness.target.delayed_count, 1);
    http_disconnect(client);
    for (int i = 0; i < 100; i++)
        harness_turn(&harness);
    stub_answer(&harness.target, harness.target.delayed[0]);
    cr_expect_eq(harness.target.spans, 1);
}

Test(http_receiver, expectation_is_met_before_the_body_comes)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client,
              "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
              "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 100);
    http_send_pieces(&harness, client, "\x0a\x00", 2, 2);
    answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 200);
    expect_lives(client);
    http_disconnect(client);
}

Test(http_receiver, grpc_works_on_the_port_of_http)
{
    http_harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(3, 100);
    const struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
    harness_await(&harness, client, reply);
    cr_expect_eq(reply->grpc_status, 0);
    cr_expect_eq(harness_metric(&harness, "otelcol_receiver_accepted_spans{receiver=\"otlp\","
                                          "transport=\"grpc\""),
                 3);
    otlp_free(&request);
    harness_disconnect(client);
}

/* The same judgement as over HTTP/1; the connection lives through all of it. */
Test(http_receiver, wrong_requests_over_http2_have_their_status)
{
    static const char big[1100 << 10];
    static const struct {
        struct grpc_request request;
        int status;
    } table[] = {
        {{.path = "/v1/traces", .content_type = "application/json", .body = "{}", .size = 2}, 200},
        {{.path = "/v1/traces", .content_type = "application/x-protobuf"}, 200},
        {{.path = "/v1/traces", .content_type = "application/json"}, 200},
        {{.path = "/v1/traces", .content_type = "application/json", .body = "{", .size = 1}, 400},
        {{.path = "/v1/traces", .content_type = "text/plain", .body = "{}", .size = 2}, 415},
        {{.path = "/v1/traces", .content_type = "", .body = "{}", .size = 2}, 415},
        {{.path = "/v1/traces", .content_type = "", .method = "GET"}, 405},
        {{.path = "/v1/traces", .content_type = "", .method = "HEAD"}, 405},
        {{.path = "/v1/traces", .content_type = "", .method = "OPTIONS"}, 204},
        {{.path = "/v1/metrics", .content_type = "application/x-protobuf", .body = big, .size = 9},
         404},
        {{.path = "/", .content_type = "application/x-protobuf", .body = big, .size = 100000}, 404},
        {{.path = "/v1/traces",
          .content_type = "application/x-protobuf",
          .body = big,
          .size = sizeof(big)},
         413},
    };
    harness.settings.protocols.http.max_request_body_size = MIB;
    http_harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct grpc_reply *reply = grpc_peer_send(&client->peer, &table[i].request);
        harness_await(&harness, client, reply);
        cr_expect_eq(reply->http_status, table[i].status, "row %zu: %d", i, reply->http_status);
        cr_expect_eq(reply->reset_code, NGHTTP2_NO_ERROR, "row %zu", i);
        cr_expect_eq(reply->grpc_status, -1, "row %zu", i);
    }
    cr_expect(!client->ended);
    cr_expect_eq(harness.worker.budget.used, 0);
    harness_disconnect(client);
}

Test(http_receiver, opening_may_come_byte_by_byte)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    http_send_pieces(&harness, client, preface, sizeof(preface), 1);
    for (int i = 0; i < 100 && client->in_size < 18; i++) {
        harness_turn(&harness);
        http_read(client);
    }
    cr_assert_geq(client->in_size, 18);
    cr_expect_eq(client->in[3], NGHTTP2_SETTINGS);
    cr_expect(!client->ended);
    http_disconnect(client);
    client = http_connect(&harness); /* begins as the other one does */
    static const char propfind[] = "PROPFIND /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n";
    http_send_pieces(&harness, client, propfind, strlen(propfind), 1);
    cr_expect_eq(http_await(&harness, client, false).status, 405);
    http_disconnect(client);
}

static void export_over_http2(void)
{
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(3, 100);
    const struct grpc_reply *reply = grpc_peer_send(
        &client->peer, &(struct grpc_request){.path = "/v1/traces",
                                              .content_type = "application/x-protobuf",
                                              .body = request.data,
                                              .size = request.size});
    harness_await(&harness, client, reply);
    cr_expect_eq(reply->http_status, 200);
    cr_expect_eq(reply->grpc_status, -1);
    cr_expect_eq(reply->body_size, 0);
    cr_expect_str_eq(reply->content_type, "application/x-protobuf");
    cr_expect(!reply->has_trailers);
    reply = grpc_peer_send(&client->peer,
                           &(struct grpc_request){.path = "/v1/traces",
                                                  .content_type = "application/x-protobuf",
                                                  .body = "\x0a\x05",
                                                  .size = 2});
    harness_await(&harness, client, reply);
    cr_expect_eq(reply->http_status, 400);
    cr_expect_eq(memcmp(reply->body, "\x08\x03\x12", 3), 0);
    cr_expect_eq(reply->reset_code, 0);
    otlp_free(&request);
    harness_disconnect(client);
}

Test(http_receiver, http2_works_on_both_ports)
{
    http_harness_start(&harness, 64 * MIB);
    export_over_http2();
    harness.port = UT_CONTAINER_OF(harness.receiver, struct ut_otlp_receiver, base)
                       ->ports[UT_TRANSPORT_GRPC]
                       .listener.port;
    export_over_http2();
    cr_expect_eq(harness.target.spans, 6);
}

Test(http_receiver, http1_works_on_the_port_of_grpc)
{
    http_harness_start(&harness, 64 * MIB);
    harness.port = UT_CONTAINER_OF(harness.receiver, struct ut_otlp_receiver, base)
                       ->ports[UT_TRANSPORT_GRPC]
                       .listener.port;
    struct http_client *client = http_connect(&harness);
    expect_lives(client);
    http_disconnect(client);
}

Test(http_receiver, cors_lets_the_allowed_origins_in_and_no_other)
{
    static char one[] = "https://*.example.com", header[] = "X-Token";
    static char *origins[] = {one}, *headers[] = {header};
    struct ut_otlp_cors_settings *cors = &harness.settings.protocols.http.cors;
    cors->allowed_origins = (struct ut_strings){origins, 1};
    cors->allowed_headers = (struct ut_strings){headers, 1};
    cors->max_age_s = 600;
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client,
              "OPTIONS /v1/traces HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com\r\n"
              "Access-Control-Request-Method: POST\r\n"
              "Access-Control-Request-Headers: content-type\r\n\r\n");
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 204);
    cr_expect_not_null(
        strstr(answer.head, "\r\nAccess-Control-Allow-Origin: https://app.example.com\r\n"));
    cr_expect_not_null(
        strstr(answer.head, "\r\nAccess-Control-Allow-Headers: Content-Type, X-Token\r\n"));
    cr_expect_not_null(strstr(answer.head, "\r\nAccess-Control-Max-Age: 600\r\n"));
    cr_expect_not_null(strstr(answer.head, "\r\nVary: Origin\r\n"));
    http_send(&harness, client,
              "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
              "Origin: https://app.example.com\r\nContent-Length: 2\r\n\r\n{}");
    answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 200);
    cr_expect_str_eq(answer.body, "{}");
    cr_expect_not_null(
        strstr(answer.head, "\r\nAccess-Control-Allow-Origin: https://app.example.com\r\n"));
    static const char *const others[] = {"https://example.com", "https://app.example.com.evil.org",
                                         "http://app.example.com", "null"};
    for (size_t i = 0; i < 4; i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "OPTIONS /v1/traces HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\n"
                 "Access-Control-Request-Method: POST\r\n\r\n",
                 others[i]);
        http_send(&harness, client, text);
        answer = http_await(&harness, client, false);
        cr_expect_null(strstr(answer.head, "Access-Control"), "%s", others[i]);
    }
    http_disconnect(client);
}

Test(http_receiver, keep_alives_may_be_off)
{
    harness.settings.protocols.http.keep_alives_enabled = false;
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    struct http_answer answer = export_spans(client, 1, 0);
    cr_expect_eq(answer.status, 200);
    cr_expect_not_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    cr_expect(http_is_ended(&harness, client));
    http_disconnect(client);
}

Test(http_receiver, steady_flow_asks_the_system_for_no_memory)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = otlp_request_of(512, 300);
    static const char json[] =
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\n"
        "Content-Type: application/json\r\nContent-Length: 123\r\n\r\n"
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":"
        "\"5B8EFFF798038103D269B633813FC60C\",\"spanId\":\"EEE19B7EC3C1B174\"}]}]}]}";
    cr_assert_eq(strlen(strchr(json, '{')), 123);
    uint64_t before = 0;
    for (int i = 0; i < 100; i++) {
        if (i == 50)
            before = harness.worker.pool.system_calls;
        cr_assert_eq(export_spans(client, 1, 0).status, 200);
        cr_assert_eq(export_spans(client, 512, 300).status, 200);
        http_post_chunked(&harness, client, request.data, request.size, 50000);
        cr_assert_eq(http_await(&harness, client, false).status, 200);
        http_send(&harness, client, json);
        cr_assert_eq(http_await(&harness, client, false).status, 200);
    }
    cr_expect_eq(harness.worker.pool.system_calls, before);
    otlp_free(&request);
    http_disconnect(client);
}

/* ---- limits --------------------------------------------------------------------------------- */

Test(http_receiver, exhausted_budget_is_503_until_it_is_released)
{
    http_harness_start(&harness, 4 * MIB);
    harness.target.keep = true;
    struct http_client *client = http_connect(&harness);
    int taken = 0;
    struct http_answer answer;
    while ((answer = export_spans(client, 1, 600 << 10)).status == 200 && taken < 10)
        taken++;
    cr_expect_geq(taken, 2);
    cr_expect_leq(taken, 4);
    cr_expect_eq(answer.status, 503);
    cr_expect_not_null(strstr(answer.head, "\r\nRetry-After: 1\r\n"));
    stub_release(&harness.target);
    http_disconnect(client);
    client = http_connect(&harness);
    cr_expect_eq(export_spans(client, 1, 600 << 10).status, 200);
    stub_release(&harness.target);
    http_disconnect(client);
}

Test(http_receiver, declared_length_alone_costs_nothing)
{
    http_harness_start(&harness, 4 * MIB);
    struct http_client *slow = http_connect(&harness);
    http_send(&harness, slow,
              "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
              "Content-Length: 60000000\r\n\r\n");
    for (int i = 0; i < 50; i++)
        harness_turn(&harness);
    cr_expect_eq(harness.worker.budget.used, 0);
    struct http_client *client = http_connect(&harness);
    expect_lives(client);
    http_disconnect(slow);
    http_disconnect(client);
}

static void expect_silent_end(const char *text, const char *limit)
{
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, text);
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!client->ended && !harness_late(start_ns, 5)) {
        harness_turn(&harness);
        http_read(client);
    }
    cr_expect(client->ended, "%s", limit);
    cr_expect_eq(client->in_size, 0, "cut without an answer");
    char line[128];
    snprintf(line, sizeof(line),
             "undertrace_receiver_limit_hits_total{receiver=\"otlp\",transport=\"http\","
             "limit=\"%s\"",
             limit);
    cr_expect_eq(harness_metric(&harness, line), 1, "%s", limit);
    http_disconnect(client);
}

Test(http_receiver, senders_that_are_too_slow_are_cut_without_an_answer)
{
    harness.settings.protocols.http.read_header_timeout_ns = 200 * UT_NS_PER_MS;
    harness.settings.protocols.http.limits.read_timeout_ns = 300 * UT_NS_PER_MS;
    http_harness_start(&harness, 64 * MIB);
    expect_silent_end("", "handshake_timeout");
    expect_silent_end("POST /v1/tra", "header_timeout");
    expect_silent_end("POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: "
                      "application/x-protobuf\r\nContent-Length: 10\r\n\r\nabc",
                      "read_timeout");
    cr_expect_eq(harness.worker.budget.used, 0);
}

Test(http_receiver, idle_connection_is_closed)
{
    harness.settings.protocols.http.idle_timeout_ns = 200 * UT_NS_PER_MS;
    harness.settings.protocols.http.read_header_timeout_ns = 100 * UT_NS_PER_MS;
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    cr_expect_eq(export_spans(client, 1, 0).status, 200);
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!client->ended && !harness_late(start_ns, 5)) {
        harness_turn(&harness);
        http_read(client);
    }
    cr_expect(client->ended);
    cr_expect_geq(ut_clock_monotonic_ns() - start_ns, 150 * UT_NS_PER_MS);
    http_disconnect(client);
}

Test(http_receiver, stop_lets_requests_in_flight_finish_and_closes_the_idle)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *idle = http_connect(&harness);
    expect_lives(idle);
    harness.target.delay = true;
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = otlp_request_of(1, 0);
    http_post(&harness, client, request.data, request.size);
    otlp_free(&request);
    for (int i = 0; i < 100; i++)
        harness_turn(&harness);
    ut_receiver_otlp.stop(harness.receiver, harness_on_stopped, &harness);
    cr_expect(http_is_ended(&harness, idle));
    cr_expect(!harness.stopped, "a request is in flight");
    stub_answer(&harness.target, harness.target.delayed[0]);
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 200);
    cr_expect_not_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    harness_wait_stopped(&harness);
    http_disconnect(idle);
    http_disconnect(client);
    harness.stopped = false; /* the second stop of tear_down finds nothing left */
}

Test(http_receiver, start_that_fails_at_the_second_port_leaves_nothing_behind)
{
    http_harness_start(&harness, 64 * MIB);
    char endpoint[32], error[UT_ERROR_TEXT] = "";
    snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%u", harness.port);
    struct ut_otlp_receiver_settings settings = harness.settings;
    settings.protocols.http.endpoint = endpoint;
    const struct ut_build build = {
        .id = "otlp/second", .config = &settings, .worker = &harness.worker};
    struct ut_receiver *second;
    cr_assert_eq(ut_receiver_otlp.create(&second, &build, &harness.target.base, NULL), 0);
    cr_expect_eq(ut_receiver_otlp.start(second, error), -EADDRINUSE);
    ut_receiver_otlp.free(second);
    for (int i = 0; i < 10; i++)
        harness_turn(&harness);
}
