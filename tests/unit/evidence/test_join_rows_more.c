/* SPDX-License-Identifier: Apache-2.0 */
/* The join by example, continued: senders, time, forgery. */
#include "evidence/tables.h"
#include "join_rows.h"

TestSuite(join_rows_more, .init = begin, .fini = end);

static const struct otlp_attribute forged[] = {{"network.peer.address", SERVER_ADDRESS, 0},
                                               {"network.peer.port", NULL, 8003},
                                               {"undertrace.tcp.retransmits", NULL, 99},
                                               {0}};

/* Row 19 */
Test(join_rows_more, remote_and_unknown_senders_are_not_joined_but_cleaned)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    struct lab_end ours =
        lab_make_end(&lab, 99, UT_ROLE_ACCEPT, "10.0.0.1", 4317, "192.0.2.7", 5555);
    lab_change(&lab, &ours, -100, UT_CONNECTION_OPENED);
    const uint64_t cookies[] = {ours.socket.cookie, 0, 999999};
    const enum ut_sender_knowledge why[] = {UT_SENDER_REMOTE, UT_SENDER_NO_SOCKET,
                                            UT_SENDER_NO_RECORD};
    for (int i = 0; i < 3; i++) {
        LAB_JOIN(&lab, cookies[i], lab_span(KIND_CLIENT, 1, 0, 212, forged));
        cr_expect(lab_gained_nothing(&lab, 0));
        cr_assert_not_null(ut_body_edit(lab.batch->first, 0));
        cr_expect_eq(ut_body_edit(lab.batch->first, 0)->removed_count, 1);
        cr_expect_null(lab.batch->first->resources[0].edit);
        cr_expect_eq(lab_figures(&lab).sender_spans[why[i]], 1);
    }
    cr_expect_eq(lab_figures(&lab).forged_removed, 3);
}

static void join_as(uint64_t cookie, const char *instance)
{
    const struct otlp_attribute service[] = {
        {"service.name", "demo", 0}, {"service.instance.id", instance, 0}, {0}};
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 212, to_ledger);
    lab_join_of(&lab, cookie, service, &span, 1);
}

/* Row 20 */
Test(join_rows_more, forwarder_is_recognised_and_its_later_connections_too)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    join_as(payment, "a");
    expect(0, "connection", "local", 1);
    join_as(payment, "b");
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_null(lab.batch->first->resources[0].edit);
    join_as(payment, "a");
    cr_expect(lab_gained_nothing(&lab, 0), "from then on");
    join_as(lab_sender(&lab, PAYMENT), "a");
    cr_expect(lab_gained_nothing(&lab, 0), "it has connected again");
    cr_expect_eq(lab_figures(&lab).sender_spans[UT_SENDER_FORWARDER], 3);
}

#define POD "/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/"
#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ID_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

/* Row 21 */
Test(join_rows_more, sender_in_the_same_pod_matches_by_connection_only)
{
    lab_cgroup(&lab, 21, POD ID_A);
    lab_cgroup(&lab, 22, POD ID_B);
    uint64_t proxy = lab_sender(&lab, 22);
    struct lab_pair pair =
        lab_pair_of(&lab, 21, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &pair, -1000);
    lab_timeout(&lab, &pair.client, 205);
    struct otlp_span root = lab_span(KIND_CLIENT, 3, 0, 212, NULL);
    root.parent_id = 0;
    LAB_JOIN(&lab, proxy, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger),
             lab_span(KIND_CLIENT, 2, 0, 212, by_name), root);
    expect(0, "connection", "local", 1);
    cr_expect(lab_gained_nothing(&lab, 1));
    cr_expect(lab_gained_nothing(&lab, 2));

    /* A second connection in the pod to the same end: nobody can tell which it was. */
    struct lab_pair second =
        lab_pair_of(&lab, 22, CLIENT_ADDRESS, 40001, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &second, -900);
    lab_timeout(&lab, &pair.client, 605);
    LAB_JOIN(&lab, proxy, lab_span(KIND_CLIENT, 1, 350, 612, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
}

/* Of the connections of a workload nobody knows them all before this moment. */
static void lose_connections(uint64_t cgroup, double until_ms)
{
    struct ut_tables *tables = ut_evidence_tables(lab.evidence);
    bool known;
    uint32_t workload = ut_workloads_of_cgroup(&tables->workloads, cgroup, &known);
    cr_assert(known && workload != 0);
    tables->connections.complete_since_ns[UT_WORKLOAD_SLOT(workload)] = lab_ns(until_ms);
}

/* Row 21: the one that is not known may lead to the same end, whose ever it was. */
Test(join_rows_more, sender_in_the_same_pod_needs_to_know_all_connections_of_the_pod)
{
    static const char *const paths[] = {POD ID_A, POD ID_B, POD ID_C};
    for (uint64_t i = 0; i < 3; i++)
        lab_cgroup(&lab, 21 + i, paths[i]);
    uint64_t proxy = lab_sender(&lab, 22);
    struct lab_pair pair =
        lab_pair_of(&lab, 21, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &pair, -1000);
    lab.now_ms = 4000;
    for (uint64_t i = 0; i < 3; i++) {
        double ms = (double)i * 1000;
        lab_timeout(&lab, &pair.client, ms + 205);
        lab_timeout(&lab, &pair.client, ms + 705);
        lose_connections(21 + i, ms + 100);
        LAB_JOIN(&lab, proxy, lab_span(KIND_CLIENT, 2 * i + 1, ms, ms + 212, to_ledger),
                 lab_span(KIND_CLIENT, 2 * i + 2, ms + 500, ms + 712, to_ledger));
        cr_expect(lab_gained_nothing(&lab, 0), "%s", paths[i]);
        expect(1, "connection", "local", 1);
    }
}

/* Row 22 */
Test(join_rows_more, spans_that_come_late_find_their_events)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    const double late_ms[] = {6000, 79000};
    for (int i = 0; i < 2; i++) {
        lab.now_ms = 205 + late_ms[i];
        ut_evidence_tick(lab.evidence, lab_ns(lab.now_ms));
        LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
        expect(0, "connection", "local", 1);
        cr_expect_eq(lab_events(&lab, 0), 1);
        cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), -1);
    }
}

