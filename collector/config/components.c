/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>

#include "config/nearest.h"
#include "config/sections.h"

/* Parts of the Collector that need no counterpart here, so that existing files carry over. */
static const struct {
    const char *section, *type, *why;
} not_needed[] = {
    {"processors", "memory_limiter",
     "not needed: undertrace.memory.limit_mib is a hard budget for everything that is in flight"},
    {"extensions", "health_check",
     "not needed: /healthz and /readyz are served beside /metrics (service.telemetry.metrics)"},
    {"extensions", "memory_ballast", "not needed: there is no garbage collector to calm"},
    {"extensions", "pprof", "not needed: there is no Go runtime to look into"},
    {"extensions", "zpages", "not needed: see /metrics and `undertrace doctor`"},
};

/* What people who come from the Collector look for under another name. */
static const struct {
    const char *section, *type, *hint;
} elsewhere[] = {
    {"exporters", "logging", "it is called debug"},
    {"exporters", "jaeger", "use otlp_grpc with port 4317, or jaeger_grpc"},
};

const char *ut_config_not_needed(const char *section, const char *type)
{
    for (size_t i = 0; i < sizeof(not_needed) / sizeof(not_needed[0]); i++) {
        if (strcmp(not_needed[i].section, section) == 0 && strcmp(not_needed[i].type, type) == 0)
            return not_needed[i].why;
    }
    return NULL;
}

static bool is_type_name(const char *text, size_t size)
{
    if (size == 0 || !isalpha((unsigned char)text[0]))
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)text[i]) && text[i] != '_')
            return false;
    }
    return true;
}

bool ut_config_split_id(struct ut_config_reader *reader, const char *id, struct ut_config_at at,
                        char type[UT_CONFIG_ID_MAX])
{
    const char *slash = strchr(id, '/');
    size_t size = slash != NULL ? (size_t)(slash - id) : strlen(id);
    bool named = slash == NULL || slash[1] != '\0';
    for (const char *c = slash; c != NULL && *c != '\0'; c++)
        named = named && (unsigned char)*c > ' ' && *c != '"' && *c != '\\' && *c != 0x7f;
    if (!named || !is_type_name(id, size) || strlen(id) >= UT_CONFIG_ID_MAX) {
        ut_config_report_at(reader, at,
                            "not a component id: write its type, or type/name without blanks");
        return false;
    }
    memcpy(type, id, size);
    type[size] = '\0';
    return true;
}

static void report_unknown_type(struct ut_config_reader *reader, const char *section,
                                const char *type, const struct ut_config_type *types,
                                struct ut_config_at at)
{
    struct ut_nearest nearest = {.word = type};
    char names[256] = "";
    size_t size = 0;
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
        if (strcmp(elsewhere[i].section, section) == 0 && strcmp(elsewhere[i].type, type) == 0) {
            ut_config_report_at(reader, at, "not known here: %s", elsewhere[i].hint);
            return;
        }
    }
    for (; types->name != NULL; types++) {
        ut_nearest_offer(&nearest, types->name);
        if (size + strlen(types->name) + 3 < sizeof(names))
            size += (size_t)snprintf(names + size, sizeof(names) - size, "%s%s",
                                     size == 0 ? "" : ", ", types->name);
    }
    if (nearest.best != NULL)
        ut_config_report_at(reader, at, "unknown type; did you mean \"%s\"?", nearest.best);
    else if (size == 0)
        ut_config_report_at(reader, at, "unknown type");
    else
        ut_config_report_at(reader, at, "unknown type; this build has: %s", names);
}

static void read_component(struct ut_config_reader *reader, struct ut_config_component *out,
                           const struct ut_config_type *type, const struct ut_config_node *node)
{
    struct ut_config_memory *memory = &reader->config->memory;
    *out = (struct ut_config_component){
        .type = type,
        .id = ut_config_copy(memory, node->key, strlen(node->key)),
        .config = ut_config_alloc(memory, type->config_size),
        .at = node->key_at,
        .path = ut_config_copy(memory, reader->fill.path.text, reader->fill.path.size),
    };
    if (type->unavailable != NULL)
        return; /* its settings cannot be checked; naming it in a pipeline is the error */
    ut_config_fill(&reader->fill, type->fields, out->config, node);
    /* Also where a setting was refused above: it has its default then, and all errors come at once.
     */
    struct ut_config_check_report report;
    ut_config_check_report_init(&report, &reader->fill, node, node->key_at);
    if (type->check != NULL)
        type->check(out->config, &report.report);
    if (type->check_common != NULL)
        type->check_common(type, out->config, &report.report);
}

static const struct ut_config_type *find_type(const struct ut_config_type *types, const char *name)
{
    for (; types->name != NULL; types++) {
        if (strcmp(types->name, name) == 0)
            return types;
    }
    return NULL;
}

static void read_entry(struct ut_config_reader *reader, const char *section,
                       const struct ut_config_type *types, struct ut_config_components *out,
                       const struct ut_config_node *node)
{
    char name[UT_CONFIG_ID_MAX];
    if (!ut_config_split_id(reader, node->key, node->key_at, name))
        return;
    const struct ut_config_type *type = find_type(types, name);
    const char *why = ut_config_not_needed(section, name);
    if (type != NULL)
        read_component(reader, &out->items[out->count++], type, node);
    else if (why != NULL)
        ut_config_notice(reader->messages, node->key_at, reader->fill.path.text, "%s", why);
    else
        report_unknown_type(reader, section, name, types, node->key_at);
}

static void read_section(struct ut_config_reader *reader, const char *section,
                         const struct ut_config_type *types, struct ut_config_components *out)
{
    const struct ut_config_node *node = ut_config_node_get(reader->root, section);
    size_t before = ut_config_path_push(&reader->fill.path, section);
    if (!ut_config_node_is_null(node) && ut_config_expect_mapping(reader, node)) {
        out->items = ut_config_alloc(&reader->config->memory, node->count * sizeof(*out->items));
        for (const struct ut_config_node *child = node->first; child != NULL; child = child->next) {
            size_t inner = ut_config_path_push(&reader->fill.path, child->key);
            read_entry(reader, section, types, out, child);
            ut_config_path_pop(&reader->fill.path, inner);
        }
    }
    ut_config_path_pop(&reader->fill.path, before);
}

void ut_config_read_components(struct ut_config_reader *reader)
{
    static const struct ut_config_type no_types[] = {{.name = NULL}};
    struct ut_config *config = reader->config;
    read_section(reader, "receivers", reader->types->receivers, &config->receivers);
    read_section(reader, "processors", reader->types->processors, &config->processors);
    read_section(reader, "exporters", reader->types->exporters, &config->exporters);
    read_section(reader, "extensions",
                 reader->types->extensions != NULL ? reader->types->extensions : no_types,
                 &config->extensions);
}
