/* SPDX-License-Identifier: Apache-2.0 */
#include "config/nearest.h"
#include "config/sections.h"

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const metrics_levels[] = {"none", "basic", "normal", "detailed", NULL};

static const struct ut_field logs_fields[] = {
    {.key = "level",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct ut_config_logs, level),
     .fallback = "info",
     .words = log_levels},
    UT_FIELD_END,
};

static const struct ut_field metrics_fields[] = {
    {.key = "level",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct ut_config_metrics, level),
     .fallback = "normal",
     .words = metrics_levels},
    {.key = "address",
     .type = UT_FIELD_STRING,
     .offset = offsetof(struct ut_config_metrics, address),
     .fallback = "localhost:8888"},
    UT_FIELD_END,
};

static const struct ut_field telemetry_fields[] = {
    {.key = "logs",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_config_telemetry, logs),
     .fields = logs_fields,
     .present = UT_FIELD_NO_PRESENT},
    {.key = "metrics",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_config_telemetry, metrics),
     .fields = metrics_fields,
     .present = UT_FIELD_NO_PRESENT},
    UT_FIELD_END,
};

static const char *const acks[] = {"queued", "durable", "delivered", NULL};

const char *ut_config_ack_name(enum ut_ack ack)
{
    UT_CHECK(ack < UT_ACKS);
    return acks[ack];
}

static const struct ut_field pipeline_fields[] = {
    {.key = "ack",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct ut_config_pipeline, ack),
     .fallback = "queued",
     .words = acks},
    {.key = "ack_timeout",
     .type = UT_FIELD_DURATION,
     .offset = offsetof(struct ut_config_pipeline, ack_timeout_ns),
     .fallback = "10s",
     .least = 0.01,
     .most = 3600},
    {.key = "storage",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_config_pipeline, storage),
     .fields = ut_config_storage_fields,
     .present = offsetof(struct ut_config_pipeline, storage.present)},
    UT_FIELD_END,
};

/* One list of a pipeline: which section it names, and where its components go. */
struct component_list {
    const char *section; /* also the key within the pipeline */
    struct ut_config_components *defined;
    const struct ut_config_component ***items;
    size_t *count;
    bool required;
};

static struct ut_config_component *find_component(struct ut_config_components *components,
                                                  const char *id)
{
    for (size_t i = 0; i < components->count; i++) {
        if (strcmp(components->items[i].id, id) == 0)
            return &components->items[i];
    }
    return NULL;
}

static void report_undefined(struct ut_config_reader *reader, const struct component_list *list,
                             const struct ut_config_node *node)
{
    struct ut_nearest nearest = {.word = node->text};
    char shown[UT_CONFIG_ID_MAX];
    ut_log_quote(shown, sizeof(shown), node->text);
    /* It stands there, but could not be read: that has been reported at its own place. */
    if (ut_config_node_get(ut_config_node_get(reader->root, list->section), node->text) != NULL)
        return;
    for (size_t i = 0; i < list->defined->count; i++)
        ut_nearest_offer(&nearest, list->defined->items[i].id);
    if (nearest.best != NULL)
        ut_config_report_at(reader, node->at,
                            "%s is not defined under \"%s:\"; did you mean \"%s\"?", shown,
                            list->section, nearest.best);
    else
        ut_config_report_at(reader, node->at,
                            "%s is not defined under \"%s:\"; add it there (\"%s:\" alone takes "
                            "the defaults)",
                            shown, list->section, shown);
}

/* Whether `node` names something of the Collector that is not needed here. */
static bool is_not_needed(const struct component_list *list, const struct ut_config_node *node)
{
    char type[UT_CONFIG_ID_MAX];
    size_t size = strcspn(node->text, "/");
    if (size >= sizeof(type))
        return false;
    memcpy(type, node->text, size);
    type[size] = '\0';
    return ut_config_not_needed(list->section, type) != NULL;
}

static void read_reference(struct ut_config_reader *reader, const struct component_list *list,
                           const struct ut_config_node *node)
{
    if (node->kind != UT_NODE_SCALAR) {
        ut_config_report_at(reader, node->at, "expected the id of a component");
        return;
    }
    if (is_not_needed(list, node))
        return;
    struct ut_config_component *component = find_component(list->defined, node->text);
    if (component == NULL) {
        report_undefined(reader, list, node);
        return;
    }
    for (size_t i = 0; i < *list->count; i++) {
        if ((*list->items)[i] == component) {
            ut_config_report_at(reader, node->at, "\"%s\" stands twice in this list",
                                component->id);
            return;
        }
    }
    component->uses++;
    if (component->type->unavailable != NULL)
        ut_config_report_at(reader, node->at, "\"%s\" is not available: %s", component->id,
                            component->type->unavailable);
    (*list->items)[(*list->count)++] = component;
}

static void read_list(struct ut_config_reader *reader, const struct component_list *list,
                      const struct ut_config_node *pipeline)
{
    const struct ut_config_node *node = ut_config_node_get(pipeline, list->section);
    size_t before = ut_config_path_push(&reader->fill.path, list->section);
    bool empty = ut_config_node_is_null(node) || node->count == 0;
    if (!ut_config_node_is_null(node) && node->kind != UT_NODE_SEQUENCE) {
        ut_config_report_at(reader, node->at, "expected a list of component ids: [otlp]");
    } else if (empty && list->required) {
        ut_config_report_at(reader, ut_config_node_place(node != NULL ? node : pipeline),
                            "at least one is needed");
    } else if (!empty) {
        *list->items = ut_config_alloc(&reader->config->memory,
                                       node->count * sizeof(struct ut_config_component *));
        for (const struct ut_config_node *child = node->first; child != NULL; child = child->next)
            read_reference(reader, list, child);
    }
    ut_config_path_pop(&reader->fill.path, before);
}

