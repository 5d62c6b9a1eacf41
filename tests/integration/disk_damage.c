/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk may do to a hold's file while nobody looks: bits that flip, pages of zeros or
 * garbage, pages in each other's place, a file that is cut. Each damage is seen, at the start or
 * when the record is read, or it is in a place that nobody uses; no record ever comes back other
 * than it was, none goes missing in silence, and the process lives, or ends with a marker and
 * begins anew.
 *
 * UT_DAMAGES is how many files are damaged (100), UT_SEED where the random numbers begin.
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "flow/disk/check.h"
#include "flow/disk/pages.h"
#include "hold_harness.h"

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "handle_sigbus=0:handle_segv=0:handle_abort=0";
}

enum { PAGE = 4096, RECORDS = 150 };
/* How a child ends. 1 is the guard's. */
enum {
    UNHARMED,
    GUARDED,
    SEEN_BY_WALK = 10,
    SEEN_AT_OPEN,
    SEEN_AT_VISIT,
    SEEN_AT_READ,
    SEEN_AT_COMMIT,
    WRONG_RECORD = 50,
    SILENT_LOSS,
    NOT_SOUND_AFTER,
    LOST_AFTER,
};

static struct harness harness;
static uint8_t *original;
static size_t original_size;
static uint64_t seed;

static uint64_t below(uint64_t limit)
{
    return harness_random(&seed) % limit;
}

/* ---- the file -------------------------------------------------------------------------------- */

static void make_original(void)
{
    char path[PATH_MAX];
    harness_init(&harness);
    cr_assert_eq(harness_open(&harness), 0, "%s", harness.error);
    cr_assert_eq(ut_hold_claim(harness.hold, "otlp_grpc"), 0);
    /* Twice as many as stay, so that there are free pages between. */
    for (uint64_t i = 0; i < 2 * RECORDS; i++) {
        size_t size = i % 7 == 0 ? 20000 + i * 64 : 100 + i * 17;
        cr_assert_eq(harness_put(&harness, i, size, 1), 0);
        if (i % 6 == 5)
            harness_settle(&harness);
    }
    harness_settle(&harness);
    for (size_t i = 0; i < 2 * RECORDS; i += 2)
        ut_hold_done(harness.puts[i]->record, 0);
    for (size_t i = 1; i < 2 * RECORDS; i += 10)
        harness_outcome(harness.puts[i]->record, "what was found out about it");
    harness_close(&harness);
    int fd = open(disk_scratch_file(&harness.scratch, "hold.mdb", path), O_RDONLY);
    cr_assert_geq(fd, 0);
    original_size = (size_t)lseek(fd, 0, SEEK_END);
    original = malloc(original_size);
    cr_assert_eq(pread(fd, original, original_size, 0), (ssize_t)original_size);
    close(fd);
}

/* Pages of trees and lists are few: every other damage is aimed at them. */
static size_t random_page(void)
{
    size_t pages = original_size / PAGE;
    for (int i = 0; i < 200 && below(2) != 0; i++) {
        size_t page = below(pages);
        uint16_t flags;
        memcpy(&flags, original + page * PAGE + 10, 2);
        if (flags == 1 || flags == 2 || flags == 8)
            return page;
    }
    return below(pages);
}

static const char *damage(uint8_t *bytes, size_t *size)
{
    size_t page = random_page();
    switch (below(6)) {
    case 0:
    case 1:
        bytes[page * PAGE + below(PAGE)] ^= (uint8_t)(1u << below(8));
        return "a bit";
    case 2:
        /* Where the page's own numbers stand. */
        bytes[page * PAGE + below(160)] ^= (uint8_t)(1u << below(8));
        return "a bit near the head of a page";
    case 3:
        memset(bytes + page * PAGE, 0, PAGE);
        return "a page of zeros";
    case 4:
        for (size_t i = 0; i < PAGE; i++)
            bytes[page * PAGE + i] = (uint8_t)harness_random(&seed);
        return "a page of garbage";
    default:
        if (below(2) == 0) {
            memcpy(bytes + page * PAGE, original + random_page() * PAGE, PAGE);
            return "another page in its place";
        }
        *size = below(original_size);
        return "a cut";
    }
}

