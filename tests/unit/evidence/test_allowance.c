/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence stays within its bytes, what says least goes first, and the totals stay true. */
#include "evidence/allowance.h"

#include <stdio.h>

#include "evidence/tables.h"
#include "join_rows.h"

#define HOUR_MS 3600000.0
#define PER_HOUR 18000000

static const struct ut_allowed all = {UT_MATCH_WORKLOAD, UT_MATCH_WORKLOAD};
static const struct ut_allowed none = {UT_MATCH_CLASSES, UT_MATCH_CLASSES};

static void expect_allowed(struct ut_allowed allowed, struct ut_allowed expected)
{
    cr_expect_eq(allowed.events, expected.events, "events from class %d", allowed.events);
    cr_expect_eq(allowed.counts, expected.counts, "counts from class %d", allowed.counts);
}

Test(allowance, none_is_no_limit)
{
    struct ut_allowance allowance = {0};
    for (int i = 0; i < 100; i++) {
        expect_allowed(ut_allowance_ask(&allowance, UINT32_MAX, lab_ns(0)), all);
        ut_allowance_spend(&allowance, UINT32_MAX);
    }
}

Test(allowance, events_go_before_counts_and_weak_classes_before_strong_ones)
{
    static const struct ut_allowed steps[] = {
        {UT_MATCH_WORKLOAD, UT_MATCH_WORKLOAD},   {UT_MATCH_PEER, UT_MATCH_WORKLOAD},
        {UT_MATCH_CONNECTION, UT_MATCH_WORKLOAD}, {UT_MATCH_EXACT, UT_MATCH_WORKLOAD},
        {UT_MATCH_CLASSES, UT_MATCH_WORKLOAD},    {UT_MATCH_CLASSES, UT_MATCH_PEER},
        {UT_MATCH_CLASSES, UT_MATCH_CONNECTION},  {UT_MATCH_CLASSES, UT_MATCH_EXACT},
        {UT_MATCH_CLASSES, UT_MATCH_CLASSES},
    };
    struct ut_allowance allowance = {0};
    ut_allowance_set(&allowance, PER_HOUR, lab_ns(0));
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        expect_allowed(ut_allowance_ask(&allowance, 100, lab_ns(0)), steps[i]);
        if (i + 1 < sizeof(steps) / sizeof(steps[0]))
            ut_allowance_spend(&allowance, PER_HOUR / 6 / 8);
    }
}

Test(allowance, storm_is_followed_by_evidence_within_minutes)
{
    struct ut_allowance allowance = {0};
    ut_allowance_set(&allowance, PER_HOUR, lab_ns(0));
    ut_allowance_spend(&allowance, PER_HOUR / 6);
    expect_allowed(ut_allowance_ask(&allowance, 100, lab_ns(0)), none);
    cr_expect_eq(ut_allowance_ask(&allowance, 100, lab_ns(1000)).counts, UT_MATCH_EXACT);
    expect_allowed(ut_allowance_ask(&allowance, 100, lab_ns(13 * 60000)), all);
}

Test(allowance, clock_that_is_set_back_gives_nothing)
{
    struct ut_allowance allowance = {0};
    ut_allowance_set(&allowance, PER_HOUR, lab_ns(HOUR_MS));
    ut_allowance_spend(&allowance, PER_HOUR / 6);
    expect_allowed(ut_allowance_ask(&allowance, 1, lab_ns(0)), none);
    cr_expect_eq(ut_allowance_ask(&allowance, 1, lab_ns(1000)).counts, UT_MATCH_EXACT,
                 "from there it goes on");
}

Test(allowance, change_while_it_runs_forgets_no_spending)
{
    struct ut_allowance allowance = {0};
    ut_allowance_set(&allowance, PER_HOUR, lab_ns(0));
    ut_allowance_spend(&allowance, PER_HOUR / 6);
    ut_allowance_set(&allowance, PER_HOUR, lab_ns(0));
    expect_allowed(ut_allowance_ask(&allowance, 1, lab_ns(0)), none);
    ut_allowance_set(&allowance, PER_HOUR / 2, lab_ns(0));
    expect_allowed(ut_allowance_ask(&allowance, 1, lab_ns(0)), none);
    ut_allowance_set(&allowance, 2 * PER_HOUR, lab_ns(0));
    cr_expect_eq(ut_allowance_ask(&allowance, 1, lab_ns(0)).counts, UT_MATCH_WORKLOAD);
    ut_allowance_set(&allowance, 0, lab_ns(0));
    expect_allowed(ut_allowance_ask(&allowance, UINT32_MAX, lab_ns(0)), all);
}

/* ---- through the join ------------------------------------------------------------------------ */

TestSuite(storm, .init = begin, .fini = end);

enum { RETRANSMITS = 8, SPANS = 6 };

struct told {
    uint64_t bytes, retransmit_events, stall_events, tcp_counts, memory_counts;
};

static void stall_in(double ms)
{
    struct ut_record_stall record = {
        .header = lab_header(&lab, UT_RECORD_STALL, sizeof(record), ms, PAYMENT),
        .ns = 5000000,
        .first_ns = 10000000,
        .last_ns = 20000000,
    };
    lab_record(&lab, &record, sizeof(record));
}

