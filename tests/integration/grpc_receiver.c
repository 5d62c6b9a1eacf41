/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp receiver on a real loop: statuses, books, connections that live on, the stop. */
#include <sys/resource.h>

#include "grpc_harness.h"
#include "malformed.h"

static struct harness harness;

static void set_up(void)
{
    harness_defaults(&harness, "localhost:0");
    harness.settings.invalid_utf8 =
        UT_OTLP_UTF8_REJECT; /* as the table of malformed bodies has it */
    harness_start(&harness, (size_t)64 << 20);
}

static void tear_down(void)
{
    harness_done(&harness);
}

TestSuite(grpc_receiver, .init = set_up, .fini = tear_down);

static struct grpc_reply *export_spans(struct harness_client *client, size_t spans, size_t padding)
{
    struct otlp_bytes request = otlp_request_of(spans, padding);
    struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
    otlp_free(&request);
    harness_await(&harness, client, reply);
    return reply;
}

static void expect_success(const struct grpc_reply *reply)
{
    cr_expect_eq(reply->http_status, 200);
    cr_expect_eq(reply->grpc_status, 0, "status %d: %s", reply->grpc_status, reply->message);
    cr_expect(reply->has_trailers, "a success is never trailers only");
    cr_expect_eq(reply->reset_code, 0);
}

static void expect_lives(struct harness_client *client)
{
    const struct grpc_reply *reply = export_spans(client, 1, 0);
    expect_success(reply);
    cr_expect(!client->ended);
}

Test(grpc_receiver, success_is_an_empty_message_of_five_bytes_and_trailers)
{
    struct harness_client *client = harness_connect(&harness, false);
    const struct grpc_reply *reply = export_spans(client, 3, 100);
    expect_success(reply);
    cr_expect_eq(reply->body_size, 5);
    cr_expect_eq(memcmp(reply->body, "\0\0\0\0\0", 5), 0);
    cr_expect_str_eq(reply->content_type, "application/grpc");
    cr_expect_eq(harness.target.spans, 3);
    cr_expect_eq(harness_metric(&harness, "otelcol_receiver_accepted_spans{"), 3);
    harness_disconnect(client);
}

Test(grpc_receiver, empty_request_is_a_success_without_a_push)
{
    struct harness_client *client = harness_connect(&harness, false);
    const struct grpc_reply *reply = grpc_peer_export(&client->peer, NULL, 0);
    harness_await(&harness, client, reply);
    expect_success(reply);
    cr_expect_eq(harness.target.batches, 0);
    harness_disconnect(client);
}

Test(grpc_receiver, listens_on_both_families_of_localhost)
{
    struct harness_client *v6 = harness_connect(&harness, true);
    struct harness_client *v4 = harness_connect(&harness, false);
    expect_lives(v6);
    expect_lives(v4);
    harness_disconnect(v6);
    harness_disconnect(v4);
}

Test(grpc_receiver, batch_knows_the_socket_that_brought_it)
{
    struct harness_client *client = harness_connect(&harness, false);
    export_spans(client, 1, 0);
    cr_expect_neq(harness.target.sender.socket_cookie, 0);
    cr_expect_leq(harness.target.sender.connected_boot_ns, ut_clock_boot_ns());
    cr_expect_gt(harness.target.sender.connected_boot_ns + 10 * UT_NS_PER_S, ut_clock_boot_ns());
    harness_disconnect(client);
}

Test(grpc_receiver, bad_span_is_left_out_with_a_partial_success)
{
    struct otlp_bytes request = {0};
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 0, .name = "bad"});
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 2, .name = "good"});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    struct harness_client *client = harness_connect(&harness, false);
    const struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
    harness_await(&harness, client, reply);
    expect_success(reply);
    cr_assert_gt(reply->body_size, 5 + 4);
    cr_expect_eq(reply->body[4], reply->body_size - 5, "the prefix tells the length");
    const uint8_t *message = reply->body + 5;
    cr_expect_eq(message[0], 1 << 3 | 2, "partial_success");
    cr_expect_eq(message[1], reply->body_size - 5 - 2);
    cr_expect_eq(message[2], 1 << 3, "rejected_spans");
    cr_expect_eq(message[3], 1);
    cr_expect_eq(message[4], 2 << 3 | 2, "error_message");
    cr_expect_eq(harness.target.spans, 1);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_received_spans{"), 2);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_rejected_spans{"), 1);
    cr_expect_eq(harness_metric(&harness, "otelcol_receiver_accepted_spans{"), 1);
    otlp_free(&request);
    harness_disconnect(client);
}

