/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp receiver and text that is not UTF-8, over gRPC and HTTP: repaired, rejected, no room. */
#include "http_harness.h"
#include "malformed.h"
#include "otlp/walk.h"

#define MIB ((size_t)1 << 20)
#define REPLACEMENT "\xef\xbf\xbd"

enum { SPANS = 3, BAD_STRINGS = 4 };

static struct harness harness;

static void set_up(void)
{
    http_harness_defaults(&harness);
    harness.target.keep = true;
}

static void tear_down(void)
{
    harness_done(&harness);
}

TestSuite(otlp_text, .init = set_up, .fini = tear_down);

/* Bad: a Resource's value, a name, and a key and a value of another span; the last one is sound. */
static struct otlp_bytes bad_request(void)
{
    static const struct otlp_attribute bad[] = {{"k\xff", "v\xc3", 0}, {0}};
    struct otlp_bytes request = {0};
    size_t resource_spans = otlp_begin(&request, 1);
    size_t resource = otlp_begin(&request, 1);
    otlp_text_attribute(&request, 1, "service.name", "shop\x80");
    otlp_end(&request, resource);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 1, .name = "na\xfeme"});
    otlp_span(&request,
              &(struct otlp_span){.trace_id = 1, .span_id = 2, .name = "b", .attributes = bad});
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 3, .name = "sound"});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    return request;
}

/* One sound span and one whose name is `size` bytes that are no UTF-8. */
static struct otlp_bytes bad_name(size_t size)
{
    struct otlp_bytes request = {0};
    char *name = malloc(size + 1);
    memset(name, 0xff, size);
    name[size] = '\0';
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 1, .name = name});
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 2, .name = "sound"});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    free(name);
    return request;
}

static struct harness_client *connect_grpc(void)
{
    harness.port = UT_CONTAINER_OF(harness.receiver, struct ut_otlp_receiver, base)
                       ->ports[UT_TRANSPORT_GRPC]
                       .listener.port;
    return harness_connect(&harness, false);
}

static const struct grpc_reply *send_grpc(struct harness_client *client,
                                          const struct otlp_bytes *request)
{
    const struct grpc_reply *reply = grpc_peer_export(&client->peer, request->data, request->size);
    harness_await(&harness, client, reply);
    return reply;
}

static double counter(const char *name, const char *transport)
{
    char line[160];
    (void)snprintf(line, sizeof(line), "%s{receiver=\"otlp\",transport=\"%s\"", name, transport);
    return harness_metric(&harness, line);
}

static bool holds(const struct ut_batch *batch, const char *text)
{
    ut_slice bytes =
        ut_body_slice(batch->first, batch->first->start, batch->first->end - batch->first->start);
    return memmem(bytes.data, bytes.size, text, strlen(text)) != NULL;
}

/* The bytes that the pipeline got parse strictly, and nothing in them is bad. */
static void expect_sound(const struct ut_batch *batch)
{
    struct ut_walk_report report;
    struct ut_batch *again =
        ut_batch_new(&harness.worker.pool, ut_segment_ref(batch->first->segment));
    cr_assert_not_null(again);
    cr_expect_eq(ut_walk(again->first, &report), 0);
    cr_expect(!report.bad_text);
    cr_expect_eq(report.left_out, 0);
    ut_batch_measure(again);
    cr_expect_eq(again->spans, batch->spans);
    ut_batch_unref(again);
}

static void expect_repaired(const char *transport)
{
    cr_assert_eq(harness.target.kept_count, 1);
    const struct ut_batch *batch = harness.target.kept[0];
    cr_expect_eq(batch->spans, SPANS);
    cr_expect(holds(batch, "\x0a\x0cservice.name\x12\x09\x0a\x07shop" REPLACEMENT));
    cr_expect(holds(batch, "\x2a\x07na" REPLACEMENT "me"));
    cr_expect(holds(batch, "\x0a\x04k" REPLACEMENT "\x12\x06\x0a\x04v" REPLACEMENT));
    expect_sound(batch);
    cr_expect_neq(batch->first->sender.socket_cookie, 0);
    cr_expect_eq(counter("undertrace_receiver_repaired_strings_total", transport), BAD_STRINGS);
    cr_expect_eq(counter("otelcol_receiver_accepted_spans", transport), SPANS);
    cr_expect_eq(counter("undertrace_receiver_rejected_spans", transport), 0);
    stub_release(&harness.target);
}

Test(otlp_text, is_repaired_over_grpc)
{
    http_harness_start(&harness, 64 * MIB);
    struct harness_client *client = connect_grpc();
    struct otlp_bytes request = bad_request();
    const struct grpc_reply *reply = send_grpc(client, &request);
    cr_expect_eq(reply->grpc_status, UT_GRPC_OK, "%s", reply->message);
    cr_expect_eq(reply->body_size, 5, "no partial_success");
    expect_repaired("grpc");
    otlp_free(&request);
    harness_disconnect(client);
}

