/* SPDX-License-Identifier: Apache-2.0 */
/* The join by example where the bytes carried ids on the wire. */
#include "evidence/tables.h"
#include "join_rows.h"

TestSuite(join_exact, .init = begin, .fini = end);

/* Spans of the lab have trace id 1; a server span has parent 77. */
enum { NAMED = 77 };

static struct ut_record_trace_ids ids_of(const struct lab_end *end, double ms)
{
    struct ut_record_trace_ids record = {
        .header = lab_header(&lab, UT_RECORD_TRACE_IDS, sizeof(record), ms, end->cgroup),
        .cookie = end->socket.cookie,
        .seq = 1,
        .bytes = 800,
    };
    return record;
}

/* The bytes of one request lie behind those of the other. */
static void add_id(struct ut_record_trace_ids *record, uint8_t trace, uint8_t span, uint32_t bytes)
{
    struct ut_trace_id *id = &record->ids[record->count++];
    if (record->count > 1)
        id->offset = id[-1].offset + id[-1].bytes;
    id->trace_id[15] = trace;
    id->span_id[7] = span;
    id->bytes = bytes;
}

/* A timeout whose 800 bytes are those of the request of one span. */
static void named_timeout(const struct lab_end *end, double ms, uint8_t span)
{
    struct ut_record_trace_ids record = ids_of(end, ms);
    lab_timeout(&lab, end, ms);
    add_id(&record, 1, span, 800);
    lab_record(&lab, &record, sizeof(record));
}

Test(join_exact, client_span_is_named_and_server_span_by_its_parent)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.client, 205, NAMED);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger),
             lab_span(KIND_CLIENT, 5, 0, 212, to_ledger), lab_span(KIND_INTERNAL, 6, 0, 212, NULL));
    expect(0, "exact", "local", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMIT_BYTES), 800);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_SHARED_BY), -1);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_MATCH), "exact");
    cr_expect(lab_gained_nothing(&lab, 1), "its connection and its time, and not its bytes");
    cr_expect(lab_gained_nothing(&lab, 2));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 8, 206, 210, from_40000));
    expect(0, "exact", "peer", 1);
    cr_expect_eq(lab_figures(&lab).joined_spans[UT_MATCH_EXACT], 2);
}

Test(join_exact, clocks_and_named_ends_do_not_matter)
{
    static const struct otlp_attribute elsewhere[] = {
        {"network.peer.address", "10.0.0.9", 0}, {"network.peer.port", NULL, 1}, {0}};
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.client, 205, NAMED);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, -60000, -59000, elsewhere));
    expect(0, "exact", "local", 1);
}

/* Row 24 */
Test(join_exact, ids_of_a_span_that_never_comes_leave_nothing_for_others)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.client, 205, 99);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 8, 0, 212, from_40000));
    cr_expect(lab_gained_nothing(&lab, 0));
}

/* Bytes of three messages are sent again at once, by an end of the client's connection: each of its
 * spans has its own. */
static void join_three(const struct lab_end *loser, const char *side)
{
    struct ut_record_trace_ids record = ids_of(loser, 205);
    lab_timeout(&lab, loser, 205);
    for (uint8_t i = 0; i < 3; i++)
        add_id(&record, 1, (uint8_t)(NAMED + i), 100U * (i + 1));
    lab_record(&lab, &record, sizeof(record));
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger),
             lab_span(KIND_CLIENT, NAMED + 1, 0, 212, to_ledger),
             lab_span(KIND_CLIENT, NAMED + 2, 0, 212, to_ledger));
    for (uint32_t i = 0; i < 3; i++) {
        expect(i, "exact", side, 1);
        cr_expect_eq(lab_int(&lab, i, UT_ATTR_TCP_RETRANSMIT_BYTES), 100 * (i + 1));
        cr_expect_eq(lab_event_int(&lab, i, 0, UT_ATTR_TCP_BYTES), 100 * (i + 1));
        static const int64_t before[] = {0, 100, 300};
        cr_expect_eq(lab_event_int(&lab, i, 0, UT_ATTR_TCP_SEQ), record.seq + before[i]);
    }
}

