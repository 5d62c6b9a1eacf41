/* SPDX-License-Identifier: Apache-2.0 */
/* What trusted forwarders pass on, and what a Resource may claim where that is trusted. */
#include "evidence/strip.h"
#include "evidence/tables.h"
#include "join_rows.h"

#define POD_UID "01234567-89ab-cdef-0123-456789abcdef"
#define ID_1 "1111111111112222222222223333333333334444444444445555555555556666"
#define ID_2 "1111111111119999222222223333333333334444444444445555555555556666"
#define POD_PATH "/kubepods/burstable/pod" POD_UID "/"

enum { AGENT = 21, CONTAINER = 22, SISTER = 23 };

static char agent_path[] = "/system.slice/agent*.service";
static char *agents[] = {agent_path};
static struct ut_config_identity identity;
static const struct otlp_attribute plain[] = {{"service.name", "demo", 0}, {0}};
static const struct otlp_attribute identified[] = {
    {"service.name", "demo", 0},     {"container.id", ID_1, 0},
    {"k8s.pod.uid", POD_UID, 0},     {"undertrace.cgroup.path", POD_PATH ID_1, 0},
    {"undertrace.other", "kept", 0}, {0}};
static const struct otlp_attribute claiming[] = {
    {"service.name", "demo", 0}, {"container.id", ID_1, 0}, {0}};
static const struct otlp_attribute joined[] = {{"network.peer.address", SERVER_ADDRESS, 0},
                                               {"network.peer.port", NULL, 8003},
                                               {"undertrace.tcp.retransmits", NULL, 1},
                                               {0}};

static void begin_forwarders(void)
{
    begin();
    lab_cgroup(&lab, AGENT, "/system.slice/agent-1.service");
    lab_cgroup(&lab, CONTAINER, POD_PATH ID_1);
    lab_cgroup(&lab, SISTER, POD_PATH ID_2);
    identity = (struct ut_config_identity){.forwarders.workloads = {agents, 1}};
    lab.options.identity = &identity;
}

TestSuite(forwarders, .init = begin_forwarders, .fini = end);

/* The container calls the ledger on its own connection, and sends again. */
static void container_retransmits(void)
{
    struct lab_pair pair =
        lab_pair_of(&lab, CONTAINER, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &pair, -1000);
    lab_timeout(&lab, &pair.client, 205);
}

static void join_from(struct ut_sender sender, const struct otlp_attribute *resource,
                      const struct otlp_attribute *attributes)
{
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 212, attributes);
    lab_join_from(&lab, sender, resource, &span, 1);
}

static void join_of(uint64_t cgroup, const struct otlp_attribute *resource,
                    const struct otlp_attribute *attributes)
{
    const struct ut_sender sender = {.socket_cookie = lab_sender(&lab, cgroup)};
    join_from(sender, resource, attributes);
}

static uint64_t counted(enum ut_sender_knowledge knowledge)
{
    return lab_figures(&lab).sender_spans[knowledge];
}

static bool is_untouched(void)
{
    return lab.batch->first->resources[0].edit == NULL && lab.batch->first->span_edits == NULL;
}

Test(forwarders, what_a_trusted_one_passes_on_keeps_every_byte_and_is_not_joined_again)
{
    container_retransmits();
    join_of(AGENT, identified, joined);
    cr_expect(is_untouched());
    cr_expect_eq(counted(UT_SENDER_FORWARDED), 1);
    cr_expect_eq(lab_figures(&lab).forged_removed, 0);
}

Test(forwarders, trusted_one_is_no_sender_though_it_brings_one_instance_only)
{
    struct lab_pair pair =
        lab_pair_of(&lab, AGENT, CLIENT_ADDRESS, 40000, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &pair, -1000);
    lab_timeout(&lab, &pair.client, 205);
    join_of(AGENT, plain, to_ledger);
    cr_expect(is_untouched());
    cr_expect_eq(counted(UT_SENDER_FORWARDER), 1);
}

Test(forwarders, anyone_else_loses_the_keys_and_is_counted)
{
    join_of(PAYMENT, identified, joined);
    cr_expect_eq(ut_body_edit(lab.batch->first, 0)->removed_count, 1);
    cr_expect_eq(lab.batch->first->resources[0].edit->removed_count, 2);
    cr_expect_eq(lab_figures(&lab).forged_removed, 2);
    cr_expect_eq(counted(UT_SENDER_FORWARDED), 0);
}

