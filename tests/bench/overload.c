/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend that becomes ten times as slow and is quick again, and senders that do not care: how
 * long until the subject takes what it took before. Three phases: full (what is taken a second is
 * measured), slow (the sink answers a tenth of that), quick again. The senders always have more to
 * send, so some are refused in each phase; a connection that was refused pauses for PAUSE_NS,
 * whatever it was told, so that what is seen is the subject's recovery and not the senders'. Back
 * means: the half second has begun in which 0.9 of the full rate is accepted. Prints one JSON line.
 *
 * Protocol: prints "ready" when the sink listens, then waits for a line on standard input.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "body.h"
#include "peer.h"

enum { CONNECTIONS = 4, STREAMS = 8, WAITING_MAX = 4096, BUCKETS = 100 };

#define NS_PER_S 1000000000ull
#define PAUSE_NS (NS_PER_S / 50)
#define BUCKET_NS (NS_PER_S / 20)
#define WINDOW_BUCKETS 10
#define FULL_NS (3 * NS_PER_S)
#define SLOW_NS (5 * NS_PER_S)

static struct bench_loop loop;
static struct peer *peers[CONNECTIONS];
static unsigned open_streams[CONNECTIONS];
static uint64_t paused_until[CONNECTIONS];
static uint64_t accepted, refused, sunk;
/* Requests that the slow sink has and has not answered, a ring. */
static struct exchange *waiting[WAITING_MAX];
static size_t waiting_first, waiting_count;
static uint64_t gap_ns, next_answer_ns; /* gap 0: the sink is quick */

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void on_sink_request(struct exchange *x)
{
    if (waiting_count == WAITING_MAX) {
        fprintf(stderr, "overload: too many requests in flight at the sink\n");
        exit(1);
    }
    waiting[(waiting_first + waiting_count++) % WAITING_MAX] = x;
}

static void answer_due(uint64_t now)
{
    while (waiting_count > 0 && (gap_ns == 0 || now >= next_answer_ns)) {
        bench_answer(waiting[waiting_first]);
        waiting_first = (waiting_first + 1) % WAITING_MAX;
        waiting_count--;
        sunk++;
        next_answer_ns = now + gap_ns;
    }
}

static void on_response(struct exchange *x)
{
    unsigned number = (unsigned)((unsigned *)x->user - open_streams);
    open_streams[number]--;
    if (x->status == 0) {
        accepted++;
        return;
    }
    refused++;
    paused_until[number] = now_ns() + PAUSE_NS;
}

static void turn(const uint8_t *request, size_t size)
{
    uint64_t now = now_ns();
    answer_due(now);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        while (now >= paused_until[i] && open_streams[i] < STREAMS) {
            open_streams[i]++;
            bench_request(peers[i], request, size, &open_streams[i]);
        }
    }
    bench_loop_turn(&loop, 1);
}

/* Until `ns` from now; returns what was accepted. */
static uint64_t run(uint64_t ns, const uint8_t *request, size_t size)
{
    uint64_t before = accepted;
    for (uint64_t end = now_ns() + ns; now_ns() < end;)
        turn(request, size);
    return accepted - before;
}

/* Since the sink is quick again; -1: never. */
static double find_back_ms(const uint64_t buckets[BUCKETS], uint64_t full)
{
    double target = 0.9 * (double)full * WINDOW_BUCKETS * BUCKET_NS / NS_PER_S;
    for (size_t i = 0; i + WINDOW_BUCKETS <= BUCKETS; i++) {
        double within = 0;
        for (size_t j = i; j < i + WINDOW_BUCKETS; j++)
            within += (double)buckets[j];
        if (within >= target)
            return (double)i * BUCKET_NS / 1e6;
    }
    return -1;
}

int main(int argc, char **argv)
{
    static const struct peer_ops sink_ops = {.on_request = on_sink_request};
    static const struct peer_ops load_ops = {.on_response = on_response};
    const struct body_options options = {.spans = 512, .attributes = 8, .kind = 2};
    uint64_t buckets[BUCKETS];
    size_t size;
    if (argc != 3)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    bench_loop_init(&loop);
    bench_listen(&loop, (uint16_t)atoi(argv[2]), &sink_ops);
    printf("ready\n");
    fflush(stdout);
    if (getchar() == EOF)
        return 1;
    const uint8_t *request = body_new(&options, &size);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        peers[i] = bench_connect(&loop, (uint16_t)atoi(argv[1]), &load_ops);

    (void)run(NS_PER_S, request, size);
    uint64_t full = run(FULL_NS, request, size) * NS_PER_S / FULL_NS;
    gap_ns = NS_PER_S * 10 / (full > 0 ? full : 1);
    uint64_t refused_before = refused, sunk_before = sunk;
    (void)run(SLOW_NS, request, size);
    uint64_t slow = (sunk - sunk_before) * NS_PER_S / SLOW_NS;
    uint64_t refused_slow = refused - refused_before;
    gap_ns = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        buckets[i] = run(BUCKET_NS, request, size);

    double back_ms = find_back_ms(buckets, full);
    printf("{\"full\": %llu, \"slow\": %llu, \"refused\": %llu, \"back_ms\": %.0f}\n",
           (unsigned long long)full, (unsigned long long)slow, (unsigned long long)refused_slow,
           back_ms);
    return back_ms < 0;
}
