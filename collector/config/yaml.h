/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML text to a tree (node.h). One document; no anchors, aliases and tags; keys are plain texts
 * and stand once. Bounded in size, depth and number of nodes.
 */
#ifndef UT_CONFIG_YAML_H
#define UT_CONFIG_YAML_H

#include "base/slice.h"
#include "config/node.h"

#define UT_YAML_SIZE_MAX ((size_t)1 << 20)
#define UT_YAML_DEPTH_MAX 32
#define UT_YAML_NODES_MAX 20000
#define UT_YAML_CHILDREN_MAX 1000

/* The root, of `memory`; NULL if the text cannot be read or is empty, which is reported then. */
struct ut_config_node *ut_yaml_read(ut_slice text, struct ut_config_memory *memory,
                                    struct ut_config_messages *messages);

#endif
