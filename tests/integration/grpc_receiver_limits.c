/* SPDX-License-Identifier: Apache-2.0 */
/* What bounds the otlp receiver: the budget and its fairness, time, sizes, floods. */
#include "grpc_harness.h"
#include "otlp_builder.h"

#define MIB ((size_t)1 << 20)

static struct harness harness;

static void prepare(void)
{
    harness_defaults(&harness, "127.0.0.1:0");
}

static void tear_down(void)
{
    harness_done(&harness);
}

TestSuite(grpc_limits, .init = prepare, .fini = tear_down);

static struct otlp_bytes request_of_bytes(size_t bytes)
{
    struct otlp_bytes request = {0};
    char *name = calloc(1, bytes + 1);
    memset(name, 'n', bytes);
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 1, .name = name});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    free(name);
    return request;
}

static struct grpc_reply *begin_export(struct harness_client *client, size_t bytes)
{
    struct otlp_bytes request = request_of_bytes(bytes);
    struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
    otlp_free(&request);
    return reply;
}

static struct grpc_reply *export_bytes(struct harness_client *client, size_t bytes)
{
    struct grpc_reply *reply = begin_export(client, bytes);
    harness_await(&harness, client, reply);
    return reply;
}

/* The first `sent` bytes of a message of `declared` bytes; the rest stays away. */
static struct grpc_reply *begin_slow(struct harness_client *client, size_t declared, size_t sent)
{
    uint8_t *body = calloc(1, sent + 5);
    body[1] = (uint8_t)(declared >> 24);
    body[2] = (uint8_t)(declared >> 16);
    body[3] = (uint8_t)(declared >> 8);
    body[4] = (uint8_t)declared;
    struct grpc_reply *reply = grpc_peer_send(
        &client->peer, &(struct grpc_request){.body = body, .size = sent + 5, .hold = true});
    free(body);
    return reply;
}

static void wait_charged(struct harness_client *client, size_t at_least)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (harness.worker.budget.used < at_least && !harness_late(start_ns, 20))
        harness_turns(&harness, client, 1);
    cr_assert_geq(harness.worker.budget.used, at_least);
}

static void wait_ended(struct harness_client *client)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!client->ended && !harness_late(start_ns, 10))
        harness_turns(&harness, client, 1);
    cr_assert(client->ended, "the server ends the connection");
}

Test(grpc_limits, exhausted_budget_is_unavailable_until_it_is_released)
{
    harness_start(&harness, 4 * MIB);
    harness.target.keep = true;
    struct harness_client *client = harness_connect(&harness, false);
    struct grpc_reply *reply;
    int taken = 0;
    while ((reply = export_bytes(client, 600 << 10))->grpc_status == 0 && taken < 10)
        taken++;
    cr_expect_geq(taken, 2);
    cr_expect_leq(taken, 4);
    cr_expect_eq(reply->grpc_status, UT_GRPC_UNAVAILABLE);
    cr_expect_neq(reply->details[0], '\0', "RetryInfo");
    cr_expect_leq(harness.worker.budget.used, harness.worker.budget.limit);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_limit_hits_total{receiver=\"otlp\","
                                          "transport=\"grpc\",limit=\"memory\""),
                 1);
    stub_release(&harness.target);
    cr_expect_eq(harness.worker.budget.used, 0);
    cr_expect_eq(export_bytes(client, 600 << 10)->grpc_status, 0);
    harness_disconnect(client);
}

Test(grpc_limits, the_connection_furthest_above_its_share_is_refused_first)
{
    harness_start(&harness, 8 * MIB);
    struct harness_client *greedy = harness_connect(&harness, false);
    struct harness_client *modest = harness_connect(&harness, false);
    struct grpc_reply *slow = begin_slow(greedy, 16 * MIB, 7 * MIB + 512);
    wait_charged(greedy, 7 * MIB);
    struct grpc_reply *reply = export_bytes(modest, 900 << 10);
    cr_expect_eq(reply->grpc_status, 0, "the modest one is served: %s", reply->message);
    harness_await(&harness, greedy, slow);
    cr_expect_eq(slow->grpc_status, UT_GRPC_UNAVAILABLE);
    cr_expect_neq(slow->details[0], '\0', "RetryInfo");
    cr_expect_eq(export_bytes(greedy, 100)->grpc_status, 0, "its connection lives on");
    cr_expect_eq(harness.worker.budget.used, 0);
    harness_disconnect(greedy);
    harness_disconnect(modest);
}

