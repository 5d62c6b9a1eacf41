/* SPDX-License-Identifier: Apache-2.0 */
/* The exporters and their queues as JSON, for /status; since the start, whatever reloads there
 * were: what an exporter's predecessors of its name had is its own, and one that is configured no
 * more has a row as long as it ever had a span. */
#include <jansson.h>
#include <string.h>

#include "app_parts.h"
#include "base/clock.h"

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *describe_size(const struct ut_queue_figures *figures)
{
    static const char *const sizers[] = {"requests", "items", "bytes"};
    json_t *object = json_object();
    json_object_set_new(object, "sizer", json_string(sizers[figures->sizer]));
    set_count(object, "size", figures->size);
    set_count(object, "capacity", figures->capacity);
    set_count(object, "batches", figures->batches);
    set_count(object, "bytes", figures->bytes);
    set_count(object, "oldest_ms", figures->oldest_ns / UT_NS_PER_MS);
    set_count(object, "refused_spans", figures->refused_spans);
    return object;
}

static json_t *describe_endpoints(const struct ut_queue_figures *figures)
{
    json_t *object = json_object();
    set_count(object, "count", figures->endpoints);
    set_count(object, "down", figures->endpoints_down);
    set_count(object, "next_try_ms", figures->silent_ns / UT_NS_PER_MS);
    set_count(object, "failing_spans", figures->failing_spans);
    set_count(object, "failing_ms", figures->failing_ns / UT_NS_PER_MS);
    /* A backend's words may be anything, and were cut somewhere. */
    char words[512];
    json_t *text = json_string(figures->words);
    if (text == NULL)
        text = json_string(ut_log_quote(words, sizeof(words), figures->words));
    json_object_set_new(object, "last_failure", text);
    set_count(object, "last_failure_ms", figures->words_ns / UT_NS_PER_MS);
    return object;
}

static void describe_queue(const struct ut_queue *queue, json_t *row)
{
    struct ut_queue_figures figures;
    json_t *causes = json_object();
    ut_queue_figures(queue, &figures);
    for (int i = 0; i < UT_SETBACKS; i++)
        set_count(causes, ut_setback_name((enum ut_setback)i), figures.retries[i]);
    json_object_set_new(row, "queue", describe_size(&figures));
    json_object_set_new(row, "endpoints", describe_endpoints(&figures));
    json_object_set_new(row, "retries_by_cause", causes);
}

static void describe_books(const struct ut_queue_books *books, json_t *row)
{
    uint64_t dropped = 0;
    json_t *reasons = json_object();
    for (int i = 0; i < UT_DROP_REASONS; i++) {
        set_count(reasons, ut_drop_reason_name((enum ut_drop_reason)i), books->dropped[i]);
        dropped += books->dropped[i];
    }
    set_count(row, "accepted", books->accepted);
    set_count(row, "recovered", books->recovered);
    set_count(row, "sent", books->sent);
    set_count(row, "held", books->held + books->in_flight);
    set_count(row, "in_flight", books->in_flight);
    set_count(row, "dropped", dropped);
    json_object_set_new(row, "dropped_by_reason", reasons);
}

static bool has_row(const json_t *list, const char *id)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *other = json_string_value(json_object_get(json_array_get(list, i), "id"));
        if (other != NULL && strcmp(other, id) == 0)
            return true;
    }
    return false;
}

/* `queue` is NULL for an exporter that is configured no more. */
static void add_row(json_t *list, const struct ut_app *app, const char *id,
                    const struct ut_queue *queue)
{
    struct ut_queue_books books;
    if (has_row(list, id))
        return;
    json_t *row = json_object();
    ut_app_books(app, id, &books);
    json_object_set_new(row, "id", json_string(id));
    json_object_set_new(row, "removed", json_boolean(queue == NULL));
    describe_books(&books, row);
    if (queue != NULL)
        describe_queue(queue, row);
    json_array_append_new(list, row);
}

json_t *ut_app_describe_exporters(const struct ut_app *app)
{
    json_t *list = json_array();
    const struct ut_app_generation *current = app->current;
    for (size_t i = 0; i < current->exporter_count; i++)
        add_row(list, app, current->exporters[i].component->id, current->exporters[i].queue);
    for (const struct ut_app_generation *g = app->retiring; g != NULL; g = g->next) {
        for (size_t i = 0; i < g->exporter_count; i++)
            add_row(list, app, g->exporters[i].component->id, NULL);
    }
    for (const struct ut_app_retired *retired = app->retired; retired != NULL;
         retired = retired->next) {
        if (retired->books.accepted + retired->books.recovered > 0)
            add_row(list, app, retired->id, NULL);
    }
    return list;
}
