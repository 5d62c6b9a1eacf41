/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out under the disk hold, the queues, and a pipeline that has both: each allocation
 * fails in turn. Nothing that was acknowledged is lost, every request is answered once, and all is
 * well when there is memory again. */
#include "durable_lab.h"
#include "hold_harness.h"
#include "memory_faults.h"

TestSuite(memory, .timeout = 1500);

/* ---- the disk hold --------------------------------------------------------------------------- */

enum { KIB = 1024, PUTS = 12 };

/* Bodies that share a value, and some that have one each. */
static size_t size_of(uint64_t number)
{
    return number % 4 == 0 ? 40 * KIB : 300;
}

static bool was_read(const struct harness *harness, uint64_t number)
{
    for (size_t i = 0; i < harness->taken_count; i++) {
        if (harness->taken[i].number == number)
            return true;
    }
    return false;
}

/* Reads all that is pending, and gives it back; what fails meanwhile is asked for again. */
static int read_on(struct harness *harness)
{
    uint64_t from = 0;
    do {
        harness->read = (struct ut_hold_read){
            .cursor = 0,
            .from = from,
            .bytes_max = 64 * KIB,
            .take = harness_on_take,
            .damaged = harness_on_damaged,
            .done = harness_on_read,
        };
        harness->reading = true;
        ut_hold_read(harness->hold, &harness->read);
        HARNESS_WAIT(harness, !harness->reading);
        from = harness->read_next;
    } while (harness->read_error == 0 && from != UINT64_MAX && from != harness->read.from);
    for (size_t i = 0; i < harness->taken_count; i++)
        ut_hold_leave(harness->taken[i].record, 0);
    harness->taken_count = 0;
    return harness->read_error;
}

static bool open_for(struct harness *harness)
{
    int error = harness_open(harness);
    MEMORY_EXPECT(error == 0 || error == -ENOMEM, "%d: %s", error, harness->error);
    return error == 0 && ut_hold_claim(harness->hold, "fake") == 0;
}

static void put_some(struct harness *harness, bool stored[PUTS])
{
    for (uint64_t i = 0; i < PUTS; i++) {
        int error = harness_put(harness, i, size_of(i), 1);
        MEMORY_EXPECT(error == 0 || error == -ENOMEM || error == -EIO, "%d", error);
        if (i % 3 == 2)
            harness_settle(harness);
    }
    harness_settle(harness);
    for (size_t i = 0; i < harness->put_count; i++) {
        struct harness_put *put = harness->puts[i];
        stored[put->number] = put->error == 0;
        if (put->error != 0)
            continue;
        uint8_t *outcome = i % 2 == 0 ? ut_hold_outcome(put->record, 4) : NULL;
        if (outcome != NULL)
            memcpy(outcome, "kept", 4);
        ut_hold_leave(put->record, 0);
    }
}

static void play_hold(void)
{
    struct harness *harness = calloc(1, sizeof(*harness));
    bool stored[PUTS] = {false};
    harness_init(harness);
    memory_begins();
    if (open_for(harness)) {
        memory_runs();
        put_some(harness, stored);
        (void)read_on(harness);
        memory_is_back();
        harness_close(harness);
    }
    memory_is_back();
    MEMORY_EXPECT(harness_open(harness) == 0, "%s", harness->error);
    struct ut_hold_figures figures;
    ut_hold_figures(harness->hold, &figures);
    MEMORY_EXPECT(!figures.set_aside);
    harness_read_all(harness, 0);
    for (uint64_t i = 0; i < PUTS; i++)
        MEMORY_EXPECT(!stored[i] || was_read(harness, i), "record %lu is missing", i);
    MEMORY_EXPECT(harness->damaged_records == 0);
    harness_close(harness);
    harness_done(harness);
    free(harness);
    memory_passed();
}

Test(memory, the_disk_hold_keeps_what_it_acknowledged)
{
    memory_sweep("disk hold", play_hold);
}

/* ---- the pipeline ---------------------------------------------------------------------------- */

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        uint64_t wait_end = ut_clock_monotonic_ns() + 20 * UT_NS_PER_S;                            \
        while (!(condition) && ut_clock_monotonic_ns() < wait_end) {                               \
            (void)uv_run(&worker.uv, UV_RUN_NOWAIT);                                               \
            (void)usleep(200);                                                                     \
        }                                                                                          \
        MEMORY_EXPECT(condition, "%lu", accepted);                                                 \
    } while (0)

/* Whatever was accepted is sent by both exporters once there is memory again. */
static void play_pipeline(void)
{
    enum { PUSHES = 20 };
    uint64_t accepted = 0;
    exporters = 2;
    budget = (size_t)2 << 20; /* so that some leave it for the disk, and come back */
    settings = ut_queue_defaults;
    settings.retry_on_failure.initial_interval_ns = 20 * UT_NS_PER_MS;
    disk_scratch_init(&scratch);
    open_parts();
    fakes[0].keeps = true;
    fakes[1].answer = (struct ut_outcome){.result = UT_RETRY, .text = "not now"};
    memory_begins();
    memory_runs();
    for (uint64_t i = 0; i < PUSHES; i++) {
        memory_spares(true);
        struct ut_batch *batch = make_batch(i + 1, 2, 60 * KIB);
        memory_spares(false);
        struct sent *one = push_batch(batch);
        WAIT_FOR(one->verdict >= 0);
        MEMORY_EXPECT(one->verdict == UT_ACCEPTED || one->verdict == UT_BUSY, "%d", one->verdict);
        accepted += one->verdict == UT_ACCEPTED ? 2 : 0;
        if (fakes[0].held_count > 0)
            fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    }
    fakes[0].keeps = false;
    fakes[1].answer = (struct ut_outcome){.result = UT_SENT};
    while (fakes[0].held_count > 0)
        fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    memory_is_back();
    for (size_t i = 0; i < exporters; i++) {
        WAIT_FOR(fakes[i].spans >= accepted);
        MEMORY_EXPECT(books(i).sent == fakes[i].spans);
    }
    close_parts();
    disk_scratch_done(&scratch);
    memory_passed();
}

Test(memory, a_durable_pipeline_sends_what_it_acknowledged)
{
    memory_sweep("durable pipeline", play_pipeline);
}

Test(memory, a_queued_pipeline_with_a_disk_sends_what_it_acknowledged)
{
    durable_ns = 0;
    memory_sweep("queued pipeline with a disk", play_pipeline);
}
