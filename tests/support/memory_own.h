/* SPDX-License-Identifier: Apache-2.0 */
/* Included before all else into the sources of a test that is linked with memory_faults.c: what the
 * test itself asks for it gets. */
#ifndef UT_TEST_MEMORY_OWN_H
#define UT_TEST_MEMORY_OWN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);

#define malloc(size) __real_malloc(size)
#define calloc(count, size) __real_calloc(count, size)
#define realloc(block, size) __real_realloc(block, size)

#endif
