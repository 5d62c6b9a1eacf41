/* SPDX-License-Identifier: Apache-2.0 */
#include "web/http_exchange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

/* A refusal without an answer: the answer itself found no room. */
enum { NO_ANSWER = -1 };

static struct ut_http_exchange *exchange_of(llhttp_t *parser)
{
    return parser->data;
}

/* ---- answers --------------------------------------------------------------------------------- */

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

static int append(struct ut_http_exchange *exchange, const char *data, size_t size)
{
    if (size > UT_HTTP_OUTPUT_MAX - exchange->output_size)
        return -ENOBUFS;
    if (exchange->output_size + size > exchange->output_capacity) {
        size_t capacity = exchange->output_size + size;
        char *output = realloc(exchange->output, capacity);
        if (output == NULL)
            return -ENOMEM;
        exchange->output = output;
        exchange->output_capacity = capacity;
    }
    if (size != 0)
        memcpy(exchange->output + exchange->output_size, data, size);
    exchange->output_size += size;
    return 0;
}

static int append_answer(struct ut_http_exchange *exchange, const struct ut_http_response *response,
                         bool keep_alive)
{
    char head[256];
    bool has_body = exchange->parser.method != HTTP_HEAD || exchange->refusal != 0;
    bool refused = response->status == 405;
    int size = snprintf(head, sizeof(head),
                        "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                        "Cache-Control: no-store\r\n%s%s%s%s\r\n",
                        response->status, reason_of(response->status), response->content_type,
                        response->size, refused ? "Allow: " : "", refused ? exchange->allowed : "",
                        refused ? "\r\n" : "", keep_alive ? "" : "Connection: close\r\n");
    UT_CHECK(size > 0 && (size_t)size < sizeof(head));
    int error = append(exchange, head, (size_t)size);
    if (error == 0 && has_body)
        error = append(exchange, response->body, response->size);
    return error;
}

static int answer_with(struct ut_http_exchange *exchange, int status, bool keep_alive)
{
    char text[64];
    snprintf(text, sizeof(text), "%d %s\n", status, reason_of(status));
    struct ut_http_response response = {
        .status = status,
        .content_type = "text/plain; charset=utf-8",
        .body = text,
        .size = strlen(text),
    };
    return append_answer(exchange, &response, keep_alive);
}

static const struct ut_http_route *find_route(const struct ut_http_exchange *exchange)
{
    if (exchange->path_size >= UT_HTTP_PATH_MAX)
        return NULL;
    size_t size = strcspn(exchange->path, "?#"); /* a query changes nothing */
    for (const struct ut_http_route *route = exchange->routes; route->path != NULL; route++) {
        if (strlen(route->path) == size && memcmp(route->path, exchange->path, size) == 0)
            return route;
    }
    return NULL;
}

static int answer(struct ut_http_exchange *exchange, bool keep_alive)
{
    const struct ut_http_route *route = find_route(exchange);
    int method = exchange->parser.method;
    if (route == NULL)
        return answer_with(exchange, 404, keep_alive);
    exchange->allowed = route->acts ? "POST" : "GET, HEAD";
    if (route->acts ? method != HTTP_POST : method != HTTP_GET && method != HTTP_HEAD)
        return answer_with(exchange, 405, keep_alive);
    struct ut_http_response response = {.status = 200, .content_type = "text/plain; charset=utf-8"};
    route->serve(exchange->arg, &response);
    if (response.body == NULL)
        return answer_with(exchange, 500, keep_alive);
    int error = append_answer(exchange, &response, keep_alive);
    free(response.body);
    return error;
}

/* ---- what the parser finds --------------------------------------------------------------------
 */

/* Refuses the request; the parser stops, and ut_http_exchange_take answers. */
static int refuse(struct ut_http_exchange *exchange, int status)
{
    exchange->refusal = status;
    return HPE_USER;
}

static int on_message_begin(llhttp_t *parser)
{
    struct ut_http_exchange *exchange = exchange_of(parser);
    memset(exchange->path, 0, sizeof(exchange->path));
    exchange->path_size = exchange->head_size = exchange->body_size = 0;
    exchange->in_request = true;
    return 0;
}