/* Row 25 */
Test(join_exact, each_of_three_requests_has_its_bytes)
{
    struct lab_pair pair = one_connection(40000);
    join_three(&pair.client, "local");
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 8, 206, 210, from_40000));
    expect(0, "exact", "peer", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMIT_BYTES), 100);
}

/* Row 2, with ids */
Test(join_exact, answer_belongs_to_both_spans_of_its_request_though_one_has_ended)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.server, 210, NAMED);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger),
             lab_span(KIND_CLIENT, 5, 0, 212, to_ledger));
    expect(0, "exact", "peer", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMIT_BYTES), 800);
    cr_expect(lab_gained_nothing(&lab, 1), "it waited on the same connection for something else");
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 8, 1, 3, from_40000));
    expect(0, "exact", "local", 1);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_MATCH), "exact");
}

Test(join_exact, request_and_answer_that_were_both_sent_again_are_both_told)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.client, 205, NAMED);
    named_timeout(&pair.server, 410, NAMED);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 412, to_ledger));
    expect(0, "exact", "both", 2);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 8, 206, 207, from_40000));
    expect(0, "exact", "both", 2);
}

/* Row 25, of answers */
Test(join_exact, each_of_three_answers_has_its_bytes)
{
    struct lab_pair pair = one_connection(40000);
    join_three(&pair.server, "peer");
}

Test(join_exact, answer_to_one_of_several_server_spans_with_one_parent_is_not_sure)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.server, 210, NAMED);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 8, 1, 3, from_40000),
             lab_span(KIND_SERVER, 9, 1, 3, from_40000));
    expect(0, "connection", "local", 1);
    expect(1, "connection", "local", 1);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger));
    expect(0, "exact", "peer", 1);
}

/* Rows 24 and 33, of answers */
Test(join_exact, ids_of_an_answer_count_only_for_who_owns_an_end)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.server, 210, NAMED);
    named_timeout(&pair.server, 211, 99);
    LAB_JOIN(&lab, lab_sender(&lab, TWIN), lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger),
             lab_span(KIND_SERVER, 8, 1, 3, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 1));
    LAB_JOIN(&lab, ledger, lab_span(KIND_CLIENT, NAMED, 0, 212, NULL));
    cr_expect(lab_gained_nothing(&lab, 0), "it sent the answer, and did not ask for it");
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 8, 0, 212, NULL));
    cr_expect(lab_gained_nothing(&lab, 0), "it asked, and did not answer");
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 5, 0, 212, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0), "both answers are those of others");
}

Test(join_exact, where_there_is_no_room_for_all_the_surest_are_told)
{
    struct lab_pair pair = one_connection(40000);
    for (int i = 0; i < 20; i++)
        lab_timeout(&lab, &pair.client, 205 + i);
    named_timeout(&pair.client, 240, NAMED);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 300, to_ledger));
    cr_assert_eq(lab_events(&lab, 0), 16);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_MATCH), "exact");
    cr_expect_str_eq(lab_event_text(&lab, 0, 1, UT_ATTR_MATCH), "connection");
}

Test(join_exact, two_server_spans_with_one_parent_are_not_sure)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.client, 205, NAMED);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 8, 206, 210, from_40000),
             lab_span(KIND_SERVER, 9, 206, 210, from_40000));
    for (uint32_t i = 0; i < 2; i++) {
        expect(i, "connection", "peer", 1);
        cr_expect_eq(lab_int(&lab, i, UT_ATTR_SHARED_BY), 2);
    }
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger));
    expect(0, "exact", "local", 1);
}

Test(join_exact, the_same_server_span_sent_twice_is_one_and_a_later_other_is_not_sure)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.client, 205, NAMED);
    for (int i = 0; i < 2; i++) {
        LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 8, 206, 210, from_40000));
        expect(0, "exact", "peer", 1);
    }
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 9, 206, 210, from_40000));
    expect(0, "connection", "peer", 1);
}

