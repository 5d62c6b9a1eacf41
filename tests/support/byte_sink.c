/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OTLP/gRPC sink for tests and benches: takes Export calls, counts their spans, and may write
 * each message to a file. It answers as it is told, at start or at any time by a line on its stdin.
 *
 *     ut_byte_sink [-l ADDRESS:PORT] [-m MANNER] [-o FILE]
 *
 * MANNER: ok | unavailable | retryinfo | permanent | silent (reads, never answers) |
 *         still (does not even read). Port 0 takes a free one.
 * Lines on stdin: a MANNER; `stats`; `quit`. The end of stdin changes nothing.
 * On stdout: `listening ADDRESS:PORT`, and for `stats` and at the end (quit, SIGTERM, SIGINT):
 *     requests=N spans=N bytes=N connections=N malformed=N cpu_s=S
 * FILE: for each message that was answered with ok its length (4 bytes, big-endian) and its bytes.
 *
 * It stands on the other core in benches: one read a wake-up, one write for all answers, memory of
 * streams used again; spans are counted by their lengths, never decoded.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 << 10,
    EVENTS = 32,
    GRPC_PREFIX = 5,
    STREAM_WINDOW = 16 << 20,
    CONNECTION_WINDOW = 64 << 20,
    FRAME_BYTES = 1 << 20,
};

enum manner { OK, UNAVAILABLE, RETRYINFO, PERMANENT, SILENT, STILL, MANNERS };

static const char *const manner_names[MANNERS] = {"ok",        "unavailable", "retryinfo",
                                                  "permanent", "silent",      "still"};

struct stream {
    uint8_t *data;
    size_t size, capacity;
    struct stream *previous, *next; /* among the open ones of its connection, or the free ones */
};

struct sink;

struct connection {
    struct sink *sink;
    int fd;
    nghttp2_session *session;
    struct stream *streams;
    uint8_t *out; /* answers that wait for the socket */
    size_t out_size, out_capacity;
    uint32_t events;
    struct connection *previous, *next;
};

