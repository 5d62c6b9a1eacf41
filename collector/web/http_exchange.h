/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 of one connection, without sockets: bytes in, bytes out. It serves a fixed table of
 * paths to GET and HEAD, or to POST; keep-alive and pipelined requests are answered in order.
 * Whoever owns the connection feeds it and sends what is pending.
 *
 * Limits: UT_HTTP_HEAD_MAX bytes of a request's line and headers (431), UT_HTTP_BODY_MAX bytes of a
 * body, which is read and forgotten (413), UT_HTTP_OUTPUT_MAX bytes of answers that wait (the
 * connection ends). After an error the connection ends once its answer is sent.
 */
#ifndef UT_WEB_HTTP_EXCHANGE_H
#define UT_WEB_HTTP_EXCHANGE_H

#include <llhttp.h>
#include <stdbool.h>

#include "base/slice.h"

#define UT_HTTP_HEAD_MAX ((size_t)8 << 10)
#define UT_HTTP_PATH_MAX 128
#define UT_HTTP_BODY_MAX ((size_t)16 << 10)
#define UT_HTTP_OUTPUT_MAX ((size_t)4 << 20)

struct ut_http_response {
    int status;
    const char *content_type; /* constant */
    char *body;               /* from malloc, taken over; NULL: status 500 */
    size_t size;
};

struct ut_http_route {
    const char *path; /* NULL ends the table */
    void (*serve)(void *arg, struct ut_http_response *response);
    bool acts; /* it is asked for by POST; the others by GET or HEAD */
};

struct ut_http_exchange {
    llhttp_t parser;
    const struct ut_http_route *routes;
    void *arg; /* for `serve` */
    char path[UT_HTTP_PATH_MAX];
    size_t path_size; /* beyond UT_HTTP_PATH_MAX: too long, known nowhere */
    size_t head_size, body_size;
    const char *allowed; /* methods, of the path that was asked for last */
    int refusal;         /* status to answer with instead, 0: none */
    bool in_request;     /* from the first byte of a request until its answer is ready */
    bool ending;         /* nothing more is read */
    char *output;        /* from malloc; bytes sent … output_size are pending */
    size_t output_size, output_capacity, sent;
};

void ut_http_exchange_init(struct ut_http_exchange *exchange, const struct ut_http_route *routes,
                           void *arg);
void ut_http_exchange_done(struct ut_http_exchange *exchange);

/* Takes bytes from the peer. 0, or a negative errno: what is pending is still to be sent, then the
 * connection ends. */
int ut_http_exchange_take(struct ut_http_exchange *exchange, ut_slice bytes);
/* The bytes to send next; the same ones until they are consumed. */
ut_slice ut_http_exchange_pending(const struct ut_http_exchange *exchange);
void ut_http_exchange_consumed(struct ut_http_exchange *exchange, size_t bytes);

#endif
