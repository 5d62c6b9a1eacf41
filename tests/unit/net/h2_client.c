/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client session against a server session of nghttp2 in memory. The "wire" moves as many bytes
 * as a test wants, so that answers, resets and cancels come while bytes of a call are still in the
 * output. Bodies stand in blocks that are freed in `done`: a reference kept too long is a use after
 * free.
 */
#include "net/h2_client.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

TestSuite(h2_client, .timeout = 20);

enum { STREAMS_MAX = 64 };

/* How the server behaves; all off: it answers each complete request. */
struct manner {
    uint32_t window, max_frame, max_streams; /* SETTINGS; 0: the default */
    bool silent;                             /* never answers */
    bool answers_early;                      /* at the request's headers, and ends the stream */
    uint32_t resets_with;                    /* RST_STREAM at the request's headers; 0: none */
    size_t header_fields;                    /* that many more in each response */
};

struct test_call {
    struct ut_h2_call call;
    struct iovec *runs;
    uint8_t *body;
    int *done_count;
    int status;
    char trailer[32];
    size_t response_bytes;
    enum ut_h2_end end;
    uint32_t error_code;
    bool over;
    void (*then)(struct test_call *call);
    void *then_arg;
};

struct wire {
    struct ut_pool pool;
    struct ut_h2_client client;
    nghttp2_session *server;
    struct manner manner;
    uint8_t *received[STREAMS_MAX]; /* by stream id / 2 */
    size_t received_bytes[STREAMS_MAX];
    int headers_seen, pings_seen;
    size_t largest_frame;
    int client_error;
};

/* ---- the server ----------------------------------------------------------------------------- */

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

static ssize_t read_answer(nghttp2_session *session, int32_t stream_id, uint8_t *buffer,
                           size_t length, uint32_t *flags, nghttp2_data_source *source,
                           void *user_data)
{
    (void)source;
    (void)user_data;
    cr_assert_geq(length, 5);
    memset(buffer, 0, 5);
    nghttp2_nv trailer = field("grpc-status", "0");
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    cr_assert_eq(nghttp2_submit_trailer(session, stream_id, &trailer, 1), 0);
    return 5;
}

static void answer(struct wire *wire, int32_t stream_id)
{
    nghttp2_nv fields[160] = {field(":status", "200"), field("content-type", "application/grpc")};
    size_t count = 2;
    for (size_t i = 0; i < wire->manner.header_fields; i++)
        fields[count++] = field("x-filler", "abcdefghij");
    nghttp2_data_provider body = {.read_callback = read_answer};
    cr_assert_eq(nghttp2_submit_response(wire->server, stream_id, fields, count, &body), 0);
}

static void answer_early(struct wire *wire, int32_t stream_id)
{
    nghttp2_nv fields[] = {field(":status", "200"), field("grpc-status", "8")};
    cr_assert_eq(nghttp2_submit_response(wire->server, stream_id, fields, 2, NULL), 0);
}

static int server_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct wire *wire = user_data;
    int32_t id = frame->hd.stream_id;
    if (frame->hd.type == NGHTTP2_PING)
        wire->pings_seen++;
    if (frame->hd.type == NGHTTP2_DATA && frame->hd.length > wire->largest_frame)
        wire->largest_frame = frame->hd.length;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        wire->headers_seen++;
        if (wire->manner.answers_early)
            answer_early(wire, id);
        if (wire->manner.resets_with != 0)
            cr_assert_eq(nghttp2_submit_rst_stream(session, 0, id, wire->manner.resets_with), 0);
    }
    bool complete = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
                    (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS);
    if (complete && !wire->manner.silent && !wire->manner.answers_early)
        answer(wire, id);
    return 0;
}

static int server_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                       const uint8_t *data, size_t size, void *user_data)
{
    (void)session;
    (void)flags;
    struct wire *wire = user_data;
    size_t i = (size_t)stream_id / 2;
    if (i >= STREAMS_MAX)
        return 0;
    wire->received[i] = realloc(wire->received[i], wire->received_bytes[i] + size);
    memcpy(wire->received[i] + wire->received_bytes[i], data, size);
    wire->received_bytes[i] += size;
    return 0;
}

