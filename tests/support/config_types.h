/* SPDX-License-Identifier: Apache-2.0 */
/* Component types with every kind of field, for tests of the config layer without any component. */
#ifndef UT_TEST_CONFIG_TYPES_H
#define UT_TEST_CONFIG_TYPES_H

#include "config/config.h"

struct test_receiver {
    bool has_grpc;
    struct {
        char *endpoint;
        uint64_t max_mib;
        uint64_t idle_ns;
    } grpc;
};

#define GRPC(member) (offsetof(struct test_receiver, member) - offsetof(struct test_receiver, grpc))

static const struct ut_field test_grpc_fields[] = {
    {.key = "endpoint",
     .type = UT_FIELD_STRING,
     .offset = GRPC(grpc.endpoint),
     .fallback = "localhost:4317"},
    {.key = "max_recv_msg_size_mib",
     .type = UT_FIELD_UINT,
     .offset = GRPC(grpc.max_mib),
     .fallback = "64",
     .least = 1,
     .most = 1024},
    {.key = "idle",
     .type = UT_FIELD_DURATION,
     .offset = GRPC(grpc.idle_ns),
     .fallback = "1m30s",
     .least = 0.5},
    UT_FIELD_END,
};

static const struct ut_field test_receiver_fields[] = {
    {.key = "grpc",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct test_receiver, grpc),
     .fields = test_grpc_fields,
     .present = offsetof(struct test_receiver, has_grpc)},
    UT_FIELD_END,
};

static inline size_t test_listens(const void *config, const char **out, size_t room)
{
    const struct test_receiver *receiver = config;
    if (room == 0 || !receiver->has_grpc)
        return 0;
    out[0] = receiver->grpc.endpoint;
    return 1;
}

static const struct ut_field test_no_fields[] = {UT_FIELD_END};

struct test_exporter {
    char *endpoint;
    bool insecure;
    uint64_t size;
    double factor;
    int verbosity;
    struct ut_strings names;
    struct ut_pairs headers;
    char *storage;
};

static const char *const test_words[] = {"basic", "normal", "detailed", NULL};

static const struct ut_field test_exporter_fields[] = {
    {.key = "endpoint",
     .type = UT_FIELD_STRING,
     .offset = offsetof(struct test_exporter, endpoint)},
    {.key = "insecure", .type = UT_FIELD_BOOL, .offset = offsetof(struct test_exporter, insecure)},
    {.key = "size",
     .type = UT_FIELD_BYTES,
     .offset = offsetof(struct test_exporter, size),
     .fallback = "4MiB",
     .least = 1024,
     .most = 64 << 20},
    {.key = "factor",
     .type = UT_FIELD_DOUBLE,
     .offset = offsetof(struct test_exporter, factor),
     .fallback = "1.5",
     .least = 1,
     .most = 10},
    {.key = "verbosity",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct test_exporter, verbosity),
     .fallback = "normal",
     .words = test_words},
    {.key = "names", .type = UT_FIELD_STRINGS, .offset = offsetof(struct test_exporter, names)},
    {.key = "headers", .type = UT_FIELD_PAIRS, .offset = offsetof(struct test_exporter, headers)},
    {.key = "storage", .type = UT_FIELD_STRING, .offset = offsetof(struct test_exporter, storage)},
    UT_FIELD_END,
};

static inline void test_exporter_check(const void *config, struct ut_config_report *report)
{
    const struct test_exporter *exporter = config;
    if (exporter->endpoint == NULL || exporter->endpoint[0] == '\0')
        report->error(report, "endpoint", "missing; write host:port");
    for (size_t i = 0; i < exporter->headers.count; i++) {
        if (exporter->headers.items[i].value[0] == '\0')
            report->error(report, "headers", "empty value of %s", exporter->headers.items[i].key);
    }
}

static inline const char *test_sends(const void *config)
{
    return ((const struct test_exporter *)config)->endpoint;
}

static inline enum ut_ack test_least_ack(const struct ut_config_type *type, const void *config)
{
    (void)type;
    return ((const struct test_exporter *)config)->insecure ? UT_ACK_DELIVERED : UT_ACK_QUEUED;
}

static inline const char *test_refuses_ack(const struct ut_config_type *type, const void *config,
                                           enum ut_ack ack)
{
    (void)type;
    bool refuses = ack != UT_ACK_QUEUED && ((const struct test_exporter *)config)->verbosity == 0;
    return refuses ? "it cannot" : NULL;
}

static inline const char *test_stores_in(const struct ut_config_type *type, const void *config)
{
    (void)type;
    return ((const struct test_exporter *)config)->storage;
}

static const struct ut_config_type test_receivers[] = {
    {.name = "otlp",
     .fields = test_receiver_fields,
     .config_size = sizeof(struct test_receiver),
     .feeds_one_pipeline = true,
     .listens = test_listens},
    {.name = "ebpf",
     .fields = test_no_fields,
     .config_size = 1,
     .once_per_process = true,
     .needs_processor = "correlate",
     .fixed_mib = 16},
    {.name = "absent", .unavailable = "this build has none"},
    {.name = NULL},
};

static const struct ut_config_type test_processors[] = {
    {.name = "correlate", .fields = test_no_fields, .config_size = 1},
    {.name = "batch", .fields = test_no_fields, .config_size = 1},
    {.name = NULL},
};

static const struct ut_config_type test_exporters[] = {
    {.name = "otlp_grpc",
     .fields = test_exporter_fields,
     .config_size = sizeof(struct test_exporter),
     .check = test_exporter_check,
     .sends = test_sends,
     .least_ack = test_least_ack,
     .refuses_ack = test_refuses_ack,
     .stores_in = test_stores_in},
    {.name = "debug", .fields = test_no_fields, .config_size = 1},
    {.name = NULL},
};

static const struct ut_config_types test_types = {
    .receivers = test_receivers,
    .processors = test_processors,
    .exporters = test_exporters,
    .fixed_mib = 16,
    .budget_mib = 8,
};

#endif
