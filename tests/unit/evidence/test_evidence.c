/* SPDX-License-Identifier: Apache-2.0 */
/* The door of the layer: untrusted records, identity, forgery, room. */
#include <criterion/criterion.h>

#include "evidence/tables.h"
#include "lab.h"

enum { ONE = 11, TWO = 12, POD = 13 };

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "01234567-89ab-cdef-0123-456789abcdef"

static struct lab lab;

static void begin(void)
{
    lab_start(&lab);
    lab_cgroup(&lab, ONE, "/demo/one");
    lab_cgroup(&lab, TWO, "/demo/two");
    lab_cgroup(&lab, POD, "/kubepods/pod" UID "/" ID);
}

static void end(void)
{
    lab_stop(&lab);
}

TestSuite(evidence, .init = begin, .fini = end);

static const struct otlp_attribute to_two[] = {
    {"network.peer.address", "10.0.0.2", 0}, {"network.peer.port", NULL, 80}, {0}};

static struct lab_pair connect_one(void)
{
    struct lab_pair pair = lab_pair_of(&lab, ONE, "10.0.0.1", 40000, TWO, "10.0.0.2", 80);
    lab_open(&lab, &pair, -1000);
    return pair;
}

static struct ut_record_retransmit good_record(void)
{
    struct ut_record_retransmit record = {
        .header = lab_header(&lab, UT_RECORD_RETRANSMIT, sizeof(record), 10, ONE),
        .socket = {.cookie = 5, .local_port = 1, .remote_port = 2, .role = UT_ROLE_CONNECT},
        .bytes = 100,
        .segments = 1,
        .cause = UT_CAUSE_TIMEOUT,
    };
    record.header.has = UT_HAS_COOKIE;
    return record;
}

Test(evidence, malformed_records_are_counted_and_change_nothing)
{
    struct ut_record_retransmit record = good_record();
    uint64_t bad = 0;
#define BAD(statement)                                                                             \
    do {                                                                                           \
        record = good_record();                                                                    \
        size_t size = sizeof(record);                                                              \
        statement;                                                                                 \
        lab_record(&lab, &record, size);                                                           \
        cr_expect_eq(lab_figures(&lab).bad_records, ++bad, "%s", #statement);                      \
    } while (0)
    BAD(size = 0);
    BAD(size = sizeof(record.header) - 1);
    BAD(size = sizeof(record) - 1);
    BAD(record.header.size = (uint16_t)(sizeof(record) + 1));
    BAD(record.header.size = sizeof(record.header));
    BAD(record.header.version = UT_RECORD_VERSION + 1);
    BAD(record.header.type = 0);
    BAD(record.header.type = 9);
    BAD(record.header.boot_ns = UINT64_MAX);
    BAD(record.socket.role = 3);
    BAD(record.cause = 6);
    BAD(record.bytes = UINT32_MAX);
    BAD(record.segments = 65536);
    cr_expect_eq(lab_figures(&lab).events, 0);
    record = good_record();
    lab_record(&lab, &record, sizeof(record));
    cr_expect_eq(lab_figures(&lab).events, 1);
}

Test(evidence, record_from_the_future_is_bad_once_the_time_is_known)
{
    struct ut_record_retransmit record = good_record();
    ut_evidence_tick(lab.evidence, lab_ns(1000));
    record.header.boot_ns += 3600 * UINT64_C(1000000000);
    lab_record(&lab, &record, sizeof(record));
    cr_expect_eq(lab_figures(&lab).bad_records, 1);
}

Test(evidence, cgroup_record_with_a_path_beyond_its_bytes_is_bad)
{
    struct ut_record_cgroup record = {
        .header =
            lab_header(&lab, UT_RECORD_CGROUP, offsetof(struct ut_record_cgroup, path) + 4, 1, 77),
        .change = UT_CGROUP_CREATED,
        .path_size = 5,
        .path = "/abcd",
    };
    lab_record(&lab, &record, record.header.size);
    cr_expect_eq(lab_figures(&lab).bad_records, 1);
    record.path_size = 4;
    lab_record(&lab, &record, record.header.size);
    cr_expect_eq(lab_figures(&lab).bad_records, 1);
}

static const struct ut_edit *resource_edit(void)
{
    return lab.batch->first->resources[0].edit;
}

static const char *identity(const char *key)
{
    return lab_text_of(resource_edit()->added, 1, key);
}

Test(evidence, known_sender_gets_its_verified_identity_for_what_it_claims)
{
    uint64_t sender = lab_sender(&lab, POD);
    const struct otlp_attribute claims[] = {{"service.name", "x", 0},
                                            {"container.id", "0123456789ab", 0},
                                            {"k8s.pod.uid", UID, 0},
                                            {"undertrace.cgroup.path", "/forged", 0},
                                            {0}};
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 10, NULL);
    lab_join_of(&lab, sender, claims, &span, 1);
    cr_assert_not_null(resource_edit());
    cr_expect_eq(resource_edit()->removed_count, 3);
    cr_expect_str_eq(identity(UT_ATTR_CONTAINER_ID), ID);
    cr_expect_str_eq(identity(UT_ATTR_POD_UID), UID);
    cr_expect_str_eq(identity(UT_ATTR_CGROUP_PATH), "/kubepods/pod" UID "/" ID);
    cr_expect_eq(lab_figures(&lab).forged_removed, 1);
    cr_expect_null(lab.batch->first->span_edits, "spans without evidence keep their bytes");
}

