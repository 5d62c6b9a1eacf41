/* SPDX-License-Identifier: Apache-2.0 */
/* The word that a mistyped one was probably meant to be. */
#ifndef UT_CONFIG_NEAREST_H
#define UT_CONFIG_NEAREST_H

#include <stddef.h>

#define UT_NEAREST_WORD_MAX 64 /* longer words are never near */

struct ut_nearest {
    const char *word; /* that was typed; borrowed */
    const char *best; /* NULL: none near enough so far */
    size_t distance;
};

/* Offers one valid word. Near are words within 1 change (words to 3 letters), 2 (to 6), 3 (longer),
 * and words that one of the two begins with. */
void ut_nearest_offer(struct ut_nearest *nearest, const char *candidate);

#endif
