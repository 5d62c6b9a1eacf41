/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs cost that note sends: of each ours and an empty program in its place in turn,
 * over loopback. Whoever sends is in the cgroup, alone, and is followed there or not (`stranger`).
 * Nothing else on the machine may send meanwhile, or it is counted too.
 *
 * For the recoveries a program at the cgroup's ingress drops all that arrives: each connection has
 * as much in flight as its first window takes, and the timeout finds it lost.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "kernel_cost.h"

enum {
    SENDS = 50000,
    SEND = 700,
    RECOVERIES = 64, /* connections, in each round */
    IN_FLIGHT = 10,  /* segments of each */
    TIMEOUT_NS = 400 * 1000 * 1000,
};

static struct bpf_program *dropper;
static struct bpf_map *connections;

struct pair {
    int ends[2];
};

/* What is kept of every connection lies in its socket's storage, where others are looked for. */
static void keep_connection(int fd)
{
    static const char none[256];
    UT_CHECK(bpf_map__value_size(connections) <= sizeof(none) &&
             bpf_map_update_elem(bpf_map__fd(connections), &fd, none, BPF_ANY) == 0);
}

static struct pair connect_pair(void)
{
    const int yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    struct pair pair;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pair.ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    UT_CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, size) == 0 &&
             listen(listener, 1) == 0 &&
             getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    UT_CHECK(pair.ends[0] >= 0 &&
             connect(pair.ends[0], (const struct sockaddr *)&address, size) == 0 &&
             setsockopt(pair.ends[0], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) == 0);
    pair.ends[1] = accept(listener, NULL, NULL);
    UT_CHECK(pair.ends[1] >= 0);
    close(listener);
    for (int i = 0; i < 2; i++)
        keep_connection(pair.ends[i]);
    return pair;
}

static void close_pair(struct pair pair)
{
    close(pair.ends[0]);
    close(pair.ends[1]);
}

static void send_one(struct pair pair)
{
    static char bytes[SEND];
    UT_CHECK(send(pair.ends[0], bytes, SEND, MSG_NOSIGNAL) == SEND);
}

static void send_many(int cgroup)
{
    char bytes[SEND];
    struct pair pair = connect_pair();
    (void)cgroup;
    for (int i = 0; i < SENDS; i++) {
        send_one(pair);
        UT_CHECK(recv(pair.ends[1], bytes, SEND, MSG_WAITALL) == SEND);
    }
    close_pair(pair);
}

static void lose_many(int cgroup)
{
    const struct timespec timeout = {.tv_nsec = TIMEOUT_NS};
    struct pair pairs[RECOVERIES];
    for (int i = 0; i < RECOVERIES; i++)
        pairs[i] = connect_pair();
    struct bpf_link *link = bpf_program__attach_cgroup(dropper, cgroup);
    UT_CHECK(link != NULL);
    for (int i = 0; i < RECOVERIES * IN_FLIGHT; i++)
        send_one(pairs[i % RECOVERIES]);
    nanosleep(&timeout, NULL);
    for (int i = 0; i < RECOVERIES; i++)
        close_pair(pairs[i]);
    bpf_link__destroy(link);
}

static struct bench_cost run(struct bpf_program *program, void (*act)(int cgroup), int cgroup)
{
    struct bpf_link *link = bpf_program__attach(program);
    UT_CHECK(link != NULL);
    struct bench_cost before = bench_cost_of(program);
    act(cgroup);
    struct bench_cost cost = bench_cost_since(program, before);
    bpf_link__destroy(link);
    return cost;
}

struct programs {
    struct bpf_program *ours, *empty;
};

static void compare_sends(const char *name, struct programs programs, int cgroup)
{
    double with[BENCH_ROUNDS], without[BENCH_ROUNDS];
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        without[i] = bench_run_ns(run(programs.empty, send_many, cgroup));
        with[i] = bench_run_ns(run(programs.ours, send_many, cgroup));
    }
    printf("%s %.1f\n%s_empty %.1f\n", name, bench_median(with, BENCH_ROUNDS), name,
           bench_median(without, BENCH_ROUNDS));
}

/* The state changes more often than to a recovery: what all runs cost above the empty program is
 * put on the recoveries. */
static void compare_recoveries(struct ut_bpf *ours, struct bpf_program *empty, int cgroup)
{
    double with[BENCH_ROUNDS], without[BENCH_ROUNDS];
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        without[i] = bench_run_ns(run(empty, lose_many, cgroup));
        uint64_t noted = ours->bss->sent_noted;
        struct bench_cost cost = run(ours->progs.sent_stamps, lose_many, cgroup);
        noted = ours->bss->sent_noted - noted;
        UT_CHECK(noted > 0);
        with[i] = without[i] + ((double)cost.ns - without[i] * (double)cost.runs) / (double)noted;
    }
    printf("recovery %.1f\nrecovery_empty %.1f\n", bench_median(with, BENCH_ROUNDS),
           bench_median(without, BENCH_ROUNDS));
}

void bench_sends(const char *empty_path, const char *path)
{
    static const char *const names[] = {"send_begins", "send_ends", "sent_stamps", "trace_sockets",
                                        NULL};
    const uint8_t yes = 1;
    int cgroup = bench_enter_cgroup(path);
    uint64_t id = bench_cgroup_id(cgroup);
    struct ut_bpf *ours = bench_load_ours(names);
    struct bpf_program *recovery = bench_empty_program(empty_path, "empty_recovery");
    const struct programs begins = {ours->progs.send_begins,
                                    bench_empty_program(empty_path, "empty_send_begins")},
                          ends = {ours->progs.send_ends,
                                  bench_empty_program(empty_path, "empty_send_ends")};
    connections = ours->maps.connections;
    dropper = bench_empty_program(empty_path, "drop_ingress");
    compare_sends("begins_stranger", begins, cgroup);
    compare_sends("ends_stranger", ends, cgroup);
    UT_CHECK(bpf_map_update_elem(bpf_map__fd(ours->maps.senders), &id, &yes, BPF_ANY) == 0 &&
             bpf_program__attach(ours->progs.trace_sockets) != NULL);
    compare_sends("begins", begins, cgroup);
    struct bpf_link *noted = bpf_program__attach(begins.ours); /* for the ends to find */
    UT_CHECK(noted != NULL);
    compare_sends("ends", ends, cgroup);
    bpf_link__destroy(noted);
    compare_recoveries(ours, recovery, cgroup);
}
