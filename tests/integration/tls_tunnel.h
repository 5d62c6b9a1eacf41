/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for a client that knows none: its plain bytes go in at one end of a socket pair, and a thread
 * carries them through a TLS connection to the receiver, and the answers back.
 */
#ifndef UT_TEST_TLS_TUNNEL_H
#define UT_TEST_TLS_TUNNEL_H

#include <poll.h>
#include <pthread.h>

#include "tls_harness.h"

struct tls_tunnel {
    SSL *ssl;
    int plain, wire; /* both block */
    pthread_t thread;
};

/* They carry what is there at one end; false: it has ended. */
static inline bool tls_tunnel_out(struct tls_tunnel *tunnel)
{
    uint8_t bytes[16 << 10];
    ssize_t got = recv(tunnel->plain, bytes, sizeof(bytes), 0);
    return got > 0 && SSL_write(tunnel->ssl, bytes, (int)got) == got;
}

/* What has come may be a ticket, and no bytes for the client. */
static inline bool tls_tunnel_in(struct tls_tunnel *tunnel)
{
    uint8_t bytes[16 << 10];
    int got = SSL_read(tunnel->ssl, bytes, sizeof(bytes));
    if (got <= 0)
        return SSL_get_error(tunnel->ssl, got) == SSL_ERROR_WANT_READ;
    return send(tunnel->plain, bytes, (size_t)got, MSG_NOSIGNAL) == got;
}

static inline void *tls_tunnel_run(void *arg)
{
    struct tls_tunnel *tunnel = arg;
    struct pollfd ends[] = {{tunnel->plain, POLLIN, 0}, {tunnel->wire, POLLIN, 0}};
    bool open = SSL_connect(tunnel->ssl) == 1;
    while (open && poll(ends, 2, -1) > 0) {
        if (ends[1].revents != 0) {
            do
                open = tls_tunnel_in(tunnel);
            while (open && SSL_pending(tunnel->ssl) > 0);
        }
        if (open && ends[0].revents != 0)
            open = tls_tunnel_out(tunnel);
    }
    SSL_shutdown(tunnel->ssl);
    shutdown(tunnel->wire, SHUT_WR);
    close(tunnel->plain);
    return NULL;
}

/* Takes the connected socket over; the client's end, which does not block. `alpn` may be NULL. */
static inline int tls_tunnel_open(struct tls_tunnel *tunnel, struct tls_harness *harness, int wire,
                                  const char *alpn)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(wire, F_SETFL, 0);
    tunnel->plain = ends[1];
    tunnel->wire = wire;
    tunnel->ssl = SSL_new(harness->clients);
    if (alpn != NULL)
        SSL_set_alpn_protos(tunnel->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    SSL_set_fd(tunnel->ssl, wire);
    /* A read that met a ticket alone would wait for more, with the request not sent yet. */
    SSL_clear_mode(tunnel->ssl, SSL_MODE_AUTO_RETRY);
    cr_assert_eq(pthread_create(&tunnel->thread, NULL, tls_tunnel_run, tunnel), 0);
    return ends[0];
}

/* The client has closed its end. */
static inline void tls_tunnel_close(struct tls_tunnel *tunnel)
{
    pthread_join(tunnel->thread, NULL);
    SSL_free(tunnel->ssl);
    close(tunnel->wire);
}

#endif
