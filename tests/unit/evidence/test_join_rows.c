/* SPDX-License-Identifier: Apache-2.0 */
/* The join by example: each test is a case of what happens on the wire, in virtual time. */
#include "join_rows.h"

TestSuite(join_rows, .init = begin, .fini = end);

/* Row 1 */
Test(join_rows, request_lost_goes_to_the_client_span_and_the_server_span_behind_it)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    expect(0, "connection", "local", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_TIMEOUTS), 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMIT_BYTES), 800);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_PROBES), -1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), -1);
    cr_assert_eq(lab_events(&lab, 0), 1);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_PEER_ADDRESS), SERVER_ADDRESS);
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_PEER_PORT), 8003);
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_LOCAL_PORT), 40000);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_TCP_TYPE), "timeout");
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_TCP_WAITED_MIN_NS), 204000000);
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_TCP_BYTES), 800);

    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 206, 210, from_40000),
             lab_span(KIND_SERVER, 3, 400, 402, from_40000));
    expect(0, "connection", "peer", 1);
    cr_expect(lab_gained_nothing(&lab, 1), "only the first span behind it waited for the bytes");
}

Test(join_rows, request_lost_counts_as_workload_for_a_server_span_without_ends)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 206, 210, NULL));
    expect(0, "workload", "peer", 1);
    cr_expect_eq(lab_events(&lab, 0), 0);
}

Test(join_rows, request_before_on_the_same_connection_gets_nothing)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 225.5); /* sent at 21 */
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 19.9, to_ledger),
             lab_span(KIND_CLIENT, 2, 20, 232, to_ledger),
             lab_span(KIND_CLIENT, 3, 233, 240, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    expect(1, "connection", "local", 1);
    cr_expect(lab_gained_nothing(&lab, 2));
}

/* Row 2 */
Test(join_rows, answer_lost_goes_to_the_waiting_client_and_the_server_span_that_ended)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.server, 207);
    lab_retransmit(&lab, &pair.client, 206,
                   (struct lab_retransmit){UT_CAUSE_TAIL_LOSS_PROBE, 204, 500, 1, 0, 0});
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 210, to_ledger));
    expect(0, "connection", "both", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_PROBES), 1);
    cr_expect_eq(lab_events(&lab, 0), 2);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_SIDE), "peer");
    cr_expect_str_eq(lab_event_text(&lab, 0, 1, UT_ATTR_TCP_TYPE), "tail_loss_probe");
    cr_expect_eq(lab_event_int(&lab, 0, 1, UT_ATTR_TCP_WAITED_MIN_NS), -1);

    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 1, 3, from_40000),
             lab_span(KIND_SERVER, 3, 300, 302, from_40000));
    expect(0, "connection", "local", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_PROBES), -1);
    cr_expect(lab_gained_nothing(&lab, 1), "the probe was of the request before");
}

Test(join_rows, answer_lost_goes_to_the_last_server_span_that_ended_before)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.server, 230);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 1, 10, from_40000),
             lab_span(KIND_SERVER, 2, 20, 22, from_40000));
    cr_expect(lab_gained_nothing(&lab, 0));
    expect(1, "connection", "local", 1);
}

Test(join_rows, answer_lost_is_told_from_the_one_before_by_when_data_came_in)
{
    struct lab_pair pair = one_connection(40000);
    /* The request of the second span came in at 30; its answer went out at 35. */
    lab_retransmit(&lab, &pair.server, 240,
                   (struct lab_retransmit){UT_CAUSE_TIMEOUT, 204, 800, 1, 0, 210});
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 1, 10, from_40000));
    cr_expect(lab_gained_nothing(&lab, 0), "its answer had been taken before");
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 30, 36, from_40000));
    expect(0, "connection", "local", 1);
}

/* Row 3 */
Test(join_rows, pool_to_one_peer_is_peer_with_its_sharers)
{
    struct lab_pair pairs[50];
    for (uint16_t i = 0; i < 50; i++)
        pairs[i] = one_connection((uint16_t)(40000 + i));
    lab_timeout(&lab, &pairs[0].client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger),
             lab_span(KIND_CLIENT, 2, 0, 210, to_ledger),
             lab_span(KIND_CLIENT, 3, 220, 225, to_ledger));
    expect(0, "peer", "local", 1);
    expect(1, "peer", "local", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_SHARED_BY), 2);
    cr_expect(lab_gained_nothing(&lab, 2));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 4, 206, 210, from_40000));
    expect(0, "connection", "peer", 1);
}

