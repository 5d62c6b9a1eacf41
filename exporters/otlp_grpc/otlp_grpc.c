/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp_grpc exporter: an item becomes one Export call. */
#include "grpc_exporter.h"

static const struct ut_grpc_exporter_method method = {
    .path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    .default_port = 4317,
};

extern const struct ut_exporter_type ut_exporter_otlp_grpc;

static void check(const void *config, struct ut_config_report *report)
{
    ut_grpc_exporter_check(config, &method, report);
}

static int create(struct ut_exporter **ret, const struct ut_build *build)
{
    return ut_grpc_exporter_create(ret, build, &ut_exporter_otlp_grpc, &method);
}

const struct ut_exporter_type ut_exporter_otlp_grpc = {
    .name = "otlp_grpc",
    .check = check,
    .create = create,
    UT_GRPC_EXPORTER_OPS,
};
