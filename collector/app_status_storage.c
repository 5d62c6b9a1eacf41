/* SPDX-License-Identifier: Apache-2.0 */
/* The disk holds as JSON, for /status: how full they are, how their disks do, who has what there.
 */
#include <jansson.h>
#include <string.h>

#include "app_parts.h"
#include "base/clock.h"

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *describe_cursors(const struct ut_hold *hold)
{
    struct ut_hold_backlog backlogs[UT_HOLD_CURSORS_MAX];
    size_t count = ut_hold_backlogs(hold, backlogs, UT_HOLD_CURSORS_MAX);
    json_t *cursors = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *row = json_object();
        json_t *name = json_string(backlogs[i].name);
        json_object_set_new(row, "exporter", name != NULL ? name : json_string("?"));
        json_object_set_new(row, "orphan", json_boolean(!backlogs[i].claimed));
        set_count(row, "records", backlogs[i].records);
        set_count(row, "spans", backlogs[i].spans);
        set_count(row, "bytes", backlogs[i].bytes);
        json_array_append_new(cursors, row);
    }
    return cursors;
}

/* What went wrong last; nothing where all has gone well. */
static void describe_trouble(const struct ut_hold_figures *figures, json_t *row)
{
    if (figures->trouble == NULL)
        return;
    bool by_disk = figures->trouble_error != 0;
    json_object_set_new(row, "last_trouble",
                        json_sprintf("%s%s%s", by_disk ? strerror(-figures->trouble_error) : "",
                                     by_disk ? ": " : "", figures->trouble));
    set_count(row, "last_trouble_ms", figures->trouble_ns / UT_NS_PER_MS);
}

static json_t *describe_hold(const struct ut_app_hold *hold)
{
    struct ut_hold_figures figures;
    json_t *row = json_object(), *directory = json_string(hold->config.directory);
    ut_hold_figures(hold->hold, &figures);
    json_object_set_new(row, "directory", directory != NULL ? directory : json_string("?"));
    set_count(row, "bytes", figures.taken);
    set_count(row, "max_bytes", figures.max_bytes);
    set_count(row, "commits", figures.commits);
    set_count(row, "commit_mean_us",
              figures.commits > 0 ? figures.commit_ns / figures.commits / 1000 : 0);
    set_count(row, "commit_most_us", figures.commit_most_ns / 1000);
    set_count(row, "failures", figures.failures);
    set_count(row, "refused", figures.refused);
    set_count(row, "written", figures.written);
    set_count(row, "spared", figures.withdrawn);
    set_count(row, "damaged", figures.damaged);
    json_object_set_new(row, "set_aside", json_boolean(figures.set_aside));
    set_count(row, "silent_ms", figures.silent_ns / UT_NS_PER_MS);
    describe_trouble(&figures, row);
    json_object_set_new(row, "cursors", describe_cursors(hold->hold));
    return row;
}

json_t *ut_app_describe_holds(const struct ut_app *app)
{
    json_t *holds = json_array();
    for (const struct ut_app_hold *hold = app->holds; hold != NULL; hold = hold->next) {
        if (hold->hold != NULL)
            json_array_append_new(holds, describe_hold(hold));
    }
    return holds;
}
