/* SPDX-License-Identifier: Apache-2.0 */
/* A pipeline with a disk hold: when it answers, what leaves memory and comes back, what a start
 * finds of the one before. */
#include "disk_tape.h"
#include "durable_lab.h"

static void set_up(void)
{
    settings = ut_queue_defaults;
    settings.retry_on_failure.initial_interval_ns = 20 * UT_NS_PER_MS;
    disk_scratch_init(&scratch);
}

static void tear_down(void)
{
    close_parts();
    disk_scratch_done(&scratch);
}

TestSuite(durable, .init = set_up, .fini = tear_down, .timeout = 60);

static struct sent *push(uint64_t id, int spans, size_t padding)
{
    return push_batch(make_batch(id, spans, padding));
}

static size_t answered(void)
{
    size_t count = 0;
    for (size_t i = 0; i < sent_count; i++)
        count += sent[i].verdict >= 0;
    return count;
}

/* ---- answers --------------------------------------------------------------------------------- */

static struct ut_hold_figures figures(void)
{
    struct ut_hold_figures found;
    ut_hold_figures(hold, &found);
    return found;
}

/* The queue does not keep up: what comes goes on when it is stored. */
static void wait_for_the_disk(void)
{
    settings.sending_queue.queue_size = 0;
}

Test(durable, goes_on_at_once_and_is_answered_when_it_is_on_the_disk)
{
    open_parts();
    fakes[0].keeps = true;
    struct sent *one = push(1, 3, 100);
    cr_expect_eq(one->verdict, -1);
    cr_expect_eq(fakes[0].held_count, 1);
    WAIT(one->verdict >= 0);
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    cr_expect_eq(figures().written, 1);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    cr_expect_eq(books(0).sent, 3);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 0, "what was sent came back");
}

Test(durable, what_every_exporter_has_finished_before_is_answered_and_not_written)
{
    open_parts();
    struct sent *one = push(1, 3, 100);
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    cr_expect_eq(books(0).sent, 3);
    cr_expect_eq(keeping.open, 0);
    cr_expect_eq(figures().withdrawn, 1);
    cr_expect_eq(figures().promised, 0);
    struct sent *two = push(2, 3, 100);
    cr_expect_eq(two->verdict, UT_ACCEPTED);
    fakes[0].keeps = true;
    struct sent *three = push(3, 3, 100);
    WAIT(three->verdict >= 0);
    cr_expect_eq(figures().withdrawn, 2);
    cr_expect_eq(figures().written, 1);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 3);
}

Test(durable, what_one_of_two_exporters_has_not_finished_is_written_for_that_one)
{
    exporters = 2;
    open_parts();
    fakes[1].keeps = true;
    struct sent *one = push(1, 3, 100);
    cr_expect_eq(books(0).sent, 3);
    cr_expect_eq(one->verdict, -1);
    WAIT(one->verdict >= 0);
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    cr_expect_eq(figures().written, 1);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 0);
    cr_expect_eq(books(1).recovered, 3);
    WAIT(books(1).sent == 3);
}

Test(durable, what_is_finished_while_its_group_is_written_is_answered_and_taken_away_again)
{
    open_parts();
    fakes[0].keeps = true;
    struct sent *one = push(1, 3, 100);
    /* The group begins; its end would come from the loop, which does not turn. */
    for (struct ut_deferred *turn; (turn = worker.deferred_first) != NULL; turn->run(turn))
        ut_worker_undefer(&worker, turn);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    cr_expect_eq(figures().withdrawn, 0);
    cr_expect_gt(worker.budget.used, 0, "bytes that are being written are not free");
    WAIT(keeping.open == 0);
    cr_expect_eq(worker.budget.used, 0);
    cr_expect_eq(figures().written, 1);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 0);
}

Test(durable, what_is_refused_for_good_before_is_finished_and_not_written)
{
    open_parts();
    fakes[0].answer = (struct ut_outcome){.result = UT_PERMANENT, .text = "never"};
    struct sent *one = push(1, 3, 100);
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    cr_expect_eq(books(0).dropped[UT_DROP_PERMANENT], 3);
    cr_expect_eq(figures().withdrawn, 1);
}

