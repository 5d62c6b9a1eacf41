/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http1.h"

/* READ_AHEAD: bytes behind a body that a vector load may touch. */
enum {
    READ_AHEAD = 32,
    READ_SIZE = 512 << 10,
    STREAM_WINDOW = 16 << 20,
    CONNECTION_WINDOW = 64 << 20
};

#define NV(name_text, value_text)                                                                  \
    {                                                                                              \
        .name = (uint8_t *)(name_text), .value = (uint8_t *)(value_text),                          \
        .namelen = sizeof(name_text) - 1, .valuelen = sizeof(value_text) - 1,                      \
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                      \
    }

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- buffers and exchanges ---- */

enum { BUFFERS = 64 };

/* Last in, first out, so that the next body lands in memory that is still in the cache. */
static uint8_t *free_buffers[BUFFERS];
static int free_buffer_count;

uint8_t *bench_take_buffer(void)
{
    uint8_t *buffer =
        free_buffer_count > 0 ? free_buffers[--free_buffer_count] : malloc(BENCH_BUFFER);
    if (buffer == NULL)
        die("malloc");
    return buffer;
}

void bench_give_buffer(uint8_t *buffer)
{
    if (buffer == NULL)
        return;
    if (free_buffer_count < BUFFERS)
        free_buffers[free_buffer_count++] = buffer;
    else
        free(buffer);
}

/* The free list hangs on the process: a bench program has one loop. */
static struct exchange *free_exchanges;

static struct exchange *take_exchange(struct peer *peer)
{
    struct exchange *x = free_exchanges;
    if (x != NULL) {
        free_exchanges = x->next;
    } else {
        x = calloc(1, sizeof(*x));
        if (x == NULL)
            die("calloc");
    }
    x->peer = peer;
    x->in = NULL;
    x->in_size = 0;
    x->out = NULL;
    x->out_size = x->out_sent = 0;
    x->status = -1;
    return x;
}

static void give_exchange(struct exchange *x)
{
    bench_give_buffer(x->in);
    x->next = free_exchanges;
    free_exchanges = x;
}

static void append(struct exchange *x, const uint8_t *data, size_t size)
{
    if (x->in == NULL)
        x->in = bench_take_buffer();
    if (x->in_size + size + READ_AHEAD > BENCH_BUFFER) {
        fprintf(stderr, "bench: a body above %d bytes\n", BENCH_BUFFER);
        exit(1);
    }
    memcpy(x->in + x->in_size, data, size);
    x->in_size += size;
}

/* ---- sending ---- */

/* Whether the call is to be done again, the socket being full. */
static bool wait_to_write(const struct peer *peer, int result)
{
    struct pollfd wait = {.fd = peer->fd, .events = POLLOUT};
    if (SSL_get_error(peer->tls, result) != SSL_ERROR_WANT_WRITE)
        return false;
    poll(&wait, 1, 1000);
    return true;
}

/* In full records, as clients that care do. */
static void write_record(const struct peer *peer, const uint8_t *record, size_t size)
{
    int result = 1;
    do
        result = SSL_write(peer->tls, record, (int)size);
    while (size > 0 && result <= 0 && wait_to_write(peer, result));
}

static void write_runs_tls(struct peer *peer)
{
    static uint8_t record[16384];
    size_t size = 0;
    for (int i = 0; i < peer->run_count; i++) {
        for (size_t at = 0; at < peer->runs[i].iov_len;) {
            size_t left = peer->runs[i].iov_len - at, room = sizeof(record) - size;
            size_t n = left < room ? left : room;
            memcpy(record + size, (uint8_t *)peer->runs[i].iov_base + at, n);
            at += n;
            size += n;
            if (size == sizeof(record)) {
                write_record(peer, record, size);
                size = 0;
            }
        }
    }
    if (size > 0)
        write_record(peer, record, size);
    peer->run_count = 0;
    peer->small_size = 0;
}

static void write_runs(struct peer *peer)
{
    if (peer->tls != NULL) {
        write_runs_tls(peer);
        return;
    }
    struct iovec *runs = peer->runs;
    int count = peer->run_count;
    while (count > 0) {
        ssize_t n = writev(peer->fd, runs, count);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = peer->fd, .events = POLLOUT};
            poll(&wait, 1, 1000);
            continue;
        }
        if (n < 0)
            break;
        while (count > 0 && (size_t)n >= runs->iov_len) {
            n -= (ssize_t)runs->iov_len;
            runs++;
            count--;
        }
        if (count > 0) {
            runs->iov_base = (uint8_t *)runs->iov_base + n;
            runs->iov_len -= (size_t)n;
        }
    }
    peer->run_count = 0;
    peer->small_size = 0;
}

