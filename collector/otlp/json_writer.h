/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other direction of json.h: the wire bytes of an ExportTraceServiceRequest, as the splice
 * leaves them, to OTLP's JSON, in one pass over the runs. What json.h reads of it are the same
 * bytes again, in canonical form.
 *
 * Sources: OTLP specification 1.11 "JSON Protobuf Encoding", protobuf.dev/programming-guides/json.
 * Keys are lowerCamelCase; ids are lower-case hex, other bytes base64; 64-bit integers are strings,
 * enums numbers. Defaults that stand on the wire are written, unknown fields are not. JSON has each
 * key once: elements of a list that do not stand together on the wire (an edit adds attributes at a
 * span's end) are gathered at the first of them; of several scalars the last one counts, and
 * several messages of one singular field are merged, as every protobuf parser does.
 */
#ifndef UT_OTLP_JSON_WRITER_H
#define UT_OTLP_JSON_WRITER_H

#include "otlp/json_output.h"

/* Appends the request in `runs` to `out`. No tag, length or value that holds no message may be
 * divided between two runs (the splice never does). 0; -EBADMSG where the bytes are no such
 * request; -ENOMEM, and nothing more is written to `out` then. */
int ut_json_from_wire(struct ut_blocks *out, const struct iovec *runs,
                      size_t run_count) UT_MUST_USE;

#endif
