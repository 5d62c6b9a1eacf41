/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States: idle → resolving → trying an address (again for each) → over → idle. `over` waits for the
 * poll handle to be closed; done comes at the end of the loop's turn.
 *
 * A resolution that has begun on its thread cannot be stopped: it is cut loose and frees itself.
 */
#include "net/connector.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/unix_socket.h"

struct ut_resolution {
    uv_getaddrinfo_t request;
    struct ut_connector *connector; /* NULL: cut loose */
};

static void try_next(struct ut_connector *connector);

static void finish_later(struct ut_connector *connector)
{
    ut_worker_defer(connector->worker, &connector->finish);
}

static void on_finish(struct ut_deferred *deferred)
{
    struct ut_connector *connector = UT_CONTAINER_OF(deferred, struct ut_connector, finish);
    ut_timer_cancel(&connector->worker->timers, &connector->timer);
    connector->busy = false;
    int fd = connector->fd;
    connector->fd = -1;
    connector->done(connector, fd, fd >= 0 ? 0 : connector->error);
}

static void drop_socket(struct ut_connector *connector)
{
    if (connector->fd >= 0)
        close(connector->fd);
    connector->fd = -1;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct ut_connector *connector = handle->data;
    connector->polling = false;
    if (connector->over)
        finish_later(connector);
    else
        try_next(connector);
}

/* The present address is done with; what follows comes when its handle is closed. */
static void leave_address(struct ut_connector *connector)
{
    uv_poll_stop(&connector->poll);
    uv_close((uv_handle_t *)&connector->poll, on_poll_closed);
}

/* On loopback a connect to a port that nobody listens on may meet itself. */
static bool met_itself(int fd)
{
    struct sockaddr_storage own = {0}, peer = {0};
    socklen_t own_size = sizeof(own), peer_size = sizeof(peer);
    return getsockname(fd, (struct sockaddr *)&own, &own_size) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 && own_size == peer_size &&
           memcmp(&own, &peer, own_size) == 0;
}

/* How the connect went. libuv's own status says no more than EBADF for any error on the socket. */
static int connect_result(int fd, int status)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -errno;
    if (error != 0)
        return -error;
    if (status != 0)
        return status;
    return met_itself(fd) ? -ECONNREFUSED : 0;
}

static void on_connected(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct ut_connector *connector = poll->data;
    if (uv_is_closing((uv_handle_t *)poll))
        return;
    int error = connect_result(connector->fd, status);
    connector->over = error == 0;
    leave_address(connector);
    if (error != 0) {
        connector->error = error;
        drop_socket(connector);
    }
}

static void on_timer(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_connector *connector = UT_CONTAINER_OF(timer, struct ut_connector, timer);
    connector->error = -ETIMEDOUT;
    if (connector->resolution != NULL) {
        connector->resolution->connector = NULL;
        (void)uv_cancel((uv_req_t *)&connector->resolution->request);
        connector->resolution = NULL;
        connector->over = true;
        finish_later(connector);
    } else if (connector->polling && !uv_is_closing((uv_handle_t *)&connector->poll)) {
        connector->over = now_ns >= connector->deadline_ns;
        leave_address(connector);
        drop_socket(connector);
    }
}

static void describe(struct ut_connector *connector, const struct sockaddr_storage *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (address->ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)address;
        bool is_abstract = un->sun_path[0] == '\0';
        (void)snprintf(connector->where, sizeof(connector->where), "unix:%s%.*s",
                       is_abstract ? "@" : "", (int)sizeof(un->sun_path) - is_abstract,
                       un->sun_path + is_abstract);
        return;
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        (void)snprintf(connector->where, sizeof(connector->where), "[%s]:%u", text,
                       ntohs(in6->sin6_port));
        return;
    }
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    (void)snprintf(connector->where, sizeof(connector->where), "%s:%u", text, ntohs(in->sin_port));
}

static socklen_t size_of(const struct sockaddr_storage *address)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)address;
    if (address->ss_family == AF_INET6)
        return sizeof(struct sockaddr_in6);
    if (address->ss_family == AF_INET)
        return sizeof(struct sockaddr_in);
    /* The name of an abstract socket has no end but this. */
    size_t path = un->sun_path[0] != '\0' ? sizeof(un->sun_path)
                                          : 1 + strnlen(un->sun_path + 1, sizeof(un->sun_path) - 1);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path);
}

