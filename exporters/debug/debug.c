/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The debug exporter: traces on the terminal. `verbosity: basic` prints a line per batch, `normal`
 * a tree per trace, `detailed` a tree with the attributes and events of every span.
 *
 * A trace is printed 2 s after its last span came, or earlier when the store is over its limits;
 * spans that come after that begin a new tree. Every item is taken within `send`, so the queue
 * never sends one twice. A span that its sender delivered twice is printed once while its trace
 * waits.
 *
 * A reader that does not read (a stopped terminal, a full pipe) never holds the worker: see
 * output.h.
 */
#include "debug_exporter/debug.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "debug_exporter/output.h"
#include "debug_exporter/read.h"
#include "debug_exporter/render.h"

enum { TEXT_MAX = 1 << 20 };

#define QUIET_NS (2 * UT_NS_PER_S)

struct debug_exporter {
    struct ut_exporter base;
    struct ut_worker *worker;
    enum debug_verbosity verbosity;
    struct debug_store store;
    struct ut_timer timer; /* set while the store has a trace: when the oldest is due, or before */
    struct debug_output output;
    struct debug_text text; /* of one trace, reused */
    uint64_t *early, *spans_lost;
};

static const char *const verbosities[] = {"basic", "normal", "detailed", NULL};

static const struct ut_field fields[] = {
    {
        .key = "verbosity",
        .type = UT_FIELD_ENUM,
        .offset = offsetof(struct debug_config, verbosity),
        .fallback = "normal",
        .words = verbosities,
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_FIELD_END,
};

static struct debug_exporter *exporter_of(struct ut_exporter *exporter)
{
    return UT_CONTAINER_OF(exporter, struct debug_exporter, base);
}

/* ---- printing ------------------------------------------------------------------------------- */

static void print_oldest(struct debug_exporter *self)
{
    struct debug_trace *trace = self->store.oldest;
    debug_text_clear(&self->text);
    if (debug_render(&self->text, trace, &self->worker->pool, self->verbosity == DEBUG_DETAILED)) {
        debug_output_write(&self->output, self->text.data, self->text.size);
        if (self->text.full)
            debug_output_write(&self->output, "\n… cut\n\n", sizeof("\n… cut\n\n") - 1);
    } else {
        *self->spans_lost += trace->span_count;
    }
    debug_store_remove(&self->store, trace);
}

static void on_timer(struct ut_timer *timer, uint64_t now_ns)
{
    struct debug_exporter *self = UT_CONTAINER_OF(timer, struct debug_exporter, timer);
    struct debug_store *store = &self->store;
    while (store->oldest != NULL && store->oldest->arrived_ns + QUIET_NS <= now_ns)
        print_oldest(self);
    if (store->oldest != NULL)
        ut_timer_set(&self->worker->timers, timer, store->oldest->arrived_ns + QUIET_NS);
}

/* ---- taking --------------------------------------------------------------------------------- */

static void take_span(struct debug_exporter *self, const struct ut_body *body, uint32_t index,
                      ut_slice service)
{
    uint64_t now = ut_worker_now(self->worker);
    struct debug_store *store = &self->store;
    struct debug_trace *trace = debug_store_touch(store, body->spans[index].trace_id, now);
    if (trace == NULL) {
        ++*self->spans_lost;
        return;
    }
    size_t before = trace->arena.bytes;
    if (!debug_read_span(trace, body, index, service, self->verbosity == DEBUG_DETAILED))
        ++*self->spans_lost;
    debug_store_account(store, trace, before);
    while (debug_store_is_over(store)) {
        ++*self->early;
        print_oldest(self);
    }
    if (store->oldest != NULL && !ut_timer_is_set(&self->timer))
        ut_timer_set(&self->worker->timers, &self->timer, store->oldest->arrived_ns + QUIET_NS);
}

struct summary {
    uint64_t spans, bytes, requests, with_evidence;
};

/* Calls for the spans of the item, which counts over those that are not left out. */
static void take_body(struct debug_exporter *self, const struct ut_body *body,
                      const struct ut_item *item, uint64_t *position, struct summary *summary)
{
    uint64_t first = item->first_span, end = first + item->span_count;
    bool any = false;
    for (uint32_t r = 0; r < body->resource_count; r++) {
        const struct ut_resource *resource = &body->resources[r];
        for (uint32_t i = 0; i < resource->span_count; i++) {
            uint32_t index = resource->first_span + i;
            if (body->spans[index].flags & UT_SPAN_LEFT_OUT)
                continue;
            uint64_t at = (*position)++;
            if (at < first || at >= end)
                continue;
            any = true;
            summary->spans++;
            summary->bytes += body->spans[index].size;
            summary->with_evidence += debug_has_evidence(body, index);
            if (self->verbosity != DEBUG_BASIC)
                take_span(self, body, index, resource->claims.service_name);
        }
    }
    summary->requests += any;
}

static void print_summary(struct debug_exporter *self, const struct summary *summary)
{
    char size[DEBUG_NUMBER_BYTES];
    debug_text_clear(&self->text);
    debug_text_format(&self->text, "%llu span%s in %llu request%s, %s",
                      (unsigned long long)summary->spans, summary->spans == 1 ? "" : "s",
                      (unsigned long long)summary->requests, summary->requests == 1 ? "" : "s",
                      debug_size(size, summary->bytes));
    if (summary->with_evidence > 0) {
        debug_text_add(&self->text, ", ");
        debug_text_colour(&self->text, DEBUG_RED);
        debug_text_format(&self->text, "%llu with evidence of the kernel",
                          (unsigned long long)summary->with_evidence);
        debug_text_colour(&self->text, DEBUG_PLAIN);
    }
    debug_text_add(&self->text, "\n");
    debug_output_write(&self->output, self->text.data, self->text.size);
}

static void on_send(struct ut_exporter *exporter, struct ut_item *item)
{
    struct debug_exporter *self = exporter_of(exporter);
    struct summary summary = {0};
    uint64_t position = 0;
    for (const struct ut_body *body = item->batch->first; body != NULL; body = body->next)
        take_body(self, body, item, &position, &summary);
    if (self->verbosity == DEBUG_BASIC)
        print_summary(self, &summary);
    item->done(item, &(struct ut_outcome){.result = UT_SENT});
}

/* ---- life ----------------------------------------------------------------------------------- */

int debug_create(struct ut_exporter **ret, const struct ut_build *build, int fd)
{
    const struct debug_config *config = build->config;
    struct ut_worker *worker = build->worker;
    struct debug_exporter *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    self->base.type = &ut_exporter_debug;
    self->worker = worker;
    self->verbosity = (enum debug_verbosity)config->verbosity;
    self->store.pool = &worker->pool;
    self->timer.fire = on_timer;
    self->early = ut_metrics_counter(worker->metrics, "undertrace_debug_early_traces", "",
                                     "Traces that were printed early, to stay within limits.");
    self->spans_lost = ut_metrics_counter(worker->metrics, "undertrace_debug_lost_spans", "",
                                          "Spans that were not printed for lack of memory.");
    uint64_t *left_out =
        ut_metrics_counter(worker->metrics, "undertrace_debug_left_out_texts", "",
                           "Traces and lines that the output's reader was too slow for.");
    debug_output_init(&self->output, worker, fd, left_out);
    debug_text_init(&self->text, &worker->pool, TEXT_MAX);
    self->text.colours = self->output.colours;
    *ret = &self->base;
    return 0;
}

static int create(struct ut_exporter **ret, const struct ut_build *build)
{
    return debug_create(ret, build, STDOUT_FILENO);
}

static int start(struct ut_exporter *exporter, char error[UT_ERROR_TEXT])
{
    (void)exporter;
    (void)error;
    return 0;
}

/* Nothing is in flight; what waits for more spans is printed now. */
static void stop(struct ut_exporter *exporter, void (*stopped)(void *arg), void *arg)
{
    struct debug_exporter *self = exporter_of(exporter);
    while (self->store.oldest != NULL)
        print_oldest(self);
    ut_timer_cancel(&self->worker->timers, &self->timer);
    stopped(arg);
}

static void free_exporter(struct ut_exporter *exporter)
{
    struct debug_exporter *self = exporter_of(exporter);
    while (self->store.oldest != NULL)
        debug_store_remove(&self->store, self->store.oldest);
    ut_timer_cancel(&self->worker->timers, &self->timer);
    debug_output_done(&self->output);
    debug_text_done(&self->text);
    free(self);
}

const struct ut_exporter_type ut_exporter_debug = {
    .name = "debug",
    .fields = fields,
    .config_size = sizeof(struct debug_config),
    .create = create,
    .start = start,
    .send = on_send,
    .stop = stop,
    .free = free_exporter,
};
