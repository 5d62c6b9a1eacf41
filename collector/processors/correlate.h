/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of `correlate` need beyond component.h. */
#ifndef UT_PROCESSORS_CORRELATE_H
#define UT_PROCESSORS_CORRELATE_H

#include "component.h"

extern const struct ut_processor_type ut_processor_correlate;

/* Spans carry UNIX time and the worker's timers do not: where the processor reads it. The system's
 * clock until this is called. */
void ut_correlate_set_clock(struct ut_processor *processor, uint64_t (*unix_ns)(void));

#endif
