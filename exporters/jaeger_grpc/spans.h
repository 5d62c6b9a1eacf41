/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as Jaeger's PostSpansRequest (api_v2). Pure.
 *
 * Sources: OpenTelemetry specification, "OpenTelemetry to Jaeger Transformation" and "Mapping to
 * non-OTLP Formats"; Jaeger's model.proto. A request of Jaeger's has one process; spans of further
 * Resources carry theirs themselves.
 */
#ifndef UT_JAEGER_GRPC_SPANS_H
#define UT_JAEGER_GRPC_SPANS_H

#include "base/segment.h"
#include "otlp/visit.h"

/* Of checked bytes in one piece. The caller's reference; NULL: out of memory. */
struct ut_segment *ut_jaeger_write(ut_slice request, struct ut_pool *pool) UT_MUST_USE;

#endif
