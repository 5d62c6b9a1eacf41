/* SPDX-License-Identifier: Apache-2.0 */
/* The config of the jaeger_grpc exporter. */
#ifndef UT_JAEGER_GRPC_SETTINGS_H
#define UT_JAEGER_GRPC_SETTINGS_H

#include "component.h"
#include "net/grpc_client_settings.h"

#define UT_JAEGER_GRPC_PORT 14250
#define UT_JAEGER_GRPC_PATH "/jaeger.api_v2.CollectorService/PostSpans"

struct ut_jaeger_grpc_config {
    struct ut_exporter_settings settings;
    struct ut_grpc_client_settings grpc;
};

#endif
