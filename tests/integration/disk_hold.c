/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/wait.h>

#include "flow/disk/guard.h"
#include "hold_harness.h"

/* The guard's handlers are what is tried here, not the sanitizer's. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "handle_sigbus=0:handle_segv=0";
}

enum { KIB = 1024 };

static struct harness harness;

static void open_hold(void)
{
    cr_assert_eq(harness_open(&harness), 0, "%s", harness.error);
}

static uint32_t claim(const char *name)
{
    int number = ut_hold_claim(harness.hold, name);
    cr_assert_geq(number, 0);
    return (uint32_t)number;
}

/* Opens and claims one cursor, number 0. */
static void set_up(void)
{
    harness_init(&harness);
    open_hold();
    cr_assert_eq(claim("otlp_grpc"), 0);
}

static void tear_down(void)
{
    if (harness.hold != NULL)
        harness_close(&harness);
    harness_done(&harness);
}

static void reopen(void)
{
    harness_close(&harness);
    open_hold();
    cr_assert_eq(claim("otlp_grpc"), 0);
}

static void put(uint64_t number, size_t size, uint64_t cursors)
{
    cr_assert_eq(harness_put(&harness, number, size, cursors), 0);
}

static struct harness_put *stored(size_t i)
{
    cr_assert_eq(harness.puts[i]->error, 0, "put %zu: %d", i, harness.puts[i]->error);
    cr_assert_not_null(harness.puts[i]->record);
    return harness.puts[i];
}

static struct ut_hold_figures figures(void)
{
    struct ut_hold_figures ret;
    ut_hold_figures(harness.hold, &ret);
    return ret;
}

TestSuite(disk_hold, .init = set_up, .fini = tear_down, .timeout = 60);

