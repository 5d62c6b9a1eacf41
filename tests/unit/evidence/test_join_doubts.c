/* SPDX-License-Identifier: Apache-2.0 */
/* Records that are missing put those spans in doubt for which they might have been, and no others.
 */
#include <stdio.h>

#include "evidence/tables.h"
#include "join_rows.h"

TestSuite(join_doubts, .init = begin, .fini = end);

enum { NOISY = 31, OTHER = 32 };
#define NOISY_ADDRESS "10.77.0.31"
#define ELSEWHERE "192.0.2.7"

/* From then on its limit holds back what it has of that type. */
static void hold_back(uint64_t cgroup, enum ut_record_type type, double ms)
{
    const struct ut_record_held_back record = {
        .header = lab_header(&lab, UT_RECORD_HELD_BACK, sizeof(record), ms, cgroup),
        .type = type,
    };
    lab_record(&lab, &record, sizeof(record));
}

/* The first span of the latest batch. */
static bool is_marked(void)
{
    return lab_int(&lab, 0, UT_ATTR_PARTIAL) == 1;
}

/* The span of `payment` that has the timeout at 205 ms: whether it is marked. */
static bool is_partial(void)
{
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    if (lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMITS) != 1)
        abort(); /* what is known is on it all the same */
    return is_marked();
}

static void have_evidence(void)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    lab_cgroup(&lab, NOISY, "/undertrace-demo/noisy");
}

Test(join_doubts, what_is_held_back_of_a_workload_is_missing_on_its_own_spans)
{
    have_evidence();
    cr_expect_not(is_partial());
    hold_back(PAYMENT, UT_RECORD_RETRANSMIT, 100);
    cr_expect(is_partial());
    const struct ut_gaps *gaps = &ut_evidence_tables(lab.evidence)->gaps;
    cr_expect(gaps->noted_of_one == 1 && gaps->noted_of_all == 0);
}

Test(join_doubts, of_another_workload_nothing_is_missing)
{
    have_evidence();
    hold_back(NOISY, UT_RECORD_RETRANSMIT, 100);
    hold_back(NOISY, UT_RECORD_CONNECTION, 100);
    hold_back(NOISY, UT_RECORD_OOM_KILL, 100);
    hold_back(NOISY, UT_RECORD_TRACE_IDS, 100);
    cr_expect_not(is_partial());
}

Test(join_doubts, what_is_held_back_is_missing_at_the_other_ends_of_its_connections)
{
    have_evidence();
    hold_back(LEDGER, UT_RECORD_RETRANSMIT, 100);
    cr_expect(is_partial());
}

Test(join_doubts, only_spans_of_that_time_are_partial)
{
    have_evidence();
    hold_back(PAYMENT, UT_RECORD_RETRANSMIT, -150);
    hold_back(PAYMENT, UT_RECORD_RETRANSMIT, 1300);
    lab.now_ms = 3000;
    cr_expect_not(is_partial());
    hold_back(PAYMENT, UT_RECORD_RETRANSMIT, 1150);
    cr_expect(is_partial(), "the bytes of what was held back may be as old");
}

Test(join_doubts, a_connection_that_was_closed_before_the_span_leads_to_nobody)
{
    have_evidence();
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 41000, NOISY, NOISY_ADDRESS, 99);
    lab_open(&lab, &pair, -3000);
    lab_close(&lab, &pair, -2000);
    hold_back(NOISY, UT_RECORD_RETRANSMIT, 100);
    cr_expect_not(is_partial());
    pair = lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 41001, NOISY, NOISY_ADDRESS, 99);
    lab_open(&lab, &pair, 150);
    lab_close(&lab, &pair, 160);
    cr_expect(is_partial());
}

Test(join_doubts, what_nobody_knows_whose_it_is_is_missing_everywhere)
{
    have_evidence();
    lab_cgroup(&lab, 40, "/");
    const uint64_t nobodys[] = {0, 40, 4711};
    for (int i = 0; i < 3; i++) {
        lab.now_ms = 100000 * (i + 1) + 1000;
        ut_evidence_tick(lab.evidence, lab_ns(lab.now_ms));
        struct lab_pair pair = one_connection((uint16_t)(50000 + i));
        lab_timeout(&lab, &pair.client, lab.now_ms - 795);
        hold_back(nobodys[i], UT_RECORD_RETRANSMIT, lab.now_ms - 900);
        LAB_JOIN(&lab, payment,
                 lab_span(KIND_CLIENT, 1, lab.now_ms - 1000, lab.now_ms - 788, to_ledger));
        cr_expect(is_marked(), "cgroup %u", (unsigned)nobodys[i]);
    }
    cr_expect_eq(ut_evidence_tables(lab.evidence)->gaps.noted_of_all, 3);
}

