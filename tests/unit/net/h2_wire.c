/* SPDX-License-Identifier: Apache-2.0 */
#include "h2_wire.h"

#include <criterion/criterion.h>
#include <stdlib.h>

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

void answer(struct wire *wire, int32_t stream_id)
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
    if (i >= WIRE_STREAMS)
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

struct wire *open_wire(struct manner manner)
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

void close_wire(struct wire *wire)
{
    ut_h2_client_lost(&wire->client);
    ut_h2_client_done(&wire->client);
    nghttp2_session_del(wire->server);
    for (size_t i = 0; i < WIRE_STREAMS; i++)
        free(wire->received[i]);
    ut_pool_done(&wire->pool);
    free(wire);
}

size_t carry_out(struct wire *wire, size_t most)
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

size_t carry_in(struct wire *wire, size_t piece)
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

void run(struct wire *wire, size_t piece)
{
    while (carry_out(wire, piece) + carry_in(wire, piece) > 0)
        ;
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void on_header(struct ut_h2_call *base, ut_slice name, ut_slice value)
{
    struct test_call *call = UT_CONTAINER_OF(base, struct test_call, call);
    if (ut_slice_equal(name, UT_SLICE(":status")))
        for (size_t i = 0; i < value.size; i++)
            call->status = call->status * 10 + (value.data[i] - '0');
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

struct test_call make_call(size_t size, size_t run_size)
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

void check_body(const struct wire *wire, size_t stream, size_t size)
{
    cr_assert_eq(wire->received_bytes[stream], size, "%zu bytes came, not %zu",
                 wire->received_bytes[stream], size);
    for (size_t i = 0; i < size; i++)
        if (wire->received[stream][i] != (uint8_t)(i * 31 + i / 251))
            cr_assert_fail("byte %zu differs", i);
}

void check_answered(const struct test_call *call)
{
    cr_assert(call->over);
    cr_assert_eq(call->end, UT_H2_COMPLETE);
    cr_assert_eq(call->status, 200);
    cr_assert_str_eq(call->trailer, "0");
    cr_assert_eq(call->response_bytes, 5);
}