Test(otlp_text, is_repaired_over_http)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = bad_request();
    http_post(&harness, client, request.data, request.size);
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 200);
    cr_expect_eq(answer.body_size, 0, "no partial_success");
    expect_repaired("http");
    otlp_free(&request);
    http_disconnect(client);
}

Test(otlp_text, is_repaired_in_json)
{
    static const char body[] = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{"
                               "\"traceId\":\"5B8EFFF798038103D269B633813FC60C\","
                               "\"spanId\":\"EEE19B7EC3C1B174\",\"name\":\"na\xfeme\"}]}]}]}";
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    char text[1024];
    (void)snprintf(text, sizeof(text),
                   "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   sizeof(body) - 1, body);
    http_send(&harness, client, text);
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 200);
    cr_assert_eq(harness.target.kept_count, 1);
    cr_expect(holds(harness.target.kept[0], "\x2a\x07na" REPLACEMENT "me"));
    expect_sound(harness.target.kept[0]);
    http_disconnect(client);
}

Test(otlp_text, is_left_out_where_it_is_to_be_rejected)
{
    harness.settings.invalid_utf8 = UT_OTLP_UTF8_REJECT;
    http_harness_start(&harness, 64 * MIB);
    struct harness_client *client = connect_grpc();
    struct otlp_bytes request = bad_name(3);
    const struct grpc_reply *reply = send_grpc(client, &request);
    cr_expect_eq(reply->grpc_status, UT_GRPC_OK);
    cr_expect_gt(reply->body_size, 5, "partial_success");
    cr_expect_eq(harness.target.spans, 1);
    cr_expect_eq(counter("undertrace_receiver_rejected_spans", "grpc"), 1);
    cr_expect_eq(counter("undertrace_receiver_repaired_strings_total", "grpc"), 0);
    otlp_free(&request);
    harness_disconnect(client);
}

Test(otlp_text, rows_of_bad_text_are_accepted_whole)
{
    harness.target.keep = false;
    http_harness_start(&harness, 64 * MIB);
    struct harness_client *client = connect_grpc();
    struct otlp_bytes body = {0};
    unsigned rows = 0;
    for (size_t i = 0; i < MALFORMED_COUNT; i++) {
        if (!malformed_is_text(&MALFORMED[i]))
            continue;
        malformed_build(&body, &MALFORMED[i]);
        const struct grpc_reply *reply = send_grpc(client, &body);
        cr_expect_eq(reply->grpc_status, UT_GRPC_OK, "%s", MALFORMED[i].name);
        cr_expect_eq(reply->body_size, 5, "%s: no partial_success", MALFORMED[i].name);
        rows++;
    }
    otlp_free(&body);
    cr_expect_geq(rows, 20);
    cr_expect_eq(harness.target.spans, rows * MALFORMED_SPANS);
    cr_expect_geq(counter("undertrace_receiver_repaired_strings_total", "grpc"), rows);
    harness_disconnect(client);
}

Test(otlp_text, only_the_repaired_request_stays_charged)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = bad_name(MIB);
    http_post(&harness, client, request.data, request.size);
    cr_expect_eq(http_await(&harness, client, false).status, 200);
    cr_assert_eq(harness.target.kept_count, 1);
    const struct ut_body *body = harness.target.kept[0]->first;
    cr_expect_geq(body->charge, 3 * MIB);
    cr_expect_lt(body->charge, 3 * MIB + MIB / 2, "%zu", body->charge);
    otlp_free(&request);
    http_disconnect(client);
}

Test(otlp_text, what_would_outgrow_the_limit_is_left_out)
{
    harness.settings.protocols.http.max_request_body_size = 64 << 10;
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = bad_name(40 << 10);
    http_post(&harness, client, request.data, request.size);
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 200);
    cr_expect_gt(answer.body_size, 0, "partial_success");
    cr_expect_eq(harness.target.spans, 1);
    cr_expect_eq(counter("undertrace_receiver_rejected_spans", "http"), 1);
    cr_expect_eq(counter("undertrace_receiver_repaired_strings_total", "http"), 0);
    otlp_free(&request);
    http_disconnect(client);
}

Test(otlp_text, without_room_for_the_repair_the_client_is_to_come_again)
{
    http_harness_start(&harness, 5 * MIB);
    struct http_client *client = http_connect(&harness);
    struct otlp_bytes request = bad_name(2 * MIB);
    http_post(&harness, client, request.data, request.size);
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 503);
    cr_expect_not_null(strstr(answer.head, "\r\nRetry-After: "));
    cr_expect_eq(counter("otelcol_receiver_refused_spans", "http"), 2);
    cr_expect_eq(harness.target.batches, 0);
    otlp_free(&request);
    request = bad_request();
    http_post(&harness, client, request.data, request.size);
    cr_expect_eq(http_await(&harness, client, false).status, 200, "a small one has room");
    otlp_free(&request);
    http_disconnect(client);
}
