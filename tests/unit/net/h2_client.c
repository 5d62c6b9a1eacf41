/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_client.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "h2_wire.h"

TestSuite(h2_client, .timeout = 60);

/* ---- bodies and answers --------------------------------------------------------------------- */

static void send_and_check(struct manner manner, size_t size, size_t run_size, size_t piece)
{
    struct wire *wire = open_wire(manner);
    struct test_call call = make_call(size, run_size);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    cr_assert_not(call.over, "never from inside submit");
    run(wire, piece);
    check_answered(&call);
    check_body(wire, 0, size);
    close_wire(wire);
}

Test(h2_client, sends_a_small_body_and_hands_on_the_answer)
{
    send_and_check((struct manner){0}, 100, 100, SIZE_MAX);
}

Test(h2_client, survives_a_wire_that_carries_one_byte_at_a_time)
{
    send_and_check((struct manner){0}, 3000, 700, 1);
}

Test(h2_client, sends_many_runs_whole_through_default_windows_and_frames)
{
    send_and_check((struct manner){0}, 1000003, 113, SIZE_MAX);
    send_and_check((struct manner){0}, 1000003, 999983, 4096);
}

Test(h2_client, sends_through_tiny_windows)
{
    send_and_check((struct manner){.window = 100}, 50000, 333, SIZE_MAX);
}

Test(h2_client, uses_large_frames_where_the_peer_takes_them)
{
    struct wire *wire = open_wire((struct manner){.window = 4 << 20, .max_frame = 1 << 20});
    cr_assert_eq(nghttp2_session_set_local_window_size(wire->server, 0, 0, 8 << 20), 0);
    run(wire, SIZE_MAX);
    struct test_call call = make_call(1 << 20, 1 << 20);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    run(wire, SIZE_MAX);
    check_answered(&call);
    check_body(wire, 0, 1 << 20);
    cr_assert_gt(wire->largest_frame, 100 << 10);
    close_wire(wire);
}

Test(h2_client, keeps_to_the_frame_size_of_the_peer)
{
    struct wire *wire = open_wire((struct manner){0});
    struct test_call call = make_call(200000, 200000);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    run(wire, SIZE_MAX);
    check_answered(&call);
    cr_assert_eq(wire->largest_frame, 16384);
    close_wire(wire);
}

Test(h2_client, runs_several_calls_at_once)
{
    struct wire *wire = open_wire((struct manner){0});
    struct test_call calls[10];
    for (size_t i = 0; i < 10; i++) {
        calls[i] = make_call(100000 + i, 4000);
        cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[i].call), 0);
    }
    run(wire, 10000);
    for (size_t i = 0; i < 10; i++) {
        check_answered(&calls[i]);
        check_body(wire, i, 100000 + i);
    }
    cr_assert_eq(ut_h2_client_calls(&wire->client), 0);
    close_wire(wire);
}

/* ---- how long the bytes are needed ---------------------------------------------------------- */

Test(h2_client, answer_before_the_end_of_the_body_waits_for_the_bytes_in_the_output)
{
    struct wire *wire = open_wire((struct manner){.answers_early = true});
    run(wire, SIZE_MAX);
    struct test_call call = make_call(600000, 500);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    carry_out(wire, 200); /* the headers and a piece of the first frame */
    cr_assert_eq(wire->headers_seen, 1);
    carry_in(wire, SIZE_MAX);
    cr_assert_not(call.over, "frames that refer to the body are in the output");
    run(wire, SIZE_MAX);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_COMPLETE);
    cr_assert_str_eq(call.trailer, "8");
    cr_assert_lt(wire->received_bytes[0], 600000, "the rest is of no use");

    wire->manner.answers_early = false;
    struct test_call next = make_call(10, 10);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &next.call), 0);
    run(wire, SIZE_MAX);
    check_answered(&next);
    close_wire(wire);
}

Test(h2_client, reset_waits_for_the_bytes_in_the_output)
{
    struct wire *wire = open_wire((struct manner){.resets_with = NGHTTP2_INTERNAL_ERROR});
    run(wire, SIZE_MAX);
    struct test_call call = make_call(60000, 60000);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    carry_out(wire, 200);
    carry_in(wire, SIZE_MAX);
    cr_assert_not(call.over);
    run(wire, 1000);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_RESET);
    cr_assert_eq(call.error_code, NGHTTP2_INTERNAL_ERROR);
    close_wire(wire);
}

