/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "evidence/tables.h"

#define S UT_NS_PER_S

static struct ut_tables tables;
static struct ut_event_store *const store = &tables.events;

static void begin(void)
{
    if (ut_tables_init(&tables) != 0)
        abort();
    ut_workloads_created(&tables.workloads, 1, UT_SLICE("/one"), S);
    ut_workloads_created(&tables.workloads, 2, UT_SLICE("/two"), S);
}

static void end(void)
{
    ut_tables_done(&tables);
}

TestSuite(event_store, .init = begin, .fini = end);

static struct ut_connection *connection(uint64_t cookie, uint64_t cgroup, uint32_t local_isn,
                                        uint32_t remote_isn)
{
    const struct ut_connection_fact fact = {
        .unix_ns = 10 * S,
        .cgroup_id = cgroup,
        .cookie = cookie,
        .local.port = (uint16_t)cookie,
        .remote.port = 80,
        .role = local_isn < remote_isn ? UT_ROLE_CONNECT : UT_ROLE_ACCEPT,
        .has_isn = true,
        .local_isn = local_isn,
        .remote_isn = remote_isn,
    };
    return ut_connections_learn(&tables.connections, &fact, UT_CONNECTION_OPENED);
}

static void add(struct ut_connection *c, uint64_t seen_ns)
{
    const struct ut_event event = {.seen_ns = seen_ns,
                                   .rto_us = 200000,
                                   .has = UT_HAS_RTO,
                                   .segments = 2,
                                   .bytes = 100,
                                   .cause = UT_CAUSE_TIMEOUT};
    ut_event_store_add(store, &event, c);
}

static const struct ut_event_list *list(int side, uint32_t workload)
{
    return &store->lists[side][UT_WORKLOAD_SLOT(workload)];
}

/* Every list is ordered, linked both ways, and as long as it says. */
static void check_list(int side, uint32_t slot)
{
    const struct ut_event_list *l = &store->lists[side][slot];
    uint32_t count = 0, newer = 0;
    uint64_t last_ns = UINT64_MAX;
    for (uint32_t i = l->newest; i != 0; i = store->events[i].links[side].older) {
        cr_assert_leq(store->events[i].seen_ns, last_ns);
        cr_assert_eq(store->events[i].links[side].newer, newer);
        last_ns = store->events[i].seen_ns;
        newer = i;
        count++;
    }
    cr_assert_eq(l->oldest, newer);
    cr_assert_eq(l->count, count);
}

Test(event_store, event_stands_under_both_ends)
{
    struct ut_connection *a = connection(1, 1, 5, 6), *b = connection(2, 2, 6, 5);
    add(a, 20 * S);
    cr_expect_eq(list(UT_SIDE_LOCAL, a->workload)->count, 1);
    cr_expect_eq(list(UT_SIDE_PEER, b->workload)->count, 1);
    cr_expect_eq(list(UT_SIDE_PEER, a->workload)->count, 0);
}

Test(event_store, mirror_learnt_after_the_event_still_gets_it)
{
    struct ut_connection *a = connection(1, 1, 5, 6);
    add(a, 20 * S);
    add(a, 21 * S);
    struct ut_connection *b = connection(2, 2, 6, 5);
    cr_expect_eq(list(UT_SIDE_PEER, b->workload)->count, 2);
    check_list(UT_SIDE_PEER, UT_WORKLOAD_SLOT(b->workload));
}

Test(event_store, lists_are_in_order_of_time_whatever_the_order_of_coming)
{
    struct ut_connection *a = connection(1, 1, 5, 6), *b = connection(3, 1, 7, 8);
    const uint64_t times[] = {20, 18, 25, 19, 18, 30};
    for (size_t i = 0; i < 6; i++)
        add(i % 2 != 0 ? a : b, times[i] * S);
    cr_expect_eq(list(UT_SIDE_LOCAL, a->workload)->count, 6);
    check_list(UT_SIDE_LOCAL, UT_WORKLOAD_SLOT(a->workload));
}

Test(event_store, full_store_takes_from_the_workload_that_has_most)
{
    struct ut_connection *a = connection(1, 1, 5, 6), *b = connection(3, 2, 7, 8);
    add(b, 19 * S);
    for (uint32_t i = 1; i < UT_EVENTS_MAX; i++)
        add(a, 20 * S + i);
    cr_expect_eq(store->count, UT_EVENTS_MAX);
    add(b, 40 * S);
    add(a, 41 * S);
    cr_expect_eq(store->count, UT_EVENTS_MAX);
    cr_expect_eq(list(UT_SIDE_LOCAL, b->workload)->count, 2);
    cr_expect_eq(ut_event_store_horizon(store, a->workload), 20 * S + 2);
    cr_expect_eq(ut_event_store_horizon(store, b->workload), 0);
    cr_expect_eq(store->evicted, 2);
}