/* ---- the child ------------------------------------------------------------------------------- */

static int check_record(const struct ut_record *record)
{
    uint64_t number = harness_number_of(record->body);
    bool same = number < 2 * RECORDS && record->spans == number % 100 + 1;
    return same ? 0 : WRONG_RECORD;
}

struct seen {
    struct ut_store *store;
    uint64_t whole, damaged;
    struct ut_store_delete deletes[2 * RECORDS];
    size_t values;
};

static int read_everything(struct seen *seen)
{
    struct ut_store_read read = {.cursors = UINT64_MAX, .bytes_max = 1 << 20};
    do {
        read.from = read.next;
        if (ut_store_read(seen->store, &read) != 0)
            return SEEN_AT_READ;
        seen->damaged += read.damaged_outcomes;
        for (const struct ut_store_value *at = read.values; at != NULL; at = at->next) {
            seen->deletes[seen->values++] =
                (struct ut_store_delete){at->index.key, at->index.count};
            for (uint32_t i = 0; i < at->index.count; i++) {
                if (at->items[i].state == UT_ITEM_READ && check_record(&at->items[i].record) != 0)
                    return WRONG_RECORD;
                seen->whole += at->items[i].state == UT_ITEM_READ;
                seen->damaged += at->items[i].state == UT_ITEM_DAMAGED;
            }
        }
        ut_store_values_free(read.values);
    } while (read.next != UINT64_MAX);
    return 0;
}

static void on_cursor(struct ut_store_visitor *visitor, ut_slice name, uint32_t number)
{
    (void)visitor;
    (void)name;
    (void)number;
}

static uint64_t last_sequence;

static void on_value(struct ut_store_visitor *visitor, const struct ut_index *index, uint64_t taken)
{
    (void)visitor;
    (void)taken;
    last_sequence = index->key + index->count;
}

/* Everything goes, something comes: the pages that were free, or said so, are used. */
static int go_on(struct seen *seen, uint64_t *ret_stuck)
{
    enum { NEW = 20 };
    static struct ut_record records[NEW];
    static struct ut_store_put puts[NEW];
    static uint8_t bodies[NEW][9000];
    for (uint32_t i = 0; i < NEW; i++) {
        harness_fill(bodies[i], sizeof(bodies[i]), i);
        records[i] = (struct ut_record){
            .sequence = last_sequence + 1 + i,
            .spans = i + 1,
            .cursors = 1,
            .body = ut_slice_of(bodies[i], sizeof(bodies[i])),
        };
        puts[i] = (struct ut_store_put){&records[i], 1};
    }
    struct ut_store_group deletes = {.deletes = seen->deletes, .delete_count = seen->values};
    struct ut_store_group comes = {.puts = puts, .put_count = NEW};
    if (ut_store_commit(seen->store, &deletes) != 0 || ut_store_commit(seen->store, &comes) != 0)
        return SEEN_AT_COMMIT;
    *ret_stuck = deletes.stuck;
    struct seen after = {.store = seen->store};
    int error = read_everything(&after);
    return error != 0 ? error : after.whole == NEW ? 0 : LOST_AFTER;
}

static int is_sound(const char *path, bool *ret_uncertain)
{
    struct ut_pages_report report;
    int fd = open(path, O_RDONLY);
    int error = ut_pages_check(fd, &report);
    *ret_uncertain = report.commit_uncertain;
    close(fd);
    return error;
}

