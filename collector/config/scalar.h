/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single values as one writes them in a configuration. Each function returns NULL, or a constant
 * text that says what is wrong and what to write; `ret` is set only on success.
 */
#ifndef UT_CONFIG_SCALAR_H
#define UT_CONFIG_SCALAR_H

#include <stdbool.h>
#include <stdint.h>

const char *ut_scalar_bool(bool *ret, const char *text);
const char *ut_scalar_uint(uint64_t *ret, const char *text);
/* A number of bytes, or one with a unit: B, kB, MB, GB (powers of 1000), KiB, MiB, GiB (of 1024).
 */
const char *ut_scalar_bytes(uint64_t *ret, const char *text);
/* Nanoseconds from Go's notation: "300ms", "1m30s", "1.5h", "0". A bare number is refused: the
 * Collector would read it as nanoseconds, people mean seconds. */
const char *ut_scalar_duration(uint64_t *ret, const char *text);
const char *ut_scalar_double(double *ret, const char *text);

#endif
