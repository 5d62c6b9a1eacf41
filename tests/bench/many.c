/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many connections of a client to one port, one after the other.
 *
 *   many idle http1|h2 tls|plain PORT COUNT    each sends one request of 64 KiB (spans of no
 *       resource: padding), takes the answer and stays; prints "open" when all are, and ends when
 *       its standard input does
 *   many handshake tls PORT COUNT PID    each makes a full handshake and closes; prints the CPU
 *       time that the process PID took for one, in nanoseconds
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BODY = 64 << 10, FRAME = 16384, FRAMES = BODY / FRAME, WARM = 200 };

static SSL_CTX *context;

struct client {
    int fd;
    SSL *ssl; /* NULL: without TLS */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct client connect_to(uint16_t port, bool tls, const char *alpn)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    int on = 1;
    setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (client.fd < 0 || connect(client.fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("connect");
    if (!tls)
        return client;
    client.ssl = SSL_new(context);
    SSL_set_alpn_protos(client.ssl, (const uint8_t *)alpn, (unsigned)strlen(alpn));
    if (SSL_set_fd(client.ssl, client.fd) != 1 || SSL_connect(client.ssl) != 1)
        die("handshake");
    return client;
}

static void send_all(struct client *client, const void *bytes, size_t size)
{
    size_t sent = size;
    bool good = client->ssl != NULL ? SSL_write_ex(client->ssl, bytes, size, &sent) == 1
                                    : write(client->fd, bytes, size) == (ssize_t)size;
    if (!good || sent != size)
        die("send");
}

static void receive_all(struct client *client, uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = client->ssl != NULL ? SSL_read(client->ssl, bytes + at, (int)(size - at))
                                          : read(client->fd, bytes + at, size - at);
        if (got <= 0)
            die("receive");
        at += (size_t)got;
    }
}

/* A request that is one unknown field. */
static void fill_body(uint8_t *body)
{
    static const uint8_t field[] = {0x7a, 0xfc, 0xff, 0x03}; /* number 15, BODY - 4 bytes */
    memset(body, 'x', BODY);
    memcpy(body, field, sizeof(field));
}

static void request_http1(struct client *client)
{
    static const char head[] = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                               "application/x-protobuf\r\nContent-Length: 65536\r\n\r\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
                                 "Content-Length: 0\r\n\r\n";
    uint8_t body[BODY], got[sizeof(answer) - 1];
    fill_body(body);
    send_all(client, head, sizeof(head) - 1);
    send_all(client, body, sizeof(body));
    receive_all(client, got, sizeof(got));
    if (memcmp(got, answer, 15) != 0)
        die("answer");
}

static void put_frame(uint8_t *out, size_t size, uint8_t type, uint8_t flags, uint8_t stream)
{
    const uint8_t head[9] = {
        (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, type, flags, 0, 0, 0, stream};
    memcpy(out, head, sizeof(head));
}

/* The preface, SETTINGS and their ACK, HEADERS in literals of the static table, DATA. */
static void request_h2(struct client *client)
{
    static const char preface[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0";
    static const char headers[] = "\x83\x86\x04\x0a/v1/traces\x01\x09localhost"
                                  "\x0f\x10\x16"
                                  "application/x-protobuf";
    static uint8_t body[BODY], out[FRAMES * (9 + FRAME) + 256];
    size_t size = sizeof(preface) - 1, at = 0;
    fill_body(body);
    memcpy(out, preface, size);
    put_frame(out + size, sizeof(headers) - 1, 1, 4, 1);
    memcpy(out + size + 9, headers, sizeof(headers) - 1);
    size += 9 + sizeof(headers) - 1;
    for (int i = 0; i < FRAMES; i++, at += FRAME, size += 9 + FRAME) {
        put_frame(out + size, FRAME, 0, i == FRAMES - 1, 1);
        memcpy(out + size + 9, body + at, FRAME);
    }
    send_all(client, out, size);
    for (bool ended = false; !ended;) { /* END_STREAM on stream 1 */
        uint8_t head[9];
        receive_all(client, head, sizeof(head));
        receive_all(client, out, (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2]);
        ended = head[8] == 1 && head[3] <= 1 && (head[4] & 1) != 0;
        if (head[3] == 3 || head[3] == 7)
            die("answer");
    }
}

static int stay(char **argv)
{
    bool h2 = strcmp(argv[2], "h2") == 0, tls = strcmp(argv[3], "tls") == 0;
    for (int left = atoi(argv[5]); left > 0; left--) {
        struct client client =
            connect_to((uint16_t)atoi(argv[4]), tls, h2 ? "\x02h2" : "\x08http/1.1");
        if (h2)
            request_h2(&client);
        else
            request_http1(&client);
    }
    printf("open\n");
    fflush(stdout);
    return getchar() == EOF ? 0 : 1;
}

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int shake(char **argv)
{
    clockid_t clock;
    int count = atoi(argv[4]);
    uint64_t began = 0;
    if (clock_getcpuclockid(atoi(argv[5]), &clock) != 0)
        die("the subject's clock");
    for (int i = 0; i < WARM + count; i++) {
        if (i == WARM)
            began = cpu_ns(clock);
        struct client client = connect_to((uint16_t)atoi(argv[3]), true, "\x02h2");
        SSL_shutdown(client.ssl);
        SSL_free(client.ssl);
        close(client.fd);
    }
    printf("%llu\n", (unsigned long long)((cpu_ns(clock) - began) / (uint64_t)count));
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    if (argc == 6 && strcmp(argv[1], "idle") == 0)
        return stay(argv);
    if (argc == 6 && strcmp(argv[1], "handshake") == 0)
        return shake(argv);
    fprintf(stderr, "usage: many idle http1|h2 tls|plain PORT COUNT | handshake tls PORT COUNT "
                    "PID\n");
    return 2;
}
