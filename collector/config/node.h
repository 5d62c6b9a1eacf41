/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a configuration file, with the position of each part. */
#ifndef UT_CONFIG_NODE_H
#define UT_CONFIG_NODE_H

#include <stdbool.h>
#include <string.h>

#include "config/messages.h"

enum ut_config_node_kind { UT_NODE_SCALAR, UT_NODE_MAPPING, UT_NODE_SEQUENCE };

struct ut_config_node {
    enum ut_config_node_kind kind;
    struct ut_config_at at;
    bool plain;       /* a scalar without quotes: may stand for null */
    const char *text; /* of a scalar, terminated */
    const char *key;  /* of a mapping's entry; NULL elsewhere */
    struct ut_config_at key_at;
    struct ut_config_node *first, **last; /* children of a mapping or a sequence */
    size_t count;
    struct ut_config_node *next;
};

/* Absent, or nothing behind the colon, or null. */
static inline bool ut_config_node_is_null(const struct ut_config_node *node)
{
    return node == NULL || (node->kind == UT_NODE_SCALAR && node->plain &&
                            (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
                             strcmp(node->text, "null") == 0 || strcmp(node->text, "Null") == 0 ||
                             strcmp(node->text, "NULL") == 0));
}

/* The entry `key` of a mapping; NULL if absent or if `node` is no mapping. */
static inline struct ut_config_node *ut_config_node_get(const struct ut_config_node *node,
                                                        const char *key)
{
    if (node == NULL || node->kind != UT_NODE_MAPPING)
        return NULL;
    for (struct ut_config_node *child = node->first; child != NULL; child = child->next) {
        if (strcmp(child->key, key) == 0)
            return child;
    }
    return NULL;
}

/* Where a message on this entry points: its key if it has one. */
static inline struct ut_config_at ut_config_node_place(const struct ut_config_node *node)
{
    return node->key != NULL ? node->key_at : node->at;
}

#endif
