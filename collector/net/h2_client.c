/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session is nghttp2's. What it does not know is kept here: the calls that wait for a stream,
 * and those whose outcome is known while the output still refers to their bytes.
 *
 * nghttp2 plans a DATA frame (read_body), and later asks for it (send_body): in between, a full
 * output may come, a reset or a cancel. A call that is cancelled is therefore cut off from its
 * stream (no user data) and never reached through the frame.
 */
#include "net/h2_client.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "net/h2_memory.h"

enum {
    /* A frame's payload: nghttp2 allocates a buffer of that size, though the bytes never enter it.
     */
    FRAME_BYTES = (256 << 10) - 64,
    /* … and in runs, so that two frames fit into the output. */
    FRAME_RUNS = 500,
    FRAME_HEADER = 9,
};

/* ---- lists ---------------------------------------------------------------------------------- */

static void append(struct ut_h2_calls *list, struct ut_h2_call *call)
{
    call->previous = list->last;
    call->next = NULL;
    if (list->last != NULL)
        list->last->next = call;
    else
        list->first = call;
    list->last = call;
    list->count++;
}

static void take_out(struct ut_h2_calls *list, struct ut_h2_call *call)
{
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        list->first = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    else
        list->last = call->previous;
    list->count--;
}

/* The outcome of a waiting or open call is known. */
static void end_call(struct ut_h2_client *client, struct ut_h2_call *call, enum ut_h2_end end,
                     uint32_t error_code)
{
    take_out(call->state == UT_H2_CALL_WAITING ? &client->waiting : &client->open, call);
    call->state = UT_H2_CALL_ENDED;
    call->end = end;
    call->error_code = error_code;
    append(&client->ended, call);
}

static void refuse_waiting(struct ut_h2_client *client)
{
    while (client->waiting.first != NULL)
        end_call(client, client->waiting.first, UT_H2_REFUSED, NGHTTP2_REFUSED_STREAM);
}

static void note_reason(struct ut_h2_client *client, const char *text, size_t size)
{
    size_t n = size < sizeof(client->reason) - 1 ? size : sizeof(client->reason) - 1;
    for (size_t i = 0; i < n; i++)
        client->reason[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    client->reason[n] = '\0';
}

/* ---- what comes in -------------------------------------------------------------------------- */

static struct ut_h2_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)flags;
    (void)user_data;
    struct ut_h2_call *call = call_of(session, frame->hd.stream_id);
    if (call == NULL)
        return 0;
    call->header_bytes += (uint32_t)(name_size + value_size + 32);
    call->header_fields++;
    if (call->header_bytes > UT_H2_RESPONSE_HEADER_BYTES ||
        call->header_fields > UT_H2_RESPONSE_HEADER_FIELDS)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* nghttp2 resets the stream */
    call->ops->on_header(call, ut_slice_of(name, name_size), ut_slice_of(value, value_size));
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t size, void *user_data)
{
    (void)flags;
    (void)user_data;
    struct ut_h2_call *call = call_of(session, stream_id);
    if (call != NULL)
        call->ops->on_data(call, ut_slice_of(data, size));
    return 0;
}

static void on_response_end(nghttp2_session *session, int32_t stream_id)
{
    struct ut_h2_call *call = call_of(session, stream_id);
    if (call == NULL)
        return;
    call->response_ended = true;
    /* An answer to a request that has not been sent completely: the rest is of no use to the peer.
     */
    if (nghttp2_session_get_stream_local_close(session, stream_id) == 0)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_NO_ERROR);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct ut_h2_client *client = user_data;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
            on_response_end(session, frame->hd.stream_id);
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
            client->ping_outstanding = false;
        break;
    case NGHTTP2_GOAWAY:
        client->going_away = true;
        note_reason(client, (const char *)frame->goaway.opaque_data, frame->goaway.opaque_data_len);
        refuse_waiting(client);
        break;
    default:
        break;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                           void *user_data)
{
    struct ut_h2_client *client = user_data;
    struct ut_h2_call *call = call_of(session, stream_id);
    if (call == NULL)
        return 0;
    if (call->response_ended)
        end_call(client, call, UT_H2_COMPLETE, error_code);
    else if (!call->headers_sent || error_code == NGHTTP2_REFUSED_STREAM)
        end_call(client, call, UT_H2_REFUSED, error_code);
    else
        end_call(client, call, UT_H2_RESET, error_code);
    return 0;
}