static int be_child(void)
{
    static struct ut_disk_guard guard;
    static struct seen seen;
    struct ut_disk_directory directory;
    char error[UT_DISK_ERROR_TEXT], path[PATH_MAX];
    bool uncertain;
    uint64_t stuck = 0;
    (void)disk_scratch_file(&harness.scratch, "hold.mdb", path);
    ut_disk_guard_init(&guard, path);
    if (is_sound(path, &uncertain) != 0)
        return SEEN_BY_WALK;
    if (ut_disk_directory_open(&directory, harness.scratch.path, true, error) != 0)
        return WRONG_RECORD;
    const struct ut_store_config config = {&directory, &guard, (uint64_t)16 << 20, true};
    if (ut_store_open(&seen.store, &config, error) != 0)
        return SEEN_AT_OPEN;
    struct ut_store_visitor visitor = {.cursor = on_cursor, .value = on_value};
    if (ut_store_visit(seen.store, &visitor) != 0)
        return SEEN_AT_VISIT;
    int code = read_everything(&seen);
    bool noticed = visitor.damaged + seen.damaged > 0 || uncertain;
    if (code == 0 && !noticed && seen.whole != RECORDS)
        code = SILENT_LOSS;
    if (code == 0)
        code = go_on(&seen, &stuck);
    ut_store_close(seen.store);
    if (code == 0 && is_sound(path, &uncertain) != 0)
        code = NOT_SOUND_AFTER;
    return code != 0 ? code : noticed || stuck > 0 ? SEEN_AT_READ : UNHARMED;
}

static int in_child(uint64_t round)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        (void)freopen("/dev/null", "w", stderr);
        _exit(be_child());
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status), "round %lu: killed by signal %d", round, WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void write_damaged(const uint8_t *bytes, size_t size)
{
    char path[PATH_MAX];
    int fd = open(disk_scratch_file(&harness.scratch, "hold.mdb", path),
                  O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

Test(disk_damage, is_seen_and_survived, .timeout = 1200)
{
    uint64_t rounds = harness_setting("UT_DAMAGES", 100);
    uint64_t ends[64] = {0};
    make_original();
    uint8_t *bytes = malloc(original_size);
    seed = harness_setting("UT_SEED", 1);
    for (uint64_t round = 0; round < rounds; round++) {
        size_t size = original_size;
        memcpy(bytes, original, original_size);
        const char *what = round > 0 ? damage(bytes, &size) : "nothing";
        write_damaged(bytes, size);
        int end = in_child(round);
        cr_assert_lt(end, 64);
        ends[end]++;
        cr_expect_lt(end, (int)WRONG_RECORD, "round %lu, %s: %d", round, what, end);
        cr_expect(round > 0 || end == UNHARMED, "an undamaged file ends in %d", end);
    }
    fprintf(
        stderr,
        "%lu damages: %lu seen by the walk, %lu later, %lu by the guard, %lu where nobody reads\n",
        rounds, ends[SEEN_BY_WALK],
        ends[SEEN_AT_OPEN] + ends[SEEN_AT_VISIT] + ends[SEEN_AT_READ] + ends[SEEN_AT_COMMIT],
        ends[GUARDED], ends[UNHARMED]);
    cr_expect_gt(ends[SEEN_BY_WALK], rounds / 10);
    free(bytes);
    free(original);
    harness_done(&harness);
}

/* The same through the whole opening, with the check in its own process. */
Test(disk_damage, a_damaged_file_never_keeps_a_hold_from_opening, .timeout = 600)
{
    make_original();
    uint8_t *bytes = malloc(original_size);
    unsigned aside = 0;
    seed = 7;
    for (int round = 0; round < 30; round++) {
        size_t size = original_size;
        memcpy(bytes, original, original_size);
        (void)damage(bytes, &size);
        write_damaged(bytes, size);
        cr_assert_eq(harness_open(&harness), 0, "round %d: %s", round, harness.error);
        struct ut_hold_figures figures;
        ut_hold_figures(harness.hold, &figures);
        aside += figures.set_aside;
        harness_close(&harness);
    }
    cr_expect_gt(aside, 3);
    free(bytes);
    free(original);
    harness_done(&harness);
}
