/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of an HTTP/2 connection without a socket: the test moves the bytes, in pieces of its
 * choice. */
#include "net/h2_calls.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "base/clock.h"
#include "grpc_peer.h"

#define MIB ((size_t)1 << 20)

static struct ut_pool pool;
static struct ut_budget budget;
static struct ut_calls calls;
static struct ut_h2_calls server;
static struct grpc_peer peer;
static uint64_t now_ns = UT_NS_PER_S;

static struct {
    int messages, gone, refused[UT_REFUSALS], answered[UT_GRPC_CODES], wakes;
    size_t size, charge;
    uint8_t sum;
    bool keep; /* the newest call, unanswered */
    struct ut_call *call;
} seen;

static void on_message(struct ut_call *call)
{
    seen.messages++;
    seen.size = call->segment->size;
    for (size_t i = 0; i < call->segment->size; i++)
        seen.sum = (uint8_t)(seen.sum * 31 + call->segment->data[i]);
    struct ut_segment *segment = call->segment;
    call->segment = NULL;
    seen.charge = ut_call_settle(call);
    ut_budget_return(&budget, seen.charge);
    ut_segment_unref(segment);
    if (seen.keep)
        seen.call = call;
    else
        ut_call_succeed(call, UT_SLICE("reply"));
}

static void on_gone(struct ut_call *call)
{
    (void)call;
    seen.gone++;
}

static void on_answered(struct ut_calls *c, enum ut_transport transport, int status)
{
    (void)c;
    if (transport == UT_TRANSPORT_GRPC)
        seen.answered[status]++;
}

static void on_refused(struct ut_calls *c, enum ut_transport transport, enum ut_refusal why,
                       const char *text)
{
    (void)c, (void)transport;
    cr_assert_not_null(text);
    seen.refused[why]++;
}

static void wake(struct ut_calls *c)
{
    (void)c;
    seen.wakes++;
}

static const struct ut_service service = {
    .grpc_path = GRPC_PEER_PATH,
    .http_path = "/v1/traces",
    .http_metrics_path = "/v1/metrics",
    .body_bytes_max = 64 * MIB,
    .retry_after_ms = 1000,
    .on_message = on_message,
    .on_gone = on_gone,
    .on_answered = on_answered,
    .on_refused = on_refused,
    .wake = wake,
};

static const struct ut_h2_limits limits = {
    .streams = 10, .header_bytes = 16 << 10, .header_fields = 100};

static void set_up(void)
{
    ut_pool_init(&pool, 8 * MIB);
    ut_budget_init(&budget, 128 * MIB);
    ut_calls_init(&calls, &pool, &budget, &service);
    cr_assert_eq(ut_h2_calls_init(&server, &calls, &limits), 0);
    grpc_peer_init(&peer);
}

static void tear_down(void)
{
    ut_h2_calls_done(&server);
    grpc_peer_done(&peer);
    cr_expect_eq(budget.used, 0, "every charge was given back");
    ut_pool_done(&pool);
}

TestSuite(h2_calls, .init = set_up, .fini = tear_down);

static bool give_server(const uint8_t *bytes, size_t size, size_t piece)
{
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        /* An exact copy, so that a read beyond the piece is found. */
        uint8_t *copy = malloc(n);
        cr_assert_not_null(copy);
        memcpy(copy, bytes + at, n);
        int error = ut_h2_server_receive(&server.h2, ut_slice_of(copy, n), now_ns);
        free(copy);
        if (error != 0)
            return false;
        cr_assert_geq(calls.account.charged, calls.held);
        cr_assert_lt(calls.account.charged, calls.held + UT_BUDGET_STEP);
    }
    return true;
}

static size_t take_server(void)
{
    struct iovec runs[64];
    size_t total = 0;
    int count;
    while ((count = ut_h2_server_pending(&server.h2, runs, 64)) > 0) {
        size_t size = 0;
        for (int i = 0; i < count; i++) {
            cr_assert(grpc_peer_input(&peer, runs[i].iov_base, runs[i].iov_len));
            size += runs[i].iov_len;
        }
        ut_h2_server_consumed(&server.h2, size);
        total += size;
    }
    cr_assert_eq(count, 0);
    return total;
}

/* Until neither side has anything to say; false where the server ends the connection. */
static bool talk(size_t piece)
{
    static uint8_t bytes[256 << 10];
    size_t size = 1, taken = 1;
    bool lives = true;
    for (int i = 0; i < 100000 && lives && size + taken > 0; i++) {
        size = grpc_peer_output(&peer, bytes, sizeof(bytes));
        lives = give_server(bytes, size, piece);
        taken = take_server();
    }
    return lives;
}

