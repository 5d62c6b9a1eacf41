/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies that are made from a number, so that whoever reads one back knows what it should be; and
 * random numbers that can be had again. */
#ifndef UT_TEST_HOLD_BODIES_H
#define UT_TEST_HOLD_BODIES_H

#include <stdlib.h>

#include "base/slice.h"

static inline void harness_fill(uint8_t *body, size_t size, uint64_t number)
{
    uint64_t state = number * 2654435761u + 1;
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        body[i] = (uint8_t)(state >> 56);
    }
    if (size >= 8)
        memcpy(body, &number, 8);
}

/* UINT64_MAX: it is no body of ours. */
static inline uint64_t harness_number_of(ut_slice body)
{
    uint64_t number;
    uint8_t *wanted = malloc(body.size);
    if (body.size < 8 || wanted == NULL)
        abort();
    memcpy(&number, body.data, 8);
    harness_fill(wanted, body.size, number);
    bool ours = memcmp(wanted, body.data, body.size) == 0;
    free(wanted);
    return ours ? number : UINT64_MAX;
}

/* splitmix64 */
static inline uint64_t harness_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The number that a test's user set in the environment. */
static inline uint64_t harness_setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

#endif