Test(forwarders, trust_of_a_user_or_certificate_needs_no_workload)
{
    const struct ut_sender sender = {
        .socket_cookie = 7001, .cgroup_id = PAYMENT, .is_unix = true, .is_forwarder = true};
    join_from(sender, identified, joined);
    cr_expect(is_untouched());
    cr_expect_eq(counted(UT_SENDER_FORWARDED), 1);
    join_from((struct ut_sender){.is_forwarder = true}, identified, joined);
    cr_expect(is_untouched(), "a socket that is not known");
    cr_expect_eq(counted(UT_SENDER_FORWARDED), 2);
}

Test(forwarders, without_evidence_it_passes_on_too_and_others_are_cleaned_and_counted)
{
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 10, joined);
    struct ut_strip_counters *counters = calloc(1, sizeof(*counters));
    ut_strip_counters_init(counters, lab.metrics);
    lab.options.strip = counters;
    for (int trusted = 1; trusted >= 0; trusted--) {
        struct otlp_bytes request = {0};
        otlp_resource_spans(&request, identified, &span, 1);
        struct ut_batch *batch = otlp_batch(&lab.pool, &request);
        batch->first->sender.is_forwarder = trusted;
        ut_evidence_join(NULL, batch, &lab.options, lab_ns(1000));
        cr_expect_eq(batch->first->span_edits == NULL, trusted);
        cr_expect_eq(batch->first->resources[0].edit == NULL, trusted);
        cr_expect_eq(*counters->removed, trusted ? 0 : 2);
        ut_batch_unref(batch);
        otlp_free(&request);
    }
    free(counters);
}

Test(forwarders, pattern_stands_for_a_part_of_one_name)
{
    static const struct {
        const char *path;
        bool trusted;
    } rows[] = {
        {"/system.slice/agent-1.service", true},
        {"/system.slice/agent.service", true},
        {"/system.slice/agent-1.service/agent.service", false},
        {"/system.slice/agent-1/x.service", false},
        {"/other/system.slice/agent.service", false},
        {"/system.slice/other.service", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(ut_config_identity_has_workload(&identity, rows[i].path), rows[i].trusted,
                     "%s", rows[i].path);
}

/* ---- claims -------------------------------------------------------------------------------------
 */

Test(forwarders, claims_of_a_forwarder_join_only_where_they_are_trusted)
{
    container_retransmits();
    join_of(AGENT, claiming, to_ledger);
    cr_expect(is_untouched());
    identity.trust_claims = UT_TRUST_FORWARDERS_CLAIMS;
    join_of(AGENT, claiming, to_ledger);
    expect(0, "connection", "local", 1);
    cr_expect_str_eq(
        lab_text_of(lab.batch->first->resources[0].edit->added, 1, UT_ATTR_CGROUP_PATH),
        POD_PATH ID_1);
    cr_expect_eq(counted(UT_SENDER_CLAIMED), 1);
    join_of(AGENT, claiming, joined);
    cr_expect_null(lab.batch->first->span_edits, "a span that has evidence gets no more");
}

Test(forwarders, resources_of_one_body_have_each_their_own_sender)
{
    container_retransmits();
    identity.trust_claims = UT_TRUST_FORWARDERS_CLAIMS;
    const struct otlp_attribute sister[] = {{"container.id", ID_2, 0}, {0}};
    const struct otlp_attribute *const resources[] = {claiming, sister, plain, claiming};
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 212, to_ledger);
    struct otlp_bytes request = {0};
    for (int i = 0; i < 4; i++)
        otlp_resource_spans(&request, resources[i], &span, 1);
    struct ut_batch *batch = otlp_batch(&lab.pool, &request);
    batch->first->sender.socket_cookie = lab_sender(&lab, AGENT);
    ut_evidence_join(lab.evidence, batch, &lab.options, lab_ns(1000));
    for (uint32_t i = 0; i < 4; i++) {
        const struct ut_edit *edit = batch->first->resources[i].edit;
        cr_expect_eq(edit != NULL, i != 2);
        cr_expect_str_eq(edit != NULL ? lab_text_of(edit->added, 1, UT_ATTR_CONTAINER_ID) : "",
                         i == 2   ? ""
                         : i == 1 ? ID_2
                                  : ID_1);
    }
    cr_expect_not_null(ut_body_edit(batch->first, 0));
    cr_expect_not_null(ut_body_edit(batch->first, 3));
    cr_expect_null(ut_body_edit(batch->first, 2));
    cr_expect_eq(counted(UT_SENDER_CLAIMED), 3);
    cr_expect_eq(counted(UT_SENDER_FORWARDER), 1);
    ut_batch_unref(batch);
    otlp_free(&request);
}

Test(forwarders, body_with_very_many_senders_gains_up_to_a_limit)
{
    enum { MANY = 600 };
    container_retransmits();
    identity.trust_claims = UT_TRUST_FORWARDERS_CLAIMS;
    const struct otlp_attribute sister[] = {{"container.id", ID_2, 0}, {0}};
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 212, to_ledger);
    struct otlp_bytes request = {0};
    for (int i = 0; i < MANY; i++)
        otlp_resource_spans(&request, i % 2 == 0 ? claiming : sister, &span, 1);
    struct ut_batch *batch = otlp_batch(&lab.pool, &request);
    batch->first->sender.socket_cookie = lab_sender(&lab, AGENT);
    ut_evidence_join(lab.evidence, batch, &lab.options, lab_ns(1000));
    cr_expect_not_null(batch->first->resources[255].edit);
    cr_expect_null(batch->first->resources[MANY - 1].edit);
    cr_expect_eq(counted(UT_SENDER_CLAIMED) + counted(UT_SENDER_FORWARDER), MANY);
    ut_batch_unref(batch);
    otlp_free(&request);
}

