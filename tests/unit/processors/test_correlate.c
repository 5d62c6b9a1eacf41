/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "correlate_processor/correlate.h"
#include "evidence/evidence.h"
#include "otlp_batch.h"
#include "virtual_worker.h"

/* UNIX time runs along with the worker's. */
#define UNIX_START UINT64_C(1700000000000000000)

static struct ut_worker worker;
static struct ut_evidence *evidence;
static struct ut_processor *correlate;
static char config[256]; /* filled as the config layer does it: by the table */
static unsigned passed_batches, passed_spans, drains;
static uint64_t last_span;
static struct ut_event_source source;

static uint64_t unix_now(void)
{
    return UNIX_START + (worker.uv.time - VIRTUAL_START_MS) * UT_NS_PER_MS;
}

static void take(struct ut_consumer *consumer, struct ut_batch *batch)
{
    (void)consumer;
    passed_batches++;
    passed_spans += batch->spans;
    last_span = batch->first->spans[0].span_id[7];
    ut_batch_unref(batch);
}

static struct ut_consumer out = {take};

static void drain(struct ut_event_source *from)
{
    (void)from;
    drains++;
}

static void set_option(const char *key, const void *value, size_t size)
{
    for (const struct ut_field *field = ut_processor_correlate.fields; field->key != NULL;
         field++) {
        if (strcmp(field->key, key) != 0)
            continue;
        memcpy(config + field->offset, value, size);
        return;
    }
    cr_assert_fail("no option %s", key);
}

static void create(bool with_evidence)
{
    const struct ut_build build = {.id = "correlate", .config = config, .worker = &worker};
    cr_assert_eq(
        ut_processor_correlate.create(&correlate, &build, with_evidence ? evidence : NULL, &out),
        0);
    ut_correlate_set_clock(correlate, unix_now);
}

static void begin(void)
{
    virtual_worker_init(&worker);
    evidence = ut_evidence_new(worker.metrics, NULL);
    source.drain = drain;
    ut_evidence_set_source(evidence, &source);
    const uint64_t settle_ns = 300 * UT_NS_PER_MS, slack_ns = 5 * UT_NS_PER_MS;
    cr_assert_leq(ut_processor_correlate.config_size, sizeof(config));
    set_option("settle", &settle_ns, sizeof(settle_ns));
    set_option("slack", &slack_ns, sizeof(slack_ns));
    set_option("resource_attributes", &(bool){true}, sizeof(bool));
    passed_batches = passed_spans = drains = 0;
}

static void end(void)
{
    ut_processor_correlate.free(correlate);
    ut_evidence_free(evidence);
    virtual_worker_done(&worker);
}

TestSuite(correlate, .init = begin, .fini = end);

static struct ut_batch *make_batch(uint8_t id, int64_t ended_ms_ago, size_t padding)
{
    char *text = calloc(1, padding + 1);
    memset(text, 'x', padding);
    const struct otlp_attribute attributes[] = {
        {"padding", text, 0}, {"undertrace.tcp.match", "forged", 0}, {0}};
    uint64_t end_ns = unix_now() - (uint64_t)(ended_ms_ago * 1000000);
    struct otlp_span span = {.trace_id = 1,
                             .span_id = id,
                             .kind = 3,
                             .start_ns = end_ns - 1000,
                             .end_ns = end_ns,
                             .attributes = attributes};
    struct otlp_bytes request = {0};
    otlp_resource_spans(&request, NULL, &span, 1);
    struct ut_batch *batch = otlp_batch(&worker.pool, &request);
    otlp_free(&request);
    free(text);
    return batch;
}

static void consume(uint8_t id, int64_t ended_ms_ago, size_t padding)
{
    correlate->in.consume(&correlate->in, make_batch(id, ended_ms_ago, padding));
}

/* As a pipeline admits it; it is taken off the count where it is merged or released. */
static void consume_on_the_way(uint8_t id, struct ut_on_the_way *on_the_way)
{
    struct ut_batch *batch = make_batch(id, 0, 0);
    ut_batch_set_on_the_way(batch, on_the_way);
    correlate->in.consume(&correlate->in, batch);
}

static uint64_t unsettled(void)
{
    return *ut_metrics_counter(worker.metrics, "undertrace_correlate_unsettled_spans_total", "",
                               "");
}

Test(correlate, settled_batch_goes_on_at_once)
{
    create(true);
    consume(1, 300, 10);
    cr_expect_eq(passed_batches, 1);
    cr_expect_eq(drains, 1);
}

