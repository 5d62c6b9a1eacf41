/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load and sink in one process: sends OTLP/gRPC requests (--http FORM: over HTTP/1.1, one at a time
 * on each connection) to the subject and counts the spans that come back at the sink. It never has
 * more spans on the way than its window, so the subject is measured at its own pace and no queue
 * grows. It reads the subject's CPU time and memory from the kernel and prints one JSON line.
 *
 * With --poll it never sleeps: waking an idle core costs whoever sends to it, and how often that
 * happens would depend on who of the two is faster. With small requests it would only see to it
 * that each is handled alone.
 *
 * With --sink-delay MS the sink answers so much later, as a backend that stores what it takes.
 *
 * It can first make real retransmissions on a connection of its own (--loss PORT: a rule that drops
 * data towards that port must be in force); the spans then cover the time in which they happened.
 *
 * Protocol: prints "ready" when the sink listens, reads the subject's pid from standard input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "body.h"
#include "peer.h"

enum { CONNECTIONS_MAX = 64, STALL_S = 15 };

struct options {
    uint16_t subject, sink, loss, stalled_sink;
    uint64_t requests, warmup, window;
    uint64_t sink_delay_ns;
    unsigned connections, streams;
    bool poll, spread, tls;
    const char *coding; /* that requests are compressed with */
    const char *http;   /* the form of body.h; NULL: gRPC */
    uint64_t rate;      /* requests a second; 0: as many as are taken */
    const char *expect; /* a key that every span must carry at the sink */
    struct body_options body;
};

static struct options options = {
    .requests = 4000,
    .warmup = 400,
    .window = 16384,
    .connections = 4,
    .streams = 8,
    .body = {.spans = 512, .attributes = 8, .kind = 2},
};

static struct bench_loop loop;
static uint64_t sent, answered, refused, sink_spans, sink_expected, sink_requests;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the sink ---- */

/* To be answered later, in order; `user` is when. */
static struct exchange *unanswered, **unanswered_last = &unanswered;

static void answer_late(void)
{
    while (unanswered != NULL && now_ns(CLOCK_MONOTONIC) >= (uintptr_t)unanswered->user) {
        struct exchange *x = unanswered;
        unanswered = x->next;
        if (unanswered == NULL)
            unanswered_last = &unanswered;
        bench_answer(x);
    }
}

static void on_sink_request(struct exchange *x)
{
    struct body_count count = body_count_spans(x->in + 5, x->in_size - 5, options.expect);
    sink_spans += count.spans;
    sink_expected += count.with_key;
    sink_requests++;
    if (options.sink_delay_ns == 0) {
        bench_answer(x);
        return;
    }
    x->user = (void *)(uintptr_t)(now_ns(CLOCK_MONOTONIC) + options.sink_delay_ns);
    x->next = NULL;
    *unanswered_last = x;
    unanswered_last = &x->next;
}

/* ---- the load ---- */

static uint8_t *request;
static size_t request_size;

static void on_answer(struct exchange *x)
{
    answered++;
    if (x->status != 0)
        refused++;
    (*(unsigned *)x->user)--;
}

/* Requests that are due by now at the rate that is asked for, since `began_ns`. */
static uint64_t due_since(uint64_t began_ns)
{
    if (options.rate == 0)
        return UINT64_MAX;
    return (now_ns(CLOCK_MONOTONIC) - began_ns) * options.rate / 1000000000u + 1;
}

static bool may_send(void)
{
    if (options.sink == 0)
        return true;
    uint64_t spans = (sent - refused) * options.body.spans;
    return spans + options.body.spans <= sink_spans + options.window;
}

/* The first connection with a free stream; with --spread they take turns, so that they carry the
 * same load whether answers come at once or late. NULL: none has one. */
static unsigned *choose_connection(unsigned *open)
{
    uint64_t first = options.spread ? sent : 0;
    for (unsigned i = 0; i < options.connections; i++) {
        unsigned *next = &open[(first + i) % options.connections];
        if (*next < options.streams)
            return next;
    }
    return NULL;
}

