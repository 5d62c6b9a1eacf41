/* SPDX-License-Identifier: Apache-2.0 */
/* What workloads hold, read from files in the place of the kernel's. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evidence/tables.h"
#include "join_rows.h"

#define MIB (INT64_C(1) << 20)

static char root[] = "/tmp/ut-held-XXXXXX";
static struct ut_held *held;

static void folder(const char *path)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%s", root, path);
    cr_assert_eq(mkdir(name, 0700), 0);
}

static void write_counter(const char *path, long long bytes)
{
    char name[160];
    snprintf(name, sizeof(name), "%s%s/memory.current", root, path);
    FILE *file = fopen(name, "we");
    cr_assert_not_null(file);
    fprintf(file, "%lld\n", bytes);
    fclose(file);
}

static void begin_held(void)
{
    begin();
    cr_assert_not_null(mkdtemp(root));
    folder("/undertrace-demo");
    folder("/undertrace-demo/payment");
    held = &ut_evidence_tables(lab.evidence)->held;
    snprintf(held->mount.point, sizeof(held->mount.point), "%s", root);
    snprintf(held->mount.part, sizeof(held->mount.part), "/");
    held->file = "memory.current";
}

static void end_held(void)
{
    char command[64];
    end();
    snprintf(command, sizeof(command), "rm -r %s", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(held, .init = begin_held, .fini = end_held);

static void holds(double ms, int64_t bytes)
{
    struct ut_event_sink *sink = ut_evidence_sink(lab.evidence);
    write_counter("/undertrace-demo/payment", bytes);
    sink->sample(sink, lab_ns(ms));
}

/* The workload sends its first spans, and is read from then on. */
static void sends(void)
{
    write_counter("/undertrace-demo/payment", 0);
    ut_held_sample(held, lab_ns(-1000));
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, -20, -10, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_assert_eq(held->count, 1);
}

static void expect_held(uint32_t span, int64_t bytes, int64_t change)
{
    cr_expect_eq(lab_int(&lab, span, UT_ATTR_MEMORY_HELD_BYTES), bytes, "span %u: %lld", span,
                 (long long)lab_int(&lab, span, UT_ATTR_MEMORY_HELD_BYTES));
    cr_expect_eq(lab_int(&lab, span, UT_ATTR_MEMORY_HELD_CHANGE_BYTES), change, "span %u: %lld",
                 span, (long long)lab_int(&lab, span, UT_ATTR_MEMORY_HELD_CHANGE_BYTES));
}

Test(held, change_that_is_large_is_told)
{
    sends();
    holds(0, 10 * MIB);
    holds(100, 10 * MIB);
    holds(200, 30 * MIB);
    holds(300, 30 * MIB);
    holds(400, 12 * MIB);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 90, NULL),
             lab_span(KIND_INTERNAL, 2, 50, 250, NULL), lab_span(KIND_INTERNAL, 3, 300, 400, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    expect_held(1, 30 * MIB, 20 * MIB);
    expect_held(2, 12 * MIB, -18 * MIB);
    cr_expect_eq(lab_events(&lab, 1), 0);
    cr_expect_eq(lab_int(&lab, 1, UT_ATTR_MEMORY_HELD_SLOT_MS), -1);
    cr_expect_str_eq(lab_text(&lab, 1, UT_ATTR_MEMORY_STALL_SCOPE), "");
}

Test(held, between_two_readings_it_changes_in_proportion)
{
    sends();
    holds(0, 0);
    holds(100, 100 * MIB);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 25, 75, NULL));
    expect_held(0, 75 * MIB, 50 * MIB);
}

Test(held, nothing_is_told_of_times_that_were_not_read)
{
    sends();
    holds(1000, 10 * MIB);
    holds(1100, 50 * MIB);
    lab.now_ms = 2000;
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 1100, NULL),
             lab_span(KIND_INTERNAL, 2, 1050, 1900, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 1));
}

Test(held, what_was_read_last_is_in_the_metrics)
{
    static const char name[] = "undertrace_workload_memory_held_bytes";
    size_t size;
    sends();
    char *text = ut_metrics_text(lab.metrics, &size);
    cr_expect_null(strstr(text, name), "nothing was read yet: %s", text);
    free(text);
    holds(0, 10 * MIB);
    holds(100, 30 * MIB);
    text = ut_metrics_text(lab.metrics, &size);
    cr_expect_not_null(strstr(text, "# TYPE undertrace_workload_memory_held_bytes gauge\n"
                                    "undertrace_workload_memory_held_bytes{"
                                    "workload=\"/undertrace-demo/payment\"} 31457280\n"),
                       "%s", text);
    free(text);
}

