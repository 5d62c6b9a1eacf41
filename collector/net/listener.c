/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/endpoint.h"

enum { ACCEPTS_PER_TURN = 64, BACKLOG = 1024 };

#define REST_NS (100 * UT_NS_PER_MS)

static void on_readable(uv_poll_t *poll, int status, int events);

static void watch_all(struct ut_listener *listener, bool accepting)
{
    for (size_t i = 0; i < listener->count; i++) {
        uv_poll_t *poll = &listener->sockets[i].poll;
        if (accepting)
            UT_CHECK(uv_poll_start(poll, UV_READABLE, on_readable) == 0);
        else
            uv_poll_stop(poll);
    }
}

static void on_rested(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    watch_all(UT_CONTAINER_OF(timer, struct ut_listener, rest), true);
}

static void rest(struct ut_listener *listener, int error)
{
    struct ut_worker *worker = listener->worker;
    listener->exhausted++;
    ut_log(worker->log, UT_LOG_WARN, "accept_paused",
           "reason=\"%s\" port=%u text=\"connections wait unaccepted; descriptors are short where "
           "RLIMIT_NOFILE (LimitNOFILE, ulimit -n) is low or connections are many\"",
           strerror(error), listener->port);
    watch_all(listener, false);
    ut_timer_set(&worker->timers, &listener->rest, ut_worker_now(worker) + REST_NS);
}

static struct ut_endpoint endpoint_of(const struct sockaddr_storage *name)
{
    struct ut_endpoint endpoint = {0};
    if (name->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)name;
        endpoint.address = ut_address_v4((const uint8_t *)&v4->sin_addr);
        endpoint.port = ntohs(v4->sin_port);
    } else if (name->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)name;
        memcpy(endpoint.address.bytes, &v6->sin6_addr, sizeof(endpoint.address.bytes));
        endpoint.port = ntohs(v6->sin6_port);
    }
    return endpoint;
}

/* 1: accepted one or may try again; 0: nothing is waiting; or a negative errno. */
static int accept_one(struct ut_listener_socket *socket)
{
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof(name);
    int fd = accept4(socket->fd, (struct sockaddr *)&name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno == EAGAIN)
        return 0;
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
        return -errno;
    if (fd < 0) /* an error of that one connection, accept(2) */
        return 1;
    struct ut_endpoint peer = endpoint_of(&name);
    socket->listener->ops->on_accept(socket->listener, fd, &peer);
    return 1;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct ut_listener_socket *socket = poll->data;
    int more = status < 0 ? status : 1;
    for (int i = 0; i < ACCEPTS_PER_TURN && more > 0 && !socket->listener->closed; i++)
        more = accept_one(socket);
    if (more < 0 && !socket->listener->closed)
        rest(socket->listener, -more);
}

/* A bound and listening socket, or a negative errno. */
static int listen_on(const struct sockaddr *address, socklen_t size, bool both_families)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1, v6_only = !both_families;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* Accepted sockets inherit it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    bool bound = true;
    if (address->sa_family == AF_INET6)
        bound = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) == 0;
    if (!bound || bind(fd, address, size) != 0 || listen(fd, BACKLOG) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static int add_socket(struct ut_listener *listener, const struct sockaddr *address, socklen_t size,
                      bool both_families)
{
    if (listener->count == UT_LISTENER_SOCKETS)
        return -ENOSPC;
    int fd = listen_on(address, size, both_families);
    if (fd < 0)
        return fd;
    struct sockaddr_storage name = {0};
    socklen_t name_size = sizeof(name);
    (void)getsockname(fd, (struct sockaddr *)&name, &name_size);
    listener->port = endpoint_of(&name).port;
    listener->sockets[listener->count++].fd = fd;
    return 0;
}

static int add_v4(struct ut_listener *listener, uint32_t address, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    v4.sin_addr.s_addr = htonl(address);
    return add_socket(listener, (struct sockaddr *)&v4, sizeof(v4), false);
}

static int add_v6(struct ut_listener *listener, struct in6_addr address, uint16_t port, bool both)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    v6.sin6_addr = address;
    return add_socket(listener, (struct sockaddr *)&v6, sizeof(v6), both);
}

/* A family that this host does not have is no error as long as the other one is there. */
static bool is_missing_family(int error)
{
    return error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT;
}

static int add_localhost(struct ut_listener *listener, uint16_t port)
{
    int v4 = add_v4(listener, INADDR_LOOPBACK, port);
    if (v4 != 0 && !is_missing_family(v4))
        return v4;
    int v6 = add_v6(listener, in6addr_loopback, v4 == 0 ? listener->port : port, false);
    if (v6 == 0 || (v4 == 0 && is_missing_family(v6)))
        return 0;
    return v6;
}

static int add_any(struct ut_listener *listener, uint16_t port)
{
    int error = add_v6(listener, in6addr_any, port, true);
    return is_missing_family(error) ? add_v4(listener, INADDR_ANY, port) : error;
}

static int add_named(struct ut_listener *listener, const struct ut_endpoint_text *text)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", text->port);
    int code = getaddrinfo(text->host, service, &hints, &found);
    if (code != 0)
        return code == EAI_MEMORY ? -ENOMEM : code == EAI_SYSTEM ? -errno : -EADDRNOTAVAIL;
    int error = 0;
    for (struct addrinfo *a = found; a != NULL && error == 0; a = a->ai_next)
        error = add_socket(listener, a->ai_addr, a->ai_addrlen, false);
    freeaddrinfo(found);
    return error;
}