Test(h2_client, cancel_with_a_full_output_finishes_begun_frames_only)
{
    struct wire *wire = open_wire((struct manner){.window = 4 << 20, .silent = true});
    cr_assert_eq(nghttp2_session_set_local_window_size(wire->server, 0, 0, 8 << 20), 0);
    run(wire, SIZE_MAX);
    /* Runs of 20 bytes: the output's runs are full long before the body is in it, so that a frame
     * stands planned in the session. */
    struct test_call call = make_call(4000000, 20);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    struct iovec first;
    cr_assert_eq(ut_h2_client_pending(&wire->client, &first, 1), 1);
    carry_out(wire, 300);
    ut_h2_client_cancel(&wire->client, &call.call);
    cr_assert_not(call.over, "never from inside cancel, and bytes are in the output");
    run(wire, 1000);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_CANCELLED);
    cr_assert_lt(wire->received_bytes[0], 4000000);

    wire->manner.silent = false;
    struct test_call next = make_call(5000, 20);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &next.call), 0);
    run(wire, SIZE_MAX);
    check_answered(&next);
    check_body(wire, 1, 5000);
    close_wire(wire);
}

Test(h2_client, cancel_ends_a_call_that_is_never_answered)
{
    struct wire *wire = open_wire((struct manner){.silent = true});
    struct test_call call = make_call(1000, 1000);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    run(wire, SIZE_MAX);
    cr_assert_not(call.over);
    ut_h2_client_cancel(&wire->client, &call.call);
    ut_h2_client_deliver(&wire->client);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_CANCELLED);
    close_wire(wire);
}

Test(h2_client, cancel_after_the_answer_changes_nothing)
{
    struct wire *wire = open_wire((struct manner){.answers_early = true});
    run(wire, SIZE_MAX);
    struct test_call call = make_call(60000, 60000);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    carry_out(wire, 200);
    carry_in(wire, SIZE_MAX);
    carry_out(wire, 20000);
    ut_h2_client_cancel(&wire->client, &call.call);
    run(wire, SIZE_MAX);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_COMPLETE);
    close_wire(wire);
}

Test(h2_client, lost_connection_ends_all_calls_at_once)
{
    struct wire *wire = open_wire((struct manner){.max_streams = 2, .silent = true});
    run(wire, SIZE_MAX);
    struct test_call calls[3];
    for (size_t i = 0; i < 3; i++) {
        calls[i] = make_call(60000, 600);
        cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[i].call), 0);
    }
    carry_out(wire, 20000);
    ut_h2_client_lost(&wire->client);
    cr_assert(calls[0].over && calls[1].over && calls[2].over);
    cr_assert_eq(calls[0].end, UT_H2_LOST);
    cr_assert_eq(calls[2].end, UT_H2_REFUSED, "it had sent nothing");
    struct test_call late = make_call(10, 10);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &late.call), -ESHUTDOWN);
    free(late.body);
    free(late.runs);
    close_wire(wire);
}

/* ---- what the peer may ask ------------------------------------------------------------------ */

Test(h2_client, goaway_refuses_what_the_peer_has_not_processed)
{
    struct wire *wire = open_wire((struct manner){.max_streams = 2, .silent = true});
    run(wire, SIZE_MAX);
    struct test_call calls[3];
    for (size_t i = 0; i < 3; i++) {
        calls[i] = make_call(1000, 100);
        cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[i].call), 0);
    }
    run(wire, SIZE_MAX);
    const char text[] = "max\nage";
    cr_assert_eq(nghttp2_submit_goaway(wire->server, 0, 1, NGHTTP2_NO_ERROR, (const uint8_t *)text,
                                       sizeof(text) - 1),
                 0);
    run(wire, SIZE_MAX);
    cr_assert_not(ut_h2_client_accepts(&wire->client));
    cr_assert_not(calls[0].over, "stream 1 is still served");
    cr_assert(calls[1].over && calls[2].over);
    cr_assert_eq(calls[1].end, UT_H2_REFUSED, "stream 3 is above the last one");
    cr_assert_eq(calls[2].end, UT_H2_REFUSED, "it had no stream yet");
    cr_assert_str_eq(wire->client.reason, "max?age");
    answer(wire, 1);
    run(wire, SIZE_MAX);
    check_answered(&calls[0]);
    close_wire(wire);
}

