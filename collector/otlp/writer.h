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
    size_t bytes_max; /* of what is written; a request never has more than UINT32_MAX */
    /* Told how many bytes the output takes in memory from now on, before it grows and after it
     * shrank (while it moves, old and new place count). false: no room; only growth may be refused.
     * After an error it is told 0. NULL: nobody asks. */
    bool (*hold)(void *arg, size_t bytes);
    void *arg;
};

struct ut_writer {
    uint8_t *next, *end; /* where the next byte goes, and where its room ends */
    struct ut_segment *segment;
    struct ut_pool *pool;
    const struct ut_writer_limits *limits;
    size_t likely_max; /* bytes that the output is known not to outgrow; growth stops there */
    int error;         /* the first; 0: none */
};

enum { UT_WRITER_SLACK = 64 }; /* bytes of room beyond the size, for stores that are too wide */

/* Room for `first` bytes to begin with. 0, -EMSGSIZE, -ENOBUFS or -ENOMEM; nothing is held then. */
int ut_writer_init(struct ut_writer *writer, struct ut_pool *pool,
                   const struct ut_writer_limits *limits, size_t first,
                   size_t likely_max) UT_MUST_USE;
/* Ends the writing: with 0 *ret is the segment, whose size is set. */
int ut_writer_finish(struct ut_writer *writer, struct ut_segment **ret) UT_MUST_USE;
/* Gives all memory back. */
void ut_writer_abandon(struct ut_writer *writer);
/* Makes room for `size` bytes and UT_WRITER_SLACK; false: `error` says why there is none. */
bool ut_writer_grow(struct ut_writer *writer, size_t size);

static inline bool ut_writer_room(struct ut_writer *writer, size_t size)
{
    return __builtin_expect((size_t)(writer->end - writer->next) >= size, 1) ||
           ut_writer_grow(writer, size);
}

/* Positions are counted from the first byte, for the bytes themselves move when the output grows.
 */
static inline size_t ut_writer_position(const struct ut_writer *writer)
{
    return (size_t)(writer->next - writer->segment->data);
}

/* Ends the message whose content began at `content`, behind `guess` bytes for its length; returns
 * how many the length took. */
size_t ut_writer_close(struct ut_writer *writer, size_t content, size_t guess);
/* Lets the adjacent runs [first, second) and [second, end) change places. */
void ut_writer_swap(struct ut_writer *writer, size_t first, size_t second, size_t end);

#endif
