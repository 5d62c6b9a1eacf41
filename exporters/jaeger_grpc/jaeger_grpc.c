/* SPDX-License-Identifier: Apache-2.0 */
/* The jaeger_grpc exporter: an item becomes one PostSpans call of Jaeger's CollectorService, for
 * backends that do not take OTLP. */
#include "grpc_exporter.h"
#include "jaeger_grpc_exporter/spans.h"

static const struct ut_grpc_exporter_method method = {
    .path = "/jaeger.api_v2.CollectorService/PostSpans",
    .default_port = 14250,
    .convert = ut_jaeger_write,
};

extern const struct ut_exporter_type ut_exporter_jaeger_grpc;

static void check(const void *config, struct ut_config_report *report)
{
    ut_grpc_exporter_check(config, &method, report);
}

static int create(struct ut_exporter **ret, const struct ut_build *build)
{
    return ut_grpc_exporter_create(ret, build, &ut_exporter_jaeger_grpc, &method);
}

const struct ut_exporter_type ut_exporter_jaeger_grpc = {
    .name = "jaeger_grpc",
    .check = check,
    .create = create,
    UT_GRPC_EXPORTER_OPS,
};
