/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 server on the worker's loop, for people and scrapers: on a TCP endpoint or on a
 * unix socket. It never competes with the data path for more than UT_HTTP_CONNECTIONS_MAX
 * connections; a further one takes the place of the one that has been idle longest, or is closed.
 *
 * A request has UT_HTTP_REQUEST_MS from its first byte to its answer's last one; an idle connection
 * is closed after UT_HTTP_IDLE_MS.
 */
#ifndef UT_WEB_HTTP_SERVER_H
#define UT_WEB_HTTP_SERVER_H

#include "loop/worker.h"
#include "web/http_exchange.h"

#define UT_HTTP_CONNECTIONS_MAX 32
#define UT_HTTP_REQUEST_MS 10000
#define UT_HTTP_IDLE_MS 60000

struct ut_http_server;

/* `routes` and `arg` live as long as the server. NULL when out of memory. */
struct ut_http_server *ut_http_server_new(struct ut_worker *worker,
                                          const struct ut_http_route *routes,
                                          void *arg) UT_MUST_USE;
/* On TCP or a unix socket (mode 0600), once per server. 0, or a negative errno with the reason in
 * `error`. */
int ut_http_server_listen(struct ut_http_server *server, const char *endpoint, char *error,
                          size_t error_size) UT_MUST_USE;
/* The bound TCP port, 0 for a unix socket. */
uint16_t ut_http_server_port(const struct ut_http_server *server);
/* Closes everything; the server frees itself once its handles are gone. A unix socket's file is
 * removed. NULL is fine. */
void ut_http_server_close(struct ut_http_server *server);

#endif