Test(durable, waits_for_the_disk_where_the_queue_does_not_keep_up)
{
    wait_for_the_disk();
    open_parts();
    struct sent *one = push(1, 3, 100);
    cr_expect_eq(fakes[0].send_count, 0, "sent before it is stored");
    WAIT(one->verdict >= 0);
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    WAIT(books(0).sent == 3);
    cr_expect_eq(figures().written, 1);
}

Test(durable, what_is_neither_stored_nor_sent_at_the_end_is_refused)
{
    open_parts();
    fakes[0].keeps = true;
    (void)push(1, 3, 100);
    close_parts();
    cr_expect_eq(sent[0].verdict, UT_BUSY);
    cr_expect_str_eq(sent[0].text, "stopping");
    open_parts();
    cr_expect_eq(books(0).recovered, 0);
}

Test(durable, queued_is_answered_at_once_and_kept_all_the_same)
{
    durable_ns = 0;
    open_parts();
    fakes[0].keeps = true;
    struct sent *one = push(1, 3, 100);
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    WAIT(fakes[0].held_count == 1);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 3);
}

Test(durable, a_disk_that_fails_refuses_retryably_and_what_has_gone_on_is_sent_all_the_same)
{
    open_parts();
    fakes[0].keeps = true;
    tape_fail(TAPE_CALL_SYNC, EIO, 0, 1);
    struct sent *one = push(1, 3, 100);
    struct sent *two = push(2, 3, 100);
    WAIT(one->verdict >= 0 && two->verdict >= 0);
    tape_fail(TAPE_CALL_SYNC, 0, 0, 0);
    cr_expect_eq(one->verdict, UT_BUSY);
    cr_expect_eq(two->verdict, UT_BUSY);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    cr_expect_eq(books(0).sent, 3);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 0, "what was refused is not kept");
}

Test(durable, a_disk_that_fails_refuses_retryably_and_sends_nothing_where_it_is_waited_for)
{
    wait_for_the_disk();
    open_parts();
    tape_fail(TAPE_CALL_SYNC, EIO, 0, 1);
    struct sent *one = push(1, 3, 100);
    WAIT(one->verdict >= 0);
    cr_expect_eq(one->verdict, UT_BUSY);
    cr_expect_str_eq(one->text, "the disk has failed");
    cr_expect_eq(books(0).accepted, 0);
    tape_fail(TAPE_CALL_SYNC, 0, 0, 0);
}

Test(durable, queued_goes_on_in_memory_where_the_disk_fails)
{
    durable_ns = 0;
    open_parts();
    tape_fail(TAPE_CALL_SYNC, EIO, 0, 1);
    struct sent *one = push(1, 3, 100);
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    WAIT(books(0).sent == 3);
    tape_fail(TAPE_CALL_SYNC, 0, 0, 0);
}

Test(durable, a_full_hold_refuses_retryably)
{
    open_parts();
    settings.sending_queue.queue_size = 10;
    fakes[0].keeps = true;
    while (sent_count == 0 || sent[sent_count - 1].verdict != UT_BUSY) {
        struct sent *next = push(sent_count + 1, 1, 1 << 20);
        WAIT(next->verdict >= 0);
        cr_assert_lt(sent_count, 100);
    }
    cr_expect_str_eq(sent[sent_count - 1].text, "the disk hold is full");
    cr_expect_gt(sent_count, 50);
}

Test(durable, a_sender_whose_time_is_over_is_told_to_send_again_and_may_have_been_heard)
{
    durable_ns = 1;
    open_parts();
    fakes[0].keeps = true;
    struct sent *one = push(1, 3, 100);
    ut_timers_run(&worker.timers, ut_worker_now(&worker) + UT_NS_PER_MS);
    cr_expect_eq(one->verdict, UT_BUSY);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    cr_expect_eq(books(0).sent, 3);
    WAIT(keeping.open == 0);
}

Test(durable, a_sender_whose_time_is_over_before_it_went_on_is_not_sent_twice)
{
    durable_ns = 1;
    wait_for_the_disk();
    open_parts();
    struct sent *one = push(1, 3, 100);
    ut_timers_run(&worker.timers, ut_worker_now(&worker) + UT_NS_PER_MS);
    cr_expect_eq(one->verdict, UT_BUSY);
    WAIT(keeping.open == 0);
    cr_expect_eq(books(0).accepted, 0);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 0);
}

