/* SPDX-License-Identifier: Apache-2.0 */
/* The file that records go to: whole or not at all, rotated, never taken from another. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "file_exporter/backups.h"
#include "file_exporter/target.h"

enum { MEGABYTE = 1 << 20, TEXT_ROOM = 1 << 16 };

static char folder[64], path[160], content[TEXT_ROOM], why[UT_FILE_TEXT];
static struct ut_file_config config;
static struct ut_file_target target;
static atomic_bool give_up;

static void set_up(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)snprintf(folder, sizeof(folder), "/tmp/undertrace-file-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/spans.json", folder);
    config = (struct ut_file_config){.path = path, .append = true};
    config.rotation.max_megabytes = 1;
    atomic_store(&give_up, false);
    ut_file_target_init(&target, &config, &give_up);
}

static void tear_down(void)
{
    char command[96];
    ut_file_target_close(&target);
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(file_target, .init = set_up, .fini = tear_down, .timeout = 60);

static int write_text(const char *text)
{
    size_t half = strlen(text) / 2;
    struct iovec runs[] = {{(void *)(uintptr_t)text, half},
                           {(void *)(uintptr_t)(text + half), strlen(text) - half}};
    return ut_file_target_write(&target, runs, 2, strlen(text), why);
}

static int write_many(char c, size_t size)
{
    char *bytes = malloc(size);
    memset(bytes, c, size);
    struct iovec run = {bytes, size};
    int error = ut_file_target_write(&target, &run, 1, size, why);
    free(bytes);
    return error;
}

static const char *read_file(const char *name)
{
    FILE *file = fopen(name, "r");
    cr_assert_not_null(file, "%s", name);
    size_t size = fread(content, 1, sizeof(content) - 1, file);
    content[size] = '\0';
    (void)fclose(file);
    return content;
}

static void put_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    cr_assert_not_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static int count_files(void)
{
    int count = 0;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    (void)closedir(directory);
    return count;
}

static off_t size_of(const char *name)
{
    struct stat status;
    return stat(name, &status) == 0 ? status.st_size : -1;
}

/* ---- plain writing -------------------------------------------------------------------------- */

Test(file_target, records_go_behind_what_is_there)
{
    put_file(path, "old\n");
    cr_assert_eq(ut_file_target_open(&target, why), 0);
    cr_assert_eq(write_text("one\n"), 0);
    cr_assert_eq(write_text("two\n"), 0);
    cr_assert_str_eq(read_file(path), "old\none\ntwo\n");
}

Test(file_target, without_append_the_file_is_emptied_once)
{
    config.append = false;
    put_file(path, "old\n");
    cr_assert_eq(write_text("one\n"), 0);
    cr_assert_str_eq(read_file(path), "one\n");
    ut_file_target_close(&target);
    cr_assert_eq(write_text("two\n"), 0);
    cr_assert_str_eq(read_file(path), "one\ntwo\n");
}

Test(file_target, directories_are_made_where_that_is_asked_for)
{
    (void)snprintf(path, sizeof(path), "%s/a/b/spans.json", folder);
    cr_assert_eq(ut_file_target_open(&target, why), -ENOENT);
    cr_assert(strstr(why, path) != NULL && strstr(why, "No such file or directory") != NULL, "%s",
              why);
    config.create_directory = true;
    config.directory_permissions = (char *)(uintptr_t) "0700";
    cr_assert_eq(ut_file_target_open(&target, why), 0);
    struct stat status;
    path[strlen(path) - strlen("/spans.json")] = '\0';
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0700);
}

Test(file_target, second_writer_is_refused)
{
    struct ut_file_target other;
    ut_file_target_init(&other, &config, &give_up);
    cr_assert_eq(ut_file_target_open(&target, why), 0);
    cr_assert_eq(ut_file_target_open(&other, why), -EBUSY);
    cr_assert(strstr(why, "another exporter or process") != NULL, "%s", why);
    ut_file_target_close(&target);
    cr_assert_eq(ut_file_target_open(&other, why), 0);
    ut_file_target_close(&other);
}

Test(file_target, file_that_was_moved_or_shortened_does_not_matter)
{
    char moved[180];
    (void)snprintf(moved, sizeof(moved), "%s/moved", folder);
    cr_assert_eq(write_text("one\n"), 0);
    cr_assert_eq(rename(path, moved), 0);
    cr_assert_eq(write_text("two\n"), 0);
    cr_assert_str_eq(read_file(moved), "one\n");
    cr_assert_str_eq(read_file(path), "two\n");
    cr_assert_eq(truncate(path, 0), 0);
    cr_assert_eq(write_text("three\n"), 0);
    cr_assert_str_eq(read_file(path), "three\n");
}

Test(file_target, more_runs_than_one_call_takes)
{
    enum { COUNT = 5000 };
    static struct iovec runs[COUNT];
    static char expected[2 * COUNT + 1];
    size_t size = 0;
    for (size_t i = 0; i < COUNT; i++) {
        runs[i] = (struct iovec){(void *)(uintptr_t) "ab", i % 2 + 1};
        expected[size++] = 'a';
        if (i % 2 == 1)
            expected[size++] = 'b';
    }
    cr_assert_eq(ut_file_target_write(&target, runs, COUNT, size, why), 0);
    cr_assert_str_eq(read_file(path), expected);
}