/* Row 33 */
Test(join_exact, ids_of_another_workloads_trace_give_it_nothing)
{
    struct lab_pair pair = one_connection(40000);
    uint64_t twin = lab_sender(&lab, TWIN);
    named_timeout(&pair.client, 205, NAMED);
    LAB_JOIN(&lab, twin, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger),
             lab_span(KIND_SERVER, 8, 206, 210, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 1));
    cr_expect_eq(lab_metric(&lab, "undertrace_trace_context_untrusted_total", ""), 2);
}

/* Somebody sends the same server the ids of another's request, which it has seen. */
Test(join_exact, ids_that_came_over_another_connection_are_not_those_of_the_span)
{
    struct lab_pair pair = one_connection(40000);
    struct lab_pair forger =
        lab_pair_of(&lab, TWIN, "10.77.0.13", 41000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &forger, -1000);
    named_timeout(&forger.client, 205, NAMED);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 8, 206, 210, from_40000));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_geq(lab_figures(&lab).contradicted, 1);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    named_timeout(&pair.client, 206, NAMED);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 9, 207, 210, from_40000));
    expect(0, "exact", "peer", 1);
}

Test(join_exact, neither_end_stands_for_the_other)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.client, 205, NAMED);
    LAB_JOIN(&lab, ledger, lab_span(KIND_CLIENT, NAMED, 0, 212, NULL));
    cr_expect(lab_gained_nothing(&lab, 0), "the server has read the ids of its client's span");
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 8, 206, 210, NULL));
    cr_expect(lab_gained_nothing(&lab, 0), "the client has made the ids that it names as parent");
}

#define POD "/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/"
#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* Row 21 */
Test(join_exact, the_socket_may_be_a_proxys_in_the_same_pod)
{
    enum { APP = 31, PROXY = 32 };
    lab_cgroup(&lab, APP, POD ID_A);
    lab_cgroup(&lab, PROXY, POD ID_B);
    struct lab_pair pair =
        lab_pair_of(&lab, PROXY, CLIENT_ADDRESS, 40001, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &pair, -1000);
    named_timeout(&pair.client, 205, NAMED);
    LAB_JOIN(&lab, lab_sender(&lab, APP), lab_span(KIND_CLIENT, NAMED, 0, 212, NULL));
    expect(0, "exact", "local", 1);
}

Test(join_exact, what_is_too_old_is_not_summed_up_for_others)
{
    struct lab_pair pair = one_connection(40000);
    named_timeout(&pair.client, 205, 99);
    lab_timeout(&lab, &pair.client, 300);
    lab.now_ms = 200000;
    ut_evidence_tick(lab.evidence, lab_ns(lab.now_ms));
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 190000, to_ledger));
    expect(0, "connection", "local", 1);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), 1);
    cr_expect_eq(ut_evidence_tables(lab.evidence)->events.trace_ids.count, 0);
}

Test(join_exact, records_that_make_no_sense_are_refused)
{
    struct lab_pair pair = one_connection(40000);
    struct ut_record_trace_ids good = ids_of(&pair.client, 205), bad[7];
    lab_timeout(&lab, &pair.client, 205);
    add_id(&good, 1, NAMED, 800);
    for (int i = 0; i < 7; i++)
        bad[i] = good;
    bad[0].count = 0;
    bad[1].count = UT_TRACE_IDS_MAX + 1;
    bad[2].ids[0].bytes = 801;
    bad[3].ids[0].bytes = 0;
    bad[4].ids[0].trace_id[15] = 0;
    bad[5].ids[0].span_id[7] = 0;
    bad[6].ids[0].offset = 1;
    for (int i = 0; i < 7; i++)
        lab_record(&lab, &bad[i], sizeof(bad[i]));
    cr_expect_eq(lab_figures(&lab).bad_records, 7);
    struct ut_record_trace_ids alone[2] = {good, good};
    alone[0].cookie++;
    alone[1].seq++;
    for (int i = 0; i < 2; i++)
        lab_record(&lab, &alone[i], sizeof(alone[i]));
    cr_expect_eq(lab_metric(&lab, "undertrace_kernel_records_total",
                            "type=\"trace_ids_without_retransmit\""),
                 2);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger));
    expect(0, "connection", "local", 1);
}

