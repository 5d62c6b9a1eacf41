/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk hold alone, on one loop, beside what its disk can do at best. Prints one figure a line,
 * `name value`:
 *
 *   floor_mb_s, hold_mb_s   the same groups of 8 bodies of 210 KB, written with pwrite + fdatasync
 *                           over a file of the same size; put into the hold, oldest finished
 *   lmdb_mb_s               … and as bare LMDB takes them: what no hold on it can be quicker than
 *   floor_cpu_s_gb, hold_cpu_s_gb, lmdb_cpu_s_gb   what that costs
 *   commit_p50_us, _p99_us  an LMDB transaction with one such record and one deletion, 39 a second
 *   answer_p50_us, _p99_us  from a put to its answer, at the same pace (20,000 spans a second)
 *   open_ms                 opening a hold with 1 GiB in it, its check in another process included
 *
 * usage: bench_hold [SECONDS]      of each part; files go to TMPDIR or /var/tmp
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "disk_scratch.h"
#include "flow/disk/hold.h"
#include "loop/worker.h"

enum { BODY = 210000, GROUP = 8, KEPT = 32, PACE_US = 1000000 / 39, SAMPLES_MAX = 20000 };

#define FILE_BYTES ((size_t)256 << 20)
#define GIB ((uint64_t)1 << 30)

/* As many as are under way in the program: each has left the near caches when it is written. */
static uint8_t bodies[KEPT][BODY];
static struct disk_scratch scratch;
static double seconds = 5;

