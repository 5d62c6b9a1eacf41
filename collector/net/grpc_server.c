/* SPDX-License-Identifier: Apache-2.0 */
#include "net/grpc_server.h"

#include <errno.h>
#include <stdio.h>

enum {
    PREFIX_BYTES = 5,
    /* Blocks up to here are taken as bytes arrive; longer ones are mapped. */
    POOLED_BYTES = 1 << 20,
    /* A block is at most so many times what has arrived, or of FIRST_BLOCK bytes. */
    BLOCK_FACTOR = 4,
    FIRST_BLOCK = 64 << 10,
};

#define STATIC_NV(name_, value_)                                                                   \
    {                                                                                              \
        .name = (uint8_t *)(uintptr_t)(name_), .value = (uint8_t *)(uintptr_t)(value_),            \
        .namelen = sizeof(name_) - 1, .valuelen = sizeof(value_) - 1,                              \
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                      \
    }

static const nghttp2_nv success_headers[] = {
    STATIC_NV(":status", "200"),
    STATIC_NV("content-type", "application/grpc"),
};
static const nghttp2_nv success_trailers[] = {STATIC_NV("grpc-status", "0")};
static const uint8_t empty_message[PREFIX_BYTES];

/* ---- the charge ----------------------------------------------------------------------------- */

static size_t round_up(size_t bytes, size_t step)
{
    return (bytes + step - 1) / step * step;
}

/* Gives back what the account has above its need. */
static void trim(struct ut_grpc_server *server)
{
    size_t need = round_up(server->held, UT_BUDGET_STEP);
    if (server->account.charged > need)
        ut_budget_release(&server->account, server->account.charged - need);
}

bool ut_grpc_call_hold(struct ut_grpc_call *call, size_t bytes)
{
    struct ut_grpc_server *server = call->server;
    if (bytes <= call->held)
        return true;
    size_t held = server->held + bytes - call->held;
    size_t need = round_up(held, UT_BUDGET_STEP);
    if (need > server->account.charged &&
        !ut_budget_charge(&server->account, need - server->account.charged))
        return false;
    server->held = held;
    call->held = bytes;
    return true;
}

size_t ut_grpc_call_settle(struct ut_grpc_call *call)
{
    struct ut_grpc_server *server = call->server;
    size_t bytes = call->held;
    ut_budget_settle(&server->account, bytes);
    server->held -= bytes;
    call->held = 0;
    trim(server);
    return bytes;
}

/* ---- states --------------------------------------------------------------------------------- */

static void enter_arriving(struct ut_grpc_call *call)
{
    struct ut_grpc_server *server = call->server;
    call->state = UT_GRPC_ARRIVING;
    call->began_ns = server->h2.now_ns;
    call->next = server->arriving;
    if (call->next != NULL)
        call->next->previous = call;
    server->arriving = call;
}

static void leave_arriving(struct ut_grpc_call *call)
{
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        call->server->arriving = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    call->previous = call->next = NULL;
}

