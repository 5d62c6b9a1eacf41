/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue against a simple reference, in virtual time: random puts, outcomes, withdrawals,
 * pauses, joins, splits and stops. The reference knows each span by its body and number, and what
 * became of it; bodies are known by their segment, which views share.
 */
#include "queue_lab.h"

enum { BODIES_MAX = 4096, SPANS_MAX = 12, STEPS = 6000 };

enum state { HELD, FLYING, SENT, LOST };

struct model_body {
    const struct ut_segment *segment;
    struct ut_watch watch;
    uint32_t spans;
    enum state states[SPANS_MAX];
    uint32_t reported; /* spans whose end the watch was told of */
    bool watched, released;
};

static struct model_body bodies[BODIES_MAX];
static uint32_t body_count;
static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    return ut_retry_random(&random_state) % below;
}

static void on_finished(struct ut_watch *watch, uint32_t spans, const struct ut_outcome *outcome)
{
    struct model_body *body = UT_CONTAINER_OF(watch, struct model_body, watch);
    (void)outcome;
    cr_assert_not(watch->withdrawn, "its sender is not asked twice");
    body->reported += spans;
    cr_assert_leq(body->reported, body->spans);
}

static void on_released(struct ut_watch *watch)
{
    struct model_body *body = UT_CONTAINER_OF(watch, struct model_body, watch);
    cr_assert_not(body->released);
    body->released = true;
    cr_assert(watch->withdrawn || body->reported == body->spans, "%u of %u", body->reported,
              body->spans);
}

static struct model_body *find(const struct ut_segment *segment)
{
    for (uint32_t i = body_count; i-- > 0;) {
        if (bodies[i].segment == segment && !bodies[i].released)
            return &bodies[i];
    }
    cr_assert_fail("an unknown body");
    return NULL;
}

/* Sets the state of every span of the item. */
static void move(const struct ut_item *item, enum state from, enum state to)
{
    uint32_t position = 0, end = item->first_span + item->span_count;
    for (const struct ut_body *body = item->batch->first; body != NULL; body = body->next) {
        struct model_body *known = find(body->segment);
        for (uint32_t i = 0; i < known->spans; i++, position++) {
            if (position < item->first_span || position >= end)
                continue;
            cr_assert_eq(known->states[i], from, "state %d, not %d", known->states[i], from);
            known->states[i] = to;
        }
    }
    cr_assert_geq(position, end);
}

/* Items that the fake keeps are flying from the moment it sees them. */
static size_t seen;

static void see_sends(void)
{
    for (; seen < fake.held_count; seen++)
        move(fake.held[seen], HELD, FLYING);
}

static void model_put(void)
{
    struct ut_batch *batch = NULL;
    for (uint64_t i = 0; i <= draw(3); i++) {
        uint32_t spans = 1 + (uint32_t)draw(SPANS_MAX);
        struct ut_batch *one = fake_batch(&worker, spans);
        struct model_body *body = &bodies[body_count++];
        cr_assert_leq(body_count, BODIES_MAX);
        *body = (struct model_body){
            .segment = one->first->segment,
            .watch = {.finished = on_finished, .released = on_released},
            .spans = spans,
            .watched = true,
        };
        one->first->watch = &body->watch;
        if (batch == NULL)
            batch = one;
        else
            ut_batch_append(batch, one);
    }
    if (ut_queue_admits(queue, batch)) {
        ut_queue_put(queue, batch);
        return;
    }
    for (struct ut_body *body = batch->first; body != NULL; body = body->next)
        find(body->segment)->watch.withdrawn = true; /* refused: nobody waits */
    for (struct ut_body *body = batch->first; body != NULL; body = body->next)
        find(body->segment)->spans = 0;
    ut_batch_unref(batch);
}

static void model_answer(void)
{
    if (fake.held_count == 0)
        return;
    struct ut_item *item = fake.held[0];
    struct ut_outcome outcome = {
        .result = (enum ut_result)draw(4),
        .cause = (enum ut_setback)draw(UT_SETBACKS),
        .after_ms = draw(8) == 0 ? (uint32_t)draw(9000) : 0,
    };
    if (draw(2) == 0)
        outcome = sent;
    bool lost =
        outcome.result == UT_PERMANENT || (outcome.result == UT_TOO_LARGE && item->span_count == 1);
    move(item, FLYING, outcome.result == UT_SENT ? SENT : lost ? LOST : HELD);
    seen--;
    fake_answer(&fake, outcome);
}

