/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The otlp receiver with TLS on both of its ports, and clients of OpenSSL's on real sockets. The
 * certificates are made for each test, in a folder of its own.
 */
#ifndef UT_TEST_TLS_HARNESS_H
#define UT_TEST_TLS_HARNESS_H

#include "certificates.h"
#include "http_harness.h"

struct tls_harness {
    struct harness base;
    uint16_t grpc_port, http_port;
    char folder[64];
    char cert[96], key[96], ca[96];
    struct test_identity authority;
    SSL_CTX *clients;
};

struct tls_client {
    int fd;
    SSL *ssl;
    bool ended;
    bool orderly; /* by close_notify */
    char in[64 << 10];
    size_t in_size;
};

/* A certificate of the harness's authority takes the place of the one before. */
static inline void tls_harness_certify(struct tls_harness *harness)
{
    struct test_identity server = test_identity_make(&(struct test_wish){
        .name = "server",
        .alternatives = "DNS:localhost,IP:127.0.0.1",
        .issuer = &harness->authority,
    });
    test_write_certificate(&server, harness->cert);
    test_write_key(&server, harness->key);
    test_identity_free(&server);
}

static inline void tls_harness_defaults(struct tls_harness *harness)
{
    http_harness_defaults(&harness->base);
    (void)snprintf(harness->folder, sizeof(harness->folder), "/tmp/undertrace-tls-XXXXXX");
    cr_assert_not_null(mkdtemp(harness->folder));
    (void)snprintf(harness->cert, sizeof(harness->cert), "%s/cert.pem", harness->folder);
    (void)snprintf(harness->key, sizeof(harness->key), "%s/key.pem", harness->folder);
    (void)snprintf(harness->ca, sizeof(harness->ca), "%s/ca.pem", harness->folder);
    harness->authority = test_identity_make(&(struct test_wish){.name = "authority"});
    test_write_certificate(&harness->authority, harness->ca);
    tls_harness_certify(harness);
    struct ut_tls_settings tls = {
        .cert_file = harness->cert,
        .key_file = harness->key,
        .min_version = UT_TLS_1_2,
        .max_version = UT_TLS_1_3,
    };
    struct ut_otlp_protocols *protocols = &harness->base.settings.protocols;
    protocols->grpc.tls = protocols->http.tls = tls;
    protocols->grpc.has_tls = protocols->http.has_tls = true;
    harness->clients = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_file(harness->clients, harness->ca);
    SSL_CTX_set_verify(harness->clients, SSL_VERIFY_PEER, NULL);
}

static inline void tls_harness_start(struct tls_harness *harness)
{
    harness_start(&harness->base, (size_t)64 << 20);
    struct ut_otlp_port *ports =
        UT_CONTAINER_OF(harness->base.receiver, struct ut_otlp_receiver, base)->ports;
    harness->grpc_port = ports[UT_TRANSPORT_GRPC].listener.port;
    harness->http_port = ports[UT_TRANSPORT_HTTP].listener.port;
}

static inline void tls_harness_done(struct tls_harness *harness)
{
    harness_done(&harness->base);
    SSL_CTX_free(harness->clients);
    test_identity_free(&harness->authority);
    unlink(harness->cert);
    unlink(harness->key);
    unlink(harness->ca);
    rmdir(harness->folder);
}

/* Whether the call is to be done again; else the connection has ended. */
static inline bool tls_again(struct tls_client *client, int result)
{
    int error = SSL_get_error(client->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return true;
    client->ended = true;
    client->orderly = error == SSL_ERROR_ZERO_RETURN;
    return false;
}

/* A client on that port that has shaken hands, or (ended) was refused. `alpn` may be NULL. */
static inline struct tls_client *tls_connect(struct tls_harness *harness, uint16_t port,
                                             const char *alpn)
{
    struct tls_client *client = calloc(1, sizeof(*client));
    cr_assert_not_null(client);
    harness->base.port = port;
    client->fd = harness_socket(&harness->base, false);
    client->ssl = SSL_new(harness->clients);
    if (alpn != NULL)
        SSL_set_alpn_protos(client->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    SSL_set_fd(client->ssl, client->fd);
    uint64_t start_ns = ut_clock_monotonic_ns();
    int result;
    while ((result = SSL_connect(client->ssl)) != 1 && tls_again(client, result)) {
        cr_assert(!harness_late(start_ns, 20), "a handshake ends");
        harness_turn(&harness->base);
    }
    return client;
}

static inline void tls_disconnect(struct tls_client *client)
{
    SSL_free(client->ssl);
    close(client->fd);
    free(client);
}

static inline void tls_send(struct tls_harness *harness, struct tls_client *client,
                            const void *bytes, size_t size)
{
    uint64_t start_ns = ut_clock_monotonic_ns();
    int result;
    while (size > 0 && (result = SSL_write(client->ssl, bytes, (int)size)) <= 0) {
        if (!tls_again(client, result) || harness_late(start_ns, 20))
            return;
        harness_turn(&harness->base);
    }
}

/* One turn of the loop; what has arrived is behind what was there. */
static inline void tls_turn(struct tls_harness *harness, struct tls_client *client)
{
    harness_turn(&harness->base);
    int got = SSL_read(client->ssl, client->in + client->in_size,
                       (int)(sizeof(client->in) - client->in_size));
    if (got > 0)
        client->in_size += (size_t)got;
    else
        (void)tls_again(client, got);
}

/* ---- HTTP/1.1 ------------------------------------------------------------------------------- */

/* The status of a POST of that body; 0: the connection ended without. */
static inline int tls_post(struct tls_harness *harness, struct tls_client *client, const void *body,
                           size_t size)
{
    char head[256];
    int length = snprintf(head, sizeof(head),
                          "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
                          "Content-Type: application/x-protobuf\r\nContent-Length: %zu\r\n\r\n",
                          size);
    uint64_t start_ns = ut_clock_monotonic_ns();
    client->in_size = 0;
    tls_send(harness, client, head, (size_t)length);
    tls_send(harness, client, body, size);
    while (memmem(client->in, client->in_size, "\r\n\r\n", 4) == NULL) {
        if (client->ended || harness_late(start_ns, 20))
            return 0;
        tls_turn(harness, client);
    }
    return (int)http_number(client->in + 9);
}

/* ---- gRPC ----------------------------------------------------------------------------------- */

static inline void tls_await(struct tls_harness *harness, struct tls_client *client,
                             struct grpc_peer *peer, const struct grpc_reply *reply)
{
    static uint8_t out[64 << 10];
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!reply->closed && !client->ended && !harness_late(start_ns, 20)) {
        tls_send(harness, client, out, grpc_peer_output(peer, out, sizeof(out)));
        client->in_size = 0;
        tls_turn(harness, client);
        cr_assert(grpc_peer_input(peer, (uint8_t *)client->in, client->in_size));
    }
    cr_assert(reply->closed, "an answer comes");
}

#endif