Test(grpc_receiver, bytes_that_do_not_parse_are_invalid_with_their_offset)
{
    struct harness_client *client = harness_connect(&harness, false);
    const struct grpc_reply *reply = grpc_peer_export(&client->peer, "\x0a\x05xx", 4);
    harness_await(&harness, client, reply);
    cr_expect_eq(reply->http_status, 200);
    cr_expect_eq(reply->grpc_status, UT_GRPC_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(reply->message, "at offset"), "%s", reply->message);
    cr_expect_str_eq(reply->details, "", "no RetryInfo");
    expect_lives(client);
    harness_disconnect(client);
}

/* Of an ExportTraceServiceResponse: the varint behind two tags and a length of one byte. */
static uint64_t rejected_spans(const struct grpc_reply *reply)
{
    const uint8_t *at = reply->body + 5 + 3;
    uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        value |= (uint64_t)(*at & 0x7f) << shift;
        if (*at++ < 0x80)
            break;
    }
    return value;
}

static int expected_status(const struct malformed *row)
{
    return row->answer == MALFORMED_REFUSED ? UT_GRPC_INVALID_ARGUMENT : UT_GRPC_OK;
}

Test(grpc_receiver, each_malformed_body_has_its_status_and_the_connection_lives_on)
{
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes body = {0};
    cr_assert_geq(MALFORMED_COUNT, 170);
    for (size_t i = 0; i < MALFORMED_COUNT; i++) {
        const struct malformed *row = &MALFORMED[i];
        malformed_build(&body, row);
        const struct grpc_reply *reply = grpc_peer_export(&client->peer, body.data, body.size);
        harness_await(&harness, client, reply);
        cr_expect_eq(reply->grpc_status, expected_status(row), "%s: %d %s", row->name,
                     reply->grpc_status, reply->message);
        cr_expect_str_eq(reply->details, "", "%s: no RetryInfo", row->name);
        if (row->answer == MALFORMED_OK)
            cr_expect_eq(reply->body_size, 5, "%s: no partial_success", row->name);
        if (row->answer == MALFORMED_PARTIAL)
            cr_expect_eq(rejected_spans(reply), row->left_out, "%s: rejected_spans", row->name);
    }
    otlp_free(&body);
    expect_lives(client);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_received_spans{"),
                 harness_metric(&harness, "otelcol_receiver_accepted_spans{") +
                     harness_metric(&harness, "undertrace_receiver_rejected_spans{"),
                 "the books balance");
    harness_disconnect(client);
}

/* google.rpc.Status { 14, text, RetryInfo { 1.5 s } } as base64, by its telling end: the Any's type
 * and Duration { seconds: 1, nanos: 500000000 }. */
static void expect_retry_info(const struct grpc_reply *reply, const char *duration)
{
    char decoded[512];
    size_t size = 0;
    uint32_t bits = 0;
    int count = 0;
    for (const char *c = reply->details; *c != '\0'; c++) {
        const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        bits = bits << 6 | (uint32_t)(strchr(digits, *c) - digits);
        count += 6;
        if (count >= 8) {
            count -= 8;
            decoded[size++] = (char)(bits >> count);
        }
    }
    cr_assert_gt(size, 50, "details: %s", reply->details);
    cr_expect_eq(memcmp(decoded, "\x08\x0e\x12", 3), 0, "code and message");
    cr_expect_not_null(memmem(decoded, size, "type.googleapis.com/google.rpc.RetryInfo", 40));
    size_t length = strlen(duration);
    cr_expect_eq(memcmp(decoded + size - length, duration, length), 0, "the delay");
}

