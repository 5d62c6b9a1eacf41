/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs cost that look at packets: of each kind of traffic ours and an empty program in
 * its place in turn. All of it goes over loopback, where a packet is as large as what was sent.
 *
 * - At the cgroup's egress hook only the client is in the cgroup: its packets alone are counted.
 * - At the hook of links the other end's packets come by as well. What they cost above the empty
 *   program is put on the client's.
 * - At the reader's hook it is the servers that are in the cgroup, and what is counted are packets
 *   that they read. The client lets its answers go without a look at them.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "kernel_cost.h"

enum {
    PACKETS = 50000,
    PACKET = 1400,
    HEAD = 700,
    LONG_HEAD = 6700,
    HEADER = 100, /* of a long head's fields each */
    STREAMED = 256 << 20,
};

/* ---- the other end -------------------------------------------------------------------------- */

enum server { SINK, STREAM, ANSWER, SERVERS };

struct servers {
    uint16_t ports[SERVERS];
    pid_t pids[SERVERS];
};

static char buffer[1 << 16];

static void serve_one(int fd, enum server kind)
{
    static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
    ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
    if (kind == STREAM) {
        for (size_t sent = 0; sent < STREAMED && size > 0; sent += (size_t)size)
            size = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL);
        return;
    }
    while (size > 0 && (kind != ANSWER || send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) > 0))
        size = recv(fd, buffer, sizeof(buffer), 0);
}

static void start_server(struct servers *servers, enum server kind)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    UT_CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, size) == 0 &&
             listen(listener, 8) == 0 &&
             getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    servers->ports[kind] = ntohs(address.sin_port);
    servers->pids[kind] = fork();
    UT_CHECK(servers->pids[kind] >= 0);
    if (servers->pids[kind] > 0) {
        close(listener);
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd))
        serve_one(fd, kind);
    _exit(0);
}

static void start_servers(struct servers *servers)
{
    for (int i = 0; i < SERVERS; i++)
        start_server(servers, (enum server)i);
}

static void stop_servers(const struct servers *servers)
{
    for (int i = 0; i < SERVERS; i++) {
        kill(servers->pids[i], SIGTERM);
        waitpid(servers->pids[i], NULL, 0);
    }
}

static int connect_to(const struct servers *servers, enum server kind)
{
    const int yes = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(servers->ports[kind]),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    UT_CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
             setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) == 0);
    return fd;
}

/* ---- kinds of traffic ----------------------------------------------------------------------- */

