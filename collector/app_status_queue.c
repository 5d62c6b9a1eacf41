/* SPDX-License-Identifier: Apache-2.0 */
/* An exporter's queue as JSON, for /status. */
#include <jansson.h>

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
    return object;
}

void ut_app_describe_queue(const struct ut_queue *queue, json_t *row)
{
    struct ut_queue_figures figures;
    struct ut_queue_books books;
    json_t *reasons = json_object(), *causes = json_object();
    ut_queue_figures(queue, &figures);
    ut_queue_books(queue, &books);
    for (int i = 0; i < UT_DROP_REASONS; i++)
        set_count(reasons, ut_drop_reason_name((enum ut_drop_reason)i), books.dropped[i]);
    for (int i = 0; i < UT_SETBACKS; i++)
        set_count(causes, ut_setback_name((enum ut_setback)i), figures.retries[i]);
    set_count(row, "in_flight", books.in_flight);
    json_object_set_new(row, "queue", describe_size(&figures));
    json_object_set_new(row, "endpoints", describe_endpoints(&figures));
    json_object_set_new(row, "dropped_by_reason", reasons);
    json_object_set_new(row, "retries_by_cause", causes);
}