Test(h2_client, goaway_refuses_a_call_that_waits_for_a_stream)
{
    struct wire *wire = open_wire((struct manner){.max_streams = 1, .silent = true});
    run(wire, SIZE_MAX);
    struct test_call calls[2] = {make_call(100, 100), make_call(200, 100)};
    cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[0].call), 0);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[1].call), 0);
    run(wire, SIZE_MAX);
    cr_assert_eq(nghttp2_submit_goaway(wire->server, 0, 1, NGHTTP2_NO_ERROR, NULL, 0), 0);
    run(wire, SIZE_MAX);
    cr_assert_not(calls[0].over);
    cr_assert(calls[1].over, "it does not wait for the first one");
    cr_assert_eq(calls[1].end, UT_H2_REFUSED);
    close_wire(wire);
    cr_assert(calls[0].over);
}

Test(h2_client, call_whose_headers_never_left_is_refused)
{
    struct wire *wire = open_wire((struct manner){0});
    struct test_call call = make_call(100, 100);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    ut_h2_client_lost(&wire->client);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_REFUSED, "it may be sent again without a doubt");
    close_wire(wire);
}

Test(h2_client, goaway_in_the_middle_of_a_body_waits_for_its_bytes)
{
    struct wire *wire = open_wire((struct manner){.silent = true});
    run(wire, SIZE_MAX);
    struct test_call call = make_call(60000, 300);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    carry_out(wire, 5000);
    cr_assert_eq(nghttp2_submit_goaway(wire->server, 0, 0, NGHTTP2_NO_ERROR, NULL, 0), 0);
    carry_in(wire, SIZE_MAX);
    cr_assert_not(call.over);
    carry_out(wire, SIZE_MAX);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_REFUSED);
    close_wire(wire);
}

Test(h2_client, refused_stream_is_told_from_other_resets)
{
    struct wire *wire = open_wire((struct manner){.resets_with = NGHTTP2_REFUSED_STREAM});
    struct test_call call = make_call(1000, 100);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    run(wire, SIZE_MAX);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_REFUSED);
    cr_assert(ut_h2_client_accepts(&wire->client));
    close_wire(wire);
}

Test(h2_client, keeps_to_the_number_of_streams_that_the_peer_allows)
{
    struct wire *wire = open_wire((struct manner){.max_streams = 1, .silent = true});
    run(wire, SIZE_MAX);
    struct test_call calls[2] = {make_call(100, 100), make_call(200, 100)};
    cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[0].call), 0);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[1].call), 0);
    run(wire, SIZE_MAX);
    cr_assert_eq(wire->headers_seen, 1);
    wire->manner.silent = false;
    answer(wire, 1);
    run(wire, SIZE_MAX);
    check_answered(&calls[0]);
    check_answered(&calls[1]);
    check_body(wire, 1, 200);
    close_wire(wire);
}

Test(h2_client, waiting_call_is_cancelled_without_a_stream)
{
    struct wire *wire = open_wire((struct manner){.max_streams = 1, .silent = true});
    run(wire, SIZE_MAX);
    struct test_call calls[2] = {make_call(100, 100), make_call(200, 100)};
    cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[0].call), 0);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[1].call), 0);
    ut_h2_client_cancel(&wire->client, &calls[1].call);
    run(wire, SIZE_MAX);
    cr_assert(calls[1].over);
    cr_assert_eq(calls[1].end, UT_H2_CANCELLED);
    cr_assert_eq(wire->headers_seen, 1);
    close_wire(wire);
}

Test(h2_client, too_many_response_headers_reset_the_call_alone)
{
    struct wire *wire = open_wire((struct manner){.header_fields = 140});
    struct test_call call = make_call(100, 100);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    run(wire, SIZE_MAX);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_RESET);
    wire->manner.header_fields = 0;
    struct test_call next = make_call(100, 100);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &next.call), 0);
    run(wire, SIZE_MAX);
    check_answered(&next);
    close_wire(wire);
}

