/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every state in which a power cut may leave the disk: the stream of writes and syncs of a busy
 * hold is recorded and cut, at every sync and at random points between. What was synced is there;
 * of what was not, any of its sectors may be, written in any order. In each of these images the
 * file is sound, and every record that had been acknowledged and not finished is there to the last
 * bit.
 *
 * UT_IMAGES is how many images are made (1,000), UT_SEED where the random numbers begin.
 */
#include <fcntl.h>

#include "disk_tape.h"
#include "flow/disk/pages.h"
#include "hold_harness.h"

enum { SECTOR = 512, ROUNDS = 120, FILE_MAX = 24 << 20, RECORDS_MAX = 4096 };
enum { MARK_ACKNOWLEDGED, MARK_FINISHED };

static struct harness harness;
static uint64_t seed = 1;

static uint64_t below(uint64_t limit)
{
    return harness_random(&seed) % limit;
}

/* ---- a busy hold ----------------------------------------------------------------------------- */

static size_t random_size(void)
{
    static const size_t most[] = {200, 2000, 2100, 6000, 40000, 120000};
    return 8 + below(most[below(6)]);
}

static void finish_some(size_t *first)
{
    while (*first < harness.put_count && harness.put_count - *first > below(60)) {
        struct harness_put *put = harness.puts[(*first)++];
        if (put->error != 0)
            continue;
        if (below(8) == 0) {
            ut_hold_leave(put->record, 0);
            continue;
        }
        if (below(4) == 0)
            harness_outcome(put->record, "an outcome that is written down");
        tape_mark(MARK_FINISHED, put->number);
        ut_hold_done(put->record, 0);
    }
}

static void live(uint64_t *number)
{
    size_t first = 0, marked = 0;
    cr_assert_eq(harness_open(&harness), 0, "%s", harness.error);
    cr_assert_eq(ut_hold_claim(harness.hold, "otlp_grpc"), 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t i = below(6); i-- > 0;)
            (void)harness_put(&harness, (*number)++, random_size(), 1);
        harness_settle(&harness);
        for (; marked < harness.put_count; marked++) {
            if (harness.puts[marked]->error == 0)
                tape_mark(MARK_ACKNOWLEDGED, harness.puts[marked]->number);
        }
        finish_some(&first);
    }
    harness_close(&harness);
}

/* ---- images ---------------------------------------------------------------------------------- */

struct image {
    uint8_t *bytes;
    uint64_t size;
};

static void apply(struct image *image, const struct tape_op *op, uint64_t from, uint64_t size)
{
    uint64_t end = op->offset + from + size;
    cr_assert_leq(end, (uint64_t)FILE_MAX);
    memcpy(image->bytes + op->offset + from, op->data + from, size);
    if (end > image->size)
        image->size = end;
}

/* One sector of an unsynced write, as far as the write covers it. */
struct sector {
    const struct tape_op *op;
    uint64_t from, size;
};

static size_t cut_sectors(const struct tape_op *op, struct sector *out)
{
    size_t count = 0;
    for (uint64_t from = 0; from < op->size;) {
        uint64_t room = SECTOR - (op->offset + from) % SECTOR;
        uint64_t size = op->size - from < room ? op->size - from : room;
        out[count++] = (struct sector){op, from, size};
        from += size;
    }
    return count;
}

/* Any of the unsynced sectors, in any order. */
static void tear(struct image *image, const struct tape_op *ops, size_t from, size_t to)
{
    static const uint64_t shares[] = {0, 10, 50, 90, 100};
    static struct sector sectors[FILE_MAX / SECTOR];
    uint64_t share = shares[below(5)];
    size_t count = 0;
    for (size_t i = from; i < to; i++) {
        if (ops[i].kind == TAPE_WRITE && !(ops[i].synced && i + 1 < to))
            count += cut_sectors(&ops[i], sectors + count);
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = below(i);
        struct sector held = sectors[i - 1];
        sectors[i - 1] = sectors[other];
        sectors[other] = held;
    }
    for (size_t i = 0; i < count; i++) {
        if (below(100) < share)
            apply(image, sectors[i].op, sectors[i].from, sectors[i].size);
    }
}

