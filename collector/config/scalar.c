/* SPDX-License-Identifier: Apache-2.0 */
#include "config/scalar.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

const char *ut_scalar_bool(bool *ret, const char *text)
{
    static const char *const words[2][3] = {{"false", "False", "FALSE"}, {"true", "True", "TRUE"}};
    for (int value = 0; value < 2; value++) {
        for (int i = 0; i < 3; i++) {
            if (strcmp(text, words[value][i]) == 0) {
                *ret = value != 0;
                return NULL;
            }
        }
    }
    return "expected true or false";
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits at `*at`; false where there are none or they exceed 64 bits. */
static bool read_digits(uint64_t *ret, const char **at)
{
    uint64_t value = 0;
    if (!is_digit(**at))
        return false;
    for (; is_digit(**at); ++*at) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**at - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

/* Reads digits with an optional fraction, times the unit that follows. `*at` stands behind the unit
 * then. What of the fraction is smaller than one is cut. */
static bool read_amount(uint64_t *ret, const char **at, const struct unit *units)
{
    uint64_t whole = 0, part = 0, scale = 1;
    if (!read_digits(&whole, at))
        return false;
    if (**at == '.') {
        for (++*at; is_digit(**at); ++*at) {
            if (scale < UINT64_C(1000000000)) { /* later digits are below what is told apart */
                part = part * 10 + (uint64_t)(**at - '0');
                scale *= 10;
            }
        }
    }
    const struct unit *best = NULL;
    size_t best_size = 0;
    for (; units->name != NULL; units++) {
        size_t size = strlen(units->name);
        if ((best == NULL || size > best_size) && strncmp(*at, units->name, size) == 0) {
            best = units;
            best_size = size;
        }
    }
    if (best == NULL || __builtin_mul_overflow(whole, best->factor, &whole))
        return false;
    *at += best_size;
    uint64_t fraction = (uint64_t)((double)part / (double)scale * (double)best->factor + 0.5);
    return !__builtin_add_overflow(whole, fraction, ret);
}

const char *ut_scalar_uint(uint64_t *ret, const char *text)
{
    uint64_t value;
    if (!read_digits(&value, &text) || *text != '\0')
        return "expected a whole number, 0 or more";
    *ret = value;
    return NULL;
}

const char *ut_scalar_bytes(uint64_t *ret, const char *text)
{
    static const struct unit units[] = {
        {"", 1},          {"B", 1},           {"kB", 1000},     {"KB", 1000},
        {"MB", 1000000},  {"GB", 1000000000}, {"KiB", 1 << 10}, {"MiB", 1 << 20},
        {"GiB", 1 << 30}, {NULL, 0},
    };
    uint64_t value;
    if (!read_amount(&value, &text, units) || *text != '\0')
        return "expected a size such as 64MiB, 512KiB or a number of bytes";
    *ret = value;
    return NULL;
}

const char *ut_scalar_duration(uint64_t *ret, const char *text)
{
    static const struct unit units[] = {
        {"ns", 1},       {"us", 1000},      {"µs", 1000},       {"μs", 1000}, /* U+00B5 and U+03BC,
                                                                                 as Go reads them */
        {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}, {NULL, 0},
    };
    uint64_t sum = 0, part;
    const char *at = text;
    bool bare = is_digit(*at);
    for (const char *c = at; *c != '\0'; c++)
        bare = bare && (is_digit(*c) || *c == '.');
    if (strcmp(text, "0") == 0) {
        *ret = 0;
        return NULL;
    }
    if (bare)
        return "a duration needs a unit: write for example 5s or 300ms";
    if (*at == '-')
        return "a duration must not be negative";
    do {
        if (!read_amount(&part, &at, units) || __builtin_add_overflow(sum, part, &sum))
            return "expected a duration such as 5s, 300ms or 1m30s";
    } while (*at != '\0');
    *ret = sum;
    return NULL;
}

const char *ut_scalar_double(double *ret, const char *text)
{
    char *end;
    bool numeric = text[0] != '\0' && strspn(text, "+-.0123456789eE") == strlen(text);
    double value = numeric ? strtod(text, &end) : 0;
    if (!numeric || *end != '\0' || !isfinite(value))
        return "expected a number such as 1.5";
    *ret = value;
    return NULL;
}
