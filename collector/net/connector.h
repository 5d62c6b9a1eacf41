/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens one connection, over TCP or to a unix socket: the name is resolved off the loop
 * (getaddrinfo on libuv's threads; a numeric address needs none), then its addresses are tried in
 * turn, each with its share of the time that is left. The attempt as a whole ends by a deadline.
 *
 * Exactly one `done` for each start, never from inside start or cancel; after it nothing of the
 * connector is in use and it may be started again or freed.
 */
#ifndef UT_NET_CONNECTOR_H
#define UT_NET_CONNECTOR_H

#include <sys/socket.h>

#include "loop/worker.h"
#include "model/address.h"

#define UT_CONNECTOR_ADDRESSES 8
#define UT_CONNECTOR_WHERE 128 /* bytes, with the terminator */

struct ut_resolution;

struct ut_connector {
    /* The caller's. A connected, non-blocking socket `fd` that is the callee's, and `error` 0; or
     * -1 and a negative errno (-ETIMEDOUT, -ECANCELED, …) or one of libuv's UV_EAI_*. */
    void (*done)(struct ut_connector *connector, int fd, int error);
    char where[UT_CONNECTOR_WHERE]; /* "10.0.0.7:4317": the address tried last; "" before */

    struct ut_worker *worker;
    struct ut_resolution *resolution; /* NULL: none under way */
    struct sockaddr_storage addresses[UT_CONNECTOR_ADDRESSES];
    size_t count, next;
    uv_poll_t poll;
    struct ut_timer timer;
    struct ut_deferred finish;
    uint64_t deadline_ns; /* monotonic */
    int fd;
    int error;
    bool busy, polling, over;
};

/* `host` is a name, a numeric address, or a unix socket as "unix:///path"; it is copied. */
void ut_connector_start(struct ut_connector *connector, struct ut_worker *worker, const char *host,
                        uint16_t port, uint64_t timeout_ns);
/* Gives up: done(-ECANCELED) comes soon. Not busy: nothing. */
void ut_connector_cancel(struct ut_connector *connector);
/* The text for an `error` of done: "connection refused". */
const char *ut_connector_error_text(int error);
/* What to look at then, to be put behind that text: ": is the backend running…"; "" where the text
 * says it all. For any negative errno or UV_EAI_*. */
const char *ut_connector_advice(int error);

#endif