Test(disk_hold, what_was_answered_comes_back_after_a_restart)
{
    static const size_t sizes[] = {8, 100, 1900, 2000, 2100, 4000, 4096, 33 * KIB, 210 * KIB};
    for (uint64_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        put(i + 1, sizes[i], 1);
    cr_expect_eq(harness.answered, 0, "answered inside the put");
    harness_settle(&harness);
    for (size_t i = 0; i < harness.put_count; i++)
        (void)stored(i);
    cr_expect_eq(figures().commits, 1, "one turn's puts are one group");
    reopen();
    cr_expect_eq(harness_pending(&harness, 0), 9);
    harness_read_all(&harness, 0);
    cr_assert_eq(harness.taken_count, 9);
    uint64_t seen = 0;
    for (size_t i = 0; i < 9; i++)
        seen |= UINT64_C(1) << harness.taken[i].number;
    cr_expect_eq(seen, 0x3fe);
    cr_expect_eq(harness.damaged_records, 0);
}

/* What hangs fails nothing, and has to be told of all the same. */
Test(disk_hold, a_disk_that_does_not_answer_is_seen_by_its_silence)
{
    cr_expect_eq(figures().silent_ns, 0);
    put(1, KIB, 1);
    /* The group is begun; its end would come from the loop, which does not turn. */
    struct ut_deferred *turn = harness.worker.deferred_first;
    ut_worker_undefer(&harness.worker, turn);
    turn->run(turn);
    harness.worker.uv.time += 5000;
    cr_expect_eq(figures().silent_ns, 5 * UT_NS_PER_S);
    cr_expect_eq(ut_metrics_sum(harness.worker.metrics, "undertrace_hold_silent_seconds"), 5);
    harness_settle(&harness);
    (void)stored(0);
    HARNESS_WAIT(&harness, figures().silent_ns == 0);
}

Test(disk_hold, what_is_finished_is_gone_and_its_room_is_back)
{
    for (uint64_t i = 0; i < 20; i++)
        put(i, 50 * KIB, 1);
    harness_settle(&harness);
    uint64_t taken = figures().taken;
    cr_expect_geq(taken, 20 * 50 * KIB);
    for (size_t i = 0; i < 19; i++)
        ut_hold_done(stored(i)->record, 0);
    cr_expect_eq(harness_pending(&harness, 0), 1);
    reopen();
    cr_expect_leq(figures().taken, taken / 19);
    harness_read_all(&harness, 0);
    cr_assert_eq(harness.taken_count, 1);
    cr_expect_eq(harness.taken[0].number, 19);
    ut_hold_done(harness.taken[0].record, 0);
    reopen();
    cr_expect_eq(figures().taken, 0);
}

Test(disk_hold, finished_records_are_committed_without_another_put)
{
    put(1, 100, 1);
    harness_settle(&harness);
    ut_hold_done(stored(0)->record, 0);
    harness_turn(&harness, 100);
    cr_expect_eq(figures().commits, 1, "at once, with a sync of its own");
    HARNESS_WAIT(&harness, figures().commits == 2);
    cr_expect_eq(figures().taken, 0);
}

static void withdraw(size_t i)
{
    cr_expect(ut_hold_withdraw(harness.hold, &harness.puts[i]->put));
    harness.answered++;
}

Test(disk_hold, what_is_withdrawn_is_neither_written_nor_answered)
{
    for (uint64_t i = 0; i < 6; i++) {
        put(i, 100, 1);
        if (i == 0 || i == 2 || i == 5)
            withdraw(i);
    }
    harness_settle(&harness);
    cr_expect_eq(figures().withdrawn, 3);
    cr_expect_eq(figures().written, 3);
    cr_expect_eq(figures().promised, 0);
    cr_expect_eq(harness_pending(&harness, 0), 3);
    for (size_t i = 0; i < 6; i++)
        cr_expect_eq(harness.puts[i]->error, i == 0 || i == 2 || i == 5);
}

Test(disk_hold, patient_puts_are_answered_though_no_other_comes)
{
    put(0, 210 * KIB, 1);
    harness_settle(&harness);
    harness.patient = true;
    put(1, 100, 1);
    put(2, 100, 1);
    put(3, 100, 1);
    withdraw(1);
    harness_settle(&harness);
    (void)stored(2);
    (void)stored(3);
    cr_expect_eq(figures().written, 3);
}

Test(disk_hold, small_requests_of_a_group_share_pages)
{
    for (uint64_t i = 0; i < 300; i++)
        put(i, 300, 1);
    harness_settle(&harness);
    cr_expect_leq(figures().taken, 300 * (300 + 64 + 8) + 8 * 4096);
    /* One by one, in another order, with restarts in between: nothing twice, nothing lost. */
    for (size_t i = 0; i < 300; i += 3)
        ut_hold_done(stored(i)->record, 0);
    reopen();
    cr_expect_eq(harness_pending(&harness, 0), 200);
    harness_read_all(&harness, 0);
    cr_assert_eq(harness.taken_count, 200);
    for (size_t i = 0; i < 200; i++)
        cr_expect_neq(harness.taken[i].number % 3, 0);
    for (size_t i = 0; i < 200; i++)
        ut_hold_done(harness.taken[i].record, 0);
    reopen();
    cr_expect_eq(figures().taken, 0);
}

Test(disk_hold, every_cursor_finishes_for_itself)
{
    cr_assert_eq(claim("otlp_grpc/second"), 1);
    put(1, 100, 3);
    put(2, 100 * KIB, 3);
    put(3, 100 * KIB, 2);
    harness_settle(&harness);
    ut_hold_done(stored(0)->record, 0);
    ut_hold_done(stored(1)->record, 0);
    ut_hold_done(stored(1)->record, 1);
    reopen();
    cr_expect_eq(harness_pending(&harness, 0), 0);
    cr_assert_eq(claim("otlp_grpc/second"), 1);
    cr_expect_eq(harness_pending(&harness, 1), 2);
    harness_read_all(&harness, 0);
    cr_expect_eq(harness.taken_count, 0);
    harness_read_all(&harness, 1);
    cr_assert_eq(harness.taken_count, 2);
    cr_expect_eq(harness.taken[0].number, 1);
    cr_expect_eq(harness.taken[1].number, 3);
}

Test(disk_hold, what_leaves_memory_is_read_back_in_order_and_nothing_else)
{
    for (uint64_t i = 0; i < 100; i++)
        put(i, i % 3 == 0 ? 40 * KIB : 500, 1);
    harness_settle(&harness);
    /* Large ones come behind the small ones of their group: go by sequence. */
    uint64_t from = UINT64_MAX, left = 0;
    for (size_t i = 0; i < 100; i += 2) {
        uint64_t sequence = ut_hold_sequence(stored(i)->record);
        from = sequence < from ? sequence : from;
        ut_hold_leave(stored(i)->record, 0);
        left++;
    }
    while (from != UINT64_MAX) {
        harness_read_once(&harness, 0, from, 100 * KIB);
        from = harness.read_next;
    }
    cr_assert_eq(harness.taken_count, left);
    uint64_t last = 0;
    for (size_t i = 0; i < left; i++) {
        cr_expect_eq(harness.taken[i].number % 2, 0);
        cr_expect_gt(ut_hold_sequence(harness.taken[i].record), last);
        last = ut_hold_sequence(harness.taken[i].record);
        ut_hold_done(harness.taken[i].record, 0);
    }
    for (size_t i = 1; i < 100; i += 2)
        ut_hold_done(stored(i)->record, 0);
    reopen();
    cr_expect_eq(figures().taken, 0);
}

Test(disk_hold, an_outcome_comes_back_with_its_record_and_goes_with_it)
{
    put(1, 100, 1);
    put(2, 100 * KIB, 1);
    put(3, 100 * KIB, 1);
    harness_settle(&harness);
    harness_outcome(stored(0)->record, "first");
    harness_outcome(stored(1)->record, "replaced");
    harness_outcome(stored(1)->record, "second");
    harness_outcome(stored(2)->record, "third");
    ut_hold_done(stored(2)->record, 0);
    reopen();
    harness_read_all(&harness, 0);
    cr_assert_eq(harness.taken_count, 2);
    cr_expect_eq(harness.taken[0].outcome_size, 5);
    cr_expect_arr_eq(harness.taken[0].outcome, "first", 5);
    cr_expect_eq(harness.taken[1].outcome_size, 6);
    cr_expect_arr_eq(harness.taken[1].outcome, "second", 6);
    /* The same while the record leaves with its outcome still to be written. */
    harness_outcome(harness.taken[0].record, "again");
    ut_hold_leave(harness.taken[0].record, 0);
    ut_hold_done(harness.taken[1].record, 0);
    reopen();
    harness_read_all(&harness, 0);
    cr_assert_eq(harness.taken_count, 1);
    cr_expect_arr_eq(harness.taken[0].outcome, "again", 5);
}

Test(disk_hold, without_room_it_refuses_until_something_is_finished)
{
    size_t accepted = 0;
    while (harness_put(&harness, accepted, 500 * KIB, 1) == 0)
        accepted++;
    cr_expect_eq(accepted, ((uint64_t)16 << 20) / (500 * KIB + 4096));
    harness_settle(&harness);
    cr_expect_eq(figures().promised, 0);
    cr_expect_eq(harness_put(&harness, 0, 500 * KIB, 1), -ENOSPC);
    cr_expect_eq(figures().refused, 2);
    ut_hold_done(stored(0)->record, 0);
    /* The refusal asks for the room that only has to be committed. */
    uint64_t commits = figures().commits;
    cr_expect_eq(harness_put(&harness, 0, 500 * KIB, 1), -ENOSPC);
    HARNESS_WAIT(&harness, figures().commits > commits);
    cr_expect_eq(harness_put(&harness, 0, 500 * KIB, 1), 0);
    harness_settle(&harness);
}

/* Twice the quota of changing sizes, with the oldest pinned: free pages fragment, and the map of
 * twice the quota still takes what the quota allows. */
Test(disk_hold, a_full_hold_goes_on_while_its_pages_fragment)
{
    uint64_t number = 0;
    size_t first = 1, refused = 0;
    for (int round = 0; round < 400; round++) {
        size_t size = (size_t)(number * 7919 % 200 + 1) * KIB;
        if (harness.put_count < HARNESS_PUTS_MAX && harness_put(&harness, number, size, 1) == 0)
            number++;
        else
            refused++;
        harness_settle(&harness);
        while (first + 30 < harness.put_count) {
            ut_hold_done(stored(first)->record, 0);
            first++;
        }
    }
    cr_expect_eq(refused, 0);
    cr_expect_eq(figures().failures, 0);
    cr_expect_gt(number, 390);
}

Test(disk_hold, a_cursor_that_nobody_claims_keeps_its_records)
{
    cr_assert_eq(claim("gone"), 1);
    cr_assert_eq(claim("idle"), 2);
    put(1, 100, 3);
    harness_settle(&harness);
    ut_hold_done(stored(0)->record, 0);
    reopen();
    struct ut_hold_backlog backlogs[4];
    cr_assert_eq(ut_hold_backlogs(harness.hold, backlogs, 4), 3);
    cr_expect_str_eq(backlogs[1].name, "gone");
    cr_expect_not(backlogs[1].claimed);
    cr_expect_eq(backlogs[1].records, 1);
    cr_expect_eq(backlogs[1].spans, 2);
    cr_expect_eq(backlogs[1].bytes, 100);
    put(2, 100, 1);
    harness_settle(&harness);
    reopen();
    cr_assert_eq(ut_hold_backlogs(harness.hold, backlogs, 4), 2, "an empty one is forgotten");
    cr_assert_eq(claim("gone"), 1);
    harness_read_all(&harness, 1);
    cr_assert_eq(harness.taken_count, 1);
    cr_expect_eq(harness.taken[0].number, 1);
}

Test(disk_hold, cursors_have_names_and_there_are_64)
{
    char name[UT_HOLD_NAME_MAX + 1];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    cr_expect_eq(ut_hold_claim(harness.hold, name), -EINVAL);
    cr_expect_eq(ut_hold_claim(harness.hold, ""), -EINVAL);
    for (int i = 1; i < UT_HOLD_CURSORS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "exporter/%d", i);
        cr_assert_eq(ut_hold_claim(harness.hold, name), i);
    }
    cr_expect_eq(ut_hold_claim(harness.hold, "one/more"), -ENOSPC);
}

