/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_calls.h"

#include <stdio.h>

#include "net/grpc_call.h"
#include "net/http_answer.h"

/* ---- answers of OTLP/HTTP -------------------------------------------------------------------- */

static nghttp2_nv field(ut_slice name, ut_slice value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.data,
        .value = (uint8_t *)(uintptr_t)value.data,
        .namelen = name.size,
        .valuelen = value.size,
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME,
    };
}

/* The body is copied, as it goes out after this call. Without memory for it the status must do. */
static ut_slice keep_body(struct ut_h2_call *call, struct ut_http_answer *answer)
{
    ut_slice body = answer->body;
    if (body.size == 0 || call->head.method == UT_HTTP_METHOD_HEAD)
        return (ut_slice){0};
    call->response = ut_pool_alloc(call->call.calls->pool, body.size);
    if (call->response == NULL)
        return (ut_slice){0};
    memcpy(call->response, body.data, body.size);
    return ut_slice_of(call->response, body.size);
}

static void send_answer(struct ut_h2_call *call, struct ut_http_answer *answer)
{
    char status[12];
    nghttp2_nv fields[1 + UT_HTTP_ANSWER_FIELDS];
    size_t count = 0;
    ut_slice body = keep_body(call, answer);
    int size = snprintf(status, sizeof(status), "%d", answer->status);
    fields[count++] = field(UT_SLICE(":status"), ut_slice_of(status, (size_t)size));
    bool length = body.size == answer->body.size || call->head.method == UT_HTTP_METHOD_HEAD;
    for (size_t i = 0; i < answer->count; i++) {
        if (length || !ut_slice_equal(answer->fields[i].name, UT_SLICE("content-length")))
            fields[count++] = field(answer->fields[i].name, answer->fields[i].value);
    }
    if (body.size > 0)
        ut_h2_server_answer_body(&call->h2, fields, count, body, NULL, 0);
    else
        ut_h2_server_answer(&call->h2, fields, count);
}

static struct ut_h2_call *h2_call_of(struct ut_call *call)
{
    return UT_CONTAINER_OF(call, struct ut_h2_call, call);
}

static void succeed(struct ut_call *base, ut_slice message)
{
    struct ut_h2_call *call = h2_call_of(base);
    struct ut_http_answer answer;
    ut_http_answer_success(&answer, &call->head, message);
    send_answer(call, &answer);
}

static int fail(struct ut_call *base, const struct ut_failure *failure)
{
    struct ut_h2_call *call = h2_call_of(base);
    struct ut_http_answer answer;
    ut_http_answer_failure(&answer, &call->head, failure);
    send_answer(call, &answer);
    return failure->http_status;
}

static const struct ut_call_ops http_ops = {
    .transport = UT_TRANSPORT_HTTP,
    .succeed = succeed,
    .fail = fail,
};

static void answer_options(struct ut_h2_call *call)
{
    struct ut_calls *calls = call->call.calls;
    struct ut_http_answer answer;
    ut_http_answer_options(&answer, &call->head, calls->service->cors);
    send_answer(call, &answer);
    ut_call_end(&call->call);
    calls->service->on_answered(calls, UT_TRANSPORT_HTTP, answer.status);
}

/* ---- streams -------------------------------------------------------------------------------- */

static struct ut_h2_call *call_of(struct ut_h2_stream *stream)
{
    return UT_CONTAINER_OF(stream, struct ut_h2_call, h2);
}

static bool is_grpc(const struct ut_h2_call *call)
{
    return call->call.ops == &ut_grpc_call_ops;
}

static void on_header(struct ut_h2_stream *stream, ut_slice name, ut_slice value)
{
    struct ut_h2_call *call = call_of(stream);
    const struct ut_calls *calls = UT_CONTAINER_OF(stream->server, struct ut_h2_calls, h2)->calls;
    if (ut_slice_equal(name, UT_SLICE(":method")))
        ut_http_head_method(&call->head, value);
    else if (ut_slice_equal(name, UT_SLICE(":path")))
        ut_http_head_target(&call->head, calls->service, value);
    else
        ut_http_head_field(&call->head, calls, name, value);
}

static void judge_http(struct ut_h2_call *call)
{
    const struct ut_service *service = call->call.calls->service;
    const struct ut_http_head *head = &call->head;
    enum ut_refusal why;
    const struct ut_failure *stranger = ut_http_head_admit(&call->head, call->call.calls);
    const struct ut_failure *failure = ut_http_head_judge(head, &why);
    call->call.encoding = ut_http_head_encoding(head);
    if (stranger != NULL) {
        ut_call_refuse(&call->call, UT_REFUSED_AUTH, stranger);
    } else if (failure != NULL) {
        ut_call_refuse(&call->call, why, failure);
    } else if (head->method == UT_HTTP_METHOD_OPTIONS) {
        answer_options(call);
    } else if (head->has_length && head->length > service->body_bytes_max) {
        ut_call_refuse_size(&call->call, head->length);
    } else {
        if (head->has_length)
            call->call.expected = head->length;
        call->call.coding = head->coding;
        ut_call_arrive(&call->call, call->h2.server->now_ns);
    }
}

static void on_request(struct ut_h2_stream *stream, bool too_large)
{
    static const struct ut_failure failure = {UT_GRPC_RESOURCE_EXHAUSTED, 400, 0,
                                              "the request's header fields exceed the limit"};
    struct ut_h2_call *call = call_of(stream);
    struct ut_calls *calls = UT_CONTAINER_OF(stream->server, struct ut_h2_calls, h2)->calls;
    bool grpc = call->head.type == UT_HTTP_TYPE_GRPC;
    ut_call_init(&call->call, calls, grpc ? &ut_grpc_call_ops : &http_ops);
    if (too_large)
        ut_call_refuse(&call->call, UT_REFUSED_HEADERS, &failure);
    else if (grpc)
        ut_grpc_call_judge(call);
    else
        judge_http(call);
}

static void on_data(struct ut_h2_stream *stream, ut_slice bytes)
{
    struct ut_h2_call *call = call_of(stream);
    ut_h2_server_consume(stream, bytes.size);
    if (is_grpc(call))
        ut_grpc_call_data(call, bytes);
    else if (call->call.state == UT_CALL_ARRIVING)
        ut_call_append(&call->call, bytes, ut_h2_server_input_left(stream->server, bytes));
}

static void on_end(struct ut_h2_stream *stream)
{
    struct ut_h2_call *call = call_of(stream);
    if (is_grpc(call))
        ut_grpc_call_end(call);
    else
        ut_call_complete(&call->call);
}

static void on_close(struct ut_h2_stream *stream)
{
    struct ut_h2_call *call = call_of(stream);
    if (call->call.calls != NULL) /* else its header was never complete */
        ut_call_end(&call->call);
    ut_http_head_done(&call->head, stream->server->pool);
    ut_pool_free(stream->server->pool, call->response);
}

static const struct ut_h2_server_ops h2_ops = {
    .stream_size = sizeof(struct ut_h2_call),
    .on_header = on_header,
    .on_request = on_request,
    .on_data = on_data,
    .on_end = on_end,
    .on_close = on_close,
};

/* ---- life ----------------------------------------------------------------------------------- */

int ut_h2_calls_init(struct ut_h2_calls *server, struct ut_calls *calls,
                     const struct ut_h2_limits *limits)
{
    server->calls = calls;
    return ut_h2_server_init(&server->h2, calls->pool, limits, &h2_ops);
}

void ut_h2_calls_done(struct ut_h2_calls *server)
{
    ut_h2_server_done(&server->h2);
}