/* Sends until `total` requests have been answered and, with a sink, have arrived there. */
static bool run(struct peer **peers, unsigned *open, uint64_t total)
{
    uint64_t began = now_ns(CLOCK_MONOTONIC), last_progress = began, seen = 0, before = sent;
    for (;;) {
        uint64_t due = due_since(began);
        unsigned *next;
        while (sent < total && sent - before < due && may_send() &&
               (next = choose_connection(open)) != NULL) {
            (*next)++;
            sent++;
            bench_request(peers[next - open], request, request_size, next);
        }
        bool arrived = options.sink == 0 || sink_spans >= (answered - refused) * options.body.spans;
        answer_late();
        if (answered == total && arrived && unanswered == NULL)
            return true;
        bench_loop_turn(&loop, options.poll ? 0 : options.rate != 0 ? 1 : 1000);
        if (answered + sink_spans != seen) {
            seen = answered + sink_spans;
            last_progress = now_ns(CLOCK_MONOTONIC);
        } else if (now_ns(CLOCK_MONOTONIC) - last_progress > STALL_S * 1000000000ull) {
            return false;
        }
    }
}

/* ---- the subject, seen from outside ---- */

static clockid_t cpu_clock_of(pid_t pid)
{
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) != 0) {
        perror("the subject's clock");
        exit(1);
    }
    return clock;
}

static long memory_kib(pid_t pid, const char *key)
{
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    long value = -1;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtol(line + strlen(key) + 1, NULL, 10);
    }
    if (file != NULL)
        fclose(file);
    return value;
}

/* ---- real retransmissions ---- */

/* Sends one message to ourselves over a connection on which a rule drops the first data segment;
 * returns when it has arrived. The connection stays open. */
static void make_loss(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    int client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 1) != 0 ||
        connect(client, (struct sockaddr *)&address, sizeof(address)) != 0) {
        perror("the lossy connection");
        exit(1);
    }
    int server = accept(listener, NULL, NULL);
    static char message[800];
    options.body.start_ns = now_ns(CLOCK_REALTIME);
    if (write(client, message, sizeof(message)) != sizeof(message) ||
        recv(server, message, sizeof(message), MSG_WAITALL) != sizeof(message)) {
        perror("the lossy connection");
        exit(1);
    }
    options.body.end_ns = now_ns(CLOCK_REALTIME);
    if (options.body.end_ns - options.body.start_ns < 100000000u) {
        fprintf(stderr, "load: nothing was retransmitted on port %u: no rule drops there\n", port);
        exit(1);
    }
    sleep(1); /* past `settle` */
}

/* ---- main ---- */

/* false: the option has no number. */
static bool set_number(int c, unsigned long value)
{
    switch (c) {
    case 's':
        options.subject = (uint16_t)value;
        break;
    case 'k':
        options.sink = (uint16_t)value;
        break;
    case 'n':
        options.requests = value;
        break;
    case 'w':
        options.warmup = value;
        break;
    case 'W':
        options.window = value;
        break;
    case 'c':
        options.connections = (unsigned)value;
        break;
    case 'm':
        options.streams = (unsigned)value;
        break;
    case 'p':
        options.body.spans = (unsigned)value;
        break;
    case 'K':
        options.body.kind = (unsigned)value;
        break;
    case 'l':
        options.loss = (uint16_t)value;
        break;
    case 'P':
        options.body.peer_port = (uint16_t)value;
        break;
    case 'S':
        options.stalled_sink = (uint16_t)value;
        break;
    case 'r':
        options.rate = value;
        break;
    case 'd':
        options.sink_delay_ns = value * 1000000;
        break;
    default:
        return false;
    }
    return true;
}

static void set_other(int c)
{
    switch (c) {
    case 'o':
        options.poll = true;
        break;
    case 'a':
        options.spread = true;
        break;
    case 'C':
        options.coding = optarg;
        break;
    case 't':
        options.tls = true;
        break;
    case 'H':
        options.http = optarg;
        options.streams = 1;
        break;
    case 'e':
        options.expect = optarg;
        break;
    default:
        exit(2);
    }
}

