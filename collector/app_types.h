/* SPDX-License-Identifier: Apache-2.0 */
/* The components of this build as tables of the config layer. */
#ifndef UT_APP_TYPES_H
#define UT_APP_TYPES_H

#include "config/config.h"

/* The arithmetic of memory, in MiB; what it counts stands in app_memory.c. */
enum {
    UT_APP_FIXED_MIB = 16,
    UT_APP_FIXED_KERNEL_MIB = 16,
    UT_APP_FIXED_STORAGE_MIB = 16,
    UT_APP_BUDGET_LEAST_MIB = 8,
};

#define UT_APP_TYPES_MAX 32 /* of a kind, with the end of the table */

struct ut_app_types {
    struct ut_config_types types; /* points into the arrays below */
    struct ut_config_type receivers[UT_APP_TYPES_MAX];
    struct ut_config_type processors[UT_APP_TYPES_MAX];
    struct ut_config_type exporters[UT_APP_TYPES_MAX];
    struct ut_config_type extensions[UT_APP_TYPES_MAX];
};

void ut_app_types_init(struct ut_app_types *types);

#endif