Test(evidence, sender_without_container_gets_its_cgroup_only)
{
    LAB_JOIN(&lab, lab_sender(&lab, ONE), lab_span(KIND_CLIENT, 1, 0, 10, NULL));
    cr_assert_not_null(resource_edit());
    cr_expect_str_eq(identity(UT_ATTR_CGROUP_PATH), "/demo/one");
    cr_expect_str_eq(identity(UT_ATTR_CONTAINER_ID), "");
}

Test(evidence, identity_can_be_switched_off)
{
    lab.options.resource_attributes = false;
    LAB_JOIN(&lab, lab_sender(&lab, ONE), lab_span(KIND_CLIENT, 1, 0, 10, NULL));
    cr_expect_null(resource_edit());
}

Test(evidence, claim_that_contradicts_the_kernel_is_counted_and_gains_nothing)
{
    uint64_t sender = lab_sender(&lab, POD);
    struct lab_pair pair = lab_pair_of(&lab, POD, "10.0.0.3", 40000, TWO, "10.0.0.2", 80);
    lab_open(&lab, &pair, -1000);
    lab_timeout(&lab, &pair.client, 205);
    const struct otlp_attribute claims[] = {{"container.id", "ffff", 0}, {0}};
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 212, to_two);
    lab_join_of(&lab, sender, claims, &span, 1);
    cr_expect(lab_gained_nothing(&lab, 0));
    cr_expect_null(resource_edit());
    cr_expect_eq(lab_figures(&lab).claims_contradicted, 1);
}

Test(evidence, without_evidence_only_forged_keys_go)
{
    const struct otlp_attribute forged[] = {{"undertrace.partial", "x", 0}, {0}};
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 10, forged);
    struct otlp_bytes request = {0};
    otlp_resource_spans(&request, forged, &span, 1);
    struct ut_batch *batch = otlp_batch(&lab.pool, &request);
    ut_evidence_join(NULL, batch, &lab.options, lab_ns(1000));
    cr_assert_not_null(ut_body_edit(batch->first, 0));
    cr_expect_eq(ut_body_edit(batch->first, 0)->removed_count, 1);
    cr_assert_not_null(batch->first->resources[0].edit);
    cr_expect_eq(batch->first->resources[0].edit->removed_count, 1);
    cr_expect_eq(batch->first->resources[0].edit->added.size, 0);
    ut_batch_unref(batch);
    otlp_free(&request);
}

Test(evidence, full_budget_drops_evidence_and_never_spans)
{
    struct lab_pair pair = connect_one();
    uint64_t sender = lab_sender(&lab, ONE);
    struct ut_budget budget;
    lab_timeout(&lab, &pair.client, 205);
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 212, to_two);
    struct otlp_bytes request = {0};
    otlp_resource_spans(&request, NULL, &span, 1);
    for (size_t limit = 0; limit <= (size_t)1 << 20; limit += (size_t)1 << 20) {
        ut_budget_init(&budget, limit);
        struct ut_batch *batch = otlp_batch(&lab.pool, &request);
        batch->first->sender.socket_cookie = sender;
        batch->first->budget = &budget;
        /* So that any evidence needs more memory than is there. */
        struct ut_arena *arena = &batch->first->arena;
        cr_assert_not_null(ut_arena_alloc(arena, (size_t)(arena->end - arena->next) & ~7UL));
        size_t before = arena->bytes;
        ut_evidence_join(lab.evidence, batch, &lab.options, lab_ns(1000));
        const struct ut_edit *edit = ut_body_edit(batch->first, 0);
        if (limit == 0) {
            cr_expect_null(edit);
            cr_expect_eq(lab_figures(&lab).dropped_no_room, 1);
            cr_expect_eq(ut_metrics_sum(lab.metrics, "undertrace_evidence_dropped_spans_total"), 1);
        } else {
            cr_expect_not_null(edit);
            cr_expect_eq(budget.used, arena->bytes - before, "growth is charged to the byte");
        }
        ut_batch_unref(batch);
        cr_expect_eq(budget.used, 0);
    }
    otlp_free(&request);
}

