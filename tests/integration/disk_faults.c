/* SPDX-License-Identifier: Apache-2.0 */
/* What the hold does when its disk does not: nothing of the commit that failed is acknowledged, no
 * sync is tried again, nothing that was acknowledged is lost, and it goes on when the disk does. */
#include <sys/wait.h>

#include "disk_tape.h"
#include "hold_harness.h"

enum { KIB = 1024 };

static struct harness harness;

static void open_hold(void)
{
    cr_assert_eq(harness_open(&harness), 0, "%s", harness.error);
    cr_assert_eq(ut_hold_claim(harness.hold, "otlp_grpc"), 0);
}

static void set_up(void)
{
    harness_init(&harness);
    open_hold();
}

static void tear_down(void)
{
    if (harness.hold != NULL)
        harness_close(&harness);
    harness_done(&harness);
}

TestSuite(disk_faults, .init = set_up, .fini = tear_down, .timeout = 60);

static void put_and_settle(uint64_t number)
{
    cr_assert_eq(harness_put(&harness, number, 100 * KIB, 1), 0);
    harness_settle(&harness);
}

/* Whether record `number` is among those read. */
static bool was_read(uint64_t number)
{
    for (size_t i = 0; i < harness.taken_count; i++) {
        if (harness.taken[i].number == number)
            return true;
    }
    return false;
}

/* The hold rests, then takes puts again. */
static void go_on(uint64_t number)
{
    uint64_t end = ut_clock_monotonic_ns() + 10 * UT_NS_PER_S;
    int error = harness_put(&harness, number, 100 * KIB, 1);
    cr_expect_eq(error, -EIO, "the disk is given no rest");
    while (error != 0 && ut_clock_monotonic_ns() < end) {
        harness_turn(&harness, 50);
        error = harness_put(&harness, number, 100 * KIB, 1);
    }
    cr_assert_eq(error, 0);
    harness_settle(&harness);
    cr_expect_eq(harness.puts[harness.put_count - 1]->error, 0);
}

/* One is stored, one meets the fault, one comes behind it. */
static void survive(enum tape_call call, int error, int wanted)
{
    put_and_settle(1);
    cr_expect_eq(harness.puts[0]->error, 0);
    tape_fail(call, error, 0, 1);
    put_and_settle(2);
    cr_expect_eq(harness.puts[1]->error, wanted, "answered %d", harness.puts[1]->error);
    cr_expect_null(harness.puts[1]->record);
    go_on(3);
    struct ut_hold_figures figures;
    ut_hold_figures(harness.hold, &figures);
    cr_expect_eq(figures.failures, 1);
    cr_expect_eq(figures.promised, 0);
    cr_expect_eq(figures.trouble_error, wanted);
    cr_expect_str_eq(figures.trouble, "look at its disk, and at the kernel's log");
    harness_close(&harness);
    open_hold();
    ut_hold_figures(harness.hold, &figures);
    cr_expect_null(figures.trouble);
    cr_expect_not(figures.set_aside);
    harness_read_all(&harness, 0);
    cr_expect(was_read(1));
    cr_expect(was_read(3));
    cr_expect_eq(harness.damaged_records, 0);
}

Test(disk_faults, a_write_error_refuses_its_group_only)
{
    survive(TAPE_CALL_WRITE, EIO, -EIO);
}

Test(disk_faults, a_write_cut_short_refuses_its_group_only)
{
    survive(TAPE_CALL_WRITE, 0, -EIO);
}

Test(disk_faults, a_sync_that_failed_is_not_tried_again)
{
    put_and_settle(1);
    tape_fail(TAPE_CALL_SYNC, EIO, 0, 1);
    put_and_settle(2);
    cr_expect_eq(harness.puts[1]->error, -EIO);
    cr_expect_eq(tape_calls(TAPE_CALL_SYNC), 1);
    tape_fail(TAPE_CALL_WRITE, 0, 0, 0);
    go_on(3);
    cr_expect_gt(tape_calls(TAPE_CALL_WRITE), 0, "a sync without writing everything again");
    cr_expect_eq(tape_calls(TAPE_CALL_SYNC), 2);
    harness_close(&harness);
    open_hold();
    harness_read_all(&harness, 0);
    cr_expect(was_read(1) && was_read(3));
}

Test(disk_faults, a_header_that_cannot_be_written_opens_the_file_again)
{
    survive(TAPE_CALL_META, EIO, -EIO);
}

Test(disk_faults, a_full_disk_refuses_what_comes_and_lets_go_what_is_finished)
{
    put_and_settle(1);
    ut_hold_done(harness.puts[0]->record, 0);
    /* The group with the put fails; the one without it is small enough. */
    tape_fail(TAPE_CALL_WRITE, ENOSPC, 0, 1);
    put_and_settle(2);
    cr_expect_eq(harness.puts[1]->error, -ENOSPC);
    struct ut_hold_figures figures;
    ut_hold_figures(harness.hold, &figures);
    cr_expect_eq(figures.failures, 0);
    cr_expect_eq(figures.refused, 1);
    cr_expect_str_eq(figures.trouble, "make room on its disk, or raise max_bytes");
    cr_expect_eq(figures.taken, 0);
    put_and_settle(3);
    cr_expect_eq(harness.puts[2]->error, 0);
}

Test(disk_faults, what_was_finished_stays_finished_through_a_failure)
{
    put_and_settle(1);
    ut_hold_done(harness.puts[0]->record, 0);
    tape_fail(TAPE_CALL_SYNC, EIO, 0, 1);
    put_and_settle(2);
    cr_expect_eq(harness.puts[1]->error, -EIO);
    go_on(3);
    harness_close(&harness);
    open_hold();
    harness_read_all(&harness, 0);
    cr_expect_not(was_read(1));
    cr_expect(was_read(3));
}

/* Every write and sync of the making of a file fails once: the next start makes it. */
Test(disk_faults, a_file_is_made_whole_or_not_at_all)
{
    static const enum tape_call calls[] = {TAPE_CALL_WRITE, TAPE_CALL_SYNC, TAPE_CALL_META};
    char path[PATH_MAX];
    unsigned failed = 0;
    harness_close(&harness);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned after = 0; after < 8; after++) {
            (void)unlink(disk_scratch_file(&harness.scratch, "hold.mdb", path));
            tape_fail(calls[i], EIO, after, 1);
            int error = harness_open(&harness);
            tape_fail(calls[i], 0, 0, 0);
            failed += error != 0;
            if (error != 0)
                cr_assert_eq(harness_open(&harness), 0, "%s", harness.error);
            struct ut_hold_figures figures;
            ut_hold_figures(harness.hold, &figures);
            cr_expect_not(figures.set_aside);
            harness_close(&harness);
        }
    }
    cr_expect_geq(failed, 4);
}