Test(event_store, old_events_become_sums_of_ten_seconds)
{
    struct ut_connection *a = connection(1, 1, 5, 6), *b = connection(2, 2, 6, 5);
    for (uint64_t s = 1000; s < 1030; s++)
        add(a, s * S);
    ut_event_store_age(store, 1025 * S + UT_EVENT_KEPT_NS);
    cr_expect_eq(store->count, 5);
    cr_expect_eq(store->fold_count, 3);
    const struct ut_event_list *folds =
        &store->fold_lists[UT_SIDE_PEER][UT_WORKLOAD_SLOT(b->workload)];
    cr_expect_eq(folds->count, 3);
    const struct ut_fold *first = &store->folds[folds->oldest];
    cr_expect_eq(first->segments, 20);
    cr_expect_eq(first->bytes, 1000);
    cr_expect_eq(first->timeouts, 10);
    cr_expect_eq(first->first_sent_ns, 1000 * S - 250000000);
    cr_expect_eq(first->last_seen_ns, 1009 * S);
    cr_expect_eq(ut_event_store_horizon(store, a->workload), 0, "nothing is lost yet");
    ut_event_store_age(store, 1010 * S + UT_FOLD_KEPT_NS);
    cr_expect_eq(store->fold_count, 2);
    cr_expect_eq(ut_event_store_horizon(store, a->workload), 1009 * S);
    cr_expect_eq(ut_event_store_horizon(store, b->workload), 1009 * S);
}

Test(event_store, sums_are_bounded)
{
    struct ut_connection *a = connection(1, 1, 5, 6);
    uint64_t now_ns = 1000 * S;
    for (uint32_t i = 0; i < UT_FOLDS_MAX + 50; i++, now_ns += UT_FOLD_SPAN_NS) {
        add(a, now_ns);
        /* As if nobody had asked for their age: only the whole ones go. */
        ut_event_store_age(store, now_ns + UT_EVENT_KEPT_NS + S);
    }
    cr_expect_leq(store->fold_count, UT_FOLD_KEPT_NS / UT_FOLD_SPAN_NS + 1);
}

Test(event_store, connection_that_goes_takes_its_events_and_raises_the_horizon)
{
    struct ut_connection *a = connection(1, 1, 5, 6);
    uint32_t workload = a->workload;
    add(a, 20 * S);
    add(a, 22 * S);
    ut_event_store_forget(store, a);
    cr_expect_eq(store->count, 0);
    cr_expect_eq(list(UT_SIDE_LOCAL, workload)->count, 0);
    cr_expect_eq(ut_event_store_horizon(store, workload), 22 * S);
}

Test(event_store, workload_that_goes_leaves_its_events_to_nobody)
{
    struct ut_connection *a = connection(1, 1, 5, 6), *b = connection(2, 2, 6, 5);
    add(a, 20 * S);
    uint32_t slot = UT_WORKLOAD_SLOT(a->workload);
    ut_workloads_removed(&tables.workloads, 1, 30 * S);
    ut_workloads_expire(&tables.workloads, 31 * S + UT_WORKLOAD_KEPT_NS);
    cr_expect_eq(a->workload, 0);
    cr_expect_eq(store->lists[UT_SIDE_LOCAL][slot].count, 0);
    cr_expect_eq(list(UT_SIDE_LOCAL, 0)->count, 1);
    cr_expect_eq(list(UT_SIDE_PEER, b->workload)->count, 1, "the other end still has them");
}

Test(event_store, owner_learnt_late_puts_many_events_in_their_places)
{
    struct ut_connection *known = connection(3, 1, 7, 8), *late = connection(1, 9, 5, 6);
    for (uint32_t i = 0; i < 20000; i++)
        add(i % 2 != 0 ? known : late, 20 * S + i);
    ut_workloads_created(&tables.workloads, 9, UT_SLICE("/one/../x"), S);
    ut_connections_resolve(&tables.connections);
    cr_expect_eq(list(UT_SIDE_LOCAL, late->workload)->count, 10000);
    check_list(UT_SIDE_LOCAL, UT_WORKLOAD_SLOT(late->workload));
    cr_expect_eq(list(UT_SIDE_LOCAL, 0)->count, 0);
}

Test(event_store, connections_with_events_outlive_idle_ones_when_the_table_is_full)
{
    struct ut_connection *used = connection(1, 1, 5, 6);
    add(used, 20 * S);
    for (uint32_t i = 0; i < 2 * UT_CONNECTIONS_MAX; i++) {
        const struct ut_connection_fact fact = {
            .unix_ns = 30 * S + i, .cgroup_id = 2, .cookie = 100 + i};
        ut_connections_learn(&tables.connections, &fact, UT_CONNECTION_OPENED);
        ut_connections_learn(&tables.connections, &fact, UT_CONNECTION_CLOSED);
        if (i == 0) {
            const struct ut_connection_fact first = {.unix_ns = 30 * S, .cookie = 1};
            ut_connections_learn(&tables.connections, &first, UT_CONNECTION_CLOSED);
        }
    }
    cr_expect_eq(ut_connections_by_cookie(&tables.connections, 1), used);
    cr_expect_eq(store->count, 1);
}
