/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last line: where every span went. The receivers' side is read from the metrics, by the names
 * that every receiver of spans keeps its books under; the exporters' side from the queues.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

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

static void add_exporter(struct account *account, const struct ut_app_exporter *exporter)
{
    struct ut_queue_books books;
    const char *id = exporter->component->id;
    uint64_t dropped = 0;
    ut_queue_books(exporter->queue, &books);
    add(account, " %s.accepted=%" PRIu64 " %s.sent=%" PRIu64, id, books.accepted, id, books.sent);
    for (int i = 0; i < UT_DROP_REASONS; i++) {
        dropped += books.dropped[i];
        if (books.dropped[i] != 0)
            add(account, " %s.dropped_%s=%" PRIu64, id, ut_drop_reason_name((enum ut_drop_reason)i),
                books.dropped[i]);
    }
    uint64_t held = books.held + books.in_flight;
    if (held != 0)
        add(account, " %s.held=%" PRIu64, id, held);
    account->unaccounted += distance(books.accepted, books.sent + held + dropped);
}

void ut_app_account(struct ut_app *app)
{
    struct account account = {.size = 0};
    uint64_t pending = 0;
    add_receivers(&account, app->metrics);
    for (size_t i = 0; i < app->config->pipeline_count; i++) {
        if (app->pipelines[i] != NULL)
            pending += ut_pipeline_pending_spans(app->pipelines[i]);
    }
    if (pending != 0)
        add(&account, " in_processors=%" PRIu64, pending);
    for (size_t i = 0; i < app->exporter_count; i++) {
        if (app->exporters[i].queue != NULL)
            add_exporter(&account, &app->exporters[i]);
    }
    add(&account, " unaccounted=%" PRIu64, account.unaccounted);
    ut_log(app->log, account.unaccounted == 0 ? UT_LOG_INFO : UT_LOG_ERROR, "stopped", "%s",
           account.text);
}