static uint64_t remote_cookie(void)
{
    struct lab_end ours =
        lab_make_end(&lab, 99, UT_ROLE_ACCEPT, "10.0.0.1", 4317, "192.0.2.7", 5555);
    lab_change(&lab, &ours, -100, UT_CONNECTION_OPENED);
    return ours.socket.cookie;
}

Test(forwarders, claims_of_remote_senders_join_only_where_they_are_trusted)
{
    const struct ut_sender remote = {.socket_cookie = remote_cookie()};
    container_retransmits();
    for (int trust = UT_TRUST_NO_CLAIMS; trust <= UT_TRUST_REMOTE_CLAIMS; trust++) {
        identity.trust_claims = trust;
        join_from(remote, claiming, to_ledger);
        cr_expect_eq(is_untouched(), trust != UT_TRUST_REMOTE_CLAIMS);
    }
    expect(0, "connection", "local", 1);
    cr_expect_eq(counted(UT_SENDER_REMOTE), 2);
    cr_expect_eq(counted(UT_SENDER_CLAIMED), 1);
}

Test(forwarders, claims_never_overrule_the_kernel)
{
    identity.trust_claims = UT_TRUST_REMOTE_CLAIMS;
    container_retransmits();
    join_of(SISTER, claiming, to_ledger);
    cr_expect(is_untouched(), "a container of this host that says it is another");
    cr_expect_eq(lab_figures(&lab).claims_contradicted, 1);
    const struct otlp_attribute other_pod[] = {
        {"container.id", ID_1, 0}, {"k8s.pod.uid", "ffffffff", 0}, {0}};
    join_from((struct ut_sender){.socket_cookie = remote_cookie()}, other_pod, to_ledger);
    cr_expect(is_untouched(), "a container in another pod than it is");
    cr_expect_eq(lab_figures(&lab).claims_contradicted, 2);
}

static bool finds(const char *id, uint64_t cgroup)
{
    struct ut_workloads *workloads = &ut_evidence_tables(lab.evidence)->workloads;
    bool known;
    uint32_t wanted = ut_workloads_of_cgroup(workloads, cgroup, &known);
    const struct ut_workload *found = ut_workloads_by_container(workloads, ut_slice_str(id));
    return found != NULL ? found->id == wanted : cgroup == 0;
}

Test(forwarders, container_is_found_by_its_id_or_a_beginning_that_is_its_own)
{
    cr_expect(finds(ID_1, CONTAINER));
    cr_expect(finds(ID_2, SISTER));
    cr_expect(finds("1111111111112222", CONTAINER));
    cr_expect(finds("111111111111", 0), "two begin so");
    cr_expect(finds("11111111111", 0), "too short");
    cr_expect(finds("", 0));
    cr_expect(finds("2222222222222", 0));
    lab_cgroup_change(&lab, SISTER, POD_PATH ID_2, 0, UT_CGROUP_REMOVED);
    cr_expect(finds(ID_2, SISTER), "its spans may come late");
    for (int i = 1; i < 2000; i++)
        ut_evidence_tick(lab.evidence, lab_ns(1000.0 * i));
    cr_expect_null(ut_workloads_by_container(&ut_evidence_tables(lab.evidence)->workloads,
                                             ut_slice_str(ID_2)));
    cr_expect(finds("111111111111", CONTAINER), "one is left");
}
