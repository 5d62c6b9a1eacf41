/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to connections besides retransmits, on the spans that it happened to. */
#include "join_rows.h"

TestSuite(join_happenings, .init = begin, .fini = end);

struct happening {
    uint8_t type; /* enum ut_record_type */
    uint32_t detail;
    double lasted_ms;
    uint32_t bytes;
};

static void happen(const struct lab_end *to, double ms, struct happening what)
{
    struct ut_record_tcp record = {
        .header = lab_header(&lab, what.type, sizeof(record), ms, to->cgroup),
        .socket = to->socket,
        .ns = (uint64_t)(what.lasted_ms * 1e6),
        .bytes = what.bytes,
        .detail = what.detail,
        .path = {.srtt_us = 300, .min_rtt_us = 90, .cwnd = 10, .delivery_rate = 7000000},
    };
    record.socket.state = 1;
    record.header.has = to->has | UT_HAS_SRTT | UT_HAS_MIN_RTT | UT_HAS_CWND | UT_HAS_DELIVERY_RATE;
    lab_record(&lab, &record, sizeof(record));
}

static const struct happening reset_sent = {UT_RECORD_RESET, UT_RESET_SENT, 0, 0};
static const struct happening reset_received = {UT_RECORD_RESET, UT_RESET_RECEIVED, 0, 0};

Test(join_happenings, reset_goes_to_the_spans_of_both_ends_once_each)
{
    struct lab_pair pair = one_connection(40000);
    happen(&pair.client, 50, reset_received);
    happen(&pair.server, 50, reset_sent);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 51, to_ledger),
             lab_span(KIND_CLIENT, 2, 60, 70, to_ledger));
    expect(0, "connection", "local", -1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RESETS), 1);
    cr_assert_eq(lab_events(&lab, 0), 1);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_TCP_TYPE), "received");
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_PEER_ADDRESS), SERVER_ADDRESS);
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_TCP_MIN_RTT_US), 90);
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_TCP_DELIVERY_RATE), 7000000);
    cr_expect(lab_gained_nothing(&lab, 1), "it began when all was over");
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 3, 1, 52, from_40000));
    expect(0, "connection", "local", -1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RESETS), 1);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_TCP_TYPE), "sent");
}

/* What is kept of a socket by its address is forgotten when it closes, before it sends a reset. */
Test(join_happenings, reset_after_the_close_is_of_the_role_that_its_connection_had)
{
    struct lab_pair pair = one_connection(40000);
    lab_change(&lab, &pair.client, 49, UT_CONNECTION_CLOSED);
    struct lab_end forgotten = pair.client;
    forgotten.has &= ~(uint32_t)UT_HAS_ISN;
    forgotten.socket.role = UT_ROLE_UNKNOWN;
    forgotten.socket.local_isn = forgotten.socket.remote_isn = 0;
    happen(&forgotten, 50, reset_sent);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 51, to_ledger),
             lab_span(KIND_SERVER, 2, 0, 51, NULL));
    expect(0, "connection", "local", -1);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_TCP_TYPE), "sent");
    cr_expect(lab_gained_nothing(&lab, 1), "it is of what the workload asked, not was asked");
}

Test(join_happenings, reset_of_another_connection_never_lands)
{
    static const struct otlp_attribute elsewhere[] = {
        {"network.peer.address", "10.77.0.99", 0}, {"network.peer.port", NULL, 8003}, {0}};
    struct lab_pair pair = one_connection(40000);
    happen(&pair.client, 50, reset_received);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 100, elsewhere));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_eq(lab_figures(&lab).contradicted, 1);
}

Test(join_happenings, resets_alone_are_folded_and_counted_like_retransmits)
{
    struct lab_pair pair = one_connection(40000);
    happen(&pair.client, 50, reset_received);
    ut_evidence_tick(lab.evidence, lab_ns(200000));
    cr_assert_eq(lab_figures(&lab).events, 0);
    lab.now_ms = 201000;
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 200500, to_ledger));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RESETS), 1);
    cr_expect_eq(lab_events(&lab, 0), 0);
}

