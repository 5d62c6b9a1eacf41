/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "evidence/tables.h"

#define S UT_NS_PER_S

static struct ut_tables tables;
static struct ut_connections *const table = &tables.connections;

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

TestSuite(connections, .init = begin, .fini = end);

static struct ut_endpoint at(uint8_t host, uint16_t port)
{
    const uint8_t bytes[4] = {10, 0, 0, host};
    return (struct ut_endpoint){ut_address_v4(bytes), port};
}

/* Client host 1, server host 2. */
static struct ut_connection_fact client(uint64_t cookie, uint16_t port)
{
    return (struct ut_connection_fact){.unix_ns = 10 * S,
                                       .cgroup_id = 1,
                                       .cookie = cookie,
                                       .netns_cookie = 51,
                                       .local = at(1, port),
                                       .remote = at(2, 80),
                                       .role = UT_ROLE_CONNECT};
}

static struct ut_connection_fact server(uint64_t cookie, uint16_t port)
{
    return (struct ut_connection_fact){.unix_ns = 10 * S,
                                       .cgroup_id = 2,
                                       .cookie = cookie,
                                       .netns_cookie = 52,
                                       .local = at(2, 80),
                                       .remote = at(1, port),
                                       .role = UT_ROLE_ACCEPT};
}

static struct ut_connection_fact with_isn(struct ut_connection_fact fact, uint32_t local,
                                          uint32_t remote)
{
    fact.has_isn = true;
    fact.local_isn = local;
    fact.remote_isn = remote;
    return fact;
}

static struct ut_connection *learn(struct ut_connection_fact fact, enum ut_connection_change change)
{
    return ut_connections_learn(table, &fact, change);
}

Test(connections, ends_with_one_pair_of_isns_mirror_each_other)
{
    struct ut_connection *a = learn(with_isn(client(1, 4000), 7, 9), UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_mirror(table, a));
    struct ut_connection_fact translated = with_isn(server(2, 5555), 9, 7);
    translated.remote = at(77, 5555);
    struct ut_connection *b = learn(translated, UT_CONNECTION_OPENED);
    cr_expect_eq(ut_connections_mirror(table, a), b);
    cr_expect_eq(ut_connections_mirror(table, b), a);
}

Test(connections, equal_isns_on_one_side_only_are_no_mirror)
{
    struct ut_connection *a = learn(with_isn(client(1, 4000), 7, 9), UT_CONNECTION_OPENED);
    struct ut_connection_fact other = with_isn(server(2, 5555), 9, 8);
    learn(other, UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_mirror(table, a));
}

Test(connections, third_end_with_the_same_pair_makes_all_ambiguous)
{
    struct ut_connection *a = learn(with_isn(client(1, 4000), 7, 9), UT_CONNECTION_OPENED);
    struct ut_connection *b = learn(with_isn(server(2, 4000), 9, 7), UT_CONNECTION_OPENED);
    struct ut_connection *c = learn(with_isn(server(3, 4000), 9, 7), UT_CONNECTION_OPENED);
    cr_expect(a->ambiguous && b->ambiguous && c->ambiguous);
    cr_expect_null(ut_connections_mirror(table, a));
    cr_expect_null(ut_connections_mirror(table, b));
    cr_expect_geq(table->ambiguous, 3);
}

Test(connections, snapshot_ends_mirror_by_tuple)
{
    struct ut_connection *a = learn(client(1, 4000), UT_CONNECTION_SNAPSHOT);
    struct ut_connection *b = learn(server(2, 4000), UT_CONNECTION_SNAPSHOT);
    cr_expect_eq(ut_connections_mirror(table, a), b);
    cr_expect_eq(a->opened_ns, 0);
}

Test(connections, snapshot_end_and_its_twin_elsewhere_are_ambiguous)
{
    struct ut_connection *a = learn(client(1, 4000), UT_CONNECTION_SNAPSHOT);
    struct ut_connection_fact twin = client(3, 4000);
    twin.netns_cookie = 53;
    learn(twin, UT_CONNECTION_SNAPSHOT);
    learn(server(2, 4000), UT_CONNECTION_SNAPSHOT);
    cr_expect_null(ut_connections_mirror(table, a));
    cr_expect_geq(table->ambiguous, 1);
}

