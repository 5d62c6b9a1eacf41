/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evidence/cgroup_scan.h"

#define S UT_NS_PER_S

static struct ut_workloads table;

static void begin(void)
{
    if (ut_workloads_init(&table) != 0)
        abort();
}

static void end(void)
{
    ut_workloads_done(&table);
}

TestSuite(workloads, .init = begin, .fini = end);

static uint32_t of(uint64_t id)
{
    bool known;
    return ut_workloads_of_cgroup(&table, id, &known);
}

static void created(uint64_t id, const char *path, uint64_t now_ns)
{
    ut_workloads_created(&table, id, ut_slice_str(path), now_ns);
}

Test(workloads, cgroups_of_one_unit_are_one_workload)
{
    created(1, "/system.slice/a.service", S);
    created(2, "/system.slice/a.service/x", S);
    created(3, "/system.slice/b.service", S);
    cr_expect_neq(of(1), 0);
    cr_expect_eq(of(1), of(2));
    cr_expect_neq(of(1), of(3));
    cr_expect_str_eq(ut_workloads_get(&table, of(2))->shown_path, "/system.slice/a.service");
}

Test(workloads, nobody_owns_the_root_and_sessions)
{
    created(1, "/", S);
    created(2, "/user.slice/user-0.slice/session-1.scope", S);
    bool known;
    cr_expect_eq(ut_workloads_of_cgroup(&table, 1, &known), 0);
    cr_expect(known);
    cr_expect_eq(of(2), 0);
    cr_expect_not(table.rescan_wanted);
}

Test(workloads, same_path_made_again_is_another_workload)
{
    created(1, "/a", S);
    uint32_t first = of(1);
    ut_workloads_removed(&table, 1, 2 * S);
    created(2, "/a", 3 * S);
    cr_expect_neq(of(2), first);
    cr_expect_eq(of(1), first, "sockets outlive their cgroup");
}

Test(workloads, reused_id_is_not_the_old_one)
{
    created(1, "/a", S);
    uint32_t first = of(1);
    created(1, "/b", 2 * S); /* the end of /a was not told */
    cr_expect_neq(of(1), first);
    cr_expect_neq(ut_workloads_get(&table, first)->removed_ns, 0);
}

Test(workloads, told_twice_changes_nothing)
{
    created(1, "/a", S);
    uint32_t first = of(1);
    created(1, "/a", 2 * S);
    cr_expect_eq(of(1), first);
    ut_workloads_removed(&table, 1, 3 * S);
    cr_expect_eq(ut_workloads_get(&table, first)->removed_ns, 3 * S);
}

Test(workloads, unknown_id_asks_for_one_rescan)
{
    bool known;
    cr_expect_eq(ut_workloads_of_cgroup(&table, 7, &known), 0);
    cr_expect_not(known);
    cr_expect(table.rescan_wanted);
    ut_workloads_scan_begin(&table);
    ut_workloads_scan_end(&table, true, S);
    ut_workloads_of_cgroup(&table, 7, &known);
    cr_expect(known, "nobody's, for all that can be known");
    cr_expect_not(table.rescan_wanted);
}

Test(workloads, unknown_id_is_filled_by_the_scan)
{
    of(7);
    ut_workloads_scan_begin(&table);
    created(7, "/a", S);
    ut_workloads_scan_end(&table, true, S);
    cr_expect_neq(of(7), 0);
}

Test(workloads, scan_takes_away_only_what_a_scan_had_seen)
{
    ut_workloads_scan_begin(&table);
    created(1, "/a", S);
    ut_workloads_scan_end(&table, true, S);
    created(2, "/elsewhere", S);
    ut_workloads_scan_begin(&table);
    ut_workloads_scan_end(&table, true, 2 * S);
    cr_expect_eq(ut_workloads_get(&table, of(1))->removed_ns, 2 * S);
    cr_expect_eq(ut_workloads_get(&table, of(2))->removed_ns, 0);
}