struct sink {
    int epoll, listener, signals;
    enum manner manner;
    FILE *file;
    struct connection *connections;
    struct stream *free_streams;
    uint64_t requests, spans, bytes, accepted, malformed;
    bool over;
    char line[64]; /* of stdin, as far as it has come */
    size_t line_size;
    uint8_t read_buffer[READ_BYTES];
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* ---- counting ------------------------------------------------------------------------------- */

static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

/* Counts the spans of a message at `depth`: 0 the request, 1 ResourceSpans, 2 ScopeSpans. The field
 * that leads down is 1, 2, 2. */
static bool count_spans(const uint8_t *at, const uint8_t *end, int depth, uint64_t *spans)
{
    const uint64_t down = depth == 0 ? 1 : 2;
    while (at < end) {
        uint64_t tag, value;
        if (!take_varint(&at, end, &tag))
            return false;
        uint64_t skip = (tag & 7) == 1 ? 8 : (tag & 7) == 5 ? 4 : 0;
        if ((tag & 7) == 0 || (tag & 7) == 2) {
            if (!take_varint(&at, end, &value))
                return false;
            skip = (tag & 7) == 2 ? value : 0;
        } else if (skip == 0) {
            return false;
        }
        if (skip > (uint64_t)(end - at))
            return false;
        if (tag == (down << 3 | 2)) {
            if (depth == 2)
                ++*spans;
            else if (!count_spans(at, at + skip, depth + 1, spans))
                return false;
        }
        at += skip;
    }
    return true;
}

static void record(struct sink *sink, const uint8_t *message, size_t size)
{
    const uint8_t length[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                               (uint8_t)size};
    (void)fwrite(length, 1, sizeof(length), sink->file);
    (void)fwrite(message, 1, size, sink->file);
}

/* A body has come whole. */
static void take_message(struct sink *sink, const struct stream *stream)
{
    uint64_t spans = 0;
    sink->requests++;
    if (stream->size < GRPC_PREFIX ||
        !count_spans(stream->data + GRPC_PREFIX, stream->data + stream->size, 0, &spans)) {
        sink->malformed++;
        return;
    }
    if (sink->manner != OK)
        return;
    sink->bytes += stream->size - GRPC_PREFIX;
    sink->spans += spans;
    if (sink->file != NULL)
        record(sink, stream->data + GRPC_PREFIX, stream->size - GRPC_PREFIX);
}

/* ---- answers -------------------------------------------------------------------------------- */

#define FIELD(name_, value_)                                                                       \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(name_), (uint8_t *)(uintptr_t)(value_), sizeof(name_) - 1,          \
            sizeof(value_) - 1, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE       \
    }

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature. */
static ssize_t read_empty_message(nghttp2_session *session, int32_t id, uint8_t *out, size_t room,
                                  uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    static const nghttp2_nv trailers[] = {FIELD("grpc-status", "0")};
    (void)room;
    (void)source;
    (void)arg;
    memset(out, 0, GRPC_PREFIX);
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (nghttp2_submit_trailer(session, id, trailers, 1) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return GRPC_PREFIX;
}

static int answer(struct connection *connection, int32_t id)
{
    static const nghttp2_nv ok[] = {FIELD(":status", "200"),
                                    FIELD("content-type", "application/grpc")};
    static const nghttp2_nv unavailable[] = {
        FIELD(":status", "200"), FIELD("content-type", "application/grpc"),
        FIELD("grpc-status", "14"), FIELD("grpc-message", "sink says unavailable")};
    /* google.rpc.Status{code 8, details: RetryInfo{1.5 s}} */
    static const nghttp2_nv retryinfo[] = {
        FIELD(":status", "200"), FIELD("content-type", "application/grpc"),
        FIELD("grpc-status", "8"), FIELD("grpc-message", "sink says slow down"),
        FIELD("grpc-status-details-bin",
              "CAgaNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIARCAyrXuAQ")};
    static const nghttp2_nv permanent[] = {
        FIELD(":status", "200"), FIELD("content-type", "application/grpc"),
        FIELD("grpc-status", "3"), FIELD("grpc-message", "sink says no")};
    const nghttp2_data_provider body = {.read_callback = read_empty_message};
    nghttp2_session *session = connection->session;
    switch (connection->sink->manner) {
    case OK:
        return nghttp2_submit_response(session, id, ok, 2, &body);
    case UNAVAILABLE:
        return nghttp2_submit_response(session, id, unavailable, 4, NULL);
    case RETRYINFO:
        return nghttp2_submit_response(session, id, retryinfo, 5, NULL);
    case PERMANENT:
        return nghttp2_submit_response(session, id, permanent, 4, NULL);
    default:
        return 0;
    }
}

/* ---- the session's callbacks ---------------------------------------------------------------- */

static struct stream *take_stream(struct connection *connection)
{
    struct stream *stream = connection->sink->free_streams;
    if (stream != NULL)
        connection->sink->free_streams = stream->next;
    else
        stream = must(calloc(1, sizeof(*stream)));
    stream->size = 0;
    stream->previous = NULL;
    stream->next = connection->streams;
    if (stream->next != NULL)
        stream->next->previous = stream;
    connection->streams = stream;
    return stream;
}

static void release_stream(struct connection *connection, struct stream *stream)
{
    if (stream->previous != NULL)
        stream->previous->next = stream->next;
    else
        connection->streams = stream->next;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    stream->next = connection->sink->free_streams;
    connection->sink->free_streams = stream;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, take_stream(arg));
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *arg)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
    (void)flags;
    (void)arg;
    if (stream == NULL)
        return 0;
    if (stream->size + size > stream->capacity) {
        stream->capacity = (stream->size + size) * 2;
        stream->data = must(realloc(stream->data, stream->capacity));
    }
    memcpy(stream->data + stream->size, data, size);
    stream->size += size;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct connection *connection = arg;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 ||
        (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream == NULL)
        return 0;
    take_message(connection->sink, stream);
    return answer(connection, frame->hd.stream_id);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
    (void)error;
    if (stream != NULL)
        release_stream(arg, stream);
    return 0;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t size, int flags,
                       void *arg)
{
    struct connection *connection = arg;
    (void)session;
    (void)flags;
    if (connection->out_size + size > connection->out_capacity) {
        connection->out_capacity = (connection->out_size + size) * 2;
        connection->out = must(realloc(connection->out, connection->out_capacity));
    }
    memcpy(connection->out + connection->out_size, data, size);
    connection->out_size += size;
    return (ssize_t)size;
}