Test(connections, loopback_mirrors_within_its_namespace_only)
{
    const uint8_t v4[4] = {127, 0, 0, 1};
    struct ut_connection_fact a = client(1, 4000), b = server(2, 4000);
    a.local.address = a.remote.address = b.local.address = b.remote.address = ut_address_v4(v4);
    struct ut_connection *left = learn(a, UT_CONNECTION_SNAPSHOT);
    learn(b, UT_CONNECTION_SNAPSHOT);
    cr_expect_null(ut_connections_mirror(table, left));
    b.cookie = 3;
    b.netns_cookie = a.netns_cookie;
    struct ut_connection *right = learn(b, UT_CONNECTION_SNAPSHOT);
    cr_expect_eq(ut_connections_mirror(table, left), right);
}

Test(connections, pair_of_isns_beats_a_mirror_by_tuple)
{
    struct ut_connection *a = learn(client(1, 4000), UT_CONNECTION_SNAPSHOT);
    struct ut_connection *wrong = learn(server(2, 4000), UT_CONNECTION_SNAPSHOT);
    cr_assert_eq(ut_connections_mirror(table, a), wrong);
    struct ut_connection *right = learn(with_isn(server(3, 4444), 9, 7), UT_CONNECTION_OPENED);
    learn(with_isn(client(1, 4000), 7, 9), UT_CONNECTION_SEEN);
    cr_expect_eq(ut_connections_mirror(table, a), right);
    cr_expect_null(ut_connections_mirror(table, wrong));
}

Test(connections, rewritten_sequences_fall_back_to_the_tuple)
{
    struct ut_connection *a = learn(with_isn(client(1, 4000), 7, 9), UT_CONNECTION_OPENED);
    struct ut_connection *b = learn(with_isn(server(2, 4000), 1234, 7), UT_CONNECTION_OPENED);
    cr_expect_eq(ut_connections_mirror(table, a), b);
}

Test(connections, same_tuple_with_strange_isns_is_no_mirror)
{
    struct ut_connection *a = learn(with_isn(client(1, 4000), 7, 9), UT_CONNECTION_OPENED);
    learn(with_isn(server(2, 4000), 1234, 5678), UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_mirror(table, a));
}

Test(connections, request_without_cookie_becomes_the_accepted_socket)
{
    struct ut_connection *request = learn(with_isn(server(0, 4000), 9, 7), UT_CONNECTION_SEEN);
    struct ut_connection *accepted = learn(with_isn(server(2, 4000), 9, 7), UT_CONNECTION_OPENED);
    cr_expect_eq(request, accepted);
    cr_expect_eq(ut_connections_by_cookie(table, 2), accepted);
    cr_expect_eq(table->open_count, 1);
}

Test(connections, connecting_end_learns_its_port_later)
{
    struct ut_connection_fact early = client(1, 0);
    early.local = (struct ut_endpoint){0};
    struct ut_connection *c = learn(early, UT_CONNECTION_CONNECTING);
    struct ut_connection_fact later = with_isn(client(1, 4000), 7, 9);
    later.unix_ns = 12 * S;
    cr_expect_eq(learn(later, UT_CONNECTION_OPENED), c);
    cr_expect_eq(c->local.port, 4000);
    cr_expect_eq(c->opened_ns, 10 * S);
    cr_expect_eq(c->established_ns, 12 * S);
}

Test(connections, socket_that_connects_again_is_another_connection)
{
    struct ut_connection *first = learn(client(1, 4000), UT_CONNECTION_CONNECTING);
    learn(client(1, 4000), UT_CONNECTION_FAILED);
    struct ut_connection *second = learn(client(1, 4001), UT_CONNECTION_CONNECTING);
    cr_expect_neq(first, second);
    cr_expect_eq(ut_connections_by_cookie(table, 1), second);
    cr_expect_neq(first->closed_ns, 0);
}