static void open_server(struct wire *wire)
{
    nghttp2_session_callbacks *callbacks;
    cr_assert_eq(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, server_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, server_data);
    cr_assert_eq(nghttp2_session_server_new(&wire->server, callbacks, wire), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[3];
    size_t count = 0;
    if (wire->manner.window != 0)
        settings[count++] =
            (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, wire->manner.window};
    if (wire->manner.max_frame != 0)
        settings[count++] =
            (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_FRAME_SIZE, wire->manner.max_frame};
    if (wire->manner.max_streams != 0)
        settings[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                                     wire->manner.max_streams};
    cr_assert_eq(nghttp2_submit_settings(wire->server, 0, settings, count), 0);
}

/* ---- the wire ------------------------------------------------------------------------------- */

static struct wire *open_wire(struct manner manner)
{
    static const struct ut_h2_header headers[] = {
        {{(const uint8_t *)":method", 7}, {(const uint8_t *)"POST", 4}},
        {{(const uint8_t *)":scheme", 7}, {(const uint8_t *)"http", 4}},
        {{(const uint8_t *)":path", 5}, {(const uint8_t *)"/service/Export", 15}},
        {{(const uint8_t *)":authority", 10}, {(const uint8_t *)"backend:4317", 12}},
        {{(const uint8_t *)"te", 2}, {(const uint8_t *)"trailers", 8}},
    };
    struct wire *wire = calloc(1, sizeof(*wire));
    wire->manner = manner;
    ut_pool_init(&wire->pool, 8 << 20);
    struct ut_h2_client_options options = {.headers = headers, .header_count = 5};
    cr_assert_eq(ut_h2_client_init(&wire->client, &wire->pool, &options), 0);
    open_server(wire);
    return wire;
}

static void close_wire(struct wire *wire)
{
    ut_h2_client_lost(&wire->client);
    ut_h2_client_done(&wire->client);
    nghttp2_session_del(wire->server);
    for (size_t i = 0; i < STREAMS_MAX; i++)
        free(wire->received[i]);
    ut_pool_done(&wire->pool);
    free(wire);
}

/* The client's bytes to the server, at most `most`; returns how many went. */
static size_t carry_out(struct wire *wire, size_t most)
{
    size_t carried = 0;
    while (carried < most) {
        struct iovec runs[7];
        int count = ut_h2_client_pending(&wire->client, runs, 7);
        if (count < 0)
            wire->client_error = count;
        if (count <= 0)
            break;
        size_t size = runs[0].iov_len < most - carried ? runs[0].iov_len : most - carried;
        cr_assert_eq(nghttp2_session_mem_recv(wire->server, runs[0].iov_base, size), size);
        ut_h2_client_consumed(&wire->client, size);
        carried += size;
    }
    return carried;
}

/* The server's bytes to the client, in pieces of at most `piece`. */
static size_t carry_in(struct wire *wire, size_t piece)
{
    size_t carried = 0;
    const uint8_t *data;
    for (ssize_t size; (size = nghttp2_session_mem_send(wire->server, &data)) > 0;) {
        for (size_t at = 0; at < (size_t)size; at += piece) {
            size_t n = (size_t)size - at < piece ? (size_t)size - at : piece;
            int error = ut_h2_client_receive(&wire->client, ut_slice_of(data + at, n));
            if (error != 0)
                wire->client_error = error;
        }
        carried += (size_t)size;
    }
    return carried;
}

/* Until both ends are quiet. */
static void run(struct wire *wire, size_t piece)
{
    while (carry_out(wire, piece) + carry_in(wire, piece) > 0)
        ;
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void on_header(struct ut_h2_call *base, ut_slice name, ut_slice value)
{
    struct test_call *call = UT_CONTAINER_OF(base, struct test_call, call);
    if (ut_slice_equal(name, UT_SLICE(":status")))
        call->status = atoi((const char *)value.data);
    if (ut_slice_equal(name, UT_SLICE("grpc-status")))
        memcpy(call->trailer, value.data, value.size);
}

static void on_data(struct ut_h2_call *base, ut_slice bytes)
{
    UT_CONTAINER_OF(base, struct test_call, call)->response_bytes += bytes.size;
}

static void on_done(struct ut_h2_call *base)
{
    struct test_call *call = UT_CONTAINER_OF(base, struct test_call, call);
    cr_assert_not(call->over, "done comes once");
    call->over = true;
    call->end = base->end;
    call->error_code = base->error_code;
    free(call->body);
    free(call->runs);
    call->body = NULL;
    call->runs = NULL;
    if (call->then != NULL)
        call->then(call);
}

static const struct ut_h2_call_ops ops = {on_header, on_data, on_done};

/* A body of `size` bytes in runs of `run_size`. */
static struct test_call make_call(size_t size, size_t run_size)
{
    struct test_call call = {.body = malloc(size)};
    for (size_t i = 0; i < size; i++)
        call.body[i] = (uint8_t)(i * 31 + i / 251);
    size_t count = (size + run_size - 1) / run_size;
    call.runs = calloc(count, sizeof(*call.runs));
    for (size_t i = 0; i < count; i++)
        call.runs[i] = (struct iovec){call.body + i * run_size,
                                      i + 1 < count ? run_size : size - i * run_size};
    call.call =
        (struct ut_h2_call){.ops = &ops, .runs = call.runs, .run_count = count, .body_bytes = size};
    return call;
}

static void check_body(const struct wire *wire, size_t stream, size_t size)
{
    cr_assert_eq(wire->received_bytes[stream], size, "%zu bytes came, not %zu",
                 wire->received_bytes[stream], size);
    for (size_t i = 0; i < size; i++)
        if (wire->received[stream][i] != (uint8_t)(i * 31 + i / 251))
            cr_assert_fail("byte %zu differs", i);
}

static void check_answered(const struct test_call *call)
{
    cr_assert(call->over);
    cr_assert_eq(call->end, UT_H2_COMPLETE);
    cr_assert_eq(call->status, 200);
    cr_assert_str_eq(call->trailer, "0");
    cr_assert_eq(call->response_bytes, 5);
}

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
    struct test_call call = make_call(400000, 20);
    cr_assert_eq(ut_h2_client_submit(&wire->client, &call.call), 0);
    struct iovec first;
    cr_assert_eq(ut_h2_client_pending(&wire->client, &first, 1), 1);
    carry_out(wire, 300);
    ut_h2_client_cancel(&wire->client, &call.call);
    cr_assert_not(call.over, "never from inside cancel, and bytes are in the output");
    run(wire, 1000);
    cr_assert(call.over);
    cr_assert_eq(call.end, UT_H2_CANCELLED);
    cr_assert_lt(wire->received_bytes[0], 400000);

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
