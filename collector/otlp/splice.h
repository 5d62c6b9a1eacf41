/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The splice: index and edits to a list of byte runs that together are one
 * ExportTraceServiceRequest. Untouched runs point into the segments; new length prefixes and added
 * fields into arenas. Nothing is copied that need not be.
 */
#ifndef UT_OTLP_SPLICE_H
#define UT_OTLP_SPLICE_H

#include <sys/uio.h>

#include "model/batch.h"

struct ut_splice {
    struct ut_arena arena; /* owns the list and the new bytes */
    struct iovec *runs;    /* runs[0] is left free for the caller (a gRPC prefix) */
    size_t run_count;      /* runs[0] included */
    size_t bytes;          /* of the message, runs[0] not included */
};

/* Spans first_span … + span_count - 1 of the batch, counted over those that are not left out. Valid
 * while the batch lives and is not edited. 0 or -ENOMEM (nothing to release then). */
int ut_splice_batch(struct ut_splice *splice, const struct ut_batch *batch, uint32_t first_span,
                    uint32_t span_count) UT_MUST_USE;
void ut_splice_done(struct ut_splice *splice);

#endif
