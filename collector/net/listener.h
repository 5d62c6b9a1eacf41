/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets of one endpoint on the worker's loop. Of TCP, "localhost" listens on 127.0.0.1
 * and ::1 (one of them is enough); no host, or "[::]", on every address of both families; a name on
 * what it resolves to at the start. Or one unix socket (unix_socket.h; mode 0600 unless its place
 * says otherwise), whose peers have no address and whose file goes when the listener is closed.
 *
 * States: open → closed. When descriptors run out the listener rests for 100 ms: the connections
 * wait in the kernel's queue.
 */
#ifndef UT_NET_LISTENER_H
#define UT_NET_LISTENER_H

#include <sys/socket.h>

#include "loop/worker.h"
#include "model/address.h"
#include "net/unix_socket.h"

#define UT_LISTENER_SOCKETS 4

struct ut_listener;

struct ut_listener_ops {
    /* A connected, non-blocking socket, the callee's from now on. */
    void (*on_accept)(struct ut_listener *listener, int fd, const struct ut_endpoint *peer);
    /* All handles are closed; the owner may free the listener. */
    void (*on_closed)(struct ut_listener *listener);
};

struct ut_listener_socket {
    uv_poll_t poll;
    struct ut_listener *listener;
    int fd;
};

struct ut_listener {
    const struct ut_listener_ops *ops;
    struct ut_worker *worker;
    struct ut_listener_socket sockets[UT_LISTENER_SOCKETS];
    size_t count;   /* of sockets */
    size_t closing; /* handles whose close callback is to come */
    uint16_t port;  /* bound, host order; 0: a unix socket */
    struct ut_unix_place place;
    struct ut_unix_file file; /* none where it is TCP */
    bool closed;
    struct ut_timer rest;
    uint64_t exhausted; /* times that descriptors or memory ran out */
};

/* 0, or a negative errno with the reason in `error` (nothing is open then, on_closed does not
 * come). Port 0 takes a free one, the same for both families. */
int ut_listener_open(struct ut_listener *listener, struct ut_worker *worker, const char *endpoint,
                     const struct ut_listener_ops *ops, char *error, size_t error_size) UT_MUST_USE;
/* The same at a unix socket's place (copied). */
int ut_listener_open_unix(struct ut_listener *listener, struct ut_worker *worker,
                          const struct ut_unix_place *place, const struct ut_listener_ops *ops,
                          char *error, size_t error_size) UT_MUST_USE;
/* Accepts from the sockets that `from` has open, beside it: with either alone nothing changes for
 * who connects. Errors as above. */
int ut_listener_share(struct ut_listener *listener, const struct ut_listener *from,
                      const struct ut_listener_ops *ops, char *error,
                      size_t error_size) UT_MUST_USE;
/* The file of a unix socket is `listener`'s now, no longer that of `from`. */
void ut_listener_inherit(struct ut_listener *listener, struct ut_listener *from);
/* Stops accepting at once; on_closed follows. */
void ut_listener_close(struct ut_listener *listener);

#endif