Test(held, stands_beside_an_oom_kill_however_little_it_changed)
{
    sends();
    holds(0, 10 * MIB);
    holds(100, 10 * MIB + 4096);
    struct ut_record_oom_kill kill = {
        .header = lab_header(&lab, UT_RECORD_OOM_KILL, sizeof(kill), 50, PAYMENT),
        .pid = 7,
    };
    lab_record(&lab, &kill, sizeof(kill));
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 100, NULL));
    expect_held(0, 10 * MIB + 4096, 4096);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_MEMORY_OOM_KILLS), 1);
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_MEMORY_VICTIM_BYTES), -1);
}

Test(held, clock_that_was_set_back_begins_anew)
{
    sends();
    holds(0, 10 * MIB);
    holds(100, 90 * MIB);
    holds(-10000, 20 * MIB);
    holds(-9900, 20 * MIB);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 100, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
}

Test(held, cgroup_that_is_gone_is_read_no_more)
{
    sends();
    holds(0, 10 * MIB);
    write_counter("/undertrace-demo/payment", 0);
    char name[160];
    snprintf(name, sizeof(name), "%s/undertrace-demo/payment/memory.current", root);
    cr_assert_eq(truncate(name, 0), 0);
    ut_held_sample(held, lab_ns(100));
    cr_expect_eq(held->watches[0].file, -1);
    holds(200, 90 * MIB);
    cr_expect_eq(held->watches[0].held.count, 1);
}

Test(held, workload_that_sends_no_more_is_left)
{
    sends();
    holds(1000 + 60000, MIB);
    cr_expect_eq(held->count, 1);
    holds(1001 + 60100, MIB);
    cr_expect_eq(held->count, 0);
    cr_expect_null(ut_held_of(held, held->watches[0].workload));
}

Test(held, nothing_is_opened_where_nobody_reads)
{
    write_counter("/undertrace-demo/payment", 0);
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, -20, -10, NULL));
    cr_expect_eq(held->count, 0);
    cr_expect_eq(held->refused, 0);
}

Test(held, latest_two_minutes_are_kept)
{
    sends();
    write_counter("/undertrace-demo/payment", MIB);
    for (uint32_t i = 0; i <= UT_SERIES_POINTS; i++) {
        held->watches[0].wanted_ns = lab_ns(100.0 * i);
        ut_held_sample(held, lab_ns(100.0 * i));
    }
    uint64_t bytes;
    cr_expect_not(ut_held_at(&held->watches[0], lab_ns(-1), &bytes));
    cr_expect(ut_held_at(&held->watches[0], lab_ns(100.0 * UT_SERIES_POINTS - 120000), &bytes));
    cr_expect_eq(bytes, MIB);
    cr_expect(ut_held_at(&held->watches[0], lab_ns(100.0 * UT_SERIES_POINTS), &bytes));
    cr_expect_eq(ut_held_range(&held->watches[0], lab_ns(0), lab_ns(1000)), 0);
}

/* ---- by the source ----------------------------------------------------------------------------
 */

/* A source that reads one slot. */
static struct {
    struct ut_event_source source;
    int refusal;
    ino_t directory; /* that the slot was pointed at */
    uint32_t slot, readings;
    uint64_t bytes[UT_HELD_MAX];
} counting;

static int watch_slot(struct ut_event_source *source, uint32_t slot, int directory)
{
    struct stat status;
    cr_assert_eq(source, &counting.source);
    cr_assert_eq(fstat(directory, &status), 0);
    counting.slot = slot;
    counting.directory = status.st_ino;
    return counting.refusal;
}

static const uint64_t *read_slots(struct ut_event_source *source, uint32_t count)
{
    cr_assert_eq(source, &counting.source);
    cr_assert_gt(count, counting.slot);
    counting.readings++;
    return counting.bytes[counting.slot] != 1 ? counting.bytes : NULL;
}

static void count_by_source(int refusal)
{
    counting.source.watch_usage = watch_slot;
    counting.source.read_usage = read_slots;
    counting.refusal = refusal;
    ut_evidence_set_source(lab.evidence, &counting.source);
}