/* Row 4 */
Test(join_rows, pool_with_local_port_is_connection_and_nothing_for_the_others)
{
    static const struct otlp_attribute port_40001[] = {{"network.peer.address", SERVER_ADDRESS, 0},
                                                       {"network.peer.port", NULL, 8003},
                                                       {"network.local.port", NULL, 40001},
                                                       {0}};
    static const struct otlp_attribute port_40002[] = {{"network.peer.address", SERVER_ADDRESS, 0},
                                                       {"network.peer.port", "8003", 0},
                                                       {"network.local.port", NULL, 40002},
                                                       {0}};
    struct lab_pair first = one_connection(40001);
    one_connection(40002);
    lab_timeout(&lab, &first.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, port_40001),
             lab_span(KIND_CLIENT, 2, 0, 212, port_40002),
             lab_span(KIND_CLIENT, 3, 0, 212, to_ledger));
    expect(0, "connection", "local", 1);
    cr_expect(lab_gained_nothing(&lab, 1));
    cr_expect(lab_gained_nothing(&lab, 2), "a stronger class took it");
    cr_expect_eq(lab_figures(&lab).contradicted, 1);
}

/* Row 5 */
Test(join_rows, host_name_and_shared_port_is_at_most_workload_on_a_local_root)
{
    struct lab_pair pair = one_connection(40000);
    struct lab_pair other =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40001, TWIN, "10.77.0.13", 8003);
    lab_open(&lab, &other, -1000);
    lab_timeout(&lab, &pair.client, 205);
    struct otlp_span root = lab_span(KIND_CLIENT, 1, 0, 212, by_name);
    root.parent_id = 0;
    LAB_JOIN(&lab, payment, root, lab_span(KIND_CLIENT, 2, 0, 212, by_name));
    expect(0, "workload", "local", 1);
    cr_expect_eq(lab_events(&lab, 0), 0);
    cr_expect(lab_gained_nothing(&lab, 1));
}

/* Row 6 */
Test(join_rows, host_name_and_port_of_one_address_is_peer)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, by_name));
    expect(0, "peer", "local", 1);
}

Test(join_rows, host_name_and_port_is_not_peer_after_a_loss_of_records)
{
    struct lab_pair pair = one_connection(40000);
    struct ut_event_sink *sink = ut_evidence_sink(lab.evidence);
    sink->lost(sink, 3, lab_ns(-5000));
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, by_name));
    cr_expect(lab_gained_nothing(&lab, 0));
}

static void lose_syn(const struct lab_end *client, double ms)
{
    struct lab_end early = *client;
    early.has &= ~(uint32_t)UT_HAS_ISN;
    lab_change(&lab, &early, ms, UT_CONNECTION_CONNECTING);
    lab_retransmit(&lab, &early, ms + 1000,
                   (struct lab_retransmit){UT_CAUSE_SYN, 1000, 0, 1, 0, 0});
}

/* Row 7 */
Test(join_rows, syn_lost_goes_to_the_client_span_that_began_before_the_connection)
{
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lose_syn(&pair.client, 1);
    lab_open(&lab, &pair, 1002);
    lab.now_ms = 3000;
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 1010, to_ledger));
    expect(0, "connection", "local", 1);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_TCP_TYPE), "syn");
    struct otlp_span root = lab_span(KIND_INTERNAL, 3, 0, 1500, NULL);
    root.parent_id = 0;
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 1003, 1005, from_40000), root);
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 1));
}

Test(join_rows, syn_lost_of_a_connect_that_never_succeeds)
{
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lose_syn(&pair.client, 1);
    pair.client.has &= ~(uint32_t)UT_HAS_ISN;
    lab_change(&lab, &pair.client, 2000, UT_CONNECTION_FAILED);
    lab.now_ms = 3000;
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 2001, to_ledger));
    expect(0, "connection", "local", 1);
}

