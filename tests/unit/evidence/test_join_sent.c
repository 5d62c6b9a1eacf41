/* SPDX-License-Identifier: Apache-2.0 */
/* The join where the kernel tells to the microsecond when the retransmitted bytes were first sent:
 * requests that follow each other within milliseconds are told apart. */
#include <criterion/criterion.h>

#include "lab_spans.h"

enum { PAYMENT = 11, LEDGER = 12 };

static struct lab lab;
static uint64_t payment, ledger;

static void begin(void)
{
    lab_start(&lab);
    lab_cgroup(&lab, PAYMENT, "/undertrace-demo/payment");
    lab_cgroup(&lab, LEDGER, "/undertrace-demo/ledger");
    payment = lab_sender(&lab, PAYMENT);
    ledger = lab_sender(&lab, LEDGER);
}

static void end(void)
{
    lab_stop(&lab);
}

TestSuite(join_sent, .init = begin, .fini = end);

static const struct otlp_attribute to_ledger[] = {{"http.url", "http://10.77.0.12:8003/ledger", 0},
                                                  {0}};
static const struct otlp_attribute from_payment[] = {
    {"net.peer.ip", "10.77.0.11", 0}, {"net.peer.port", NULL, 40000}, {0}};

static struct lab_pair connect_to(const char *address)
{
    struct lab_pair pair = lab_pair_of(&lab, PAYMENT, "10.77.0.11", 40000, LEDGER, address, 8003);
    lab_open(&lab, &pair, -1000);
    return pair;
}

/* A tail loss probe `seen_ms` of bytes that were first sent at `sent_ms`, exactly or no earlier. */
static void probe(const struct lab_end *from, double seen_ms, double sent_ms, bool exact)
{
    struct ut_record_retransmit record = {
        .header = lab_header(&lab, UT_RECORD_RETRANSMIT, sizeof(record), seen_ms, from->cgroup),
        .socket = from->socket,
        .seq = 1,
        .end_seq = 801,
        .bytes = 800,
        .segments = 1,
        .cause = UT_CAUSE_TAIL_LOSS_PROBE,
        .rto_us = 204000,
        .since_sent_us = (uint32_t)((seen_ms - sent_ms) * 1000),
    };
    record.socket.state = 1;
    record.header.has =
        from->has | UT_HAS_RTO | UT_HAS_ERR | UT_HAS_SINCE_SENT | (exact ? UT_HAS_SENT_EXACT : 0);
    lab_record(&lab, &record, sizeof(record));
}

static void expect_probe(uint32_t span, const char *side)
{
    cr_expect_str_eq(lab_text(&lab, span, UT_ATTR_TCP_MATCH), "connection");
    cr_expect_str_eq(lab_text(&lab, span, UT_ATTR_TCP_SIDE), side);
    cr_expect_eq(lab_int(&lab, span, UT_ATTR_TCP_PROBES), 1);
}

static void join_two_calls(uint64_t sender, unsigned kind, const double times[4])
{
    const struct otlp_attribute *ends = kind == KIND_CLIENT ? to_ledger : from_payment;
    LAB_JOIN(&lab, sender, lab_span(kind, 1, times[0], times[1], ends),
             lab_span(kind, 2, times[2], times[3], ends));
}

Test(join_sent, request_lost_right_after_another_belongs_to_its_own_spans)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    probe(&pair.client, 207, 3.2, true);
    join_two_calls(payment, KIND_CLIENT, (double[]){0, 2, 3, 215});
    cr_expect(lab_gained_nothing(&lab, 0));
    expect_probe(1, "local");
    join_two_calls(ledger, KIND_SERVER, (double[]){0.5, 1.5, 208, 209});
    cr_expect(lab_gained_nothing(&lab, 0));
    expect_probe(1, "peer");
}

Test(join_sent, answer_of_which_the_acknowledgement_was_lost_belongs_to_the_call_before)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    probe(&pair.server, 205.6, 1.6, true);
    join_two_calls(payment, KIND_CLIENT, (double[]){0, 2, 3, 215});
    expect_probe(0, "peer");
    cr_expect(lab_gained_nothing(&lab, 1));
    join_two_calls(ledger, KIND_SERVER, (double[]){0.5, 1.5, 3.5, 4});
    expect_probe(0, "local");
    cr_expect(lab_gained_nothing(&lab, 1));
}

Test(join_sent, a_lower_bound_excludes_the_call_before_it)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    probe(&pair.client, 207, 3.2, false);
    join_two_calls(payment, KIND_CLIENT, (double[]){0, 2, 3, 215});
    cr_expect(lab_gained_nothing(&lab, 0));
    expect_probe(1, "local");
}

Test(join_sent, of_two_probes_the_peers_is_named_first)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    probe(&pair.client, 204.4, 0.2, true);
    probe(&pair.server, 205.6, 1.6, true);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 207, to_ledger));
    cr_assert_eq(lab_events(&lab, 0), 2);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_SIDE), "peer");
    cr_expect_str_eq(lab_event_text(&lab, 0, 1, UT_ATTR_SIDE), "local");
}

/* A root span that is not on the connection itself. */
static struct otlp_span root_to(const struct otlp_attribute *ends)
{
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 300, ends);
    span.parent_id = 0;
    return span;
}

Test(join_sent, root_that_names_another_connection_of_its_workload_counts_nothing)
{
    static const struct otlp_attribute to_other[] = {
        {"http.url", "http://10.77.0.13:8003/other", 0}, {0}};
    struct lab_pair pair = connect_to("10.77.0.12");
    connect_to("10.77.0.13");
    probe(&pair.client, 207, 3.2, true);
    LAB_JOIN(&lab, payment, root_to(to_other));
    cr_expect(lab_gained_nothing(&lab, 0));
}

Test(join_sent, root_that_names_what_no_connection_leads_to_may_stand_behind_a_proxy)
{
    static const struct otlp_attribute to_far_away[] = {
        {"http.url", "http://192.0.2.1:8003/far", 0}, {0}};
    struct lab_pair pair = connect_to("10.77.0.12");
    probe(&pair.client, 207, 3.2, true);
    LAB_JOIN(&lab, payment, root_to(to_far_away));
    cr_expect_str_eq(lab_text(&lab, 0, UT_ATTR_TCP_MATCH), "workload");
}

/* The span of the first request came in a batch of its own, and nobody knows of the second yet. */
Test(join_sent, answer_is_not_that_of_a_span_that_ended_before_its_request_came_in)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    struct ut_record_retransmit record = {
        .header = lab_header(&lab, UT_RECORD_RETRANSMIT, sizeof(record), 240, LEDGER),
        .socket = pair.server.socket,
        .bytes = 800,
        .segments = 1,
        .cause = UT_CAUSE_TIMEOUT,
        .rto_us = 204000,
        .since_sent_us = 205000,
        .since_received_us = 210000,
    };
    record.header.has = pair.server.has | UT_HAS_RTO | UT_HAS_ERR | UT_HAS_SINCE_SENT |
                        UT_HAS_SENT_EXACT | UT_HAS_SINCE_RECEIVED;
    lab_record(&lab, &record, sizeof(record));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 1, 10, from_payment));
    cr_expect(lab_gained_nothing(&lab, 0));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 30, 34, from_payment));
    cr_expect_str_eq(lab_text(&lab, 0, UT_ATTR_TCP_MATCH), "connection");
}
