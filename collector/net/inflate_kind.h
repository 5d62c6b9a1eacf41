/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of contexts behind inflate.h, each in its file. */
#ifndef UT_NET_INFLATE_KIND_H
#define UT_NET_INFLATE_KIND_H

#include "net/inflate.h"

struct ut_inflate_kind {
    size_t (*bytes)(void); /* of a context */
    /* Once in its life. false: the library does not want it so. */
    bool (*init)(struct ut_inflate *inflate);
    void (*done)(struct ut_inflate *inflate);
    void (*begin)(struct ut_inflate *inflate, enum ut_coding coding); /* a body */
    enum ut_inflate_result (*step)(struct ut_inflate *inflate, ut_slice *input,
                                   struct ut_inflate_body *body);
    bool (*is_whole)(const struct ut_inflate *inflate);
};

/* Stands first in each context, which is aligned to 16. */
struct ut_inflate {
    const struct ut_inflate_kind *kind;
    enum ut_coding coding;
};

extern const struct ut_inflate_kind ut_inflate_deflate; /* gzip too */
extern const struct ut_inflate_kind ut_inflate_zstd;

#endif