static void check(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_hold: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t end_of(double length)
{
    return ut_clock_monotonic_ns() + (uint64_t)(length * 1e9);
}

/* Of the whole process, all threads. */
static double cpu_seconds(void)
{
    struct rusage usage;
    check(getrusage(RUSAGE_SELF, &usage) == 0, "getrusage");
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- latencies ------------------------------------------------------------------------------- */

struct samples {
    uint64_t ns[SAMPLES_MAX];
    size_t count;
};

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void add(struct samples *samples, uint64_t ns)
{
    if (samples->count < SAMPLES_MAX)
        samples->ns[samples->count++] = ns;
}

static void print(const char *name, struct samples *samples)
{
    check(samples->count > 0, name);
    qsort(samples->ns, samples->count, sizeof(samples->ns[0]), compare);
    printf("%s_p50_us %.1f\n", name, (double)samples->ns[samples->count / 2] / 1e3);
    printf("%s_p99_us %.1f\n", name, (double)samples->ns[samples->count * 99 / 100] / 1e3);
}

/* ---- the floors ------------------------------------------------------------------------------ */

static double floor_rate(void)
{
    char path[PATH_MAX];
    int fd = open(disk_scratch_file(&scratch, "floor", path), O_RDWR | O_CREAT, 0600);
    check(fd >= 0 && posix_fallocate(fd, 0, (off_t)FILE_BYTES) == 0, "floor");
    /* A first round over the whole file, so that its blocks are written once as the hold's are. */
    uint64_t bytes = 0, begin = 0, end = UINT64_MAX;
    double cpu = 0;
    off_t at = 0;
    unsigned next = 0;
    while (ut_clock_monotonic_ns() < end) {
        for (int i = 0; i < GROUP; i++, at += (BODY + 4095) / 4096 * 4096)
            check(pwrite(fd, bodies[next++ % KEPT], BODY, at) == BODY, "pwrite");
        check(fdatasync(fd) == 0, "fdatasync");
        bytes += GROUP * BODY;
        if ((size_t)at + (size_t)GROUP * (BODY + 4096) < FILE_BYTES)
            continue;
        at = 0;
        if (begin == 0) {
            cpu = cpu_seconds();
            begin = ut_clock_monotonic_ns();
            end = end_of(seconds);
            bytes = 0;
        }
    }
    double rate = (double)bytes / (double)(ut_clock_monotonic_ns() - begin) * 1e3;
    printf("floor_cpu_s_gb %.3f\n", (cpu_seconds() - cpu) / (double)bytes * 1e9);
    close(fd);
    check(unlink(path) == 0, path);
    return rate;
}

struct bare {
    char path[PATH_MAX];
    MDB_env *env;
    MDB_dbi dbi;
};

static void open_bare(struct bare *bare, const char *name)
{
    MDB_txn *txn;
    check(mdb_env_create(&bare->env) == 0 && mdb_env_set_mapsize(bare->env, FILE_BYTES) == 0,
          "env");
    check(mdb_env_open(bare->env, disk_scratch_file(&scratch, name, bare->path),
                       MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD, 0600) == 0,
          "open");
    check(mdb_txn_begin(bare->env, NULL, 0, &txn) == 0, "begin");
    check(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &bare->dbi) == 0 && mdb_txn_commit(txn) == 0,
          "dbi");
}

/* The records from `number` on come, as many go where KEPT are there. */
static void one_commit(const struct bare *bare, uint64_t number, unsigned count)
{
    MDB_txn *txn;
    check(mdb_txn_begin(bare->env, NULL, 0, &txn) == 0, "begin");
    for (uint64_t i = number; i < number + count; i++) {
        uint64_t old = i - KEPT;
        MDB_val gone = {sizeof(old), &old};
        if (i > KEPT)
            check(mdb_del(txn, bare->dbi, &gone, NULL) == 0, "del");
    }
    for (uint64_t i = number; i < number + count; i++) {
        MDB_val key = {sizeof(i), &i}, value = {BODY, NULL};
        check(mdb_put(txn, bare->dbi, &key, &value, MDB_APPEND | MDB_RESERVE) == 0, "put");
        memcpy(value.mv_data, bodies[i % KEPT], BODY);
    }
    check(mdb_txn_commit(txn) == 0, "commit");
}

static double bare_rate(void)
{
    struct bare bare;
    uint64_t number = 1;
    open_bare(&bare, "rate.mdb");
    for (uint64_t warm = end_of(1); ut_clock_monotonic_ns() < warm; number += GROUP)
        one_commit(&bare, number, GROUP);
    uint64_t before = number, begin = ut_clock_monotonic_ns(), end = end_of(seconds);
    double cpu = cpu_seconds();
    for (; ut_clock_monotonic_ns() < end; number += GROUP)
        one_commit(&bare, number, GROUP);
    double bytes = (double)((number - before) * BODY);
    double rate = bytes / (double)(ut_clock_monotonic_ns() - begin) * 1e3;
    printf("lmdb_cpu_s_gb %.3f\n", (cpu_seconds() - cpu) / bytes * 1e9);
    mdb_env_close(bare.env);
    check(unlink(bare.path) == 0, bare.path);
    return rate;
}

static void pace(uint64_t *due_ns)
{
    *due_ns += (uint64_t)PACE_US * 1000;
    uint64_t now = ut_clock_monotonic_ns();
    if (*due_ns > now)
        (void)usleep((unsigned)((*due_ns - now) / 1000));
}

static void commit_latency(struct samples *samples)
{
    struct bare bare;
    open_bare(&bare, "plain.mdb");
    uint64_t end = end_of(seconds), due = ut_clock_monotonic_ns();
    for (uint64_t number = 1; ut_clock_monotonic_ns() < end; number++) {
        pace(&due);
        uint64_t before = ut_clock_monotonic_ns();
        one_commit(&bare, number, 1);
        add(samples, ut_clock_monotonic_ns() - before);
    }
    mdb_env_close(bare.env);
}

/* ---- the hold -------------------------------------------------------------------------------- */

struct bench;

struct slot {
    struct ut_hold_put put;
    struct bench *bench;
    uint64_t put_ns;
};

struct bench {
    struct ut_worker worker;
    struct ut_hold *hold;
    struct ut_hold_record *stored[KEPT];
    uint64_t put_count, next, answered, failed;
    struct samples *samples;
    struct slot slots[GROUP * 2];
    bool again, closed;
};

static void put_one(struct slot *slot)
{
    const uint8_t *body = bodies[slot->bench->put_count++ % KEPT];
    slot->put_ns = ut_clock_monotonic_ns();
    slot->put.record =
        (struct ut_record){.spans = 512, .cursors = 1, .body = ut_slice_of(body, BODY)};
    check(ut_hold_put(slot->bench->hold, &slot->put) == 0, "put");
}

/* The oldest is finished when a new one is there: a backlog of KEPT records. */
static void on_put(struct ut_hold_put *put, struct ut_hold_record *record, int error)
{
    struct slot *slot = UT_CONTAINER_OF(put, struct slot, put);
    struct bench *bench = slot->bench;
    bench->answered++;
    bench->failed += error != 0 && error != -ECANCELED;
    if (bench->samples != NULL)
        add(bench->samples, ut_clock_monotonic_ns() - slot->put_ns);
    if (error != 0)
        return;
    struct ut_hold_record **place = &bench->stored[bench->next++ % KEPT];
    if (*place != NULL)
        ut_hold_done(*place, 0);
    *place = record;
    if (bench->again)
        put_one(slot);
}

static void open_hold(struct bench *bench, uint64_t max_bytes)
{
    static struct ut_metrics *metrics;
    char error[UT_DISK_ERROR_TEXT];
    metrics = ut_metrics_new();
    memset(bench, 0, sizeof(*bench));
    check(ut_worker_init(&bench->worker, (size_t)64 << 20, NULL, metrics) == 0, "worker");
    const struct ut_hold_config config = {&bench->worker, scratch.path, max_bytes, true, true};
    if (ut_hold_open(&bench->hold, &config, error) != 0) {
        fprintf(stderr, "bench_hold: %s\n", error);
        exit(1);
    }
    check(ut_hold_claim(bench->hold, "bench") == 0, "claim");
    for (size_t i = 0; i < sizeof(bench->slots) / sizeof(bench->slots[0]); i++) {
        bench->slots[i].bench = bench;
        bench->slots[i].put.done = on_put;
    }
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void close_hold(struct bench *bench)
{
    struct ut_metrics *metrics = bench->worker.metrics;
    ut_hold_close(bench->hold, on_closed, &bench->closed);
    while (!bench->closed)
        (void)uv_run(&bench->worker.uv, UV_RUN_ONCE);
    check(bench->failed == 0, "a put failed");
    ut_worker_done(&bench->worker);
    ut_metrics_free(metrics);
}

static double hold_rate(struct bench *bench)
{
    open_hold(bench, FILE_BYTES / 2);
    bench->again = true;
    /* Two groups: one is written while the other comes together. */
    for (size_t i = 0; i < GROUP * 2; i++)
        put_one(&bench->slots[i]);
    for (uint64_t warm = end_of(1); ut_clock_monotonic_ns() < warm;)
        (void)uv_run(&bench->worker.uv, UV_RUN_ONCE);
    uint64_t before = bench->answered, begin = ut_clock_monotonic_ns(), end = end_of(seconds);
    double cpu = cpu_seconds();
    while (ut_clock_monotonic_ns() < end)
        (void)uv_run(&bench->worker.uv, UV_RUN_ONCE);
    double rate = (double)((bench->answered - before) * BODY) /
                  (double)(ut_clock_monotonic_ns() - begin) * 1e3;
    printf("hold_cpu_s_gb %.3f\n",
           (cpu_seconds() - cpu) / (double)((bench->answered - before) * BODY) * 1e9);
    bench->again = false;
    close_hold(bench);
    return rate;
}

static void answer_latency(struct bench *bench, struct samples *samples)
{
    open_hold(bench, FILE_BYTES / 2);
    bench->samples = samples;
    uint64_t end = end_of(seconds), due = ut_clock_monotonic_ns();
    while (ut_clock_monotonic_ns() < end) {
        uint64_t answered = bench->answered;
        pace(&due);
        (void)uv_run(&bench->worker.uv, UV_RUN_NOWAIT);
        put_one(&bench->slots[0]);
        while (bench->answered == answered)
            (void)uv_run(&bench->worker.uv, UV_RUN_ONCE);
    }
    close_hold(bench);
}

static double open_time(struct bench *bench)
{
    char path[PATH_MAX];
    (void)unlink(disk_scratch_file(&scratch, "hold.mdb", path));
    open_hold(bench, GIB + GIB / 4);
    for (uint64_t left = GIB / BODY; left > 0; left--) {
        uint64_t answered = bench->answered;
        bench->stored[bench->next % KEPT] = NULL; /* it stays on the disk */
        put_one(&bench->slots[0]);
        while (bench->answered == answered)
            (void)uv_run(&bench->worker.uv, UV_RUN_ONCE);
    }
    close_hold(bench);
    /* From the disk, not from what was just written. */
    int fd = open(path, O_RDONLY);
    check(fd >= 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, path);
    close(fd);
    uint64_t begin = ut_clock_monotonic_ns();
    open_hold(bench, GIB + GIB / 4);
    double ms = (double)(ut_clock_monotonic_ns() - begin) / 1e6;
    close_hold(bench);
    return ms;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static struct samples commits, answers;
    seconds = argc > 1 ? strtod(argv[1], NULL) : seconds;
    for (size_t i = 0; i < sizeof(bodies); i++)
        bodies[i / BODY][i % BODY] = (uint8_t)(i * 2654435761u >> 13);
    /* Pages that LMDB frees stay with the process, as collector/app_holds.c has it. */
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, 4 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 16 << 20);
    disk_scratch_init(&scratch);
    printf("floor_mb_s %.1f\n", floor_rate());
    printf("lmdb_mb_s %.1f\n", bare_rate());
    printf("hold_mb_s %.1f\n", hold_rate(&bench));
    commit_latency(&commits);
    print("commit", &commits);
    answer_latency(&bench, &answers);
    print("answer", &answers);
    printf("open_ms %.1f\n", open_time(&bench));
    disk_scratch_done(&scratch);
    return 0;
}