Test(correlate, batch_waits_until_its_newest_span_has_settled)
{
    create(true);
    consume(1, 100, 10);
    virtual_worker_advance(&worker, 199);
    cr_expect_eq(passed_batches, 0);
    virtual_worker_advance(&worker, 1);
    cr_expect_eq(passed_batches, 1);
    cr_expect_eq(drains, 1);
    cr_expect_eq(unsettled(), 0);
}

Test(correlate, batches_leave_in_the_order_in_which_they_settle)
{
    create(true);
    consume(1, 0, 10);
    consume(2, 200, 10);
    consume(3, 100, 10);
    const uint64_t order[] = {2, 3, 1};
    for (unsigned i = 0; i < 3; i++) {
        virtual_worker_advance(&worker, 100);
        cr_expect_eq(passed_batches, i + 1);
        cr_expect_eq(last_span, order[i]);
    }
}

Test(correlate, span_that_claims_the_future_waits_no_longer_than_settle)
{
    create(true);
    consume(1, -1000000, 10);
    virtual_worker_advance(&worker, 300);
    cr_expect_eq(passed_batches, 1);
}

Test(correlate, beyond_its_room_the_one_due_first_goes_unsettled)
{
    create(true);
    consume(1, 10, 3 << 20);
    consume(2, 20, 3 << 20);
    cr_expect_eq(passed_batches, 0);
    consume(3, 0, 3 << 20);
    cr_expect_eq(passed_batches, 1);
    cr_expect_eq(last_span, 2);
    cr_expect_eq(unsettled(), 1);
    virtual_worker_advance(&worker, 300);
    cr_expect_eq(passed_batches, 3);
    cr_expect_eq(unsettled(), 1);
}

Test(correlate, batch_larger_than_the_room_does_not_wait)
{
    create(true);
    consume(1, 0, 9 << 20);
    cr_expect_eq(passed_batches, 1);
    cr_expect_eq(unsettled(), 1);
}

Test(correlate, number_of_waiting_batches_is_bounded)
{
    create(true);
    for (unsigned i = 0; i < 9000; i++)
        consume(1, i % 2 == 0 ? 0 : 100, 0); /* too far apart to wait as one */
    cr_expect_eq(passed_batches, 9000 - 8192);
    cr_expect_eq(unsettled(), 9000 - 8192);
}

Test(correlate, small_batches_due_at_about_the_same_time_wait_as_one)
{
    create(true);
    struct ut_on_the_way on_the_way = {0};
    for (uint8_t i = 1; i <= 100; i++) {
        consume_on_the_way(i, &on_the_way);
        virtual_worker_advance(&worker, 1);
    }
    /* 100 ms of requests in steps of 300 / 16 ms. */
    cr_assert_leq(on_the_way.batches, 7);
    virtual_worker_advance(&worker, 500);
    cr_assert_eq(passed_spans, 100);
    cr_assert_leq(passed_batches, 7);
    cr_assert_eq(on_the_way.batches + on_the_way.spans + on_the_way.bytes, 0);
    cr_assert_eq(unsettled(), 0);
}

Test(correlate, a_small_batch_due_long_before_the_open_one_does_not_wait_for_it)
{
    create(true);
    consume(1, 0, 0);
    consume(2, 200, 0);
    virtual_worker_advance(&worker, 101);
    cr_assert_eq(passed_batches, 1);
    cr_assert_eq(last_span, 2);
}

Test(correlate, flush_passes_all_on_at_once)
{
    create(true);
    consume(1, 0, 10);
    consume(2, 100, 10);
    ut_processor_correlate.flush(correlate);
    cr_expect_eq(passed_batches, 2);
    cr_expect_eq(unsettled(), 2);
    virtual_worker_advance(&worker, 1000);
    cr_expect_eq(passed_batches, 2);
}

Test(correlate, batches_that_still_wait_are_released_with_it)
{
    create(true);
    consume(1, 0, 10);
    consume(2, 0, 10);
    cr_expect_eq(passed_batches, 0); /* the pool checks at the end that nothing is left */
}

static bool forged_removed;

static void look(struct ut_consumer *consumer, struct ut_batch *batch)
{
    (void)consumer;
    const struct ut_edit *edit = ut_body_edit(batch->first, 0);
    forged_removed = edit != NULL && edit->removed_count == 1 && edit->added.size == 0;
    passed_batches++;
    passed_spans += batch->spans;
    ut_batch_unref(batch);
}

Test(correlate, without_evidence_forged_keys_go_and_nobody_waits)
{
    out.consume = look;
    create(false);
    consume(1, 0, 10);
    cr_expect_eq(passed_batches, 1);
    cr_expect(forged_removed);
}