Test(held, source_reads_what_it_can)
{
    struct stat status;
    uint64_t latest;
    char name[160];
    count_by_source(0);
    sends();
    snprintf(name, sizeof(name), "%s/undertrace-demo/payment", root);
    cr_assert_eq(stat(name, &status), 0);
    cr_expect_eq(counting.directory, status.st_ino);
    cr_expect_eq(held->watches[counting.slot].file, -1);
    counting.bytes[counting.slot] = 10 * MIB;
    holds(0, 90 * MIB);
    counting.bytes[counting.slot] = 30 * MIB;
    holds(100, 90 * MIB);
    cr_expect_eq(counting.readings, 2);
    cr_expect(ut_held_latest(&held->watches[counting.slot], &latest));
    cr_expect_eq(latest, 30 * MIB);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 100, NULL));
    expect_held(0, 30 * MIB, 20 * MIB);
}

Test(held, file_is_read_where_the_source_cannot)
{
    count_by_source(-ENODATA);
    sends();
    holds(0, 10 * MIB);
    holds(100, 30 * MIB);
    cr_expect_eq(counting.readings, 0);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 100, NULL));
    expect_held(0, 30 * MIB, 20 * MIB);
}

Test(held, cgroup_that_the_source_says_is_gone_is_read_no_more)
{
    uint64_t latest;
    count_by_source(0);
    sends();
    counting.bytes[counting.slot] = 10 * MIB;
    holds(0, 0);
    counting.bytes[counting.slot] = 1; /* it cannot be read now */
    holds(100, 0);
    counting.bytes[counting.slot] = (uint64_t)-4096; /* charged and uncharged on two CPUs at once */
    holds(200, 0);
    cr_expect_eq(held->watches[counting.slot].held.count, 1);
    counting.bytes[counting.slot] = UINT64_MAX;
    holds(300, 0);
    counting.bytes[counting.slot] = 20 * MIB;
    holds(400, 0);
    cr_expect_eq(held->watches[counting.slot].held.count, 1);
    cr_expect_not(ut_held_latest(&held->watches[counting.slot], &latest));
    cr_expect_eq(counting.readings, 4);
}

Test(held, another_source_begins_anew)
{
    count_by_source(0);
    sends();
    ut_evidence_set_source(lab.evidence, NULL);
    cr_expect_eq(held->count, 0);
    sends();
    holds(0, 10 * MIB);
    cr_expect_eq(counting.readings, 0);
    cr_expect_eq(held->watches[0].held.count, 1);
}

/* ---- allocations ----------------------------------------------------------------------------- */

static void allocated(uint64_t cgroup, double from_ms, double to_ms, int64_t bytes)
{
    struct ut_record_allocated record = {
        .header = lab_header(&lab, UT_RECORD_ALLOCATED, sizeof(record), from_ms, cgroup),
        .bytes = (uint64_t)bytes,
        .window_ns = (uint64_t)((to_ms - from_ms) * 1e6),
    };
    lab_record(&lab, &record, sizeof(record));
}

/* Windows of 100 ms, one for each number. */
static void allocates(double from_ms, const int64_t *mib, int windows)
{
    for (int i = 0; i < windows; i++) {
        double at_ms = from_ms + 100 * i;
        allocated(PAYMENT, at_ms, at_ms + 100, mib[i] * MIB);
        allocated(LEDGER, at_ms, at_ms + 100, 1000 * MIB);
        allocated(0, at_ms, at_ms + 100, 0);
    }
}

static int64_t allocated_on(uint32_t span)
{
    return lab_int(&lab, span, UT_ATTR_MEMORY_ALLOCATED_BYTES);
}

Test(held, allocations_within_a_span_add_up_and_parts_of_a_window_count_in_part)
{
    sends();
    allocates(0, (const int64_t[]){0, 10, 20, 0, 0, 40, 0}, 7);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 700, NULL),
             lab_span(KIND_INTERNAL, 2, 125, 250, NULL), lab_span(KIND_INTERNAL, 3, 520, 530, NULL),
             lab_span(KIND_INTERNAL, 4, 310, 490, NULL), lab_span(KIND_INTERNAL, 5, 0, 100, NULL));
    cr_expect_eq(allocated_on(0), 70 * MIB);
    cr_expect_eq(allocated_on(1), (int64_t)(17.5 * (double)MIB));
    cr_expect_eq(allocated_on(2), 4 * MIB);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_SHARED_BY), 2, "one other at a time");
    cr_expect_eq(lab_int(&lab, 2, UT_ATTR_SHARED_BY), 2);
    cr_expect(lab_gained_nothing(&lab, 3));
    cr_expect(lab_gained_nothing(&lab, 4));
    cr_expect_eq(lab_metric(&lab, "undertrace_memory_joined_spans_total", ""), 3);
}

