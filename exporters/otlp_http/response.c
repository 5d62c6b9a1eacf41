/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp_http_exporter/response.h"

#include <jansson.h>
#include <strings.h>

#include "net/proto_reader.h"
#include "otlp/json_token.h"

/* Fields of ExportTraceServiceResponse and ExportTracePartialSuccess. */
enum { PARTIAL_SUCCESS = 1, REJECTED_SPANS = 1, ERROR_MESSAGE = 2 };

struct partial {
    int64_t rejected;
    char *text;
    size_t size;
};

static void read_protobuf(ut_slice body, struct partial *partial)
{
    struct ut_proto_field field;
    while (ut_proto_next(&body, &field)) {
        if (field.number != PARTIAL_SUCCESS)
            continue;
        ut_slice inner = field.bytes;
        while (ut_proto_next(&inner, &field)) {
            if (field.number == REJECTED_SPANS)
                partial->rejected = (int64_t)field.value;
            else if (field.number == ERROR_MESSAGE)
                partial->size = ut_http_outcome_words(partial->text, partial->size, field.bytes);
        }
    }
}

static ut_slice text_of(const json_t *json)
{
    return ut_slice_of(json_string_value(json), json_string_length(json));
}

/* 64-bit numbers are strings in the JSON of protobuf, but numbers are taken as well. */
static int64_t number_of(const json_t *json)
{
    int64_t value = 0;
    struct ut_json_input in = {0};
    ut_slice number;
    if (json_is_integer(json))
        return json_integer_value(json);
    if (!json_is_string(json))
        return 0;
    ut_slice text = text_of(json);
    in.begin = text.data;
    in.end = text.data + text.size;
    if (ut_json_number(&in, in.begin, &number) != in.end ||
        !ut_json_to_signed(number, INT64_MIN, INT64_MAX, &value))
        return 0;
    return value;
}

static void read_json(ut_slice body, struct partial *partial)
{
    json_t *json = json_loadb((const char *)body.data, body.size, 0, NULL);
    const json_t *inner = json_object_get(json, "partialSuccess");
    const json_t *message = json_object_get(inner, "errorMessage");
    partial->rejected = number_of(json_object_get(inner, "rejectedSpans"));
    if (json_is_string(message))
        partial->size = ut_http_outcome_words(partial->text, partial->size, text_of(message));
    json_decref(json);
}

void ut_otlp_http_read_success(const char *type, ut_slice body, uint32_t span_count,
                               struct ut_outcome *ret, char text[UT_HTTP_OUTCOME_TEXT])
{
    struct partial partial = {.text = text};
    if (body.size == 0)
        return;
    if (strncasecmp(type, "application/json", strlen("application/json")) == 0)
        read_json(body, &partial);
    else if (strncasecmp(type, "application/x-protobuf", strlen("application/x-protobuf")) == 0)
        read_protobuf(body, &partial);
    if (partial.rejected > 0)
        ret->rejected_spans =
            (uint64_t)partial.rejected < span_count ? (uint64_t)partial.rejected : span_count;
    if (partial.size > 0)
        ret->text = text;
}