Test(join_happenings, slow_connect_is_told_in_time_on_the_span_that_waited)
{
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_change(&lab, &pair.client, 10, UT_CONNECTION_CONNECTING);
    lab_retransmit(&lab, &pair.client, 1010,
                   (struct lab_retransmit){UT_CAUSE_SYN, 1000, 0, 1, 0, 0});
    lab_open(&lab, &pair, 1012);
    lab.now_ms = 2000;
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 8, 1020, to_ledger),
             lab_span(KIND_CLIENT, 2, 1030, 1040, to_ledger));
    expect(0, "connection", "local", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_CONNECT_NS), 1002000000);
    cr_expect_eq(lab_events(&lab, 0), 1, "of the SYN");
    cr_expect(lab_gained_nothing(&lab, 1), "its connection was there");
}

Test(join_happenings, slow_connect_needs_no_loss_and_need_not_succeed)
{
    struct lab_pair slow =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_change(&lab, &slow.client, 10, UT_CONNECTION_CONNECTING);
    lab_change(&lab, &slow.client, 160, UT_CONNECTION_OPENED);
    struct lab_pair failed =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40001, LEDGER, "10.77.0.13", 8003);
    failed.client.has &= ~(uint32_t)UT_HAS_ISN;
    lab_change(&lab, &failed.client, 20, UT_CONNECTION_CONNECTING);
    lab_change(&lab, &failed.client, 520, UT_CONNECTION_FAILED);
    static const struct otlp_attribute to_13[] = {
        {"network.peer.address", "10.77.0.13", 0}, {"network.peer.port", NULL, 8003}, {0}};
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 8, 200, to_ledger),
             lab_span(KIND_CLIENT, 2, 19, 521, to_13));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_CONNECT_NS), 150000000);
    cr_expect_eq(lab_int(&lab, 1, UT_ATTR_TCP_CONNECT_NS), 500000000);
    cr_expect_eq(lab_events(&lab, 0), 0);
}

Test(join_happenings, usual_connect_is_no_evidence)
{
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_change(&lab, &pair.client, 10, UT_CONNECTION_CONNECTING);
    lab_change(&lab, &pair.client, 40, UT_CONNECTION_OPENED);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 8, 200, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_eq(lab_figures(&lab).events, 0);
}

Test(join_happenings, undone_recovery_marks_its_own_retransmits_alone)
{
    struct lab_pair pair = one_connection(40000), other = one_connection(40001);
    lab_timeout(&lab, &pair.client, 300);
    lab_timeout(&lab, &pair.client, 805);
    lab_timeout(&lab, &other.client, 806);
    happen(&pair.client, 810, (struct happening){UT_RECORD_UNDO, 0, 6, 0});
    static const struct otlp_attribute port_40000[] = {{"network.peer.address", SERVER_ADDRESS, 0},
                                                       {"network.peer.port", NULL, 8003},
                                                       {"network.local.port", NULL, 40000},
                                                       {0}};
    static const struct otlp_attribute port_40001[] = {{"network.peer.address", SERVER_ADDRESS, 0},
                                                       {"network.peer.port", NULL, 8003},
                                                       {"network.local.port", NULL, 40001},
                                                       {0}};
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 900, port_40000),
             lab_span(KIND_CLIENT, 2, 550, 900, port_40001));
    expect(0, "connection", "local", 2);
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_TCP_SPURIOUS), -1);
    cr_expect_eq(lab_event_int(&lab, 0, 1, UT_ATTR_TCP_SPURIOUS), 1);
    cr_expect_eq(lab_event_int(&lab, 1, 0, UT_ATTR_TCP_SPURIOUS), -1);
    cr_expect_eq(lab_metric(&lab, "undertrace_kernel_records_total", "type=\"undo\""), 1);
}