/* Raw frames behind a sound opening. */
static void open_raw(void)
{
    uint8_t *opening = malloc(64 << 10);
    size_t size = grpc_peer_output(&peer, opening, 64 << 10);
    cr_assert(give_server(opening, size, size));
    free(opening);
}

static struct grpc_reply *export_bytes(size_t size)
{
    uint8_t *message = malloc(size + 1);
    cr_assert_not_null(message);
    for (size_t i = 0; i < size; i++)
        message[i] = (uint8_t)(i * 7 + i / 251);
    struct grpc_reply *reply = grpc_peer_export(&peer, message, size);
    free(message);
    return reply;
}

Test(h2_calls, message_is_the_same_however_its_bytes_are_cut)
{
    static const size_t pieces[] = {1, 2, 3, 5, 9, 14, 4096, 16393, 262144};
    uint8_t sum = 0;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        seen.sum = 0;
        struct grpc_reply *reply = export_bytes(40000);
        cr_assert(talk(pieces[i]));
        cr_assert(reply->closed);
        cr_assert_eq(reply->grpc_status, 0);
        cr_assert_eq(seen.size, 40000);
        if (i == 0)
            sum = seen.sum;
        cr_assert_eq(seen.sum, sum, "pieces of %zu", pieces[i]);
    }
    cr_expect_eq(seen.messages, 9);
}

Test(h2_calls, response_is_framed_and_followed_by_trailers)
{
    struct grpc_reply *reply = export_bytes(10);
    cr_assert(talk(4096));
    cr_expect_eq(reply->body_size, 10);
    cr_expect_eq(memcmp(reply->body, "\0\0\0\0\5reply", 10), 0);
    cr_expect(reply->has_trailers);
}

Test(h2_calls, settings_and_window_are_the_first_bytes_out)
{
    struct iovec run;
    cr_assert_eq(ut_h2_server_pending(&server.h2, &run, 1), 1);
    const uint8_t *bytes = run.iov_base;
    cr_assert_gt(run.iov_len, 9);
    cr_expect_eq(bytes[3], NGHTTP2_SETTINGS);
    cr_assert(talk(4096));
    cr_expect_eq(peer.streams_max, 10);
    cr_expect_eq(nghttp2_session_get_remote_window_size(peer.session), UT_H2_WINDOW_CONNECTION);
}

Test(h2_calls, windows_open_again_as_bytes_are_charged)
{
    struct grpc_reply *reply = export_bytes(40 * MIB);
    cr_assert(talk(256 << 10));
    cr_expect(reply->closed, "above the stream's window");
    for (int i = 0; i < 3; i++) {
        reply = export_bytes(30 * MIB);
        cr_assert(talk(256 << 10));
        cr_expect(reply->closed, "above the connection's window");
    }
    cr_expect_eq(seen.messages, 4);
}

Test(h2_calls, idle_connection_is_small)
{
    cr_assert(talk(4096));
    export_bytes(1000);
    cr_assert(talk(4096));
    cr_expect_leq(pool.in_use, (size_t)64 << 10, "%zu", pool.in_use);
}

Test(h2_calls, steady_calls_ask_the_system_for_no_memory)
{
    /* Long enough for the connection's first WINDOW_UPDATE. */
    for (int i = 0; i < 200; i++) {
        export_bytes(500);
        export_bytes(200000);
        cr_assert(talk(65536));
    }
    uint64_t before = pool.system_calls;
    for (int i = 0; i < 200; i++) {
        export_bytes(500);
        export_bytes(200000);
        cr_assert(talk(65536));
    }
    cr_expect_eq(pool.system_calls, before);
}

Test(h2_calls, streams_above_the_limit_are_refused_not_served)
{
    seen.keep = true;
    struct grpc_reply *replies[20];
    for (int i = 0; i < 20; i++) /* before the client knows the limit */
        replies[i] = export_bytes(10);
    cr_assert(talk(4096));
    int served = 0, refused = 0;
    for (int i = 0; i < 20; i++) {
        served += !replies[i]->closed;
        refused += replies[i]->closed && replies[i]->reset_code == NGHTTP2_REFUSED_STREAM;
    }
    cr_expect_eq(served, 10);
    cr_expect_eq(refused, 10);
    cr_expect_eq(calls.waiting, 10);
}

Test(h2_calls, call_that_goes_away_is_told_once_and_only_while_unanswered)
{
    seen.keep = true;
    struct grpc_reply *reply = export_bytes(10);
    cr_assert(talk(4096));
    nghttp2_submit_rst_stream(peer.session, 0, reply->stream, NGHTTP2_CANCEL);
    cr_assert(talk(4096));
    cr_expect_eq(seen.gone, 1);
    cr_expect_eq(calls.waiting, 0);
    reply = export_bytes(10);
    cr_assert(talk(4096));
    ut_call_fail(seen.call, UT_GRPC_UNAVAILABLE, 20, "later");
    cr_assert(talk(4096));
    cr_expect(reply->closed);
    cr_expect_eq(seen.gone, 1);
    cr_expect_eq(seen.answered[UT_GRPC_UNAVAILABLE], 1);
}

