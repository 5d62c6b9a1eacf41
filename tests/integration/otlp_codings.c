/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed requests to the otlp receiver on a real loop: every coding over HTTP/1.1, HTTP/2 and
 * gRPC; what is wrong with them; what they may cost. */
#include "compress.h"
#include "http_harness.h"
#include "otlp_builder.h"

#define MIB ((size_t)1 << 20)
#define LIMIT (2 * MIB) /* of a request */

static struct harness harness;

static void set_up(void)
{
    http_harness_defaults(&harness);
    harness.settings.protocols.http.max_request_body_size = LIMIT;
    harness.settings.protocols.grpc.max_recv_msg_size_mib = LIMIT / MIB;
}

static void tear_down(void)
{
    harness_done(&harness);
}

TestSuite(otlp_codings, .init = set_up, .fini = tear_down);

/* ---- requests ------------------------------------------------------------------------------- */

/* What a request is sent over. */
enum way { HTTP1, HTTP1_CHUNKED, HTTP2, GRPC, WAYS };

static const char *const way_names[WAYS] = {"HTTP/1.1", "HTTP/1.1 in chunks", "HTTP/2", "gRPC"};

struct outcome {
    int status;     /* HTTP's, or gRPC's code */
    bool retryable; /* and when is told */
    char text[512];
};

static struct otlp_bytes request_of(size_t spans, size_t padding)
{
    struct otlp_bytes request = {0};
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    char *name = calloc(1, padding + 8);
    cr_assert_not_null(name);
    uint32_t random = 1;
    for (size_t i = 0; i < padding + 7; i++)
        name[i] = (char)('a' + ((random = random * 1664525 + 1013904223) >> 29));
    for (size_t i = 0; i < spans; i++)
        otlp_span(&request, &(struct otlp_span){
                                .trace_id = i + 1,
                                .span_id = i + 1,
                                .name = name,
                                .start_ns = 1000,
                                .end_ns = 2000,
                            });
    free(name);
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    return request;
}

static struct outcome send_http1(struct http_client *client, const char *coding,
                                 const uint8_t *body, size_t size, size_t piece, bool chunked)
{
    char head[256], line[24];
    struct outcome outcome = {0};
    int length = snprintf(head, sizeof(head),
                          "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: %s\r\n"
                          "Content-Type: application/x-protobuf\r\n",
                          coding);
    length += chunked ? snprintf(head + length, 64, "Transfer-Encoding: chunked\r\n\r\n")
                      : snprintf(head + length, 64, "Content-Length: %zu\r\n\r\n", size);
    http_send_pieces(&harness, client, head, (size_t)length, SIZE_MAX / 2);
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        if (chunked) {
            length = snprintf(line, sizeof(line), "%zx\r\n", n);
            http_send_pieces(&harness, client, line, (size_t)length, SIZE_MAX / 2);
        }
        http_send_pieces(&harness, client, body + at, n, SIZE_MAX / 2);
        if (chunked)
            http_send(&harness, client, "\r\n");
    }
    if (chunked)
        http_send(&harness, client, "0\r\n\r\n");
    struct http_answer answer = http_await(&harness, client, false);
    outcome.status = answer.status;
    outcome.retryable = strstr(answer.head, "\r\nRetry-After: ") != NULL;
    /* A google.rpc.Status: its text is behind four bytes. */
    if (answer.body_size > 4)
        (void)snprintf(outcome.text, sizeof(outcome.text), "%.500s", answer.body + 4);
    return outcome;
}

static struct outcome await_http2(struct harness_client *client, const struct grpc_reply *reply,
                                  bool grpc)
{
    struct outcome outcome = {0};
    harness_await(&harness, client, reply);
    cr_assert_eq(reply->reset_code, NGHTTP2_NO_ERROR);
    outcome.status = grpc ? reply->grpc_status : reply->http_status;
    outcome.retryable = reply->details[0] != '\0' || reply->http_status == 503;
    (void)snprintf(outcome.text, sizeof(outcome.text), "%s", reply->message);
    return outcome;
}

