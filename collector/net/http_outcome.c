/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_outcome.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/grpc_status.h"
#include "net/proto_reader.h"

enum { STATUS_MESSAGE = 2 }; /* field of google.rpc.Status */

/* ---- words ----------------------------------------------------------------------------------- */

size_t ut_http_outcome_words(char text[UT_HTTP_OUTCOME_TEXT], size_t size, ut_slice bytes)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t byte = bytes.data[i];
        bool plain = byte >= ' ' && byte != 0x7f;
        if (size + (plain ? 1 : 4) >= UT_HTTP_OUTCOME_TEXT)
            break;
        if (plain) {
            text[size++] = (char)byte;
            continue;
        }
        const char escape[4] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
        memcpy(text + size, escape, sizeof(escape));
        size += sizeof(escape);
    }
    text[size] = '\0';
    return size;
}

static bool is_type(const char *type, const char *wanted)
{
    size_t size = strlen(wanted);
    return strncasecmp(type, wanted, size) == 0 && strchr("; \t", type[size]) != NULL;
}

static size_t add_protobuf(char text[UT_HTTP_OUTCOME_TEXT], size_t size, ut_slice body)
{
    struct ut_proto_field field;
    while (ut_proto_next(&body, &field)) {
        if (field.number == STATUS_MESSAGE)
            size = ut_http_outcome_words(text, size, field.bytes);
    }
    return size;
}

static size_t add_json(char text[UT_HTTP_OUTCOME_TEXT], size_t size, ut_slice body)
{
    json_t *json = json_loadb((const char *)body.data, body.size, JSON_DISABLE_EOF_CHECK, NULL);
    json_t *message = json_object_get(json, "message");
    if (json_is_string(message))
        size = ut_http_outcome_words(
            text, size, ut_slice_of(json_string_value(message), json_string_length(message)));
    json_decref(json);
    return size;
}

/* A page for browsers says nothing to those who read logs. */
static size_t add_plain(char text[UT_HTTP_OUTCOME_TEXT], size_t size, ut_slice body)
{
    while (body.size > 0 && body.data[body.size - 1] <= ' ')
        body.size--;
    if (body.size > 0 && body.data[0] == '<')
        return size;
    return ut_http_outcome_words(text, size, body);
}

static void say(const struct ut_http_outcome_input *input, char text[UT_HTTP_OUTCOME_TEXT])
{
    size_t head = (size_t)snprintf(text, UT_HTTP_OUTCOME_TEXT, "HTTP status %d: ", input->status);
    size_t size = head;
    if (is_type(input->type, "application/x-protobuf"))
        size = add_protobuf(text, size, input->body);
    else if (is_type(input->type, "application/json"))
        size = add_json(text, size, input->body);
    if (size == head && !is_type(input->type, "application/x-protobuf"))
        size = add_plain(text, size, input->body);
    if (size == head)
        text[size - 2] = '\0';
}

static void say_redirected(const struct ut_http_outcome_input *input,
                           char text[UT_HTTP_OUTCOME_TEXT])
{
    size_t size = (size_t)snprintf(text, UT_HTTP_OUTCOME_TEXT,
                                   "HTTP status %d: redirects are not followed", input->status);
    if (input->target[0] == '\0')
        return;
    size = ut_http_outcome_words(text, size, UT_SLICE("; if this is right, send to "));
    (void)ut_http_outcome_words(text, size, ut_slice_str(input->target));
}

/* ---- what it means --------------------------------------------------------------------------- */

static enum ut_result result_of(const struct ut_http_outcome_input *input)
{
    switch (input->status) {
    case 413:
        return UT_TOO_LARGE;
    case 429:
    case 502:
    case 503:
    case 504:
        return UT_RETRY;
    case 500:
        return input->retry_500 ? UT_RETRY : UT_PERMANENT;
    default:
        return input->status >= 200 && input->status < 300 ? UT_SENT : UT_PERMANENT;
    }
}

/* What a gRPC client would have been told (http-grpc-status-mapping.md, and 400 as OTLP has it). */
static uint8_t code_of(int status)
{
    switch (status) {
    case 400:
        return UT_GRPC_INVALID_ARGUMENT;
    case 401:
        return UT_GRPC_UNAUTHENTICATED;
    case 403:
        return UT_GRPC_PERMISSION_DENIED;
    case 404:
        return UT_GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return UT_GRPC_UNAVAILABLE;
    default:
        return UT_GRPC_UNKNOWN;
    }
}

void ut_http_outcome(const struct ut_http_outcome_input *input, struct ut_outcome *ret,
                     char text[UT_HTTP_OUTCOME_TEXT])
{
    *ret = (struct ut_outcome){.result = result_of(input)};
    text[0] = '\0';
    if (ret->result == UT_SENT)
        return;
    ret->text = text;
    if (ret->result == UT_RETRY)
        ret->after_ms = input->retry_after_ms;
    if (input->status >= 502 && input->status <= 504)
        ret->cause = UT_SETBACK_UNAVAILABLE;
    ret->status = code_of(input->status);
    if (input->status >= 300 && input->status < 400)
        say_redirected(input, text);
    else
        say(input, text);
}