Test(join_exact, span_that_more_events_name_than_are_looked_at_is_partial)
{
    struct lab_pair pair = one_connection(40000);
    for (int i = 0; i < 4100; i++)
        named_timeout(&pair.client, 205, NAMED);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMITS), 4096);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), 1);
    cr_expect_eq(ut_metrics_sum(lab.metrics, "undertrace_join_events_exceeded_total"), 1);
}

Test(join_exact, requests_beyond_those_that_a_record_tells_are_counted)
{
    struct lab_pair pair = one_connection(40000);
    struct ut_record_trace_ids record = ids_of(&pair.client, 205);
    lab_timeout(&lab, &pair.client, 205);
    add_id(&record, 1, NAMED, 800);
    record.more = 3;
    lab_record(&lab, &record, sizeof(record));
    cr_expect_eq(ut_metrics_sum(lab.metrics, "undertrace_trace_context_untold_total"), 3);
}

Test(join_exact, ids_without_room_are_counted_and_the_event_is_nobodys)
{
    struct lab_pair pair = one_connection(40000);
    for (int i = 0; i < UT_TRACED_MAX / UT_TRACE_IDS_MAX + 2; i++) {
        struct ut_record_trace_ids record = ids_of(&pair.client, 205);
        lab_timeout(&lab, &pair.client, 205);
        for (uint8_t j = 0; j < UT_TRACE_IDS_MAX; j++)
            add_id(&record, 2, (uint8_t)(j + 1), 100);
        lab_record(&lab, &record, sizeof(record));
    }
    const struct ut_tables *tables = ut_evidence_tables(lab.evidence);
    cr_expect_eq(tables->events.trace_ids.count, UT_TRACED_MAX);
    cr_expect_eq(ut_metrics_sum(lab.metrics, "undertrace_trace_context_refused_total"),
                 2 * UT_TRACE_IDS_MAX);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, NAMED, 0, 212, to_ledger));
    cr_expect(lab_gained_nothing(&lab, 0));
    lab.now_ms = 200000;
    ut_evidence_tick(lab.evidence, lab_ns(lab.now_ms));
    cr_expect_eq(tables->events.trace_ids.count, 0);
}

/* ---- whose sockets are looked at ------------------------------------------------------------- */

static uint64_t followed[8];
static unsigned followed_count;

static void note(struct ut_event_source *source, uint64_t cgroup_id, bool follow)
{
    (void)source;
    cr_assert_lt(followed_count, 8);
    followed[followed_count++] = follow ? cgroup_id : UINT64_MAX - cgroup_id;
}

Test(join_exact, cgroups_of_workloads_that_send_spans_are_followed_while_they_live)
{
    enum { BELOW = 14, LATER = 15 };
    struct ut_event_source source = {.follow = note};
    lab_cgroup(&lab, BELOW, "/undertrace-demo/payment/below");
    ut_evidence_set_source(lab.evidence, &source);
    cr_expect_eq(followed_count, 0);
    for (int i = 0; i < 2; i++)
        LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 212, NULL));
    cr_assert_eq(followed_count, 1);
    cr_expect_eq(followed[0], PAYMENT);
    lab_cgroup_change(&lab, PAYMENT, "/undertrace-demo/payment", 300, UT_CGROUP_REMOVED);
    cr_assert_eq(followed_count, 2);
    cr_expect_eq(followed[1], UINT64_MAX - PAYMENT);
    LAB_JOIN(&lab, ledger, lab_span(KIND_INTERNAL, 1, 0, 212, NULL));
    ut_evidence_set_source(lab.evidence, &source);
    cr_assert_eq(followed_count, 4);
    cr_expect_eq(followed[3], LEDGER);
    ut_evidence_set_source(lab.evidence, NULL);
}
