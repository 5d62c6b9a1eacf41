/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as Zipkin's JSON of version 2, an array of spans. Pure.
 *
 * Sources: OpenTelemetry specification, "OpenTelemetry to Zipkin Transformation"; Zipkin API v2.
 * What it leaves open: attributes of the Resource and links become tags, as the Collector has them;
 * attributes that tell an end stay tags as well, so nothing is lost.
 */
#ifndef UT_ZIPKIN_SPANS_H
#define UT_ZIPKIN_SPANS_H

#include "otlp/visit.h"

struct ut_zipkin_options {
    ut_slice default_service_name; /* of a Resource that has none */
};

/* Writes the request, checked bytes in one piece, to `out`, whose pool is used for more as well.
 * Where memory is short `out` has failed. */
void ut_zipkin_write(struct ut_blocks *out, ut_slice request,
                     const struct ut_zipkin_options *options);

#endif
