/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cgroup_mount.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ut_cgroup_mount found_in(const char *mountinfo)
{
    struct ut_cgroup_mount mount;
    cr_assert_eq(ut_cgroup_mount_find(&mount, ut_slice_str(mountinfo)), 0, "%s", mountinfo);
    return mount;
}

Test(cgroup_mount, is_found_where_it_shows_most)
{
    struct ut_cgroup_mount mount =
        found_in("30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
    cr_expect_str_eq(mount.point, "/sys/fs/cgroup");
    cr_expect_str_eq(mount.part, "/");
    mount = found_in("22 1 0:20 / / rw - ext4 /dev/vda rw\n"
                     "29 23 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                     "30 23 0:26 /kubepods/x /part rw - cgroup2 cgroup2 rw\n"
                     "31 23 0:26 / /own rw - cgroup2 cgroup2 rw\n"
                     "32 23 0:26 /../.. /host\\040cgroup rw - cgroup2 cgroup2 rw");
    cr_expect_str_eq(mount.point, "/host cgroup");
    cr_expect_str_eq(mount.part, "/../..");
    mount = found_in("30 23 0:26 /kubepods/x /part rw - cgroup2 cgroup2 rw\n");
    cr_expect_str_eq(mount.part, "/kubepods/x");
    cr_expect_eq(ut_cgroup_mount_find(&mount, UT_SLICE("nonsense\n\n")), -ENOENT);
}

Test(cgroup_mount, cgroup_is_the_inode_of_its_directory_or_unknown)
{
    struct ut_cgroup_mount mount = {.part = "/"};
    char inner[UT_CGROUP_MOUNT_PATH + 8];
    struct stat top, below;
    (void)snprintf(mount.point, sizeof(mount.point), "%s", "/tmp/ut_cgroup_XXXXXX");
    cr_assert_not_null(mkdtemp(mount.point));
    (void)snprintf(inner, sizeof(inner), "%s/pod", mount.point);
    cr_assert_eq(mkdir(inner, 0700), 0);
    cr_assert_eq(stat(mount.point, &top), 0);
    cr_assert_eq(stat(inner, &below), 0);
    const struct {
        const char *part, *path;
        uint64_t id;
    } rows[] = {
        {"/", "/pod", below.st_ino},
        {"/", "/", top.st_ino},
        {"/", "/gone", 0},
        {"/", "/pod (deleted)", 0},
        {"/", "", 0},
        {"/", "/../pod", 0},
        {"/", "/..", 0},
        {"/../..", "/../../pod", below.st_ino},
        {"/../..", "/../..", top.st_ino},
        {"/../..", "/../../../pod", 0},
        {"/../..", "/pod", 0},
        {"/kubepods", "/kubepods/pod", below.st_ino},
        {"/kubepods", "/kubepodsx/pod", 0},
        {"/kubepods", "/pod", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)snprintf(mount.part, sizeof(mount.part), "%s", rows[i].part);
        cr_expect_eq(ut_cgroup_mount_id(&mount, ut_slice_str(rows[i].path)), rows[i].id,
                     "%s seen from %s", rows[i].path, rows[i].part);
    }
    (void)rmdir(inner);
    (void)rmdir(mount.point);
}

Test(cgroup_mount, this_process_is_found)
{
    struct ut_cgroup_mount mount;
    if (ut_cgroup_mount_read(&mount) != 0)
        cr_skip_test("no cgroup v2 is mounted here");
    cr_expect_neq(ut_cgroup_mount_id(&mount, ut_slice_str(mount.part)), 0);
}

#define V2_LINE "40 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

Test(cgroup_mount, memory_is_counted_in_v1_where_that_has_it)
{
    struct ut_cgroup_mount mount;
    bool v1;
    const ut_slice hybrid =
        UT_SLICE(V2_LINE "41 30 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                         "42 30 0:34 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    cr_assert_eq(ut_cgroup_mount_find_memory(&mount, &v1, hybrid), 0);
    cr_expect(v1);
    cr_expect_str_eq(mount.point, "/sys/fs/cgroup/memory");
    cr_assert_eq(ut_cgroup_mount_find_memory(&mount, &v1, UT_SLICE(V2_LINE)), 0);
    cr_expect_not(v1);
    cr_expect_str_eq(mount.point, "/sys/fs/cgroup/unified");
    cr_expect_eq(ut_cgroup_mount_find_memory(&mount, &v1, UT_SLICE("")), -ENOENT);
}

Test(cgroup_mount, names_a_file_of_a_cgroup_that_it_shows)
{
    struct ut_cgroup_mount mount = {.point = "/m", .part = "/"};
    char name[16];
    cr_assert(ut_cgroup_mount_file(&mount, UT_SLICE("/a/b"), "file", name, sizeof(name)));
    cr_expect_str_eq(name, "/m/a/b/file");
    cr_expect_not(ut_cgroup_mount_file(&mount, UT_SLICE("/a/b"), "file", name, 11));
    (void)snprintf(mount.part, sizeof(mount.part), "/a");
    cr_assert(ut_cgroup_mount_file(&mount, UT_SLICE("/a/b"), "file", name, sizeof(name)));
    cr_expect_str_eq(name, "/m/b/file");
    cr_expect_not(ut_cgroup_mount_file(&mount, UT_SLICE("/c"), "file", name, sizeof(name)));
}
