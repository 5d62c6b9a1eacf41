/* SPDX-License-Identifier: Apache-2.0 */
#include "app_types.h"

#include <string.h>

#include "component.h"
#include "net/auth_settings.h"

/* The names under which the Collector has had its OTLP exporters for years. */
static const struct {
    const char *name, *other;
} other_names[] = {{"otlp_grpc", "otlp"}, {"otlp_http", "otlphttp"}};

static struct ut_config_type receiver_row(const struct ut_receiver_type *type)
{
    bool watches_kernel = type->event_source != NULL;
    return (struct ut_config_type){
        .name = type->name,
        .fields = type->fields,
        .config_size = type->config_size,
        .check = type->check,
        .feeds_one_pipeline = !watches_kernel,
        .once_per_process = type->once_per_process,
        .needs_processor = watches_kernel ? "correlate" : NULL,
        .listens = type->endpoints,
        .names = type->extensions,
        .fixed_mib = watches_kernel ? UT_APP_FIXED_KERNEL_MIB : 0,
        .implementation = type,
    };
}

static const struct ut_exporter_settings *settings_of(const struct ut_config_type *type,
                                                      const void *config)
{
    const struct ut_exporter_type *exporter = type->implementation;
    return exporter->settings != NULL ? exporter->settings(config) : NULL;
}

static void check_settings(const struct ut_config_type *type, const void *config,
                           struct ut_config_report *report)
{
    const struct ut_exporter_settings *settings = settings_of(type, config);
    if (settings != NULL)
        ut_exporter_settings_check(settings, report);
}

/* Without a queue the Collector answers when the backend has. */
static enum ut_ack least_ack(const struct ut_config_type *type, const void *config)
{
    const struct ut_exporter_settings *settings = settings_of(type, config);
    bool waits = settings != NULL &&
                 (settings->sending_queue.wait_for_result || !settings->sending_queue.enabled);
    return waits ? UT_ACK_DELIVERED : UT_ACK_QUEUED;
}

static const char *refuses_ack(const struct ut_config_type *type, const void *config,
                               enum ut_ack ack)
{
    const struct ut_exporter_settings *settings = settings_of(type, config);
    if (ack == UT_ACK_QUEUED)
        return NULL;
    if (settings != NULL && settings->sending_queue.on_full != UT_ON_FULL_REFUSE)
        return "its queue drops spans when it is full; set sending_queue.on_full to refuse";
    return NULL;
}

static const char *stores_in(const struct ut_config_type *type, const void *config)
{
    const struct ut_exporter_settings *settings = settings_of(type, config);
    return settings != NULL ? settings->sending_queue.storage : NULL;
}

static struct ut_config_type exporter_row(const struct ut_exporter_type *type, const char *name)
{
    return (struct ut_config_type){
        .name = name,
        .fields = type->fields,
        .config_size = type->config_size,
        .check = type->check,
        .check_common = check_settings,
        .sends = type->endpoint,
        .names = type->extensions,
        .least_ack = least_ack,
        .refuses_ack = refuses_ack,
        .stores_in = stores_in,
        .implementation = type,
    };
}

/* Takes one more row; the last one stays empty, the end of the table. */
static void add(struct ut_config_type *rows, struct ut_config_type row)
{
    size_t count = 0;
    while (rows[count].name != NULL)
        count++;
    UT_CHECK(count + 1 < UT_APP_TYPES_MAX);
    rows[count] = row;
}

static bool has_row(const struct ut_config_type *rows, const char *name)
{
    for (; rows->name != NULL; rows++) {
        if (strcmp(rows->name, name) == 0)
            return true;
    }
    return false;
}

void ut_app_types_init(struct ut_app_types *types)
{
    *types = (struct ut_app_types){
        .types =
            {
                .receivers = types->receivers,
                .processors = types->processors,
                .exporters = types->exporters,
                .extensions = types->extensions,
                .fixed_mib = UT_APP_FIXED_MIB,
                .budget_mib = UT_APP_BUDGET_LEAST_MIB,
                .storage_mib = UT_APP_FIXED_STORAGE_MIB,
            },
    };
    for (size_t i = 0; ut_receiver_types[i] != NULL; i++)
        add(types->receivers, receiver_row(ut_receiver_types[i]));
    if (!has_row(types->receivers, "ebpf"))
        add(types->receivers, (struct ut_config_type){
                                  .name = "ebpf",
                                  .unavailable = "this program was built without eBPF "
                                                 "(-DUT_BPF=OFF); remove it from the pipeline, or "
                                                 "use a build with eBPF",
                              });
    for (size_t i = 0; ut_processor_types[i] != NULL; i++) {
        const struct ut_processor_type *type = ut_processor_types[i];
        add(types->processors, (struct ut_config_type){
                                   .name = type->name,
                                   .fields = type->fields,
                                   .config_size = type->config_size,
                                   .check = type->check,
                                   .implementation = type,
                               });
    }
    for (size_t i = 0; ut_exporter_types[i] != NULL; i++) {
        const struct ut_exporter_type *type = ut_exporter_types[i];
        add(types->exporters, exporter_row(type, type->name));
        for (size_t j = 0; j < sizeof(other_names) / sizeof(other_names[0]); j++) {
            if (strcmp(type->name, other_names[j].name) == 0)
                add(types->exporters, exporter_row(type, other_names[j].other));
        }
    }
    for (size_t i = 0; i < UT_AUTH_EXTENSIONS; i++)
        add(types->extensions, ut_auth_extensions[i]);
    add(types->extensions, ut_config_file_storage);
}