static const struct grpc_reply *begin_http2(struct harness_client *client, const char *coding,
                                            const uint8_t *body, size_t size)
{
    const nghttp2_nv field = {(uint8_t *)(uintptr_t) "content-encoding",
                              (uint8_t *)(uintptr_t)coding, 16, strlen(coding), 0};
    return grpc_peer_send(&client->peer, &(struct grpc_request){
                                             .path = "/v1/traces",
                                             .content_type = "application/x-protobuf",
                                             .body = body,
                                             .size = size,
                                             .extra = &field,
                                             .extra_count = 1,
                                         });
}

static struct grpc_reply *begin_grpc(struct harness_client *client, const char *coding,
                                     const uint8_t *body, size_t size)
{
    uint8_t *message = malloc(size + 5);
    cr_assert_not_null(message);
    const uint8_t prefix[] = {1, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                              (uint8_t)size};
    memcpy(message, prefix, 5);
    memcpy(message + 5, body, size);
    struct grpc_reply *reply = grpc_peer_send(&client->peer, &(struct grpc_request){
                                                                 .encoding = coding,
                                                                 .body = message,
                                                                 .size = size + 5,
                                                             });
    free(message);
    return reply;
}

/* Over a connection of its own. */
static struct outcome send_over(enum way way, const char *coding, const uint8_t *body, size_t size)
{
    struct outcome outcome;
    if (way == HTTP1 || way == HTTP1_CHUNKED) {
        struct http_client *client = http_connect(&harness);
        outcome = send_http1(client, coding, body, size, way == HTTP1 ? SIZE_MAX / 2 : 5000,
                             way == HTTP1_CHUNKED);
        http_disconnect(client);
        return outcome;
    }
    struct harness_client *client = harness_connect(&harness, false);
    const struct grpc_reply *reply = way == HTTP2 ? begin_http2(client, coding, body, size)
                                                  : begin_grpc(client, coding, body, size);
    outcome = await_http2(client, reply, way == GRPC);
    harness_disconnect(client);
    return outcome;
}

static struct grpc_reply *begin_held(struct harness_client *client, const char *coding,
                                     const uint8_t *body, size_t size)
{
    return grpc_peer_send(&client->peer, &(struct grpc_request){
                                             .encoding = coding,
                                             .body = body,
                                             .size = size,
                                             .hold = true,
                                         });
}

static void wait_charged(struct harness_client *client, size_t at_least)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (harness.worker.budget.used < at_least && !harness_late(start_ns, 20))
        harness_turns(&harness, client, 1);
    cr_assert_geq(harness.worker.budget.used, at_least);
}

static int status_over(enum way way, int http, int grpc)
{
    return way == GRPC ? grpc : http;
}

static void expect_outcome(enum way way, enum compress_form form, const struct outcome *outcome,
                           int http, int grpc)
{
    cr_expect_eq(outcome->status, status_over(way, http, grpc), "%s over %s: %d %s",
                 compress_name(form), way_names[way], outcome->status, outcome->text);
    cr_expect_eq(outcome->retryable, http == 503, "%s over %s", compress_name(form),
                 way_names[way]);
}

/* A fault that each coding can have, over each way. */
static void expect_each(uint8_t *(*build)(enum compress_form form, size_t *ret_size), int http,
                        int grpc)
{
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        size_t size;
        uint8_t *body = build(form, &size);
        for (enum way way = 0; way < WAYS; way++) {
            struct outcome outcome = send_over(way, compress_coding(form), body, size);
            expect_outcome(way, form, &outcome, http, grpc);
        }
        free(body);
    }
    for (int turn = 0; turn < 100 && harness.worker.budget.used > 0; turn++)
        harness_turn(&harness);
    cr_expect_eq(harness.worker.budget.used, 0);
}

/* ---- what is right -------------------------------------------------------------------------- */

static uint8_t *build_sound(enum compress_form form, size_t *ret_size)
{
    struct otlp_bytes request = request_of(700, 300);
    uint8_t *body = compress_bytes(form, request.data, request.size, ret_size);
    otlp_free(&request);
    return body;
}

Test(otlp_codings, each_is_taken_over_each_protocol)
{
    http_harness_start(&harness, 64 * MIB);
    expect_each(build_sound, 200, 0);
    cr_expect_eq(harness.target.spans, 700 * COMPRESS_FORMS * WAYS);
}