/* Row 8 */
Test(join_rows, syn_ack_lost_is_named_before_the_clients_own_syn)
{
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lose_syn(&pair.client, 1);
    struct lab_end request = pair.server;
    request.has &= ~(uint32_t)UT_HAS_COOKIE;
    lab_retransmit(&lab, &request, 1001.2,
                   (struct lab_retransmit){UT_CAUSE_SYN_ACK, 1000, 0, 1, 0, 0});
    lab_open(&lab, &pair, 1002);
    lab.now_ms = 9000;
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 1010, to_ledger));
    expect(0, "connection", "both", 2);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_TCP_TYPE), "syn_ack");
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_SIDE), "peer");
    cr_expect_str_eq(lab_event_text(&lab, 0, 1, UT_ATTR_TCP_TYPE), "syn");
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 1003, 1005, from_40000),
             lab_span(KIND_SERVER, 3, 1100, 1105, from_40000));
    expect(0, "connection", "local", 1);
    cr_expect(lab_gained_nothing(&lab, 1));
}

Test(join_rows, syn_ack_lost_is_nobodys_when_the_first_span_comes_late)
{
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_retransmit(&lab, &pair.server, 1001,
                   (struct lab_retransmit){UT_CAUSE_SYN_ACK, 1000, 0, 1, 0, 0});
    lab_open(&lab, &pair, 1002);
    lab.now_ms = 9000;
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 4100, 4105, from_40000),
             lab_span(KIND_SERVER, 3, 1003, 1005, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 1), "by connection only");
}

/* Row 9 */
Test(join_rows, internal_span_with_a_parent_gets_nothing)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 212, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
}

/* Row 10 */
Test(join_rows, roots_without_ends_only_count)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.server, 5);
    struct otlp_span root = lab_span(KIND_INTERNAL, 2, 0, 10, NULL);
    root.parent_id = 0;
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 0, 10, NULL), root);
    expect(0, "workload", "local", 1);
    expect(1, "workload", "local", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_SHARED_BY), 2);
    cr_expect_eq(lab_events(&lab, 0), 0);
}

Test(join_rows, root_counts_nothing_that_a_stronger_class_took_in_an_earlier_batch)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    expect(0, "connection", "local", 1);
    struct otlp_span root = lab_span(KIND_INTERNAL, 2, 0, 300, NULL);
    root.parent_id = 0;
    LAB_JOIN(&lab, payment, root);
    cr_expect(lab_gained_nothing(&lab, 0));
}

/* Row 11 */
Test(join_rows, second_workload_with_the_same_code_gets_nothing)
{
    uint64_t twin = lab_sender(&lab, TWIN);
    struct lab_pair pair = one_connection(40000);
    struct lab_pair other =
        lab_pair_of(&lab, TWIN, "10.77.0.13", 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &other, -1000);
    lab_timeout(&lab, &pair.client, 205);
    struct otlp_span root = lab_span(KIND_SERVER, 2, 0, 212, NULL);
    LAB_JOIN(&lab, twin, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger), root);
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 1));
}

/* Row 12 */
Test(join_rows, translated_addresses_match_by_each_sockets_own_view)
{
    static const struct otlp_attribute to_service[] = {
        {"network.peer.address", "10.96.0.10", 0}, {"network.peer.port", NULL, 80}, {0}};
    static const struct otlp_attribute from_translated[] = {
        {"network.peer.address", "10.9.0.1", 0}, {"network.peer.port", NULL, 55555}, {0}};
    struct lab_pair pair = {
        .client = lab_make_end(&lab, PAYMENT, UT_ROLE_CONNECT, "10.1.0.5", 40000, "10.96.0.10", 80),
        .server = lab_make_end(&lab, LEDGER, UT_ROLE_ACCEPT, "10.9.0.2", 9000, "10.9.0.1", 55555),
    };
    lab_pair_up(&lab, &pair);
    lab_open(&lab, &pair, -10);
    lab_timeout(&lab, &pair.server, 207);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_service));
    expect(0, "connection", "peer", 1);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_PEER_ADDRESS), "10.96.0.10");
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 1, 3, from_translated));
    expect(0, "connection", "local", 1);
}

