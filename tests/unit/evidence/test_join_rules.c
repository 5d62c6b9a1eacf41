/* SPDX-License-Identifier: Apache-2.0 */
/* What a span must not get, rule by rule, where nothing but the one rule forbids it. */
#include "join_rows.h"

TestSuite(join_rules, .init = begin, .fini = end);

Test(join_rules, server_span_takes_no_event_of_a_connection_that_its_workload_made)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, 0, 212, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
}

Test(join_rules, nearest_server_span_needs_the_connection_not_only_its_port)
{
    static const struct otlp_attribute from_a_port[] = {{"network.peer.port", NULL, 40000}, {0}};
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.server, 215);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 1, 10, from_a_port));
    expect(0, "workload", "local", 1);
}

Test(join_rules, syn_ack_joins_no_span_that_could_be_of_another_connection)
{
    one_connection(40001);
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    struct lab_end request = pair.server;
    request.has &= ~(uint32_t)UT_HAS_COOKIE;
    lab_change(&lab, &pair.client, 0, UT_CONNECTION_CONNECTING);
    lab_retransmit(&lab, &request, 601, (struct lab_retransmit){UT_CAUSE_SYN_ACK, 600, 0, 1, 0, 0});
    lab_open(&lab, &pair, 602);
    struct otlp_span inner = lab_span(KIND_CLIENT, 1, 0, 610, to_ledger);
    LAB_JOIN(&lab, payment, inner);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMITS), -1);
}

Test(join_rules, later_batch_takes_no_answer_from_the_span_that_ended_nearer)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.server, 230);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 20, 22, from_40000));
    expect(0, "connection", "local", 1);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 1, 10, from_40000));
    cr_expect(lab_gained_nothing(&lab, 0));
}

Test(join_rules, the_same_two_ends_at_another_time_are_another_connection)
{
    struct lab_pair first = one_connection(40000);
    lab_timeout(&lab, &first.client, 205);
    lab_close(&lab, &first, 210);
    struct lab_pair second =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &second, 250);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 260, 264, from_40000));
    expect(0, "workload", "peer", 1);
}

Test(join_rules, connect_that_began_before_a_span_delayed_others)
{
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_change(&lab, &pair.client, 10, UT_CONNECTION_CONNECTING);
    lab_change(&lab, &pair.client, 160, UT_CONNECTION_OPENED);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 100, 300, to_ledger),
             lab_span(KIND_CLIENT, 2, 5, 300, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_not(lab_gained_nothing(&lab, 1));
}

Test(join_rules, server_span_without_ends_counts_only_what_it_may_have_waited_for)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 605, 610, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 300, 310, NULL));
    expect(0, "workload", "peer", 1);
}

Test(join_rules, later_batch_takes_no_request_from_the_span_that_began_nearer)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 206, 210, from_40000));
    expect(0, "connection", "peer", 1);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 300, 305, from_40000));
    cr_expect(lab_gained_nothing(&lab, 0));
}

Test(join_rules, remote_end_alone_is_no_connection_after_a_loss_of_records)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    struct ut_event_sink *sink = ut_evidence_sink(lab.evidence);
    sink->lost(sink, 1, lab_ns(100));
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    expect(0, "peer", "local", 1);
}

Test(join_rules, only_a_span_that_nobody_answers_gets_what_was_in_flight_at_its_end)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_PRODUCER, 1, -20, -10, to_ledger),
             lab_span(KIND_CLIENT, 2, -20, -10, to_ledger));
    expect(0, "connection", "local", 1);
    cr_expect(lab_gained_nothing(&lab, 1));
}
