/* SPDX-License-Identifier: Apache-2.0 */
/* Where the configuration comes from: a file, or without one the preset. */
#ifndef UT_APP_LOAD_H
#define UT_APP_LOAD_H

#include <stdio.h>

#include "app_types.h"

/* `path` NULL: the preset (app_preset.h). What there is to say is printed to `out`. NULL after an
 * error. `types` outlives the configuration. */
struct ut_config *ut_app_load(const char *path, const struct ut_app_types *types,
                              FILE *out) UT_MUST_USE;

#endif