static void send_whole(int fd, const char *data, size_t size)
{
    UT_CHECK(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
}

static void send_many(const struct servers *servers, const char *first)
{
    int fd = connect_to(servers, SINK);
    send_whole(fd, first, strlen(first));
    for (int i = 0; i < PACKETS; i++)
        send_whole(fd, buffer, PACKET);
    close(fd);
}

static void send_body(const struct servers *servers)
{
    send_many(servers, "POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: 1000000000\r\n\r\n");
}

static void send_other(const struct servers *servers)
{
    send_many(servers, "\x16\x03\x01 no request of HTTP");
}

static void take_stream(const struct servers *servers)
{
    int fd = connect_to(servers, STREAM);
    send_whole(fd, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n", 31);
    while (recv(fd, buffer, sizeof(buffer), 0) > 0)
        continue;
    close(fd);
    memset(buffer, 'b', sizeof(buffer));
}

/* Of `size` bytes, with fields of `field` bytes but the last, which takes the rest. */
static void write_head(char *head, size_t size, size_t field)
{
    static const char begin[] = "GET /api/v1/orders/482913 HTTP/1.1\r\nHost: bench\r\n";
    static const char name[] = "Cookie: ";
    static const char end[] =
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    size_t at = sizeof(begin) - 1, until = size - (sizeof(end) - 1);
    memset(head, 'c', size);
    memcpy(head, begin, sizeof(begin) - 1);
    memcpy(head + until, end, sizeof(end) - 1);
    for (size_t next; at < until; at = next) {
        next = until - at < 2 * field ? until : at + field;
        memcpy(head + at, name, sizeof(name) - 1);
        memcpy(head + next - 2, "\r\n", 2);
    }
}

static void exchange(const struct servers *servers, const char *head, size_t size)
{
    char answer[64];
    int fd = connect_to(servers, ANSWER);
    for (int i = 0; i < PACKETS; i++) {
        send_whole(fd, head, size);
        UT_CHECK(recv(fd, answer, sizeof(answer), MSG_TRUNC) > 0);
    }
    close(fd);
}

static void send_heads(const struct servers *servers)
{
    char head[HEAD];
    write_head(head, sizeof(head), sizeof(head));
    exchange(servers, head, sizeof(head));
}

static void send_long_heads(const struct servers *servers)
{
    char head[LONG_HEAD];
    write_head(head, sizeof(head), HEADER);
    exchange(servers, head, sizeof(head));
}

struct kind {
    const char *name;
    void (*act)(const struct servers *servers);
};

static const struct kind body = {"body", send_body}, other = {"other", send_other},
                         ack = {"ack", take_stream}, head = {"head", send_heads},
                         long_head = {"long", send_long_heads};

/* ---- the hooks ------------------------------------------------------------------------------ */

/* Ours, with the sockets of the cgroup followed from now on. */
static struct ut_bpf *follow(const char *const *names, int cgroup)
{
    const uint8_t yes = 1;
    struct ut_bpf *ours = bench_load_ours(names);
    uint64_t id = bench_cgroup_id(cgroup);
    UT_CHECK(bpf_map_update_elem(bpf_map__fd(ours->maps.senders), &id, &yes, BPF_ANY) == 0 &&
             bpf_program__attach(ours->progs.trace_sockets) != NULL);
    memset(buffer, 'b', sizeof(buffer));
    return ours;
}

struct hook {
    struct bench_cost (*measure)(struct bpf_program *program, int place, const struct kind *kind,
                                 const struct servers *servers);
    int place; /* a cgroup, an interface */
    /* An empty program that runs for the client's packets alone, where others' come by as well. */
    struct bpf_program *clients;
};

/* What ours costs a packet of the client's. */
static double with_ours(const struct hook *hook, struct bpf_program *ours, double empty_ns,
                        const struct kind *kind, const struct servers *servers)
{
    if (hook->clients == NULL)
        return bench_run_ns(hook->measure(ours, hook->place, kind, servers));
    struct bench_cost before = bench_cost_of(hook->clients);
    struct bench_cost cost = hook->measure(ours, hook->place, kind, servers);
    struct bench_cost clients = bench_cost_since(hook->clients, before);
    return empty_ns + ((double)cost.ns - empty_ns * (double)cost.runs) / (double)clients.runs;
}

static void compare(const struct hook *hook, struct bpf_program *ours, struct bpf_program *empty,
                    const struct kind *const *kinds, const struct servers *servers)
{
    for (; *kinds != NULL; kinds++) {
        double with[BENCH_ROUNDS], without[BENCH_ROUNDS];
        for (int i = 0; i < BENCH_ROUNDS; i++) {
            without[i] = bench_run_ns(hook->measure(empty, hook->place, *kinds, servers));
            with[i] = with_ours(hook, ours, without[i], *kinds, servers);
        }
        printf("%s %.1f\n%s_empty %.1f\n", (*kinds)->name, bench_median(with, BENCH_ROUNDS),
               (*kinds)->name, bench_median(without, BENCH_ROUNDS));
    }
}

static struct bench_cost by_link(struct bpf_program *program, struct bpf_link *link,
                                 const struct kind *kind, const struct servers *servers)
{
    UT_CHECK(link != NULL);
    struct bench_cost before = bench_cost_of(program);
    kind->act(servers);
    struct bench_cost cost = bench_cost_since(program, before);
    bpf_link__destroy(link);
    return cost;
}

static struct bench_cost at_cgroup(struct bpf_program *program, int cgroup, const struct kind *kind,
                                   const struct servers *servers)
{
    return by_link(program, bpf_program__attach_cgroup(program, cgroup), kind, servers);
}

static struct bench_cost at_reader(struct bpf_program *program, int place, const struct kind *kind,
                                   const struct servers *servers)
{
    (void)place;
    return by_link(program, bpf_program__attach(program), kind, servers);
}

static struct bench_cost at_interface(struct bpf_program *program, int interface,
                                      const struct kind *kind, const struct servers *servers)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface, .attach_point = BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = bpf_program__fd(program));
    UT_CHECK(bpf_tc_attach(&hook, &filter) == 0);
    struct bench_cost before = bench_cost_of(program);
    kind->act(servers);
    struct bench_cost cost = bench_cost_since(program, before);
    filter.prog_fd = 0;
    filter.prog_id = filter.flags = 0;
    UT_CHECK(bpf_tc_detach(&hook, &filter) == 0);
    return cost;
}