Test(evidence, spans_with_the_same_evidence_share_its_bytes)
{
    struct lab_pair pair = connect_one();
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, lab_sender(&lab, ONE), lab_span(KIND_CLIENT, 1, 0, 212, to_two),
             lab_span(KIND_CLIENT, 2, 0, 211, to_two));
    cr_expect_eq(ut_body_edit(lab.batch->first, 0), ut_body_edit(lab.batch->first, 1));
}

Test(evidence, body_with_more_matches_than_fit_at_once_goes_through_in_parts)
{
    struct lab_pair pair = connect_one();
    uint64_t sender = lab_sender(&lab, ONE);
    enum { SPANS = 5000 };
    struct otlp_span *spans = calloc(SPANS, sizeof(spans[0]));
    for (int i = 0; i < 100; i++)
        lab_timeout(&lab, &pair.client, 205 + i * 0.01);
    for (unsigned i = 0; i < SPANS; i++)
        spans[i] = lab_span(KIND_CLIENT, i + 1, 0, 212, to_two);
    lab_join(&lab, sender, spans, SPANS);
    for (uint32_t i = 0; i < SPANS; i++)
        cr_assert_eq(lab_int(&lab, i, UT_ATTR_TCP_RETRANSMITS), 100);
    cr_expect_eq(lab_figures(&lab).joined_spans[UT_MATCH_CONNECTION], SPANS);
    free(spans);
}

Test(evidence, more_events_than_are_looked_at_make_it_partial)
{
    struct lab_pair pair = connect_one();
    uint64_t sender = lab_sender(&lab, ONE);
    for (int i = 0; i < 5000; i++)
        lab_timeout(&lab, &pair.client, 205 + i * 0.001);
    LAB_JOIN(&lab, sender, lab_span(KIND_CLIENT, 1, 0, 215, to_two));
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMITS), 4096);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_PARTIAL), 1);
    cr_expect_eq(ut_metrics_sum(lab.metrics, "undertrace_join_events_exceeded_total"), 1);
}

Test(evidence, connections_and_events_that_make_room_are_in_the_metrics)
{
    static const char connections[] = "undertrace_connections_evicted_total",
                      events[] = "undertrace_kernel_events_evicted_total";
    struct lab_pair pair = connect_one();
    for (uint32_t i = 0; i < UT_EVENTS_MAX + 3; i++)
        lab_timeout(&lab, &pair.client, 205 + i * 0.001);
    cr_expect_eq(ut_metrics_sum(lab.metrics, events), 3);
    cr_expect_eq(ut_metrics_sum(lab.metrics, connections), 0);
    for (uint32_t i = 0; i < UT_CONNECTIONS_MAX; i++) {
        struct lab_end end = lab_make_end(&lab, TWO, UT_ROLE_CONNECT, "10.0.0.2",
                                          (uint16_t)(20000 + i), "10.0.0.3", 80);
        lab_change(&lab, &end, 300, UT_CONNECTION_OPENED);
    }
    cr_expect_eq(ut_metrics_sum(lab.metrics, connections), 2, "as many as had been there before");
}

Test(evidence, event_that_comes_between_two_bodies_is_seen_by_the_second)
{
    struct lab_pair pair = connect_one();
    uint64_t sender = lab_sender(&lab, ONE);
    LAB_JOIN(&lab, sender, lab_span(KIND_CLIENT, 1, 0, 212, to_two));
    cr_expect(lab_gained_nothing(&lab, 0));
    lab_timeout(&lab, &pair.client, 205);
    LAB_JOIN(&lab, sender, lab_span(KIND_CLIENT, 1, 0, 212, to_two));
    cr_expect_not(lab_gained_nothing(&lab, 0));
}

Test(evidence, both_ends_in_one_workload_count_once_for_a_root)
{
    struct lab_pair pair = lab_pair_of(&lab, ONE, "10.0.0.1", 40000, ONE, "10.0.0.1", 80);
    lab_open(&lab, &pair, -1000);
    lab_timeout(&lab, &pair.client, 205);
    struct otlp_span root = lab_span(KIND_INTERNAL, 1, 0, 212, NULL);
    root.parent_id = 0;
    LAB_JOIN(&lab, lab_sender(&lab, ONE), root);
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMITS), 1);
}