/* Its other end may be the noisy one's, whose record of it was held back. */
static void open_to_an_unknown_end(uint16_t port, double from_ms, double to_ms)
{
    struct lab_end end =
        lab_make_end(&lab, PAYMENT, UT_ROLE_CONNECT, CLIENT_ADDRESS, port, ELSEWHERE, 443);
    lab_change(&lab, &end, from_ms, UT_CONNECTION_CONNECTING);
    lab_change(&lab, &end, to_ms, UT_CONNECTION_OPENED);
}

Test(join_doubts, connection_to_an_unknown_end_may_lead_to_whose_openings_are_held_back_then)
{
    have_evidence();
    open_to_an_unknown_end(41000, -5000, -4999);
    hold_back(NOISY, UT_RECORD_CONNECTION, 100);
    cr_expect_not(is_partial(), "it opened before");
    open_to_an_unknown_end(41001, 101, 102);
    cr_expect(is_partial());
}

Test(join_doubts, connection_to_an_unknown_end_does_not_where_no_openings_are_held_back)
{
    have_evidence();
    open_to_an_unknown_end(41000, 101, 102);
    hold_back(NOISY, UT_RECORD_RETRANSMIT, 100);
    cr_expect_not(is_partial());
}

Test(join_doubts, slow_opening_is_compared_as_a_whole)
{
    have_evidence();
    open_to_an_unknown_end(41000, -6000, -2000);
    hold_back(NOISY, UT_RECORD_CONNECTION, -3500);
    hold_back(NOISY, UT_RECORD_RETRANSMIT, 100);
    cr_expect(is_partial(), "the other end opened in the midst of it");
}

Test(join_doubts, opening_that_nobody_saw_may_have_been_at_any_time_before)
{
    have_evidence();
    struct lab_end end =
        lab_make_end(&lab, PAYMENT, UT_ROLE_CONNECT, CLIENT_ADDRESS, 41000, ELSEWHERE, 443);
    lab_change(&lab, &end, -1000, UT_CONNECTION_SNAPSHOT);
    hold_back(NOISY, UT_RECORD_CONNECTION, -3500);
    cr_expect_not(is_partial(), "nothing is held back while the span is open");
    hold_back(NOISY, UT_RECORD_RETRANSMIT, 100);
    cr_expect(is_partial());
}

#define POD "/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/"
#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ID_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

/* A span of 22 on a connection of 21's, both in one pod; 23 is the third there. */
static uint64_t share_a_pod(void)
{
    lab_cgroup(&lab, 21, POD ID_A);
    lab_cgroup(&lab, 22, POD ID_B);
    lab_cgroup(&lab, 23, POD ID_C);
    lab_cgroup(&lab, NOISY, "/undertrace-demo/noisy");
    struct lab_pair pair =
        lab_pair_of(&lab, 21, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &pair, -1000);
    lab_timeout(&lab, &pair.client, 205);
    return lab_sender(&lab, 22);
}

Test(join_doubts, what_is_held_back_of_others_in_the_pod_is_missing_too)
{
    uint64_t proxy = share_a_pod();
    struct lab_pair pair = lab_pair_of(&lab, 23, CLIENT_ADDRESS, 41000, NOISY, NOISY_ADDRESS, 99);
    lab_open(&lab, &pair, -1000);
    LAB_JOIN(&lab, proxy, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    expect(0, "connection", "local", 1);
    cr_expect_not(is_marked());
    hold_back(NOISY, UT_RECORD_RETRANSMIT, 100);
    LAB_JOIN(&lab, proxy, lab_span(KIND_CLIENT, 2, 0, 212, to_ledger));
    cr_expect(is_marked(), "at the other end of theirs");
}

Test(join_doubts, one_connection_of_a_pod_is_not_known_to_be_the_only_one_where_openings_lack)
{
    uint64_t proxy = share_a_pod();
    hold_back(23, UT_RECORD_CONNECTION, 100);
    LAB_JOIN(&lab, proxy, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
}

Test(join_doubts, remote_end_alone_is_no_connection_where_the_workloads_own_are_held_back)
{
    have_evidence();
    hold_back(NOISY, UT_RECORD_CONNECTION, 100);
    hold_back(LEDGER, UT_RECORD_CONNECTION, 100);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    expect(0, "connection", "local", 1);
    hold_back(PAYMENT, UT_RECORD_CONNECTION, 600);
    struct lab_pair later =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40001, LEDGER, SERVER_ADDRESS, 8004);
    lab_open(&lab, &later, 400);
    lab_timeout(&lab, &later.client, 655);
    static const struct otlp_attribute to_8004[] = {
        {"network.peer.address", SERVER_ADDRESS, 0}, {"network.peer.port", NULL, 8004}, {0}};
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 450, 662, to_8004));
    expect(0, "peer", "local", 1);
}