Test(held, several_records_of_one_window_are_one)
{
    sends();
    allocated(PAYMENT, 0, 100, 3 * MIB);
    allocated(PAYMENT, 0, 100, 4 * MIB);
    allocated(0, 0, 100, 0);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 100, NULL));
    cr_expect_eq(allocated_on(0), 7 * MIB);
}

Test(held, allocations_of_times_that_were_not_counted_are_not_told)
{
    sends();
    allocates(1000, (const int64_t[]){10, 10}, 2);
    lab.now_ms = 2000;
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 900, 1150, NULL),
             lab_span(KIND_INTERNAL, 2, 1100, 1900, NULL),
             lab_span(KIND_INTERNAL, 3, 1000, 1200, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 1));
    cr_expect_eq(allocated_on(2), 20 * MIB);
}

Test(held, rest_takes_no_room_however_long)
{
    sends();
    allocates(0, (const int64_t[]){5}, 1);
    for (int i = 1; i < 3 * UT_SERIES_POINTS; i++) {
        ut_evidence_tick(lab.evidence, lab_ns(100.0 * i));
        allocates(100.0 * i, (const int64_t[]){0}, 1);
    }
    cr_expect_leq(held->watches[0].allocated.count, 3);
    lab.now_ms = 300.0 * UT_SERIES_POINTS + 1000;
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 300.0 * UT_SERIES_POINTS - 50, NULL));
    cr_expect_eq(allocated_on(0), 5 * MIB);
}

Test(held, allocations_after_a_gap_or_a_clock_that_was_set_back_begin_anew)
{
    sends();
    allocates(0, (const int64_t[]){5}, 1);
    allocates(500, (const int64_t[]){7}, 1);
    allocates(-10000, (const int64_t[]){9}, 1);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, -10000, -9900, NULL),
             lab_span(KIND_INTERNAL, 2, 500, 600, NULL));
    cr_expect_eq(allocated_on(0), 9 * MIB);
    cr_expect(lab_gained_nothing(&lab, 1));
}

Test(held, malformed_allocations_are_bad)
{
    sends();
    allocated(PAYMENT, 0, 100, -1);
    cr_expect_eq(lab_figures(&lab).bad_records, 1);
    allocated(PAYMENT, 0, 1e9, 1);
    cr_expect_eq(lab_figures(&lab).bad_records, 2);
}

/* ---- pressure -------------------------------------------------------------------------------- */

static void presses(double ms, long long total_us)
{
    char name[160];
    snprintf(name, sizeof(name), "%s/undertrace-demo/payment/memory.pressure", root);
    FILE *file = fopen(name, "we");
    cr_assert_not_null(file);
    fprintf(file,
            "some avg10=1.00 avg60=0.50 avg300=0.10 total=%lld\nfull avg10=0.00 avg60=0.00 "
            "avg300=0.00 total=7\n",
            total_us);
    fclose(file);
    if (held->count > 0)
        holds(ms, 0);
}

static void stalled(double from_ms, double to_ms, double ms)
{
    double slot_ms = (double)((int)(from_ms / 100) * 100);
    struct ut_record_stall record = {
        .header = lab_header(&lab, UT_RECORD_STALL, sizeof(record), slot_ms, PAYMENT),
        .ns = (uint64_t)(ms * 1e6),
        .first_ns = (uint32_t)((from_ms - slot_ms) * 1e6),
        .last_ns = (uint32_t)((to_ms - slot_ms) * 1e6),
    };
    lab_record(&lab, &record, sizeof(record));
}

Test(held, time_on_the_wall_stands_beside_that_of_tasks)
{
    held->pressure_mount = held->mount;
    presses(0, 1000);
    sends();
    presses(0, 1000);
    stalled(910, 980, 60);
    presses(1000, 31000);
    stalled(1010, 1080, 60);
    presses(1100, 61000);
    lab.now_ms = 1200;
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 900, 1100, NULL),
             lab_span(KIND_INTERNAL, 2, 100, 800, NULL),
             lab_span(KIND_INTERNAL, 3, 1000, 1100, NULL));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_MEMORY_STALL_NS), 120000000);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_MEMORY_STALL_WALL_NS), 60000000);
    cr_expect(lab_gained_nothing(&lab, 1));
    cr_expect_eq(lab_int(&lab, 2, UT_ATTR_MEMORY_STALL_WALL_NS), 30000000);
}

Test(held, pressure_is_read_once_a_second_where_nothing_stalls)
{
    held->pressure_mount = held->mount;
    presses(0, 1000);
    sends();
    for (int i = 0; i < 30; i++)
        presses(100.0 * i, 1000);
    cr_expect_eq(held->watches[0].pressure.count, 3);
}