/* A socket that is connecting to the address, or a negative errno. */
static int begin_connect(const struct sockaddr_storage *address)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    if (address->ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    socklen_t size = size_of(address);
    if (connect(fd, (const struct sockaddr *)address, size) == 0 || errno == EINPROGRESS)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

static int watch_connect(struct ut_connector *connector, const struct sockaddr_storage *address)
{
    int fd = begin_connect(address);
    if (fd < 0)
        return fd;
    int error = uv_poll_init(&connector->worker->uv, &connector->poll, fd);
    if (error != 0) {
        close(fd);
        return error;
    }
    connector->fd = fd;
    connector->polling = true;
    connector->poll.data = connector;
    UT_CHECK(uv_poll_start(&connector->poll, UV_WRITABLE, on_connected) == 0);
    return 0;
}

static void try_next(struct ut_connector *connector)
{
    uint64_t now = ut_worker_now(connector->worker);
    while (connector->next < connector->count && now < connector->deadline_ns) {
        uint64_t share = (connector->deadline_ns - now) / (connector->count - connector->next);
        const struct sockaddr_storage *address = &connector->addresses[connector->next++];
        describe(connector, address);
        int error = watch_connect(connector, address);
        if (error == 0) {
            ut_timer_set(&connector->worker->timers, &connector->timer, now + share);
            return;
        }
        connector->error = error;
    }
    connector->over = true;
    finish_later(connector);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct ut_resolution *resolution = UT_CONTAINER_OF(request, struct ut_resolution, request);
    struct ut_connector *connector = resolution->connector;
    free(resolution);
    if (connector != NULL) {
        connector->resolution = NULL;
        connector->error = status != 0 ? status : -EADDRNOTAVAIL;
        for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
            if (connector->count < UT_CONNECTOR_ADDRESSES &&
                at->ai_addrlen <= sizeof(connector->addresses[0]))
                memcpy(&connector->addresses[connector->count++], at->ai_addr, at->ai_addrlen);
        }
        try_next(connector);
    }
    uv_freeaddrinfo(found);
}

static int resolve(struct ut_connector *connector, const char *host, uint16_t port)
{
    struct ut_resolution *resolution = calloc(1, sizeof(*resolution));
    if (resolution == NULL)
        return -ENOMEM;
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    resolution->connector = connector;
    int error = uv_getaddrinfo(&connector->worker->uv, &resolution->request, on_resolved, host,
                               service, &hints);
    if (error != 0) {
        free(resolution);
        return error;
    }
    connector->resolution = resolution;
    return 0;
}

static bool take_numeric(struct ut_connector *connector, const char *host, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
        memcpy(&connector->addresses[0], &in, sizeof(in));
    else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
        memcpy(&connector->addresses[0], &in6, sizeof(in6));
    else
        return false;
    connector->count = 1;
    return true;
}

static bool take_unix(struct ut_connector *connector, const char *host)
{
    struct ut_unix_place place;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (!ut_unix_is_endpoint(host) || ut_unix_place_parse(&place, host, NULL) != 0)
        return false;
    size_t room = sizeof(un.sun_path) - place.is_abstract;
    memcpy(un.sun_path + place.is_abstract, place.path, strnlen(place.path, room));
    memcpy(&connector->addresses[0], &un, sizeof(un));
    connector->count = 1;
    return true;
}

void ut_connector_start(struct ut_connector *connector, struct ut_worker *worker, const char *host,
                        uint16_t port, uint64_t timeout_ns)
{
    UT_CHECK(!connector->busy);
    uint64_t now = ut_worker_now(worker);
    *connector = (struct ut_connector){
        .done = connector->done,
        .worker = worker,
        .timer = {.fire = on_timer},
        .finish = {.run = on_finish},
        .deadline_ns = now + timeout_ns,
        .fd = -1,
        .busy = true,
    };
    if (take_unix(connector, host) || take_numeric(connector, host, port)) {
        try_next(connector);
        return;
    }
    connector->error = resolve(connector, host, port);
    if (connector->error == 0) {
        ut_timer_set(&worker->timers, &connector->timer, connector->deadline_ns);
        return;
    }
    connector->over = true;
    finish_later(connector);
}

void ut_connector_cancel(struct ut_connector *connector)
{
    if (!connector->busy)
        return;
    connector->error = -ECANCELED;
    connector->over = true;
    if (connector->resolution != NULL) {
        connector->resolution->connector = NULL;
        (void)uv_cancel((uv_req_t *)&connector->resolution->request);
        connector->resolution = NULL;
        finish_later(connector);
    } else if (connector->polling && !uv_is_closing((uv_handle_t *)&connector->poll)) {
        leave_address(connector);
    }
    drop_socket(connector);
}

const char *ut_connector_error_text(int error)
{
    return uv_strerror(error);
}

const char *ut_connector_advice(int error)
{
    static const struct {
        int error;
        const char *advice;
    } rows[] = {
        {-ECONNREFUSED, ": nobody listens there: is the backend running, and is the port right?"},
        {-ENOENT, ": there is no such socket: is the backend running, and is the path right?"},
        {-EACCES, ": we may not: look at the owner and the mode of the socket"},
        {-ETIMEDOUT, ": is the host up, and does no firewall stand between?"},
        {-EHOSTUNREACH, ": no way leads there from here: look at routes and firewalls"},
        {-ENETUNREACH, ": no way leads there from here: look at routes and firewalls"},
        {-EMFILE, ": raise the limit of open files of the process (LimitNOFILE=, ulimit -n)"},
        {-ENFILE, ": the whole host has too many files open (sysctl fs.file-max)"},
        {-EADDRNOTAVAIL, ": no local port is free for it (sysctl net.ipv4.ip_local_port_range)"},
        {UV_EAI_NONAME, ": is the name in the endpoint right?"},
        {UV_EAI_NODATA, ": is the name in the endpoint right?"},
        {UV_EAI_AGAIN, ": no name server answers: look at /etc/resolv.conf and the network"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].error == error)
            return rows[i].advice;
    }
    return "";
}