Test(durable, a_sender_that_has_gone_loses_the_answer_not_the_spans)
{
    open_parts();
    fakes[0].keeps = true;
    struct sent *one = push(1, 3, 100);
    ut_pipeline_target(pipeline)->abandon(ut_pipeline_target(pipeline), &one->push);
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    WAIT(figures().written == 1);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    cr_expect_eq(books(0).sent, 3);
}

/* ---- the backlog ----------------------------------------------------------------------------- */

Test(durable, a_backlog_leaves_memory_and_comes_back_in_order)
{
    enum { MANY = 120, PADDING = 100 << 10 };
    budget = (size_t)8 << 20;
    open_parts();
    fakes[0].answer = (struct ut_outcome){.result = UT_RETRY, .text = "not now"};
    for (uint64_t i = 0; i < MANY; i++) {
        struct sent *next = push(i + 1, 1, PADDING);
        WAIT(next->verdict >= 0);
        cr_assert_eq(next->verdict, UT_ACCEPTED, "push %lu: %s", i, next->text);
    }
    cr_expect_gt(books(0).stored, MANY * 3 / 4);
    cr_expect_leq(worker.budget.used, budget / 4);
    fakes[0].answer = (struct ut_outcome){.result = UT_SENT};
    WAIT(books(0).sent == MANY);
    cr_expect_eq(books(0).stored, 0);
    cr_expect_eq(fakes[0].spans, MANY);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 0);
}

Test(durable, one_exporter_that_is_down_does_not_hold_the_other)
{
    enum { MANY = 60 };
    exporters = 2;
    budget = (size_t)8 << 20;
    open_parts();
    fakes[1].keeps = true;
    for (uint64_t i = 0; i < MANY; i++) {
        struct sent *next = push(i + 1, 1, 100 << 10);
        WAIT(next->verdict >= 0);
    }
    WAIT(books(0).sent == MANY);
    cr_expect_gt(books(1).stored, MANY / 2);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 0);
    cr_expect_eq(books(1).recovered, MANY);
    WAIT(books(1).sent == MANY);
}

/* ---- another queue of the same name ------------------------------------------------------------
 */

static void on_drained(void *arg)
{
    *(bool *)arg = true;
}

/* The second exporter's, of the first's name; it owns what the first has on the disk. */
static struct ut_queue *queue_after(void)
{
    fake_exporter_init(&fakes[1], &worker);
    struct ut_queue *after = ut_queue_new(&(struct ut_queue_config){
        .id = "fake/one",
        .worker = &worker,
        .exporter = &fakes[1].base,
        .settings = &settings,
        .keeping = &keeping,
    });
    ut_queue_own_backlog(after);
    return after;
}

/* A body is on the disk as a whole, so the spans of it that were sent come again. */
Test(durable, the_queue_after_a_reload_has_in_its_books_what_comes_again_of_a_part_that_was_sent)
{
    bool drained = false;
    settings.sending_queue.batch.present = true;
    settings.sending_queue.batch.min_size = 0;
    settings.sending_queue.batch.max_size = 2;
    settings.retry_on_failure.initial_interval_ns = 60 * UT_NS_PER_S;
    settings.retry_on_failure.max_interval_ns = 60 * UT_NS_PER_S;
    open_parts();
    fakes[0].keeps = true;
    (void)push(1, 5, 10);
    WAIT(answered() == 1);
    cr_assert_eq(fakes[0].held_count, 1);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    cr_assert_eq(fakes[0].held_count, 1, "the next piece");
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_RETRY});
    struct ut_queue *after = queue_after();
    ut_queue_drain(queues[0], on_drained, &drained);
    cr_expect(drained);
    cr_expect_eq(books(0).sent, 2);
    cr_expect_eq(books(0).stored, 3);
    WAIT(fakes[1].spans == 5);
    cr_expect_eq(balanced_books(after).recovered, 5);
    cr_expect_eq(balanced_books(after).sent, 5);
    queues[1] = after;
    exporters = 2;
    close_parts();
    exporters = 1;
    open_parts();
}

