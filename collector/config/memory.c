/* SPDX-License-Identifier: Apache-2.0 */
#include "config/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ut_config_block {
    struct ut_config_block *next;
    max_align_t data[];
};

void ut_config_memory_done(struct ut_config_memory *memory)
{
    while (memory->blocks != NULL) {
        struct ut_config_block *block = memory->blocks;
        memory->blocks = block->next;
        free(block);
    }
}

void *ut_config_alloc(struct ut_config_memory *memory, size_t size)
{
    struct ut_config_block *block = calloc(1, sizeof(*block) + size);
    UT_CHECK_MEMORY(block != NULL);
    block->next = memory->blocks;
    memory->blocks = block;
    return block->data;
}

char *ut_config_copy(struct ut_config_memory *memory, const char *text, size_t size)
{
    char *copy = ut_config_alloc(memory, size + 1);
    if (size != 0)
        memcpy(copy, text, size);
    return copy;
}

char *ut_config_vformat(struct ut_config_memory *memory, const char *format, va_list args)
{
    char *text = NULL;
    int size = vasprintf(&text, format, args);
    UT_CHECK_MEMORY(size >= 0);
    char *copy = ut_config_copy(memory, text, (size_t)size);
    free(text);
    return copy;
}