/* ---- what must be there ---------------------------------------------------------------------- */

enum fate { UNKNOWN, ACKNOWLEDGED, FINISHED };

static enum fate fates[RECORDS_MAX];
static bool found[RECORDS_MAX];

static void write_file(const struct disk_scratch *scratch, const struct image *image)
{
    char path[PATH_MAX];
    int fd = open(disk_scratch_file(scratch, "hold.mdb", path), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, image->bytes, image->size), (ssize_t)image->size);
    close(fd);
}

static void check_pages(const struct disk_scratch *scratch, size_t cut)
{
    char path[PATH_MAX];
    struct ut_pages_report report;
    int fd = open(disk_scratch_file(scratch, "hold.mdb", path), O_RDONLY);
    int error = ut_pages_check(fd, &report);
    close(fd);
    cr_assert_eq(error, 0, "cut at %zu: page %lu: %s", cut, report.page, report.error);
    cr_assert_not(report.commit_uncertain, "cut at %zu", cut);
}

static void on_cursor(struct ut_store_visitor *visitor, ut_slice name, uint32_t number)
{
    (void)visitor;
    cr_assert(ut_slice_equal(name, UT_SLICE("otlp_grpc")) && number == 0);
}

static void on_value(struct ut_store_visitor *visitor, const struct ut_index *index, uint64_t taken)
{
    (void)visitor;
    (void)index;
    cr_assert_gt(taken, 0);
}

static void find_records(struct ut_store *store, size_t cut)
{
    struct ut_store_read read = {.cursors = 1, .bytes_max = 1 << 20};
    memset(found, 0, sizeof(found));
    do {
        read.from = read.next;
        cr_assert_eq(ut_store_read(store, &read), 0);
        cr_assert_eq(read.damaged_outcomes, 0);
        for (const struct ut_store_value *at = read.values; at != NULL; at = at->next) {
            for (uint32_t i = 0; i < at->index.count; i++) {
                cr_assert_neq(at->items[i].state, UT_ITEM_DAMAGED, "cut at %zu", cut);
                if (at->items[i].state != UT_ITEM_READ)
                    continue;
                uint64_t number = harness_number_of(at->items[i].record.body);
                cr_assert_lt(number, RECORDS_MAX, "cut at %zu", cut);
                cr_assert_not(found[number], "record %lu is there twice", number);
                found[number] = true;
            }
        }
        ut_store_values_free(read.values);
    } while (read.next != UINT64_MAX);
}

static void verify(const struct disk_scratch *scratch, size_t cut)
{
    struct ut_disk_directory directory;
    static struct ut_disk_guard guard;
    struct ut_store *store;
    char error[UT_DISK_ERROR_TEXT] = "", path[PATH_MAX];
    ut_disk_guard_init(&guard, disk_scratch_file(scratch, "hold.mdb", path));
    check_pages(scratch, cut);
    cr_assert_eq(ut_disk_directory_open(&directory, scratch->path, true, error), 0, "%s", error);
    const struct ut_store_config config = {&directory, &guard, (uint64_t)16 << 20, true};
    cr_assert_eq(ut_store_open(&store, &config, error), 0, "cut at %zu: %s", cut, error);
    struct ut_store_visitor visitor = {.cursor = on_cursor, .value = on_value};
    cr_assert_eq(ut_store_visit(store, &visitor), 0);
    cr_assert_eq(visitor.damaged, 0, "cut at %zu", cut);
    find_records(store, cut);
    for (size_t i = 0; i < RECORDS_MAX; i++)
        cr_assert(fates[i] != ACKNOWLEDGED || found[i], "cut at %zu: record %zu is lost", cut, i);
    ut_store_close(store);
    ut_disk_directory_close(&directory);
}

