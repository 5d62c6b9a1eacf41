/* SPDX-License-Identifier: Apache-2.0 */
#include "net/grpc_call.h"

#include <stdio.h>

enum { PREFIX_BYTES = 5 };

#define STATIC_NV(name_, value_)                                                                   \
    {                                                                                              \
        .name = (uint8_t *)(uintptr_t)(name_), .value = (uint8_t *)(uintptr_t)(value_),            \
        .namelen = sizeof(name_) - 1, .valuelen = sizeof(value_) - 1,                              \
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                      \
    }

#define ACCEPT_ENCODING STATIC_NV("grpc-accept-encoding", "identity,gzip,zstd,deflate")

static const nghttp2_nv accept_encoding = ACCEPT_ENCODING;
static const nghttp2_nv success_headers[] = {
    STATIC_NV(":status", "200"),
    STATIC_NV("content-type", "application/grpc"),
    ACCEPT_ENCODING,
};
enum { SUCCESS_HEADERS = sizeof(success_headers) / sizeof(success_headers[0]) };
static const nghttp2_nv success_trailers[] = {STATIC_NV("grpc-status", "0")};
static const uint8_t empty_message[PREFIX_BYTES];

static struct ut_h2_call *h2_call_of(struct ut_call *call)
{
    return UT_CONTAINER_OF(call, struct ut_h2_call, call);
}

/* ---- answers -------------------------------------------------------------------------------- */

static nghttp2_nv field(const char *name, const char *value, size_t value_size)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = value_size,
    };
}

/* Texts of one answer say nothing of the next: they stay out of the compression table. */
static nghttp2_nv passing_field(const char *name, const char *value, size_t value_size)
{
    nghttp2_nv nv = field(name, value, value_size);
    nv.flags = NGHTTP2_NV_FLAG_NO_INDEX;
    return nv;
}

/* A failure is headers only. Its HTTP status is 200 unless the request was none of gRPC. */
static int fail(struct ut_call *base, const struct ut_failure *failure)
{
    struct ut_h2_call *call = h2_call_of(base);
    char code[12], message[UT_GRPC_MESSAGE_FIELD], details[UT_GRPC_DETAILS_FIELD];
    int code_size = snprintf(code, sizeof(code), "%d", (int)failure->code);
    const char *http_status = failure->http_status == 405 ? "405" : "200";
    nghttp2_nv fields[6];
    size_t count = 0;
    fields[count++] = field(":status", http_status, strlen(http_status));
    fields[count++] = field("content-type", "application/grpc", strlen("application/grpc"));
    fields[count++] = field("grpc-status", code, (size_t)code_size);
    fields[count++] =
        passing_field("grpc-message", message, ut_grpc_message_field(message, failure->text));
    if (failure->retry_after_ms > 0)
        fields[count++] = passing_field(
            "grpc-status-details-bin", details,
            ut_grpc_details_field(details, failure->code, failure->text, failure->retry_after_ms));
    fields[count++] = accept_encoding;
    ut_h2_server_answer(&call->h2, fields, count);
    return (int)failure->code;
}

static void succeed(struct ut_call *base, ut_slice message)
{
    struct ut_h2_call *call = h2_call_of(base);
    ut_slice body = ut_slice_of(empty_message, PREFIX_BYTES);
    if (message.size > 0)
        call->response = ut_pool_alloc(base->calls->pool, PREFIX_BYTES + message.size);
    /* Without memory the spans are taken all the same; only the words about rejected ones are
     * lost. */
    if (call->response != NULL) {
        const uint8_t prefix[PREFIX_BYTES] = {0, (uint8_t)(message.size >> 24),
                                              (uint8_t)(message.size >> 16),
                                              (uint8_t)(message.size >> 8), (uint8_t)message.size};
        memcpy(call->response, prefix, PREFIX_BYTES);
        memcpy(call->response + PREFIX_BYTES, message.data, message.size);
        body = ut_slice_of(call->response, PREFIX_BYTES + message.size);
    }
    ut_h2_server_answer_body(&call->h2, success_headers, SUCCESS_HEADERS, body, success_trailers,
                             1);
}

const struct ut_call_ops ut_grpc_call_ops = {
    .transport = UT_TRANSPORT_GRPC,
    .succeed = succeed,
    .fail = fail,
};