Test(connections, full_table_lets_the_first_closed_go_and_tells_the_gap)
{
    uint32_t workload = 0;
    for (uint32_t i = 1; i <= UT_CONNECTIONS_MAX; i++) {
        struct ut_connection_fact fact = with_isn(client(i, 0), i, i + 7);
        fact.local = at((uint8_t)(3 + i / 60000), (uint16_t)(1 + i % 60000));
        workload = learn(fact, UT_CONNECTION_OPENED)->workload;
    }
    struct ut_connection_fact closing = client(500, 501);
    closing.unix_ns = 20 * S;
    learn(closing, UT_CONNECTION_CLOSED);
    cr_expect_eq(table->complete_since_ns[UT_WORKLOAD_SLOT(workload)], 0);
    learn(client(900000, 40000), UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_by_cookie(table, 500));
    cr_expect_eq(table->evicted_closed, 1);
    cr_expect_eq(table->complete_since_ns[UT_WORKLOAD_SLOT(workload)], 20 * S);
    learn(client(900001, 40001), UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_by_cookie(table, 1), "the one that was opened first");
    cr_expect_eq(table->evicted_open, 1);
}

Test(connections, flood_of_one_workload_takes_its_own_open_rows)
{
    enum { QUIET = 300, FLOOD = 2 * UT_CONNECTIONS_MAX };
    for (uint32_t i = 1; i <= QUIET; i++)
        learn(server(i, (uint16_t)i), UT_CONNECTION_OPENED);
    for (uint32_t i = 1; i <= FLOOD; i++) {
        struct ut_connection_fact fact = client(QUIET + i, 0);
        fact.local = at((uint8_t)(3 + i / 60000), (uint16_t)(1000 + i % 60000));
        learn(fact, UT_CONNECTION_OPENED);
    }
    for (uint32_t i = 1; i <= QUIET; i++)
        cr_assert_not_null(ut_connections_by_cookie(table, i), "of the quiet one: %u", i);
    cr_expect_eq(table->evicted_open, QUIET + FLOOD - UT_CONNECTIONS_MAX);
    cr_expect_null(ut_connections_by_cookie(table, QUIET + 1));
    uint32_t quiet = ut_connections_by_cookie(table, 1)->workload;
    cr_expect_eq(table->complete_since_ns[UT_WORKLOAD_SLOT(quiet)], 0, "nothing of it is missing");
}

/* Its own are open, or kept for their events. */
Test(connections, flood_of_one_workload_leaves_what_others_have_just_closed)
{
    enum { QUIET = 300 };
    for (uint32_t i = 1; i <= UT_CONNECTIONS_MAX + 20 * QUIET; i++) {
        struct ut_connection_fact fact = client(QUIET + i, 0);
        fact.local = at((uint8_t)(3 + i / 60000), (uint16_t)(1000 + i % 60000));
        struct ut_connection *c = learn(fact, UT_CONNECTION_OPENED);
        c->last_event_ns = fact.unix_ns;
        if (i % 2 != 0)
            learn(fact, UT_CONNECTION_CLOSED);
        if (i <= UT_CONNECTIONS_MAX || (i - UT_CONNECTIONS_MAX) % 20 != 0)
            continue;
        uint32_t quiet = (i - UT_CONNECTIONS_MAX) / 20;
        learn(server(quiet, (uint16_t)quiet), UT_CONNECTION_OPENED);
        learn(server(quiet, (uint16_t)quiet), UT_CONNECTION_CLOSED);
    }
    for (uint32_t i = 1; i <= QUIET; i++)
        cr_assert_not_null(ut_connections_by_cookie(table, i), "of the quiet one: %u", i);
}

/* The flood's connections are closed as well, and stand behind all that others had closed before.
 */
static void flood_with_closed_ones(uint64_t last_event_ns)
{
    enum { QUIET = 5000 };
    for (uint32_t i = 1; i <= QUIET; i++) {
        learn(server(i, (uint16_t)i), UT_CONNECTION_OPENED);
        learn(server(i, (uint16_t)i), UT_CONNECTION_CLOSED);
    }
    for (uint32_t i = 1; i <= 2 * UT_CONNECTIONS_MAX; i++) {
        struct ut_connection_fact fact = client(QUIET + i, 0);
        fact.local = at((uint8_t)(3 + i / 60000), (uint16_t)(1000 + i % 60000));
        learn(fact, UT_CONNECTION_OPENED)->last_event_ns = last_event_ns;
        learn(fact, UT_CONNECTION_CLOSED);
    }
    for (uint32_t i = 1; i <= QUIET; i++)
        cr_assert_not_null(ut_connections_by_cookie(table, i), "of the quiet one: %u", i);
    cr_expect_eq(table->evicted_closed, QUIET + UT_CONNECTIONS_MAX);
}