static nghttp2_session *make_session(struct connection *connection)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session = NULL;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_BYTES},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000},
    };
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    if (nghttp2_session_server_new(&session, callbacks, connection) != 0 ||
        nghttp2_submit_settings(session, 0, settings, 3) != 0 ||
        nghttp2_session_set_local_window_size(session, 0, 0, CONNECTION_WINDOW) != 0)
        abort();
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

/* ---- connections ---------------------------------------------------------------------------- */

static void watch(struct connection *connection)
{
    uint32_t events = (connection->sink->manner != STILL ? (uint32_t)EPOLLIN : 0) |
                      (connection->out_size > 0 ? (uint32_t)EPOLLOUT : 0);
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (events != connection->events)
        (void)epoll_ctl(connection->sink->epoll, EPOLL_CTL_MOD, connection->fd, &event);
    connection->events = events;
}

static void close_connection(struct connection *connection)
{
    struct sink *sink = connection->sink;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        sink->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    close(connection->fd);
    nghttp2_session_del(connection->session);
    while (connection->streams != NULL)
        release_stream(connection, connection->streams);
    free(connection->out);
    free(connection);
}

/* false: the connection is over. */
static bool flush(struct connection *connection)
{
    if (nghttp2_session_send(connection->session) != 0)
        return false;
    size_t gone = 0;
    while (gone < connection->out_size) {
        ssize_t sent = send(connection->fd, connection->out + gone, connection->out_size - gone,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            return false;
        gone += (size_t)sent;
    }
    memmove(connection->out, connection->out + gone, connection->out_size - gone);
    connection->out_size -= gone;
    watch(connection);
    return nghttp2_session_want_read(connection->session) != 0 ||
           nghttp2_session_want_write(connection->session) != 0 || connection->out_size > 0;
}

static bool receive(struct connection *connection)
{
    struct sink *sink = connection->sink;
    ssize_t got = recv(connection->fd, sink->read_buffer, READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return true;
    return got > 0 &&
           nghttp2_session_mem_recv(connection->session, sink->read_buffer, (size_t)got) == got;
}

static void accept_connection(struct sink *sink)
{
    int fd = accept4(sink->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (fd < 0)
        return;
    struct connection *connection = must(calloc(1, sizeof(*connection)));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    connection->sink = sink;
    connection->fd = fd;
    connection->session = make_session(connection);
    connection->next = sink->connections;
    if (sink->connections != NULL)
        sink->connections->previous = connection;
    sink->connections = connection;
    sink->accepted++;
    struct epoll_event event = {.data.ptr = connection};
    (void)epoll_ctl(sink->epoll, EPOLL_CTL_ADD, fd, &event);
    if (!flush(connection))
        close_connection(connection);
}

/* ---- commands ------------------------------------------------------------------------------- */

static void print_stats(const struct sink *sink)
{
    struct timespec cpu;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    if (sink->file != NULL)
        (void)fflush(sink->file);
    printf("requests=%llu spans=%llu bytes=%llu connections=%llu malformed=%llu cpu_s=%.3f\n",
           (unsigned long long)sink->requests, (unsigned long long)sink->spans,
           (unsigned long long)sink->bytes, (unsigned long long)sink->accepted,
           (unsigned long long)sink->malformed, (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    (void)fflush(stdout);
}

static bool set_manner(struct sink *sink, const char *name)
{
    for (int i = 0; i < MANNERS; i++) {
        if (strcmp(name, manner_names[i]) != 0)
            continue;
        sink->manner = (enum manner)i;
        for (struct connection *at = sink->connections; at != NULL; at = at->next)
            watch(at);
        return true;
    }
    return false;
}

static void obey(struct sink *sink, const char *line)
{
    if (strcmp(line, "stats") == 0)
        print_stats(sink);
    else if (strcmp(line, "quit") == 0)
        sink->over = true;
    else if (line[0] != '\0' && !set_manner(sink, line))
        (void)fprintf(stderr, "ut_byte_sink: \"%s\" is no command\n", line);
}

static void read_commands(struct sink *sink)
{
    char text[256];
    ssize_t got = read(STDIN_FILENO, text, sizeof(text));
    if (got <= 0)
        (void)epoll_ctl(sink->epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    for (ssize_t i = 0; i < got; i++) {
        if (text[i] != '\n' && sink->line_size < sizeof(sink->line) - 1) {
            sink->line[sink->line_size++] = text[i];
        } else if (text[i] == '\n') {
            sink->line[sink->line_size] = '\0';
            sink->line_size = 0;
            obey(sink, sink->line);
        }
    }
}

/* ---- the program ---------------------------------------------------------------------------- */

static int listen_on(char *address)
{
    char *colon = strrchr(address, ':');
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int on = 1;
    if (colon == NULL)
        return -1;
    *colon = '\0';
    size_t size = strlen(address);
    if (address[0] == '[' && size > 2) {
        address[size - 1] = '\0';
        address++;
    }
    if (getaddrinfo(address, colon + 1, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
                    bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 128) != 0)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static void print_address(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    char host[64] = "", port[8] = "";
    if (getsockname(fd, (struct sockaddr *)&address, &size) == 0)
        (void)getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
                          NI_NUMERICHOST | NI_NUMERICSERV);
    printf(address.ss_family == AF_INET6 ? "listening [%s]:%s\n" : "listening %s:%s\n", host, port);
    (void)fflush(stdout);
}

static int add(struct sink *sink, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    return epoll_ctl(sink->epoll, EPOLL_CTL_ADD, fd, &event);
}

static bool open_sink(struct sink *sink, char *address)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    sink->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    sink->epoll = epoll_create1(EPOLL_CLOEXEC);
    sink->listener = listen_on(address);
    if (sink->signals < 0 || sink->epoll < 0 || sink->listener < 0)
        return false;
    /* A stdin that cannot be waited for (a file) brings no commands. */
    (void)add(sink, STDIN_FILENO, sink->line);
    return add(sink, sink->listener, &sink->listener) == 0 &&
           add(sink, sink->signals, &sink->signals) == 0;
}

static void on_event(struct sink *sink, const struct epoll_event *event)
{
    void *what = event->data.ptr;
    if (what == &sink->listener) {
        accept_connection(sink);
    } else if (what == &sink->signals) {
        sink->over = true;
    } else if (what == sink->line) {
        read_commands(sink);
    } else {
        struct connection *connection = what;
        bool alive = (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || receive(connection);
        if (!alive || !flush(connection))
            close_connection(connection);
    }
}

static int close_sink(struct sink *sink)
{
    int failed = sink->file != NULL && fclose(sink->file) != 0;
    while (sink->connections != NULL)
        close_connection(sink->connections);
    while (sink->free_streams != NULL) {
        struct stream *next = sink->free_streams->next;
        free(sink->free_streams->data);
        free(sink->free_streams);
        sink->free_streams = next;
    }
    free(sink);
    return failed;
}

static bool parse_arguments(struct sink *sink, int argc, char **argv, char **ret_address)
{
    for (int option; (option = getopt(argc, argv, "l:m:o:")) != -1;) {
        if (option == 'l')
            *ret_address = optarg;
        else if (option == 'o')
            sink->file = fopen(optarg, "wbe");
        if (option == '?' || (option == 'm' && !set_manner(sink, optarg)) ||
            (option == 'o' && sink->file == NULL))
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    char fallback[] = "127.0.0.1:0";
    char *address = fallback;
    struct sink *sink = must(calloc(1, sizeof(*sink)));
    if (!parse_arguments(sink, argc, argv, &address)) {
        (void)fprintf(stderr, "usage: ut_byte_sink [-l ADDRESS:PORT] [-o FILE] "
                              "[-m ok|unavailable|retryinfo|permanent|silent|still]\n");
        return 2;
    }
    if (!open_sink(sink, address)) {
        (void)fprintf(stderr, "ut_byte_sink: cannot listen: %s\n", strerror(errno));
        return 1;
    }
    print_address(sink->listener);
    while (!sink->over) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(sink->epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            on_event(sink, &events[i]);
    }
    print_stats(sink);
    return close_sink(sink);
}
