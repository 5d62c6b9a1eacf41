/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups that come faster than records tell of them, more than anyone needs, and by names that are
 * others'. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "evidence/workloads.h"

#define S UT_NS_PER_S
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define UID "01234567-89ab-cdef-0123-456789abcdef"
#define REAL "/kubepods/pod" UID "/" ID
#define FORGED "/kubepods/podffffffff-89ab-cdef-0123-456789abcdef/" OTHER REAL

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

TestSuite(workloads_hostile, .init = begin, .fini = end);

static const struct ut_workload *of(uint64_t id)
{
    bool known;
    return ut_workloads_get(&table, ut_workloads_of_cgroup(&table, id, &known));
}

static void created(uint64_t id, const char *path, uint64_t now_ns)
{
    ut_workloads_created(&table, id, ut_slice_str(path), now_ns);
}

static void scanned(enum ut_scan_reach reach, uint64_t now_ns)
{
    ut_workloads_scan_begin(&table);
    created(1, "/", now_ns);
    ut_workloads_scan_end(&table, reach, now_ns);
}

/* ---- whose end nobody tells ------------------------------------------------------------------ */

Test(workloads_hostile, scan_of_the_whole_takes_away_what_records_alone_told_of)
{
    char path[32];
    for (uint32_t i = 0; i < 1000; i++) {
        (void)snprintf(path, sizeof(path), "/short-lived/%u", i);
        created(10 + i, path, S);
    }
    scanned(UT_SCAN_PART, 2 * S);
    cr_expect_eq(of(10)->removed_ns, 0, "it may lie elsewhere");
    scanned(UT_SCAN_WHOLE, 3 * S);
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(of(10 + i)->removed_ns, 3 * S);
    ut_workloads_expire(&table, UT_WORKLOAD_KEPT_NS + 4 * S);
    cr_expect_eq(table.count, 0);
}

Test(workloads_hostile, scan_that_broke_takes_away_nothing)
{
    created(2, "/a", S);
    scanned(UT_SCAN_BROKEN, 2 * S);
    cr_expect_eq(of(2)->removed_ns, 0);
}

Test(workloads_hostile, what_was_missed_asks_for_a_scan)
{
    ut_workloads_missed(&table);
    cr_expect(table.rescan_wanted);
}

Test(workloads_hostile, path_that_is_made_again_is_anothers_though_nobody_told_of_the_end)
{
    created(2, REAL, S);
    created(3, REAL "/below", S);
    const struct ut_workload *first = of(2);
    ut_workloads_get(&table, first->id); /* names that containerd told of the first one */
    table.slots[UT_WORKLOAD_SLOT(first->id)].names.state = UT_NAMES_KNOWN;
    created(4, REAL, 5 * S);
    created(5, REAL "/below", 5 * S);
    cr_expect_neq(of(4), first);
    cr_expect_eq(of(5), of(4));
    cr_expect_neq(of(4)->names.state, UT_NAMES_KNOWN);
    cr_expect_eq(first->removed_ns, 5 * S);
    cr_expect_eq(of(3), first, "sockets outlive their cgroup");
    cr_expect_eq(of(4)->cgroups, 2);
}

/* ---- very many ------------------------------------------------------------------------------- */

Test(workloads_hostile, one_with_very_many_leaves_room_for_others)
{
    char path[64];
    for (uint32_t i = 0; i < UT_CGROUPS_MAX + 1000; i++) {
        (void)snprintf(path, sizeof(path), "/system.slice/hog.service/%u", i);
        created(100 + i, path, S);
    }
    cr_expect_eq(of(100)->cgroups, UT_CGROUPS_OF_ONE_MAX);
    cr_expect_gt(table.overflows, 0);
    created(2, "/system.slice/other.service", S);
    cr_assert_not_null(of(2));
    cr_expect_str_eq(of(2)->path, "/system.slice/other.service");
}

/* ---- others' names --------------------------------------------------------------------------- */

static void expect_owner(uint64_t id)
{
    cr_expect_str_eq(of(id)->container_id, ID);
    cr_expect_str_eq(of(id)->pod_uid, UID);
}

static void expect_nameless(uint64_t id)
{
    cr_expect_str_empty(of(id)->container_id);
    cr_expect_str_empty(of(id)->pod_uid);
    cr_expect_eq(of(id)->names.state, UT_NAMES_ABSENT, "nor is anybody asked for them");
}

Test(workloads_hostile, container_within_another_does_not_become_a_third)
{
    created(2, REAL, S);
    created(3, FORGED, S);
    expect_owner(2);
    expect_nameless(3);
    cr_expect_eq(table.impostors, 1);
    cr_expect_eq(ut_workloads_by_container(&table, ut_slice_str(ID)), of(2));
}

Test(workloads_hostile, nor_does_one_that_was_there_first)
{
    created(3, FORGED, S);
    expect_owner(3);
    created(2, REAL, S);
    expect_owner(2);
    expect_nameless(3);
    cr_expect_eq(ut_workloads_by_container(&table, ut_slice_str(ID)), of(2));
}

Test(workloads_hostile, nor_does_one_below_a_service_or_a_users_session)
{
    created(2, REAL, S);
    created(3, "/system.slice/foo.service" REAL, S);
    created(4, "/user.slice/user-1000.slice/user@1000.service/cri-containerd-" ID ".scope", S);
    expect_owner(2);
    expect_nameless(3);
    expect_nameless(4);
}

Test(workloads_hostile, another_container_is_not_put_into_a_pod_from_within_a_third)
{
    created(2, REAL, S);
    created(3,
            "/docker/" OTHER "/kubepods/pod" UID
            "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            S);
    expect_owner(2);
    expect_nameless(3);
    cr_expect_null(ut_workloads_next_in_pod(&table, of(2), NULL));
}

Test(workloads_hostile, of_two_as_deep_as_each_other_neither_is_believed)
{
    created(2, "/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" REAL, S);
    created(3, "/docker/" OTHER REAL, S);
    expect_nameless(2);
    expect_nameless(3);
}

Test(workloads_hostile, container_of_a_nested_runtime_has_its_names)
{
    created(2, "/docker/" OTHER, S);
    created(3, "/docker/" OTHER REAL, S);
    created(4,
            "/docker/" OTHER "/kubepods/pod" UID
            "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            S);
    expect_owner(3);
    cr_expect_eq(ut_workloads_next_in_pod(&table, of(3), NULL), of(4));
    cr_expect_eq(table.impostors, 0);
}

Test(workloads_hostile, one_that_has_gone_contradicts_nobody)
{
    created(3, FORGED, S);
    ut_workloads_removed(&table, 3, 2 * S);
    created(2, REAL, 3 * S);
    expect_owner(2);
    cr_expect_eq(table.impostors, 0);
}
