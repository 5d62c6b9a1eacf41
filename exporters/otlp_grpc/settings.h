/* SPDX-License-Identifier: Apache-2.0 */
/* The config of the otlp_grpc exporter. */
#ifndef UT_OTLP_GRPC_SETTINGS_H
#define UT_OTLP_GRPC_SETTINGS_H

#include "component.h"
#include "net/grpc_client_settings.h"

#define UT_OTLP_GRPC_PORT 4317
#define UT_OTLP_GRPC_PATH "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

struct ut_otlp_grpc_config {
    struct ut_exporter_settings settings;
    struct ut_grpc_client_settings grpc;
};

#endif
