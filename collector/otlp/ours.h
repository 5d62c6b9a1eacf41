/* SPDX-License-Identifier: Apache-2.0 */
/* What only Undertrace may write: attributes `undertrace.*` and the events that carry evidence. */
#ifndef UT_OTLP_OURS_H
#define UT_OTLP_OURS_H

#include "model/attributes.h"
#include "otlp/wire.h"

/* The key of a checked KeyValue: the last one, as protobuf parsers take it. */
ut_slice ut_ours_key(ut_slice key_value);

/* Whether a checked KeyValue has a key `undertrace.*`; all its keys are looked at. */
bool ut_ours_attribute(ut_slice key_value);

/* Whether a checked Span.Event is named as evidence and holds an attribute `undertrace.*`. */
bool ut_ours_event(ut_slice event);

static inline bool ut_ours_has_prefix(const uint8_t *key, size_t size)
{
    return size >= sizeof(UT_ATTR_PREFIX) - 1 &&
           memcmp(key, UT_ATTR_PREFIX, sizeof(UT_ATTR_PREFIX) - 1) == 0;
}

#endif
