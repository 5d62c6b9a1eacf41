/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text that is written front to back into blocks of a pool: what requests in OTLP's JSON and
 * in Zipkin's are made with. The text never moves, so its end is not known beforehand, and it comes
 * out as a list of runs.
 *
 * The first failure to get memory is remembered; after it nothing is written any more, and the
 * writers need not look.
 */
#ifndef UT_OTLP_JSON_OUTPUT_H
#define UT_OTLP_JSON_OUTPUT_H

#include <sys/uio.h>

#include "base/pool.h"
#include "base/slice.h"

struct ut_json_block;

struct ut_json_output {
    struct ut_pool *pool;
    uint8_t *next, *end; /* where the next byte goes, and where the newest block ends */
    struct ut_json_block *first, *last;
    size_t blocks;
    size_t bytes_before; /* in all blocks but the newest */
    struct iovec *runs;  /* of ut_json_output_runs */
    bool failed;
};

void ut_json_output_init(struct ut_json_output *out, struct ut_pool *pool);
void ut_json_output_done(struct ut_json_output *out);

/* Bytes written so far. */
size_t ut_json_output_bytes(const struct ut_json_output *out);
/* All that was written, as runs that stay valid until more is written; none of them is empty.
 * Returns their number, or -ENOMEM, also where writing failed. */
int ut_json_output_runs(struct ut_json_output *out, const struct iovec **ret) UT_MUST_USE;

/* As it is. */
void ut_json_output_raw(struct ut_json_output *out, ut_slice text);
#define UT_JSON_LITERAL(out, literal) ut_json_output_raw(out, UT_SLICE(literal))
void ut_json_output_byte(struct ut_json_output *out, char byte);
/* A string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void ut_json_output_text(struct ut_json_output *out, ut_slice text);
/* The same without the quotes, for strings that are made of several parts. */
void ut_json_output_characters(struct ut_json_output *out, ut_slice text);
/* Lower-case hex and base64 with padding, both with quotes. */
void ut_json_output_hex(struct ut_json_output *out, ut_slice bytes);
void ut_json_output_base64(struct ut_json_output *out, ut_slice bytes);
/* Digits without quotes. */
void ut_json_output_unsigned(struct ut_json_output *out, uint64_t value);
void ut_json_output_signed(struct ut_json_output *out, int64_t value);
/* The shortest number that reads as the same double; "NaN", "Infinity" and "-Infinity" with quotes.
 */
void ut_json_output_double(struct ut_json_output *out, double value);

#endif
