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

/* 800 bytes that were first sent at `sent_ms` are sent again. */
static struct ut_record_retransmit retransmit(const struct lab_end *from, double seen_ms,
                                              double sent_ms, enum ut_tcp_cause cause)
{
    struct ut_record_retransmit record = {
        .header = lab_header(&lab, UT_RECORD_RETRANSMIT, sizeof(record), seen_ms, from->cgroup),
        .socket = from->socket,
        .seq = 1,
        .end_seq = 801,
        .bytes = 800,
        .segments = 1,
        .cause = cause,
        .rto_us = 204000,
        .since_sent_us = (uint32_t)((seen_ms - sent_ms) * 1000),
    };
    record.socket.state = 1;
    record.header.has = from->has | UT_HAS_RTO | UT_HAS_ERR | UT_HAS_SINCE_SENT | UT_HAS_SENT_EXACT;
    return record;
}

/* A tail loss probe `seen_ms` of bytes that were first sent at `sent_ms`, exactly or no earlier. */
static void probe(const struct lab_end *from, double seen_ms, double sent_ms, bool exact)
{
    struct ut_record_retransmit record =
        retransmit(from, seen_ms, sent_ms, UT_CAUSE_TAIL_LOSS_PROBE);
    if (!exact)
        record.header.has &= ~(uint32_t)UT_HAS_SENT_EXACT;
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

/* The bytes were sent no earlier than 12 ms, as far as the kernel tells; but a request came in
 * after the first span, and what it was answered with was sent behind that. */
Test(join_sent, request_that_came_in_after_a_span_tells_that_the_answer_is_not_its)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    struct ut_record_retransmit record = retransmit(&pair.server, 240, 12, UT_CAUSE_FAST);
    record.since_received_us = 210000;
    record.header.has &= ~(uint32_t)UT_HAS_SENT_EXACT;
    record.header.has |= UT_HAS_SINCE_RECEIVED;
    lab_record(&lab, &record, sizeof(record));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 1, 17, from_payment));
    cr_expect(lab_gained_nothing(&lab, 0));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 18, 34, from_payment));
    cr_expect_str_eq(lab_text(&lab, 0, UT_ATTR_TCP_MATCH), "connection");
}

/* Whatever else happens on the connection: the second retransmit has the span looked at all. */
Test(join_sent, answer_that_left_long_after_a_span_is_not_its)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    struct ut_record_retransmit record = retransmit(&pair.server, 265, 60, UT_CAUSE_TIMEOUT);
    lab_record(&lab, &record, sizeof(record));
    lab_timeout(&lab, &pair.client, 285);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 1, 30, from_payment));
    cr_expect(lab_gained_nothing(&lab, 0));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 2, 40, 56, from_payment));
    cr_expect_str_eq(lab_text(&lab, 0, UT_ATTR_TCP_MATCH), "connection", "within the slack");
}

/* The timeouts double, and the third comes 1.4 s after the bytes were sent. */
Test(join_sent, each_retransmit_of_the_same_bytes_tells_how_long_they_have_waited)
{
    static const double seen_ms[] = {203, 608, 1420};
    lab.now_ms = 2000;
    struct lab_pair pair = connect_to("10.77.0.12");
    for (int i = 0; i < 3; i++) {
        struct ut_record_retransmit record =
            retransmit(&pair.client, seen_ms[i], 3, UT_CAUSE_TIMEOUT);
        record.rto_us <<= i;
        record.thread = i == 2 ? 1 << 23 : 40 + (unsigned)i; /* no such thread */
        lab_record(&lab, &record, sizeof(record));
    }
    join_two_calls(payment, KIND_CLIENT, (double[]){0, 2, 2.9, 1450});
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_assert_eq(lab_events(&lab, 1), 3);
    for (uint32_t i = 0; i < 3; i++)
        cr_expect_eq(lab_event_int(&lab, 1, i, UT_ATTR_TCP_WAITED_NS),
                     (int64_t)(seen_ms[i] - 3) * 1000000);
    cr_expect_eq(lab_event_int(&lab, 1, 1, UT_ATTR_TCP_SENDING_THREAD), 41);
    cr_expect_neq(lab_event_int(&lab, 1, 2, UT_ATTR_TCP_SENDING_THREAD), 1 << 23);
}

/* Sent one after the other, without waiting, and put together when they are sent again. */
Test(join_sent, segment_put_together_of_several_sends_belongs_to_the_span_of_each)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    struct ut_record_retransmit record = retransmit(&pair.client, 220, 10, UT_CAUSE_TIMEOUT);
    record.sent_within_us = 50000;
    lab_record(&lab, &record, sizeof(record));
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 9, to_ledger),
             lab_span(KIND_CLIENT, 2, 9.8, 230, to_ledger),
             lab_span(KIND_CLIENT, 3, 59.8, 240, to_ledger),
             lab_span(KIND_CLIENT, 4, 62, 240, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    for (uint32_t span = 1; span < 3; span++)
        cr_expect_str_eq(lab_text(&lab, span, UT_ATTR_TCP_MATCH), "connection");
    cr_expect_eq(lab_event_int(&lab, 1, 0, UT_ATTR_TCP_WAITED_NS), 210 * INT64_C(1000000));
    cr_expect(lab_gained_nothing(&lab, 3), "nothing of it was sent when that one began");
}

/* As on a connection of a pool, or of HTTP/2: the span that was open when the bytes were sent has
 * not come in yet, and the one that is open when they are sent again has nothing to do with them.
 */
Test(join_sent, what_was_sent_before_a_span_began_is_not_its_own_though_it_waits_meanwhile)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    struct ut_record_retransmit record = retransmit(&pair.client, 130, 10, UT_CAUSE_FAST);
    lab_record(&lab, &record, sizeof(record));
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 90, 140, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 2, 8, 140, to_ledger));
    cr_expect_str_eq(lab_text(&lab, 0, UT_ATTR_TCP_MATCH), "connection");
}

/* What lies, or was captured by another version, must not make times that never were. */
Test(join_sent, sends_that_would_end_after_the_retransmit_end_with_it)
{
    struct lab_pair pair = connect_to("10.77.0.12");
    struct ut_record_retransmit record = retransmit(&pair.client, 130, 10, UT_CAUSE_FAST);
    record.sent_within_us = UINT32_MAX;
    lab_record(&lab, &record, sizeof(record));
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 131, 140, to_ledger),
             lab_span(KIND_CLIENT, 2, 100, 140, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_str_eq(lab_text(&lab, 1, UT_ATTR_TCP_MATCH), "connection");
}
