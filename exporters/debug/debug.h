/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: the exporter on a descriptor of their choice. The program gets it through the table.
 */
#ifndef UT_DEBUG_DEBUG_H
#define UT_DEBUG_DEBUG_H

#include "component.h"

enum debug_verbosity { DEBUG_BASIC, DEBUG_NORMAL, DEBUG_DETAILED };

struct debug_config {
    int verbosity; /* enum debug_verbosity */
};

extern const struct ut_exporter_type ut_exporter_debug;

/* `fd` is borrowed. 0 or -ENOMEM. */
int debug_create(struct ut_exporter **ret, const struct ut_build *build, int fd) UT_MUST_USE;

#endif