/* ---- all cuts, in order ---------------------------------------------------------------------- */

struct cutter {
    const struct tape_op *ops;
    size_t count;
    struct image synced; /* what is on the disk for sure */
    size_t next;         /* the first operation whose effect is not decided */
    struct disk_scratch scratch;
    uint64_t images;
};

static void take_synced(struct cutter *cutter, size_t to)
{
    for (size_t i = cutter->next; i < to; i++) {
        if (cutter->ops[i].kind == TAPE_WRITE)
            apply(&cutter->synced, &cutter->ops[i], 0, cutter->ops[i].size);
    }
    cutter->next = to;
}

static void make_image(struct cutter *cutter, size_t cut)
{
    static uint8_t bytes[FILE_MAX];
    static struct image image = {.bytes = bytes};
    memcpy(image.bytes, cutter->synced.bytes, cutter->synced.size);
    if (image.size > cutter->synced.size)
        memset(image.bytes + cutter->synced.size, 0, image.size - cutter->synced.size);
    image.size = cutter->synced.size;
    /* What was written through is there, whatever became of the rest. */
    for (size_t i = cutter->next; i < cut; i++) {
        if (cutter->ops[i].kind == TAPE_WRITE && cutter->ops[i].synced)
            apply(&image, &cutter->ops[i], 0, cutter->ops[i].size);
    }
    /* The operation at the cut was under way. */
    tear(&image, cutter->ops, cutter->next, cut + 1 < cutter->count ? cut + 1 : cutter->count);
    write_file(&cutter->scratch, &image);
    verify(&cutter->scratch, cut);
    cutter->images++;
}

/* Cuts before operation `cut` has returned. */
static void pass(struct cutter *cutter, size_t cut, uint64_t images)
{
    while (images-- > 0)
        make_image(cutter, cut);
    const struct tape_op *op = &cutter->ops[cut];
    if (op->kind == TAPE_SYNC)
        take_synced(cutter, cut + 1);
    if (op->kind == TAPE_MARK)
        fates[op->number] = op->mark == MARK_ACKNOWLEDGED ? ACKNOWLEDGED : FINISHED;
}

Test(disk_images, no_power_cut_loses_what_was_acknowledged, .timeout = 1200)
{
    uint64_t wanted = harness_setting("UT_IMAGES", 1000), number = 0;
    seed = harness_setting("UT_SEED", 1);
    harness_init(&harness);
    tape_start();
    live(&number);
    live(&number);
    tape_stop();
    cr_assert_lt(number, RECORDS_MAX);

    static uint8_t bytes[FILE_MAX];
    struct cutter cutter = {.synced = {.bytes = bytes}};
    cutter.ops = tape_ops(&cutter.count);
    disk_scratch_init(&cutter.scratch);
    size_t first = 0, syncs = 0;
    for (size_t i = 0; i < cutter.count; i++) {
        first = cutter.ops[i].kind == TAPE_RENAME ? i + 1 : first;
        syncs += cutter.ops[i].kind == TAPE_SYNC || cutter.ops[i].synced;
    }
    cr_assert_gt(first, 0, "the file was never given its name");
    cr_assert_gt(syncs, ROUNDS);
    /* One image before each sync has returned; the others anywhere. */
    uint64_t others = wanted > syncs ? wanted - syncs : 0, places = cutter.count - first;
    for (size_t i = 0; i < cutter.count; i++) {
        bool border = cutter.ops[i].kind == TAPE_SYNC || cutter.ops[i].synced;
        uint64_t images = (border && (wanted >= syncs || below(syncs) < wanted)) + others / places +
                          (below(places) < others % places);
        pass(&cutter, i, i < first ? 0 : images);
    }
    fprintf(stderr, "%lu images of %zu operations, %lu requests\n", cutter.images, cutter.count,
            number);
    cr_expect_gt(cutter.images, wanted * 8 / 10);
    disk_scratch_done(&cutter.scratch);
    tape_free();
    harness_done(&harness);
}
