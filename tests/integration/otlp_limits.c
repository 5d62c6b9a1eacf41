/* SPDX-License-Identifier: Apache-2.0 */
/* What bounds a connection of the otlp receiver in time and number: each limit ends the one that
 * reached it, is counted under its name, and leaves the neighbour alone. */
#include "http_harness.h"
#include "otlp_builder.h"
#include <sys/resource.h>

#define MIB ((size_t)1 << 20)
#define MS UT_NS_PER_MS

static struct harness harness;

static void set_up(void)
{
    http_harness_defaults(&harness);
}

static void tear_down(void)
{
    harness_done(&harness);
}

TestSuite(otlp_limits, .init = set_up, .fini = tear_down);

static struct ut_otlp_port *port_of(enum ut_transport transport)
{
    return &UT_CONTAINER_OF(harness.receiver, struct ut_otlp_receiver, base)->ports[transport];
}

static void start_grpc(void)
{
    http_harness_start(&harness, 64 * MIB);
    harness.port = port_of(UT_TRANSPORT_GRPC)->listener.port;
}

static double hits(const char *transport, const char *limit)
{
    char line[160];
    snprintf(line, sizeof(line),
             "undertrace_receiver_limit_hits_total{receiver=\"otlp\",transport=\"%s\","
             "limit=\"%s\"",
             transport, limit);
    return harness_metric(&harness, line);
}

static void send_raw(int fd, const void *bytes, size_t size)
{
    cr_assert_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size, "%s", strerror(errno));
}

/* Turns the loop until the peer's end of `fd` is closed; false after `seconds`. */
static bool is_cut(int fd, uint64_t seconds)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!harness_late(start_ns, seconds)) {
        char bytes[4096];
        harness_turn(&harness);
        ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return true;
        usleep(500);
    }
    return false;
}

static void wait_ended(struct harness_client *client)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!client->ended && !harness_late(start_ns, 10)) {
        harness_turns(&harness, client, 1);
        usleep(200);
    }
    cr_assert(client->ended, "the server ends the connection");
}

static void export_empty(struct harness_client *client)
{
    const struct grpc_reply *reply = grpc_peer_export(&client->peer, NULL, 0);
    harness_await(&harness, client, reply);
    cr_expect_eq(reply->grpc_status, 0);
}

static void turn_for(uint64_t ms)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (ut_clock_monotonic_ns() - start_ns < ms * MS) {
        harness_turn(&harness);
        usleep(500);
    }
}

/* ---- time ----------------------------------------------------------------------------------- */

static const char slow_head[] = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: "
                                "application/x-protobuf\r\nContent-Length: 100000\r\n\r\n";

Test(otlp_limits, body_below_the_floor_is_cut_without_an_answer)
{
    harness.settings.protocols.http.limits.min_receive_rate = 1000;
    harness.settings.protocols.http.limits.receive_grace_ns = 200 * MS;
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, slow_head);
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!client->ended && !harness_late(start_ns, 10)) {
        if (send(client->fd, "x", 1, MSG_NOSIGNAL) < 0)
            break;
        turn_for(10); /* 100 bytes a second */
        http_read(client);
    }
    cr_expect_lt(ut_clock_monotonic_ns() - start_ns, 8 * UT_NS_PER_S);
    cr_expect_eq(client->in_size, 0);
    cr_expect_eq(hits("http", "receive_rate"), 1);
    cr_expect_eq(harness.worker.budget.used, 0);
    http_disconnect(client);
}

/* The timer fires before the socket is read. */
Test(otlp_limits, nobody_is_cut_for_the_time_that_we_have_lost)
{
    harness.settings.protocols.http.read_header_timeout_ns = 300 * MS;
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness), *silent = http_connect(&harness);
    turn_for(20);
    static const char head[] = "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n";
    send_raw(client->fd, head, sizeof(head) - 1);
    usleep(600000);
    cr_expect_eq(http_await(&harness, client, true).status, 404);
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!silent->ended && !harness_late(start_ns, 10)) {
        harness_turn(&harness);
        http_read(silent);
    }
    cr_expect_eq(hits("http", "handshake_timeout"), 1, "for silence");
    http_disconnect(client);
    http_disconnect(silent);
}