Test(connections, flood_of_one_workload_leaves_what_others_closed_before_it)
{
    flood_with_closed_ones(0);
}

Test(connections, flood_of_one_workload_that_has_events_does_so_too)
{
    flood_with_closed_ones(10 * S);
}

/* Kernels whose programs know no cookies tell of other ends without one as well. */
Test(connections, request_that_nobody_answers_goes_and_ends_without_a_cookie_stay)
{
    struct ut_connection *request = learn(server(0, 4000), UT_CONNECTION_SEEN);
    request->last_event_ns = 1000 * S;
    struct ut_connection *accepted = learn(with_isn(server(0, 4001), 7, 8), UT_CONNECTION_OPENED);
    struct ut_connection *connecting = learn(client(0, 4002), UT_CONNECTION_CONNECTING);
    ut_connections_expire(table, 1150 * S);
    cr_expect_eq(request->local.port, 80, "150 s have not passed");
    ut_connections_expire(table, 1151 * S);
    cr_expect_eq(request->local.port, 0);
    cr_expect_eq(accepted->local.port, 80);
    cr_expect_eq(connecting->local.port, 4002);
}

Test(connections, closed_rows_go_in_time_and_leave_no_mirror_behind)
{
    uint32_t workload = learn(with_isn(client(1, 4000), 7, 9), UT_CONNECTION_OPENED)->workload;
    struct ut_connection *b = learn(with_isn(server(2, 4000), 9, 7), UT_CONNECTION_OPENED);
    learn(client(1, 4000), UT_CONNECTION_CLOSED);
    ut_connections_expire(table, UT_CONNECTION_KEPT_NS + 11 * S);
    cr_expect_null(ut_connections_by_cookie(table, 1));
    cr_expect_null(ut_connections_mirror(table, b));
    cr_expect_eq(table->complete_since_ns[UT_WORKLOAD_SLOT(workload)], 10 * S);
}

Test(connections, owner_is_resolved_when_the_cgroup_becomes_known)
{
    struct ut_connection_fact fact = client(1, 4000);
    fact.cgroup_id = 3;
    struct ut_connection *c = learn(fact, UT_CONNECTION_OPENED);
    cr_expect_eq(c->workload, 0);
    ut_workloads_created(&tables.workloads, 3, UT_SLICE("/three"), 11 * S);
    ut_connections_resolve(table);
    cr_expect_neq(c->workload, 0);
    cr_expect_eq(table->unresolved, 0);
    cr_expect_eq(ut_connections_next_on_port(table, c->workload, 80, NULL), c);
}

/* Both ends, on the loopback of one namespace; the second socket got the first one's port. */
Test(connections, one_that_opens_closes_what_was_open_on_its_endpoints)
{
    struct ut_connection_fact fact = client(7, 4000), other_end = server(8, 4000);
    other_end.netns_cookie = fact.netns_cookie;
    struct ut_connection *first = ut_connections_learn(table, &fact, UT_CONNECTION_OPENED);
    struct ut_connection *peer = ut_connections_learn(table, &other_end, UT_CONNECTION_OPENED);
    fact.cookie = 9;
    fact.netns_cookie = 53;
    fact.unix_ns = 19 * S;
    ut_connections_learn(table, &fact, UT_CONNECTION_OPENED);
    cr_assert_eq(first->closed_ns, 0, "another namespace");
    fact.cookie = 10;
    fact.netns_cookie = 51;
    fact.unix_ns = 20 * S;
    struct ut_connection *second = ut_connections_learn(table, &fact, UT_CONNECTION_OPENED);
    cr_assert_neq(second, first);
    cr_assert_eq(first->closed_ns, 20 * S);
    cr_assert_eq(second->closed_ns, 0);
    cr_assert_eq(peer->closed_ns, 0);
}

/* ---- whose mirror is whose --------------------------------------------------------------------
 */