static void refuse(struct ut_h2_call *call, enum ut_grpc_code code, const char *text)
{
    ut_call_refuse(&call->call, UT_REFUSED_PROTOCOL, &(struct ut_failure){code, 400, 0, text});
}

/* ---- the header ----------------------------------------------------------------------------- */

void ut_grpc_call_judge(struct ut_h2_call *call)
{
    static const struct ut_failure method = {UT_GRPC_UNKNOWN, 405, 0, "the method is not POST"},
                                   metrics = {UT_GRPC_UNIMPLEMENTED, 404, 0, UT_HTTP_METRICS_TEXT},
                                   logs = {UT_GRPC_UNIMPLEMENTED, 404, 0, UT_HTTP_LOGS_TEXT};
    const struct ut_http_head *head = &call->head;
    enum ut_refusal signal = ut_http_head_signal(head);
    const struct ut_failure *stranger = ut_http_head_admit(&call->head, call->call.calls);
    if (stranger != NULL)
        ut_call_refuse(&call->call, UT_REFUSED_AUTH, stranger);
    else if (head->method != UT_HTTP_METHOD_POST)
        ut_call_refuse(&call->call, UT_REFUSED_PROTOCOL, &method);
    else if (signal == UT_REFUSED_METRICS)
        ut_call_refuse(&call->call, signal, &metrics);
    else if (signal == UT_REFUSED_LOGS)
        ut_call_refuse(&call->call, signal, &logs);
    else if (head->path != UT_HTTP_PATH_GRPC)
        refuse(call, UT_GRPC_UNIMPLEMENTED, "unknown service or method");
    else
        ut_call_arrive(&call->call, call->h2.server->now_ns);
    call->call.timeout_ns = head->grpc_timeout_ns;
}

/* ---- the message ---------------------------------------------------------------------------- */

/* Whether a message with the compressed flag of the prefix can be read; else the call is refused.
 * https://github.com/grpc/grpc/blob/master/doc/compression.md */
static bool take_flag(struct ut_h2_call *call)
{
    enum ut_coding coding = call->head.grpc_coding;
    if (call->prefix[0] == 0)
        return true;
    if (call->prefix[0] != 1 || coding == UT_CODING_IDENTITY) {
        refuse(call, UT_GRPC_INTERNAL, "the message's compressed flag is wrong");
        return false;
    }
    if (coding == UT_CODING_UNKNOWN || call->call.calls->service->inflates == NULL) {
        refuse(call, UT_GRPC_UNIMPLEMENTED, "the message's compression is not supported");
        return false;
    }
    call->call.coding = coding;
    return true;
}

static void check_prefix(struct ut_h2_call *call)
{
    const uint8_t *prefix = call->prefix;
    size_t declared =
        (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
    call->call.expected = declared;
    if (take_flag(call) && declared > call->call.calls->service->body_bytes_max)
        ut_call_refuse_size(&call->call, declared);
}

static ut_slice take_prefix(struct ut_h2_call *call, ut_slice bytes)
{
    size_t size = PREFIX_BYTES - call->prefix_size;
    size = size < bytes.size ? size : bytes.size;
    memcpy(call->prefix + call->prefix_size, bytes.data, size);
    call->prefix_size = (uint8_t)(call->prefix_size + size);
    return ut_slice_of(bytes.data + size, bytes.size - size);
}

void ut_grpc_call_data(struct ut_h2_call *call, ut_slice bytes)
{
    if (call->prefix_size < PREFIX_BYTES) {
        bytes = take_prefix(call, bytes);
        if (call->prefix_size < PREFIX_BYTES)
            return;
        check_prefix(call);
    }
    if (call->call.state != UT_CALL_ARRIVING)
        return;
    if (bytes.size > call->call.expected - call->call.came)
        refuse(call, UT_GRPC_INTERNAL, "more bytes than one message");
    else
        ut_call_append(&call->call, bytes, ut_h2_server_input_left(call->h2.server, bytes));
}

void ut_grpc_call_end(struct ut_h2_call *call)
{
    if (call->prefix_size == 0)
        refuse(call, UT_GRPC_INTERNAL, "the request has no message");
    else if (call->prefix_size < PREFIX_BYTES || call->call.came < call->call.expected)
        refuse(call, UT_GRPC_INTERNAL, "the request ended within its message");
    else
        ut_call_complete(&call->call);
}