static void add_run(struct peer *peer, const uint8_t *data, size_t size)
{
    if (peer->run_count == PEER_RUNS)
        write_runs(peer);
    peer->runs[peer->run_count++] = (struct iovec){(void *)data, size};
}

static void add_small(struct peer *peer, const uint8_t *data, size_t size)
{
    if (peer->small_size + size > sizeof(peer->small) || peer->run_count == PEER_RUNS)
        write_runs(peer);
    if (size > sizeof(peer->small)) {
        add_run(peer, data, size);
        write_runs(peer);
        return;
    }
    memcpy(peer->small + peer->small_size, data, size);
    add_run(peer, peer->small + peer->small_size, size);
    peer->small_size += size;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t size, int flags,
                       void *user)
{
    (void)session, (void)flags;
    add_small(user, data, size);
    return (ssize_t)size;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                        size_t size, nghttp2_data_source *source, void *user)
{
    (void)session, (void)frame;
    struct exchange *x = source->ptr;
    add_small(user, header, 9);
    add_run(user, x->out + x->out_sent - size, size);
    return 0;
}

static ssize_t on_frame_size(nghttp2_session *session, uint8_t type, int32_t stream, int32_t a,
                             int32_t b, uint32_t max, void *user)
{
    (void)session, (void)type, (void)stream, (void)a, (void)b, (void)max, (void)user;
    return 1 << 20;
}

static ssize_t read_out(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t size,
                        uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session, (void)stream, (void)buffer, (void)user;
    struct exchange *x = source->ptr;
    size_t left = x->out_size - x->out_sent;
    if (left > size)
        left = size;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    x->out_sent += left;
    if (x->out_sent == x->out_size)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)left;
}

static ssize_t read_empty_message(nghttp2_session *session, int32_t stream, uint8_t *buffer,
                                  size_t size, uint32_t *flags, nghttp2_data_source *source,
                                  void *user)
{
    (void)size, (void)source, (void)user;
    static const nghttp2_nv trailers[] = {NV("grpc-status", "0")};
    memset(buffer, 0, 5);
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(session, stream, trailers, 1);
    return 5;
}

void bench_answer(struct exchange *x)
{
    static const nghttp2_nv headers[] = {NV(":status", "200"),
                                         NV("content-type", "application/grpc")};
    nghttp2_data_provider provider = {.read_callback = read_empty_message};
    nghttp2_submit_response(x->peer->session, x->stream, headers, 2, &provider);
}

void bench_request(struct peer *peer, const uint8_t *out, size_t size, void *user)
{
    if (peer->session == NULL) {
        bench_http1_begin(peer, user);
        add_run(peer, out, size);
        return;
    }
    nghttp2_nv headers[] = {
        NV(":method", "POST"),
        NV(":scheme", "http"),
        NV(":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        NV(":authority", "localhost"),
        NV("content-type", "application/grpc"),
        NV("te", "trailers"),
        NV("grpc-encoding", "gzip"),
    };
    size_t count = sizeof(headers) / sizeof(headers[0]);
    if (peer->coding == NULL) {
        count--;
    } else {
        headers[count - 1].value = (uint8_t *)(uintptr_t)peer->coding;
        headers[count - 1].valuelen = strlen(peer->coding);
    }
    struct exchange *x = take_exchange(peer);
    x->out = out;
    x->out_size = size;
    x->user = user;
    nghttp2_data_provider provider = {.source.ptr = x, .read_callback = read_out};
    x->stream = nghttp2_submit_request(peer->session, NULL, headers, count, &provider, x);
}

/* ---- receiving ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct peer *peer = user;
    if (peer->client || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct exchange *x = take_exchange(peer);
    x->stream = frame->hd.stream_id;
    nghttp2_session_set_stream_user_data(session, x->stream, x);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    (void)flags;
    struct peer *peer = user;
    struct exchange *x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (peer->client && x != NULL && name_size == 11 && memcmp(name, "grpc-status", 11) == 0)
        x->status = value_size == 1 ? value[0] - '0' : 10 + value[value_size - 1] - '0';
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t size, void *user)
{
    (void)flags;
    struct peer *peer = user;
    struct exchange *x = nghttp2_session_get_stream_user_data(session, stream);
    if (x != NULL && !peer->client)
        append(x, data, size);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct peer *peer = user;
    if (peer->client || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    struct exchange *x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (x != NULL) {
        peer->ops->on_request(x);
        bench_give_buffer(x->in);
        x->in = NULL;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user)
{
    (void)error;
    struct peer *peer = user;
    struct exchange *x = nghttp2_session_get_stream_user_data(session, stream);
    if (x == NULL)
        return 0;
    if (peer->client)
        peer->ops->on_response(x);
    give_exchange(x);
    return 0;
}

/* ---- connections ---- */

static void make_session(struct peer *peer)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_frame_size);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    if (peer->client)
        nghttp2_session_client_new(&peer->session, callbacks, peer);
    else
        nghttp2_session_server_new(&peer->session, callbacks, peer);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 4096},
    };
    nghttp2_submit_settings(peer->session, 0, settings, 3);
    nghttp2_session_set_local_window_size(peer->session, 0, 0, CONNECTION_WINDOW);
}

