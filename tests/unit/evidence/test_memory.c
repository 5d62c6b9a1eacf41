/* SPDX-License-Identifier: Apache-2.0 */
/* Stalls and OOM kills: whose spans they reach, and how much of them. */
#include "join_rows.h"
#include "tables_check.h"

/* A unit, and a cgroup that it made for a part of itself. */
enum { UNIT = 21, UNIT_BELOW = 22 };

static uint64_t unit;

static void begin_memory(void)
{
    begin();
    lab_cgroup(&lab, UNIT, "/system.slice/pay.service");
    lab_cgroup(&lab, UNIT_BELOW, "/system.slice/pay.service/worker");
    unit = lab_sender(&lab, UNIT);
}

TestSuite(memory, .init = begin_memory, .fini = end);

/* `stalled_ms` of task time between two times of one slot, which begins at a multiple of 100 ms. */
static struct ut_record_stall stall_record(uint64_t cgroup, double from_ms, double to_ms,
                                           double stalled_ms, uint32_t level)
{
    double slot_ms = (double)((int)(from_ms / 100) * 100);
    struct ut_record_stall record = {
        .header = lab_header(&lab, UT_RECORD_STALL, sizeof(record), slot_ms, cgroup),
        .ns = (uint64_t)(stalled_ms * 1e6),
        .first_ns = (uint32_t)((from_ms - slot_ms) * 1e6),
        .last_ns = (uint32_t)((to_ms - slot_ms) * 1e6),
        .level = level,
    };
    return record;
}

static void stall(uint64_t cgroup, double from_ms, double to_ms, double stalled_ms, uint32_t level)
{
    struct ut_record_stall record = stall_record(cgroup, from_ms, to_ms, stalled_ms, level);
    lab_record(&lab, &record, sizeof(record));
}

static void oom_kill(uint64_t cgroup, double ms, uint32_t pid)
{
    struct ut_record_oom_kill record = {
        .header = lab_header(&lab, UT_RECORD_OOM_KILL, sizeof(record), ms, cgroup),
        .pid = pid,
        .bytes = 64 << 20,
    };
    record.header.has = UT_HAS_SIZE;
    lab_record(&lab, &record, sizeof(record));
}

static void expect_stall(uint32_t span, double ms, const char *scope)
{
    cr_expect_eq(lab_int(&lab, span, UT_ATTR_MEMORY_STALL_NS), (int64_t)(ms * 1e6), "span %u: %lld",
                 span, (long long)lab_int(&lab, span, UT_ATTR_MEMORY_STALL_NS));
    cr_expect_str_eq(lab_text(&lab, span, UT_ATTR_MEMORY_STALL_SCOPE), scope, "span %u", span);
}

Test(memory, stall_is_on_the_spans_that_were_open_and_on_no_others)
{
    stall(PAYMENT, 40, 60, 12, 0);
    LAB_JOIN(&lab, payment, lab_span(KIND_INTERNAL, 1, 0, 40, NULL),
             lab_span(KIND_SERVER, 2, 10, 90, NULL), lab_span(KIND_CLIENT, 3, 60, 95, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 2));
    expect_stall(1, 12, "own");
    cr_expect_eq(lab_int(&lab, 1, UT_ATTR_SHARED_BY), 1);
    cr_expect_str_eq(lab_text(&lab, 1, UT_ATTR_TCP_MATCH), "");
    cr_expect_eq(lab_int(&lab, 1, UT_ATTR_MEMORY_OOM_KILLS), -1);
    cr_assert_eq(lab_events(&lab, 1), 1);
    cr_expect_str_eq(lab_event_text(&lab, 1, 0, UT_ATTR_MATCH), "workload");
    cr_expect_str_eq(lab_event_text(&lab, 1, 0, UT_ATTR_MEMORY_STALL_SCOPE), "own");
    cr_expect_eq(lab_event_int(&lab, 1, 0, UT_ATTR_MEMORY_STALL_NS), 12000000);
    cr_expect_eq(lab_figures(&lab).joined_spans[UT_MATCH_WORKLOAD], 1);
    cr_expect_eq(lab_metric(&lab, "undertrace_memory_joined_spans_total", ""), 1);
}

Test(memory, part_of_a_window_is_part_of_its_time)
{
    stall(PAYMENT, 40, 60, 12, 0);
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, 0, 45, NULL),
             lab_span(KIND_SERVER, 2, 50, 55, NULL), lab_span(KIND_SERVER, 3, 45, 300, NULL));
    expect_stall(0, 3, "own");
    expect_stall(1, 3, "own");
    expect_stall(2, 9, "own");
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_SHARED_BY), 3);
}