static struct ut_connection_fact when(struct ut_connection_fact fact, uint64_t unix_ms)
{
    fact.unix_ns = unix_ms * UT_NS_PER_MS;
    return fact;
}

/* The port was still in use: connect() failed at once, and was tried again. */
Test(connections, failed_attempts_on_a_port_do_not_touch_the_one_that_succeeds)
{
    for (uint64_t i = 0; i < 5; i++) {
        learn(when(client(10 + i, 4000), 10000 + i * 50), UT_CONNECTION_CONNECTING);
        learn(when(client(10 + i, 4000), 10000 + i * 50), UT_CONNECTION_FAILED);
    }
    learn(when(client(1, 4000), 10300), UT_CONNECTION_CONNECTING);
    struct ut_connection *a =
        learn(when(with_isn(client(1, 4000), 7, 9), 10310), UT_CONNECTION_OPENED);
    struct ut_connection *b =
        learn(when(with_isn(server(2, 4000), 9, 7), 10311), UT_CONNECTION_OPENED);
    cr_expect_eq(ut_connections_mirror(table, a), b);
    cr_expect_eq(table->ambiguous, 0);
}

/* Of the accepted end nothing is told but that it was closed. */
static void expect_mirror_of_untold_end(void)
{
    struct ut_connection *a =
        learn(when(with_isn(client(1, 4000), 7, 9), 10310), UT_CONNECTION_OPENED);
    struct ut_connection_fact untold = when(server(2, 4000), 10900);
    untold.role = UT_ROLE_UNKNOWN;
    struct ut_connection *b = learn(untold, UT_CONNECTION_CLOSED);
    cr_expect_eq(ut_connections_mirror(table, a), b);
}

Test(connections, failed_attempts_do_not_hide_an_end_whose_establishment_was_not_told)
{
    learn(when(client(10, 4000), 10000), UT_CONNECTION_CONNECTING);
    learn(when(client(10, 4000), 10001), UT_CONNECTION_FAILED);
    expect_mirror_of_untold_end();
}

Test(connections, attempt_of_which_no_end_was_told_hides_no_end_either)
{
    learn(when(client(10, 4000), 10000), UT_CONNECTION_CONNECTING);
    expect_mirror_of_untold_end();
}

Test(connections, sequence_numbers_settle_what_tuples_left_ambiguous)
{
    struct ut_connection *a = learn(client(1, 4000), UT_CONNECTION_SNAPSHOT);
    struct ut_connection_fact twin = client(3, 4000);
    twin.netns_cookie = 53;
    struct ut_connection *elsewhere = learn(twin, UT_CONNECTION_SNAPSHOT);
    struct ut_connection *b = learn(server(2, 4000), UT_CONNECTION_SNAPSHOT);
    cr_assert(a->ambiguous && b->ambiguous && elsewhere->ambiguous);
    learn(with_isn(client(1, 4000), 7, 9), UT_CONNECTION_SEEN);
    learn(with_isn(server(2, 4000), 9, 7), UT_CONNECTION_SEEN);
    cr_expect_eq(ut_connections_mirror(table, a), b);
    cr_expect(!a->ambiguous && !b->ambiguous && !elsewhere->ambiguous);
    cr_expect_null(ut_connections_mirror(table, elsewhere));
}

Test(connections, twin_ends_a_mirror_by_tuple_until_it_has_its_own)
{
    struct ut_connection *a = learn(client(1, 4000), UT_CONNECTION_SNAPSHOT);
    struct ut_connection *b = learn(server(2, 4000), UT_CONNECTION_SNAPSHOT);
    cr_assert_eq(ut_connections_mirror(table, a), b);
    struct ut_connection_fact twin = with_isn(client(3, 4000), 70, 90);
    twin.netns_cookie = 53;
    struct ut_connection *elsewhere = learn(twin, UT_CONNECTION_SNAPSHOT);
    cr_expect_null(ut_connections_mirror(table, a));
    cr_expect_null(ut_connections_mirror(table, elsewhere));
    struct ut_connection_fact its_own = with_isn(server(4, 4000), 90, 70);
    its_own.netns_cookie = 54;
    learn(its_own, UT_CONNECTION_SNAPSHOT);
    cr_expect_eq(ut_connections_mirror(table, a), b);
}