Test(grpc_receiver, busy_pipeline_is_unavailable_with_its_delay)
{
    struct harness_client *client = harness_connect(&harness, false);
    harness.target.verdict = UT_BUSY;
    const struct grpc_reply *reply = export_spans(client, 2, 0);
    cr_expect_eq(reply->grpc_status, UT_GRPC_UNAVAILABLE);
    cr_expect_str_eq(reply->message, "stub says no");
    expect_retry_info(reply, "\x08\x01\x10\x80\xca\xb5\xee\x01");
    cr_expect_eq(harness_metric(&harness, "otelcol_receiver_refused_spans{"), 2);
    harness.target.verdict = UT_ACCEPTED;
    expect_lives(client);
    harness_disconnect(client);
}

Test(grpc_receiver, rejecting_pipeline_is_not_retryable)
{
    struct harness_client *client = harness_connect(&harness, false);
    harness.target.verdict = UT_REJECTED;
    const struct grpc_reply *reply = export_spans(client, 2, 0);
    cr_expect_eq(reply->grpc_status, UT_GRPC_INVALID_ARGUMENT);
    cr_expect_str_eq(reply->details, "");
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_rejected_spans{"), 2);
    harness_disconnect(client);
}

struct wrong_request {
    struct grpc_request request;
    int http_status, grpc_status;
};

Test(grpc_receiver, each_wrong_request_has_its_status_and_the_connection_lives_on)
{
    static const struct wrong_request table[] = {
        {{.path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
          .body = "\0\0\0\0\0",
          .size = 5},
         200,
         UT_GRPC_UNIMPLEMENTED},
        {{.path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
          .body = "\0\0\0\0\0",
          .size = 5},
         200,
         UT_GRPC_UNIMPLEMENTED},
        {{.path = "/", .body = "\0\0\0\0\0", .size = 5}, 200, UT_GRPC_UNIMPLEMENTED},
        {{.content_type = "application/json", .body = "{}", .size = 2}, 415, -1},
        {{.content_type = "application/grpcx", .body = "{}", .size = 2}, 415, -1},
        {{.content_type = "", .body = "{}", .size = 2}, 415, -1},
        {{.method = "PUT", .body = "\0\0\0\0\0", .size = 5}, 405, UT_GRPC_UNKNOWN},
        {{.encoding = "br", .body = "\1\0\0\0\1x", .size = 6}, 200, UT_GRPC_UNIMPLEMENTED},
        {{.encoding = "identity", .body = "\1\0\0\0\1x", .size = 6}, 200, UT_GRPC_INTERNAL},
        {{.body = "\1\0\0\0\1x", .size = 6}, 200, UT_GRPC_INTERNAL},
        {{.body = "\2\0\0\0\0", .size = 5}, 200, UT_GRPC_INTERNAL},
        {{.body = "", .size = 0}, 200, UT_GRPC_INTERNAL},
        {{.body = "\0\0\0", .size = 3}, 200, UT_GRPC_INTERNAL},
        {{.body = "\0\0\0\0\5ab", .size = 7}, 200, UT_GRPC_INTERNAL},
        {{.body = "\0\0\0\0\5", .size = 5}, 200, UT_GRPC_INTERNAL},
        {{.body = "\0\0\0\0\0\0\0\0\0\0", .size = 10}, 200, UT_GRPC_INTERNAL},
        {{.body = "\0\0\0\0\0x", .size = 6}, 200, UT_GRPC_INTERNAL},
        {{.body = "\0\4\0\0\1", .size = 5}, 200, UT_GRPC_RESOURCE_EXHAUSTED},
        {{.body = "\0\xff\xff\xff\xff", .size = 5}, 200, UT_GRPC_RESOURCE_EXHAUSTED},
        {{.content_type = "application/grpc+proto", .body = "\0\0\0\0\0", .size = 5}, 200, 0},
        {{.content_type = "application/grpc;x=y", .body = "\0\0\0\0\0", .size = 5}, 200, 0},
        {{.encoding = "gzip", .body = "\0\0\0\0\0", .size = 5}, 200, 0},
        {{.encoding = "br", .body = "\0\0\0\0\0", .size = 5}, 200, 0},
        {{.encoding = "gzip", .body = "\1\0\0\0\0", .size = 5}, 200, 0},
        {{.encoding = "gzip", .body = "\1\0\0\0\1x", .size = 6}, 200, UT_GRPC_INVALID_ARGUMENT},
        {{.encoding = "gzip", .body = "\2\0\0\0\1x", .size = 6}, 200, UT_GRPC_INTERNAL},
        {{.encoding = "GZIP", .body = "\1\0\0\0\2a", .size = 6}, 200, UT_GRPC_INTERNAL},
    };
    struct harness_client *client = harness_connect(&harness, false);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct grpc_reply *reply = grpc_peer_send(&client->peer, &table[i].request);
        harness_await(&harness, client, reply);
        cr_expect_eq(reply->http_status, table[i].http_status, "row %zu", i);
        cr_expect_eq(reply->grpc_status, table[i].grpc_status, "row %zu: %d %s", i,
                     reply->grpc_status, reply->message);
        cr_expect_str_eq(reply->details, "", "row %zu: no RetryInfo", i);
        expect_lives(client);
    }
    cr_expect_str_eq(client->peer.replies[7 * 2].accept_encoding, "identity,gzip,zstd,deflate");
    harness_disconnect(client);
}