Test(otlp_codings, request_is_the_same_wherever_it_is_cut)
{
    http_harness_start(&harness, 64 * MIB);
    struct otlp_bytes request = request_of(3, 40);
    struct http_client *client = http_connect(&harness);
    uint64_t sent = 0;
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        size_t size;
        uint8_t *body = compress_bytes(form, request.data, request.size, &size);
        for (size_t piece = 1; piece <= size; piece += piece < 4 ? 1 : size / 40 + 1, sent++) {
            struct outcome outcome =
                send_http1(client, compress_coding(form), body, size, piece, piece % 2 != 0);
            cr_expect_eq(outcome.status, 200, "%s in pieces of %zu", compress_name(form), piece);
        }
        free(body);
    }
    cr_expect_eq(harness.target.spans, 3 * sent);
    http_disconnect(client);
    otlp_free(&request);
}

Test(otlp_codings, grpc_message_may_come_byte_by_byte)
{
    http_harness_start(&harness, 64 * MIB);
    struct otlp_bytes request = request_of(3, 40);
    struct harness_client *client = harness_connect(&harness, false);
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        size_t size;
        uint8_t *body = compress_bytes(form, request.data, request.size, &size);
        const uint8_t prefix[] = {1, 0, 0, (uint8_t)(size >> 8), (uint8_t)size};
        struct grpc_reply *reply =
            begin_held(client, compress_coding(form), prefix, sizeof(prefix));
        for (size_t at = 0; at < size; at++) {
            grpc_peer_more(&client->peer, reply, body + at, 1, at + 1 == size);
            harness_turns(&harness, client, 2);
        }
        harness_await(&harness, client, reply);
        cr_expect_eq(reply->grpc_status, 0, "%s: %s", compress_name(form), reply->message);
        cr_expect_not_null(strstr(reply->accept_encoding, "zstd"));
        free(body);
    }
    cr_expect_eq(harness.target.spans, 3 * COMPRESS_FORMS);
    otlp_free(&request);
    harness_disconnect(client);
}

Test(otlp_codings, no_bytes_are_an_empty_request)
{
    http_harness_start(&harness, 64 * MIB);
    for (enum way way = 0; way < WAYS; way++) {
        struct outcome outcome = send_over(way, "gzip", (const uint8_t *)"", 0);
        expect_outcome(way, COMPRESS_GZIP, &outcome, 200, 0);
    }
}

Test(otlp_codings, json_may_be_compressed)
{
    static const char json[] = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":"
                               "\"5B8EFFF798038103D269B633813FC60C\",\"spanId\":"
                               "\"EEE19B7EC3C1B174\"}]}]}]}";
    http_harness_start(&harness, 64 * MIB);
    size_t size;
    uint8_t *body = compress_bytes(COMPRESS_GZIP, json, sizeof(json) - 1, &size);
    struct http_client *client = http_connect(&harness);
    char head[256];
    (void)snprintf(head, sizeof(head),
                   "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                   "Content-Encoding: GZip\r\nContent-Length: %zu\r\n\r\n",
                   size);
    http_send(&harness, client, head);
    http_send_pieces(&harness, client, body, size, SIZE_MAX / 2);
    cr_expect_eq(http_await(&harness, client, false).status, 200);
    cr_expect_eq(harness.target.spans, 1);
    http_disconnect(client);
    free(body);
}

Test(otlp_codings, bytes_are_counted_as_they_came_and_inflated)
{
    http_harness_start(&harness, 64 * MIB);
    struct otlp_bytes request = request_of(10, 40);
    size_t size;
    uint8_t *body = compress_bytes(COMPRESS_ZSTD, request.data, request.size, &size);
    send_over(GRPC, "zstd", body, size);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_compressed_bytes_total{receiver="
                                          "\"otlp\",transport=\"grpc\",coding=\"zstd\""),
                 size);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_inflated_bytes_total{receiver="
                                          "\"otlp\",transport=\"grpc\",coding=\"zstd\""),
                 request.size);
    free(body);
    otlp_free(&request);
}

/* ---- what is wrong -------------------------------------------------------------------------- */

static uint8_t *build_cut(enum compress_form form, size_t *ret_size)
{
    uint8_t *body = build_sound(form, ret_size);
    *ret_size -= 3;
    return body;
}

static uint8_t *build_long(enum compress_form form, size_t *ret_size)
{
    size_t size;
    uint8_t *body = build_sound(form, &size);
    uint8_t *longer = calloc(1, size + 100);
    cr_assert_not_null(longer);
    memcpy(longer, body, size);
    free(body);
    *ret_size = size + 100;
    return longer;
}

