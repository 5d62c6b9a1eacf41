/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Micro-benchmarks of the data path: ns per span for walk, splice as it came, and splice with an
 * edit on every span (the encoding of its attributes included); JSON to wire bytes. Each figure is
 * the median of several runs over a request of 512 spans of about 419 bytes.
 *
 * usage: bench_micro [SPANS]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "model/attributes.h"
#include "otlp/encode.h"
#include "otlp/json.h"
#include "otlp/splice.h"
#include "otlp_batch.h"
#include "otlp_json.h"

enum { RUNS = 15, SPANS_PER_RUN = 400000, SPANS_DEFAULT = 512 };

struct bench {
    struct ut_pool pool;
    struct otlp_bytes request, json;
    unsigned spans;
    volatile uint64_t sink; /* so that no work is optimised away */
};

static const struct otlp_attribute SPAN_ATTRIBUTES[] = {
    {"http.request.method", "GET", 0},
    {"url.path", "/api/v1/orders/482913", 0},
    {"http.response.status_code", NULL, 200},
    {"server.address", "orders.shop.svc.cluster.local", 0},
    {"server.port", NULL, 8080},
    {"network.protocol.version", "1.1", 0},
    {"user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", 0},
    {"client.address", "10.42.7.113", 0},
    {0},
};

static const struct otlp_attribute RESOURCE_ATTRIBUTES[] = {
    {"service.name", "orders", 0},
    {"service.version", "1.42.0", 0},
    {"container.id", "9f2c7ab0d1e34f5f8a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b", 0},
    {"host.name", "ip-10-42-7-113", 0},
    {"process.pid", NULL, 4242},
    {"telemetry.sdk.language", "java", 0},
    {"telemetry.sdk.name", "opentelemetry", 0},
    {0},
};

static void build_request(struct otlp_bytes *out, unsigned count)
{
    static const uint8_t flags[] = {0x85, 0x01, 1, 1, 0, 0};
    struct otlp_span *spans = calloc(count, sizeof(*spans));
    if (spans == NULL)
        abort();
    for (unsigned i = 0; i < count; i++) {
        spans[i] = (struct otlp_span){
            .trace_id = UINT64_C(0x9e3779b97f4a7c15) * (i + 1),
            .span_id = UINT64_C(0xbf58476d1ce4e5b9) * (i + 1),
            .parent_id = UINT64_C(0x94d049bb133111eb) * (i + 1),
            .name = "HTTP GET /api/v1/orders/{id}",
            .kind = 2,
            .start_ns = UINT64_C(1760000000000000000) + i * UINT64_C(1000003),
            .end_ns = UINT64_C(1760000000002000000) + i * UINT64_C(1000003),
            .status = 1,
            .attributes = SPAN_ATTRIBUTES,
            .more = flags,
            .more_size = sizeof(flags),
        };
    }
    otlp_resource_spans(out, RESOURCE_ATTRIBUTES, spans, count);
    free(spans);
}

static struct ut_batch *walk_request(struct bench *b)
{
    return otlp_batch(&b->pool, &b->request);
}

/* ---- what is measured: each does its work once and returns the ns it took
 * ------------------------ */

static uint64_t run_walk(struct bench *b)
{
    struct ut_segment *segment = ut_segment_new(&b->pool, b->request.size);
    if (segment == NULL ||
        ut_segment_append(&segment, ut_slice_of(b->request.data, b->request.size)) != 0)
        abort();
    uint64_t begin = ut_clock_monotonic_ns();
    struct ut_batch *batch = ut_batch_new(&b->pool, segment);
    struct ut_walk_report report;
    if (batch == NULL || ut_walk(batch->first, &report) != 0)
        abort();
    ut_batch_measure(batch);
    uint64_t ns = ut_clock_monotonic_ns() - begin;
    b->sink += batch->spans;
    ut_batch_unref(batch);
    return ns;
}

static void splice_once(struct bench *b, struct ut_batch *batch)
{
    struct ut_splice splice;
    if (ut_splice_batch(&splice, batch, 0, batch->spans) != 0)
        abort();
    b->sink += splice.bytes;
    ut_splice_done(&splice);
}

static uint64_t run_splice(struct bench *b)
{
    struct ut_batch *batch = walk_request(b);
    uint64_t begin = ut_clock_monotonic_ns();
    splice_once(b, batch);
    uint64_t ns = ut_clock_monotonic_ns() - begin;
    ut_batch_unref(batch);
    return ns;
}

