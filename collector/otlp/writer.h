/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wire bytes written front to back into a segment that grows: what JSON becomes, and a request
 * whose text had to be repaired. A message is opened before its size is known: the place of its
 * length is guessed, and its content moved by a byte or more where the guess was wrong. So lengths
 * are always of the shortest form.
 *
 * The writer never asks for more than its owner allows: `hold` stands for a budget, `bytes_max` for
 * the request's limit. The first refusal is remembered; after it nothing is written any more.
 *
 * Invariants: 1. size ≤ capacity ≤ what is held; 2. bytes before an open message never move.
 */
#ifndef UT_OTLP_WRITER_H
#define UT_OTLP_WRITER_H

#include <errno.h>

#include "base/segment.h"
#include "otlp/wire.h"

struct ut_writer_limits {
    size_t bytes_max; /* of what is written */
    /* Told how many bytes the output takes in memory from now on, before it grows and after it
     * shrank (while it moves, old and new place count). false: no room; only growth may be refused.
     * After an error it is told 0. NULL: nobody asks. */
    bool (*hold)(void *arg, size_t bytes);
    void *arg;
};

#endif