static struct peer *add_peer(struct bench_loop *loop, int fd, bool client,
                             const struct peer_ops *ops)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        die("calloc");
    peer->fd = fd;
    peer->client = client;
    peer->ops = ops;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (client && loop->http1)
        peer->http1 = bench_http1_new();
    else
        make_session(peer);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event);
    peer->next = loop->peers;
    loop->peers = peer;
    return peer;
}

static void drop_peer(struct bench_loop *loop, struct peer *peer)
{
    for (struct peer **at = &loop->peers; *at != NULL; at = &(*at)->next) {
        if (*at == peer) {
            *at = peer->next;
            break;
        }
    }
    SSL_free(peer->tls);
    close(peer->fd);
    if (peer->ops->on_gone != NULL)
        peer->ops->on_gone(peer);
    nghttp2_session_del(peer->session);
    free(peer->http1);
    free(peer);
}

static ssize_t read_tls(struct peer *peer, uint8_t *buffer)
{
    int n = SSL_read(peer->tls, buffer, READ_SIZE);
    if (n <= 0 && SSL_get_error(peer->tls, n) == SSL_ERROR_WANT_READ)
        errno = EAGAIN;
    return n <= 0 ? -1 : n;
}

static void receive(struct bench_loop *loop, struct peer *peer)
{
    ssize_t n = peer->tls != NULL ? read_tls(peer, loop->read_buffer)
                                  : read(peer->fd, loop->read_buffer, READ_SIZE);
    if (n < 0 && errno == EAGAIN)
        return;
    bool fine = n > 0;
    if (fine && peer->session == NULL)
        fine = bench_http1_receive(peer, loop->read_buffer, (size_t)n);
    else if (fine)
        fine = nghttp2_session_mem_recv(peer->session, loop->read_buffer, (size_t)n) >= 0;
    if (!fine)
        drop_peer(loop, peer);
}

void bench_loop_init(struct bench_loop *loop)
{
    *loop = (struct bench_loop){.epoll = epoll_create1(0), .read_buffer = malloc(READ_SIZE)};
    if (loop->epoll < 0 || loop->read_buffer == NULL)
        die("epoll");
}

void bench_loop_turn(struct bench_loop *loop, int timeout_ms)
{
    struct epoll_event events[16];
    int n = epoll_wait(loop->epoll, events, 16, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct peer *peer = events[i].data.ptr;
        if (peer->accepting) {
            int fd = accept(peer->fd, NULL, NULL);
            if (fd >= 0)
                add_peer(loop, fd, false, peer->ops);
        } else {
            receive(loop, peer);
        }
    }
    for (struct peer *peer = loop->peers; peer != NULL; peer = peer->next) {
        if (peer->session != NULL)
            nghttp2_session_send(peer->session);
        if (peer->run_count > 0)
            write_runs(peer);
    }
}

static void shake_hands(struct bench_loop *loop, struct peer *peer)
{
    fcntl(peer->fd, F_SETFL, 0);
    peer->tls = SSL_new(loop->tls);
    if (SSL_set_alpn_protos(peer->tls, (const uint8_t *)"\x02h2", 3) != 0 ||
        SSL_set_fd(peer->tls, peer->fd) != 1 || SSL_connect(peer->tls) != 1)
        die("TLS");
    fcntl(peer->fd, F_SETFL, O_NONBLOCK);
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

void bench_listen(struct bench_loop *loop, uint16_t port, const struct peer_ops *ops)
{
    struct peer *listener = calloc(1, sizeof(*listener));
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = loopback(port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (listener == NULL || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 64) != 0)
        die("listen");
    *listener = (struct peer){.fd = fd, .accepting = true, .ops = ops};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};
    epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event);
}

struct peer *bench_connect(struct bench_loop *loop, uint16_t port, const struct peer_ops *ops)
{
    struct sockaddr_in address = loopback(port);
    for (int attempt = 0; attempt < 100; attempt++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            struct peer *peer = add_peer(loop, fd, true, ops);
            if (loop->tls != NULL)
                shake_hands(loop, peer);
            return peer;
        }
        close(fd);
        usleep(100000);
    }
    die("connect");
    return NULL;
}
