/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the evidence tables with 1,000 workloads, 100,000 connections and as many retransmits
 * in them, or as many of these as they keep: `name value` a line, MiB of anonymous memory.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "evidence/evidence.h"

#define START UINT64_C(1700000000000000000)
#define OFFSET ((int64_t)(START - UINT64_C(1000000000000)))

enum { WORKLOADS = 1000, CONNECTIONS = 100000 };

static double resident_mib(void)
{
    unsigned long pages = 0, resident = 0, shared = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    UT_CHECK(file != NULL && fscanf(file, "%lu %lu %lu", &pages, &resident, &shared) == 3);
    (void)fclose(file);
    return (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static struct ut_record_header header(uint8_t type, size_t size, uint64_t cgroup)
{
    return (struct ut_record_header){
        .size = (uint16_t)size,
        .version = UT_RECORD_VERSION,
        .type = type,
        .has = UT_HAS_COOKIE | UT_HAS_NETNS | UT_HAS_RTO | UT_HAS_ISN,
        .boot_ns = START - (uint64_t)OFFSET,
        .cgroup_id = cgroup,
    };
}

static void make_workload(struct ut_event_sink *sink, uint64_t id)
{
    struct ut_record_cgroup record = {
        .header = header(UT_RECORD_CGROUP, sizeof(record), id),
        .change = UT_CGROUP_CREATED,
    };
    record.path_size = (uint32_t)snprintf(
        record.path, sizeof(record.path),
        "/kubepods/burstable/pod%08" PRIx64 "-89ab-cdef-0123-456789abcdef/%064" PRIx64, id, id);
    sink->record(sink, &record, sizeof(record), OFFSET);
}

static void make_connection(struct ut_event_sink *sink, uint32_t i)
{
    struct ut_record_connection record = {
        .header = header(UT_RECORD_CONNECTION, sizeof(record), 1 + i % WORKLOADS),
        .socket =
            {.cookie = i + 1,
             .netns_cookie = 1 + i % WORKLOADS,
             .local_address = {[10] = 0xff, 0xff, 10, (ut_u8)(i >> 16), (ut_u8)(i >> 8), (ut_u8)i},
             .remote_address = {[10] = 0xff, 0xff, 10, 96, 0, 1},
             .local_port = (ut_u16)(1024 + i % 60000),
             .remote_port = 80,
             .role = UT_ROLE_CONNECT,
             .local_isn = i * 7919,
             .remote_isn = i * 104729},
        .change = UT_CONNECTION_OPENED,
    };
    struct ut_record_retransmit retransmit = {
        .header = header(UT_RECORD_RETRANSMIT, sizeof(retransmit), 1 + i % WORKLOADS),
        .socket = record.socket,
        .bytes = 800,
        .segments = 1,
        .cause = UT_CAUSE_TIMEOUT,
        .rto_us = 204000,
    };
    sink->record(sink, &record, sizeof(record), OFFSET);
    sink->record(sink, &retransmit, sizeof(retransmit), OFFSET);
}

int main(void)
{
    struct ut_metrics *metrics = ut_metrics_new();
    double before = resident_mib();
    struct ut_evidence *evidence = ut_evidence_new(metrics, NULL);
    UT_CHECK(evidence != NULL);
    struct ut_event_sink *sink = ut_evidence_sink(evidence);
    sink->attached(sink, START);
    for (uint64_t id = 1; id <= WORKLOADS; id++)
        make_workload(sink, id);
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        make_connection(sink, i);
    struct ut_evidence_figures figures;
    ut_evidence_figures(evidence, &figures);
    printf("tables_mib %.1f\nworkloads %u\nconnections %u\nevents %u\n", resident_mib() - before,
           figures.workloads, figures.connections_open + figures.connections_closed,
           figures.events);
    ut_evidence_free(evidence);
    ut_metrics_free(metrics);
    return 0;
}