static uint8_t *build_noise(enum compress_form form, size_t *ret_size)
{
    (void)form;
    uint8_t *body = malloc(1000);
    cr_assert_not_null(body);
    memset(body, 0x7f, 1000);
    *ret_size = 1000;
    return body;
}

Test(otlp_codings, stream_that_ends_too_early_is_invalid)
{
    http_harness_start(&harness, 64 * MIB);
    expect_each(build_cut, 400, UT_GRPC_INVALID_ARGUMENT);
}

Test(otlp_codings, bytes_behind_the_stream_are_invalid)
{
    http_harness_start(&harness, 64 * MIB);
    expect_each(build_long, 400, UT_GRPC_INVALID_ARGUMENT);
}

Test(otlp_codings, noise_is_invalid)
{
    http_harness_start(&harness, 64 * MIB);
    expect_each(build_noise, 400, UT_GRPC_INVALID_ARGUMENT);
}

Test(otlp_codings, connection_lives_on_behind_a_stream_that_does_not_inflate)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        size_t size, bad_size;
        uint8_t *bad = build_long(form, &bad_size), *sound = build_sound(form, &size);
        const char *coding = compress_coding(form);
        cr_expect_eq(send_http1(client, coding, bad, bad_size, 3000, true).status, 400);
        cr_expect_eq(send_http1(client, coding, sound, size, 3000, false).status, 200);
        free(bad);
        free(sound);
    }
    http_disconnect(client);
}

Test(otlp_codings, coding_that_is_not_taken_is_415)
{
    static char gzip[] = "gzip";
    char *names[] = {gzip};
    harness.settings.protocols.http.compression_algorithms = (struct ut_strings){names, 1};
    http_harness_start(&harness, 64 * MIB);
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        size_t size;
        uint8_t *body = build_sound(form, &size);
        const char *coding = compress_coding(form);
        int status = strcmp(coding, "gzip") == 0 ? 200 : 415;
        cr_expect_eq(send_over(HTTP1, coding, body, size).status, status);
        cr_expect_eq(send_over(HTTP2, coding, body, size).status, status);
        cr_expect_eq(send_over(GRPC, coding, body, size).status, 0, "the list is HTTP's");
        free(body);
    }
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client,
              "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Encoding: zstd\r\n"
              "Content-Type: application/x-protobuf\r\n\r\n");
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_not_null(strstr(answer.head, "\r\nAccept-Encoding: gzip, identity\r\n"));
    http_disconnect(client);
}

/* ---- what it may cost ----------------------------------------------------------------------- */

static uint8_t *build_bomb(enum compress_form form, size_t *ret_size)
{
    return compress_bomb(form, form < COMPRESS_ZSTD ? 8 * MIB : 1024 * MIB, ret_size);
}

Test(otlp_codings, bombs_are_cut_at_the_limit)
{
    http_harness_start(&harness, 16 * MIB);
    expect_each(build_bomb, 413, UT_GRPC_RESOURCE_EXHAUSTED);
    cr_expect_leq(harness.worker.pool.in_use, 2 * MIB);
}

static uint8_t *build_over(enum compress_form form, size_t *ret_size)
{
    struct otlp_bytes request = request_of(1, LIMIT + 1);
    uint8_t *body = compress_bytes(form, request.data, request.size, ret_size);
    otlp_free(&request);
    return body;
}

static uint8_t *build_at_limit(enum compress_form form, size_t *ret_size)
{
    struct otlp_bytes request = request_of(1, LIMIT - 150);
    /* An unknown field makes the rest. */
    size_t rest = LIMIT - request.size;
    cr_assert(rest > 3 && rest < 127 + 3);
    otlp_data(&request, 15,
              "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
              "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
              rest - 2);
    cr_assert_eq(request.size, LIMIT);
    uint8_t *body = compress_bytes(form, request.data, request.size, ret_size);
    otlp_free(&request);
    return body;
}

Test(otlp_codings, body_above_the_limit_is_refused_for_good)
{
    http_harness_start(&harness, 64 * MIB);
    expect_each(build_over, 413, UT_GRPC_RESOURCE_EXHAUSTED);
}

