/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk: one strict pass over an ExportTraceServiceRequest that checks every byte and fills the
 * body's index. It allocates in the body's arena only, never per span.
 */
#ifndef UT_OTLP_WALK_H
#define UT_OTLP_WALK_H

#include "model/batch.h"

struct ut_walk_report {
    uint32_t offset;    /* with -EBADMSG: where, counted from the request's first byte */
    const char *error;  /* with -EBADMSG: what, a constant text */
    uint32_t left_out;  /* with 0: spans that are bad in themselves */
    const char *reason; /* … and why the first of them is */
    bool bad_text;      /* with 0: known strings are not UTF-8; see repair.h */
};

/* Fills the index of `body` (segment, start and end are set). 0; -EBADMSG where the bytes do not
 * parse, and nothing of the body may be used; -ENOMEM. */
int ut_walk(struct ut_body *body, struct ut_walk_report *report) UT_MUST_USE;

#endif