Test(join_rows_more, span_of_three_minutes_counts_all_and_shows_the_last_two)
{
    struct lab_pair pair = one_connection(40000);
    for (int s = 1; s <= 180; s++) {
        lab_timeout(&lab, &pair.client, s * 1000.0);
        ut_evidence_tick(lab.evidence, lab_ns(s * 1000.0));
    }
    lab.now_ms = 180500;
    ut_evidence_tick(lab.evidence, lab_ns(lab.now_ms));
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 180400, to_ledger));
    expect(0, "connection", "local", 180);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_TIMEOUTS), 180);
    cr_expect_eq(lab_events(&lab, 0), 16);
    cr_expect_eq(lab_event_int(&lab, 0, 15, UT_ATTR_OMITTED), 120 - 15);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), -1);
}

Test(join_rows_more, span_longer_than_the_horizon_is_partial)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 1000);
    for (int s = 1; s <= 1000; s += 10)
        ut_evidence_tick(lab.evidence, lab_ns(s * 1000.0));
    lab_timeout(&lab, &pair.client, 999000);
    lab.now_ms = 1000500;
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 1000000, to_ledger),
             lab_span(KIND_CLIENT, 2, 0, 500, to_ledger),
             lab_span(KIND_CLIENT, 3, 999500, 1000000, to_ledger));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMITS), 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), 1);
    cr_expect_eq(lab_metric(&lab, "undertrace_join_late_spans_total", ""), 2,
                 "the one that gained nothing among them");
}

Test(join_rows_more, span_over_a_loss_of_records_is_partial)
{
    struct lab_pair pair = one_connection(40000);
    struct ut_event_sink *sink = ut_evidence_sink(lab.evidence);
    lab_timeout(&lab, &pair.server, 207);
    sink->lost(sink, 1, lab_ns(100));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 1, 3, from_40000));
    expect(0, "connection", "local", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), 1);
}

/* Row 23 */
Test(join_rows_more, records_keep_the_unix_time_of_when_they_were_read)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    lab.offset_ns -= 10000000000; /* the wall clock is set back 10 s */
    lab.now_ms = 20000;
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    expect(0, "connection", "local", 1);
}

/* Row 26 */
Test(join_rows_more, what_was_not_sent_and_bare_fins_are_no_evidence)
{
    struct lab_pair pair = one_connection(40000);
    lab_retransmit(&lab, &pair.client, 205,
                   (struct lab_retransmit){UT_CAUSE_TIMEOUT, 204, 800, 1, -16, 0});
    lab_retransmit(&lab, &pair.client, 206,
                   (struct lab_retransmit){UT_CAUSE_TIMEOUT, 204, 0, 1, 0, 0});
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_null(ut_body_edit(lab.batch->first, 0), "its bytes stay as they are");
    cr_expect_eq(
        lab_metric(&lab, "undertrace_kernel_records_total", "type=\"retransmit_not_sent\""), 1);
    cr_expect_eq(
        lab_metric(&lab, "undertrace_kernel_records_total", "type=\"retransmit_without_data\""), 1);
}