Test(join_doubts, port_alone_tells_no_address_where_the_workloads_own_were_held_back)
{
    have_evidence();
    hold_back(NOISY, UT_RECORD_CONNECTION, -5000);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, by_name));
    expect(0, "peer", "local", 1);
    struct lab_pair pair = one_connection(40001);
    lab_timeout(&lab, &pair.client, 605);
    hold_back(PAYMENT, UT_RECORD_CONNECTION, -5000);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 400, 612, by_name));
    cr_expect(lab_gained_nothing(&lab, 0));
}

Test(join_doubts, workload_of_more_connections_than_are_looked_at_has_to_do_with_all)
{
    have_evidence();
    for (uint32_t i = 0; i < 9000; i++) {
        struct lab_end end = lab_make_end(&lab, PAYMENT, UT_ROLE_CONNECT, CLIENT_ADDRESS,
                                          (uint16_t)(1000 + i), ELSEWHERE, 443);
        lab_change(&lab, &end, -9000, UT_CONNECTION_OPENED);
        if (i == 3000) {
            hold_back(NOISY, UT_RECORD_RETRANSMIT, 100);
            cr_expect_not(is_partial());
        }
    }
    cr_expect(is_partial());
}

Test(join_doubts, workload_whose_connections_had_to_make_room_has_to_do_with_all)
{
    have_evidence();
    hold_back(NOISY, UT_RECORD_RETRANSMIT, 100);
    struct ut_tables *tables = ut_evidence_tables(lab.evidence);
    bool known;
    uint32_t slot = UT_WORKLOAD_SLOT(ut_workloads_of_cgroup(&tables->workloads, PAYMENT, &known));
    tables->connections.complete_since_ns[slot] = lab_ns(150);
    cr_expect(is_partial());
}

Test(join_doubts, record_of_what_is_never_told_is_bad)
{
    have_evidence();
    hold_back(PAYMENT, UT_RECORD_RESET, 100);
    hold_back(PAYMENT, UT_RECORD_CGROUP, 100);
    hold_back(PAYMENT, (enum ut_record_type)77, 100);
    cr_expect_eq(lab_figures(&lab).bad_records, 3);
    cr_expect_not(is_partial());
}

Test(join_doubts, another_workload_that_takes_the_place_of_the_noisy_one_is_not_in_doubt)
{
    have_evidence();
    lab_cgroup(&lab, OTHER, "/undertrace-demo/other");
    hold_back(NOISY, UT_RECORD_RETRANSMIT, 100);
    lab_cgroup_change(&lab, NOISY, "/undertrace-demo/noisy", 110, UT_CGROUP_REMOVED);
    lab.now_ms = 1200000;
    ut_evidence_tick(lab.evidence, lab_ns(lab.now_ms));
    for (uint64_t i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/undertrace-demo/new-%u", (unsigned)i);
        lab_cgroup(&lab, 100 + i, path);
        uint64_t sender = lab_sender(&lab, 100 + i);
        struct lab_pair pair = lab_pair_of(&lab, 100 + i, CLIENT_ADDRESS, (uint16_t)(42000 + i),
                                           LEDGER, SERVER_ADDRESS, 8003);
        lab_open(&lab, &pair, lab.now_ms - 1000);
        lab_timeout(&lab, &pair.client, lab.now_ms - 295);
        LAB_JOIN(&lab, sender,
                 lab_span(KIND_CLIENT, 1, lab.now_ms - 500, lab.now_ms - 288, to_ledger));
        expect(0, "connection", "local", 1);
        cr_expect_not(is_marked());
    }
}