Test(disk_hold, closing_answers_what_waits)
{
    put(1, 100, 1);
    ut_hold_close(harness.hold, harness_on_closed, &harness.closed);
    struct ut_hold_put late = {.record = {.cursors = 1}};
    cr_expect_eq(ut_hold_put(harness.hold, &late), -ECANCELED);
    HARNESS_WAIT(&harness, harness.closed);
    harness.hold = NULL;
    cr_expect_eq(harness.puts[0]->error, -ECANCELED);
    harness_forget(&harness);
}

/* ---- directories that are not fit ------------------------------------------------------------ */

Test(disk_hold, a_second_process_is_refused)
{
    struct ut_hold *second;
    char error[UT_DISK_ERROR_TEXT];
    cr_expect_eq(ut_hold_open(&second, &harness.config, error), -EBUSY);
    cr_expect_not_null(strstr(error, "in use by another process"), "%s", error);
}

static void expect_refused(int code, const char *text)
{
    cr_expect_eq(harness_open(&harness), code);
    cr_expect_not_null(strstr(harness.error, text), "%s", harness.error);
}

Test(disk_hold, a_directory_that_others_may_read_is_refused)
{
    harness_close(&harness);
    cr_assert_eq(chmod(harness.scratch.path, 0750), 0);
    expect_refused(-EPERM, "chmod 0700");
    cr_assert_eq(chmod(harness.scratch.path, 0700), 0);
}

