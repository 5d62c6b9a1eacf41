/* SPDX-License-Identifier: Apache-2.0 */
/* What many workloads hold: slots that become longer, and how far back they reach. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evidence/tables.h"
#include "join_rows.h"

#define MIB (INT64_C(1) << 20)
enum { TICK_MS = 100, KEPT_MS = 120000 };

static char root[] = "/tmp/ut-slots-XXXXXX";
static struct ut_held *held;

/* A source that reads every cgroup there is: they all have this one directory. */
static struct {
    struct ut_event_source source;
    uint32_t readings, slots;
    uint64_t bytes[UT_HELD_MAX];
} counting;

static int watch_slot(struct ut_event_source *source, uint32_t slot, int directory)
{
    (void)directory;
    cr_assert_eq(source, &counting.source);
    cr_assert_lt(slot, UT_HELD_MAX);
    return 0;
}

static const uint64_t *read_slots(struct ut_event_source *source, uint32_t count)
{
    cr_assert_eq(source, &counting.source);
    counting.readings++;
    counting.slots = count;
    return counting.bytes;
}

static void folder(const char *path)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%s", root, path);
    cr_assert_eq(mkdir(name, 0700), 0);
}

static void begin_slots(void)
{
    begin();
    counting.source.watch_usage = watch_slot;
    counting.source.read_usage = read_slots;
    ut_evidence_set_source(lab.evidence, &counting.source);
    cr_assert_not_null(mkdtemp(root));
    held = &ut_evidence_tables(lab.evidence)->held;
    snprintf(held->mount.point, sizeof(held->mount.point), "%s", root);
    snprintf(held->mount.part, sizeof(held->mount.part), "/");
    folder("/undertrace-demo");
    folder("/undertrace-demo/payment");
    ut_held_sample(held, lab_ns(-1000));
}

static void end_slots(void)
{
    char command[64];
    end();
    snprintf(command, sizeof(command), "rm -r %s", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(held_slots, .init = begin_slots, .fini = end_slots);

static void want(uint32_t id, double ms)
{
    const struct ut_workload workload = {.id = id, .path = "/", .path_size = 1};
    ut_held_want(held, &workload, lab_ns(ms));
}

/* Workloads with these ids, which are those that the lab has not. */
static void want_all(uint32_t count, double ms)
{
    for (uint32_t id = 1000; id < 1000 + count; id++)
        want(id, ms);
}

static void forget_all(uint32_t count)
{
    for (uint32_t id = 1000; id < 1000 + count; id++)
        ut_held_forget_workload(held, id);
}

/* The ticks in [from, to), all of which send all the time. */
static void run(uint32_t count, double from_ms, double to_ms)
{
    for (double ms = from_ms; ms < to_ms; ms += TICK_MS) {
        if ((long)ms % 10000 == 0)
            want_all(count, ms);
        ut_held_sample(held, lab_ns(ms));
    }
}

Test(held_slots, slot_grows_with_the_number_of_workloads)
{
    static const struct {
        uint32_t workloads, slot_ms, refused;
    } rows[] = {{1, 100, 0},   {100, 100, 0},  {300, 100, 0},  {301, 200, 0}, {600, 200, 0},
                {601, 300, 0}, {1000, 400, 0}, {1024, 400, 0}, {1025, 400, 1}};
    double ms = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++, ms += 10000) {
        uint32_t read = rows[i].workloads - rows[i].refused;
        uint64_t refused = held->refused;
        want_all(rows[i].workloads, ms);
        counting.readings = 0;
        for (double at = ms; at < ms + 3600; at += TICK_MS)
            ut_held_sample(held, lab_ns(at));
        cr_expect_eq(held->count, read);
        cr_expect_eq(held->refused - refused, rows[i].refused);
        cr_expect_eq(held->slot_ns, rows[i].slot_ms * UT_NS_PER_MS);
        cr_expect_eq(counting.readings, 3600 / rows[i].slot_ms, "%u workloads: %u readings",
                     rows[i].workloads, counting.readings);
        cr_expect_eq(counting.slots, read);
        for (uint32_t w = 0; w < read; w++)
            cr_assert_eq(held->watches[w].held.count, counting.readings);
        forget_all(rows[i].workloads);
        cr_expect_eq(held->slots, 0);
    }
}

/* The number for which chunks are used up most among them. */
Test(held_slots, two_minutes_of_what_is_held_are_kept_of_all)
{
    static const uint32_t counts[] = {300, 900, 1000, 1024};
    double ms = 0;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++, ms += 200000) {
        uint64_t bytes;
        run(counts[i], ms, ms + 180000);
        double latest_ms = ms + 180000 - TICK_MS;
        cr_expect_eq(held->count, counts[i]);
        for (uint32_t w = 0; w < counts[i]; w++)
            cr_assert(ut_held_at(&held->watches[w], lab_ns(latest_ms - KEPT_MS), &bytes),
                      "workload %u of %u", w, counts[i]);
        cr_expect_eq(held->pool.evicted, 0);
        cr_expect_leq(held->pool.used * UT_SERIES_CHUNK * sizeof(struct ut_point), 8 * MIB);
        forget_all(counts[i]);
        cr_expect_eq(held->pool.oldest, 0);
    }
}

