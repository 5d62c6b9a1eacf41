/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/delivery.h"

#include <errno.h>
#include <stdio.h>

#define TEXT_BYTES 200

struct delivery {
    struct ut_watch watch;
    struct ut_deliveries *all;
    struct ut_push *push; /* NULL: answered */
    struct ut_timer deadline;
    uint32_t bodies;     /* that carry the watch */
    uint32_t expecting;  /* … and have come to the queues */
    uint64_t unfinished; /* spans of those, once for each exporter */
    uint64_t sent, refused, given_up;
    uint8_t status;        /* of the first refusal */
    char text[TEXT_BYTES]; /* of the first thing that went wrong */
};

/* ---- answers -------------------------------------------------------------------------------- */

static void answer(struct delivery *delivery, const struct ut_answer *answer)
{
    struct ut_push *push = delivery->push;
    ut_timer_cancel(&delivery->all->worker->timers, &delivery->deadline);
    delivery->push = NULL;
    push->done(push, answer);
}

/* The longest wait of the exporters. */
static uint32_t delay_of(const struct ut_deliveries *all)
{
    uint32_t longest = 0;
    for (size_t i = 0; i < all->queue_count; i++) {
        uint32_t delay = ut_queue_delay_ms(all->queues[i]);
        longest = delay > longest ? delay : longest;
    }
    return longest;
}

static void answer_busy(struct delivery *delivery, const char *why, const char *words)
{
    char text[TEXT_BYTES + 64];
    (void)snprintf(text, sizeof(text), "%s%s%s", why, words[0] != '\0' ? ": " : "", words);
    answer(delivery, &(struct ut_answer){
                         .verdict = UT_BUSY,
                         .delay_ms = delay_of(delivery->all),
                         .text = text,
                     });
}

static void answer_finished(struct delivery *delivery)
{
    if (delivery->given_up > 0)
        answer_busy(delivery, "not delivered", delivery->text);
    else if (delivery->refused > 0 && delivery->sent == 0)
        answer(delivery, &(struct ut_answer){
                             .verdict = UT_REJECTED,
                             .status = delivery->status,
                             .text = delivery->text,
                         });
    else
        answer(delivery, &(struct ut_answer){.verdict = UT_ACCEPTED});
}

static void on_deadline(struct ut_timer *timer, uint64_t now_ns)
{
    struct delivery *delivery = UT_CONTAINER_OF(timer, struct delivery, deadline);
    struct ut_deliveries *all = delivery->all;
    const char *words = "";
    (void)now_ns;
    delivery->watch.withdrawn = true;
    for (size_t i = 0; i < all->queue_count; i++) {
        ut_queue_withdraw(all->queues[i]);
        if (words[0] == '\0')
            words = ut_queue_words(all->queues[i]);
    }
    answer_busy(delivery, "not delivered within the time for it", words);
}

/* ---- the watch ------------------------------------------------------------------------------ */

static void count(struct delivery *delivery, uint64_t spans, const struct ut_outcome *outcome)
{
    bool sent = outcome->result == UT_SENT, again = outcome->result == UT_RETRY;
    uint64_t rejected = sent ? outcome->rejected_spans : spans;
    rejected = rejected < spans ? rejected : spans;
    delivery->sent += spans - rejected;
    delivery->refused += again ? 0 : rejected;
    delivery->given_up += again ? rejected : 0;
    if (rejected == 0 || delivery->text[0] != '\0')
        return;
    delivery->status = outcome->status;
    (void)snprintf(delivery->text, sizeof(delivery->text), "%s",
                   outcome->text != NULL ? outcome->text : "the backend refuses the spans");
}

static void on_finished(struct ut_watch *watch, uint32_t spans, const struct ut_outcome *outcome)
{
    struct delivery *delivery = UT_CONTAINER_OF(watch, struct delivery, watch);
    if (delivery->push == NULL)
        return;
    UT_CHECK(delivery->unfinished >= spans);
    delivery->unfinished -= spans;
    count(delivery, spans, outcome);
    if (delivery->unfinished == 0 && delivery->expecting == delivery->bodies)
        answer_finished(delivery);
}

static void on_released(struct ut_watch *watch)
{
    struct delivery *delivery = UT_CONTAINER_OF(watch, struct delivery, watch);
    struct ut_deliveries *all = delivery->all;
    if (--delivery->bodies > 0)
        return;
    /* Bodies that came to no queue, or lost their spans on the way there. */
    if (delivery->push != NULL)
        answer_finished(delivery);
    all->open--;
    ut_pool_free(&all->worker->pool, delivery);
}

/* ---- life ----------------------------------------------------------------------------------- */

static uint64_t deadline_of(const struct ut_deliveries *all, const struct ut_push *push)
{
    uint64_t due_ns = ut_worker_now(all->worker) + all->timeout_ns;
    return push->deadline_ns != 0 && push->deadline_ns < due_ns ? push->deadline_ns : due_ns;
}

int ut_delivery_begin(struct ut_deliveries *deliveries, struct ut_push *push)
{
    struct delivery *delivery = ut_pool_alloc(&deliveries->worker->pool, sizeof(*delivery));
    if (delivery == NULL)
        return -ENOMEM;
    *delivery = (struct delivery){
        .watch = {.finished = on_finished, .released = on_released},
        .all = deliveries,
        .push = push,
        .deadline = {.fire = on_deadline},
    };
    for (struct ut_body *body = push->batch->first; body != NULL; body = body->next) {
        body->watch = &delivery->watch;
        delivery->bodies++;
    }
    push->held_by = delivery;
    deliveries->open++;
    ut_timer_set(&deliveries->worker->timers, &delivery->deadline, deadline_of(deliveries, push));
    return 0;
}

void ut_delivery_expect(struct ut_deliveries *deliveries, const struct ut_batch *batch)
{
    for (const struct ut_body *body = batch->first; body != NULL; body = body->next) {
        if (body->watch == NULL)
            continue;
        struct delivery *delivery = UT_CONTAINER_OF(body->watch, struct delivery, watch);
        delivery->unfinished += (uint64_t)ut_body_spans(body) * deliveries->queue_count;
        delivery->expecting++;
    }
}

void ut_delivery_abandon(struct ut_push *push)
{
    answer(push->held_by, &(struct ut_answer){.verdict = UT_ACCEPTED});
}
