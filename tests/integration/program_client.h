/* SPDX-License-Identifier: Apache-2.0 */
/* Sends spans to the program under test, over gRPC. */
#ifndef UT_TEST_PROGRAM_CLIENT_H
#define UT_TEST_PROGRAM_CLIENT_H

#include "grpc_peer.h"
#include "otlp_builder.h"
#include "program_harness.h"

/* A connection that sends spans. */
struct program_client {
    int fd;
    struct grpc_peer peer;
};

static inline void program_client_open(struct program_client *client, uint16_t port)
{
    client->fd = program_connect(port);
    grpc_peer_init(&client->peer);
}

static inline void program_client_close(struct program_client *client)
{
    grpc_peer_done(&client->peer);
    close(client->fd);
}

/* Sends `count` spans in one request and waits for the answer; returns its gRPC status, -1 if the
 * connection ended. */
static inline int program_client_send(struct program_client *client, unsigned count)
{
    static uint8_t bytes[64 << 10];
    struct otlp_bytes request = {0};
    size_t resource_spans = otlp_begin(&request, 1);
    size_t scope_spans = otlp_begin(&request, 2);
    for (unsigned i = 1; i <= count; i++)
        otlp_span(&request, &(struct otlp_span){.trace_id = i, .span_id = i, .name = "a span"});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);

    struct grpc_reply *reply = grpc_peer_export(&client->peer, request.data, request.size);
    while (!reply->closed) {
        size_t size;
        while ((size = grpc_peer_output(&client->peer, bytes, sizeof(bytes))) > 0)
            cr_assert_eq(send(client->fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
        ssize_t got = reply->closed ? 0 : recv(client->fd, bytes, sizeof(bytes), 0);
        if (got <= 0 || !grpc_peer_input(&client->peer, bytes, (size_t)got))
            break;
    }
    otlp_free(&request);
    return reply->closed ? reply->grpc_status : -1;
}

/* The same over a connection of its own. */
static inline int program_send_spans(uint16_t port, unsigned count)
{
    struct program_client client;
    program_client_open(&client, port);
    int status = program_client_send(&client, count);
    program_client_close(&client);
    return status;
}

#endif
