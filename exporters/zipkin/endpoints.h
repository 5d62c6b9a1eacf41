/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends of a Zipkin span, from attributes: the OpenTelemetry specification's table for the
 * remote one ("Zipkin, Remote endpoint"), addresses for both where they are numeric.
 */
#ifndef UT_ZIPKIN_ENDPOINTS_H
#define UT_ZIPKIN_ENDPOINTS_H

#include "otlp/visit.h"

enum {
    UT_ZIPKIN_NAMES = 8, /* keys that name the remote end, the strongest first */
    UT_ZIPKIN_PLACES = 4,
};

/* Values (AnyValue contents) of the attributes that matter, as they were found. */
struct ut_zipkin_ends {
    ut_slice names[UT_ZIPKIN_NAMES];
    struct ut_zipkin_place {
        ut_slice address, port;
    } remote[UT_ZIPKIN_PLACES], local[UT_ZIPKIN_PLACES];
};

/* Takes note of a span's attribute, if it matters. */
void ut_zipkin_ends_note(struct ut_zipkin_ends *ends, ut_slice key, ut_slice any);
/* Write `,"localEndpoint":{…}` and `,"remoteEndpoint":{…}`, the latter only if something is known.
 * `named`: whether the remote end may be named, as of a span that calls it. */
void ut_zipkin_ends_write_local(const struct ut_zipkin_ends *ends, ut_slice service,
                                struct ut_blocks *out);
void ut_zipkin_ends_write_remote(const struct ut_zipkin_ends *ends, bool named,
                                 struct ut_blocks *out);

#endif
