/* SPDX-License-Identifier: Apache-2.0 */
/* A trace as text: a header line, its tree, and what the kernel said about it. Pure. */
#ifndef UT_DEBUG_RENDER_H
#define UT_DEBUG_RENDER_H

#include "debug_exporter/text.h"
#include "debug_exporter/trace.h"

/* Appends the trace to `text`; its scratch memory comes from `pool`. `detailed`: with the
 * attributes and events of every span. false where there is no memory; `text` may hold a part of it
 * then. */
bool debug_render(struct debug_text *text, const struct debug_trace *trace, struct ut_pool *pool,
                  bool detailed) UT_MUST_USE;

#endif
