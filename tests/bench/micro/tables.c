/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the evidence tables with 1,000 workloads and 100,000 connections in them; then also
 * with as many retransmits, or as many as they keep, and with what the workloads held for as long
 * as that is kept: `name value` a line, MiB of anonymous memory.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "evidence/evidence.h"
#include "evidence/tables.h"
#include "records.h"

enum { WORKLOADS = 1000, CONNECTIONS = 100000 };

static double resident_mib(void)
{
    unsigned long pages = 0, resident = 0, shared = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    UT_CHECK(file != NULL && fscanf(file, "%lu %lu %lu", &pages, &resident, &shared) == 3);
    (void)fclose(file);
    return (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void make_workload(struct ut_event_sink *sink, uint64_t id)
{
    struct ut_record_cgroup record = records_cgroup();
    record.header.cgroup_id = id;
    record.path_size = (uint32_t)snprintf(
        record.path, sizeof(record.path),
        "/kubepods/burstable/pod%08" PRIx64 "-89ab-cdef-0123-456789abcdef/%064" PRIx64, id, id);
    sink->record(sink, &record, sizeof(record), RECORDS_OFFSET);
}

static struct ut_record_socket socket_of(uint32_t i)
{
    return (struct ut_record_socket){
        .cookie = i + 1,
        .netns_cookie = 1 + i % WORKLOADS,
        .local_address = {[10] = 0xff, 0xff, 10, (ut_u8)(i >> 16), (ut_u8)(i >> 8), (ut_u8)i},
        .remote_address = {[10] = 0xff, 0xff, 10, 96, 0, 1},
        .local_port = (ut_u16)(1024 + i % 60000),
        .remote_port = 80,
        .role = UT_ROLE_CONNECT,
        .local_isn = i * 7919,
        .remote_isn = i * 104729,
    };
}

static void make_connection(struct ut_event_sink *sink, uint32_t i)
{
    struct ut_record_connection record = records_opened(socket_of(i));
    record.header.cgroup_id = 1 + i % WORKLOADS;
    sink->record(sink, &record, sizeof(record), RECORDS_OFFSET);
}

static void make_retransmit(struct ut_event_sink *sink, uint32_t i)
{
    struct ut_record_retransmit record = records_retransmit(socket_of(i), RECORDS_START);
    record.header.cgroup_id = 1 + i % WORKLOADS;
    sink->record(sink, &record, sizeof(record), RECORDS_OFFSET);
}

static const uint64_t *read_usage(struct ut_event_source *source, uint32_t count)
{
    static const uint64_t bytes[UT_HELD_MAX];
    (void)source;
    (void)count;
    return bytes;
}

/* A source reads all of them, though their cgroups are nowhere. */
static uint32_t hold(struct ut_held *held)
{
    struct ut_event_source source = {.read_usage = read_usage};
    uint64_t now_ns = RECORDS_OFFSET + RECORDS_START;
    ut_held_set_source(held, &source);
    ut_held_sample(held, now_ns);
    for (int tick = 0; tick < 10000; tick++, now_ns += UT_HELD_INTERVAL_NS) {
        for (uint32_t id = 1; id <= WORKLOADS; id++) {
            const struct ut_workload workload = {.id = id, .path = "/", .path_size = 1};
            ut_held_want(held, &workload, now_ns);
            held->watches[id - 1].counted = true;
        }
        ut_held_sample(held, now_ns);
    }
    return held->watches[0].held.count;
}

int main(void)
{
    struct ut_metrics *metrics = ut_metrics_new();
    double before = resident_mib();
    struct ut_evidence *evidence = ut_evidence_new(metrics, NULL);
    UT_CHECK(evidence != NULL);
    struct ut_event_sink *sink = ut_evidence_sink(evidence);
    sink->attached(sink, RECORDS_START - 20000);
    for (uint64_t id = 1; id <= WORKLOADS; id++)
        make_workload(sink, id);
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        make_connection(sink, i);
    double connected_mib = resident_mib() - before;
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        make_retransmit(sink, i);
    uint32_t readings = hold(&ut_evidence_tables(evidence)->held);
    struct ut_evidence_figures figures;
    ut_evidence_figures(evidence, &figures);
    printf("connected_mib %.1f\nfull_mib %.1f\nworkloads %u\nconnections %u\nevents %u\n"
           "readings %u\n",
           connected_mib, resident_mib() - before, figures.workloads,
           figures.connections_open + figures.connections_closed, figures.events, readings);
    ut_held_set_source(&ut_evidence_tables(evidence)->held, NULL);
    ut_evidence_free(evidence);
    ut_metrics_free(metrics);
    return 0;
}