Test(grpc_limits, declared_length_alone_costs_nothing)
{
    harness_start(&harness, 4 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    for (int i = 0; i < 50; i++)
        begin_slow(client, 64 * MIB, 0);
    harness_turns(&harness, client, 200);
    cr_expect_eq(harness.worker.budget.used, 0);
    cr_expect_leq(harness.worker.pool.in_use, MIB);
    struct harness_client *other = harness_connect(&harness, false);
    cr_expect_eq(export_bytes(other, 100)->grpc_status, 0);
    harness_disconnect(client);
    harness_disconnect(other);
}

Test(grpc_limits, blocks_stay_within_four_times_what_has_come)
{
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    for (int i = 0; i < 20; i++)
        begin_slow(client, MIB - 100, 1);
    harness_turns(&harness, client, 200);
    cr_expect_leq(harness.worker.budget.used, 20 * ((size_t)128 << 10) + UT_BUDGET_STEP);
    cr_expect_gt(harness.worker.budget.used, 0);
    harness_disconnect(client);
}

Test(grpc_limits, slow_body_is_complete_in_the_end)
{
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    struct otlp_bytes request = request_of_bytes(300 << 10);
    struct grpc_reply *reply = begin_slow(client, request.size, 0);
    for (size_t at = 0; at < request.size;) {
        size_t size = request.size - at < 7001 ? request.size - at : 7001;
        grpc_peer_more(&client->peer, reply, request.data + at, size, at + size == request.size);
        at += size;
        harness_turns(&harness, client, 3);
    }
    harness_await(&harness, client, reply);
    cr_expect_eq(reply->grpc_status, 0, "%s", reply->message);
    cr_expect_eq(harness.target.spans, 1);
    otlp_free(&request);
    harness_disconnect(client);
}

Test(grpc_limits, message_over_the_limit_is_refused_for_good)
{
    harness.settings.protocols.grpc.max_recv_msg_size_mib = 1;
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    struct grpc_reply *reply = export_bytes(client, MIB + 1);
    cr_expect_eq(reply->grpc_status, UT_GRPC_RESOURCE_EXHAUSTED);
    cr_expect_str_eq(reply->details, "", "no RetryInfo");
    cr_expect_eq(export_bytes(client, 100)->grpc_status, 0);
    harness_disconnect(client);
}

Test(grpc_limits, stalled_request_ends_its_connection)
{
    harness.settings.protocols.grpc.limits.read_timeout_ns = 200 * UT_NS_PER_MS;
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    begin_slow(client, 1000, 10);
    wait_ended(client);
    cr_expect_eq(harness.worker.budget.used, 0);
    harness_disconnect(client);
}

Test(grpc_limits, trickling_request_ends_its_connection)
{
    harness.settings.protocols.grpc.limits.read_timeout_ns = 300 * UT_NS_PER_MS;
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    struct grpc_reply *reply = begin_slow(client, 100000, 10);
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!client->ended && !harness_late(start_ns, 5)) {
        grpc_peer_more(&client->peer, reply, "x", 1, false);
        harness_turns(&harness, client, 20);
    }
    cr_expect(client->ended);
    harness_disconnect(client);
}

Test(grpc_limits, silent_connection_ends_after_the_handshake_time)
{
    harness.settings.protocols.grpc.handshake_timeout_ns = 200 * UT_NS_PER_MS;
    harness_start(&harness, 64 * MIB);
    int fd = harness_socket(&harness, false);
    uint64_t start_ns = ut_clock_monotonic_ns();
    char byte[64];
    ssize_t got = -1;
    errno = EAGAIN;
    while ((got > 0 || (got < 0 && errno == EAGAIN)) && !harness_late(start_ns, 10)) {
        harness_turn(&harness);
        got = recv(fd, byte, sizeof(byte), MSG_DONTWAIT);
    }
    cr_expect_eq(got, 0, "closed");
    cr_expect_geq(ut_clock_monotonic_ns() - start_ns, 150 * UT_NS_PER_MS);
    close(fd);
}

Test(grpc_limits, idle_connection_is_told_goaway)
{
    harness.settings.protocols.grpc.keepalive.server_parameters.max_connection_idle_ns =
        200 * UT_NS_PER_MS;
    harness.settings.protocols.grpc.handshake_timeout_ns = 100 * UT_NS_PER_MS;
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    cr_expect_eq(export_bytes(client, 100)->grpc_status, 0);
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!client->ended && !harness_late(start_ns, 5)) {
        nghttp2_submit_ping(client->peer.session, 0, NULL);
        harness_turns(&harness, client, 20);
        usleep(2000);
    }
    cr_expect(client->ended, "PINGs do not keep it");
    cr_expect_eq(client->peer.goaway_code, NGHTTP2_NO_ERROR);
    harness_disconnect(client);
}

Test(grpc_limits, connections_above_the_limit_are_closed)
{
    harness.settings.protocols.grpc.limits.max_connections = 2;
    harness.settings.protocols.grpc.limits.max_connections_per_address = 2;
    harness_start(&harness, 64 * MIB);
    struct harness_client *clients[3];
    for (int i = 0; i < 3; i++) {
        clients[i] = harness_connect(&harness, false);
        harness_turns(&harness, clients[i], 20);
    }
    cr_expect(clients[2]->ended);
    cr_expect_eq(export_bytes(clients[0], 10)->grpc_status, 0);
    cr_expect_eq(export_bytes(clients[1], 10)->grpc_status, 0);
    for (int i = 0; i < 3; i++)
        harness_disconnect(clients[i]);
}

