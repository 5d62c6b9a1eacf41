/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last line: where every span went. The receivers' side is read from the metrics, by the names
 * that every receiver of spans keeps its books under; the exporters' side from the queues.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app_parts.h"

struct account {
    char text[1536];
    size_t size;
    uint64_t unaccounted;
};

static void UT_PRINTF(2, 3) add(struct account *account, const char *format, ...)
{
    size_t room = sizeof(account->text) - account->size;
    va_list args;
    va_start(args, format);
    int size = vsnprintf(account->text + account->size, room, format, args);
    va_end(args);
    if (size > 0)
        account->size += (size_t)size < room ? (size_t)size : room - 1;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static void add_receivers(struct account *account, const struct ut_metrics *metrics)
{
    uint64_t received = (uint64_t)ut_metrics_sum(metrics, "undertrace_receiver_received_spans");
    uint64_t accepted = (uint64_t)ut_metrics_sum(metrics, "otelcol_receiver_accepted_spans");
    uint64_t refused = (uint64_t)ut_metrics_sum(metrics, "otelcol_receiver_refused_spans");
    uint64_t rejected = (uint64_t)ut_metrics_sum(metrics, "undertrace_receiver_rejected_spans");
    add(account, "received=%" PRIu64 " accepted=%" PRIu64 " refused=%" PRIu64 " rejected=%" PRIu64,
        received, accepted, refused, rejected);
    account->unaccounted += distance(received, accepted + refused + rejected);
}

static void add_books(struct account *account, const char *id, struct ut_queue_books books)
{
    uint64_t dropped = 0;
    add(account, " %s.accepted=%" PRIu64 " %s.sent=%" PRIu64, id, books.accepted, id, books.sent);
    if (books.recovered != 0)
        add(account, " %s.recovered=%" PRIu64, id, books.recovered);
    if (books.stored != 0)
        add(account, " %s.on_disk=%" PRIu64, id, books.stored);
    for (int i = 0; i < UT_DROP_REASONS; i++) {
        dropped += books.dropped[i];
        if (books.dropped[i] != 0)
            add(account, " %s.dropped_%s=%" PRIu64, id, ut_drop_reason_name((enum ut_drop_reason)i),
                books.dropped[i]);
    }
    uint64_t held = books.held + books.in_flight;
    if (held != books.stored)
        add(account, " %s.held=%" PRIu64, id, held - books.stored);
    account->unaccounted += distance(books.accepted + books.recovered, books.sent + held + dropped);
}

static void merge(struct ut_queue_books *sum, const struct ut_queue_books *books)
{
    sum->accepted += books->accepted;
    sum->recovered += books->recovered;
    sum->sent += books->sent;
    sum->held += books->held;
    sum->in_flight += books->in_flight;
    sum->stored += books->stored;
    for (int i = 0; i < UT_DROP_REASONS; i++)
        sum->dropped[i] += books->dropped[i];
}

static void merge_queues(struct ut_queue_books *sum, const struct ut_app_generation *generation,
                         const char *id)
{
    struct ut_queue_books books;
    for (size_t i = 0; i < generation->exporter_count; i++) {
        if (strcmp(generation->exporters[i].component->id, id) != 0)
            continue;
        ut_queue_books(generation->exporters[i].queue, &books);
        merge(sum, &books);
    }
}

void ut_app_books(const struct ut_app *app, const char *id, struct ut_queue_books *ret)
{
    *ret = (struct ut_queue_books){0};
    merge_queues(ret, app->current, id);
    for (const struct ut_app_generation *g = app->retiring; g != NULL; g = g->next)
        merge_queues(ret, g, id);
    for (const struct ut_app_retired *retired = app->retired; retired != NULL;
         retired = retired->next) {
        if (strcmp(retired->id, id) == 0)
            merge(ret, &retired->books);
    }
    /* What one has left on disk is what the next has recovered: it counts once, as it came in. */
    uint64_t handed_on = ret->stored - ut_app_spans_on_disk(app, id);
    ret->held -= handed_on;
    ret->stored -= handed_on;
    ret->recovered -= handed_on;
}

static void add_exporter(struct account *account, const struct ut_app *app, const char *id)
{
    struct ut_queue_books books;
    ut_app_books(app, id, &books);
    add_books(account, id, books);
}

static bool serves(const struct ut_app_generation *generation, const char *id)
{
    for (size_t i = 0; i < generation->exporter_count; i++) {
        if (strcmp(generation->exporters[i].component->id, id) == 0)
            return true;
    }
    return false;
}

void ut_app_account(struct ut_app *app)
{
    struct account account = {.size = 0};
    uint64_t pending = 0;
    add_receivers(&account, app->metrics);
    const struct ut_app_generation *current = app->current;
    for (size_t i = 0; i < current->config->pipeline_count; i++)
        pending += ut_pipeline_pending_spans(current->pipelines[i]);
    if (pending != 0)
        add(&account, " in_processors=%" PRIu64, pending);
    for (size_t i = 0; i < current->exporter_count; i++)
        add_exporter(&account, app, current->exporters[i].component->id);
    for (const struct ut_app_retired *retired = app->retired; retired != NULL;
         retired = retired->next) {
        if (!serves(current, retired->id))
            add_exporter(&account, app, retired->id);
    }
    add(&account, " unaccounted=%" PRIu64, account.unaccounted);
    ut_log(app->log, account.unaccounted == 0 ? UT_LOG_INFO : UT_LOG_ERROR, "stopped", "%s",
           account.text);
}
