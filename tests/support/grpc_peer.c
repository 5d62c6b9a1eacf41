/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc_peer.h"

#include <stdlib.h>
#include <string.h>

static struct grpc_reply *find_reply(struct grpc_peer *peer, int32_t stream)
{
    for (size_t i = peer->count; i-- > 0;) {
        if (peer->replies[i].stream == stream)
            return &peer->replies[i];
    }
    return NULL;
}

static void copy_text(char *out, size_t size, const uint8_t *text, size_t length)
{
    length = length < size - 1 ? length : size - 1;
    memcpy(out, text, length);
    out[length] = '\0';
}

static int number_of(const uint8_t *text, size_t size)
{
    int number = 0;
    for (size_t i = 0; i < size && text[i] >= '0' && text[i] <= '9'; i++)
        number = number * 10 + (text[i] - '0');
    return number;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)session, (void)flags, (void)name_size;
    struct grpc_reply *reply = find_reply(user_data, frame->hd.stream_id);
    const char *key = (const char *)name;
    if (reply == NULL)
        return 0;
    if (frame->headers.cat == NGHTTP2_HCAT_HEADERS)
        reply->has_trailers = true;
    if (strcmp(key, ":status") == 0)
        reply->http_status = number_of(value, value_size);
    else if (strcmp(key, "grpc-status") == 0)
        reply->grpc_status = number_of(value, value_size);
    else if (strcmp(key, "grpc-message") == 0)
        copy_text(reply->message, sizeof(reply->message), value, value_size);
    else if (strcmp(key, "grpc-status-details-bin") == 0)
        copy_text(reply->details, sizeof(reply->details), value, value_size);
    else if (strcmp(key, "grpc-accept-encoding") == 0)
        copy_text(reply->accept_encoding, sizeof(reply->accept_encoding), value, value_size);
    else if (strcmp(key, "content-type") == 0)
        copy_text(reply->content_type, sizeof(reply->content_type), value, value_size);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t size, void *user_data)
{
    (void)session, (void)flags;
    struct grpc_reply *reply = find_reply(user_data, stream);
    if (reply != NULL && size <= sizeof(reply->body) - reply->body_size) {
        memcpy(reply->body + reply->body_size, data, size);
        reply->body_size += size;
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user_data)
{
    (void)session;
    struct grpc_reply *reply = find_reply(user_data, stream);
    if (reply != NULL) {
        reply->closed = true;
        reply->reset_code = code;
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct grpc_peer *peer = user_data;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        peer->goaway_code = frame->goaway.error_code;
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
        peer->pings_answered++;
    if (frame->hd.type == NGHTTP2_SETTINGS)
        peer->streams_max =
            nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return 0;
}

void grpc_peer_init(struct grpc_peer *peer)
{
    *peer = (struct grpc_peer){.goaway_code = UINT32_MAX};
    peer->replies = calloc(GRPC_PEER_REPLIES, sizeof(peer->replies[0]));
    nghttp2_session_callbacks *callbacks;
    if (peer->replies == NULL || nghttp2_session_callbacks_new(&callbacks) != 0)
        abort();
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    if (nghttp2_session_client_new(&peer->session, callbacks, peer) != 0)
        abort();
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(peer->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

void grpc_peer_done(struct grpc_peer *peer)
{
    for (size_t i = 0; i < peer->count; i++)
        free(peer->replies[i].data);
    free(peer->replies);
    nghttp2_session_del(peer->session);
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)session, (void)stream, (void)user_data;
    struct grpc_reply *reply = source->ptr;
    size_t size = reply->size - reply->sent;
    if (size == 0 && reply->hold)
        return NGHTTP2_ERR_DEFERRED;
    size = size < room ? size : room;
    memcpy(out, reply->data + reply->sent, size);
    reply->sent += size;
    if (reply->sent == reply->size && !reply->hold)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static void add_field(nghttp2_nv *fields, size_t *count, const char *name, const char *value)
{
    if (value[0] != '\0')
        fields[(*count)++] = (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value,
                                          strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

struct grpc_reply *grpc_peer_send(struct grpc_peer *peer, const struct grpc_request *request)
{
    if (peer->count == GRPC_PEER_REPLIES)
        abort();
    struct grpc_reply *reply = &peer->replies[peer->count++];
    *reply = (struct grpc_reply){.http_status = -1, .grpc_status = -1, .hold = request->hold};
    reply->data = malloc(request->size + 1);
    if (reply->data == NULL)
        abort();
    if (request->size > 0)
        memcpy(reply->data, request->body, request->size);
    reply->size = request->size;
    nghttp2_nv *fields = calloc(8 + request->extra_count, sizeof(*fields));
    size_t count = 0;
    add_field(fields, &count, ":method", request->method != NULL ? request->method : "POST");
    add_field(fields, &count, ":scheme", "http");
    add_field(fields, &count, ":path", request->path != NULL ? request->path : GRPC_PEER_PATH);
    add_field(fields, &count, ":authority", "localhost");
    add_field(fields, &count, "content-type",
              request->content_type != NULL ? request->content_type : "application/grpc");
    add_field(fields, &count, "te", "trailers");
    add_field(fields, &count, "grpc-encoding", request->encoding != NULL ? request->encoding : "");
    for (size_t i = 0; i < request->extra_count; i++)
        fields[count++] = request->extra[i];
    const nghttp2_data_provider provider = {.source = {.ptr = reply}, .read_callback = read_body};
    reply->stream = nghttp2_submit_request(peer->session, NULL, fields, count, &provider, NULL);
    free(fields);
    if (reply->stream < 0)
        abort();
    return reply;
}

struct grpc_reply *grpc_peer_export(struct grpc_peer *peer, const void *message, size_t size)
{
    uint8_t *framed = malloc(size + 5);
    if (framed == NULL)
        abort();
    const uint8_t prefix[5] = {0, (uint8_t)(size >> 24), (uint8_t)(size >> 16),
                               (uint8_t)(size >> 8), (uint8_t)size};
    memcpy(framed, prefix, 5);
    if (size > 0)
        memcpy(framed + 5, message, size);
    struct grpc_reply *reply =
        grpc_peer_send(peer, &(struct grpc_request){.body = framed, .size = size + 5});
    free(framed);
    return reply;
}

void grpc_peer_more(struct grpc_peer *peer, struct grpc_reply *reply, const void *data, size_t size,
                    bool last)
{
    reply->data = realloc(reply->data, reply->size + size + 1);
    if (reply->data == NULL)
        abort();
    if (size > 0)
        memcpy(reply->data + reply->size, data, size);
    reply->size += size;
    reply->hold = !last;
    nghttp2_session_resume_data(peer->session, reply->stream);
}

size_t grpc_peer_output(struct grpc_peer *peer, uint8_t *out, size_t room)
{
    size_t size = 0;
    while (room - size >= (size_t)32 << 10) {
        const uint8_t *frame;
        ssize_t got = nghttp2_session_mem_send(peer->session, &frame);
        if (got <= 0)
            break;
        memcpy(out + size, frame, (size_t)got);
        size += (size_t)got;
    }
    return size;
}

bool grpc_peer_input(struct grpc_peer *peer, const uint8_t *data, size_t size)
{
    return nghttp2_session_mem_recv(peer->session, data, size) == (ssize_t)size;
}