static void count_told(struct told *told)
{
    for (uint32_t span = 0; span < SPANS; span++) {
        told->bytes += lab_added(&lab, span).size;
        told->tcp_counts += lab_int(&lab, span, UT_ATTR_TCP_RETRANSMITS) == RETRANSMITS;
        told->memory_counts += lab_int(&lab, span, UT_ATTR_MEMORY_STALL_NS) == 5000000;
        for (unsigned i = 0; i < lab_events(&lab, span); i++) {
            bool stall = lab_event_int(&lab, span, i, UT_ATTR_MEMORY_STALL_NS) != -1;
            ++*(stall ? &told->stall_events : &told->retransmit_events);
        }
    }
}

/* A second in which every span retransmits and stalls. */
static void play_second(const struct lab_pair *pair, double ms, struct told *told)
{
    struct otlp_span spans[SPANS];
    for (int i = 0; i < RETRANSMITS; i++)
        lab_timeout(&lab, &pair->client, ms + 300 + i);
    stall_in(ms + 300);
    for (uint32_t i = 0; i < SPANS; i++)
        spans[i] = lab_span(KIND_CLIENT, i + 1, ms + i, ms + 400 + i, to_ledger);
    lab.now_ms = ms + 900;
    lab_join(&lab, payment, spans, SPANS);
    count_told(told);
    ut_evidence_tick(lab.evidence, lab_ns(ms + 999));
}

static uint64_t withheld(const char *what, const char *match)
{
    char name[64], labels[32];
    snprintf(name, sizeof(name), "undertrace_evidence_withheld_%s_total", what);
    snprintf(labels, sizeof(labels), "match=\"%s\"", match);
    return lab_metric(&lab, name, labels);
}

Test(storm, hour_of_it_stays_within_its_bytes_and_totals_are_whole)
{
    const struct lab_pair pair = one_connection(40000);
    const uint64_t seconds = 3600;
    struct told told = {0};
    ut_evidence_set_allowance(lab.evidence, PER_HOUR, lab_ns(0));
    for (uint64_t i = 0; i < seconds; i++)
        play_second(&pair, 1000.0 * (double)i, &told);
    cr_expect_leq(told.bytes, PER_HOUR);
    cr_expect_geq(told.bytes, PER_HOUR * 8 / 10, "the rest waits for surer classes");
    cr_expect_eq(lab_metric(&lab, "undertrace_evidence_added_bytes_total", ""), told.bytes);
    cr_expect_eq(lab_figures(&lab).added_bytes, told.bytes);

    cr_expect_eq(lab_metric(&lab, "undertrace_kernel_records_total", "type=\"retransmit\""),
                 seconds * RETRANSMITS);
    cr_expect_eq(ut_evidence_tables(lab.evidence)->memory.stalled_ns[UT_SCOPE_OWN],
                 seconds * 5000000);
    cr_expect_eq(told.tcp_counts, seconds * SPANS, "counts of connections are told throughout");
    cr_expect_eq(told.memory_counts, seconds * SPANS);
    cr_expect_gt(withheld("events", "connection"), 0);
    cr_expect_eq(withheld("events", "connection") + told.retransmit_events,
                 seconds * SPANS * RETRANSMITS);
    cr_expect_eq(withheld("events", "workload") + told.stall_events, seconds * SPANS);
    cr_expect_eq(withheld("spans", "workload"), 0);
    cr_expect_lt(told.stall_events * RETRANSMITS, told.retransmit_events,
                 "the weaker class is told of less");
}

/* So little that not all counts fit either. */
Test(storm, counts_of_the_weakest_class_go_before_those_of_connections)
{
    const struct lab_pair pair = one_connection(40000);
    const uint64_t seconds = 1200;
    struct told told = {0};
    ut_evidence_set_allowance(lab.evidence, 4 << 20, lab_ns(0));
    for (uint64_t i = 0; i < seconds; i++)
        play_second(&pair, 1000.0 * (double)i, &told);
    cr_expect_leq(told.bytes, 4 << 20);
    cr_expect_lt(told.memory_counts, told.tcp_counts);
    cr_expect_gt(withheld("spans", "workload"), 0);
    cr_expect_eq(lab_figures(&lab).withheld_counts,
                 withheld("spans", "workload") + withheld("spans", "connection"));
    uint64_t joined = lab_metric(&lab, "undertrace_joined_spans_total", "match=\"connection\"");
    cr_expect_eq(joined, told.tcp_counts);
    cr_expect_eq(joined + withheld("spans", "connection"), seconds * SPANS);
    cr_expect_eq(lab_metric(&lab, "undertrace_memory_joined_spans_total", ""), told.memory_counts);
}

Test(storm, without_a_limit_all_is_told)
{
    const struct lab_pair pair = one_connection(40000);
    struct told told = {0};
    for (int i = 0; i < 100; i++)
        play_second(&pair, 1000.0 * i, &told);
    cr_expect_eq(told.retransmit_events, 100 * SPANS * RETRANSMITS);
    cr_expect_eq(told.stall_events, 100 * SPANS);
    cr_expect_eq(lab_figures(&lab).withheld_events, 0);
}