Test(durable, the_queue_after_a_reload_sends_what_the_one_before_has_not)
{
    enum { MANY = 200, IN_FLIGHT = 10 };
    bool drained = false;
    budget = (size_t)8 << 20;
    open_parts();
    fakes[0].keeps = true;
    for (uint64_t i = 0; i < MANY; i++) {
        struct sent *next = push(i + 1, 1, 20 << 10);
        WAIT(next->verdict >= 0);
    }
    cr_expect_gt(books(0).stored, 0);
    struct ut_queue *after = queue_after();
    struct sent *late = push(MANY + 1, 1, 10);
    ut_pipeline_flush(pipeline);
    ut_queue_drain(queues[0], on_drained, &drained);
    cr_expect_not(drained, "what is in flight is not left");
    cr_expect_eq(books(0).stored, MANY - IN_FLIGHT);
    struct ut_queue_books of_after = balanced_books(after);
    cr_expect_eq(of_after.recovered, MANY - IN_FLIGHT);
    WAIT(balanced_books(after).sent == MANY - IN_FLIGHT + 1);
    cr_expect_eq(late->verdict, UT_ACCEPTED, "what was being stored");
    while (fakes[0].held_count > 0)
        fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    cr_expect(drained);
    cr_expect_eq(books(0).sent, IN_FLIGHT);
    cr_expect_eq(fakes[1].spans, MANY - IN_FLIGHT + 1);
    queues[1] = after;
    exporters = 2;
    close_parts();
    exporters = 1;
    open_parts();
    cr_expect_eq(books(0).recovered, 0);
}

/* ---- restarts -------------------------------------------------------------------------------- */

static double metric(const char *name)
{
    return ut_metrics_sum(worker.metrics, name);
}

Test(durable, what_was_not_sent_is_sent_after_a_restart)
{
    open_parts();
    fakes[0].keeps = true;
    for (uint64_t i = 0; i < 50; i++)
        (void)push(i + 1, 2, i % 2 == 0 ? 10 : 50000);
    WAIT(answered() == 50);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 100);
    WAIT(books(0).sent == 100);
    cr_expect_eq(metric("undertrace_exporter_unjoined_spans"), 0);
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 0);
}

/* However often the program has begun anew, an outage of a day looks like one. */
Test(durable, what_comes_back_from_the_disk_is_as_old_as_it_is)
{
    struct ut_queue_figures figures;
    open_parts();
    fakes[0].keeps = true;
    (void)push(1, 2, 10);
    WAIT(answered() == 1);
    close_parts();
    (void)usleep(300000);
    open_parts();
    fakes[0].keeps = true;
    WAIT(fakes[0].held_count == 1);
    ut_queue_figures(queues[0], &figures);
    cr_expect_gt(figures.oldest_ns, 250 * UT_NS_PER_MS);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
}

/* Adds an attribute to every span, and leaves out the first of each batch, or all. */
struct editor {
    struct ut_processor base;
};

static bool leaves_out_all;

static const uint8_t attribute[] = {0x4a, 0x0b, 0x0a, 0x05, 'u',  '.', 'x',
                                    '.',  'y',  0x12, 0x02, 0x18, 0x2a};

static void on_consume(struct ut_consumer *consumer, struct ut_batch *batch)
{
    struct editor *editor = UT_CONTAINER_OF(consumer, struct editor, base.in);
    struct ut_body *body = batch->first;
    for (uint32_t i = 0; i < body->span_count; i++) {
        struct ut_edit *edit = ut_arena_alloc(&body->arena, sizeof(*edit));
        *edit = (struct ut_edit){.added = {attribute, sizeof(attribute)}};
        cr_assert_eq(ut_body_set_edit(body, i, edit), 0);
    }
    for (; body->left_out < (leaves_out_all ? body->span_count : 1); body->left_out++)
        body->spans[body->left_out].flags |= UT_SPAN_LEFT_OUT;
    ut_batch_measure(batch);
    editor->base.out->consume(editor->base.out, batch);
}

static void free_editor(struct ut_processor *processor)
{
    free(UT_CONTAINER_OF(processor, struct editor, base));
}

static void flush_nothing(struct ut_processor *processor)
{
    (void)processor;
}