/* The attributes of a span with one retransmit, counts only. */
static void edit_span(struct ut_body *body, uint32_t span)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &body->arena);
    int field = UT_FIELD_SPAN_ATTRIBUTES;
    ut_encode_string(&encoder, field, UT_ATTR_TCP_MATCH, UT_SLICE("connection"));
    ut_encode_string(&encoder, field, UT_ATTR_TCP_SIDE, UT_SLICE("peer"));
    ut_encode_int(&encoder, field, UT_ATTR_TCP_RETRANSMITS, 1);
    ut_encode_int(&encoder, field, UT_ATTR_TCP_RETRANSMIT_BYTES, 800);
    ut_encode_int(&encoder, field, UT_ATTR_TCP_TIMEOUTS, 1);
    struct ut_edit *edit = ut_arena_alloc(&body->arena, sizeof(*edit));
    if (edit == NULL)
        abort();
    *edit = (struct ut_edit){.added = ut_encoder_bytes(&encoder)};
    if (ut_body_set_edit(body, span, edit) != 0)
        abort();
}

static uint64_t run_enrich(struct bench *b)
{
    struct ut_batch *batch = walk_request(b);
    uint64_t begin = ut_clock_monotonic_ns();
    for (uint32_t i = 0; i < batch->first->span_count; i++)
        edit_span(batch->first, i);
    splice_once(b, batch);
    uint64_t ns = ut_clock_monotonic_ns() - begin;
    ut_batch_unref(batch);
    return ns;
}

static uint64_t run_splice_edited(struct bench *b)
{
    struct ut_batch *batch = walk_request(b);
    for (uint32_t i = 0; i < batch->first->span_count; i++)
        edit_span(batch->first, i);
    uint64_t begin = ut_clock_monotonic_ns();
    splice_once(b, batch);
    uint64_t ns = ut_clock_monotonic_ns() - begin;
    ut_batch_unref(batch);
    return ns;
}

static uint64_t run_json(struct bench *b)
{
    static const struct ut_writer_limits limits = {.bytes_max = (size_t)64 << 20};
    struct ut_segment *segment;
    struct ut_json_report report;
    uint64_t begin = ut_clock_monotonic_ns();
    if (ut_json_to_wire(ut_slice_of(b->json.data, b->json.size), &b->pool, &limits, &segment,
                        &report) != 0)
        abort();
    uint64_t ns = ut_clock_monotonic_ns() - begin;
    if (segment->size != b->request.size)
        abort();
    ut_segment_unref(segment);
    return ns;
}

/* ---------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct bench *b, const char *what, uint64_t (*run)(struct bench *))
{
    double figures[RUNS];
    unsigned rounds = SPANS_PER_RUN / b->spans + 1;
    for (int i = 0; i < RUNS; i++) {
        uint64_t ns = 0;
        for (unsigned j = 0; j < rounds; j++)
            ns += run(b);
        figures[i] = (double)ns / ((double)rounds * b->spans);
    }
    qsort(figures, RUNS, sizeof(figures[0]), compare);
    printf("%-36s %8.1f ns/span (best %.1f)\n", what, figures[RUNS / 2], figures[0]);
}

int main(int argc, char **argv)
{
    struct bench b = {.spans = SPANS_DEFAULT};
    if (argc > 1 && (sscanf(argv[1], "%u", &b.spans) != 1 || b.spans == 0))
        return 2;
    ut_pool_init(&b.pool, (size_t)16 << 20);
    build_request(&b.request, b.spans);
    otlp_json_print(&b.json, UT_SCHEMA_REQUEST, ut_slice_of(b.request.data, b.request.size),
                    &(struct otlp_json_style){0});
    printf("%u spans, %zu bytes, %zu a span, in JSON %zu\n", b.spans, b.request.size,
           b.request.size / b.spans, b.json.size / b.spans);
    measure(&b, "walk", run_walk);
    measure(&b, "splice, as it came", run_splice);
    measure(&b, "splice, every span edited", run_splice_edited);
    measure(&b, "edit + splice, every span", run_enrich);
    measure(&b, "JSON to wire bytes", run_json);
    printf("%" PRIu64 " system calls of the pool\n", b.pool.system_calls);
    otlp_free(&b.request);
    otlp_free(&b.json);
    ut_pool_done(&b.pool);
    return 0;
}