Test(h2_client, garbage_from_the_peer_ends_the_connection)
{
    struct wire *wire = open_wire((struct manner){0});
    struct test_call call = make_call(100, 100);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    ut_slice garbage = UT_SLICE("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    int error = ut_h2_client_receive(&wire->client, garbage);
    struct iovec runs[8];
    for (int count = 1; error == 0 && count > 0;) {
        count = ut_h2_client_pending(&wire->client, runs, 8);
        error = count < 0 ? count : 0;
        if (count > 0)
            ut_h2_client_consumed(&wire->client, runs[0].iov_len);
    }
    cr_assert_eq(error, -EPROTO);
    cr_assert_not(ut_h2_client_accepts(&wire->client));
    cr_assert_neq(wire->client.reason[0], '\0');
    ut_h2_client_lost(&wire->client);
    cr_assert(call.over);
    close_wire(wire);
}

Test(h2_client, answers_pings_and_sees_its_own_answered)
{
    struct wire *wire = open_wire((struct manner){0});
    run(wire, SIZE_MAX);
    ut_h2_client_ping(&wire->client);
    ut_h2_client_ping(&wire->client);
    cr_assert(wire->client.ping_outstanding);
    run(wire, SIZE_MAX);
    cr_assert_not(wire->client.ping_outstanding);
    cr_assert_eq(wire->pings_seen, 1);
    cr_assert_eq(nghttp2_submit_ping(wire->server, 0, NULL), 0);
    run(wire, SIZE_MAX);
    cr_assert_eq(wire->pings_seen, 2, "the ACK");
    close_wire(wire);
}

static void submit_again(struct test_call *call)
{
    struct wire *wire = call->then_arg;
    struct test_call *next = call + 1;
    cr_assert_eq(ut_h2_client_submit(&wire->client, &next->call), 0);
}

Test(h2_client, done_may_submit_the_next_call)
{
    struct wire *wire = open_wire((struct manner){.max_streams = 1});
    struct test_call calls[4];
    for (size_t i = 0; i < 4; i++) {
        calls[i] = make_call(20000, 50);
        calls[i].then = i < 3 ? submit_again : NULL;
        calls[i].then_arg = wire;
    }
    cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[0].call), 0);
    run(wire, SIZE_MAX);
    for (size_t i = 0; i < 4; i++)
        check_answered(&calls[i]);
    close_wire(wire);
}

struct nesting {
    struct ut_h2_client *client;
    int depth;
};

static void deliver_again(struct test_call *call)
{
    struct nesting *nesting = call->then_arg;
    cr_assert_eq(nesting->depth++, 0);
    ut_h2_client_deliver(nesting->client);
    nesting->depth--;
}

Test(h2_client, done_is_not_called_from_inside_done)
{
    struct wire *wire = open_wire((struct manner){.silent = true});
    struct nesting nesting = {.client = &wire->client};
    struct test_call calls[4];
    for (size_t i = 0; i < 4; i++) {
        calls[i] = make_call(100, 100);
        calls[i].then = deliver_again;
        calls[i].then_arg = &nesting;
        cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[i].call), 0);
    }
    ut_h2_client_lost(&wire->client);
    cr_assert(calls[0].over && calls[3].over);
    close_wire(wire);
}

Test(h2_client, steady_flow_asks_the_system_for_no_memory)
{
    struct wire *wire = open_wire((struct manner){.max_frame = 1 << 20});
    uint64_t calls_before = 0;
    for (int i = 0; i < 300; i++) {
        if (i == 20)
            calls_before = wire->pool.system_calls;
        struct test_call calls[3] = {make_call(3000, 50), make_call(50000, 50000),
                                     make_call(20000, 300)};
        for (size_t k = 0; k < 3; k++)
            cr_assert_eq(ut_h2_client_submit(&wire->client, &calls[k].call), 0);
        run(wire, SIZE_MAX);
        for (size_t k = 0; k < 3; k++)
            check_answered(&calls[k]);
    }
    cr_assert_eq(wire->pool.system_calls, calls_before);
    close_wire(wire);
}
