/* SPDX-License-Identifier: Apache-2.0 */
#include "config/nearest.h"

#include <stdint.h>
#include <string.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance where two neighbours that were swapped count once ("optimal string
 * alignment"). Both words are shorter than UT_NEAREST_WORD_MAX. */
static size_t measure_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][UT_NEAREST_WORD_MAX];
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(change, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a_size % 3][b_size];
}

void ut_nearest_offer(struct ut_nearest *nearest, const char *candidate)
{
    size_t word = strlen(nearest->word), size = strlen(candidate);
    if (word == 0 || word >= UT_NEAREST_WORD_MAX || size >= UT_NEAREST_WORD_MAX)
        return;
    size_t allowed = word <= 3 ? 1 : word <= 6 ? 2 : 3;
    size_t distance = measure_distance(nearest->word, word, candidate, size);
    if (distance > allowed) {
        size_t shared = least(word, size);
        if (shared < 3 || memcmp(nearest->word, candidate, shared) != 0)
            return;
        distance = allowed + 1; /* a prefix is a guess, any word within the distance a better one */
    }
    if (nearest->best == NULL || distance < nearest->distance) {
        nearest->best = candidate;
        nearest->distance = distance;
    }
}
