/* SPDX-License-Identifier: Apache-2.0 */
/* The innermost loop of the walk: one Span. */
#ifndef UT_OTLP_WALK_SPAN_H
#define UT_OTLP_WALK_SPAN_H

#include "model/batch.h"
#include "otlp/message.h"

/* Checks the Span in [p, end) and fills `row` but for where it is (offset, size, header). false: it
 * does not parse. What is bad in itself is noted in `fault->bad`, which is NULL before. */
bool ut_walk_span(struct ut_fault *fault, const uint8_t *p, const uint8_t *end,
                  struct ut_span *row);

#endif