Test(memory, slots_add_up_and_come_in_any_order)
{
    stall(PAYMENT, 210, 290, 20, 0);
    stall(PAYMENT, 110, 190, 10, 0);
    stall(PAYMENT, 310, 390, 40, 0);
    stall(PAYMENT, 120, 195, 5, 0); /* another part of what is known */
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, 0, 400, NULL),
             lab_span(KIND_SERVER, 2, 100, 200, NULL), lab_span(KIND_SERVER, 3, 200, 400, NULL));
    expect_stall(0, 75, "own");
    expect_stall(1, 15, "own");
    expect_stall(2, 60, "own");
    tables_check(ut_evidence_tables(lab.evidence));
}

Test(memory, neighbour_gains_nothing)
{
    stall(PAYMENT, 40, 60, 12, 0);
    oom_kill(PAYMENT, 50, 77);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 0, 100, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
}

Test(memory, limit_above_the_workload_is_an_ancestors)
{
    stall(PAYMENT, 40, 60, 12, 1);
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, 0, 100, NULL));
    expect_stall(0, 12, "ancestor");
}

Test(memory, limit_of_the_workload_on_a_cgroup_below_it_is_its_own)
{
    stall(UNIT_BELOW, 40, 60, 12, 1);
    LAB_JOIN(&lab, unit, lab_span(KIND_SERVER, 1, 0, 100, NULL));
    expect_stall(0, 12, "own");
    stall(UNIT_BELOW, 240, 260, 12, 2);
    LAB_JOIN(&lab, unit, lab_span(KIND_SERVER, 1, 200, 300, NULL));
    expect_stall(0, 12, "ancestor");
}

Test(memory, scope_is_the_one_with_most_time_and_events_tell_each)
{
    stall(PAYMENT, 40, 60, 5, 0);
    stall(PAYMENT, 10, 60, 9, UT_STALL_GLOBAL);
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, 0, 100, NULL));
    expect_stall(0, 14, "global");
    cr_assert_eq(lab_events(&lab, 0), 2);
    cr_expect_str_eq(lab_event_text(&lab, 0, 0, UT_ATTR_MEMORY_STALL_SCOPE), "own");
    cr_expect_eq(lab_event_int(&lab, 0, 1, UT_ATTR_MEMORY_STALL_NS), 9000000);
}

Test(memory, oom_kill_is_on_the_spans_that_were_open)
{
    oom_kill(UNIT_BELOW, 50, 77);
    LAB_JOIN(&lab, unit, lab_span(KIND_INTERNAL, 1, 0, 40, NULL),
             lab_span(KIND_INTERNAL, 2, 10, 90, NULL), lab_span(KIND_CLIENT, 3, 60, 95, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect(lab_gained_nothing(&lab, 2));
    cr_expect_eq(lab_int(&lab, 1, UT_ATTR_MEMORY_OOM_KILLS), 1);
    cr_expect_eq(lab_int(&lab, 1, UT_ATTR_MEMORY_STALL_NS), -1);
    cr_assert_eq(lab_events(&lab, 1), 1);
    cr_expect_eq(lab_event_int(&lab, 1, 0, UT_ATTR_MEMORY_VICTIM_PID), 77);
    cr_expect_eq(lab_event_int(&lab, 1, 0, UT_ATTR_MEMORY_VICTIM_BYTES), 64 << 20);
}

Test(memory, many_oom_kills_are_closed_by_a_count)
{
    for (uint32_t i = 0; i < 40; i++)
        oom_kill(PAYMENT, 10 + i, 100 + i);
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, 0, 100, NULL));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_MEMORY_OOM_KILLS), 40);
    cr_assert_eq(lab_events(&lab, 0), 4);
    cr_expect_eq(lab_event_int(&lab, 0, 3, UT_ATTR_OMITTED), 37);
}

Test(memory, retransmits_stand_beside_it)
{
    struct lab_pair pair = one_connection(40000);
    for (int i = 0; i < 20; i++)
        lab_timeout(&lab, &pair.client, 300 + i);
    stall(PAYMENT, 340, 360, 12, 0);
    oom_kill(PAYMENT, 350, 77);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 50, 400, to_ledger));
    expect(0, "connection", "local", 20);
    expect_stall(0, 12, "own");
    cr_assert_eq(lab_events(&lab, 0), 16);
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_MEMORY_VICTIM_PID), 77);
    cr_expect_eq(lab_event_int(&lab, 0, 15, UT_ATTR_OMITTED), 7);
    cr_expect_eq(lab_figures(&lab).joined_spans[UT_MATCH_CONNECTION], 1);
}

