/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `${env:NAME}`, `${env:NAME:-default}`, `${NAME}` and `$$` in scalars, as the OpenTelemetry
 * Collector reads them. A value taken from the environment is not expanded again.
 */
#ifndef UT_CONFIG_EXPAND_H
#define UT_CONFIG_EXPAND_H

#include "config/node.h"

/* The value of a variable, NULL where it is not set; valid until the next call. */
typedef const char *(*ut_config_env)(const char *name);

/* Expands every scalar of the tree in place; new texts are of `memory`. */
void ut_config_expand(struct ut_config_node *root, ut_config_env env,
                      struct ut_config_memory *memory, struct ut_config_messages *messages);

#endif
