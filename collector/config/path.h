/* SPDX-License-Identifier: Apache-2.0 */
/* The dotted path of the place that is being read, for messages. Long ones are cut. */
#ifndef UT_CONFIG_PATH_H
#define UT_CONFIG_PATH_H

#include <stddef.h>
#include <string.h>

#include "base/log.h"

#define UT_CONFIG_PATH_MAX 256

struct ut_config_path {
    char text[UT_CONFIG_PATH_MAX];
    size_t size;
};

/* Appends `.key`; returns the size to give to ut_config_path_pop. What is not plain is quoted. */
static inline size_t ut_config_path_push(struct ut_config_path *path, const char *key)
{
    size_t before = path->size;
    char quoted[64];
    if (strlen(key) >= sizeof(quoted) || strpbrk(key, " .\"\\=") != NULL || key[0] == '\0')
        key = ut_log_quote(quoted, sizeof(quoted), key);
    else
        for (const char *at = key; *at != '\0'; at++)
            if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7f) {
                key = ut_log_quote(quoted, sizeof(quoted), key);
                break;
            }
    size_t dot = before != 0, size = strlen(key);
    if (before + dot + size + 1 > sizeof(path->text))
        return before;
    if (dot)
        path->text[before] = '.';
    memcpy(path->text + before + dot, key, size + 1);
    path->size = before + dot + size;
    return before;
}

static inline void ut_config_path_pop(struct ut_config_path *path, size_t size)
{
    path->size = size;
    path->text[size] = '\0';
}

#endif
