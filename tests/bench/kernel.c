/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel programs cost, one `name value` a line:
 *
 *   kernel load                      loading and attaching all of them, in ms
 *   kernel packets EMPTY CGROUP      trace_egress, ns a packet of several kinds, and of an empty
 *                                    program in its place (…_empty)
 *   kernel pages EMPTY               page_alloc, ns a page, likewise; and ns that a page takes to
 *                                    be touched with ours, with the empty one and with none
 *   kernel faults                    ns that a page takes to be touched, as things are
 *
 * EMPTY is the object of empty.bpf.c. CGROUP is an empty directory of the v2 hierarchy which the
 * client's side goes into; its program is attached there, so that it sees no others' packets. The
 * kernel's own run statistics tell the ns, the time that reading the clock takes among them: it is
 * the same for the empty program. Ours and the empty one take turns.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "ebpf_receiver/programs.h"

enum {
    ROUNDS = 5,
    PACKETS = 100000,
    PACKET = 1400,
    HEAD = 700,
    STREAMED = 256 << 20,
    TOUCHED = 256 << 20,
    PAGE = 4096,
};

/* ---- how often a program ran, and for how long ----------------------------------------------- */

struct cost {
    uint64_t ns, runs;
};

static struct cost cost_of(const struct bpf_program *program)
{
    struct bpf_prog_info info = {.type = 0};
    uint32_t size = sizeof(info);
    UT_CHECK(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) == 0);
    return (struct cost){info.run_time_ns, info.run_cnt};
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *figures, int count)
{
    qsort(figures, (size_t)count, sizeof(figures[0]), by_size);
    return figures[count / 2];
}

/* ns a run of the program while `act` goes on. */
static double run_ns(const struct bpf_program *program, void (*act)(void *arg), void *arg)
{
    struct cost before = cost_of(program);
    act(arg);
    struct cost after = cost_of(program);
    UT_CHECK(after.runs > before.runs);
    return (double)(after.ns - before.ns) / (double)(after.runs - before.runs);
}

static struct bpf_program *empty_program(const char *path, const char *name)
{
    struct bpf_object *object = bpf_object__open(path);
    UT_CHECK(object != NULL);
    struct bpf_program *program;
    bpf_object__for_each_program(program, object)
    {
        bpf_program__set_autoload(program, strcmp(bpf_program__name(program), name) == 0);
    }
    UT_CHECK(bpf_object__load(object) == 0);
    program = bpf_object__find_program_by_name(object, name);
    UT_CHECK(program != NULL);
    return program;
}

/* The object with some of its programs. */
static struct ut_bpf *load_ours(const char *const *names)
{
    struct ut_bpf *skeleton = ut_bpf__open();
    struct bpf_program *program;
    UT_CHECK(skeleton != NULL);
    bpf_object__for_each_program(program, skeleton->obj)
    {
        bool wanted = false;
        for (const char *const *name = names; *name != NULL; name++)
            wanted |= strcmp(bpf_program__name(program), *name) == 0;
        bpf_program__set_autoload(program, wanted);
    }
    UT_CHECK(ut_bpf__load(skeleton) == 0);
    return skeleton;
}

/* ---- the other end of the packets ------------------------------------------------------------ */

enum server { SINK, STREAM, ANSWER, SERVERS };

struct packets {
    uint16_t ports[SERVERS];
    pid_t pids[SERVERS];
};

static char buffer[1 << 16];

static void serve_one(int fd, enum server kind)
{
    ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
    if (kind == STREAM) {
        for (size_t sent = 0; sent < STREAMED && size > 0; sent += (size_t)size)
            size = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL);
        return;
    }
    while (size > 0 && (kind != ANSWER || send(fd, "x", 1, MSG_NOSIGNAL) == 1))
        size = recv(fd, buffer, sizeof(buffer), 0);
}

static void start_server(struct packets *packets, enum server kind)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    UT_CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, size) == 0 &&
             listen(listener, 8) == 0 &&
             getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    packets->ports[kind] = ntohs(address.sin_port);
    packets->pids[kind] = fork();
    UT_CHECK(packets->pids[kind] >= 0);
    if (packets->pids[kind] > 0) {
        close(listener);
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd))
        serve_one(fd, kind);
    _exit(0);
}