static int on_error(nghttp2_session *session, int error, const char *text, size_t size,
                    void *user_data)
{
    (void)session;
    (void)error;
    note_reason(user_data, text, size);
    return 0;
}

/* ---- what goes out -------------------------------------------------------------------------- */

static int before_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct ut_h2_client *client = user_data;
    struct ut_h2_call *call =
        frame->hd.type == NGHTTP2_HEADERS ? call_of(session, frame->hd.stream_id) : NULL;
    if (call != NULL)
        call->headers_sent = true;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        client->broken = true;
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature. */
static ssize_t frame_length(nghttp2_session *session, uint8_t type, int32_t stream_id,
                            int32_t session_window, int32_t stream_window, uint32_t frame_size_max,
                            void *user_data)
{
    (void)type;
    (void)session_window;
    (void)stream_window;
    (void)user_data;
    size_t most = frame_size_max < FRAME_BYTES ? frame_size_max : FRAME_BYTES;
    const struct ut_h2_call *call = call_of(session, stream_id);
    uint64_t left = call != NULL ? call->body_bytes - call->planned_bytes : most;
    return (ssize_t)(left < most ? left : most);
}

/* Bytes from the call's position on, at most `most` in at most FRAME_RUNS runs. All that was
 * planned before is in the output already: nghttp2 has one frame in hand at a time. */
static size_t plan(const struct ut_h2_call *call, size_t most)
{
    size_t bytes = 0, offset = call->offset;
    for (size_t i = call->run; i < call->run_count && i < call->run + FRAME_RUNS; i++) {
        bytes += call->runs[i].iov_len - offset;
        offset = 0;
        if (bytes >= most)
            return most;
    }
    return bytes;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature. */
static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *buffer,
                         size_t length, uint32_t *flags, nghttp2_data_source *source,
                         void *user_data)
{
    (void)buffer;
    (void)source;
    (void)user_data;
    struct ut_h2_call *call = call_of(session, stream_id);
    if (call == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t bytes = plan(call, length);
    call->planned_bytes += bytes;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (call->planned_bytes == call->body_bytes)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)bytes;
}