Test(otlp_codings, body_at_the_limit_is_taken)
{
    http_harness_start(&harness, 64 * MIB);
    expect_each(build_at_limit, 200, 0);
}

static uint8_t *build_large(enum compress_form form, size_t *ret_size)
{
    struct otlp_bytes request = request_of(1, LIMIT - 150);
    uint8_t *body = compress_bytes(form, request.data, request.size, ret_size);
    otlp_free(&request);
    return body;
}

Test(otlp_codings, body_without_room_is_to_come_again)
{
    http_harness_start(&harness, MIB + MIB / 2);
    expect_each(build_large, 503, UT_GRPC_UNAVAILABLE);
    cr_expect_eq(harness.target.spans, 0);
}

Test(otlp_codings, context_without_room_is_to_come_again)
{
    http_harness_start(&harness, 64 << 10);
    expect_each(build_sound, 503, UT_GRPC_UNAVAILABLE);
}

/* Nothing comes out of it, so no limit of what comes out would be reached. */
Test(otlp_codings, flood_of_empty_parts_is_cut)
{
    static const uint8_t member[] = "\x1f\x8b\x08\0\0\0\0\0\0\3\3\0\0\0\0\0\0\0\0\0",
                         stored[] = "\0\0\0\xff\xff", frame[] = "\x28\xb5\x2f\xfd\0\x58\1\0\0",
                         skippable[] = "\x50\x2a\x4d\x18\0\0\0\0", block[] = "\0\0\0";
    static const struct {
        const char *name, *coding;
        const void *first, *part;
        size_t first_size, part_size;
    } rows[] = {
        {"members", "gzip", member, member, 20, 20},
        {"stored blocks", "gzip", member, stored, 10, 5},
        {"stored blocks of deflate", "deflate", "\x78\x9c", stored, 2, 5},
        {"frames", "zstd", frame, frame, 9, 9},
        {"skippable frames", "zstd", skippable, skippable, 8, 8},
        {"blocks", "zstd", frame, block, 6, 3},
        {"a long skippable frame", "zstd", "\x50\x2a\x4d\x18\0\0\0\x10", block, 8, 3},
    };
    http_harness_start(&harness, 64 * MIB);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct otlp_bytes body = {0};
        otlp_raw(&body, rows[i].first, rows[i].first_size);
        while (body.size < 300000)
            otlp_raw(&body, rows[i].part, rows[i].part_size);
        for (enum way way = 0; way < WAYS; way++) {
            struct outcome outcome = send_over(way, rows[i].coding, body.data, body.size);
            cr_expect_eq(outcome.status, status_over(way, 400, UT_GRPC_INVALID_ARGUMENT),
                         "%s over %s: %d", rows[i].name, way_names[way], outcome.status);
            cr_expect_not_null(strstr(outcome.text, way == HTTP2 ? "" : "mostly empty"), "%s: %s",
                               rows[i].name, outcome.text);
        }
        otlp_free(&body);
    }
}

Test(otlp_codings, many_arrive_at_once_within_the_budget)
{
    enum { STREAMS = 100 };
    http_harness_start(&harness, 64 * MIB);
    struct otlp_bytes request = request_of(800, 1000);
    struct harness_client *client = harness_connect(&harness, false);
    struct grpc_reply *replies[STREAMS];
    uint8_t *bodies[STREAMS];
    size_t sizes[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        enum compress_form form = i % COMPRESS_FORMS;
        bodies[i] = compress_bytes(form, request.data, request.size, &sizes[i]);
        const uint8_t prefix[] = {1, 0, 0, (uint8_t)(sizes[i] >> 8), (uint8_t)sizes[i]};
        replies[i] = begin_held(client, compress_coding(form), prefix, sizeof(prefix));
        grpc_peer_more(&client->peer, replies[i], bodies[i], sizes[i] / 2, false);
    }
    harness_turns(&harness, client, 100);
    wait_charged(client, STREAMS * ut_inflate_cost(UT_CODING_GZIP));
    cr_expect_leq(harness.worker.pool.in_use, harness.worker.budget.used + 2 * MIB);
    for (int i = 0; i < STREAMS; i++) {
        size_t half = sizes[i] / 2;
        grpc_peer_more(&client->peer, replies[i], bodies[i] + half, sizes[i] - half, true);
        free(bodies[i]);
    }
    for (int i = 0; i < STREAMS; i++) {
        harness_await(&harness, client, replies[i]);
        cr_expect_eq(replies[i]->grpc_status, 0, "%d: %s", i, replies[i]->message);
    }
    cr_expect_eq(harness.target.spans, 800 * STREAMS);
    cr_expect_eq(harness.worker.budget.used, 0);
    otlp_free(&request);
    harness_disconnect(client);
}