Test(join_happenings, shut_window_counts_what_of_it_lies_within_the_span)
{
    struct lab_pair pair = one_connection(40000);
    happen(&pair.server, 600, (struct happening){UT_RECORD_ZERO_WINDOW, 0, 400, 70000});
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 100, 700, from_40000),
             lab_span(KIND_SERVER, 2, 500, 800, from_40000),
             lab_span(KIND_SERVER, 3, 10, 190, from_40000));
    expect(0, "connection", "local", -1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_ZERO_WINDOW_NS), 400000000);
    cr_expect_eq(lab_int(&lab, 1, UT_ATTR_TCP_ZERO_WINDOW_NS), 100000000);
    cr_expect_eq(lab_event_int(&lab, 1, 0, UT_ATTR_TCP_WAITED_NS), 400000000);
    cr_expect_eq(lab_event_int(&lab, 1, 0, UT_ATTR_TCP_BYTES), 70000);
    cr_expect(lab_gained_nothing(&lab, 2));
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 4, 90, 710, to_ledger));
    expect(0, "connection", "peer", -1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_ZERO_WINDOW_NS), 400000000);
}

Test(join_happenings, segment_without_room_is_told_at_both_ends)
{
    struct lab_pair pair = one_connection(40000);
    happen(&pair.client, 50,
           (struct happening){UT_RECORD_RECEIVE_DROP, UT_DROP_RECEIVE_BUFFER, 0, 1448});
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 300, to_ledger));
    expect(0, "connection", "local", -1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RECEIVE_DROPS), 1);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_TCP_TYPE), "receive_buffer");
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 1, 290, from_40000));
    expect(0, "connection", "peer", -1);
}

Test(join_happenings, listener_without_room_is_told_to_the_waiting_client_and_the_first_server_span)
{
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_change(&lab, &pair.client, 10, UT_CONNECTION_OPENED);
    struct lab_end request = pair.server;
    request.has &= ~(uint32_t)UT_HAS_COOKIE;
    happen(&request, 1010, (struct happening){UT_RECORD_LISTEN_OVERFLOW, 0, 0, 0});
    lab_change(&lab, &pair.server, 3010, UT_CONNECTION_OPENED);
    lab.now_ms = 4000;
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 8, 3020, to_ledger));
    expect(0, "connection", "peer", -1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_LISTEN_OVERFLOWS), 1);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 3011, 3015, from_40000),
             lab_span(KIND_SERVER, 3, 3100, 3110, from_40000));
    expect(0, "connection", "local", -1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_LISTEN_OVERFLOWS), 1);
    cr_expect(lab_gained_nothing(&lab, 1));
}

Test(join_happenings, forty_resets_close_with_a_count)
{
    struct lab_pair pair = one_connection(40000);
    for (int i = 0; i < 40; i++)
        happen(&pair.client, 50 + i, reset_sent);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 200, to_ledger));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RESETS), 40);
    cr_expect_eq(lab_events(&lab, 0), 16);
    cr_expect_eq(lab_event_int(&lab, 0, 15, UT_ATTR_OMITTED), 25);
}

Test(join_happenings, records_that_lie_are_refused)
{
    struct lab_pair pair = one_connection(40000);
    uint64_t bad = lab_figures(&lab).bad_records;
    happen(&pair.client, 50, (struct happening){UT_RECORD_RESET, 3, 0, 0});
    happen(&pair.client, 50, (struct happening){UT_RECORD_RESET, 0, 0, 0});
    happen(&pair.client, 50, (struct happening){UT_RECORD_RECEIVE_DROP, 200, 0, 0});
    struct lab_end end = pair.client;
    end.socket.role = 9;
    happen(&end, 50, reset_sent);
    cr_expect_eq(lab_figures(&lab).bad_records, bad + 4);
    /* Longer than time itself: from the beginning on, and no further. */
    happen(&pair.client, 60, (struct happening){UT_RECORD_ZERO_WINDOW, 0, 1e13, 1});
    happen(&pair.client, 61, (struct happening){UT_RECORD_UNDO, 0, 1e13, 0});
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 200, to_ledger));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_ZERO_WINDOW_NS), 60000000);
}