/* The accepted end of the port's first use has no record but its close, which comes late. */
Test(connections, end_mirrors_none_that_connected_after_it_was_known_or_gone)
{
    struct ut_connection_fact untold = when(server(2, 4000), 10500);
    untold.role = UT_ROLE_UNKNOWN;
    learn(untold, UT_CONNECTION_SEEN);
    struct ut_connection *later =
        learn(when(with_isn(client(3, 4000), 70, 90), 10600), UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_mirror(table, later), "known before");
    struct ut_connection_fact connecting = when(client(5, 4001), 11000);
    struct ut_connection *slow = learn(connecting, UT_CONNECTION_CONNECTING);
    untold = when(server(4, 4001), 11100);
    untold.role = UT_ROLE_UNKNOWN;
    struct ut_connection *gone = learn(untold, UT_CONNECTION_CLOSED);
    learn(when(with_isn(client(5, 4001), 71, 91), 11200), UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_mirror(table, slow), "gone before");
    cr_expect(!gone->ambiguous && !later->ambiguous);
}

Test(connections, end_mirrors_none_that_was_gone_before_it_was_established)
{
    struct ut_connection_fact fact = when(client(1, 4000), 10000);
    struct ut_connection *a = learn(fact, UT_CONNECTION_CONNECTING);
    learn(when(fact, 10100), UT_CONNECTION_CLOSED);
    struct ut_connection *b =
        learn(when(with_isn(server(2, 4000), 9, 7), 12000), UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_mirror(table, a));
    cr_expect_not(b->ambiguous);
}

Test(connections, connect_that_never_succeeds_mirrors_the_request_that_was_never_answered)
{
    struct ut_connection *a = learn(when(client(1, 4000), 10000), UT_CONNECTION_CONNECTING);
    struct ut_connection *request =
        learn(when(with_isn(server(0, 4000), 9, 7), 11000), UT_CONNECTION_SEEN);
    cr_expect_eq(ut_connections_mirror(table, a), request);
    learn(when(client(1, 4000), 12000), UT_CONNECTION_FAILED);
    cr_expect_eq(ut_connections_mirror(table, a), request);
}

Test(connections, more_rows_of_two_endpoints_than_are_compared_have_no_mirror_by_tuple)
{
    struct ut_connection *b = learn(server(2, 4000), UT_CONNECTION_SNAPSHOT);
    struct ut_connection *last = NULL;
    for (uint64_t i = 0; i < 40; i++) {
        struct ut_connection_fact fact = client(100 + i, 4000);
        fact.netns_cookie = 100 + i;
        last = learn(fact, UT_CONNECTION_SNAPSHOT);
    }
    cr_expect_null(ut_connections_mirror(table, b));
    cr_expect_null(ut_connections_mirror(table, last));
    cr_expect(b->ambiguous && last->ambiguous);
}

Test(connections, loopback_in_namespaces_that_nobody_told_is_no_mirror)
{
    const uint8_t v4[4] = {127, 0, 0, 1};
    struct ut_connection_fact a = client(1, 4000), b = server(2, 4000);
    a.local.address = a.remote.address = b.local.address = b.remote.address = ut_address_v4(v4);
    a.netns_cookie = b.netns_cookie = 0;
    struct ut_connection *left = learn(a, UT_CONNECTION_SNAPSHOT);
    learn(b, UT_CONNECTION_SNAPSHOT);
    cr_expect_null(ut_connections_mirror(table, left));
}

/* Of one direction nearly all are long gone; the one that is not could be hidden behind them. */
Test(connections, only_mirror_among_those_compared_is_not_sure_where_there_are_more)
{
    for (uint64_t i = 0; i < 40; i++) {
        struct ut_connection_fact fact = client(100 + i, 4000);
        fact.netns_cookie = 100 + i;
        learn(fact, UT_CONNECTION_OPENED);
        learn(fact, UT_CONNECTION_CLOSED);
    }
    struct ut_connection_fact late = client(1, 4000), other = server(2, 4000);
    late.unix_ns = other.unix_ns = 500 * S;
    struct ut_connection *a = learn(late, UT_CONNECTION_OPENED);
    learn(other, UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_mirror(table, a));
}

