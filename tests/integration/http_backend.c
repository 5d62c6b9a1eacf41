/* SPDX-License-Identifier: Apache-2.0 */
#include "http_backend.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct answer {
    uv_write_t write;
    char *text;
};

/* ---- connections ---------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct http_connection *connection = handle->data;
    struct http_backend *backend = connection->backend;
    struct http_connection **at = &backend->connections;
    while (*at != connection)
        at = &(*at)->next;
    *at = connection->next;
    backend->open--;
    free(connection);
}

static void close_connection(struct http_connection *connection)
{
    if (connection->closing)
        return;
    connection->closing = true;
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
}

static void on_written(uv_write_t *write, int status)
{
    struct answer *answer = write->data;
    (void)status;
    free(answer->text);
    free(answer);
}

static void send_text(struct http_connection *connection, const char *text, size_t more)
{
    struct answer *answer = calloc(1, sizeof(*answer));
    size_t size = strlen(text);
    answer->text = malloc(size + more);
    memcpy(answer->text, text, size);
    memset(answer->text + size, 'x', more);
    answer->write.data = answer;
    uv_buf_t buffer = uv_buf_init(answer->text, (unsigned)(size + more));
    cr_assert_eq(uv_write(&answer->write, (uv_stream_t *)&connection->tcp, &buffer, 1, on_written),
                 0);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void note(struct http_backend *backend, const char *text, size_t size, bool lower)
{
    size_t have = strlen(backend->head);
    for (size_t i = 0; i < size && have + 1 < sizeof(backend->head); i++)
        backend->head[have++] = (char)(lower ? tolower((unsigned char)text[i]) : text[i]);
    backend->head[have] = '\0';
}

static int on_begin(llhttp_t *parser)
{
    struct http_connection *connection = parser->data;
    connection->backend->head[0] = '\0';
    connection->backend->body_size = 0;
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
    struct http_connection *connection = parser->data;
    note(connection->backend, at, size, false);
    return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t size)
{
    struct http_connection *connection = parser->data;
    if (connection->in_value || strchr(connection->backend->head, '\n') == NULL)
        note(connection->backend, "\n", 1, false);
    connection->in_value = false;
    note(connection->backend, at, size, true);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
    struct http_connection *connection = parser->data;
    if (!connection->in_value)
        note(connection->backend, ": ", 2, false);
    connection->in_value = true;
    note(connection->backend, at, size, false);
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
    struct http_backend *backend = ((struct http_connection *)parser->data)->backend;
    backend->body = realloc(backend->body, backend->body_size + size);
    memcpy(backend->body + backend->body_size, at, size);
    backend->body_size += size;
    return 0;
}

static int on_whole(llhttp_t *parser)
{
    struct http_connection *connection = parser->data;
    struct http_backend *backend = connection->backend;
    const char *answer =
        backend->answer != NULL ? backend->answer : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    bool again = connection->requests++ > 0;
    note(backend, "\n", 1, false);
    connection->in_value = false;
    backend->requests++;
    if (backend->manner == HTTP_CLOSES || (again && backend->manner == HTTP_STALE))
        close_connection(connection);
    else if (backend->manner != HTTP_SILENT)
        send_text(connection, answer, backend->endless);
    return 0;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    struct http_connection *connection = handle->data;
    (void)size;
    *buffer =
        uv_buf_init(connection->backend->read_buffer, sizeof(connection->backend->read_buffer));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct http_connection *connection = stream->data;
    if (size < 0 || llhttp_execute(&connection->parser, buffer->base, (size_t)size) != HPE_OK)
        close_connection(connection);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct http_backend *backend = stream->data;
    struct http_connection *connection = calloc(1, sizeof(*connection));
    cr_assert_eq(status, 0);
    cr_assert_eq(uv_tcp_init(backend->loop, &connection->tcp), 0);
    connection->tcp.data = connection;
    connection->backend = backend;
    connection->next = backend->connections;
    backend->connections = connection;
    backend->accepted++;
    backend->open++;
    cr_assert_eq(uv_accept(stream, (uv_stream_t *)&connection->tcp), 0);
    llhttp_settings_init(&connection->settings);
    connection->settings.on_message_begin = on_begin;
    connection->settings.on_url = on_url;
    connection->settings.on_header_field = on_name;
    connection->settings.on_header_value = on_value;
    connection->settings.on_body = on_body;
    connection->settings.on_message_complete = on_whole;
    llhttp_init(&connection->parser, HTTP_REQUEST, &connection->settings);
    connection->parser.data = connection;
    cr_assert_eq(uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read), 0);
}

/* ---- life ----------------------------------------------------------------------------------- */

void http_backend_start(struct http_backend *backend, uv_loop_t *loop)
{
    struct sockaddr_in address;
    int size = sizeof(address);
    backend->loop = loop;
    cr_assert_eq(uv_tcp_init(loop, &backend->listener), 0);
    backend->listener.data = backend;
    cr_assert_eq(uv_ip4_addr("127.0.0.1", backend->port, &address), 0);
    cr_assert_eq(uv_tcp_bind(&backend->listener, (struct sockaddr *)&address, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&backend->listener, 64, on_connection), 0);
    cr_assert_eq(uv_tcp_getsockname(&backend->listener, (struct sockaddr *)&address, &size), 0);
    backend->port = ntohs(address.sin_port);
    backend->listening = true;
}

void http_backend_stop(struct http_backend *backend)
{
    if (backend->listening)
        uv_close((uv_handle_t *)&backend->listener, NULL);
    backend->listening = false;
    for (struct http_connection *at = backend->connections; at != NULL; at = at->next)
        close_connection(at);
    while (backend->connections != NULL)
        (void)uv_run(backend->loop, UV_RUN_ONCE);
    (void)uv_run(backend->loop, UV_RUN_NOWAIT);
    free(backend->body);
    backend->body = NULL;
}