/* ---- modes ---------------------------------------------------------------------------------- */

void bench_egress_packets(const char *empty_path, const char *path)
{
    static const char *const names[] = {"trace_egress", "trace_sockets", NULL};
    static const struct kind *const kinds[] = {&body, &other, &ack, &head, &long_head, NULL};
    struct servers servers;
    start_servers(&servers);
    int cgroup = bench_enter_cgroup(path);
    const struct hook hook = {.measure = at_cgroup, .place = cgroup};
    struct bpf_program *empty = bench_empty_program(empty_path, "empty_egress");
    compare(&hook, follow(names, cgroup)->progs.trace_egress, empty, kinds, &servers);
    stop_servers(&servers);
}

/* A network of our own, which goes with us. Returns its loopback interface. */
static int leave_for_own_network(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    UT_CHECK(unshare(CLONE_NEWNET) == 0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    UT_CHECK(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    close(fd);
    int lo = (int)if_nametoindex("lo");
    UT_CHECK(lo > 0);
    return lo;
}

void bench_link_packets(const char *empty_path, const char *path)
{
    static const char *const names[] = {"trace_tc", "trace_sockets", NULL};
    static const struct kind *const kinds[] = {&body, &other, &head, &long_head, NULL};
    struct servers servers;
    struct hook hook = {.measure = at_interface, .place = leave_for_own_network()};
    LIBBPF_OPTS(bpf_tc_hook, queue, .ifindex = hook.place, .attach_point = BPF_TC_EGRESS);
    UT_CHECK(bpf_tc_hook_create(&queue) == 0);
    start_servers(&servers);
    int cgroup = bench_enter_cgroup(path);
    struct bpf_program *empty = bench_empty_program(empty_path, "empty_tc");
    hook.clients = bench_empty_program(empty_path, "empty_egress");
    struct bpf_link *clients = bpf_program__attach_cgroup(hook.clients, cgroup);
    UT_CHECK(clients != NULL);
    compare(&hook, follow(names, cgroup)->progs.trace_tc, empty, kinds, &servers);
    bpf_link__destroy(clients);
    stop_servers(&servers);
}

void bench_reads(const char *empty_path, const char *path)
{
    static const char *const names[] = {"trace_reader", "trace_egress", "trace_sockets", NULL};
    static const struct kind *const kinds[] = {&body, &other, &head, &long_head, NULL};
    struct servers servers;
    const struct hook hook = {.measure = at_reader};
    int cgroup = bench_enter_cgroup(path);
    start_servers(&servers);
    struct ut_bpf *ours = follow(names, cgroup);
    /* It follows the answers, without which no more requests are taken. */
    struct bpf_link *answers = bpf_program__attach_cgroup(ours->progs.trace_egress, cgroup);
    UT_CHECK(answers != NULL);
    struct bpf_program *empty = bench_empty_program(empty_path, "empty_read");
    compare(&hook, ours->progs.trace_reader, empty, kinds, &servers);
    bpf_link__destroy(answers);
    stop_servers(&servers);
}
