/* SPDX-License-Identifier: Apache-2.0 */
/* The counts of each workload: true, bounded, and in the metrics. */
#include "join_rows.h"

#include <stdio.h>

#include "evidence/tables.h"

TestSuite(tally, .init = begin, .fini = end);

static char *metrics_text(void)
{
    size_t size;
    char *text = ut_metrics_text(lab.metrics, &size);
    cr_assert_not_null(text);
    return text;
}

static void expect_line(const char *line)
{
    char *text = metrics_text();
    cr_expect_not_null(strstr(text, line), "%s is not in:\n%s", line, text);
    free(text);
}

static void expect_none(const char *part)
{
    char *text = metrics_text();
    cr_expect_null(strstr(text, part), "%s is in:\n%s", part, text);
    free(text);
}

Test(tally, what_happens_is_counted_for_the_workload_whose_socket_it_was)
{
    struct lab_pair pair = one_connection(40000);
    expect_none("undertrace_workload_tcp");
    lab_timeout(&lab, &pair.client, 205);
    lab_retransmit(&lab, &pair.server, 206,
                   (struct lab_retransmit){UT_CAUSE_FAST, 204, 9000, 7, 0, 0});
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 212, to_ledger),
             lab_span(KIND_CLIENT, 2, 300, 312, to_ledger));
    expect_line("undertrace_workload_tcp_retransmits_total{workload=\"/undertrace-demo/payment\","
                "cause=\"timeout\"} 1\n");
    expect_line("undertrace_workload_tcp_retransmits_total{workload=\"/undertrace-demo/ledger\","
                "cause=\"fast\"} 7\n");
    expect_line("undertrace_workload_spans_total{workload=\"/undertrace-demo/payment\"} 2\n");
    expect_line("undertrace_workload_joined_spans_total{workload=\"/undertrace-demo/payment\","
                "match=\"connection\"} 1\n");
    expect_none("cause=\"syn\"");
}

static void happens(const struct lab_end *end, uint8_t type, uint32_t detail, uint64_t ns)
{
    struct ut_record_tcp record = {
        .header = lab_header(&lab, type, sizeof(record), 205, end->cgroup),
        .socket = end->socket,
        .ns = ns,
        .detail = detail,
    };
    record.header.has = end->has;
    lab_record(&lab, &record, sizeof(record));
}

static void stalls(uint64_t cgroup, uint32_t level, uint64_t ns)
{
    struct ut_record_stall record = {
        .header = lab_header(&lab, UT_RECORD_STALL, sizeof(record), 100, cgroup),
        .ns = ns,
        .level = level,
        .last_ns = 1000,
    };
    lab_record(&lab, &record, sizeof(record));
}

#define PAYMENTS "{workload=\"/undertrace-demo/payment\""

Test(tally, each_kind_of_event_has_its_figure)
{
    struct lab_pair pair = one_connection(40000);
    happens(&pair.client, UT_RECORD_RESET, UT_RESET_SENT, 0);
    happens(&pair.client, UT_RECORD_RESET, UT_RESET_RECEIVED, 0);
    happens(&pair.client, UT_RECORD_RESET, UT_RESET_RECEIVED, 0);
    happens(&pair.client, UT_RECORD_ZERO_WINDOW, 0, UINT64_C(1500000000));
    happens(&pair.client, UT_RECORD_RECEIVE_DROP, UT_DROP_WINDOW, 0);
    happens(&pair.server, UT_RECORD_LISTEN_OVERFLOW, 0, 0);
    happens(&pair.client, UT_RECORD_UNDO, 0, 0);
    stalls(PAYMENT, 0, 250000000);
    stalls(PAYMENT, 1, 500000000);
    stalls(PAYMENT, UT_STALL_GLOBAL, 125000000);
    expect_line("undertrace_workload_tcp_resets_total" PAYMENTS ",type=\"sent\"} 1\n");
    expect_line("undertrace_workload_tcp_resets_total" PAYMENTS ",type=\"received\"} 2\n");
    expect_line("undertrace_workload_tcp_zero_window_seconds_total" PAYMENTS "} 1.5\n");
    expect_line("undertrace_workload_tcp_receive_drops_total" PAYMENTS "} 1\n");
    expect_line("undertrace_workload_tcp_listen_overflows_total"
                "{workload=\"/undertrace-demo/ledger\"} 1\n");
#define STALLS "undertrace_workload_memory_stall_seconds_total" PAYMENTS
    expect_line(STALLS ",scope=\"own\"} 0.25\n");
    expect_line(STALLS ",scope=\"ancestor\"} 0.5\n");
    expect_line(STALLS ",scope=\"global\"} 0.125\n");
    expect_none("undertrace_workload_tcp_retransmits_total");
    expect_line("undertrace_unowned_events_total 0\n");
}

Test(tally, sockets_of_nobody_are_counted_as_such)
{
    struct lab_pair pair = one_connection(40000);
    pair.client.cgroup = 0;
    pair.client.socket.cookie = 77777;
    pair.client.socket.local_port = 41234;
    pair.client.has &= ~(uint32_t)UT_HAS_ISN;
    lab_timeout(&lab, &pair.client, 205);
    expect_line("undertrace_workload_tcp_retransmits_total{workload=\"unowned\","
                "cause=\"timeout\"} 1\n");
    expect_line("undertrace_unowned_events_total 1\n");
}

static void count_one(uint64_t cgroup, double ms)
{
    struct ut_record_oom_kill record = {
        .header = lab_header(&lab, UT_RECORD_OOM_KILL, sizeof(record), ms, cgroup),
    };
    lab_record(&lab, &record, sizeof(record));
}

Test(tally, workloads_beyond_the_limit_are_summed_and_those_that_are_gone_make_room)
{
    char path[64];
    for (uint64_t i = 0; i < UT_TALLY_ROWS + 30; i++) {
        snprintf(path, sizeof(path), "/many/workload-%d.service", (int)i);
        lab_cgroup(&lab, 1000 + i, path);
        count_one(1000 + i, 1);
    }
    expect_line("undertrace_workload_oom_kills_total{workload=\"other\"} 30\n");
    expect_line("undertrace_workload_oom_kills_total{workload=\"/many/workload-0.service\"} 1\n");
    lab_cgroup_change(&lab, 1000, "/many/workload-0.service", 10, UT_CGROUP_REMOVED);
    ut_evidence_tick(lab.evidence, lab_ns(1000000));
    expect_line("workload=\"/many/workload-0.service\"} 1\n");
    lab.now_ms = 1000001;
    lab_cgroup_change(&lab, 5000, "/late.service", 1000000, UT_CGROUP_CREATED);
    count_one(5000, 1000001);
    expect_line("undertrace_workload_oom_kills_total{workload=\"/late.service\"} 1\n");
    expect_none("/many/workload-0.service");
    expect_line("undertrace_workload_oom_kills_total{workload=\"other\"} 30\n");
}

Test(tally, workload_that_is_made_again_goes_on_with_its_series)
{
    lab_cgroup(&lab, 2000, "/again.service");
    count_one(2000, 1);
    lab_cgroup_change(&lab, 2000, "/again.service", 2, UT_CGROUP_REMOVED);
    lab_cgroup_change(&lab, 2001, "/again.service", 3, UT_CGROUP_CREATED);
    count_one(2001, 4);
    expect_line("undertrace_workload_oom_kills_total{workload=\"/again.service\"} 2\n");
    ut_evidence_tick(lab.evidence, lab_ns(1000000));
    count_one(2001, 5);
    expect_line("undertrace_workload_oom_kills_total{workload=\"/again.service\"} 3\n");
}