Test(otlp_codings, few_bytes_hold_no_context)
{
    enum { STREAMS = 128 };
    uint8_t body[1005] = {1, 0, 0, 100, 0, 0x1f, 0x8b, 8, 4, [15] = 0xff, 0xff};
    http_harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    for (int i = 0; i < STREAMS; i++)
        begin_held(client, i % 2 == 0 ? "gzip" : "zstd", body, sizeof(body));
    wait_charged(client, STREAMS * 1000);
    harness_turns(&harness, client, 300);
    cr_expect_leq(harness.worker.pool.in_use, MIB, "%zu", harness.worker.pool.in_use);
    harness_disconnect(client);
}

/* Each holds a context; those that find no room for one are refused, not kept waiting. */
Test(otlp_codings, contexts_end_where_the_budget_does)
{
    enum { STREAMS = 100 };
    http_harness_start(&harness, 4 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    struct grpc_reply *replies[STREAMS];
    uint8_t body[5005] = {1, 0, 0, 100, 0, 0x1f, 0x8b, 8, 4, [15] = 0xff, 0xff};
    int refused = 0;
    for (int i = 0; i < STREAMS; i++)
        replies[i] = begin_held(client, "gzip", body, sizeof(body));
    harness_turns(&harness, client, 500);
    cr_expect_leq(harness.worker.budget.used, 4 * MIB);
    for (int i = 0; i < STREAMS; i++) {
        refused += replies[i]->grpc_status == UT_GRPC_UNAVAILABLE;
        cr_expect_eq(replies[i]->grpc_status == UT_GRPC_UNAVAILABLE,
                     replies[i]->details[0] != '\0');
    }
    cr_expect_eq(refused, STREAMS - (int)(4 * MIB / ut_inflate_cost(UT_CODING_GZIP)));
    harness_disconnect(client);
}

Test(otlp_codings, small_bodies_keep_small_blocks)
{
    http_harness_start(&harness, 64 * MIB);
    harness.target.keep = true;
    struct otlp_bytes request = request_of(1, 100);
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
        size_t size;
        uint8_t *body = compress_bytes(form, request.data, request.size, &size);
        size_t before = harness.worker.budget.used;
        struct outcome outcome = send_over(GRPC, compress_coding(form), body, size);
        cr_expect_eq(outcome.status, 0);
        cr_expect_leq(harness.worker.budget.used - before, (size_t)16 << 10, "%s: %zu",
                      compress_name(form), harness.worker.budget.used - before);
        free(body);
    }
    otlp_free(&request);
    stub_release(&harness.target);
}

Test(otlp_codings, steady_flow_asks_the_system_for_no_memory)
{
    http_harness_start(&harness, 64 * MIB);
    struct http_client *http = http_connect(&harness);
    struct harness_client *grpc = harness_connect(&harness, false);
    uint8_t *bodies[COMPRESS_FORMS];
    size_t sizes[COMPRESS_FORMS];
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++)
        bodies[form] = build_sound(form, &sizes[form]);
    uint64_t before = 0;
    for (int round = 0; round < 40; round++) {
        if (round == 20)
            before = harness.worker.pool.system_calls;
        for (enum compress_form form = 0; form < COMPRESS_FORMS; form++) {
            const char *coding = compress_coding(form);
            cr_assert_eq(send_http1(http, coding, bodies[form], sizes[form], 9000, true).status,
                         200);
            struct grpc_reply *reply = begin_grpc(grpc, coding, bodies[form], sizes[form]);
            harness_await(&harness, grpc, reply);
            cr_assert_eq(reply->grpc_status, 0);
        }
    }
    cr_expect_eq(harness.worker.pool.system_calls, before);
    for (enum compress_form form = 0; form < COMPRESS_FORMS; form++)
        free(bodies[form]);
    http_disconnect(http);
    harness_disconnect(grpc);
}
