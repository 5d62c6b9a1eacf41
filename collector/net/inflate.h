/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies in a content coding, inflated as they arrive straight into where they are kept. Pure: it
 * neither reads nor keeps more than it is given, and asks for room before it writes.
 *
 * gzip (RFC 1952, several members in a row), deflate (RFC 1950; without its wrapper too, as some
 * senders have it) and zstd (RFC 8878, several frames in a row). Checksums are verified, bytes
 * behind the end are corrupt, and so is a stream that needs a dictionary.
 *
 * A body that arrives has one context: 128 KiB, of zstd 256 KiB, from the pool. The window of zstd
 * is the body itself, so a frame that announces a large one costs nothing. One context of each kind
 * is kept for the next body.
 *
 * How far a body may expand, and what is paid for it, is the caller's (call_body.c).
 */
#ifndef UT_NET_INFLATE_H
#define UT_NET_INFLATE_H

#include <stdbool.h>

#include "base/pool.h"
#include "base/slice.h"

enum ut_coding {
    UT_CODING_IDENTITY,
    UT_CODING_GZIP,
    UT_CODING_DEFLATE,
    UT_CODING_ZSTD,
    UT_CODINGS,
    UT_CODING_UNKNOWN = UT_CODINGS,
};

/* The coding that a header field names, in any case; the empty name is identity. */
enum ut_coding ut_coding_of(ut_slice name);
const char *ut_coding_name(enum ut_coding coding);

struct ut_inflate;

/* The contexts that nobody uses: at most one of each kind. */
struct ut_inflates {
    struct ut_pool *pool;
    struct ut_inflate *spare[UT_CODINGS];
};

enum ut_inflate_result {
    UT_INFLATE_MORE, /* all input is taken */
    UT_INFLATE_ROOM, /* `want` bytes of room are needed to go on */
    UT_INFLATE_CORRUPT,
};

/* A body: `size` bytes of it are there and stay as they are, up to `room` may be written. Between
 * two steps it may move. */
struct ut_inflate_body {
    uint8_t *data;
    size_t size, room;
    size_t want;     /* out, with UT_INFLATE_ROOM: behind `size` */
    size_t declared; /* out: the size that the body claims to reach, as far as it does; 0: none */
};

void ut_inflates_init(struct ut_inflates *inflates, struct ut_pool *pool);
/* Every context must have been given back. */
void ut_inflates_done(struct ut_inflates *inflates);

/* Bytes of memory that a context takes, as the pool counts. `coding` is not identity. */
size_t ut_inflate_cost(enum ut_coding coding);
/* At the beginning of a body; NULL without memory. */
struct ut_inflate *ut_inflate_take(struct ut_inflates *inflates, enum ut_coding coding) UT_MUST_USE;
void ut_inflate_give(struct ut_inflates *inflates, struct ut_inflate *inflate); /* NULL is fine */

/* Takes from the front of *input and writes behind body->size, until it can do no more. */
enum ut_inflate_result ut_inflate_step(struct ut_inflate *inflate, ut_slice *input,
                                       struct ut_inflate_body *body) UT_MUST_USE;
/* The input may end here. */
bool ut_inflate_is_whole(const struct ut_inflate *inflate);

#endif