Test(connections, equal_pairs_of_isns_at_different_times_are_no_mirror)
{
    struct ut_connection_fact fact = with_isn(server(2, 5555), 9, 7);
    learn(fact, UT_CONNECTION_OPENED);
    learn(fact, UT_CONNECTION_CLOSED);
    fact = with_isn(client(1, 4000), 7, 9);
    fact.unix_ns = 100 * S;
    struct ut_connection *a = learn(fact, UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_mirror(table, a));
}

/* Server ends at ports of their own, as behind a translation: tuples say nothing. */
static struct ut_connection *claim(uint64_t cookie)
{
    return learn(with_isn(server(cookie, (uint16_t)(5000 + cookie)), 9, 7), UT_CONNECTION_OPENED);
}

Test(connections, copied_sequence_numbers_are_no_proof_though_the_other_ends_are_gone)
{
    struct ut_connection_fact fact = with_isn(client(1, 4000), 7, 9);
    learn(fact, UT_CONNECTION_OPENED);
    struct ut_connection *left = claim(2);
    claim(3);
    learn(fact, UT_CONNECTION_CLOSED);
    learn(with_isn(server(3, 5003), 9, 7), UT_CONNECTION_CLOSED);
    ut_connections_expire(table, 11 * S + UT_CONNECTION_KEPT_NS);
    cr_assert_eq(table->closed_count, 0);
    fact = with_isn(client(4, 4004), 7, 9);
    fact.unix_ns = 12 * S + UT_CONNECTION_KEPT_NS;
    struct ut_connection *later = learn(fact, UT_CONNECTION_OPENED);
    cr_expect(later->ambiguous && left->ambiguous);
    cr_expect_null(ut_connections_mirror(table, later));
}

Test(connections, end_whose_sequence_numbers_were_copied_has_no_mirror_by_tuple_either)
{
    struct ut_connection *a = learn(with_isn(client(1, 4000), 7, 9), UT_CONNECTION_OPENED);
    learn(with_isn(server(2, 4000), 9, 7), UT_CONNECTION_OPENED);
    claim(3);
    learn(client(1, 4000), UT_CONNECTION_SNAPSHOT);
    cr_expect(a->ambiguous);
    cr_expect_null(ut_connections_mirror(table, a));
}

/* Where addresses are translated between two ends, what is settled at the one's settles the rest.
 */
Test(connections, sequence_numbers_settle_what_was_left_at_the_other_ends_addresses)
{
    struct ut_connection_fact twin = with_isn(server(3, 4000), 9, 7);
    twin.netns_cookie = 53;
    struct ut_connection *a = learn(client(1, 4000), UT_CONNECTION_SNAPSHOT);
    struct ut_connection *b = learn(server(2, 4000), UT_CONNECTION_SNAPSHOT);
    struct ut_connection *others = learn(twin, UT_CONNECTION_SNAPSHOT);
    cr_assert(a->ambiguous && b->ambiguous && others->ambiguous);
    struct ut_connection *far = learn(with_isn(client(4, 6000), 7, 9), UT_CONNECTION_OPENED);
    cr_expect_eq(ut_connections_mirror(table, far), others);
    cr_expect_eq(ut_connections_mirror(table, a), b);
}

Test(connections, ends_that_were_not_established_together_are_no_mirror_by_tuple)
{
    struct ut_connection *a = learn(client(1, 4000), UT_CONNECTION_OPENED);
    struct ut_connection_fact later = server(2, 4000);
    later.unix_ns = 21 * S;
    learn(later, UT_CONNECTION_OPENED);
    cr_expect_null(ut_connections_mirror(table, a));
}

/* The socket has connected once more, and of that nothing but the end was told. */
Test(connections, attempt_that_fails_after_a_connection_says_nothing_of_that_one)
{
    struct ut_connection *a = learn(client(1, 4000), UT_CONNECTION_OPENED);
    learn(client(1, 4000), UT_CONNECTION_CLOSED);
    learn(client(1, 4000), UT_CONNECTION_FAILED);
    struct ut_connection *b = learn(server(2, 4000), UT_CONNECTION_OPENED);
    cr_expect_eq(ut_connections_mirror(table, a), b);
}
