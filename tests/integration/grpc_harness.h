/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real worker, a real otlp receiver on a free port, and a stub pipeline behind it, in one thread:
 * harness_turn runs one turn of the loop. Clients are grpc_peer sessions over real sockets.
 */
#ifndef UT_TEST_GRPC_HARNESS_H
#define UT_TEST_GRPC_HARNESS_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "grpc_peer.h"
#include "otlp_receiver/receiver.h"
#include "stub_target.h"

struct harness {
    struct ut_worker worker;
    struct ut_metrics *metrics;
    struct ut_otlp_receiver_settings settings;
    const struct ut_extension *extensions; /* of the configuration */
    size_t extension_count;
    const struct ut_config_identity *identity;
    struct ut_receiver *receiver;
    struct stub_target target;
    uint16_t port;
    bool stopped;
};

struct harness_client {
    struct grpc_peer peer;
    int fd;
    bool ended; /* by the server */
    uint8_t out[64 << 10];
    size_t out_size, out_sent;
};

static inline void harness_defaults(struct harness *harness, const char *endpoint)
{
    memset(harness, 0, sizeof(*harness));
    harness->settings.has_protocols = harness->settings.protocols.has_grpc = true;
    struct ut_otlp_grpc_settings *grpc = &harness->settings.protocols.grpc;
    grpc->endpoint = (char *)(uintptr_t)endpoint;
    grpc->max_recv_msg_size_mib = 64;
    grpc->limits.max_concurrent_streams = 128;
    grpc->limits.max_connections = 64;
    grpc->limits.max_header_bytes = 16 << 10;
    grpc->limits.max_header_fields = 128;
    grpc->handshake_timeout_ns = 10 * UT_NS_PER_S;
    grpc->keepalive.server_parameters.max_connection_age_grace_ns = 60 * UT_NS_PER_S;
    grpc->keepalive.enforcement_policy.permit_without_stream = true;
    grpc->limits.read_timeout_ns = 60 * UT_NS_PER_S;
    grpc->limits.write_timeout_ns = 30 * UT_NS_PER_S;
    grpc->limits.receive_grace_ns = 10 * UT_NS_PER_S;
}

static inline int harness_try_start(struct harness *harness, size_t budget,
                                    char error[UT_ERROR_TEXT])
{
    harness->metrics = ut_metrics_new();
    cr_assert_eq(ut_worker_init(&harness->worker, budget, NULL, harness->metrics), 0);
    harness->target.base.push = stub_push;
    const struct ut_build build = {
        .id = "otlp",
        .config = &harness->settings,
        .worker = &harness->worker,
        .extensions = harness->extensions,
        .extension_count = harness->extension_count,
        .identity = harness->identity,
    };
    harness->receiver = NULL;
    int code = ut_receiver_otlp.create(&harness->receiver, &build, &harness->target.base, NULL);
    return code == 0 ? ut_receiver_otlp.start(harness->receiver, error) : code;
}

static inline void harness_start(struct harness *harness, size_t budget)
{
    char error[UT_ERROR_TEXT] = "";
    cr_assert_eq(harness_try_start(harness, budget, error), 0, "%s", error);
    harness->port = UT_CONTAINER_OF(harness->receiver, struct ut_otlp_receiver, base)
                        ->ports[UT_TRANSPORT_GRPC]
                        .listener.port;
}

static inline void harness_turn(struct harness *harness)
{
    (void)uv_run(&harness->worker.uv, UV_RUN_NOWAIT);
}

static inline void harness_on_stopped(void *arg)
{
    ((struct harness *)arg)->stopped = true;
}

static inline bool harness_late(uint64_t start_ns, uint64_t seconds)
{
    return ut_clock_monotonic_ns() - start_ns > seconds * UT_NS_PER_S;
}

static inline void harness_wait_stopped(struct harness *harness)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!harness->stopped && !harness_late(start_ns, 10))
        harness_turn(harness);
    cr_assert(harness->stopped, "the receiver stops");
}

static inline void harness_done(struct harness *harness)
{
    ut_receiver_otlp.stop(harness->receiver, harness_on_stopped, harness);
    harness_wait_stopped(harness);
    stub_release(&harness->target);
    ut_receiver_otlp.free(harness->receiver);
    cr_assert_eq(harness->worker.budget.used, 0, "every charge was given back");
    ut_worker_done(&harness->worker);
    ut_metrics_free(harness->metrics);
}

static inline int harness_socket(const struct harness *harness, bool v6)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(harness->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(harness->port)};
    in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in6.sin6_addr = in6addr_loopback;
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    int result = v6 ? connect(fd, (struct sockaddr *)&in6, sizeof(in6))
                    : connect(fd, (struct sockaddr *)&in4, sizeof(in4));
    cr_assert_eq(result, 0, "connect: %s", strerror(errno));
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static inline struct harness_client *harness_connect(const struct harness *harness, bool v6)
{
    struct harness_client *client = calloc(1, sizeof(*client));
    cr_assert_not_null(client);
    grpc_peer_init(&client->peer);
    client->fd = harness_socket(harness, v6);
    return client;
}

static inline void harness_disconnect(struct harness_client *client)
{
    close(client->fd);
    grpc_peer_done(&client->peer);
    free(client);
}

/* Moves what can be moved, both ways. */
static inline void client_turn(struct harness_client *client)
{
    if (client->out_sent == client->out_size) {
        client->out_size = grpc_peer_output(&client->peer, client->out, sizeof(client->out));
        client->out_sent = 0;
    }
    if (client->out_size > client->out_sent) {
        ssize_t sent = send(client->fd, client->out + client->out_sent,
                            client->out_size - client->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        client->out_sent += sent > 0 ? (size_t)sent : 0;
    }
    uint8_t in[16 << 10];
    ssize_t got = recv(client->fd, in, sizeof(in), MSG_DONTWAIT);
    if (got > 0)
        cr_assert(grpc_peer_input(&client->peer, in, (size_t)got), "the server keeps the protocol");
    else if (got == 0 || errno != EAGAIN)
        client->ended = true;
}

static inline void harness_turns(struct harness *harness, struct harness_client *client, int turns)
{
    for (int i = 0; i < turns; i++) {
        client_turn(client);
        harness_turn(harness);
    }
}

/* Runs until the stream of `reply` is closed, at most 20 s. */
static inline void harness_await(struct harness *harness, struct harness_client *client,
                                 const struct grpc_reply *reply)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!reply->closed && !client->ended && !harness_late(start_ns, 20))
        harness_turns(harness, client, 1);
    cr_assert(reply->closed, "an answer comes (stream %d)", reply->stream);
}

/* Value of a counter of the receiver, by its name and further labels. */
static inline double harness_metric(const struct harness *harness, const char *line)
{
    size_t size;
    char *text = ut_metrics_text(harness->metrics, &size);
    cr_assert_not_null(text);
    const char *found = strstr(text, line);
    double value = found != NULL ? strtod(strchr(found, '}') + 2, NULL) : -1;
    free(text);
    return value;
}

#endif