Test(otlp_limits, body_above_the_floor_may_take_its_time)
{
    harness.settings.protocols.http.limits.min_receive_rate = 1000;
    harness.settings.protocols.http.limits.receive_grace_ns = 300 * MS;
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, slow_head);
    static char bytes[1000];
    for (int i = 0; i < 100; i++) {
        send_raw(client->fd, bytes, sizeof(bytes));
        turn_for(10);
    }
    cr_expect_eq(http_await(&harness, client, false).status, 400, "zeros are no spans");
    cr_expect_eq(hits("http", "receive_rate"), 0);
    http_disconnect(client);
}

/* The floor is the connection's: a stream that stands still is no slow sender while another one
 * brings bytes, and a client that sends one body after the other is within its right. */
Test(otlp_limits, floor_counts_the_bytes_of_all_streams)
{
    harness.settings.protocols.grpc.limits.min_receive_rate = 1000;
    harness.settings.protocols.grpc.limits.receive_grace_ns = 300 * MS;
    start_grpc();
    struct harness_client *client = harness_connect(&harness, false);
    static const uint8_t prefix[5] = {0, 0, 0, 0, 9};
    struct grpc_reply *waiting = grpc_peer_send(
        &client->peer, &(struct grpc_request){.body = prefix, .size = 5, .hold = true});
    for (int i = 0; i < 100; i++) {
        export_empty(client);
        turn_for(10);
    }
    cr_expect_not(client->ended);
    cr_expect_not(waiting->closed);
    wait_ended(client);
    cr_expect_eq(hits("grpc", "receive_rate"), 1);
    harness_disconnect(client);
}

Test(otlp_limits, half_a_header_block_is_cut)
{
    static const uint8_t half[] = {0, 0, 9, NGHTTP2_HEADERS, 0, 0, 0, 0, 1, 0x83, 0x86};
    harness.settings.protocols.grpc.handshake_timeout_ns = 300 * MS;
    start_grpc();
    struct harness_client *client = harness_connect(&harness, false);
    harness_turns(&harness, client, 30);
    send_raw(client->fd, half, sizeof(half));
    wait_ended(client);
    cr_expect_eq(hits("grpc", "header_timeout"), 1);
    cr_expect_eq(hits("grpc", "handshake_timeout"), 0);
    harness_disconnect(client);
}

Test(otlp_limits, refused_header_block_is_not_a_slow_one)
{
    harness.settings.protocols.grpc.handshake_timeout_ns = 200 * MS;
    harness.settings.protocols.grpc.limits.max_concurrent_streams = 1;
    start_grpc();
    struct harness_client *client = harness_connect(&harness, false);
    harness.target.delay = true;
    for (int i = 0; i < 3; i++) /* two of them before the limit is known */
        grpc_peer_export(&client->peer, NULL, 0);
    harness_turns(&harness, client, 50);
    turn_for(500);
    harness_turns(&harness, client, 10);
    cr_expect_not(client->ended);
    harness_disconnect(client);
}