static int connect_to(const struct packets *packets, enum server kind)
{
    const int yes = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(packets->ports[kind]),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    UT_CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
             setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) == 0);
    return fd;
}

/* ---- kinds of packets ------------------------------------------------------------------------ */

static void send_whole(int fd, const char *data, size_t size)
{
    UT_CHECK(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
}

static void send_many(const struct packets *packets, const char *first)
{
    int fd = connect_to(packets, SINK);
    send_whole(fd, first, strlen(first));
    for (int i = 0; i < PACKETS; i++)
        send_whole(fd, buffer, PACKET);
    close(fd);
}

static void send_body(void *arg)
{
    send_many(arg, "POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: 1000000000\r\n\r\n");
}

static void send_other(void *arg)
{
    send_many(arg, "\x16\x03\x01 no request of HTTP");
}

static void take_stream(void *arg)
{
    int fd = connect_to(arg, STREAM);
    send_whole(fd, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n", 31);
    while (recv(fd, buffer, sizeof(buffer), 0) > 0)
        continue;
    close(fd);
    memset(buffer, 'b', sizeof(buffer));
}

static void send_heads(void *arg)
{
    static const char begin[] = "GET /api/v1/orders/482913 HTTP/1.1\r\nHost: bench\r\nCookie: ";
    static const char end[] =
        "\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    char head[HEAD], answer;
    memset(head, 'c', sizeof(head));
    memcpy(head, begin, sizeof(begin) - 1);
    memcpy(head + sizeof(head) - (sizeof(end) - 1), end, sizeof(end) - 1);
    int fd = connect_to(arg, ANSWER);
    for (int i = 0; i < PACKETS; i++) {
        send_whole(fd, head, sizeof(head));
        UT_CHECK(recv(fd, &answer, 1, 0) == 1);
    }
    close(fd);
}

static const struct {
    const char *name;
    void (*act)(void *arg);
} kinds[] = {
    {"body", send_body}, {"other", send_other}, {"ack", take_stream}, {"head", send_heads}};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static double at_cgroup(struct bpf_program *program, int cgroup, int kind, struct packets *packets)
{
    struct bpf_link *link = bpf_program__attach_cgroup(program, cgroup);
    UT_CHECK(link != NULL);
    double ns = run_ns(program, kinds[kind].act, packets);
    bpf_link__destroy(link);
    return ns;
}

static void enter_cgroup(const char *path)
{
    char file[4096];
    (void)snprintf(file, sizeof(file), "%s/cgroup.procs", path);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    UT_CHECK(fd >= 0 && write(fd, "0", 1) == 1);
    close(fd);
}

static void measure_packets(const char *empty_path, const char *path)
{
    static const char *const names[] = {"trace_egress", "trace_sockets", NULL};
    struct packets packets = {.ports = {0}};
    struct stat status;
    const uint8_t yes = 1;
    for (int i = 0; i < SERVERS; i++)
        start_server(&packets, (enum server)i);
    enter_cgroup(path);
    int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct bpf_program *empty = empty_program(empty_path, "empty_egress");
    struct ut_bpf *ours = load_ours(names);
    UT_CHECK(cgroup >= 0 && fstat(cgroup, &status) == 0);
    uint64_t id = status.st_ino;
    UT_CHECK(bpf_map_update_elem(bpf_map__fd(ours->maps.senders), &id, &yes, BPF_ANY) == 0 &&
             bpf_program__attach(ours->progs.trace_sockets) != NULL);
    memset(buffer, 'b', sizeof(buffer));
    for (int kind = 0; kind < KINDS; kind++) {
        double with[ROUNDS], without[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            without[i] = at_cgroup(empty, cgroup, kind, &packets);
            with[i] = at_cgroup(ours->progs.trace_egress, cgroup, kind, &packets);
        }
        printf("%s %.1f\n%s_empty %.1f\n", kinds[kind].name, median(with, ROUNDS), kinds[kind].name,
               median(without, ROUNDS));
    }
    for (int i = 0; i < SERVERS; i++) {
        kill(packets.pids[i], SIGTERM);
        waitpid(packets.pids[i], NULL, 0);
    }
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void touch(void *arg)
{
    uint64_t *ns = arg;
    char *pages = mmap(NULL, TOUCHED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    UT_CHECK(pages != MAP_FAILED && madvise(pages, TOUCHED, MADV_NOHUGEPAGE) == 0);
    uint64_t before_ns = ut_clock_monotonic_ns();
    for (size_t at = 0; at < TOUCHED; at += PAGE)
        *(volatile char *)(pages + at) = 1;
    *ns = ut_clock_monotonic_ns() - before_ns;
    munmap(pages, TOUCHED);
}

static double touched_ns(void)
{
    uint64_t ns;
    touch(&ns);
    const size_t pages = TOUCHED / PAGE;
    return (double)ns / (double)pages;
}

struct page_figures {
    double run_ns[ROUNDS], touch_ns[ROUNDS];
};

static void with_program(struct bpf_program *program, struct page_figures *figures, int i)
{
    uint64_t ns;
    struct bpf_link *link = bpf_program__attach(program);
    UT_CHECK(link != NULL);
    int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
    UT_CHECK(stats >= 0);
    figures->run_ns[i] = run_ns(program, touch, &ns);
    close(stats);
    figures->touch_ns[i] = touched_ns();
    bpf_link__destroy(link);
}

static void measure_pages(const char *empty_path)
{
    static const char *const names[] = {"page_alloc", NULL};
    static struct page_figures with, without;
    double none[ROUNDS];
    struct bpf_program *empty = empty_program(empty_path, "empty_page_alloc");
    struct ut_bpf *ours = load_ours(names);
    for (int i = 0; i < ROUNDS; i++) {
        none[i] = touched_ns();
        with_program(empty, &without, i);
        with_program(ours->progs.page_alloc, &with, i);
    }
    printf("page %.1f\npage_empty %.1f\n", median(with.run_ns, ROUNDS),
           median(without.run_ns, ROUNDS));
    printf("touch %.1f\ntouch_empty %.1f\ntouch_none %.1f\n", median(with.touch_ns, ROUNDS),
           median(without.touch_ns, ROUNDS), median(none, ROUNDS));
}

static void measure_faults(void)
{
    double ns[ROUNDS];
    for (int i = 0; i < ROUNDS; i++)
        ns[i] = touched_ns();
    printf("touch %.1f\n", median(ns, ROUNDS));
}

/* ---- loading --------------------------------------------------------------------------------- */

static void measure_load(void)
{
    const struct ut_ebpf_settings settings = {
        .ring_bytes = 1 << 20,
        .memory = true,
        .allocations = true,
        .trace_context = true,
        .max_sockets = 32768,
    };
    double ms[ROUNDS];
    int working = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct ut_ebpf_programs programs;
        uint64_t before_ns = ut_clock_monotonic_ns();
        ut_ebpf_programs_init(&programs, &settings, NULL);
        ms[i] = (double)(ut_clock_monotonic_ns() - before_ns) / 1e6;
        working = ut_ebpf_programs_working(&programs);
        ut_ebpf_programs_done(&programs);
    }
    printf("load_ms %.1f\nprograms %d\n", median(ms, ROUNDS), working);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "load") == 0 && argc == 2) {
        measure_load();
    } else if (strcmp(what, "packets") == 0 && argc == 4) {
        UT_CHECK(bpf_enable_stats(BPF_STATS_RUN_TIME) >= 0);
        measure_packets(argv[2], argv[3]);
    } else if (strcmp(what, "pages") == 0 && argc == 3) {
        measure_pages(argv[2]);
    } else if (strcmp(what, "faults") == 0 && argc == 2) {
        measure_faults();
    } else {
        fprintf(stderr, "usage: kernel load | packets EMPTY CGROUP | pages EMPTY | faults\n");
        return 2;
    }
    return 0;
}
