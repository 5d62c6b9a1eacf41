/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/disk/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>

#include "disk_scratch.h"
#include "flow/disk/pages.h"

enum { MANY = 40000 };

static struct disk_scratch scratch;
static struct ut_disk_directory directory;
static struct ut_disk_guard guard;
static struct ut_store *store;
static char error_text[UT_DISK_ERROR_TEXT];
static uint64_t next = 1;

static int open_store(uint64_t max_bytes)
{
    const struct ut_store_config config = {&directory, &guard, max_bytes, true};
    return ut_store_open(&store, &config, error_text);
}

static void set_up(void)
{
    char path[PATH_MAX];
    disk_scratch_init(&scratch);
    cr_assert_eq(ut_disk_directory_open(&directory, scratch.path, true, error_text), 0, "%s",
                 error_text);
    ut_disk_guard_init(&guard, disk_scratch_file(&scratch, "hold.mdb", path));
}

static void tear_down(void)
{
    char path[PATH_MAX];
    struct ut_pages_report report;
    ut_store_close(store);
    int fd = open(disk_scratch_file(&scratch, "hold.mdb", path), O_RDONLY);
    if (fd >= 0) {
        cr_expect_eq(ut_pages_check(fd, &report), 0, "page %lu: %s", report.page, report.error);
        close(fd);
    }
    ut_disk_directory_close(&directory);
    disk_scratch_done(&scratch);
}

TestSuite(disk_store, .init = set_up, .fini = tear_down, .timeout = 60);

static uint8_t body[1 << 20];
static struct ut_record records[MANY];
static struct ut_store_put comes[MANY];
static struct ut_store_delete deletes[MANY];

/* One value of one record each. */
static struct ut_store_group make_group(size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        records[i] = (struct ut_record){
            .sequence = next++,
            .spans = 1,
            .cursors = 1,
            .body = ut_slice_of(body, size),
        };
        comes[i] = (struct ut_store_put){&records[i], 1};
    }
    return (struct ut_store_group){.puts = comes, .put_count = count};
}

static uint64_t count_records(void)
{
    struct ut_store_read read = {.cursors = 1, .bytes_max = SIZE_MAX};
    uint64_t count = 0;
    cr_assert_eq(ut_store_read(store, &read), 0);
    for (const struct ut_store_value *at = read.values; at != NULL; at = at->next)
        count++;
    ut_store_values_free(read.values);
    return count;
}

Test(disk_store, a_full_map_refuses_what_comes_and_does_the_rest)
{
    cr_assert_eq(open_store(1 << 20), 0, "%s", error_text);
    struct ut_store_group group = make_group(10, 100000);
    cr_assert_eq(ut_store_commit(store, &group), 0);
    cr_expect_not(group.puts_refused);
    const struct ut_store_delete first = {1, 1};
    group = make_group(30, 100000);
    group.deletes = &first;
    group.delete_count = 1;
    cr_assert_eq(ut_store_commit(store, &group), 0);
    cr_expect(group.puts_refused);
    cr_expect_eq(count_records(), 9);
    /* What went made room. */
    for (int i = 0; i < 5; i++) {
        group = make_group(1, 100000);
        cr_assert_eq(ut_store_commit(store, &group), 0);
        cr_expect_not(group.puts_refused);
    }
    cr_expect_eq(count_records(), 14);
}

/* Of a tree of tiny values every page holds many: taking some from each copies them all. */
Test(disk_store, a_full_map_never_keeps_finished_records_from_going)
{
    cr_assert_eq(open_store(1 << 20), 0, "%s", error_text);
    struct ut_store_group group;
    do {
        group = make_group(100, 10);
        cr_assert_eq(ut_store_commit(store, &group), 0);
    } while (!group.puts_refused && next < MANY);
    cr_assert(group.puts_refused);
    size_t count = 0;
    for (uint64_t key = 1; key < next - 100; key += 2)
        deletes[count++] = (struct ut_store_delete){key, 1};
    group = (struct ut_store_group){.deletes = deletes, .delete_count = count};
    cr_assert_eq(ut_store_commit(store, &group), 0);
    cr_expect_eq(count_records(), next - 101 - count);
}

Test(disk_store, another_version_is_refused_not_touched)
{
    char path[PATH_MAX];
    uint8_t name[UT_NAME_BYTES];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi names;
    cr_assert_eq(open_store(1 << 20), 0, "%s", error_text);
    ut_store_close(store);
    store = NULL;
    ut_name_encode(name, UT_SLICE("\001version"), 2);
    MDB_val key = {8, (void *)(uintptr_t) "\001version"}, value = {sizeof(name), name};
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 4), 0);
    cr_assert_eq(mdb_env_open(env, disk_scratch_file(&scratch, "hold.mdb", path),
                              MDB_NOSUBDIR | MDB_NOTLS, 0600),
                 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "names", 0, &names), 0);
    cr_assert_eq(mdb_put(txn, names, &key, &value, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    cr_expect_eq(open_store(1 << 20), -EPROTONOSUPPORT);
    cr_expect_not_null(strstr(error_text, "version 2"), "%s", error_text);
}

Test(disk_store, reading_begins_anywhere_and_ends_where_it_is_told)
{
    cr_assert_eq(open_store(16 << 20), 0, "%s", error_text);
    for (size_t i = 0; i < 3; i++)
        records[i] = (struct ut_record){.sequence = 10 + i, .cursors = 1, .body = UT_SLICE("a")};
    comes[0] = (struct ut_store_put){&records[0], 3};
    struct ut_store_group group = {.puts = comes, .put_count = 1};
    cr_assert_eq(ut_store_commit(store, &group), 0);
    next = 13;
    group = make_group(5, 1000);
    cr_assert_eq(ut_store_commit(store, &group), 0);
    for (uint64_t from = 0; from < 20; from++) {
        struct ut_store_read read = {.from = from, .cursors = 1, .bytes_max = 1};
        cr_assert_eq(ut_store_read(store, &read), 0);
        uint64_t wanted = from < 10 ? 10 : from;
        if (wanted > 17) {
            cr_expect_null(read.values);
            cr_expect_eq(read.next, UINT64_MAX);
            continue;
        }
        cr_assert_not_null(read.values);
        cr_expect_null(read.values->next, "more than one value of one byte");
        uint32_t skipped = 0;
        while (read.values->items[skipped].state == UT_ITEM_NOT_ASKED)
            skipped++;
        cr_expect_eq(read.values->index.key + skipped, wanted);
        cr_expect_eq(read.next, wanted < 13 ? 13 : wanted < 17 ? wanted + 1 : UINT64_MAX);
        ut_store_values_free(read.values);
    }
}