static void model_withdraw(void)
{
    if (body_count == 0)
        return;
    uint32_t recent = body_count < 64 ? body_count : 64;
    struct model_body *body = &bodies[body_count - 1 - (uint32_t)draw(recent)];
    if (body->released)
        return;
    body->watch.withdrawn = true;
    ut_queue_withdraw(queue);
}

static uint64_t count_state(enum state state)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < body_count; i++) {
        for (uint32_t j = 0; j < bodies[i].spans; j++)
            count += bodies[i].states[j] == state;
    }
    return count;
}

static void compare(void)
{
    struct ut_queue_books books = balanced_books(queue);
    uint64_t lost = books.dropped[UT_DROP_PERMANENT] + books.dropped[UT_DROP_TOO_LARGE];
    cr_assert_eq(books.sent, count_state(SENT));
    cr_assert_eq(books.in_flight, count_state(FLYING));
    cr_assert_eq(lost, count_state(LOST));
    /* What the reference still holds, the queue holds or has dropped of its own accord. */
    cr_assert_eq(books.held + dropped_in_all(&books) - lost, count_state(HELD));
}

static void run_model(uint64_t seed)
{
    random_state = seed;
    body_count = 0;
    seen = 0;
    prepare();
    settings.sending_queue.num_consumers = 1 + draw(5);
    settings.sending_queue.queue_size = 5 + draw(100);
    settings.sending_queue.sizer = (int)draw(3);
    settings.sending_queue.queue_size *= settings.sending_queue.sizer == UT_SIZER_REQUESTS ? 1 : 20;
    settings.sending_queue.on_full = (int)draw(3);
    settings.sending_queue.batch.present = draw(2) == 0;
    settings.sending_queue.batch.min_size = draw(40);
    settings.sending_queue.batch.max_size = draw(2) * 40;
    settings.retry_on_failure.max_elapsed_time_ns = draw(2) * 60 * UT_NS_PER_S;
    settings.retry_on_failure.randomization_factor = 0.5;
    fake.keeps = true;
    fake.endpoints = 1 + (uint32_t)draw(3);
    open_queue();
    for (int i = 0; i < STEPS && body_count + 4 < BODIES_MAX; i++) {
        uint64_t action = draw(10);
        if (action < 3)
            model_put();
        else if (action < 8)
            model_answer();
        else if (action == 8)
            virtual_worker_advance(&worker, draw(2000));
        else
            model_withdraw();
        see_sends();
        if (i % 64 == 0)
            compare();
    }
    compare();
    bool drains = draw(2) == 0;
    if (drains) {
        ut_queue_drain(queue, NULL, NULL);
        see_sends();
        for (int i = 0; i < 200; i++) {
            model_answer();
            see_sends();
        }
    }
    ut_queue_abandon(queue);
    while (fake.held_count > 0)
        model_answer();
    compare();
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.held + books.in_flight, 0);
    for (uint32_t i = 0; i < body_count; i++)
        cr_assert(bodies[i].released);
    cr_assert_eq(worker.timers.count, 0);
    finish();
}

Test(model, the_queue_does_what_the_reference_does)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        run_model(seed);
}

/* Without joins, halves and withdrawals batches are first sent in the order of their puts. */
Test(model, first_sends_keep_the_order_whatever_the_backend_says)
{
    prepare();
    settings.sending_queue.queue_size = 200;
    random_state = 7;
    fake.keeps = true;
    open_queue();
    static uint64_t first_seen[2000];
    uint64_t puts = 0, next = 0;
    for (int i = 0; i < 8000 && puts < 2000; i++) {
        struct ut_batch *batch = fake_batch(&worker, 1);
        batch->received_ns = puts + 1; /* its number */
        if (draw(2) == 0 && ut_queue_admits(queue, batch)) {
            first_seen[puts++] = 0;
            ut_queue_put(queue, batch);
        } else {
            ut_batch_unref(batch);
        }
        for (; seen < fake.held_count; seen++) {
            uint64_t number = fake.held[seen]->batch->received_ns - 1;
            if (first_seen[number]++ == 0)
                cr_assert_eq(number, next++, "%lu before %lu", number, next);
        }
        if (draw(2) == 0 && fake.held_count > 0) {
            seen--;
            fake_answer(&fake, draw(3) == 0 ? retry : sent);
        }
        virtual_worker_advance(&worker, draw(100));
    }
    cr_assert_gt(next, 1000);
    ut_queue_abandon(queue);
    while (fake.held_count > 0)
        fake_answer(&fake, sent);
    finish();
}