/* The signal of a pipeline's id; only traces are carried. */
static bool check_signal(struct ut_config_reader *reader, const struct ut_config_node *node)
{
    char signal[UT_CONFIG_ID_MAX];
    if (!ut_config_split_id(reader, node->key, node->key_at, signal))
        return false;
    if (strcmp(signal, "traces") == 0)
        return true;
    struct ut_nearest nearest = {.word = signal};
    ut_nearest_offer(&nearest, "traces");
    if (strcmp(signal, "metrics") == 0 || strcmp(signal, "logs") == 0 ||
        strcmp(signal, "profiles") == 0)
        ut_config_report_at(reader, node->key_at,
                            "Undertrace carries traces only; remove this pipeline");
    else if (nearest.best != NULL)
        ut_config_report_at(reader, node->key_at, "unknown signal; did you mean \"traces\"?");
    else
        ut_config_report_at(reader, node->key_at, "unknown signal; write traces or traces/name");
    return false;
}

static void read_pipeline(struct ut_config_reader *reader, const struct ut_config_node *node)
{
    static const char *const keys[] = {"receivers",   "processors", "exporters", "ack",
                                       "ack_timeout", "storage",    NULL};
    struct ut_config *config = reader->config;
    if (!check_signal(reader, node) || !ut_config_expect_mapping(reader, node))
        return;
    ut_config_check_keys(reader, node, keys);
    struct ut_config_pipeline *out = &config->pipelines[config->pipeline_count++];
    out->id = ut_config_copy(&config->memory, node->key, strlen(node->key));
    const struct component_list lists[] = {
        {"receivers", &config->receivers, &out->receivers, &out->receiver_count, true},
        {"processors", &config->processors, &out->processors, &out->processor_count, false},
        {"exporters", &config->exporters, &out->exporters, &out->exporter_count, true},
    };
    for (int i = 0; i < 3; i++)
        read_list(reader, &lists[i], node);
    ut_config_fill_some(&reader->fill, pipeline_fields, out, node);
}

static void read_pipelines(struct ut_config_reader *reader, const struct ut_config_node *service)
{
    const struct ut_config_node *node = ut_config_node_get(service, "pipelines");
    size_t before = ut_config_path_push(&reader->fill.path, "pipelines");
    if (ut_config_node_is_null(node) || node->count == 0) {
        const struct ut_config_node *place = node != NULL ? node : service;
        ut_config_report_at(reader, ut_config_node_place(place),
                            "no pipeline; write traces: {receivers: […], processors: […], "
                            "exporters: […]}");
    } else if (ut_config_expect_mapping(reader, node)) {
        reader->config->pipelines = ut_config_alloc(
            &reader->config->memory, node->count * sizeof(*reader->config->pipelines));
        for (const struct ut_config_node *child = node->first; child != NULL; child = child->next) {
            size_t inner = ut_config_path_push(&reader->fill.path, child->key);
            read_pipeline(reader, child);
            ut_config_path_pop(&reader->fill.path, inner);
        }
    }
    ut_config_path_pop(&reader->fill.path, before);
}

/* `service.extensions` names what `extensions:` defines and components may use. */
static void read_extensions(struct ut_config_reader *reader, const struct ut_config_node *service)
{
    const struct ut_config_node *node = ut_config_node_get(service, "extensions");
    const struct ut_config_node *defined = ut_config_node_get(reader->root, "extensions");
    size_t before = ut_config_path_push(&reader->fill.path, "extensions");
    if (!ut_config_node_is_null(node) && node->kind != UT_NODE_SEQUENCE)
        ut_config_report_at(reader, node->at, "expected a list of extension ids");
    for (const struct ut_config_node *child = node != NULL ? node->first : NULL; child != NULL;
         child = child->next) {
        if (child->kind != UT_NODE_SCALAR)
            continue;
        struct ut_config_component *extension =
            find_component(&reader->config->extensions, child->text);
        if (extension != NULL)
            extension->listed = true;
        else if (ut_config_node_get(defined, child->text) == NULL)
            ut_config_report_at(reader, child->at, "not defined under \"extensions:\"");
    }
    ut_config_path_pop(&reader->fill.path, before);
}

static void read_telemetry(struct ut_config_reader *reader, const struct ut_config_node *service)
{
    size_t before = ut_config_path_push(&reader->fill.path, "telemetry");
    ut_config_fill(&reader->fill, telemetry_fields, &reader->config->telemetry,
                   ut_config_node_get(service, "telemetry"));
    ut_config_path_pop(&reader->fill.path, before);
}

void ut_config_read_service(struct ut_config_reader *reader)
{
    static const char *const keys[] = {"pipelines", "telemetry", "extensions", NULL};
    const struct ut_config_node *service = ut_config_node_get(reader->root, "service");
    size_t before = ut_config_path_push(&reader->fill.path, "service");
    if (service == NULL) {
        ut_config_report_at(reader, (struct ut_config_at){0, 0},
                            "missing; nothing runs without service.pipelines");
    } else if (ut_config_expect_mapping(reader, service)) {
        ut_config_check_keys(reader, service, keys);
        read_pipelines(reader, service);
        read_extensions(reader, service);
        read_telemetry(reader, service);
    }
    ut_config_path_pop(&reader->fill.path, before);
}
