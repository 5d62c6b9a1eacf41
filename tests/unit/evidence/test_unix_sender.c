/* SPDX-License-Identifier: Apache-2.0 */
/* Senders on a unix socket: whose cgroup the kernel named when they connected. */
#include "evidence/unix_links.h"
#include "join_rows.h"

TestSuite(unix_sender, .init = begin, .fini = end);

static void join_as(uint64_t cookie, uint64_t cgroup, const char *instance)
{
    const struct otlp_attribute service[] = {
        {"service.name", "demo", 0}, {"service.instance.id", instance, 0}, {0}};
    const struct ut_sender sender = {.socket_cookie = cookie, .cgroup_id = cgroup, .is_unix = true};
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 212, to_ledger);
    lab_join_from(&lab, sender, service, &span, 1);
}

static uint64_t counted(enum ut_sender_knowledge knowledge)
{
    return lab_figures(&lab).sender_spans[knowledge];
}

Test(unix_sender, spans_gain_identity_and_the_evidence_of_their_workload)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    join_as(7001, PAYMENT, "a");
    expect(0, "connection", "local", 1);
    cr_assert_not_null(lab.batch->first->resources[0].edit);
    cr_expect_not_null(memmem(lab.batch->first->resources[0].edit->added.data,
                              lab.batch->first->resources[0].edit->added.size,
                              "/undertrace-demo/payment", 24));
    join_as(7002, TWIN, "a");
    cr_expect(lab_gained_nothing(&lab, 0), "another workload that runs the same code");
    cr_expect_eq(counted(UT_SENDER_KNOWN), 2);
}

Test(unix_sender, peer_that_was_not_named_is_unknown)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    join_as(7001, 0, "a");
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_null(lab.batch->first->resources[0].edit);
    cr_expect_eq(counted(UT_SENDER_NO_PEER), 1);
}

Test(unix_sender, cookie_of_a_tcp_socket_makes_no_unix_sender_known)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    join_as(payment, 0, "a");
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_eq(counted(UT_SENDER_NO_PEER), 1);
}

Test(unix_sender, cgroup_that_nobody_told_of_is_known_once_it_was_told)
{
    struct lab_pair pair =
        lab_pair_of(&lab, 91, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    join_as(7001, 91, "a");
    cr_expect_null(lab.batch->first->resources[0].edit);
    cr_expect_eq(counted(UT_SENDER_NO_RECORD), 1);
    lab_cgroup(&lab, 91, "/undertrace-demo/late");
    lab_open(&lab, &pair, -1000);
    lab_timeout(&lab, &pair.client, 205);
    join_as(7001, 91, "a");
    expect(0, "connection", "local", 1);
    cr_expect_eq(counted(UT_SENDER_KNOWN), 1);
}

static const char *name_of(uint64_t cookie, uint64_t cgroup, bool is_unix)
{
    static char out[64];
    const struct ut_sender sender = {
        .socket_cookie = cookie, .cgroup_id = cgroup, .is_unix = is_unix};
    struct ut_sender_names *names = ut_evidence_sender_names(lab.evidence);
    return names->find(names, &sender, out, sizeof(out)) ? out : NULL;
}

Test(unix_sender, has_a_name_for_the_log_where_its_workload_is_known)
{
    cr_expect_str_eq(name_of(7001, PAYMENT, true), "/undertrace-demo/payment");
    cr_expect_null(name_of(7001, 0, true));
    cr_expect_null(name_of(7001, 91, true), "nobody told of that cgroup");
    cr_expect_str_eq(name_of(payment, 0, false), "/undertrace-demo/payment");
    cr_expect_null(name_of(0, PAYMENT, false), "a TCP socket has no cgroup of its own");
    cr_expect_null(name_of(7001, 0, false));
}

Test(unix_sender, root_cgroup_and_user_sessions_own_nothing)
{
    lab_cgroup(&lab, 92, "/user.slice/user-1000.slice/session-1.scope");
    join_as(7001, 92, "a");
    cr_expect_eq(counted(UT_SENDER_UNOWNED), 1);
    cr_expect_null(lab.batch->first->resources[0].edit);
}

Test(unix_sender, forwarder_is_recognised_and_its_later_connections_too)
{
    join_as(7001, PAYMENT, "a");
    join_as(7001, PAYMENT, "b");
    cr_expect_null(lab.batch->first->resources[0].edit);
    join_as(7001, PAYMENT, "a");
    join_as(7002, PAYMENT, "a");
    cr_expect_eq(counted(UT_SENDER_KNOWN), 1);
    cr_expect_eq(counted(UT_SENDER_FORWARDER), 3);
    cr_expect_null(lab.batch->first->resources[0].edit);
    join_as(7003, TWIN, "a");
    cr_expect_eq(counted(UT_SENDER_KNOWN), 2, "nobody else is");
}

Test(unix_sender, forwarder_stays_one_though_its_cgroup_is_not_known_yet)
{
    join_as(7001, 91, "a");
    join_as(7001, 91, "b");
    lab_cgroup(&lab, 91, "/undertrace-demo/late");
    join_as(7001, 91, "b");
    cr_expect_eq(counted(UT_SENDER_NO_RECORD), 1);
    cr_expect_eq(counted(UT_SENDER_FORWARDER), 2);
}

Test(unix_sender, more_connections_than_are_kept_forget_the_one_used_longest_ago)
{
    struct ut_unix_links links;
    cr_assert_eq(ut_unix_links_init(&links), 0);
    for (uint64_t i = 0; i < UT_UNIX_LINK_WAYS; i++)
        ut_unix_links_get(&links, 5 + i * UT_UNIX_LINK_SETS)->instance = 100 + i;
    cr_expect_eq(ut_unix_links_get(&links, 5)->instance, 100, "the first is used again");
    struct ut_unix_link *next = ut_unix_links_get(&links, 5 + 1000 * UT_UNIX_LINK_SETS);
    cr_expect_eq(next->instance, 0, "a new one begins anew");
    cr_expect_not(next->forwarder);
    cr_expect_eq(ut_unix_links_get(&links, 5)->instance, 100);
    cr_expect_eq(ut_unix_links_get(&links, 5 + 2 * UT_UNIX_LINK_SETS)->instance, 102);
    cr_expect_eq(ut_unix_links_get(&links, 5 + UT_UNIX_LINK_SETS)->instance, 0,
                 "the second had gone");
    ut_unix_links_done(&links);
}