Test(grpc_receiver, big_body_arrives_whole)
{
    struct harness_client *client = harness_connect(&harness, false);
    const struct grpc_reply *reply = export_spans(client, 512, 40000);
    expect_success(reply);
    cr_expect_eq(harness.target.spans, 512);
    harness_disconnect(client);
}

Test(grpc_receiver, refused_body_is_swallowed_and_the_connection_lives_on)
{
    struct harness_client *client = harness_connect(&harness, false);
    size_t size = (size_t)2 << 20;
    uint8_t *body = calloc(1, size);
    body[0] = 9;
    const struct grpc_reply *reply =
        grpc_peer_send(&client->peer, &(struct grpc_request){.body = body, .size = size});
    free(body);
    harness_await(&harness, client, reply);
    cr_expect_eq(reply->grpc_status, UT_GRPC_INTERNAL);
    cr_expect_eq(reply->reset_code, NGHTTP2_NO_ERROR);
    expect_lives(client);
    harness_disconnect(client);
}

Test(grpc_receiver, hundred_streams_at_once)
{
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(1, 300);
    for (int i = 0; i < 100; i++)
        grpc_peer_export(&client->peer, request.data, request.size);
    otlp_free(&request);
    for (size_t i = 0; i < 100; i++) {
        harness_await(&harness, client, &client->peer.replies[i]);
        expect_success(&client->peer.replies[i]);
    }
    cr_expect_eq(harness.target.spans, 100);
    harness_disconnect(client);
}

Test(grpc_receiver, client_that_gives_up_loses_the_answer_not_the_batch)
{
    harness.target.delay = true;
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(1, 0);
    struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
    harness_turns(&harness, client, 100);
    cr_assert_eq(harness.target.delayed_count, 1);
    nghttp2_submit_rst_stream(client->peer.session, 0, reply->stream, NGHTTP2_CANCEL);
    harness_turns(&harness, client, 100);
    stub_answer(&harness.target, harness.target.delayed[0]);
    cr_expect_eq(harness.target.spans, 1);
    harness.target.delay = false;
    expect_lives(client);

    harness.target.delay = true;
    grpc_peer_export(&client->peer, request.data, request.size);
    harness_turns(&harness, client, 100);
    cr_assert_eq(harness.target.delayed_count, 2);
    harness_disconnect(client);
    for (int i = 0; i < 100; i++)
        harness_turn(&harness);
    stub_answer(&harness.target, harness.target.delayed[1]);
    cr_expect_eq(harness_metric(&harness, "otelcol_receiver_accepted_spans{"), 3);
    otlp_free(&request);
}

Test(grpc_receiver, the_pipeline_is_told_of_a_client_that_is_gone)
{
    harness.target.delay = true;
    harness.target.base.abandon = stub_abandon;
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(1, 0);
    struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
    grpc_peer_export(&client->peer, request.data, request.size);
    otlp_free(&request);
    harness_turns(&harness, client, 100);
    cr_assert_eq(harness.target.delayed_count, 2);
    nghttp2_submit_rst_stream(client->peer.session, 0, reply->stream, NGHTTP2_CANCEL);
    harness_turns(&harness, client, 100);
    cr_expect_eq(harness.target.abandoned, 1);
    harness_disconnect(client);
    for (int i = 0; i < 100; i++)
        harness_turn(&harness);
    cr_expect_eq(harness.target.abandoned, 2);
    cr_expect_eq(harness.target.spans, 2);
    cr_expect_eq(harness_metric(&harness, "otelcol_receiver_accepted_spans{"), 2);
}

