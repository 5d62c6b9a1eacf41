/* SPDX-License-Identifier: Apache-2.0 */
/* The attributes and events of a span, a line each, for `verbosity: detailed`. */
#ifndef UT_DEBUG_DETAILS_H
#define UT_DEBUG_DETAILS_H

#include "debug_exporter/text.h"

/* `fields` are encoded fields of a Span, as debug_span.fields; each line begins with `prefix`. */
void debug_add_details(struct debug_text *text, ut_slice fields, ut_slice prefix);

#endif
