/* SPDX-License-Identifier: Apache-2.0 */
#include "net/inflate.h"

#include <strings.h>

#include "net/inflate_kind.h"

enum { POOL_OVERHEAD = 16 }; /* bytes of a block that are the pool's */

static const struct ut_inflate_kind *const kinds[UT_CODINGS] = {
    [UT_CODING_GZIP] = &ut_inflate_deflate,
    [UT_CODING_DEFLATE] = &ut_inflate_deflate,
    [UT_CODING_ZSTD] = &ut_inflate_zstd,
};

/* ---- names ---------------------------------------------------------------------------------- */

static const char *const names[UT_CODINGS] = {
    [UT_CODING_IDENTITY] = "identity",
    [UT_CODING_GZIP] = "gzip",
    [UT_CODING_DEFLATE] = "deflate",
    [UT_CODING_ZSTD] = "zstd",
};

static bool is_name(ut_slice text, const char *name)
{
    return text.size == strlen(name) && strncasecmp((const char *)text.data, name, text.size) == 0;
}

enum ut_coding ut_coding_of(ut_slice name)
{
    if (name.size == 0)
        return UT_CODING_IDENTITY;
    for (enum ut_coding coding = 0; coding < UT_CODINGS; coding++) {
        if (is_name(name, names[coding]))
            return coding;
    }
    if (is_name(name, "x-gzip")) /* RFC 9110 8.4.1.3 */
        return UT_CODING_GZIP;
    return is_name(name, "zlib") ? UT_CODING_DEFLATE : UT_CODING_UNKNOWN; /* the Collector's */
}

const char *ut_coding_name(enum ut_coding coding)
{
    return names[coding];
}

/* ---- contexts ------------------------------------------------------------------------------- */

/* gzip and deflate share theirs. */
static struct ut_inflate **spare_of(struct ut_inflates *inflates, enum ut_coding coding)
{
    return &inflates->spare[coding == UT_CODING_GZIP ? UT_CODING_DEFLATE : coding];
}

void ut_inflates_init(struct ut_inflates *inflates, struct ut_pool *pool)
{
    *inflates = (struct ut_inflates){.pool = pool};
}

static void free_context(struct ut_inflates *inflates, struct ut_inflate *inflate)
{
    inflate->kind->done(inflate);
    ut_pool_free(inflates->pool, inflate);
}

void ut_inflates_done(struct ut_inflates *inflates)
{
    for (int i = 0; i < UT_CODINGS; i++) {
        if (inflates->spare[i] != NULL)
            free_context(inflates, inflates->spare[i]);
        inflates->spare[i] = NULL;
    }
}

size_t ut_inflate_cost(enum ut_coding coding)
{
    size_t bytes = kinds[coding]->bytes() + POOL_OVERHEAD;
    return (size_t)1 << (64 - __builtin_clzll(bytes - 1));
}

static struct ut_inflate *new_context(struct ut_inflates *inflates,
                                      const struct ut_inflate_kind *kind)
{
    struct ut_inflate *inflate = ut_pool_alloc(inflates->pool, kind->bytes());
    if (inflate == NULL)
        return NULL;
    inflate->kind = kind;
    if (kind->init(inflate))
        return inflate;
    ut_pool_free(inflates->pool, inflate);
    return NULL;
}

struct ut_inflate *ut_inflate_take(struct ut_inflates *inflates, enum ut_coding coding)
{
    struct ut_inflate **spare = spare_of(inflates, coding), *inflate = *spare;
    *spare = NULL;
    if (inflate == NULL)
        inflate = new_context(inflates, kinds[coding]);
    if (inflate == NULL)
        return NULL;
    inflate->coding = coding;
    inflate->kind->begin(inflate, coding);
    return inflate;
}

void ut_inflate_give(struct ut_inflates *inflates, struct ut_inflate *inflate)
{
    if (inflate == NULL)
        return;
    struct ut_inflate **spare = spare_of(inflates, inflate->coding);
    if (*spare == NULL)
        *spare = inflate;
    else
        free_context(inflates, inflate);
}

enum ut_inflate_result ut_inflate_step(struct ut_inflate *inflate, ut_slice *input,
                                       struct ut_inflate_body *body)
{
    return inflate->kind->step(inflate, input, body);
}

bool ut_inflate_is_whole(const struct ut_inflate *inflate)
{
    return inflate->kind->is_whole(inflate);
}
