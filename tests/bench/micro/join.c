/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ns per span for the join: with no events of the sender at all, with events that no span meets,
 * and with every span enriched by one event (counts alone, and as a span event), by twenty, and by
 * one of a connection of its own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "evidence/evidence.h"
#include "otlp_batch.h"
#include "records.h"

enum { SPANS = 512, ROUNDS = 400, RUNS = 9 };

struct bench {
    struct ut_metrics *metrics;
    struct ut_evidence *evidence;
    struct ut_pool pool;
    struct otlp_bytes request;
};

static void put(struct bench *b, const void *record, size_t size)
{
    struct ut_event_sink *sink = ut_evidence_sink(b->evidence);
    sink->record(sink, record, size, RECORDS_OFFSET);
}

static void open_end(struct bench *b, struct ut_record_socket socket)
{
    struct ut_record_connection record = records_opened(socket);
    put(b, &record, sizeof(record));
}

static void retransmit(struct bench *b, struct ut_record_socket socket, uint64_t unix_ns)
{
    struct ut_record_retransmit record = records_retransmit(socket, unix_ns);
    put(b, &record, sizeof(record));
}

static void start(struct bench *b, bool one_port_a_span, bool root_only)
{
    *b = (struct bench){.metrics = ut_metrics_new()};
    b->evidence = ut_evidence_new(b->metrics, NULL);
    ut_pool_init(&b->pool, (size_t)64 << 20);
    struct ut_event_sink *sink = ut_evidence_sink(b->evidence);
    sink->attached(sink, RECORDS_START - 20000);
    struct ut_record_cgroup cgroup = records_cgroup();
    put(b, &cgroup, sizeof(cgroup));
    open_end(b, records_end(1, UT_ROLE_CONNECT, 50000, 4317));
    open_end(b, records_end(2, UT_ROLE_ACCEPT, 4317, 50000));
    struct otlp_span *spans = calloc(SPANS, sizeof(*spans));
    struct otlp_attribute(*ends)[8] = calloc(SPANS, sizeof(*ends));
    for (unsigned i = 0; i < SPANS; i++) {
        const struct otlp_attribute all[8] = {
            {"http.request.method", "GET", 0},
            {"url.full", "http://127.0.0.1:80/api/v1/orders/482913", 0},
            {"http.response.status_code", NULL, 200},
            {"network.peer.address", "127.0.0.1", 0},
            {"network.peer.port", NULL, one_port_a_span ? 1000 + i : 80},
            {"user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", 0},
            {"network.protocol.version", "1.1", 0},
        };
        memcpy(ends[i], all, sizeof(all));
        spans[i] = (struct otlp_span){.trace_id = i + 1,
                                      .span_id = i + 1,
                                      .parent_id = root_only ? 0 : i + 1,
                                      .name = "HTTP GET /api/v1/orders/{id}",
                                      .kind = 3,
                                      .start_ns = RECORDS_START + i * 1000,
                                      .end_ns = RECORDS_START + 300000000 + i * 1000,
                                      .attributes = root_only ? NULL : ends[i]};
    }
    const struct otlp_attribute service[] = {{"service.name", "orders", 0}, {0}};
    otlp_resource_spans(&b->request, service, spans, SPANS);
    free(ends);
    free(spans);
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void measure(struct bench *b, const char *name)
{
    const struct ut_join_options options = {.slack_ns = 5000000, .resource_attributes = true};
    double ns[RUNS];
    for (int run = 0; run < RUNS; run++) {
        uint64_t spent_ns = 0;
        for (int i = 0; i < ROUNDS; i++) {
            struct ut_batch *batch = otlp_batch(&b->pool, &b->request);
            batch->first->sender.socket_cookie = 2;
            uint64_t before_ns = ut_clock_monotonic_ns();
            ut_evidence_join(b->evidence, batch, &options, RECORDS_START + UINT64_C(2000000000));
            spent_ns += ut_clock_monotonic_ns() - before_ns;
            ut_batch_unref(batch);
        }
        ns[run] = (double)spent_ns / ROUNDS / SPANS;
    }
    qsort(ns, RUNS, sizeof(ns[0]), by_size);
    struct ut_evidence_figures figures;
    ut_evidence_figures(b->evidence, &figures);
    uint64_t joined = 0;
    for (int i = 0; i < UT_MATCH_CLASSES; i++)
        joined += figures.joined_spans[i];
    printf("join %-34s %7.1f ns/span  (%" PRIu64 " of %u spans a request enriched)\n", name,
           ns[RUNS / 2], joined / RUNS / ROUNDS, (unsigned)SPANS);
    otlp_free(&b->request);
    ut_evidence_free(b->evidence);
    ut_metrics_free(b->metrics);
    ut_pool_done(&b->pool);
}

int main(void)
{
    struct bench b;
    struct ut_record_socket own = records_end(3, UT_ROLE_CONNECT, 40000, 80);
    start(&b, false, false);
    measure(&b, "no events");
    start(&b, false, false);
    open_end(&b, own);
    retransmit(&b, own, RECORDS_START - 100000000000);
    retransmit(&b, own, RECORDS_START + 1000000000);
    measure(&b, "events at other times");
    start(&b, false, true);
    open_end(&b, own);
    retransmit(&b, own, RECORDS_START + 250000000);
    measure(&b, "one event, counts (workload)");
    start(&b, false, false);
    open_end(&b, own);
    retransmit(&b, own, RECORDS_START + 250000000);
    measure(&b, "one event, shown (connection)");
    start(&b, false, false);
    open_end(&b, own);
    for (unsigned i = 0; i < 20; i++)
        retransmit(&b, own, RECORDS_START + 250000000 + i);
    measure(&b, "twenty events, shown (connection)");
    start(&b, true, false);
    for (unsigned i = 0; i < SPANS; i++) {
        own = records_end(10 + i, UT_ROLE_CONNECT, (uint16_t)(20000 + i), (uint16_t)(1000 + i));
        open_end(&b, own);
        retransmit(&b, own, RECORDS_START + 250000000);
    }
    measure(&b, "512 connections, each its own");
    return 0;
}
