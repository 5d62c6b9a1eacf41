/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 backend for tests, on the test's own loop and a port of its own on loopback. It
 * answers with the very bytes that it is told to, and keeps what came.
 */
#ifndef UT_TEST_HTTP_BACKEND_H
#define UT_TEST_HTTP_BACKEND_H

#include <llhttp.h>
#include <stdbool.h>
#include <uv.h>

enum http_manner {
    HTTP_ANSWERS,
    HTTP_SILENT, /* reads and never answers */
    HTTP_CLOSES, /* closes the connection where the answer belongs */
    HTTP_STALE,  /* answers, and closes when the next request comes on the connection */
};

struct http_connection {
    uv_tcp_t tcp;
    struct http_backend *backend;
    llhttp_t parser;
    llhttp_settings_t settings;
    struct http_connection *next;
    bool closing;
    unsigned requests;
    bool in_value; /* of a header field */
};

struct http_backend {
    uv_loop_t *loop;
    uv_tcp_t listener;
    bool listening;
    int port;
    struct http_connection *connections;
    char read_buffer[1 << 16];
    /* Switches. */
    enum http_manner manner;
    const char *answer; /* NULL: 200 without a body */
    size_t endless;     /* so many bytes of body behind the answer */
    /* What was seen. */
    unsigned accepted, open, requests;
    char head[4096]; /* of the newest request: "name: value\n" in lower case, the path first */
    uint8_t *body;
    size_t body_size;
};

/* Listens on its port; the first time on a free one. */
void http_backend_start(struct http_backend *backend, uv_loop_t *loop);
/* Stops listening and closes every connection. */
void http_backend_stop(struct http_backend *backend);

#endif
