/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <stdlib.h>

#include "config/nearest.h"
#include "config/sections.h"
#include "config/yaml.h"

static const struct ut_field memory_fields[] = {
    {.key = "limit_mib",
     .type = UT_FIELD_UINT,
     .offset = offsetof(struct ut_config_memory_limit, limit_mib),
     .fallback = "256",
     .least = 32,
     .most = 1 << 20},
    UT_FIELD_END,
};

static const struct ut_field program_fields[] = {
    {.key = "memory",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_config_program, memory),
     .fields = memory_fields,
     .present = UT_FIELD_NO_PRESENT},
    {.key = "admin",
     .type = UT_FIELD_STRING,
     .offset = offsetof(struct ut_config_program, admin),
     .fallback = "unix:///run/undertrace/admin.sock"},
    {.key = "shutdown_timeout",
     .type = UT_FIELD_DURATION,
     .offset = offsetof(struct ut_config_program, shutdown_timeout_ns),
     .fallback = "10s",
     .least = 0,
     .most = 3600},
    {.key = "max_bytes_per_hour",
     .type = UT_FIELD_BYTES,
     .offset = offsetof(struct ut_config_program, max_bytes_per_hour),
     .fallback = "18MB"},
    {.key = "identity",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_config_program, identity),
     .fields = ut_config_identity_fields,
     .present = UT_FIELD_NO_PRESENT},
    UT_FIELD_END,
};

void ut_config_report_at(struct ut_config_reader *reader, struct ut_config_at at,
                         const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ut_config_verror(reader->messages, at, reader->fill.path.text, format, args);
    va_end(args);
}

bool ut_config_expect_mapping(struct ut_config_reader *reader, const struct ut_config_node *node)
{
    if (ut_config_node_is_null(node) || node->kind == UT_NODE_MAPPING)
        return true;
    ut_config_report_at(reader, node->at, "expected a mapping of keys to values, found a %s",
                        node->kind == UT_NODE_SEQUENCE ? "list" : "single value");
    return false;
}

static void check_admin(struct ut_config_reader *reader, const struct ut_config_node *node)
{
    static const char scheme[] = "unix:///";
    const char *admin = reader->config->program.admin;
    const struct ut_config_node *place = ut_config_node_get(node, "admin");
    if (admin[0] == '\0' || (strncmp(admin, scheme, sizeof(scheme) - 1) == 0 &&
                             strlen(admin) > sizeof(scheme) - 1 && strlen(admin) < 100))
        return;
    size_t before = ut_config_path_push(&reader->fill.path, "admin");
    ut_config_report_at(
        reader, place != NULL ? place->at : (struct ut_config_at){0, 0},
        "expected unix:///absolute/path (shorter than 100 bytes), or \"\" for none");
    ut_config_path_pop(&reader->fill.path, before);
}

/* Less than a span with all its events may gain would be none at all. */
#define BYTES_PER_HOUR_LEAST (1 << 20)

static void check_bytes_per_hour(struct ut_config_reader *reader, const struct ut_config_node *node)
{
    uint64_t bytes = reader->config->program.max_bytes_per_hour;
    const struct ut_config_node *place = ut_config_node_get(node, "max_bytes_per_hour");
    if (bytes == 0 || bytes >= BYTES_PER_HOUR_LEAST || place == NULL)
        return;
    size_t before = ut_config_path_push(&reader->fill.path, "max_bytes_per_hour");
    ut_config_report_at(reader, place->at, "must be at least 1MiB, or 0 for no limit");
    ut_config_path_pop(&reader->fill.path, before);
}

static void read_program(struct ut_config_reader *reader)
{
    const struct ut_config_node *node = ut_config_node_get(reader->root, "undertrace");
    size_t before = ut_config_path_push(&reader->fill.path, "undertrace");
    ut_config_fill(&reader->fill, program_fields, &reader->config->program, node);
    check_admin(reader, node);
    check_bytes_per_hour(reader, node);
    ut_config_path_pop(&reader->fill.path, before);
    ut_config_check_identity(reader);
}

void ut_config_check_keys(struct ut_config_reader *reader, const struct ut_config_node *node,
                          const char *const *keys)
{
    for (const struct ut_config_node *child = node->first; child != NULL; child = child->next) {
        struct ut_nearest nearest = {.word = child->key};
        char list[128] = "";
        size_t size = 0;
        bool known = false;
        for (const char *const *key = keys; *key != NULL; key++) {
            known = known || strcmp(*key, child->key) == 0;
            ut_nearest_offer(&nearest, *key);
            if (size < sizeof(list))
                size += (size_t)snprintf(list + size, sizeof(list) - size, "%s%s",
                                         size == 0 ? "" : ", ", *key);
        }
        if (known)
            continue;
        size_t before = ut_config_path_push(&reader->fill.path, child->key);
        if (nearest.best != NULL)
            ut_config_report_at(reader, child->key_at, "unknown key; did you mean \"%s\"?",
                                nearest.best);
        else
            ut_config_report_at(reader, child->key_at, "unknown key; valid here: %s", list);
        ut_config_path_pop(&reader->fill.path, before);
    }
}

static void read_root(struct ut_config_reader *reader)
{
    static const char *const keys[] = {"receivers", "processors", "exporters", "extensions",
                                       "service",   "undertrace", NULL};
    if (!ut_config_expect_mapping(reader, reader->root))
        return;
    ut_config_check_keys(reader, reader->root, keys);
    ut_config_read_components(reader);
    ut_config_read_service(reader);
    read_program(reader);
    /* Rules between components presume that each of them was understood. */
    if (reader->messages->errors == 0)
        ut_config_cross_check(reader);
}

struct ut_config *ut_config_read(const struct ut_config_source *source,
                                 const struct ut_config_types *types,
                                 struct ut_config_messages *messages)
{
    struct ut_config *config = calloc(1, sizeof(*config));
    UT_CHECK_MEMORY(config != NULL);
    struct ut_config_reader reader = {
        .config = config,
        .types = types,
        .messages = messages,
        .fill = {.memory = &config->memory, .messages = messages},
    };
    size_t errors = messages->errors;
    reader.root = ut_yaml_read(source->text, &config->memory, messages);
    if (reader.root != NULL) {
        ut_config_expand(reader.root, source->env, &config->memory, messages);
        read_root(&reader);
    }
    if (messages->errors == errors)
        return config;
    ut_config_free(config);
    return NULL;
}

void ut_config_free(struct ut_config *config)
{
    if (config == NULL)
        return;
    ut_config_memory_done(&config->memory);
    free(config);
}