Test(workloads, removed_ones_are_forgotten_in_time)
{
    created(1, "/a", S);
    uint32_t id = of(1);
    ut_workloads_removed(&table, 1, 10 * S);
    ut_workloads_expire(&table, UT_WORKLOAD_KEPT_NS + 9 * S);
    cr_expect_not_null(ut_workloads_get(&table, id));
    ut_workloads_expire(&table, UT_WORKLOAD_KEPT_NS + 11 * S);
    cr_expect_null(ut_workloads_get(&table, id));
    cr_expect_eq(table.count, 0);
}

Test(workloads, full_table_takes_the_one_removed_first_and_counts_what_finds_no_room)
{
    char path[32];
    for (uint32_t i = 1; i < UT_WORKLOADS_MAX; i++) {
        (void)snprintf(path, sizeof(path), "/w%u", i);
        created(i, path, S);
    }
    created(100000, "/no-room", S);
    cr_expect_eq(of(100000), 0);
    cr_expect_geq(table.overflows, 1);
    uint32_t gone = of(5);
    ut_workloads_removed(&table, 5, 2 * S);
    created(100001, "/room", 3 * S);
    cr_expect_neq(of(100001), 0);
    cr_expect_null(ut_workloads_get(&table, gone));
}

Test(workloads, many_cgroups_are_bounded)
{
    char path[32];
    for (uint32_t i = 1; i <= UT_CGROUPS_MAX + 1000; i++) {
        (void)snprintf(path, sizeof(path), "/w%u", i);
        created(i, path, i * S);
        ut_workloads_removed(&table, i, i * S);
    }
    cr_expect_leq(table.count, UT_WORKLOADS_MAX);
    cr_expect_neq(of(UT_CGROUPS_MAX + 1000), 0);
}

Test(workloads, pod_mates_find_each_other)
{
#define POD "/kubepods/pod01234567-89ab-cdef-0123-456789abcdef/"
    created(1, POD "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", S);
    created(2, POD "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", S);
    created(3, "/alone", S);
    const struct ut_workload *first = ut_workloads_get(&table, of(1));
    const struct ut_workload *mate = ut_workloads_next_in_pod(&table, first, NULL);
    cr_assert_not_null(mate);
    cr_expect_eq(mate->id, of(2));
    cr_expect_null(ut_workloads_next_in_pod(&table, first, mate));
    cr_expect_null(ut_workloads_next_in_pod(&table, ut_workloads_get(&table, of(3)), NULL));
}

Test(workloads, long_and_strange_paths_are_shown_as_text)
{
    char path[400] = "/\xff";
    memset(path + 2, 'x', 380);
    created(1, path, S);
    const struct ut_workload *workload = ut_workloads_get(&table, of(1));
    cr_assert_not_null(workload);
    cr_expect_eq(strlen(workload->shown_path), 255);
    created(2, "/\xff", S);
    cr_expect_str_eq(ut_workloads_get(&table, of(2))->shown_path, "/?");
}

Test(workloads, tree_is_read_with_inodes_as_ids)
{
    char root[] = "/tmp/ut-cgroup-scan-XXXXXX", a[64], ab[64];
    cr_assert_not_null(mkdtemp(root));
    (void)snprintf(a, sizeof(a), "%s/a.service", root);
    (void)snprintf(ab, sizeof(ab), "%s/a.service/b", root);
    struct stat status;
    cr_assert_eq(mkdir(a, 0700), 0);
    cr_assert_eq(mkdir(ab, 0700), 0);
    cr_assert_eq(stat(ab, &status), 0);
    cr_expect_eq(ut_cgroup_scan(&table, root, S), 0);
    const struct ut_workload *workload = ut_workloads_get(&table, of(status.st_ino));
    cr_assert_not_null(workload);
    cr_expect_str_eq(workload->shown_path, "/a.service");
    (void)rmdir(ab);
    (void)rmdir(a);
    cr_expect_eq(ut_cgroup_scan(&table, root, 2 * S), 0);
    cr_expect_eq(workload->removed_ns, 2 * S);
    (void)rmdir(root);
    cr_expect_eq(ut_cgroup_scan(&table, root, 3 * S), -ENOENT);
}