/* Opens HTTP/2 by hand with windows of 0 and sends a request whose answer cannot leave. */
static int open_without_window(void)
{
    static const uint8_t opening[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                     "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0" /* INITIAL_WINDOW_SIZE 0 */
                                     "\0\0\0\4\1\0\0\0\0";            /* ACK */
    /* POST, http, x, /v1/traces, content-type: application/json; complete without a body */
    static const uint8_t request[] = "\0\0\x23\1\5\0\0\0\1\x83\x86\x41\1x\x04\x0a/v1/traces"
                                     "\x5f\x10"
                                     "application/json";
    int fd = harness_socket(&harness, false);
    send_raw(fd, opening, sizeof(opening) - 1);
    send_raw(fd, request, sizeof(request) - 1);
    return fd;
}

Test(otlp_limits, answer_that_the_client_does_not_let_out_is_cut)
{
    harness.settings.protocols.http.limits.write_timeout_ns = 300 * MS;
    harness.settings.protocols.http.read_header_timeout_ns = 300 * MS;
    http_harness_start(&harness, 64 * MIB);
    int fd = open_without_window();
    cr_expect(is_cut(fd, 10));
    cr_expect_eq(hits("http", "write_timeout"), 1);
    close(fd);
}

Test(otlp_limits, client_that_reads_nothing_is_cut)
{
    harness.settings.protocols.http.limits.write_timeout_ns = 300 * MS;
    http_harness_start(&harness, 64 * MIB);
    int fd = harness_socket(&harness, false), small = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    static const char request[] = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";
    enum { SIZE = sizeof(request) - 1, TIMES = 60000 };
    char *requests = malloc((size_t)TIMES * SIZE);
    cr_assert_not_null(requests);
    for (size_t i = 0; i < TIMES; i++)
        memcpy(requests + i * SIZE, request, SIZE);
    uint64_t start_ns = ut_clock_monotonic_ns();
    for (size_t at = 0; hits("http", "write_timeout") < 1 && !harness_late(start_ns, 20);) {
        ssize_t sent =
            send(fd, requests + at, (size_t)TIMES * SIZE - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        at += sent > 0 ? (size_t)sent : 0;
        turn_for(5);
    }
    free(requests);
    cr_expect_eq(hits("http", "write_timeout"), 1);
    cr_expect_leq(harness.worker.pool.in_use, 2 * MIB);
    close(fd);
}

Test(otlp_limits, old_connection_is_told_to_go_and_its_request_finishes)
{
    harness.settings.protocols.grpc.handshake_timeout_ns = 300 * MS;
    harness.settings.protocols.grpc.keepalive.server_parameters.max_connection_age_ns = 300 * MS;
    start_grpc();
    struct harness_client *client = harness_connect(&harness, false);
    export_empty(client);
    harness.target.delay = true;
    struct otlp_bytes body = {0};
    size_t spans = otlp_begin(&body, 1), scope = otlp_begin(&body, 2);
    otlp_span(&body, &(struct otlp_span){.trace_id = 1, .span_id = 1, .name = "n"});
    otlp_end(&body, scope);
    otlp_end(&body, spans);
    struct grpc_reply *reply = grpc_peer_export(&client->peer, body.data, body.size);
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (client->peer.goaway_code == UINT32_MAX && !harness_late(start_ns, 10))
        harness_turns(&harness, client, 1);
    cr_expect_eq(client->peer.goaway_code, NGHTTP2_NO_ERROR);
    cr_expect_not(reply->closed);
    cr_assert_eq(harness.target.delayed_count, 1);
    stub_answer(&harness.target, harness.target.delayed[0]);
    harness_await(&harness, client, reply);
    cr_expect_eq(reply->grpc_status, 0);
    wait_ended(client);
    cr_expect_eq(hits("grpc", "connection_age"), 1);
    otlp_free(&body);
    harness_disconnect(client);
}

Test(otlp_limits, old_connection_with_a_stuck_request_ends_after_the_grace)
{
    harness.settings.protocols.grpc.handshake_timeout_ns = 300 * MS;
    harness.settings.protocols.grpc.keepalive.server_parameters.max_connection_age_ns = 100 * MS;
    harness.settings.protocols.grpc.keepalive.server_parameters.max_connection_age_grace_ns =
        300 * MS;
    start_grpc();
    struct harness_client *client = harness_connect(&harness, false);
    grpc_peer_send(&client->peer, &(struct grpc_request){.body = "", .size = 0, .hold = true});
    wait_ended(client);
    cr_expect_eq(hits("grpc", "connection_age"), 1);
    harness_disconnect(client);
}

Test(otlp_limits, peer_that_answers_no_ping_is_gone)
{
    harness.settings.protocols.grpc.handshake_timeout_ns = 300 * MS;
    harness.settings.protocols.grpc.keepalive.server_parameters.time_ns = 200 * MS;
    harness.settings.protocols.grpc.keepalive.server_parameters.timeout_ns = 200 * MS;
    start_grpc();
    struct harness_client *lives = harness_connect(&harness, false);
    struct harness_client *silent = harness_connect(&harness, false);
    export_empty(lives);
    export_empty(silent);
    harness_turns(&harness, silent, 10); /* its ACK of our SETTINGS */
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (ut_clock_monotonic_ns() - start_ns < 1500 * MS) {
        harness_turns(&harness, lives, 1); /* answers PINGs */
        usleep(500);
    }
    cr_expect_not(lives->ended);
    cr_expect_eq(hits("grpc", "keepalive_timeout"), 1);
    wait_ended(silent);
    harness_disconnect(lives);
    harness_disconnect(silent);
}

/* ---- number --------------------------------------------------------------------------------- */

Test(otlp_limits, one_address_cannot_take_all_connections)
{
    harness.settings.protocols.http.limits.max_connections = 8;
    harness.settings.protocols.http.limits.max_connections_per_address = 3;
    http_harness_start(&harness, 64 * MIB);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = harness_socket(&harness, false);
        turn_for(20);
    }
    cr_expect(is_cut(fds[3], 5));
    cr_expect_eq(hits("http", "connections_per_address"), 1);
    cr_expect_eq(hits("http", "connections"), 0);
    int v6 = harness_socket(&harness, true); /* ::1 is another one */
    turn_for(20);
    cr_expect_eq(port_of(UT_TRANSPORT_HTTP)->connection_count, 4);
    close(fds[0]);
    turn_for(20);
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(http_await(&harness, client, false).status, 204, "a place is free again");
    http_disconnect(client);
    for (int i = 1; i < 4; i++)
        close(fds[i]);
    close(v6);
}

Test(otlp_limits, connections_follow_from_the_descriptors_of_the_process)
{
    harness.settings.protocols.http.limits.max_connections = 0;
    harness.settings.protocols.grpc.limits.max_connections = 0;
    http_harness_start(&harness, 64 * MIB);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    uint64_t most = limit.rlim_cur > 256 ? (limit.rlim_cur - 256) / 4 * 3 / 2 : 0;
    most = most > 64 ? most : 64;
    cr_expect_eq(port_of(UT_TRANSPORT_GRPC)->connections_max, most > 100000 ? 100000 : most);
    cr_expect_eq(port_of(UT_TRANSPORT_HTTP)->connections_per_address,
                 (port_of(UT_TRANSPORT_HTTP)->connections_max + 1) / 2);
}

Test(otlp_limits, last_request_of_an_http1_connection_is_told_so)
{
    harness.settings.protocols.http.limits.max_requests_per_connection = 3;
    http_harness_start(&harness, 64 * MIB);
    struct http_client *client = http_connect(&harness);
    for (int i = 0; i < 3; i++) {
        http_post(&harness, client, NULL, 0);
        struct http_answer answer = http_await(&harness, client, false);
        cr_expect_eq(answer.status, 200);
        cr_expect_eq(strstr(answer.head, "\r\nConnection: close\r\n") != NULL, i == 2, "%d", i);
    }
    cr_expect(http_is_ended(&harness, client));
    cr_expect_eq(hits("http", "requests_per_connection"), 1);
    http_disconnect(client);
}

Test(otlp_limits, last_request_of_an_http2_connection_is_followed_by_a_graceful_goaway)
{
    harness.settings.protocols.grpc.limits.max_requests_per_connection = 3;
    start_grpc();
    struct harness_client *client = harness_connect(&harness, false);
    for (int i = 0; i < 3; i++)
        export_empty(client);
    wait_ended(client);
    cr_expect_eq(client->peer.goaway_code, NGHTTP2_NO_ERROR);
    cr_expect_eq(hits("grpc", "requests_per_connection"), 1);
    harness_disconnect(client);
}

/* Streams that are open with a byte each: held until they are too slow, in little memory. */
Test(otlp_limits, streams_held_open_cost_little)
{
    start_grpc();
    struct harness_client *client = harness_connect(&harness, false);
    export_empty(client);
    static const uint8_t begun[6] = {0, 0, 1, 0, 0, 1};
    size_t before = harness.worker.pool.in_use;
    for (int i = 0; i < 128; i++)
        grpc_peer_send(&client->peer,
                       &(struct grpc_request){.body = begun, .size = 6, .hold = true});
    harness_turns(&harness, client, 300);
    cr_expect_eq(port_of(UT_TRANSPORT_GRPC)->connection_count, 1);
    cr_expect_gt(harness.worker.pool.in_use, before + 128 * 512);
    cr_expect_leq(harness.worker.pool.in_use - before, MIB, "%zu",
                  harness.worker.pool.in_use - before);
    harness_disconnect(client);
}