Test(h2_calls, body_that_comes_after_its_refusal_is_swallowed)
{
    uint8_t frame[4096] = {7};
    struct grpc_reply *reply =
        grpc_peer_send(&peer, &(struct grpc_request){.body = frame, .size = 10, .hold = true});
    static uint8_t bytes[256 << 10];
    size_t size = grpc_peer_output(&peer, bytes, sizeof(bytes));
    /* The client has not seen the answer yet and sends on. */
    cr_assert(give_server(bytes, size, size));
    cr_assert_eq(seen.refused[UT_REFUSED_PROTOCOL], 1);
    for (int i = 0; i < 50; i++) {
        grpc_peer_more(&peer, reply, frame, sizeof(frame), false);
        size = grpc_peer_output(&peer, bytes, sizeof(bytes));
        cr_assert(give_server(bytes, size, size));
    }
    cr_assert(talk(4096));
    cr_expect(reply->closed);
    cr_expect_eq(reply->grpc_status, UT_GRPC_INTERNAL);
    cr_expect_eq(calls.held, 0);
    cr_expect_eq(nghttp2_session_get_effective_local_window_size(server.h2.session),
                 UT_H2_WINDOW_CONNECTION);
    reply = export_bytes(10);
    cr_assert(talk(4096));
    cr_expect_eq(reply->grpc_status, 0);
}

Test(h2_calls, charge_follows_the_bytes_that_came)
{
    uint8_t prefix[5] = {0, 2, 0, 0, 0};
    struct grpc_reply *reply =
        grpc_peer_send(&peer, &(struct grpc_request){.body = prefix, .size = 5, .hold = true});
    cr_assert(talk(4096));
    cr_expect_eq(budget.used, 0, "32 MiB were only declared");
    uint8_t *some = calloc(1, MIB);
    grpc_peer_more(&peer, reply, some, MIB, false);
    free(some);
    cr_assert(talk(65536));
    cr_expect_geq(budget.used, MIB);
    cr_expect_leq(budget.used, MIB + 2 * UT_BUDGET_STEP);
    nghttp2_submit_rst_stream(peer.session, 0, reply->stream, NGHTTP2_CANCEL);
    cr_assert(talk(4096));
    cr_expect_eq(budget.used, 0);
}

Test(h2_calls, eviction_refuses_all_that_arrives_and_wakes_the_connection)
{
    uint8_t body[1005] = {0, 0, 0, 100, 0};
    struct grpc_reply *a =
        grpc_peer_send(&peer, &(struct grpc_request){.body = body, .size = 1000, .hold = true});
    struct grpc_reply *b =
        grpc_peer_send(&peer, &(struct grpc_request){.body = body, .size = 1000, .hold = true});
    cr_assert(talk(4096));
    cr_assert_gt(calls.account.charged, 0);
    int wakes = seen.wakes;
    calls.account.evict(&calls.account);
    cr_expect_eq(calls.account.charged, 0);
    cr_expect_gt(seen.wakes, wakes);
    cr_assert(talk(4096));
    cr_expect_eq(a->grpc_status, UT_GRPC_UNAVAILABLE);
    cr_expect_eq(b->grpc_status, UT_GRPC_UNAVAILABLE);
    cr_expect_neq(a->details[0], '\0', "RetryInfo");
    cr_expect_eq(seen.refused[UT_REFUSED_BUDGET], 2);
}

Test(h2_calls, pings_that_nobody_reads_the_answers_of_end_the_connection)
{
    static const uint8_t ping[17] = {0, 0, 8, NGHTTP2_PING};
    open_raw();
    bool lives = true;
    int sent = 0;
    for (; sent < 20000 && lives; sent++)
        lives = give_server(ping, sizeof(ping), sizeof(ping));
    cr_expect_not(lives);
    cr_expect_leq(sent, 102);
    cr_expect_eq(server.h2.ended_by, UT_H2_HIT_PINGS);
    cr_expect_leq(pool.in_use, MIB);
}

Test(h2_calls, continuation_flood_ends_the_connection)
{
    static const uint8_t headers[10] = {0, 0, 1, NGHTTP2_HEADERS, 0, 0, 0, 0, 1, 0x82};
    static const uint8_t more[10] = {0, 0, 1, NGHTTP2_CONTINUATION, 0, 0, 0, 0, 1, 0x84};
    open_raw();
    bool lives = give_server(headers, sizeof(headers), 64);
    int sent = 0;
    for (; sent < 1000 && lives; sent++)
        lives = give_server(more, sizeof(more), 64) && !ut_h2_server_is_finished(&server.h2);
    cr_expect_not(lives);
    cr_expect_lt(sent, 100);
    cr_expect_eq(server.h2.ended_by, UT_H2_HIT_CONTINUATIONS);
}

