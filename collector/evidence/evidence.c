/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/evidence.h"

#include <stdlib.h>

struct ut_evidence {
    struct ut_event_sink sink;
    struct ut_event_source *source;
    struct ut_evidence_figures figures;
};

static void on_record(struct ut_event_sink *sink, const void *data, size_t size,
                      int64_t unix_offset_ns)
{
    (void)data, (void)size, (void)unix_offset_ns;
    UT_CONTAINER_OF(sink, struct ut_evidence, sink)->figures.records++;
}

static void on_lost(struct ut_event_sink *sink, uint64_t records, uint64_t unix_ns)
{
    (void)unix_ns;
    UT_CONTAINER_OF(sink, struct ut_evidence, sink)->figures.lost_records += records;
}

static void on_attached(struct ut_event_sink *sink, uint64_t unix_ns)
{
    UT_CONTAINER_OF(sink, struct ut_evidence, sink)->figures.attached_unix_ns = unix_ns;
}

struct ut_evidence *ut_evidence_new(struct ut_metrics *metrics, struct ut_log *log)
{
    (void)metrics, (void)log;
    struct ut_evidence *evidence = calloc(1, sizeof(*evidence));
    if (evidence != NULL)
        evidence->sink = (struct ut_event_sink){on_record, on_lost, on_attached};
    return evidence;
}

void ut_evidence_free(struct ut_evidence *evidence)
{
    free(evidence);
}

struct ut_event_sink *ut_evidence_sink(struct ut_evidence *evidence)
{
    return &evidence->sink;
}

void ut_evidence_set_source(struct ut_evidence *evidence, struct ut_event_source *source)
{
    evidence->source = source;
}

void ut_evidence_drain(struct ut_evidence *evidence)
{
    if (evidence->source != NULL)
        evidence->source->drain(evidence->source);
}

int ut_evidence_scan_cgroups(struct ut_evidence *evidence, const char *root, uint64_t now_unix_ns)
{
    (void)evidence, (void)root, (void)now_unix_ns;
    return 0;
}

void ut_evidence_tick(struct ut_evidence *evidence, uint64_t now_unix_ns)
{
    (void)evidence, (void)now_unix_ns;
}

void ut_evidence_join(struct ut_evidence *evidence, struct ut_batch *batch,
                      const struct ut_join_options *options, uint64_t now_unix_ns)
{
    (void)evidence, (void)batch, (void)options, (void)now_unix_ns;
}

void ut_evidence_figures(const struct ut_evidence *evidence, struct ut_evidence_figures *ret)
{
    *ret = evidence->figures;
}

const char *ut_sender_knowledge_name(enum ut_sender_knowledge knowledge)
{
    static const char *const names[UT_SENDER_KNOWLEDGE] = {
        [UT_SENDER_KNOWN] = "known",         [UT_SENDER_NOT_TCP] = "not_tcp",
        [UT_SENDER_NO_RECORD] = "no_record", [UT_SENDER_REMOTE] = "remote",
        [UT_SENDER_AMBIGUOUS] = "ambiguous", [UT_SENDER_UNOWNED] = "unowned",
        [UT_SENDER_FORWARDER] = "forwarder",
    };
    return (unsigned)knowledge < UT_SENDER_KNOWLEDGE ? names[knowledge] : "unknown";
}

const char *ut_match_class_name(enum ut_match_class match)
{
    static const char *const names[UT_MATCH_CLASSES] = {"none", "workload", "peer", "connection",
                                                        "exact"};
    return (unsigned)match < UT_MATCH_CLASSES ? names[match] : "none";
}
