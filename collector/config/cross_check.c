/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that concern several components at once. Each is one function over the read config. */
#include <inttypes.h>

#include "config/endpoint_match.h"
#include "config/sections.h"

#define LISTENERS_MAX 64  /* addresses of one receiver */
#define EXTENSIONS_MAX 16 /* that one receiver needs */

static const struct ut_config_node *find_pipeline(const struct ut_config_reader *reader,
                                                  const char *id)
{
    const struct ut_config_node *service = ut_config_node_get(reader->root, "service");
    return ut_config_node_get(ut_config_node_get(service, "pipelines"), id);
}

static bool names_processor(const struct ut_config_pipeline *pipeline, const char *type)
{
    for (size_t i = 0; i < pipeline->processor_count; i++) {
        if (strcmp(pipeline->processors[i]->type->name, type) == 0)
            return true;
    }
    return false;
}

/* A receiver of kernel events without the processor that joins them would watch in vain. */
static void check_needed_processors(struct ut_config_reader *reader)
{
    for (size_t i = 0; i < reader->config->pipeline_count; i++) {
        const struct ut_config_pipeline *pipeline = &reader->config->pipelines[i];
        for (size_t j = 0; j < pipeline->receiver_count; j++) {
            const struct ut_config_type *type = pipeline->receivers[j]->type;
            if (type->needs_processor == NULL || names_processor(pipeline, type->needs_processor))
                continue;
            char path[UT_CONFIG_PATH_MAX];
            snprintf(path, sizeof(path), "service.pipelines.%s", pipeline->id);
            ut_config_error(
                reader->messages, ut_config_node_place(find_pipeline(reader, pipeline->id)), path,
                "the receiver \"%s\" needs the processor \"%s\" in its pipeline: add it "
                "under \"processors:\" and to this pipeline's list",
                pipeline->receivers[j]->id, type->needs_processor);
        }
    }
}

static void check_once_per_process(struct ut_config_reader *reader)
{
    const struct ut_config_components *receivers = &reader->config->receivers;
    for (size_t i = 0; i < receivers->count; i++) {
        const struct ut_config_component *component = &receivers->items[i];
        if (!component->type->once_per_process || component->uses == 0)
            continue;
        for (size_t j = 0; j < i; j++) {
            if (receivers->items[j].type == component->type && receivers->items[j].uses != 0) {
                ut_config_error(reader->messages, component->at, component->path,
                                "\"%s\" runs once per process, and \"%s\" (line %d) is in use",
                                component->type->name, receivers->items[j].id,
                                receivers->items[j].at.line);
                break;
            }
        }
    }
}

static void check_feeds_one(struct ut_config_reader *reader)
{
    const struct ut_config_components *receivers = &reader->config->receivers;
    for (size_t i = 0; i < receivers->count; i++) {
        const struct ut_config_component *component = &receivers->items[i];
        if (component->type->feeds_one_pipeline && component->uses > 1)
            ut_config_error(reader->messages, component->at, component->path,
                            "%zu pipelines name it, and a receiver of spans feeds one: give the "
                            "others a receiver of their own (\"%s/name\" on another endpoint), or "
                            "name several exporters in one pipeline",
                            component->uses, component->type->name);
    }
}

static void check_destination(struct ut_config_reader *reader,
                              const struct ut_config_component *exporter, const char *destination)
{
    const struct ut_config_components *receivers = &reader->config->receivers;
    for (size_t i = 0; i < receivers->count; i++) {
        const struct ut_config_component *receiver = &receivers->items[i];
        const char *addresses[LISTENERS_MAX];
        if (receiver->uses == 0 || receiver->type->listens == NULL)
            continue;
        size_t count = receiver->type->listens(receiver->config, addresses, LISTENERS_MAX);
        for (size_t j = 0; j < count; j++) {
            if (!ut_config_same_endpoint(addresses[j], destination))
                continue;
            ut_config_error(reader->messages, exporter->at, exporter->path,
                            "would send to %s, where receiver \"%s\" of this same program listens: "
                            "every span would go round for ever",
                            destination, receiver->id);
            return;
        }
    }
}

static void check_destinations(struct ut_config_reader *reader)
{
    const struct ut_config_components *exporters = &reader->config->exporters;
    for (size_t i = 0; i < exporters->count; i++) {
        const struct ut_config_component *exporter = &exporters->items[i];
        const char *destination = exporter->uses != 0 && exporter->type->sends != NULL
                                      ? exporter->type->sends(exporter->config)
                                      : NULL;
        if (destination != NULL)
            check_destination(reader, exporter, destination);
    }
}

static struct ut_config_component *find_extension(struct ut_config_reader *reader, const char *id)
{
    struct ut_config_components *extensions = &reader->config->extensions;
    for (size_t i = 0; i < extensions->count; i++) {
        if (strcmp(extensions->items[i].id, id) == 0)
            return &extensions->items[i];
    }
    return NULL;
}

static void use_extension(struct ut_config_reader *reader,
                          const struct ut_config_component *component, const char *id)
{
    char shown[UT_CONFIG_ID_MAX];
    struct ut_config_component *extension = find_extension(reader, id);
    ut_log_quote(shown, sizeof(shown), id);
    if (extension == NULL)
        ut_config_error(reader->messages, component->at, component->path,
                        "names the extension %s, which \"extensions:\" does not define, or which "
                        "cannot do this",
                        shown);
    else if (!extension->listed)
        ut_config_error(reader->messages, extension->at, extension->path,
                        "\"%s\" needs it, and service.extensions does not name it: add it to that "
                        "list",
                        component->id);
    else
        extension->uses++;
}

