/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OTLP in its JSON encoding. A request becomes the same bytes that a protobuf sender would have
 * sent (fields by their number, defaults left out, shortest lengths), so that behind this door
 * there is one kind of request only; the walk still judges it, as it judges all. Answers are
 * written here.
 *
 * Sources: OTLP specification 1.11 "JSON Protobuf Encoding", protobuf.dev/programming-guides/json,
 * RFC 8259. Where they leave a choice:
 * - keys are lowerCamelCase or as in the .proto file; unknown ones are skipped, their values must
 * be JSON all the same;
 * - of several members with one name the last one counts, whole, wherever it stands; of several
 *   members of an AnyValue the last that is not null;
 * - null is an absent member; in an array it is an error;
 * - ids are hex in any case; a wrong length is no error here (the walk leaves that span out);
 * - integers are numbers or strings of one, also with fraction and exponent if they are integral;
 *   enums are numbers only, as the specification wants; an attribute's number that is integral but
 *   beyond 64 bits becomes a double, as JavaScript's SDK means it;
 * - doubles are numbers, strings of one, "NaN", "Infinity" or "-Infinity"; beyond the range of a
 *   double is an error;
 * - bytesValue is base64, either alphabet, with or without padding;
 * - a lone surrogate escape is an error; raw bytes that are not UTF-8 are passed on to the walk, as
 *   a protobuf sender's would be.
 */
#ifndef UT_OTLP_JSON_H
#define UT_OTLP_JSON_H

#include "otlp/writer.h"

struct ut_json_report {
    size_t offset;     /* with -EBADMSG: where, counted from the first byte */
    const char *error; /* with -EBADMSG: what, a constant text */
};

/* An ExportTraceServiceRequest as JSON to its wire bytes, in one pass. On success *ret is a segment
 * of `pool` with one reference, the caller's; what it takes (ut_pool_usable) stays held. The bytes
 * are never more than json.size + json.size / 4096 + 16. Empty input is an error, `{}` an empty
 * request.
 * -EBADMSG: bad JSON or not of the schema; -EMSGSIZE: more than limits->bytes_max; -ENOBUFS: `hold`
 * refused; -ENOMEM. After an error nothing is held. */
int ut_json_to_wire(ut_slice json, struct ut_pool *pool, const struct ut_writer_limits *limits,
                    struct ut_segment **ret, struct ut_json_report *report) UT_MUST_USE;

enum { UT_JSON_ANSWER_MAX = 1024 }; /* bytes; longer messages are cut */

/* An ExportTraceServiceResponse: `{}`, or with rejected > 0 or a message (may be NULL) that is not
 * empty a partialSuccess. Into `out`, returns the bytes written; no terminator. */
size_t ut_json_put_response(char out[UT_JSON_ANSWER_MAX], uint64_t rejected_spans,
                            const char *message);
/* A google.rpc.Status: `code` is a gRPC code. */
size_t ut_json_put_status(char out[UT_JSON_ANSWER_MAX], int code, const char *message);

#endif