Test(disk_hold, a_directory_of_somebody_else_is_refused)
{
    if (geteuid() != 0)
        cr_skip_test("only root can give a directory away");
    harness_close(&harness);
    cr_assert_eq(chown(harness.scratch.path, 65534, 65534), 0);
    expect_refused(-EPERM, "chown");
}

Test(disk_hold, memory_is_no_disk_for_a_durable_promise)
{
    char path[] = "/dev/shm/undertrace-hold-XXXXXX";
    harness_close(&harness);
    cr_assert_not_null(mkdtemp(path));
    harness.config.directory = path;
    expect_refused(-EMEDIUMTYPE, "tmpfs");
    harness.config.durable = false;
    open_hold();
    harness_close(&harness);
    struct disk_scratch memory;
    (void)snprintf(memory.path, sizeof(memory.path), "%s", path);
    disk_scratch_done(&memory);
}

Test(disk_hold, more_than_the_disk_has_is_refused)
{
    harness_close(&harness);
    harness.config.max_bytes = UINT64_C(1) << 50;
    expect_refused(-ENOSPC, "set max_bytes lower");
}

Test(disk_hold, a_path_that_is_not_absolute_or_has_no_parent_is_refused)
{
    harness_close(&harness);
    harness.config.directory = "relative/path";
    expect_refused(-EINVAL, "absolute");
    harness.config.directory = "/nonexistent/parent/hold";
    expect_refused(-ENOENT, "cannot be made");
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void data_file(char out[PATH_MAX])
{
    (void)disk_scratch_file(&harness.scratch, "hold.mdb", out);
}

/* Flips one bit where `needle` begins in the file. */
static void damage_at(const void *needle, size_t size)
{
    char path[PATH_MAX];
    data_file(path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    off_t length = lseek(fd, 0, SEEK_END);
    uint8_t *bytes = malloc((size_t)length);
    cr_assert_eq(pread(fd, bytes, (size_t)length, 0), length);
    uint8_t *found = memmem(bytes, (size_t)length, needle, size);
    cr_assert_not_null(found);
    uint8_t flipped = *found ^ 0x10;
    cr_assert_eq(pwrite(fd, &flipped, 1, found - bytes), 1);
    free(bytes);
    close(fd);
}

static size_t count_files(const char *prefix)
{
    char command[PATH_MAX + 64];
    (void)snprintf(command, sizeof(command), "ls %s | grep -c '^%s'", harness.scratch.path, prefix);
    FILE *pipe = popen(command, "r");
    unsigned count = 0;
    cr_assert_eq(fscanf(pipe, "%u", &count), 1);
    pclose(pipe);
    return count;
}

Test(disk_hold, a_damaged_record_is_counted_and_kept_aside_and_its_neighbours_live)
{
    uint8_t body[200 * KIB];
    for (uint64_t i = 1; i <= 3; i++)
        put(i, 200 * KIB, 1);
    put(4, 1000, 1);
    put(5, 1000, 1);
    harness_settle(&harness);
    harness_close(&harness);
    harness_fill(body, sizeof(body), 2);
    damage_at(body + 100 * KIB, 64);
    harness_fill(body, 1000, 4);
    damage_at(body + 500, 64);
    open_hold();
    cr_assert_eq(claim("otlp_grpc"), 0);
    harness_read_all(&harness, 0);
    cr_assert_eq(harness.taken_count, 3);
    cr_expect_eq(harness.damaged_records, 2);
    cr_expect_eq(harness.damaged_spans, 3 + 5);
    cr_expect_eq(figures().damaged, 2);
    cr_expect_eq(count_files("damaged-"), 2);
    for (size_t i = 0; i < 3; i++)
        ut_hold_done(harness.taken[i].record, 0);
    reopen();
    cr_expect_eq(figures().taken, 0);
    cr_expect_not(figures().set_aside);
}

Test(disk_hold, a_damaged_index_is_made_anew)
{
    uint8_t index[UT_INDEX_BYTES_MAX];
    struct ut_index_entry entry = {.pending = 1, .spans = 2, .size = 100 * KIB};
    put(1, 100 * KIB, 1);
    harness_settle(&harness);
    uint64_t key = ut_hold_sequence(stored(0)->record);
    harness_close(&harness);
    ut_index_encode(index, &(struct ut_index){.key = key, .count = 1, .entries = &entry});
    damage_at(index, ut_index_size(1));
    open_hold();
    cr_assert_eq(claim("otlp_grpc"), 0);
    cr_expect_eq(figures().damaged, 1);
    harness_read_all(&harness, 0);
    cr_expect_eq(harness.taken_count, 1);
}

Test(disk_hold, the_records_of_a_cursor_whose_name_is_damaged_stay)
{
    put(1, 100, 1);
    harness_settle(&harness);
    harness_close(&harness);
    uint8_t name[UT_NAME_BYTES];
    ut_name_encode(name, UT_SLICE("otlp_grpc"), 0);
    damage_at(name, sizeof(name));
    open_hold();
    cr_expect_eq(claim("otlp_grpc"), 1);
    struct ut_hold_backlog backlogs[4];
    cr_assert_eq(ut_hold_backlogs(harness.hold, backlogs, 4), 2);
    cr_expect_str_eq(backlogs[0].name, "unknown-0");
    cr_expect_eq(backlogs[0].records, 1);
    cr_expect_eq(figures().damaged, 1);
}

static void cut_file(off_t size)
{
    char path[PATH_MAX];
    data_file(path);
    cr_assert_eq(truncate(path, size), 0);
}

Test(disk_hold, a_file_that_was_cut_is_set_aside)
{
    put(1, 200 * KIB, 1);
    harness_settle(&harness);
    harness_close(&harness);
    cut_file(100 * KIB);
    open_hold();
    cr_expect(figures().set_aside);
    cr_expect_eq(count_files("hold.mdb.damaged-"), 1);
    cr_assert_eq(claim("otlp_grpc"), 0);
    cr_expect_eq(harness_pending(&harness, 0), 0);
    put(2, 100, 1);
    harness_settle(&harness);
    (void)stored(0);
}

/* In a process of its own, which dies of it: what is read back is no longer in the file. */
static void read_what_is_gone(void)
{
    open_hold();
    (void)claim("otlp_grpc");
    cut_file(16 * KIB);
    harness_read_all(&harness, 0);
    _exit(99);
}

Test(disk_hold, a_bus_error_ends_the_process_and_the_next_one_begins_anew)
{
    put(1, 200 * KIB, 1);
    harness_settle(&harness);
    harness_close(&harness);
    int said[2], status;
    cr_assert_eq(pipe(said), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(said[1], STDERR_FILENO);
        read_what_is_gone();
    }
    close(said[1]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %x", status);
    char line[4096] = "";
    cr_expect_gt(read(said[0], line, sizeof(line) - 1), 0);
    cr_expect_not_null(strstr(line, "the next start sets it aside"), "%s", line);
    cr_expect_eq(count_files("hold.mdb.bad"), 1);
    open_hold();
    cr_expect(figures().set_aside);
    cr_expect_eq(count_files("hold.mdb.bad"), 0);
}

Test(disk_hold, what_was_being_made_when_the_power_went_is_no_hold)
{
    char path[PATH_MAX];
    harness_close(&harness);
    data_file(path);
    cr_assert_eq(unlink(path), 0);
    FILE *half = fopen(disk_scratch_file(&harness.scratch, "hold.mdb.new", path), "w");
    cr_assert_not_null(half);
    (void)fputs("half of a page", half);
    (void)fclose(half);
    open_hold();
    cr_expect_not(figures().set_aside);
    cr_expect_eq(count_files("hold.mdb.new"), 0);
}