/* ---- slots that change while spans are open ---------------------------------------------------
 */

static void expect_held(uint32_t span, int64_t bytes, int64_t change)
{
    cr_expect_eq(lab_int(&lab, span, UT_ATTR_MEMORY_HELD_BYTES), bytes, "span %u: %lld", span,
                 (long long)lab_int(&lab, span, UT_ATTR_MEMORY_HELD_BYTES));
    cr_expect_eq(lab_int(&lab, span, UT_ATTR_MEMORY_HELD_CHANGE_BYTES), change, "span %u: %lld",
                 span, (long long)lab_int(&lab, span, UT_ATTR_MEMORY_HELD_CHANGE_BYTES));
}

/* `payment` is the first that is read, and grows by 1 MiB in 10 ms: what is read of it, in between
 * too, then tells its time. */
static void tick(double ms)
{
    counting.bytes[0] = (uint64_t)((1000 + ms / 10) * (double)MIB);
    ut_held_sample(held, lab_ns(ms));
}

static void sends(double ms)
{
    lab.now_ms = ms;
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, ms - 20, ms - 10, NULL));
}

Test(held_slots, spans_are_told_the_same_while_slots_change)
{
    sends(-500);
    for (double ms = 0; ms <= 200; ms += TICK_MS)
        tick(ms);
    want_all(300, 250);
    for (double ms = 300; ms <= 600; ms += TICK_MS)
        tick(ms);
    want_all(UT_HELD_MAX - 1, 650);
    for (double ms = 700; ms <= 1000; ms += TICK_MS)
        tick(ms);
    forget_all(UT_HELD_MAX - 1);
    tick(1100);
    tick(1200);
    const struct ut_series *series = &held->watches[0].held;
    static const double read_ms[] = {0, 100, 200, 400, 600, 1000, 1100, 1200};
    cr_assert_eq(ut_series_kept(series), sizeof(read_ms) / sizeof(read_ms[0]));
    for (uint32_t i = 0; i < ut_series_kept(series); i++)
        cr_expect_eq(ut_series_point(series, i)->unix_ns, lab_ns(read_ms[i]));
    lab.now_ms = 2000;
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 150, 250, NULL),
             lab_span(KIND_INTERNAL, 2, 250, 550, NULL), lab_span(KIND_INTERNAL, 3, 590, 850, NULL),
             lab_span(KIND_INTERNAL, 4, 850, 1150, NULL),
             lab_span(KIND_INTERNAL, 5, 50, 1150, NULL));
    expect_held(0, 1025 * MIB, 10 * MIB);
    expect_held(1, 1055 * MIB, 30 * MIB);
    expect_held(2, 1085 * MIB, 26 * MIB);
    expect_held(3, 1115 * MIB, 30 * MIB);
    expect_held(4, 1115 * MIB, 110 * MIB);
    static const int64_t slots_ms[] = {200, 200, 400, 400, -1};
    for (uint32_t i = 0; i < 5; i++)
        cr_expect_eq(lab_int(&lab, i, UT_ATTR_MEMORY_HELD_SLOT_MS), slots_ms[i], "span %u", i);
}

Test(held_slots, reading_that_is_left_out_is_missed_by_the_slot_that_it_had)
{
    sends(-500);
    tick(0);
    want_all(UT_HELD_MAX - 1, 50);
    tick(1200);
    forget_all(UT_HELD_MAX - 1);
    tick(2400);
    tick(2800);
    lab.now_ms = 4000;
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 300, 800, NULL),
             lab_span(KIND_INTERNAL, 2, 1300, 2300, NULL),
             lab_span(KIND_INTERNAL, 3, 2500, 2700, NULL));
    expect_held(0, 1080 * MIB, 50 * MIB);
    expect_held(1, 1230 * MIB, 100 * MIB);
    cr_expect(lab_gained_nothing(&lab, 2), "400 ms are too long for a slot of 100 ms");
}

/* As of the latest reading within 100 ms; further away nobody knows. */
Test(held_slots, span_that_ended_behind_the_latest_reading_is_told_what_is_known)
{
    sends(-500);
    want_all(UT_HELD_MAX - 1, -400);
    tick(0);
    tick(400);
    lab.now_ms = 700;
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 300, 500, NULL),
             lab_span(KIND_INTERNAL, 2, 300, 501, NULL));
    expect_held(0, 1040 * MIB, 10 * MIB);
    cr_expect(lab_gained_nothing(&lab, 1));
}