/* Lets go of all that the call has before its answer, whatever its state. */
static void leave_state(struct ut_grpc_call *call)
{
    if (call->state == UT_GRPC_ARRIVING)
        leave_arriving(call);
    else if (call->state == UT_GRPC_HANDED_ON)
        call->server->waiting--;
    ut_segment_unref(call->segment);
    call->segment = NULL;
    call->server->held -= call->held;
    call->held = 0;
    trim(call->server);
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

static void finish(struct ut_grpc_call *call, enum ut_grpc_code code)
{
    leave_state(call);
    call->state = UT_GRPC_ANSWERED;
    call->server->service->on_answered(call->server, code);
    call->server->service->wake(call->server);
}

struct failure {
    const char *http_status;
    enum ut_grpc_code code;
    uint32_t retry_after_ms;
    const char *text;
};

/* A failure is headers only. */
static void answer_failure(struct ut_grpc_call *call, const struct failure *failure)
{
    char code[12], message[UT_GRPC_MESSAGE_FIELD], details[UT_GRPC_DETAILS_FIELD];
    int code_size = snprintf(code, sizeof(code), "%d", (int)failure->code);
    nghttp2_nv fields[6];
    size_t count = 0;
    fields[count++] = field(":status", failure->http_status, strlen(failure->http_status));
    fields[count++] = field("content-type", "application/grpc", strlen("application/grpc"));
    fields[count++] = field("grpc-status", code, (size_t)code_size);
    fields[count++] =
        passing_field("grpc-message", message, ut_grpc_message_field(message, failure->text));
    if (failure->retry_after_ms > 0)
        fields[count++] = passing_field(
            "grpc-status-details-bin", details,
            ut_grpc_details_field(details, failure->code, failure->text, failure->retry_after_ms));
    if (failure->code == UT_GRPC_UNIMPLEMENTED)
        fields[count++] = field("grpc-accept-encoding", "identity", strlen("identity"));
    ut_h2_server_answer(&call->h2, fields, count);
    finish(call, failure->code);
}

void ut_grpc_call_fail(struct ut_grpc_call *call, enum ut_grpc_code code, uint32_t retry_after_ms,
                       const char *text)
{
    answer_failure(call, &(struct failure){"200", code, retry_after_ms, text});
}

static void refuse(struct ut_grpc_call *call, enum ut_grpc_refusal why,
                   const struct failure *failure)
{
    struct ut_grpc_server *server = call->server;
    answer_failure(call, failure);
    server->service->on_refused(server, why, failure->text);
}

static void refuse_busy(struct ut_grpc_call *call)
{
    refuse(call, UT_GRPC_REFUSED_BUDGET,
           &(struct failure){"200", UT_GRPC_UNAVAILABLE, call->server->service->retry_after_ms,
                             "no memory left for this request now"});
}

static void refuse_framing(struct ut_grpc_call *call, enum ut_grpc_code code, const char *text)
{
    refuse(call, UT_GRPC_REFUSED_PROTOCOL, &(struct failure){"200", code, 0, text});
}

void ut_grpc_call_succeed(struct ut_grpc_call *call, ut_slice message)
{
    ut_slice body = ut_slice_of(empty_message, PREFIX_BYTES);
    if (message.size > 0) {
        call->response = ut_pool_alloc(call->server->h2.pool, PREFIX_BYTES + message.size);
        if (call->response == NULL) {
            /* The spans are taken; only the words about the rejected ones are lost. */
            message.size = 0;
        } else {
            const uint8_t prefix[PREFIX_BYTES] = {
                0, (uint8_t)(message.size >> 24), (uint8_t)(message.size >> 16),
                (uint8_t)(message.size >> 8), (uint8_t)message.size};
            memcpy(call->response, prefix, PREFIX_BYTES);
            memcpy(call->response + PREFIX_BYTES, message.data, message.size);
            body = ut_slice_of(call->response, PREFIX_BYTES + message.size);
        }
    }
    ut_h2_server_answer_body(&call->h2, success_headers, 2, body, success_trailers, 1);
    finish(call, UT_GRPC_OK);
}

/* ---- the request's header ------------------------------------------------------------------- */

static struct ut_grpc_call *call_of(struct ut_h2_stream *stream)
{
    return UT_CONTAINER_OF(stream, struct ut_grpc_call, h2);
}

/* "application/grpc", alone or followed by "+proto" or by parameters. */
static bool is_grpc_type(ut_slice value)
{
    ut_slice base = UT_SLICE("application/grpc");
    if (!ut_slice_starts(value, base))
        return false;
    ut_slice rest = ut_slice_of(value.data + base.size, value.size - base.size);
    if (ut_slice_starts(rest, UT_SLICE("+proto")))
        rest = ut_slice_of(rest.data + 6, rest.size - 6);
    return rest.size == 0 || rest.data[0] == ';';
}

static void on_header(struct ut_h2_stream *stream, ut_slice name, ut_slice value)
{
    struct ut_grpc_call *call = call_of(stream);
    struct ut_grpc_server *server = UT_CONTAINER_OF(stream->server, struct ut_grpc_server, h2);
    if (ut_slice_equal(name, UT_SLICE(":method")))
        call->is_post = ut_slice_equal(value, UT_SLICE("POST"));
    else if (ut_slice_equal(name, UT_SLICE(":path")))
        call->path_known = ut_slice_equal(value, ut_slice_str(server->service->path));
    else if (ut_slice_equal(name, UT_SLICE("content-type")))
        call->type_known = is_grpc_type(value);
    else if (ut_slice_equal(name, UT_SLICE("grpc-encoding")))
        call->encoded = !ut_slice_equal(value, UT_SLICE("identity"));
}

static void on_request(struct ut_h2_stream *stream, bool too_large)
{
    struct ut_grpc_call *call = call_of(stream);
    call->server = UT_CONTAINER_OF(stream->server, struct ut_grpc_server, h2);
    if (too_large)
        refuse(call, UT_GRPC_REFUSED_HEADERS,
               &(struct failure){"200", UT_GRPC_RESOURCE_EXHAUSTED, 0,
                                 "the request's header fields exceed the limit"});
    else if (!call->type_known)
        refuse(call, UT_GRPC_REFUSED_PROTOCOL,
               &(struct failure){"415", UT_GRPC_UNKNOWN, 0, "the content-type is not gRPC's"});
    else if (!call->is_post)
        refuse(call, UT_GRPC_REFUSED_PROTOCOL,
               &(struct failure){"405", UT_GRPC_UNKNOWN, 0, "the method is not POST"});
    else if (!call->path_known)
        refuse_framing(call, UT_GRPC_UNIMPLEMENTED, "unknown service or method");
    else
        enter_arriving(call);
}

/* ---- the message ---------------------------------------------------------------------------- */

/* How long the block of a message is to be when `available` bytes of it are here or just behind. */
static size_t block_for(const struct ut_grpc_call *call, size_t available)
{
    if (call->declared >= POOLED_BYTES)
        return call->declared;
    size_t bytes = available * BLOCK_FACTOR;
    bytes = bytes > FIRST_BLOCK ? bytes : FIRST_BLOCK;
    return bytes < call->declared ? bytes : call->declared;
}

/* What a segment costs when `size` bytes have been written to it. */
static size_t cost_of(const struct ut_segment *segment, size_t size)
{
    size_t block = ut_pool_usable(segment) + 16;
    size_t touched = round_up(size + sizeof(*segment), UT_BUDGET_STEP);
    return block > POOLED_BYTES && touched < block ? touched : block;
}

/* The segment gets room for `size` bytes, `available` of which are here or just behind. */
static bool make_room(struct ut_grpc_call *call, size_t size, size_t available)
{
    struct ut_segment *old = call->segment;
    if (old != NULL && size <= old->capacity)
        return ut_grpc_call_hold(call, cost_of(old, size));
    struct ut_segment *bigger = ut_segment_new(call->server->h2.pool, block_for(call, available));
    if (bigger == NULL)
        return false;
    if (!ut_grpc_call_hold(call, cost_of(bigger, size))) {
        ut_segment_unref(bigger);
        return false;
    }
    if (old != NULL) {
        memcpy(bigger->data, old->data, old->size);
        bigger->size = old->size;
        ut_segment_unref(old);
    }
    call->segment = bigger;
    return true;
}

static void check_prefix(struct ut_grpc_call *call)
{
    const uint8_t *prefix = call->prefix;
    size_t limit = call->server->service->message_bytes_max;
    call->declared = (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 |
                     (uint32_t)prefix[3] << 8 | prefix[4];
    if (prefix[0] == 1 && call->encoded) {
        refuse_framing(call, UT_GRPC_UNIMPLEMENTED, "the message's compression is not supported");
    } else if (prefix[0] != 0) {
        refuse_framing(call, UT_GRPC_INTERNAL, "the message's compressed flag is wrong");
    } else if (call->declared > limit) {
        char text[96];
        (void)snprintf(text, sizeof(text), "a message of %u bytes exceeds the limit of %zu",
                       call->declared, limit);
        refuse(call, UT_GRPC_REFUSED_SIZE,
               &(struct failure){"200", UT_GRPC_RESOURCE_EXHAUSTED, 0, text});
    }
}

static ut_slice take_prefix(struct ut_grpc_call *call, ut_slice bytes)
{
    size_t size = PREFIX_BYTES - call->prefix_size;
    size = size < bytes.size ? size : bytes.size;
    memcpy(call->prefix + call->prefix_size, bytes.data, size);
    call->prefix_size = (uint8_t)(call->prefix_size + size);
    return ut_slice_of(bytes.data + size, bytes.size - size);
}

static void append(struct ut_grpc_call *call, ut_slice bytes)
{
    size_t size = call->segment != NULL ? call->segment->size : 0;
    if (bytes.size > call->declared - size) {
        refuse_framing(call, UT_GRPC_INTERNAL, "more bytes than one message");
        return;
    }
    if (bytes.size == 0)
        return;
    size_t available = size + bytes.size + ut_h2_server_input_left(&call->server->h2, bytes);
    if (!make_room(call, size + bytes.size, available)) {
        refuse_busy(call);
        return;
    }
    memcpy(call->segment->data + size, bytes.data, bytes.size);
    call->segment->size = size + bytes.size;
}

static void on_data(struct ut_h2_stream *stream, ut_slice bytes)
{
    struct ut_grpc_call *call = call_of(stream);
    ut_h2_server_consume(stream, bytes.size);
    if (call->prefix_size < PREFIX_BYTES) {
        bytes = take_prefix(call, bytes);
        if (call->prefix_size < PREFIX_BYTES)
            return;
        check_prefix(call);
    }
    if (call->state == UT_GRPC_ARRIVING)
        append(call, bytes);
}

static void on_end(struct ut_h2_stream *stream)
{
    struct ut_grpc_call *call = call_of(stream);
    size_t size = call->segment != NULL ? call->segment->size : 0;
    if (call->prefix_size == 0) {
        refuse_framing(call, UT_GRPC_INTERNAL, "the request has no message");
    } else if (call->prefix_size < PREFIX_BYTES || size < call->declared) {
        refuse_framing(call, UT_GRPC_INTERNAL, "the request ended within its message");
    } else if (call->segment == NULL && !make_room(call, 0, 0)) {
        refuse_busy(call);
    } else {
        leave_arriving(call);
        call->state = UT_GRPC_HANDED_ON;
        call->server->waiting++;
        call->server->service->on_message(call);
    }
}

static void on_close(struct ut_h2_stream *stream)
{
    struct ut_grpc_call *call = call_of(stream);
    if (call->state == UT_GRPC_HANDED_ON)
        call->server->service->on_gone(call);
    if (call->state != UT_GRPC_ANSWERED)
        leave_state(call);
    ut_pool_free(call->server->h2.pool, call->response);
}

static const struct ut_h2_server_ops h2_ops = {
    .stream_size = sizeof(struct ut_grpc_call),
    .on_header = on_header,
    .on_request = on_request,
    .on_data = on_data,
    .on_end = on_end,
    .on_close = on_close,
};

/* ---- life ----------------------------------------------------------------------------------- */

static void evict(struct ut_budget_account *account)
{
    struct ut_grpc_server *server = UT_CONTAINER_OF(account, struct ut_grpc_server, account);
    while (server->arriving != NULL)
        refuse_busy(server->arriving);
}

int ut_grpc_server_init(struct ut_grpc_server *server, struct ut_pool *pool,
                        struct ut_budget *budget, const struct ut_h2_limits *limits,
                        const struct ut_grpc_service *service)
{
    *server = (struct ut_grpc_server){.service = service};
    ut_budget_account_init(&server->account, budget, evict);
    return ut_h2_server_init(&server->h2, pool, limits, &h2_ops);
}

void ut_grpc_server_done(struct ut_grpc_server *server)
{
    ut_h2_server_done(&server->h2);
}
