/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of one configuration: blocks that are all released together. Configurations are read at
 * start, so running out of memory ends the program.
 */
#ifndef UT_CONFIG_MEMORY_H
#define UT_CONFIG_MEMORY_H

#include <stdarg.h>
#include <stddef.h>

#include "base/check.h"

struct ut_config_block;

struct ut_config_memory {
    struct ut_config_block *blocks;
};

void ut_config_memory_done(struct ut_config_memory *memory);
/* Cleared, aligned for any type. Never NULL. */
void *ut_config_alloc(struct ut_config_memory *memory, size_t size) UT_MUST_USE;
/* A terminated copy of `size` bytes. */
char *ut_config_copy(struct ut_config_memory *memory, const char *text, size_t size) UT_MUST_USE;
char *ut_config_vformat(struct ut_config_memory *memory, const char *format, va_list args)
    UT_PRINTF(2, 0) UT_MUST_USE;

#endif
