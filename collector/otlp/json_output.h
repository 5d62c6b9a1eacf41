/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens of JSON text, written into blocks: OTLP's JSON and Zipkin's are made with them. */
#ifndef UT_OTLP_JSON_OUTPUT_H
#define UT_OTLP_JSON_OUTPUT_H

#include "base/blocks.h"

/* A string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void ut_json_output_text(struct ut_blocks *out, ut_slice text);
/* The same without the quotes, for strings that are made of several parts. */
void ut_json_output_characters(struct ut_blocks *out, ut_slice text);
/* Lower-case hex. */
void ut_json_output_hex_digits(struct ut_blocks *out, ut_slice bytes);
/* Lower-case hex and base64 with padding, both with quotes. */
void ut_json_output_hex(struct ut_blocks *out, ut_slice bytes);
void ut_json_output_base64(struct ut_blocks *out, ut_slice bytes);
/* Digits without quotes. */
void ut_json_output_unsigned(struct ut_blocks *out, uint64_t value);
void ut_json_output_signed(struct ut_blocks *out, int64_t value);
/* The shortest number that reads as the same double; "NaN", "Infinity" and "-Infinity" with quotes.
 */
void ut_json_output_double(struct ut_blocks *out, double value);

#endif