static int refer_body(struct ut_h2_client *client, struct ut_h2_call *call, size_t bytes)
{
    while (bytes > 0) {
        const struct iovec *run = &call->runs[call->run];
        size_t left = run->iov_len - call->offset;
        size_t take = left < bytes ? left : bytes;
        const uint8_t *data = (const uint8_t *)run->iov_base + call->offset;
        if (ut_h2_output_refer(&client->output, ut_slice_of(data, take)) != 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        call->output_end = client->output.pushed;
        bytes -= take;
        call->offset += take;
        if (call->offset == run->iov_len) {
            call->run++;
            call->offset = 0;
        }
    }
    return 0;
}

static int send_body(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                     size_t length, nghttp2_data_source *source, void *user_data)
{
    (void)source;
    struct ut_h2_client *client = user_data;
    struct ut_h2_call *call = call_of(session, frame->hd.stream_id);
    if (call == NULL) /* cancelled since the frame was planned: it is not begun */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (!ut_h2_output_has_room(&client->output, FRAME_HEADER, 1 + FRAME_RUNS))
        return NGHTTP2_ERR_WOULDBLOCK;
    if (ut_h2_output_copy(&client->output, ut_slice_of(header, FRAME_HEADER)) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return refer_body(client, call, length);
}

static uint32_t streams_max(const struct ut_h2_client *client)
{
    uint32_t peer = nghttp2_session_get_remote_settings(client->session,
                                                        NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return client->calls_max != 0 && client->calls_max < peer ? client->calls_max : peer;
}

static void refer_headers(nghttp2_nv *out, const struct ut_h2_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (nghttp2_nv){
            .name = (uint8_t *)(uintptr_t)headers[i].name.data,
            .namelen = headers[i].name.size,
            .value = (uint8_t *)(uintptr_t)headers[i].value.data,
            .valuelen = headers[i].value.size,
            .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
        };
    }
}

/* Gives streams to the calls that wait, as far as the peer allows. */
static void open_waiting(struct ut_h2_client *client)
{
    while (client->waiting.first != NULL && client->open.count < streams_max(client)) {
        struct ut_h2_call *call = client->waiting.first;
        nghttp2_data_provider body = {.read_callback = read_body};
        nghttp2_nv own[UT_H2_CALL_HEADERS_MAX];
        if (call->headers != NULL)
            refer_headers(own, call->headers, call->header_count);
        bool has_own = call->headers != NULL;
        int32_t id = nghttp2_submit_request(client->session, NULL, has_own ? own : client->headers,
                                            has_own ? call->header_count : client->header_count,
                                            &body, call);
        if (id < 0) {
            client->going_away = client->going_away || id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE;
            end_call(client, call, UT_H2_REFUSED, NGHTTP2_REFUSED_STREAM);
            continue;
        }
        take_out(&client->waiting, call);
        call->state = UT_H2_CALL_OPEN;
        call->stream_id = id;
        append(&client->open, call);
    }
}

/* ---- the connection ------------------------------------------------------------------------- */

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, before_frame);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, frame_length);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_body);
    return callbacks;
}

static int make_session(struct ut_h2_client *client)
{
    nghttp2_mem memory = ut_h2_memory(client->pool);
    nghttp2_option *option = NULL;
    nghttp2_session_callbacks *callbacks = make_callbacks();
    int error = -ENOMEM;
    if (callbacks == NULL || nghttp2_option_new(&option) != 0)
        goto end;
    nghttp2_option_set_no_closed_streams(option, 1);
    if (nghttp2_session_client_new3(&client->session, callbacks, client, option, &memory) != 0)
        goto end;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, UT_H2_RESPONSE_HEADER_BYTES},
    };
    if (nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, settings, 2) != 0)
        goto end;
    error = 0;
end:
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return error;
}

static int take_headers(struct ut_h2_client *client, const struct ut_h2_header *headers,
                        size_t count)
{
    nghttp2_nv *fields = ut_pool_alloc(client->pool, count * sizeof(*fields));
    if (fields == NULL)
        return -ENOMEM;
    refer_headers(fields, headers, count);
    client->headers = fields;
    client->header_count = count;
    return 0;
}

int ut_h2_client_init(struct ut_h2_client *client, struct ut_pool *pool,
                      const struct ut_h2_client_options *options)
{
    *client = (struct ut_h2_client){.pool = pool, .calls_max = options->calls_max};
    ut_h2_output_init(&client->output, pool);
    if (options->header_count == 0 || options->header_count > UT_H2_CLIENT_HEADERS_MAX)
        return -EINVAL;
    int error = take_headers(client, options->headers, options->header_count);
    if (error == 0)
        error = make_session(client);
    if (error != 0)
        ut_h2_client_done(client);
    return error;
}

void ut_h2_client_done(struct ut_h2_client *client)
{
    UT_CHECK(ut_h2_client_calls(client) == 0);
    ut_h2_output_done(&client->output);
    nghttp2_session_del(client->session);
    client->session = NULL;
    ut_pool_free(client->pool, client->headers);
    client->headers = NULL;
}

bool ut_h2_client_accepts(const struct ut_h2_client *client)
{
    return !client->lost && !client->broken && !client->going_away &&
           nghttp2_session_check_request_allowed(client->session) != 0;
}

uint32_t ut_h2_client_calls(const struct ut_h2_client *client)
{
    return client->waiting.count + client->open.count + client->ended.count;
}

/* ---- calls ---------------------------------------------------------------------------------- */