static void check_extensions(struct ut_config_reader *reader,
                             const struct ut_config_components *components)
{
    for (size_t i = 0; i < components->count; i++) {
        const struct ut_config_component *component = &components->items[i];
        const char *ids[EXTENSIONS_MAX];
        if (component->uses == 0 || component->type->names == NULL)
            continue;
        size_t count = component->type->names(component->config, ids, EXTENSIONS_MAX);
        for (size_t j = 0; j < count; j++)
            use_extension(reader, component, ids[j]);
    }
    const struct ut_config_components *exporters = &reader->config->exporters;
    for (size_t i = 0; i < exporters->count; i++) {
        const struct ut_config_component *exporter = &exporters->items[i];
        const char *id = exporter->uses > 0 && exporter->type->stores_in != NULL
                             ? exporter->type->stores_in(exporter->type, exporter->config)
                             : NULL;
        if (id != NULL)
            use_extension(reader, exporter, id);
    }
}

/* A promise that an exporter of the pipeline cannot keep. */
static void check_ack(struct ut_config_reader *reader, const struct ut_config_pipeline *pipeline)
{
    const struct ut_config_node *node = find_pipeline(reader, pipeline->id);
    const struct ut_config_node *place = ut_config_node_get(node, "ack");
    for (size_t i = 0; i < pipeline->exporter_count; i++) {
        const struct ut_config_component *exporter = pipeline->exporters[i];
        const char *why = exporter->type->refuses_ack != NULL
                              ? exporter->type->refuses_ack(exporter->type, exporter->config,
                                                            (enum ut_ack)pipeline->ack)
                              : NULL;
        if (why == NULL)
            continue;
        char path[UT_CONFIG_PATH_MAX];
        snprintf(path, sizeof(path), "service.pipelines.%s.ack", pipeline->id);
        ut_config_error(reader->messages, place != NULL ? place->at : ut_config_node_place(node),
                        path, "%s cannot be promised with the exporter \"%s\": %s",
                        ut_config_ack_name((enum ut_ack)pipeline->ack), exporter->id, why);
    }
}

/* An exporter that waits for its result makes its pipelines do so. */
static void check_acks(struct ut_config_reader *reader)
{
    for (size_t i = 0; i < reader->config->pipeline_count; i++) {
        struct ut_config_pipeline *pipeline = &reader->config->pipelines[i];
        for (size_t j = 0; j < pipeline->exporter_count; j++) {
            const struct ut_config_component *exporter = pipeline->exporters[j];
            int least = exporter->type->least_ack != NULL
                            ? (int)exporter->type->least_ack(exporter->type, exporter->config)
                            : UT_ACK_QUEUED;
            pipeline->ack = least > pipeline->ack ? least : pipeline->ack;
        }
        check_ack(reader, pipeline);
    }
}

/* What is of fixed size has to fit below the limit and leave room for spans. */
static void check_memory(struct ut_config_reader *reader)
{
    const struct ut_config_components *receivers = &reader->config->receivers;
    const struct ut_config_types *types = reader->types;
    uint64_t fixed = types->fixed_mib;
    for (size_t i = 0; i < receivers->count; i++)
        fixed += receivers->items[i].uses != 0 ? receivers->items[i].type->fixed_mib : 0;
    bool stores = false;
    for (size_t i = 0; i < reader->config->pipeline_count; i++)
        stores = stores || reader->config->pipelines[i].storage.present;
    fixed += stores ? types->storage_mib : 0;
    uint64_t least = fixed + types->budget_mib;
    if (reader->config->program.memory.limit_mib >= least)
        return;
    const struct ut_config_node *node = ut_config_node_get(reader->root, "undertrace");
    node = ut_config_node_get(ut_config_node_get(node, "memory"), "limit_mib");
    ut_config_error(reader->messages, node != NULL ? node->at : (struct ut_config_at){0, 0},
                    "undertrace.memory.limit_mib",
                    "too little: with these components %" PRIu64
                    " MiB are of fixed size, and spans "
                    "in flight need %" PRIu64 " MiB at least; write %" PRIu64 " or more",
                    fixed, types->budget_mib, least);
}

static void note_unused(struct ut_config_reader *reader,
                        const struct ut_config_components *components, const char *user)
{
    for (size_t i = 0; i < components->count; i++) {
        if (components->items[i].uses == 0)
            ut_config_notice(reader->messages, components->items[i].at, components->items[i].path,
                             "no %s names it; it is not started", user);
    }
}

void ut_config_cross_check(struct ut_config_reader *reader)
{
    check_needed_processors(reader);
    check_once_per_process(reader);
    check_feeds_one(reader);
    check_destinations(reader);
    check_extensions(reader, &reader->config->receivers);
    check_extensions(reader, &reader->config->exporters);
    check_acks(reader);
    ut_config_check_storage(reader);
    check_memory(reader);
    ut_config_cross_check_identity(reader);
    note_unused(reader, &reader->config->receivers, "pipeline");
    note_unused(reader, &reader->config->processors, "pipeline");
    note_unused(reader, &reader->config->exporters, "pipeline");
    note_unused(reader, &reader->config->extensions, "receiver or exporter");
}