Test(grpc_receiver, stop_takes_the_answer_from_clients_that_wait_too_long_not_the_batch)
{
    harness.target.delay = true;
    harness.target.base.abandon = stub_abandon;
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(1, 0);
    grpc_peer_export(&client->peer, request.data, request.size);
    otlp_free(&request);
    harness_turns(&harness, client, 100);
    ut_receiver_otlp.stop(harness.receiver, harness_on_stopped, &harness);
    harness_wait_stopped(&harness);
    cr_expect_eq(harness.target.abandoned, 1);
    cr_expect_eq(harness.target.spans, 1);
    harness_disconnect(client);
    harness.stopped = false; /* the second stop of tear_down finds nothing left */
}

Test(grpc_receiver, the_clients_patience_reaches_the_pipeline)
{
    static const nghttp2_nv timeout = {(uint8_t *)"grpc-timeout", (uint8_t *)"1600m", 12, 5, 0};
    harness.target.delay = true;
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(1, 0);
    uint8_t *framed = calloc(1, request.size + 5);
    framed[4] = (uint8_t)request.size;
    memcpy(framed + 5, request.data, request.size);
    uint64_t before_ns = ut_worker_now(&harness.worker);
    grpc_peer_send(&client->peer, &(struct grpc_request){.body = framed,
                                                         .size = request.size + 5,
                                                         .extra = &timeout,
                                                         .extra_count = 1});
    grpc_peer_export(&client->peer, request.data, request.size);
    harness_turns(&harness, client, 100);
    cr_assert_eq(harness.target.delayed_count, 2);
    uint64_t deadline_ns = harness.target.delayed[0]->deadline_ns;
    cr_expect_geq(deadline_ns, before_ns + 1500 * UT_NS_PER_MS);
    cr_expect_leq(deadline_ns, ut_worker_now(&harness.worker) + 1500 * UT_NS_PER_MS);
    cr_expect_eq(harness.target.delayed[1]->deadline_ns, 0);
    stub_answer(&harness.target, harness.target.delayed[0]);
    stub_answer(&harness.target, harness.target.delayed[1]);
    free(framed);
    otlp_free(&request);
    harness_disconnect(client);
}

Test(grpc_receiver, a_backends_refusal_keeps_its_status_unless_that_may_be_retried)
{
    static const struct {
        uint8_t given;
        int expected;
    } rows[] = {{0, 3}, {3, 3}, {7, 7}, {16, 16}, {12, 12}, {8, 8}, {5, 5}, {14, 3}, {4, 3}};
    struct harness_client *client = harness_connect(&harness, false);
    harness.target.verdict = UT_REJECTED;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct otlp_bytes request = otlp_request_of(1, 0);
        harness.target.status = rows[i].given;
        struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
        otlp_free(&request);
        harness_await(&harness, client, reply);
        cr_expect_eq(reply->grpc_status, rows[i].expected, "row %zu: %d", i, reply->grpc_status);
        cr_expect_str_eq(reply->details, "", "nothing that asks for another try");
    }
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_requests_total{receiver=\"otlp\","
                                          "transport=\"grpc\",code=\"NOT_FOUND\""),
                 1);
    harness_disconnect(client);
}

Test(grpc_receiver, answer_may_come_later)
{
    harness.target.delay = true;
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(1, 0);
    struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
    otlp_free(&request);
    harness_turns(&harness, client, 100);
    cr_assert(!reply->closed);
    stub_answer(&harness.target, harness.target.delayed[0]);
    harness_await(&harness, client, reply);
    expect_success(reply);
    harness_disconnect(client);
}

Test(grpc_receiver, ping_is_answered_while_an_answer_is_due)
{
    harness.target.delay = true;
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(1, 0);
    grpc_peer_export(&client->peer, request.data, request.size);
    otlp_free(&request);
    nghttp2_submit_ping(client->peer.session, 0, NULL);
    harness_turns(&harness, client, 100);
    cr_expect_eq(client->peer.pings_answered, 1);
    stub_answer(&harness.target, harness.target.delayed[0]);
    harness_disconnect(client);
}