static int create_editor(struct ut_processor **ret, const struct ut_build *build,
                         struct ut_evidence *evidence, struct ut_consumer *out);

static const struct ut_processor_type editor_type = {
    .name = "editor",
    .create = create_editor,
    .flush = flush_nothing,
    .free = free_editor,
};

static int create_editor(struct ut_processor **ret, const struct ut_build *build,
                         struct ut_evidence *evidence, struct ut_consumer *out)
{
    struct editor *editor = calloc(1, sizeof(*editor));
    (void)build;
    (void)evidence;
    cr_assert_not_null(editor);
    editor->base =
        (struct ut_processor){.type = &editor_type, .in = {.consume = on_consume}, .out = out};
    *ret = &editor->base;
    return 0;
}

static uint64_t edited_spans(const struct ut_item *item)
{
    uint64_t count = 0;
    for (const struct ut_body *body = item->batch->first; body != NULL; body = body->next) {
        for (uint32_t i = 0; i < body->span_count; i++) {
            const struct ut_edit *edit = ut_body_edit(body, i);
            bool left_out = body->spans[i].flags & UT_SPAN_LEFT_OUT;
            count += !left_out && edit != NULL && edit->added.size == sizeof(attribute) &&
                     memcmp(edit->added.data, attribute, sizeof(attribute)) == 0;
        }
    }
    return count;
}

Test(durable, what_the_processors_found_out_survives)
{
    open_parts();
    cr_assert_eq(ut_pipeline_prepend(pipeline, &editor_type, NULL, NULL), 0);
    fakes[0].keeps = true;
    (void)push(1, 5, 100);
    WAIT(answered() == 1);
    cr_expect_eq(fakes[0].held_count, 1);
    close_parts();
    open_parts();
    fakes[0].keeps = true;
    cr_expect_eq(books(0).recovered, 4, "what was left out is finished");
    WAIT(fakes[0].held_count == 1);
    cr_expect_eq(fakes[0].held[0]->span_count, 4);
    cr_expect_eq(edited_spans(fakes[0].held[0]), 4);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    close_parts();
    open_parts();
    cr_expect_eq(books(0).recovered, 0);
}

Test(durable, what_the_processors_leave_out_altogether_is_answered_and_not_written)
{
    leaves_out_all = true;
    open_parts();
    cr_assert_eq(ut_pipeline_prepend(pipeline, &editor_type, NULL, NULL), 0);
    struct sent *one = push(1, 5, 100);
    cr_expect_eq(one->verdict, UT_ACCEPTED);
    cr_expect_eq(figures().withdrawn, 1);
    cr_expect_eq(fakes[0].send_count, 0);
    cr_expect_eq(keeping.open, 0);
}

/* A record with a body that no processor has seen, as a crash leaves it. */
static void on_put(struct ut_hold_put *put, struct ut_hold_record *record, int error)
{
    cr_assert_eq(error, 0);
    ut_hold_leave(record, 0);
    put->promised = UINT64_MAX;
}

Test(durable, what_no_processor_has_seen_goes_out_without_forged_keys_and_is_counted)
{
    struct otlp_bytes request = {0};
    size_t resource_spans = otlp_begin(&request, 1);
    size_t resource = otlp_begin(&request, 1);
    otlp_text_attribute(&request, 1, "undertrace.cgroup.path", "/forged");
    otlp_end(&request, resource);
    size_t scope_spans = otlp_begin(&request, 2);
    otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 1, .name = "GET /"});
    otlp_end(&request, scope_spans);
    otlp_end(&request, resource_spans);
    open_parts();
    struct ut_hold_put put = {
        .record = {.spans = 1, .cursors = 1, .body = {request.data, request.size}}, .done = on_put};
    cr_assert_eq(ut_hold_put(hold, &put), 0);
    WAIT(put.promised == UINT64_MAX);
    close_parts();
    open_parts();
    fakes[0].keeps = true;
    WAIT(fakes[0].held_count == 1);
    cr_expect_not_null(fakes[0].held[0]->batch->first->resources[0].edit);
    cr_expect_eq(metric("undertrace_exporter_unjoined_spans"), 1);
    fake_answer(&fakes[0], (struct ut_outcome){.result = UT_SENT});
    otlp_free(&request);
}