int ut_h2_client_submit(struct ut_h2_client *client, struct ut_h2_call *call)
{
    if (!ut_h2_client_accepts(client))
        return -ESHUTDOWN;
    UT_CHECK(call->state == UT_H2_CALL_IDLE && call->run_count > 0 && call->body_bytes > 0);
    UT_CHECK(call->headers == NULL || call->header_count <= UT_H2_CALL_HEADERS_MAX);
    *call = (struct ut_h2_call){
        .ops = call->ops,
        .runs = call->runs,
        .run_count = call->run_count,
        .body_bytes = call->body_bytes,
        .headers = call->headers,
        .header_count = call->header_count,
        .state = UT_H2_CALL_WAITING,
    };
    append(&client->waiting, call);
    open_waiting(client);
    return 0;
}

void ut_h2_client_cancel(struct ut_h2_client *client, struct ut_h2_call *call)
{
    if (call->state == UT_H2_CALL_OPEN) {
        (void)nghttp2_session_set_stream_user_data(client->session, call->stream_id, NULL);
        (void)nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                        NGHTTP2_CANCEL);
    }
    if (call->state == UT_H2_CALL_OPEN || call->state == UT_H2_CALL_WAITING)
        end_call(client, call, UT_H2_CANCELLED, NGHTTP2_CANCEL);
}

void ut_h2_client_ping(struct ut_h2_client *client)
{
    if (client->ping_outstanding || client->lost)
        return;
    client->ping_outstanding = nghttp2_submit_ping(client->session, NGHTTP2_FLAG_NONE, NULL) == 0;
}

/* The next call that is over, taken out of its list; NULL if there is none. */
static struct ut_h2_call *take_over(struct ut_h2_client *client)
{
    struct ut_h2_call *call = client->ended.first;
    while (call != NULL && client->output.gone < call->output_end)
        call = call->next;
    if (call != NULL) {
        take_out(&client->ended, call);
        call->state = UT_H2_CALL_IDLE;
    }
    return call;
}

void ut_h2_client_deliver(struct ut_h2_client *client)
{
    if (client->delivering)
        return;
    client->delivering = true;
    for (struct ut_h2_call *call; (call = take_over(client)) != NULL;)
        call->ops->done(call);
    client->delivering = false;
    if (!client->lost)
        open_waiting(client);
}

void ut_h2_client_lost(struct ut_h2_client *client)
{
    client->lost = true;
    refuse_waiting(client);
    while (client->open.first != NULL) {
        struct ut_h2_call *call = client->open.first;
        (void)nghttp2_session_set_stream_user_data(client->session, call->stream_id, NULL);
        end_call(client, call, call->headers_sent ? UT_H2_LOST : UT_H2_REFUSED, 0);
    }
    ut_h2_output_done(&client->output);
    client->output.gone = client->output.pushed;
    ut_h2_client_deliver(client);
}

/* ---- bytes ---------------------------------------------------------------------------------- */

int ut_h2_client_receive(struct ut_h2_client *client, ut_slice bytes)
{
    if (client->lost)
        return -ESHUTDOWN;
    ssize_t taken = nghttp2_session_mem_recv(client->session, bytes.data, bytes.size);
    ut_h2_client_deliver(client);
    if (taken == NGHTTP2_ERR_NOMEM)
        return -ENOMEM;
    return taken < 0 ? -EPROTO : 0;
}

int ut_h2_client_pending(struct ut_h2_client *client, struct iovec *runs, size_t room)
{
    if (client->lost)
        return 0;
    int error = ut_h2_output_pump(&client->output, client->session);
    ut_h2_client_deliver(client);
    if (error != 0)
        return error;
    size_t count = ut_h2_output_peek(&client->output, runs, room);
    return count == 0 && client->broken ? -EPROTO : (int)count;
}

void ut_h2_client_consumed(struct ut_h2_client *client, size_t bytes)
{
    ut_h2_output_consume(&client->output, bytes);
    ut_h2_client_deliver(client);
}

const char *ut_h2_error_name(uint32_t error_code)
{
    return nghttp2_http2_strerror(error_code);
}