Test(grpc_receiver, stop_lets_requests_in_flight_finish_and_says_goaway)
{
    harness.target.delay = true;
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = otlp_request_of(1, 0);
    struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
    otlp_free(&request);
    harness_turns(&harness, client, 100);
    ut_receiver_otlp.stop(harness.receiver, harness_on_stopped, &harness);
    harness_turns(&harness, client, 200);
    cr_expect_eq(client->peer.goaway_code, NGHTTP2_NO_ERROR);
    cr_expect(!harness.stopped, "a request is in flight");
    stub_answer(&harness.target, harness.target.delayed[0]);
    harness_await(&harness, client, reply);
    expect_success(reply);
    harness_wait_stopped(&harness);
    harness_turns(&harness, client, 10);
    cr_expect(client->ended);
    harness_disconnect(client);
    harness.stopped = false; /* the second stop of tear_down finds nothing left */
}

Test(grpc_receiver, stop_does_not_wait_for_clients_that_say_nothing)
{
    int silent = harness_socket(&harness, false);
    struct harness_client *half = harness_connect(&harness, false);
    const uint8_t prefix[5] = {0, 0, 1, 0, 0};
    grpc_peer_send(&half->peer, &(struct grpc_request){.body = prefix, .size = 5, .hold = true});
    harness_turns(&harness, half, 20);
    uint64_t start_ns = ut_clock_monotonic_ns();
    ut_receiver_otlp.stop(harness.receiver, harness_on_stopped, &harness);
    harness_wait_stopped(&harness);
    cr_expect_leq(ut_clock_monotonic_ns() - start_ns, 6 * UT_NS_PER_S);
    close(silent);
    harness_disconnect(half);
    harness.stopped = false;
}

Test(grpc_receiver, stop_passes_over_a_connection_whose_handle_is_closing)
{
    struct harness_client *client = harness_connect(&harness, false);
    expect_lives(client);
    struct ut_otlp_receiver *receiver =
        UT_CONTAINER_OF(harness.receiver, struct ut_otlp_receiver, base);
    ut_stream_close(&receiver->connections->stream, 0);
    ut_receiver_otlp.stop(harness.receiver, harness_on_stopped, &harness);
    harness_wait_stopped(&harness);
    harness_disconnect(client);
    harness.stopped = false;
}

Test(grpc_receiver, port_can_be_used_again_at_once)
{
    struct harness_client *client = harness_connect(&harness, false);
    expect_lives(client);
    uint16_t port = harness.port;
    harness_done(&harness);
    char endpoint[32];
    snprintf(endpoint, sizeof(endpoint), "localhost:%u", port);
    harness_defaults(&harness, endpoint);
    harness_start(&harness, (size_t)64 << 20);
    cr_expect_eq(harness.port, port);
    harness_disconnect(client);
    client = harness_connect(&harness, false);
    expect_lives(client);
    harness_disconnect(client);
}

Test(grpc_receiver, steady_flow_asks_the_system_for_no_memory)
{
    struct harness_client *client = harness_connect(&harness, false);
    for (int i = 0; i < 50; i++) {
        export_spans(client, 1, 0);
        export_spans(client, 512, 300);
    }
    uint64_t before = harness.worker.pool.system_calls;
    for (int i = 0; i < 50; i++) {
        export_spans(client, 1, 0);
        export_spans(client, 512, 300);
    }
    cr_expect_eq(harness.worker.pool.system_calls, before);
    harness_disconnect(client);
}

Test(grpc_receiver, descriptors_that_run_out_pause_accepting)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    struct harness_client *clients[2];
    for (int i = 0; i < 2; i++)
        clients[i] = harness_connect(&harness, false);
    struct rlimit low = {.rlim_cur = (rlim_t)clients[1]->fd + 1, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    for (int i = 0; i < 20; i++)
        harness_turn(&harness);
    double paused = harness_metric(&harness, "undertrace_receiver_accept_paused_total{");
    cr_expect_geq(paused, 1);
    cr_expect_lt(paused, 10, "it rests");
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < 2; i++) {
        expect_lives(clients[i]);
        harness_disconnect(clients[i]);
    }
}