/* Row 13 */
Test(join_rows, a_hundred_spans_on_one_connection_share)
{
    struct lab_pair pair = one_connection(40000);
    struct otlp_span spans[100];
    lab_timeout(&lab, &pair.client, 205);
    for (unsigned i = 0; i < 100; i++)
        spans[i] = lab_span(KIND_CLIENT, i + 1, 0, 212 + i, to_ledger);
    lab_join(&lab, payment, spans, 100);
    for (uint32_t i = 0; i < 100; i++) {
        expect(i, "connection", "local", 1);
        cr_expect_eq(lab_int(&lab, i, UT_ATTR_SHARED_BY), 100);
    }
    for (unsigned i = 0; i < 100; i++)
        spans[i] = lab_span(KIND_SERVER, i + 1, 0.1, 211 + i, from_40000);
    lab_join(&lab, ledger, spans, 100);
    for (uint32_t i = 0; i < 100; i++) {
        expect(i, "connection", "peer", 1);
        cr_expect_eq(lab_int(&lab, i, UT_ATTR_SHARED_BY), 100);
    }
}

/* Row 14 */
Test(join_rows, database_protocol_with_old_keys)
{
    static const struct otlp_attribute database[] = {{"db.system", "postgresql", 0},
                                                     {"net.peer.ip", "::ffff:10.77.0.12", 0},
                                                     {"net.peer.port", "8003", 0},
                                                     {0}};
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, database));
    expect(0, "connection", "local", 1);
}

/* Row 15, where `sent` is an estimate: the answer of the first request went out at 9.5, its pure
 * ACK was lost, and the timer fired during the second request. */
Test(join_rows, answer_sent_again_during_the_next_request_belongs_to_the_first)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.server, 213.9);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 10, to_ledger),
             lab_span(KIND_CLIENT, 2, 212, 220, to_ledger));
    expect(0, "connection", "peer", 1);
    cr_expect(lab_gained_nothing(&lab, 1));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 3, 1, 9, from_40000),
             lab_span(KIND_SERVER, 4, 213, 219, from_40000));
    expect(0, "connection", "local", 1);
    cr_expect(lab_gained_nothing(&lab, 1));
}

/* Row 16 */
Test(join_rows, reused_port_belongs_to_each_by_open_and_close)
{
    uint64_t twin = lab_sender(&lab, TWIN);
    struct lab_pair first =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &first, -10);
    lab_timeout(&lab, &first.client, 205);
    lab_close(&lab, &first, 400);
    struct lab_pair second =
        lab_pair_of(&lab, TWIN, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &second, 2000);
    lab_timeout(&lab, &second.client, 2305);
    lab.now_ms = 5000;
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger),
             lab_span(KIND_CLIENT, 2, 2100, 2312, to_ledger));
    expect(0, "connection", "local", 1);
    cr_expect(lab_gained_nothing(&lab, 1));
    LAB_JOIN(&lab, twin, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger),
             lab_span(KIND_CLIENT, 2, 2100, 2312, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    expect(1, "connection", "local", 1);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 206, 210, from_40000),
             lab_span(KIND_SERVER, 2, 2306, 2310, from_40000));
    expect(0, "connection", "peer", 1);
    expect(1, "connection", "peer", 1);
}

/* Row 17 */
Test(join_rows, logical_keys_of_a_server_span_do_not_contradict)
{
    static const struct otlp_attribute forwarded[] = {{"server.address", "10.50.0.1", 0},
                                                      {"server.port", NULL, 443},
                                                      {"client.address", "203.0.113.9", 0},
                                                      {0}};
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.server, 5);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 0, 10, forwarded));
    expect(0, "workload", "local", 1);
    cr_expect_eq(lab_figures(&lab).contradicted, 0);
}

/* Row 18 */
Test(join_rows, other_peer_address_contradicts)
{
    static const struct otlp_attribute elsewhere[] = {
        {"network.peer.address", "10.0.0.9", 0}, {"network.peer.port", NULL, 8003}, {0}};
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    struct otlp_span root = lab_span(KIND_CLIENT, 1, 0, 212, elsewhere);
    root.parent_id = 0;
    LAB_JOIN(&lab, payment, root);
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_eq(lab_figures(&lab).contradicted, 1);
}