static int add_sockets(struct ut_listener *listener, const struct ut_endpoint_text *text)
{
    if (strcmp(text->host, "localhost") == 0)
        return add_localhost(listener, text->port);
    if (text->host[0] == '\0' || strcmp(text->host, "::") == 0)
        return add_any(listener, text->port);
    return add_named(listener, text);
}

static void on_closed(uv_handle_t *handle)
{
    struct ut_listener_socket *socket = handle->data;
    struct ut_listener *listener = socket->listener;
    if (--listener->closing == 0)
        listener->ops->on_closed(listener);
}

void ut_listener_close(struct ut_listener *listener)
{
    if (listener->closed)
        return;
    listener->closed = true;
    ut_unix_remove(&listener->place, &listener->file);
    ut_timer_cancel(&listener->worker->timers, &listener->rest);
    listener->closing = listener->count;
    for (size_t i = 0; i < listener->count; i++) {
        struct ut_listener_socket *socket = &listener->sockets[i];
        uv_poll_stop(&socket->poll);
        uv_close((uv_handle_t *)&socket->poll, on_closed);
        close(socket->fd);
    }
}

/* The loop knows the sockets only when all of them are bound, so an error before leaves no handle
 * behind. A socket that the loop cannot take is given up unless it is the only one. */
static int init_polls(struct ut_listener *listener)
{
    size_t ready = 0;
    int error = 0;
    for (size_t i = 0; i < listener->count; i++) {
        struct ut_listener_socket *socket = &listener->sockets[ready];
        socket->fd = listener->sockets[i].fd;
        socket->listener = listener;
        int result = uv_poll_init(&listener->worker->uv, &socket->poll, socket->fd);
        if (result != 0) {
            close(socket->fd);
            error = result;
            continue;
        }
        socket->poll.data = socket;
        ready++;
    }
    listener->count = ready;
    return ready > 0 ? 0 : error;
}

static void close_all(struct ut_listener *listener)
{
    for (size_t i = 0; i < listener->count; i++)
        close(listener->sockets[i].fd);
    listener->count = 0;
}

static int open_sockets(struct ut_listener *listener, const struct ut_endpoint_text *text)
{
    int error = add_sockets(listener, text);
    if (error == 0)
        return init_polls(listener);
    close_all(listener);
    return error;
}

int ut_listener_open_unix(struct ut_listener *listener, struct ut_worker *worker,
                          const struct ut_unix_place *place, const struct ut_listener_ops *ops,
                          char *error, size_t error_size)
{
    *listener = (struct ut_listener){
        .ops = ops,
        .worker = worker,
        .place = *place,
        .rest = {.fire = on_rested},
    };
    int fd = ut_unix_listen(place, &listener->file, error, error_size);
    if (fd < 0)
        return fd;
    listener->sockets[listener->count++].fd = fd;
    int result = init_polls(listener);
    if (result != 0) {
        ut_unix_remove(place, &listener->file);
        (void)snprintf(error, error_size, "cannot watch unix:%s: %s", place->path,
                       strerror(-result));
        return result;
    }
    watch_all(listener, true);
    return 0;
}

static int open_tcp(struct ut_listener *listener, const char *endpoint, const char **ret_reason)
{
    struct ut_endpoint_text text;
    int result = ut_endpoint_parse(&text, endpoint, 0, ret_reason);
    if (result == 0) {
        result = open_sockets(listener, &text);
        *ret_reason = strerror(-result);
    }
    return result;
}

int ut_listener_open(struct ut_listener *listener, struct ut_worker *worker, const char *endpoint,
                     const struct ut_listener_ops *ops, char *error, size_t error_size)
{
    struct ut_unix_place place;
    const char *reason = NULL;
    int result = 0;
    if (ut_unix_is_endpoint(endpoint)) {
        result = ut_unix_place_parse(&place, endpoint, &reason);
        if (result == 0)
            return ut_listener_open_unix(listener, worker, &place, ops, error, error_size);
    } else {
        *listener = (struct ut_listener){.ops = ops, .worker = worker, .rest = {.fire = on_rested}};
        result = open_tcp(listener, endpoint, &reason);
    }
    if (result != 0) {
        (void)snprintf(error, error_size, "cannot listen on %s: %s", endpoint, reason);
        return result;
    }
    watch_all(listener, true);
    return 0;
}

int ut_listener_share(struct ut_listener *listener, const struct ut_listener *from,
                      const struct ut_listener_ops *ops, char *error, size_t error_size)
{
    *listener = (struct ut_listener){
        .ops = ops,
        .worker = from->worker,
        .port = from->port,
        .place = from->place,
        .rest = {.fire = on_rested},
    };
    int result = 0;
    for (size_t i = 0; i < from->count && result == 0; i++) {
        int fd = fcntl(from->sockets[i].fd, F_DUPFD_CLOEXEC, 0);
        if (fd >= 0)
            listener->sockets[listener->count++].fd = fd;
        else
            result = -errno;
    }
    if (result == 0)
        result = init_polls(listener);
    else
        close_all(listener);
    if (result != 0) {
        (void)snprintf(error, error_size, "cannot share the listening socket: %s",
                       strerror(-result));
        return result;
    }
    watch_all(listener, true);
    return 0;
}

void ut_listener_inherit(struct ut_listener *listener, struct ut_listener *from)
{
    listener->file = from->file;
    from->file = (struct ut_unix_file){.inode = 0};
}