/* Row 27 */
Test(join_rows_more, forged_keys_go_and_the_join_is_as_usual)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, forged));
    expect(0, "connection", "local", 1);
    cr_expect_eq(ut_body_edit(lab.batch->first, 0)->removed_count, 1);
    cr_expect_eq(lab_figures(&lab).forged_removed, 1);
}

/* Row 28 */
Test(join_rows_more, forty_retransmits_show_fifteen_and_a_closing_count)
{
    struct lab_pair pair = one_connection(40000);
    for (int i = 0; i < 40; i++)
        lab_retransmit(&lab, &pair.client, 205 + i * 0.1,
                       (struct lab_retransmit){UT_CAUSE_FAST, 204, 1000, 2, 0, 0});
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    expect(0, "connection", "local", 80);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMIT_BYTES), 40000);
    cr_assert_eq(lab_events(&lab, 0), 16);
    cr_expect_eq(lab_event_int(&lab, 0, 14, UT_ATTR_TCP_SEGMENTS), 2);
    cr_expect_eq(lab_event_int(&lab, 0, 15, UT_ATTR_OMITTED), 25);
}

/* Row 29 */
Test(join_rows_more, impossible_times_are_not_joined_and_counted)
{
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 212, 0, to_ledger),
             lab_span(KIND_CLIENT, 2, 0, 1100, to_ledger),
             lab_span(KIND_CLIENT, 3, 0, 212, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 1));
    expect(2, "connection", "local", 1);
    cr_expect_eq(
        lab_metric(&lab, "undertrace_unjoined_spans_total", "reason=\"ends_before_start\""), 1);
    cr_expect_eq(lab_metric(&lab, "undertrace_unjoined_spans_total", "reason=\"in_future\""), 1);
}

/* Row 30 */
Test(join_rows_more, cgroup_below_the_containers_scope_is_the_same_workload)
{
    lab_cgroup(&lab, 31, "/system.slice/docker-" ID_A ".scope");
    lab_cgroup(&lab, 32, "/system.slice/docker-" ID_A ".scope/worker");
    uint64_t container = lab_sender(&lab, 31);
    struct lab_pair pair =
        lab_pair_of(&lab, 32, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &pair, -1000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, container, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger));
    expect(0, "connection", "local", 1);
}

/* Row 31 */
Test(join_rows_more, socket_balancer_contradicts_the_client_and_fits_the_server)
{
    static const struct otlp_attribute to_service[] = {
        {"network.peer.address", "10.96.0.10", 0}, {"network.peer.port", NULL, 80}, {0}};
    struct lab_pair pair = one_connection(40000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_service));
    cr_expect(lab_gained_nothing(&lab, 0));
    const struct ut_evidence_figures figures = lab_figures(&lab);
    char address[UT_ADDRESS_TEXT];
    cr_expect_eq(figures.contradicted, 1);
    cr_expect_eq(figures.unmatched.spans, 1, "doctor names it:");
    cr_expect_str_eq(figures.unmatched.workload, "/undertrace-demo/payment");
    cr_expect_str_eq(ut_address_text(address, &figures.unmatched.named.address), "10.96.0.10");
    cr_expect_eq(figures.unmatched.named.port, 80);
    cr_expect_str_eq(ut_address_text(address, &figures.unmatched.socket.address), SERVER_ADDRESS);
    cr_expect_eq(figures.unmatched.socket.port, 8003);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 206, 210, from_40000));
    expect(0, "connection", "peer", 1);
}

/* What happens wherever a workload has two peers: nothing to tell of. */
Test(join_rows_more, span_of_another_connection_is_no_unmatched_one)
{
    static const struct otlp_attribute to_twin[] = {
        {"network.peer.address", "10.77.0.13", 0}, {"network.peer.port", NULL, 8003}, {0}};
    struct lab_pair pair = one_connection(40000);
    struct lab_pair other =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, 50000, TWIN, "10.77.0.13", 8003);
    lab_open(&lab, &other, -1000);
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_twin));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_eq(lab_figures(&lab).contradicted, 1);
    cr_expect_eq(lab_figures(&lab).unmatched.spans, 0);
}

/* Row 32 */
Test(join_rows_more, consumer_span_takes_the_socket_to_its_broker)
{
    struct lab_pair broker = one_connection(40000);
    struct lab_pair accepted =
        lab_pair_of(&lab, TWIN, "10.77.0.13", 50000, PAYMENT, CLIENT_ADDRESS, 8003);
    lab_open(&lab, &accepted, -1000);
    lab_timeout(&lab, &broker.server, 205);
    lab_timeout(&lab, &accepted.server, 205);
    LAB_JOIN(&lab, payment, lab_span(KIND_CONSUMER, 1, 0, 212, to_ledger));
    expect(0, "connection", "peer", 1);
}