static void parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"subject", 1, 0, 's'},      {"sink", 1, 0, 'k'},      {"requests", 1, 0, 'n'},
        {"warmup", 1, 0, 'w'},       {"window", 1, 0, 'W'},    {"connections", 1, 0, 'c'},
        {"streams", 1, 0, 'm'},      {"spans", 1, 0, 'p'},     {"kind", 1, 0, 'K'},
        {"loss", 1, 0, 'l'},         {"peer-port", 1, 0, 'P'}, {"expect", 1, 0, 'e'},
        {"stalled-sink", 1, 0, 'S'}, {"poll", 0, 0, 'o'},      {"coding", 1, 0, 'C'},
        {"tls", 0, 0, 't'},          {"http", 1, 0, 'H'},      {"rate", 1, 0, 'r'},
        {"sink-delay", 1, 0, 'd'},   {"spread", 0, 0, 'a'},    {0, 0, 0, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (!set_number(c, optarg != NULL ? strtoul(optarg, NULL, 10) : 0))
            set_other(c);
    }
    if ((options.subject == 0 && options.stalled_sink == 0) || options.connections == 0 ||
        options.connections > CONNECTIONS_MAX) {
        fprintf(stderr, "usage: load --subject PORT [--sink PORT] …\n");
        exit(2);
    }
}

static pid_t read_pid(void)
{
    char line[32];
    printf("ready\n");
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL)
        exit(1);
    return (pid_t)strtol(line, NULL, 10);
}

static void ignore_request(struct exchange *x)
{
    (void)x;
}

/* Accepts connections and requests, reads what the windows allow and never answers. */
static void stand_still(uint16_t port)
{
    static const struct peer_ops silent = {.on_request = ignore_request};
    bench_listen(&loop, port, &silent);
    printf("ready\n");
    fflush(stdout);
    for (;;)
        bench_loop_turn(&loop, 1000);
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    bench_loop_init(&loop);
    if (options.stalled_sink != 0)
        stand_still(options.stalled_sink);
    static const struct peer_ops sink_ops = {.on_request = on_sink_request};
    static const struct peer_ops load_ops = {.on_response = on_answer};
    if (options.sink != 0)
        bench_listen(&loop, options.sink, &sink_ops);
    pid_t pid = read_pid();
    clockid_t cpu = cpu_clock_of(pid);
    if (options.loss != 0)
        make_loss(options.loss);
    request = body_new(&options.body, &request_size);
    if (options.coding != NULL)
        request = body_compress(request, options.coding, &request_size);
    if (options.http != NULL)
        request = body_http(request, &options.body, options.http, &request_size);
    loop.http1 = options.http != NULL;

    if (options.tls)
        loop.tls = SSL_CTX_new(TLS_client_method());
    struct peer *peers[CONNECTIONS_MAX];
    unsigned open[CONNECTIONS_MAX] = {0};
    for (unsigned i = 0; i < options.connections; i++)
        peers[i] = bench_connect(&loop, options.subject, &load_ops);
    for (unsigned i = 0; i < options.connections; i++)
        peers[i]->coding = options.coding;
    bool whole = run(peers, open, options.warmup);
    uint64_t spans0 = sink_spans, expected0 = sink_expected;
    uint64_t cpu0 = now_ns(cpu), wall0 = now_ns(CLOCK_MONOTONIC);
    whole = whole && run(peers, open, options.warmup + options.requests);
    uint64_t cpu1 = now_ns(cpu), wall1 = now_ns(CLOCK_MONOTONIC);
    printf("{\"whole\": %s, \"requests\": %llu, \"refused\": %llu, \"spans\": %llu, "
           "\"sink_spans\": %llu, \"expected\": %llu, \"cpu_ns\": %llu, \"wall_ns\": %llu, "
           "\"request_bytes\": %zu, \"rss_kib\": %ld, \"rss_peak_kib\": %ld}\n",
           whole ? "true" : "false", (unsigned long long)options.requests,
           (unsigned long long)refused, (unsigned long long)(options.requests * options.body.spans),
           (unsigned long long)(sink_spans - spans0),
           (unsigned long long)(sink_expected - expected0), (unsigned long long)(cpu1 - cpu0),
           (unsigned long long)(wall1 - wall0), request_size, memory_kib(pid, "VmRSS"),
           memory_kib(pid, "VmHWM"));
    return whole ? 0 : 1;
}
