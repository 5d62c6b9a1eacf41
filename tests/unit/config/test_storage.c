/* SPDX-License-Identifier: Apache-2.0 */
/* Disk holds: as a pipeline's own setting, and as the Collector's extension. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "config_types.h"

static const char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

static struct ut_config *read_text(const char *text, char **said)
{
    static struct ut_config_type extensions[2];
    struct ut_config_types types = test_types;
    struct ut_config_messages messages;
    size_t size;
    extensions[0] = ut_config_file_storage;
    types.extensions = extensions;
    FILE *out = open_memstream(said, &size);
    cr_assert_not_null(out);
    ut_config_messages_init(&messages, "c.yaml");
    struct ut_config_source source = {.text = ut_slice_str(text), .env = no_env};
    struct ut_config *config = ut_config_read(&source, &types, &messages);
    ut_config_messages_print(&messages, out);
    fclose(out);
    ut_config_messages_done(&messages);
    return config;
}

static void expect_error(const char *text, const char *wanted)
{
    char *said;
    struct ut_config *config = read_text(text, &said);
    cr_expect_null(config);
    cr_expect_not_null(strstr(said, wanted), "said:\n%s\nwanted:\n%s", said, wanted);
    ut_config_free(config);
    free(said);
}

static struct ut_config *read_valid(const char *text)
{
    char *said;
    struct ut_config *config = read_text(text, &said);
    cr_assert_not_null(config, "said:\n%s", said);
    cr_expect_str_empty(said);
    free(said);
    return config;
}

#define EXPORTERS "exporters: {otlp_grpc: {endpoint: 'h:1'}, otlp_grpc/two: {endpoint: 'h:2'}}\n"
#define ONE(keys)                                                                                  \
    EXPORTERS "receivers: {otlp: {grpc: }}\n"                                                      \
              "service: {pipelines: {traces: {receivers: [otlp], exporters: "                      \
              "[otlp_grpc, otlp_grpc/two], " keys "}}}\n"

Test(config_storage, a_pipeline_says_where_it_keeps_what_it_accepts)
{
    struct ut_config *config = read_valid(ONE("storage: {directory: /var/lib/undertrace}"));
    const struct ut_config_storage *storage = &config->pipelines[0].storage;
    cr_expect(storage->present);
    cr_expect_str_eq(storage->directory, "/var/lib/undertrace");
    cr_expect_eq(storage->max_bytes, UINT64_C(1) << 30);
    cr_expect_eq(storage->sync, 0);
    ut_config_free(config);
    config = read_valid(
        ONE("ack: durable, storage: {type: disk, directory: /d, max_bytes: 4GiB, sync: group}"));
    cr_expect_eq(config->pipelines[0].storage.max_bytes, UINT64_C(4) << 30);
    ut_config_free(config);
    config = read_valid(ONE(""));
    cr_expect_not(config->pipelines[0].storage.present);
    ut_config_free(config);
}

Test(config_storage, what_cannot_be_is_refused)
{
    expect_error(ONE("storage: {max_bytes: 1GiB}"), "`directory` must be an absolute path");
    expect_error(ONE("storage: {directory: relative}"), "`directory` must be an absolute path");
    expect_error(ONE("storage: {directory: /d, max_bytes: 1MiB}"), "must be between");
    expect_error(ONE("storage: {directory: /d, type: tape}"), "expected disk, found tape");
    expect_error(ONE("storage: {directory: /d, synk: none}"), "did you mean \"sync\"");
}

#define COLLECTOR(extension, first, second, pipeline)                                              \
    "exporters: {otlp_grpc: {endpoint: 'h:1', " first                                              \
    "}, otlp_grpc/two: {endpoint: 'h:2', " second                                                  \
    "}}\nreceivers: {otlp: {grpc: }}\nextensions: {" extension "}\n"                               \
    "service: {extensions: [file_storage], pipelines: {traces: {receivers: [otlp], exporters: "    \
    "[otlp_grpc, otlp_grpc/two]" pipeline "}}}\n"

Test(config_storage, the_collectors_extension_is_understood)
{
    struct ut_config *config = read_valid(
        COLLECTOR("file_storage: {directory: /var/lib/otelcol/q, timeout: 10s, fsync: true, "
                  "create_directory: true, compaction: {on_start: true, directory: /tmp/otc}}",
                  "storage: file_storage", "storage: file_storage", ", ack: durable"));
    const struct ut_config_storage *storage = &config->pipelines[0].storage;
    cr_expect(storage->present);
    cr_expect_str_eq(storage->directory, "/var/lib/otelcol/q");
    cr_expect_eq(storage->sync, 0);
    ut_config_free(config);
    config = read_valid(COLLECTOR("file_storage: ", "storage: file_storage", "", ""));
    cr_expect_str_eq(config->pipelines[0].storage.directory, "/var/lib/otelcol/file_storage");
    ut_config_free(config);
}

Test(config_storage, a_pipeline_has_one_disk_hold)
{
    expect_error(
        COLLECTOR("file_storage: ", "storage: file_storage", "", ", storage: {directory: /d}"),
        "one pipeline has one disk hold");
    expect_error(COLLECTOR("file_storage: ", "storage: file_stor", "", ""), "names the extension");
}

#define TWO(first, second)                                                                         \
    "exporters: {otlp_grpc: {endpoint: 'h:1'}, debug: }\n"                                         \
    "receivers: {otlp: {grpc: }, otlp/two: {grpc: {endpoint: 'x:2'}}}\n"                           \
    "service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc], storage: " first    \
    "}, traces/two: {receivers: [otlp/two], exporters: [otlp_grpc, debug], storage: " second       \
    "}}}\n"

Test(config_storage, pipelines_may_share_a_directory_but_not_an_exporter_of_two)
{
    ut_config_free(read_valid(TWO("{directory: /d}", "{directory: /d}")));
    expect_error(TWO("{directory: /d}", "{directory: /d, max_bytes: 2GiB}"),
                 "uses this directory with another max_bytes");
    expect_error(TWO("{directory: /d}", "{directory: /e}"), "give both the same");
}