Test(memory, of_nobody_is_counted)
{
    lab_cgroup(&lab, 1, "/");
    oom_kill(1, 10, 5);
    stall(1, 10, 20, 3, 0);
    size_t size;
    char *text = ut_metrics_text(lab.metrics, &size);
    cr_expect_not_null(strstr(text, "undertrace_oom_kills_total{victim=\"unowned\"} 1\n"));
    cr_expect_not_null(strstr(text, "undertrace_memory_stall_seconds_total{scope=\"unowned\"} "
                                    "0.003\n"));
    free(text);
}

Test(memory, malformed_records_are_bad)
{
    struct ut_record_stall record;
    uint64_t bad = 0;
#define BAD(statement)                                                                             \
    do {                                                                                           \
        record = stall_record(PAYMENT, 40, 60, 12, 0);                                             \
        size_t size = sizeof(record);                                                              \
        statement;                                                                                 \
        lab_record(&lab, &record, size);                                                           \
        cr_expect_eq(lab_figures(&lab).bad_records, ++bad, "%s", #statement);                      \
    } while (0)
    BAD(size--);
    BAD(record.first_ns = record.last_ns + 1);
    BAD(record.last_ns = UT_STALL_SLOT_NS + 1);
    BAD(record.ns = UINT64_MAX);
    BAD(record.header.boot_ns = UINT64_MAX);
#undef BAD
    struct ut_record_oom_kill kill = {
        .header = lab_header(&lab, UT_RECORD_OOM_KILL, sizeof(kill), 50, PAYMENT),
        .bytes = UINT64_MAX,
    };
    lab_record(&lab, &kill, sizeof(kill));
    cr_expect_eq(lab_figures(&lab).bad_records, ++bad);
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, 0, 100, NULL));
    cr_expect(lab_gained_nothing(&lab, 0));
}

Test(memory, flood_of_one_workload_takes_its_own_oldest)
{
    stall(LEDGER, 40, 60, 12, 0);
    for (uint32_t i = 0; i < UT_STALLS_MAX + 10; i++)
        stall(PAYMENT, 100.0 * i, 100.0 * i + 50, 1, 0);
    const struct ut_tables *tables = ut_evidence_tables(lab.evidence);
    cr_expect_gt(tables->memory.evicted, 0);
    cr_expect_eq(ut_metrics_sum(lab.metrics, "undertrace_memory_stalls_evicted_total"),
                 (double)tables->memory.evicted);
    cr_expect_leq(tables->memory.count, UT_STALLS_MAX);
    tables_check(tables);
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 0, 100, NULL));
    expect_stall(0, 12, "own");
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), -1);
    lab.now_ms = 100.0 * UT_STALLS_MAX;
    LAB_JOIN(&lab, payment, lab_span(KIND_SERVER, 1, 0, 100.0 * UT_STALLS_MAX - 1, NULL));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), 1);
}

Test(memory, goes_after_its_time)
{
    stall(PAYMENT, 40, 60, 12, 0);
    ut_evidence_tick(lab.evidence, lab_ns(60 + 900000));
    cr_expect_eq(ut_evidence_tables(lab.evidence)->memory.count, 1);
    ut_evidence_tick(lab.evidence, lab_ns(61 + 900000));
    cr_expect_eq(ut_evidence_tables(lab.evidence)->memory.count, 0);
    tables_check(ut_evidence_tables(lab.evidence));
}

Test(memory, goes_with_its_workload)
{
    struct ut_tables *tables = ut_evidence_tables(lab.evidence);
    stall(PAYMENT, 40, 60, 12, 0);
    oom_kill(PAYMENT, 50, 77);
    bool known;
    uint32_t id = ut_workloads_of_cgroup(&tables->workloads, PAYMENT, &known);
    ut_memory_store_forget_workload(&tables->memory, UT_WORKLOAD_SLOT(id));
    cr_expect_eq(tables->memory.count, 0);
    cr_expect_eq(tables->memory.kills[0].workload, 0);
    cr_expect_eq(ut_memory_store_horizon(&tables->memory, id), 0);
    tables_check(tables);
}
