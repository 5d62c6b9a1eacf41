/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc_backend.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

static void on_written(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

static void flush(struct backend_connection *connection)
{
    const uint8_t *data;
    for (ssize_t size; !connection->closing &&
                       (size = nghttp2_session_mem_send(connection->session, &data)) > 0;) {
        uv_write_t *request = malloc(sizeof(*request) + (size_t)size);
        memcpy(request + 1, data, (size_t)size);
        uv_buf_t buffer = uv_buf_init((char *)(request + 1), (unsigned)size);
        cr_assert_eq(uv_write(request, (uv_stream_t *)&connection->tcp, &buffer, 1, on_written), 0);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct backend_connection *connection = handle->data;
    struct backend_connection **at = &connection->backend->connections;
    while (*at != connection)
        at = &(*at)->next;
    *at = connection->next;
    connection->backend->open--;
    nghttp2_session_del(connection->session);
    free(connection);
}

static void close_connection(struct backend_connection *connection)
{
    if (connection->closing)
        return;
    connection->closing = true;
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
}

static void reset_connection(struct backend_connection *connection)
{
    if (connection->closing)
        return;
    connection->closing = true;
    cr_assert_eq(uv_tcp_close_reset(&connection->tcp, on_closed), 0);
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature. */
static ssize_t read_answer(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    (void)room;
    (void)source;
    struct backend_connection *connection = arg;
    static const uint8_t partial[] = {0, 0,    0, 0,   11,  0x0a, 9,   0x08,
                                      3, 0x12, 5, 'd', 'r', 'i',  'f', 't'};
    nghttp2_nv trailer = field("grpc-status", "0");
    size_t size = connection->backend->manner == BACKEND_PARTIAL ? sizeof(partial) : 5;
    memcpy(out, partial, size);
    if (size == 5)
        memset(out, 0, 5);
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    cr_assert_eq(nghttp2_submit_trailer(session, stream, &trailer, 1), 0);
    return (ssize_t)size;
}

static void refuse(struct backend_connection *connection, int32_t stream, const char *status,
                   const char *message, const char *details)
{
    nghttp2_nv fields[] = {field(":status", "200"), field("content-type", "application/grpc"),
                           field("grpc-status", status), field("grpc-message", message),
                           field("grpc-status-details-bin", details)};
    size_t count = details[0] != '\0' ? 5 : 4;
    cr_assert_eq(nghttp2_submit_response(connection->session, stream, fields, count, NULL), 0);
}

static void answer(struct backend_connection *connection, int32_t stream)
{
    nghttp2_nv fields[] = {field(":status", "200"), field("content-type", "application/grpc")};
    nghttp2_data_provider body = {.read_callback = read_answer};
    if (connection->last_stream != 0 && stream > connection->last_stream)
        return;
    connection->backend->answered++;
    switch (connection->backend->manner) {
    case BACKEND_OK:
    case BACKEND_PARTIAL:
        cr_assert_eq(nghttp2_submit_response(connection->session, stream, fields, 2, &body), 0);
        break;
    case BACKEND_UNAVAILABLE:
        refuse(connection, stream, "14", "try%20later", "");
        break;
    case BACKEND_RETRY_INFO:
        /* Status{code 8, details: RetryInfo{1.5 s}} */
        refuse(connection, stream, "8", "slow down",
               "CAgaNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIARCA"
               "yrXuAQ==");
        break;
    case BACKEND_PERMANENT:
        refuse(connection, stream, "3", "bad span%0Ain batch", "");
        break;
    default:
        break;
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct backend_connection *connection = arg;
    struct backend *backend = connection->backend;
    int32_t stream = frame->hd.stream_id;
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_DATA && end)
        answer(connection, stream);
    if (frame->hd.type == NGHTTP2_DATA && backend->manner == BACKEND_CLOSES)
        close_connection(connection);
    if (frame->hd.type == NGHTTP2_DATA && backend->manner == BACKEND_RESETS)
        reset_connection(connection);
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (backend->refuse > 0) {
        backend->refuse--;
        backend->refused++;
        return nghttp2_submit_rst_stream(session, 0, stream, NGHTTP2_REFUSED_STREAM);
    }
    if (backend->manner == BACKEND_TOO_LARGE)
        refuse(connection, stream, "8", "grpc: received message larger than max (9 vs. 4)", "");
    if (++connection->requests != backend->goaway_after)
        return 0;
    connection->last_stream = stream;
    return nghttp2_submit_goaway(session, 0, stream, NGHTTP2_NO_ERROR, (const uint8_t *)"max_age",
                                 7);
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *arg)
{
    (void)session;
    (void)frame;
    (void)flags;
    struct backend *backend = ((struct backend_connection *)arg)->backend;
    char *out = NULL;
    if (name_size == 12 && memcmp(name, "grpc-timeout", 12) == 0)
        out = backend->last_timeout;
    else if (name_size == 10 && memcmp(name, "user-agent", 10) == 0)
        out = backend->last_agent;
    else if (name_size == 10 && memcmp(name, ":authority", 10) == 0)
        out = backend->last_authority;
    else if (name_size == 13 && memcmp(name, "grpc-encoding", 13) == 0)
        out = backend->last_encoding;
    else if (name_size == 8 && memcmp(name, "x-tenant", 8) == 0)
        out = backend->last_extra;
    if (out != NULL && value_size < 32) {
        memcpy(out, value, value_size);
        out[value_size] = '\0';
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t size, void *arg)
{
    (void)session;
    (void)flags;
    struct backend *backend = ((struct backend_connection *)arg)->backend;
    backend->body_bytes += size;
    if (stream != backend->last_stream)
        backend->last_size = 0;
    backend->last_stream = stream;
    backend->last_body = realloc(backend->last_body, backend->last_size + size);
    memcpy(backend->last_body + backend->last_size, data, size);
    backend->last_size += size;
    return 0;
}

static void give_buffer(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
    (void)size;
    struct backend *backend = ((struct backend_connection *)handle->data)->backend;
    *ret = uv_buf_init(backend->read_buffer, sizeof(backend->read_buffer));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct backend_connection *connection = stream->data;
    if (size < 0) {
        close_connection(connection);
        return;
    }
    if (nghttp2_session_mem_recv(connection->session, (const uint8_t *)buffer->base, (size_t)size) <
        0)
        close_connection(connection);
    flush(connection);
}

static void open_session(struct backend_connection *connection)
{
    nghttp2_session_callbacks *callbacks;
    cr_assert_eq(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    cr_assert_eq(nghttp2_session_server_new(&connection->session, callbacks, connection), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
    cr_assert_eq(nghttp2_submit_settings(connection->session, 0, settings, 1), 0);
    cr_assert_eq(nghttp2_session_set_local_window_size(connection->session, 0, 0, 4 << 20), 0);
}

static void send_garbage(struct backend_connection *connection)
{
    static const char text[] = "HTTP/1.0 400 Bad Request\r\n\r\n";
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)text, sizeof(text) - 1);
    (void)uv_try_write((uv_stream_t *)&connection->tcp, &buffer, 1);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct backend *backend = listener->data;
    cr_assert_eq(status, 0);
    struct backend_connection *connection = calloc(1, sizeof(*connection));
    connection->backend = backend;
    connection->next = backend->connections;
    backend->connections = connection;
    backend->accepted++;
    backend->open++;
    cr_assert_eq(uv_tcp_init(backend->loop, &connection->tcp), 0);
    connection->tcp.data = connection;
    cr_assert_eq(uv_accept(listener, (uv_stream_t *)&connection->tcp), 0);
    open_session(connection);
    if (backend->manner == BACKEND_FROZEN)
        return;
    if (backend->manner == BACKEND_GARBAGE)
        send_garbage(connection);
    else
        flush(connection);
    cr_assert_eq(uv_read_start((uv_stream_t *)&connection->tcp, give_buffer, on_read), 0);
}

void backend_start(struct backend *backend, uv_loop_t *loop)
{
    struct sockaddr_in address;
    struct sockaddr_storage bound;
    int size = sizeof(bound);
    backend->loop = loop;
    cr_assert_eq(uv_ip4_addr("127.0.0.1", backend->port, &address), 0);
    cr_assert_eq(uv_tcp_init(loop, &backend->listener), 0);
    backend->listener.data = backend;
    cr_assert_eq(uv_tcp_bind(&backend->listener, (const struct sockaddr *)&address, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&backend->listener, 16, on_connection), 0);
    cr_assert_eq(uv_tcp_getsockname(&backend->listener, (struct sockaddr *)&bound, &size), 0);
    backend->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
    backend->listening = true;
}

void backend_stop(struct backend *backend)
{
    if (backend->listening)
        uv_close((uv_handle_t *)&backend->listener, NULL);
    backend->listening = false;
    for (struct backend_connection *at = backend->connections; at != NULL; at = at->next)
        close_connection(at);
}