static struct grpc_reply *send_fields(struct harness_client *client, size_t count, size_t size)
{
    char *value = calloc(1, size + 1);
    memset(value, 'v', size);
    nghttp2_nv *fields = calloc(count, sizeof(*fields));
    for (size_t i = 0; i < count; i++)
        fields[i] = (nghttp2_nv){(uint8_t *)"x-field", (uint8_t *)value, 7, size, 0};
    struct grpc_reply *reply = grpc_peer_send(
        &client->peer, &(struct grpc_request){
                           .body = "\0\0\0\0\0", .size = 5, .extra = fields, .extra_count = count});
    free(fields);
    free(value);
    return reply;
}

Test(grpc_limits, header_fields_above_the_limit_refuse_the_request)
{
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    struct grpc_reply *many = send_fields(client, 200, 1);
    harness_await(&harness, client, many);
    cr_expect_eq(many->grpc_status, UT_GRPC_RESOURCE_EXHAUSTED);
    struct grpc_reply *large = send_fields(client, 10, 2000);
    harness_await(&harness, client, large);
    cr_expect_eq(large->grpc_status, UT_GRPC_RESOURCE_EXHAUSTED);
    cr_expect_str_eq(large->details, "", "no RetryInfo");
    cr_expect_eq(export_bytes(client, 10)->grpc_status, 0, "the connection lives on");
    harness_disconnect(client);
}

Test(grpc_limits, header_flood_ends_the_connection)
{
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    send_fields(client, 600, 3);
    wait_ended(client);
    cr_expect_eq(client->peer.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_limit_hits_total{receiver=\"otlp\","
                                          "transport=\"grpc\",limit=\"headers\""),
                 1);
    harness_disconnect(client);
}

Test(grpc_limits, ping_flood_ends_the_connection)
{
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    for (int i = 0; i < 1000 && !client->ended; i++) {
        nghttp2_submit_ping(client->peer.session, 0, NULL);
        if (i % 10 == 9)
            harness_turns(&harness, client, 1);
    }
    wait_ended(client);
    cr_expect_eq(client->peer.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    cr_expect_geq(client->peer.pings_answered, 100);
    harness_disconnect(client);
}

Test(grpc_limits, rapid_resets_end_the_connection)
{
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    for (int i = 0; i < 400 && !client->ended; i++) {
        struct grpc_reply *reply = begin_slow(client, 1000, 10);
        client_turn(client);
        nghttp2_submit_rst_stream(client->peer.session, 0, reply->stream, NGHTTP2_CANCEL);
        harness_turns(&harness, client, 1);
    }
    wait_ended(client);
    cr_expect_neq(client->peer.goaway_code, NGHTTP2_NO_ERROR);
    cr_expect_neq(client->peer.goaway_code, UINT32_MAX);
    harness_disconnect(client);
}

/* "MadeYouReset": a WINDOW_UPDATE that overflows an open stream's window makes us reset it. */
Test(grpc_limits, resets_that_we_are_made_to_send_end_the_connection)
{
    harness_start(&harness, 64 * MIB);
    struct harness_client *client = harness_connect(&harness, false);
    harness_turns(&harness, client, 20);
    for (int i = 0; i < 400 && !client->ended; i++) {
        struct grpc_reply *reply = begin_slow(client, 1000, 10);
        harness_turns(&harness, client, 2);
        const uint8_t frame[13] = {[2] = 4,
                                   [3] = NGHTTP2_WINDOW_UPDATE,
                                   [7] = (uint8_t)(reply->stream >> 8),
                                   [8] = (uint8_t)reply->stream,
                                   [9] = 0x7f,
                                   [10] = 0xff,
                                   [11] = 0xff,
                                   [12] = 0xff};
        ssize_t sent = send(client->fd, frame, sizeof(frame), MSG_NOSIGNAL);
        cr_assert(sent == (ssize_t)sizeof(frame) || i > 90);
        harness_turns(&harness, client, 2);
    }
    wait_ended(client);
    cr_expect_eq(client->peer.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    cr_expect_eq(harness.worker.budget.used, 0);
    harness_disconnect(client);
}

Test(grpc_limits, other_protocols_are_turned_away)
{
    harness_start(&harness, 64 * MIB);
    static const char *const openings[] = {"\x80\x80 no request\r\n\r\n", "\x16\x03\x01",
                                           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxx"};
    for (size_t i = 0; i < 3; i++) {
        int fd = harness_socket(&harness, false);
        (void)!send(fd, openings[i], strlen(openings[i]), MSG_NOSIGNAL);
        uint64_t start_ns = ut_clock_monotonic_ns();
        char bytes[256];
        ssize_t got = -1;
        errno = EAGAIN;
        while ((got > 0 || (got < 0 && errno == EAGAIN)) && !harness_late(start_ns, 10)) {
            harness_turn(&harness);
            got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        }
        cr_expect(got == 0 || errno == ECONNRESET, "opening %zu", i);
        close(fd);
    }
}