Test(held_slots, workload_that_goes_and_comes_is_read_anew)
{
    sends(-500);
    double ms = 0;
    for (; held->count > 0 && ms < 100000; ms += TICK_MS)
        tick(ms);
    cr_expect_eq(ms, 59700, "it is left a minute after it last sent: %f", ms);
    cr_expect_eq(held->pool.oldest, 0);
    want_all(1, ms);
    tick(ms);
    sends(ms + 500);
    cr_assert_eq(held->count, 2);
    counting.bytes[1] = 5 * MIB;
    ut_held_sample(held, lab_ns(ms + 500));
    counting.bytes[1] = 9 * MIB;
    ut_held_sample(held, lab_ns(ms + 600));
    lab.now_ms = ms + 1000;
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, ms + 500, ms + 600, NULL),
             lab_span(KIND_INTERNAL, 2, ms - 5000, ms - 3000, NULL));
    expect_held(0, 9 * MIB, 4 * MIB);
    cr_expect(lab_gained_nothing(&lab, 1), "what was read before it went is forgotten");
}

/* ---- pressure ---------------------------------------------------------------------------------
 */

static void begin_pressure(void)
{
    char name[64];
    held->pressure_mount = held->mount;
    snprintf(name, sizeof(name), "%s/memory.pressure", root);
    FILE *file = fopen(name, "we");
    cr_assert_not_null(file);
    fprintf(file, "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n");
    cr_assert_eq(fclose(file), 0);
}

/* Whose pressure was read at that moment. */
static uint32_t pressed_at(double ms)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < held->slots; i++)
        count += held->watches[i].pressure_read_ns == lab_ns(ms);
    return count;
}

Test(held_slots, pressure_of_many_that_rest_is_read_in_turn)
{
    begin_pressure();
    want_all(UT_HELD_MAX, 0);
    for (double ms = 0; ms < 20800; ms += TICK_MS) {
        ut_held_sample(held, lab_ns(ms));
        cr_assert_leq(pressed_at(ms), ms == 0 ? 100 : 40);
    }
    for (uint32_t i = 0; i < UT_HELD_MAX; i++) {
        cr_assert_geq(held->watches[i].pressure.count, 2, "workload %u", i);
        cr_assert_leq(held->watches[i].pressure.count, 3, "workload %u", i);
    }
}

Test(held_slots, pressure_of_many_that_stall_is_read_in_turn)
{
    begin_pressure();
    want_all(UT_HELD_MAX, 0);
    ut_held_sample(held, lab_ns(0));
    for (double ms = 400; ms < 1600; ms += 400) {
        for (uint32_t id = 1000; id < 1000 + UT_HELD_MAX; id++)
            ut_held_stalled(held, id, lab_ns(ms - 200), lab_ns(ms - 100));
        ut_held_sample(held, lab_ns(ms));
        cr_assert_eq(pressed_at(ms), 400);
    }
    for (uint32_t i = 0; i < UT_HELD_MAX; i++)
        cr_assert_geq(held->watches[i].pressure_read_ns, lab_ns(400), "workload %u", i);
}

/* ---- where more is told than there is room for ------------------------------------------------
 */

static double reach_ms(const struct ut_series *series, double now_ms)
{
    uint64_t oldest_ns = ut_series_point(series, 0)->unix_ns;
    return (double)(lab_ns(now_ms) - oldest_ns) / 1e6;
}

/* All but the first, which did so once. */
static void allocate(double ms)
{
    for (uint32_t id = 1001; id < 1000 + UT_HELD_MAX; id++)
        ut_held_allocated(held, id, 4096);
    ut_held_window(held, lab_ns(ms), lab_ns(ms + TICK_MS));
}

Test(held_slots, all_reach_equally_far_back_where_all_allocate)
{
    const double end_ms = 130000;
    want_all(UT_HELD_MAX, 0);
    ut_held_allocated(held, 1000, 5 * MIB);
    for (double ms = 0; ms < end_ms; ms += TICK_MS) {
        allocate(ms);
        run(UT_HELD_MAX, ms + TICK_MS, ms + 2 * TICK_MS);
        if ((long)ms % 10000 == 0)
            want_all(UT_HELD_MAX, ms);
    }
    cr_expect_gt(held->pool.evicted, 0);
    double least_ms = end_ms, most_ms = 0;
    for (uint32_t i = 1; i < UT_HELD_MAX; i++) {
        double ms = reach_ms(&held->watches[i].allocated, end_ms);
        least_ms = ms < least_ms ? ms : least_ms;
        most_ms = ms > most_ms ? ms : most_ms;
        cr_assert_geq(reach_ms(&held->watches[i].held, end_ms), 20000);
    }
    cr_expect_geq(least_ms, 20000, "%f", least_ms);
    cr_expect_leq(most_ms - least_ms, 5000, "%f to %f", least_ms, most_ms);
    uint64_t bytes;
    cr_expect(ut_held_growth(&held->watches[0].allocated, lab_ns(0), lab_ns(end_ms), &bytes));
    cr_expect_eq(bytes, 5 * MIB);
}