/* ---- a disk that takes no more -------------------------------------------------------------- */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(file_target, part_of_a_record_is_cut_off_again)
{
    cr_assert_eq(write_text("one\n"), 0);
    limit_files(1000);
    cr_assert_eq(write_many('x', 5000), -EFBIG);
    cr_assert(strstr(why, path) != NULL && strstr(why, "File too large") != NULL, "%s", why);
    cr_assert_str_eq(read_file(path), "one\n");
    cr_assert_eq(write_text("two\n"), 0);
    limit_files(RLIM_INFINITY);
    cr_assert_eq(write_many('x', 5000), 0);
    cr_assert_eq(size_of(path), 8 + 5000);
}

Test(file_target, full_disk_is_named)
{
    (void)snprintf(path, sizeof(path), "/dev/full");
    cr_assert_eq(write_text("one\n"), -ENOSPC);
    cr_assert_str_eq(why, "cannot write to /dev/full: No space left on device");
}

/* ---- pipes ---------------------------------------------------------------------------------- */

Test(file_target, pipe_that_nobody_reads_is_an_error_not_a_wait)
{
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(write_text("one\n"), -ENXIO);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_eq(write_text("one\n"), 0);
    char got[8];
    cr_assert_eq(read(reader, got, sizeof(got)), 4);
    close(reader);
    cr_assert_eq(write_text("two\n"), -EPIPE);
    cr_assert_eq(write_text("two\n"), -ENXIO);
}

Test(file_target, record_that_a_pipe_took_in_part_comes_again_on_a_line_of_its_own)
{
    enum { SIZE = 100000 };
    static char got[4 * SIZE];
    cr_assert_eq(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    (void)fcntl(reader, F_SETPIPE_SZ, 16384);
    target.patience_ms = 200;
    cr_assert_eq(write_many('x', SIZE), -ETIMEDOUT);
    cr_assert(strstr(why, "does not read") != NULL);
    ssize_t part = read(reader, got, sizeof(got));
    cr_assert(part > 0 && part < SIZE && got[part - 1] == 'x');
    cr_assert_eq(write_text("two\n"), 0);
    cr_assert_eq(read(reader, got, sizeof(got)), 5);
    cr_assert_eq(memcmp(got, "\ntwo\n", 5), 0);
    atomic_store(&give_up, true);
    cr_assert_eq(write_text("three\n"), -ECANCELED);
    close(reader);
}

/* ---- rotation ------------------------------------------------------------------------------- */

Test(file_target, full_file_becomes_a_backup)
{
    config.rotation.present = true;
    cr_assert_eq(write_many('a', MEGABYTE - 10), 0);
    cr_assert_eq(write_many('b', 10), 0);
    cr_assert_eq(count_files(), 1);
    cr_assert_eq(write_many('c', 10), 0);
    cr_assert_eq(count_files(), 2);
    cr_assert_eq(size_of(path), 10);
    cr_assert_eq(target.rotations, 1);
}

Test(file_target, record_above_the_limit_has_a_file_of_its_own)
{
    config.rotation.present = true;
    cr_assert_eq(write_many('a', 3 * MEGABYTE), 0);
    cr_assert_eq(size_of(path), 3 * MEGABYTE);
    cr_assert_eq(write_many('b', 1), 0);
    cr_assert_eq(size_of(path), 1);
    cr_assert_eq(count_files(), 2);
}

Test(file_target, backups_are_as_many_as_wanted)
{
    config.rotation.present = true;
    config.rotation.max_backups = 3;
    for (int i = 0; i < 8; i++)
        cr_assert_eq(write_many('a', MEGABYTE), 0);
    cr_assert_eq(count_files(), 4);
}

static void put_backup(const char *stamp)
{
    char name[200];
    (void)snprintf(name, sizeof(name), "%s/spans-%s.json", folder, stamp);
    put_file(name, "old\n");
}

/* 2026-11-21T00:00:00 UTC */
#define NOW_MS UINT64_C(1795219200000)

Test(file_target, old_backups_go_and_other_files_stay)
{
    struct ut_file_rotation rotation = {.max_days = 7, .max_backups = 100};
    put_backup("2026-11-13T23-59-59.999");
    put_backup("2026-11-14T00-00-00.001");
    put_backup("2026-11-20T10-00-00.000");
    put_backup("2026-11-13");
    put_backup("2026-11-13T23-59-59.99x");
    put_file(path, "now\n");
    ut_file_prune(path, &rotation, NOW_MS);
    cr_assert_eq(count_files(), 5);
    rotation.max_backups = 1;
    ut_file_prune(path, &rotation, NOW_MS);
    cr_assert_eq(count_files(), 4);
    char newest[200];
    (void)snprintf(newest, sizeof(newest), "%s/spans-2026-11-20T10-00-00.000.json", folder);
    cr_assert_str_eq(read_file(newest), "old\n");
}

Test(file_target, backup_never_takes_the_place_of_another)
{
    put_backup("2026-11-21T00-00-00.000");
    put_file(path, "new\n");
    cr_assert_eq(ut_file_backup(path, NOW_MS, false), 0);
    char name[200];
    (void)snprintf(name, sizeof(name), "%s/spans-2026-11-21T00-00-00.000.json", folder);
    cr_assert_str_eq(read_file(name), "old\n");
    (void)snprintf(name, sizeof(name), "%s/spans-2026-11-21T00-00-00.001.json", folder);
    cr_assert_str_eq(read_file(name), "new\n");
}
