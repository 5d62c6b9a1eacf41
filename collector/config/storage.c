/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk holds: `storage:` of a pipeline; or, as the Collector has it, the extension `file_storage`
 * that `sending_queue.storage` of an exporter names. Either way it is the pipeline's: what it
 * accepts is kept for all of its exporters.
 */
#include <inttypes.h>

#include "config/sections.h"

enum { SYNC_GROUP, SYNC_NONE };

static const char *const types[] = {"disk", NULL};
static const char *const syncs[] = {"group", "none", NULL};

/* Below it a group of large requests finds no room. */
#define MAX_BYTES_LEAST 16777216.0
#define MAX_BYTES_MOST 17592186044416.0 /* 16 TiB */

const struct ut_field ut_config_storage_fields[] = {
    {.key = "type",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct ut_config_storage, type),
     .fallback = "disk",
     .words = types},
    {.key = "directory",
     .type = UT_FIELD_STRING,
     .offset = offsetof(struct ut_config_storage, directory)},
    {.key = "max_bytes",
     .type = UT_FIELD_BYTES,
     .offset = offsetof(struct ut_config_storage, max_bytes),
     .fallback = "1GiB",
     .least = MAX_BYTES_LEAST,
     .most = MAX_BYTES_MOST},
    {.key = "sync",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct ut_config_storage, sync),
     .fallback = "group",
     .words = syncs},
    UT_FIELD_END,
};

/* ---- the Collector's extension --------------------------------------------------------------- */

/* What the Collector's file needs and ours does not is read, so that files carry over, and used for
 * nothing. */
struct compaction {
    bool on_start, on_rebound, cleanup_on_start;
    char *directory;
    uint64_t max_transaction_size, rebound_needed, rebound_trigger, check_interval_ns;
};

struct file_storage {
    struct ut_config_storage storage;
    uint64_t timeout_ns;
    bool fsync, create_directory, recreate;
    char *directory_permissions;
    struct compaction compaction;
};

static const struct ut_field compaction_fields[] = {
    {.key = "on_start",
     .type = UT_FIELD_BOOL,
     .offset = offsetof(struct compaction, on_start),
     .fallback = "false"},
    {.key = "on_rebound",
     .type = UT_FIELD_BOOL,
     .offset = offsetof(struct compaction, on_rebound),
     .fallback = "false"},
    {.key = "cleanup_on_start",
     .type = UT_FIELD_BOOL,
     .offset = offsetof(struct compaction, cleanup_on_start),
     .fallback = "false"},
    {.key = "directory", .type = UT_FIELD_STRING, .offset = offsetof(struct compaction, directory)},
    {.key = "max_transaction_size",
     .type = UT_FIELD_UINT,
     .offset = offsetof(struct compaction, max_transaction_size),
     .fallback = "65536"},
    {.key = "rebound_needed_threshold_mib",
     .type = UT_FIELD_UINT,
     .offset = offsetof(struct compaction, rebound_needed),
     .fallback = "100"},
    {.key = "rebound_trigger_threshold_mib",
     .type = UT_FIELD_UINT,
     .offset = offsetof(struct compaction, rebound_trigger),
     .fallback = "10"},
    {.key = "check_interval",
     .type = UT_FIELD_DURATION,
     .offset = offsetof(struct compaction, check_interval_ns),
     .fallback = "5s"},
    UT_FIELD_END,
};

static const struct ut_field file_storage_fields[] = {
    {.key = "directory",
     .type = UT_FIELD_STRING,
     .offset = offsetof(struct file_storage, storage.directory),
     .fallback = "/var/lib/otelcol/file_storage"},
    {.key = "max_bytes",
     .type = UT_FIELD_BYTES,
     .offset = offsetof(struct file_storage, storage.max_bytes),
     .fallback = "1GiB",
     .least = MAX_BYTES_LEAST,
     .most = MAX_BYTES_MOST},
    {.key = "sync",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct file_storage, storage.sync),
     .fallback = "group",
     .words = syncs},
    {.key = "timeout",
     .type = UT_FIELD_DURATION,
     .offset = offsetof(struct file_storage, timeout_ns),
     .fallback = "1s"},
    {.key = "fsync",
     .type = UT_FIELD_BOOL,
     .offset = offsetof(struct file_storage, fsync),
     .fallback = "false"},
    {.key = "create_directory",
     .type = UT_FIELD_BOOL,
     .offset = offsetof(struct file_storage, create_directory),
     .fallback = "true"},
    {.key = "recreate",
     .type = UT_FIELD_BOOL,
     .offset = offsetof(struct file_storage, recreate),
     .fallback = "false"},
    {.key = "directory_permissions",
     .type = UT_FIELD_STRING,
     .offset = offsetof(struct file_storage, directory_permissions)},
    {.key = "compaction",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct file_storage, compaction),
     .fields = compaction_fields,
     .present = UT_FIELD_NO_PRESENT},
    UT_FIELD_END,
};

static const struct ut_config_storage *storage_of(const void *config)
{
    return &((const struct file_storage *)config)->storage;
}

const struct ut_config_type ut_config_file_storage = {
    .name = "file_storage",
    .fields = file_storage_fields,
    .config_size = sizeof(struct file_storage),
    .storage = storage_of,
};