static int on_head_bytes(llhttp_t *parser, const char *data, size_t size)
{
    (void)data;
    struct ut_http_exchange *exchange = exchange_of(parser);
    exchange->head_size += size;
    return exchange->head_size > UT_HTTP_HEAD_MAX ? refuse(exchange, 431) : 0;
}

/* An empty header would count nothing; each costs its separators at least. */
static int on_field_complete(llhttp_t *parser)
{
    return on_head_bytes(parser, NULL, 4);
}

static int on_url(llhttp_t *parser, const char *data, size_t size)
{
    struct ut_http_exchange *exchange = exchange_of(parser);
    if (exchange->path_size + size < UT_HTTP_PATH_MAX)
        memcpy(exchange->path + exchange->path_size, data, size);
    exchange->path_size += size;
    return on_head_bytes(parser, data, size);
}

static int on_body(llhttp_t *parser, const char *data, size_t size)
{
    (void)data;
    struct ut_http_exchange *exchange = exchange_of(parser);
    exchange->body_size += size;
    return exchange->body_size > UT_HTTP_BODY_MAX ? refuse(exchange, 413) : 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct ut_http_exchange *exchange = exchange_of(parser);
    bool keep_alive = llhttp_should_keep_alive(parser) != 0;
    exchange->in_request = false;
    if (answer(exchange, keep_alive) != 0)
        return refuse(exchange, NO_ANSWER);
    exchange->ending = !keep_alive;
    return keep_alive ? 0 : HPE_PAUSED;
}

static const llhttp_settings_t parser_settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_head_bytes,
    .on_header_value = on_head_bytes,
    .on_header_value_complete = on_field_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- bytes ----------------------------------------------------------------------------------- */

void ut_http_exchange_init(struct ut_http_exchange *exchange, const struct ut_http_route *routes,
                           void *arg)
{
    *exchange = (struct ut_http_exchange){.routes = routes, .arg = arg};
    llhttp_init(&exchange->parser, HTTP_REQUEST, &parser_settings);
    exchange->parser.data = exchange;
}

void ut_http_exchange_done(struct ut_http_exchange *exchange)
{
    free(exchange->output);
    exchange->output = NULL;
    exchange->output_size = exchange->output_capacity = exchange->sent = 0;
}

/* The parser stopped at an error or a refusal. */
static int end_with_error(struct ut_http_exchange *exchange)
{
    exchange->ending = true;
    if (exchange->refusal == NO_ANSWER)
        return -ENOBUFS;
    if (exchange->refusal == 0)
        exchange->refusal = 400;
    (void)answer_with(exchange, exchange->refusal, false);
    return -EBADMSG;
}

int ut_http_exchange_take(struct ut_http_exchange *exchange, ut_slice bytes)
{
    const char *data = (const char *)bytes.data;
    const char *end = data + bytes.size;
    while (data < end && !exchange->ending) {
        llhttp_errno_t code = llhttp_execute(&exchange->parser, data, (size_t)(end - data));
        if (code == HPE_OK || exchange->ending)
            break;
        if (code != HPE_PAUSED_UPGRADE)
            return end_with_error(exchange);
        /* `Upgrade: h2c` is an offer that HTTP/1.1 may leave aside: the connection goes on. */
        data = llhttp_get_error_pos(&exchange->parser);
        llhttp_resume_after_upgrade(&exchange->parser);
    }
    return exchange->ending ? -ECONNRESET : 0;
}

ut_slice ut_http_exchange_pending(const struct ut_http_exchange *exchange)
{
    return ut_slice_of(exchange->output + exchange->sent, exchange->output_size - exchange->sent);
}

void ut_http_exchange_consumed(struct ut_http_exchange *exchange, size_t bytes)
{
    exchange->sent += bytes;
    UT_CHECK(exchange->sent <= exchange->output_size);
    if (exchange->sent == exchange->output_size)
        ut_http_exchange_done(exchange); /* an idle connection keeps no memory */
}
