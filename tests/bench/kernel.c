/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel programs cost, one `name value` a line:
 *
 * - kernel load: loading and attaching all of them, in ms
 * - kernel egress EMPTY CGROUP: trace_egress, ns a packet of several kinds, and of an empty program
 *   in its place (…_empty)
 * - kernel links EMPTY CGROUP: trace_tc, likewise
 * - kernel reads EMPTY CGROUP: trace_reader, likewise of packets that a server reads
 * - kernel sends EMPTY CGROUP: send_begins and send_ends, ns a send, likewise, of a followed socket
 *   and of another (…_stranger); sent_stamps, ns a recovery with ten segments in flight
 * - kernel pages EMPTY: page_alloc, ns a page, likewise; and CPU ns that a page takes to be touched
 *   with ours, with the empty one and with none
 * - kernel storm: a storm of page faults with all that `memory: counters` attaches, to one without
 *   (`storm`), and of two without (`alike`): the median of the ratios and an interval that it is in
 *   with 95 % (…_low, …_high); and runs of our programs a fault
 *
 * EMPTY is the object of empty.bpf.c. CGROUP is an empty directory of the v2 hierarchy for those
 * whose packets are looked at. The kernel's own run statistics tell the ns of programs, the time
 * that reading the clock takes among them: it is the same for the empty program. Ours and the empty
 * one take turns.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "ebpf_receiver/programs.h"
#include "kernel_cost.h"

enum {
    ROUNDS = BENCH_ROUNDS,
    TOUCHED = 256 << 20,
    STORM = 64 << 20,
    STORMS = 30, /* of each kind */
    REST_NS = 30 * 1000 * 1000,
    PAGE = 4096,
};

/* ---- pages ----------------------------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
    struct timespec now;
    UT_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * UT_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* CPU ns a page. */
static double touch(size_t size)
{
    char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    UT_CHECK(pages != MAP_FAILED && madvise(pages, size, MADV_NOHUGEPAGE) == 0);
    uint64_t before_ns = cpu_ns();
    for (size_t at = 0; at < size; at += PAGE)
        *(volatile char *)(pages + at) = 1;
    uint64_t ns = cpu_ns() - before_ns;
    munmap(pages, size);
    return (double)ns / ((double)size / PAGE);
}

struct page_figures {
    double run_ns[ROUNDS], touch_ns[ROUNDS];
};

static void with_program(struct bpf_program *program, struct page_figures *figures, int i)
{
    struct bpf_link *link = bpf_program__attach(program);
    UT_CHECK(link != NULL);
    int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
    UT_CHECK(stats >= 0);
    struct bench_cost before = bench_cost_of(program);
    touch(TOUCHED);
    figures->run_ns[i] = bench_run_ns(bench_cost_since(program, before));
    close(stats);
    figures->touch_ns[i] = touch(TOUCHED);
    bpf_link__destroy(link);
}

static void measure_pages(const char *empty_path)
{
    static const char *const names[] = {"page_alloc", NULL};
    static struct page_figures with, without;
    double none[ROUNDS];
    struct bpf_program *empty = bench_empty_program(empty_path, "empty_page_alloc");
    struct ut_bpf *ours = bench_load_ours(names);
    for (int i = 0; i < ROUNDS; i++) {
        none[i] = touch(TOUCHED);
        with_program(empty, &without, i);
        with_program(ours->progs.page_alloc, &with, i);
    }
    printf("page %.1f\npage_empty %.1f\n", bench_median(with.run_ns, ROUNDS),
           bench_median(without.run_ns, ROUNDS));
    printf("touch %.1f\ntouch_empty %.1f\ntouch_none %.1f\n", bench_median(with.touch_ns, ROUNDS),
           bench_median(without.touch_ns, ROUNDS), bench_median(none, ROUNDS));
}

/* ---- a storm of page faults ------------------------------------------------------------------ */

/* Of all that is loaded, with the statistics on. */
static uint64_t runs_of(const struct ut_ebpf_programs *programs)
{
    uint64_t runs = 0;
    struct bpf_program *program;
    bpf_object__for_each_program(program, programs->skeleton->obj)
    {
        if (bpf_program__fd(program) >= 0)
            runs += bench_cost_of(program).runs;
    }
    return runs;
}

/* After what loading and unloading left behind, and with the caches as a storm leaves them. */
static double storm(void)
{
    const struct timespec rest = {.tv_nsec = REST_NS};
    nanosleep(&rest, NULL);
    touch(STORM / 4);
    return touch(STORM);
}

static double runs_a_fault(const struct ut_ebpf_programs *programs)
{
    int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
    UT_CHECK(stats >= 0);
    uint64_t before = runs_of(programs);
    touch(STORM);
    uint64_t runs = runs_of(programs) - before;
    close(stats);
    return (double)runs / ((double)STORM / PAGE);
}

/* The ranks come from the sign test: the median of all storms there could be lies between them. */
static void print_ratios(const char *name, double *ratios)
{
    int low = (int)((STORMS - 1.96 * sqrt(STORMS)) / 2);
    printf("%s %.4f\n", name, bench_median(ratios, STORMS));
    printf("%s_low %.4f\n%s_high %.4f\n", name, ratios[low - 1], name, ratios[STORMS - low]);
}

static void measure_storm(void)
{
    const struct ut_ebpf_settings settings = {.ring_bytes = 1 << 20, .memory = true};
    double ratios[STORMS], alike[STORMS], with[STORMS], runs[STORMS];
    for (int i = 0; i < STORMS; i++) {
        struct ut_ebpf_programs programs;
        double before = storm();
        ut_ebpf_programs_init(&programs, &settings, NULL);
        UT_CHECK(programs.states[UT_EBPF_LIMIT_STALL_BEGIN].works &&
                 programs.states[UT_EBPF_MEMORY_USAGE].works);
        with[i] = storm();
        runs[i] = runs_a_fault(&programs);
        ut_ebpf_programs_done(&programs);
        double after = storm();
        ratios[i] = with[i] / ((before + after) / 2);
        alike[i] = after / before;
    }
    print_ratios("storm", ratios);
    print_ratios("alike", alike);
    printf("fault_ns %.1f\nruns_a_fault %.6f\n", bench_median(with, STORMS),
           bench_median(runs, STORMS));
}

/* ---- loading --------------------------------------------------------------------------------- */

static void measure_load(void)
{
    const struct ut_ebpf_settings settings = {
        .ring_bytes = 1 << 20,
        .memory = true,
        .allocations = true,
        .trace_context = UT_EBPF_BY_CGROUP,
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
    printf("load_ms %.1f\nprograms %d\n", bench_median(ms, ROUNDS), working);
}

static int run(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*measure)(const char *empty, const char *cgroup);
    } modes[] = {
        {"egress", bench_egress_packets},
        {"links", bench_link_packets},
        {"reads", bench_reads},
        {"sends", bench_sends},
    };
    for (size_t i = 0; argc == 4 && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) != 0)
            continue;
        UT_CHECK(bpf_enable_stats(BPF_STATS_RUN_TIME) >= 0);
        modes[i].measure(argv[2], argv[3]);
        return 0;
    }
    fprintf(stderr,
            "usage: kernel load | egress EMPTY CGROUP | links EMPTY CGROUP | reads EMPTY CGROUP | "
            "sends EMPTY CGROUP | pages EMPTY | storm\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "load") == 0 && argc == 2)
        measure_load();
    else if (strcmp(what, "pages") == 0 && argc == 3)
        measure_pages(argv[2]);
    else if (strcmp(what, "storm") == 0 && argc == 2)
        measure_storm();
    else
        return run(argc, argv);
    return 0;
}