/* ---- rules ----------------------------------------------------------------------------------- */

static void report(struct ut_config_reader *reader, const struct ut_config_pipeline *pipeline,
                   const char *key, const char *text)
{
    char path[UT_CONFIG_PATH_MAX];
    const struct ut_config_node *node = ut_config_node_get(reader->root, "service");
    node = ut_config_node_get(ut_config_node_get(node, "pipelines"), pipeline->id);
    const struct ut_config_node *place = ut_config_node_get(node, key);
    (void)snprintf(path, sizeof(path), "service.pipelines.%s.%s", pipeline->id, key);
    ut_config_error(reader->messages,
                    place != NULL  ? ut_config_node_place(place)
                    : node != NULL ? ut_config_node_place(node)
                                   : (struct ut_config_at){0, 0},
                    path, "%s", text);
}

static const struct ut_config_component *find_extension(const struct ut_config_reader *reader,
                                                        const char *id)
{
    const struct ut_config_components *extensions = &reader->config->extensions;
    for (size_t i = 0; i < extensions->count; i++) {
        if (strcmp(extensions->items[i].id, id) == 0 && extensions->items[i].type->storage != NULL)
            return &extensions->items[i];
    }
    return NULL;
}

static const char *named_by(const struct ut_config_component *exporter)
{
    return exporter->type->stores_in != NULL
               ? exporter->type->stores_in(exporter->type, exporter->config)
               : NULL;
}

/* What the pipeline's exporters name becomes the pipeline's. */
static void adopt(struct ut_config_reader *reader, struct ut_config_pipeline *pipeline)
{
    const char *adopted = NULL;
    for (size_t i = 0; i < pipeline->exporter_count; i++) {
        const struct ut_config_component *exporter = pipeline->exporters[i];
        const char *id = named_by(exporter);
        const struct ut_config_component *extension =
            id != NULL ? find_extension(reader, id) : NULL;
        if (id == NULL || (adopted != NULL && strcmp(adopted, id) == 0))
            continue;
        if (extension == NULL) {
            ut_config_error(reader->messages, exporter->at, exporter->path,
                            "sending_queue.storage names \"%s\", which is no file_storage under "
                            "\"extensions:\"",
                            id);
        } else if (pipeline->storage.present) {
            report(reader, pipeline, adopted != NULL ? "exporters" : "storage",
                   "one pipeline has one disk hold, and here are two: its own `storage` and those "
                   "that `sending_queue.storage` of its exporters names must be one");
        } else {
            pipeline->storage = *extension->type->storage(extension->config);
            pipeline->storage.present = true;
            adopted = id;
        }
    }
}

static void check_one(struct ut_config_reader *reader, const struct ut_config_pipeline *pipeline)
{
    const struct ut_config_storage *storage = &pipeline->storage;
    bool durable = pipeline->ack == UT_ACK_DURABLE;
    if (storage->present && (storage->directory == NULL || storage->directory[0] != '/'))
        report(reader, pipeline, "storage", "`directory` must be an absolute path");
    if (durable && !storage->present)
        report(reader, pipeline, "ack",
               "durable needs a disk: add storage: {type: disk, directory: /var/lib/undertrace}");
    else if (durable && storage->sync == SYNC_NONE)
        report(reader, pipeline, "ack",
               "durable cannot be promised with `sync: none`: a power cut may lose what was "
               "acknowledged; write sync: group, or ack: queued");
    for (size_t i = 0; storage->present && i < pipeline->exporter_count; i++) {
        const struct ut_config_component *exporter = pipeline->exporters[i];
        if (!durable && exporter->type->refuses_ack != NULL &&
            exporter->type->refuses_ack(exporter->type, exporter->config, UT_ACK_DURABLE) != NULL)
            report(reader, pipeline, "storage",
                   "an exporter with on_full: drop_… has no use for a disk; write refuse");
    }
}

static bool share_exporter(const struct ut_config_pipeline *a, const struct ut_config_pipeline *b)
{
    for (size_t i = 0; i < a->exporter_count; i++) {
        for (size_t j = 0; j < b->exporter_count; j++) {
            if (a->exporters[i] == b->exporters[j])
                return true;
        }
    }
    return false;
}

static void check_two(struct ut_config_reader *reader, const struct ut_config_pipeline *a,
                      const struct ut_config_pipeline *b)
{
    const struct ut_config_storage *one = &a->storage, *other = &b->storage;
    if (!one->present || !other->present || one->directory == NULL || other->directory == NULL)
        return;
    bool same = strcmp(one->directory, other->directory) == 0;
    if (same && (one->max_bytes != other->max_bytes || one->sync != other->sync))
        report(reader, b, "storage",
               "another pipeline uses this directory with another max_bytes or sync");
    if (!same && share_exporter(a, b))
        report(reader, b, "storage",
               "an exporter of this pipeline is fed from another directory by another pipeline; "
               "give both the same");
}

void ut_config_check_storage(struct ut_config_reader *reader)
{
    struct ut_config *config = reader->config;
    for (size_t i = 0; i < config->pipeline_count; i++) {
        adopt(reader, &config->pipelines[i]);
        check_one(reader, &config->pipelines[i]);
        for (size_t j = 0; j < i; j++)
            check_two(reader, &config->pipelines[j], &config->pipelines[i]);
    }
}