/* nghttp2 1.52 takes each piece of a frame header for another CONTINUATION. */
Test(h2_calls, continuation_may_come_byte_by_byte)
{
    static const uint8_t frames[] = "\0\0\1\1\1\0\0\0\1\x82" /* GET */
                                    "\0\0\2\11\0\0\0\0\1\x84\x86"
                                    "\0\0\3\11\4\0\0\0\1\x41\1x";
    open_raw();
    cr_expect(give_server(frames, sizeof(frames) - 1, 1));
    cr_expect_eq(server.h2.ended_by, UT_H2_HIT_NONE);
}

Test(h2_calls, farewell_of_a_go_client_is_no_offence)
{
    static const uint8_t goaway[] = {0,    0,    8,    NGHTTP2_GOAWAY, 0, 0, 0, 0, 0,
                                     0x7f, 0xff, 0xff, 0xff,           0, 0, 0, 0};
    export_bytes(10);
    cr_assert(talk(4096));
    cr_assert(give_server(goaway, sizeof(goaway), 64));
    take_server();
    cr_expect(ut_h2_server_is_finished(&server.h2));
    cr_expect_not(server.h2.broken);
    cr_expect_eq(server.h2.ended_by, UT_H2_HIT_NONE);
}

/* One header block of a MiB, a byte a field: HPACK makes it 128 MB of fields. */
Test(h2_calls, compressed_header_bomb_ends_the_connection_early)
{
    static uint8_t frame[MIB];
    frame[0] = (uint8_t)((sizeof(frame) - 9) >> 16);
    frame[1] = (uint8_t)((sizeof(frame) - 9) >> 8);
    frame[2] = (uint8_t)(sizeof(frame) - 9);
    frame[3] = NGHTTP2_HEADERS;
    frame[4] = NGHTTP2_FLAG_END_HEADERS;
    frame[8] = 1;
    frame[9] = 0x82;                              /* :method GET */
    frame[10] = 0x84;                             /* :path / */
    frame[11] = 0x86;                             /* :scheme http */
    memset(frame + 12, 0x90, sizeof(frame) - 12); /* accept-encoding: gzip, deflate */
    cr_assert(talk(4096));                        /* so that frames of this size are allowed */
    cr_expect_not(give_server(frame, sizeof(frame), sizeof(frame)));
    cr_expect_eq(server.h2.ended_by, UT_H2_HIT_HEADERS);
    take_server();
    cr_expect_eq(peer.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
}

Test(h2_calls, random_bytes_do_no_harm)
{
    uint32_t random = 12345;
    for (int round = 0; round < 300; round++) {
        tear_down();
        memset(&seen, 0, sizeof(seen));
        set_up();
        export_bytes(3000);
        static uint8_t bytes[64 << 10];
        size_t size = grpc_peer_output(&peer, bytes, sizeof(bytes));
        for (int i = 0; i < 1 + round % 20; i++) {
            random = random * 1664525 + 1013904223;
            size_t at = 24 + (random >> 8) % (size - 24);
            bytes[at] ^= (uint8_t)(1u << (random >> 29));
        }
        (void)give_server(bytes, size, 1 + random % 5000);
        struct iovec runs[64];
        int count = ut_h2_server_pending(&server.h2, runs, 64);
        for (int i = 0; i < count; i++)
            ut_h2_server_consumed(&server.h2, runs[i].iov_len);
        cr_assert_leq(pool.in_use, 8 * MIB);
    }
}

Test(h2_calls, drain_refuses_nothing_before_the_client_knows)
{
    export_bytes(10);
    cr_assert(talk(4096));
    seen.keep = true;
    struct grpc_reply *before = export_bytes(10);
    cr_assert(talk(4096));
    ut_h2_server_drain(&server.h2);
    struct grpc_reply *crossing = export_bytes(10);
    static uint8_t bytes[64 << 10];
    size_t size = grpc_peer_output(&peer, bytes, sizeof(bytes));
    cr_assert(give_server(bytes, size, size));
    cr_assert_eq(calls.waiting, 2, "a call that crossed the notice is served");
    (void)talk(4096);
    cr_expect(server.h2.drained, "the client's answer to the PING makes it final");
    cr_expect_not(ut_h2_server_is_finished(&server.h2));
    cr_expect_not(before->closed);
    cr_expect_not(crossing->closed);
    cr_expect_eq(peer.goaway_code, NGHTTP2_NO_ERROR);
    ut_call_succeed(seen.call, (ut_slice){0});
    (void)talk(4096);
    cr_expect(crossing->closed);
    cr_expect_eq(crossing->grpc_status, 0);
}
