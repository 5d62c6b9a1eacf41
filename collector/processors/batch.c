/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batch processor: small requests become large ones, by moving bodies from list to list.
 *
 * A batch goes on when it has `send_batch_size` spans, or `timeout` after its first request came.
 * With a `timeout` or `send_batch_size` of 0 every request goes on at once. `send_batch_max_size`
 * is kept at the borders of requests only: a request that would make the batch larger than that
 * begins the next one. A single request above the maximum goes on alone, whole; what a backend
 * finds too large is split by the queue.
 *
 * Invariants: 1. `pending` has at least one span, fewer than `send_batch_size`, and the timer is
 * set exactly while there is one.
 */
#include "base/clock.h"
#include "component.h"

#include <errno.h>
#include <stdlib.h>

extern const struct ut_processor_type ut_processor_batch;

struct batch_config {
    uint64_t timeout_ns;
    uint64_t send_batch_size;     /* spans */
    uint64_t send_batch_max_size; /* spans; 0: none */
};

struct batch_processor {
    struct ut_processor base;
    const struct batch_config *config;
    struct ut_worker *worker;
    struct ut_batch *pending; /* NULL: none */
    struct ut_timer timer;
};

static const struct ut_field fields[] = {
    {
        .key = "timeout",
        .type = UT_FIELD_DURATION,
        .offset = offsetof(struct batch_config, timeout_ns),
        .fallback = "200ms",
        .least = 0,
        .most = 3600,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "send_batch_size",
        .type = UT_FIELD_UINT,
        .offset = offsetof(struct batch_config, send_batch_size),
        .fallback = "8192",
        .least = 0,
        .most = 10e6,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "send_batch_max_size",
        .type = UT_FIELD_UINT,
        .offset = offsetof(struct batch_config, send_batch_max_size),
        .fallback = "0",
        .least = 0,
        .most = 10e6,
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_FIELD_END,
};

static void check(const void *config, struct ut_config_report *report)
{
    const struct batch_config *c = config;
    if (c->send_batch_max_size != 0 && c->send_batch_max_size < c->send_batch_size)
        report->error(report, "send_batch_max_size",
                      "must be 0 (no maximum) or at least send_batch_size (%llu)",
                      (unsigned long long)c->send_batch_size);
}

static void emit(struct batch_processor *self)
{
    struct ut_batch *batch = self->pending;
    if (batch == NULL)
        return;
    self->pending = NULL;
    ut_timer_cancel(&self->worker->timers, &self->timer);
    self->base.out->consume(self->base.out, batch);
}

static bool would_exceed(const struct batch_processor *self, const struct ut_batch *batch)
{
    uint64_t most = self->config->send_batch_max_size;
    return self->pending != NULL && most != 0 &&
           (uint64_t)self->pending->spans + batch->spans > most;
}

static void on_consume(struct ut_consumer *consumer, struct ut_batch *batch)
{
    struct batch_processor *self = UT_CONTAINER_OF(consumer, struct batch_processor, base.in);
    if (would_exceed(self, batch))
        emit(self);
    if (self->pending == NULL)
        self->pending = batch;
    else
        ut_batch_append(self->pending, batch);
    if (self->config->timeout_ns == 0 || self->pending->spans >= self->config->send_batch_size) {
        emit(self);
    } else if (!ut_timer_is_set(&self->timer)) {
        uint64_t due = ut_worker_now(self->worker) + self->config->timeout_ns;
        ut_timer_set(&self->worker->timers, &self->timer, due);
    }
}

static void on_timeout(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    emit(UT_CONTAINER_OF(timer, struct batch_processor, timer));
}

static int create(struct ut_processor **ret, const struct ut_build *build,
                  struct ut_evidence *evidence, struct ut_consumer *out)
{
    (void)evidence;
    struct batch_processor *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    *self = (struct batch_processor){
        .base = {.type = &ut_processor_batch, .in = {.consume = on_consume}, .out = out},
        .config = build->config,
        .worker = build->worker,
        .timer = {.fire = on_timeout},
    };
    *ret = &self->base;
    return 0;
}

static void flush(struct ut_processor *processor)
{
    emit(UT_CONTAINER_OF(processor, struct batch_processor, base));
}

static void free_processor(struct ut_processor *processor)
{
    struct batch_processor *self = UT_CONTAINER_OF(processor, struct batch_processor, base);
    ut_timer_cancel(&self->worker->timers, &self->timer);
    if (self->pending != NULL)
        ut_batch_unref(self->pending);
    free(self);
}

const struct ut_processor_type ut_processor_batch = {
    .name = "batch",
    .fields = fields,
    .config_size = sizeof(struct batch_config),
    .check = check,
    .create = create,
    .flush = flush,
    .free = free_processor,
};
