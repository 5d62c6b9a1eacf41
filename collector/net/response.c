/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mapping is the OTLP specification's: which codes may be retried, and RESOURCE_EXHAUSTED only
 * where the backend says when. A response without grpc-status came from something else than a gRPC
 * server, such as a proxy; its HTTP status is mapped as gRPC's specification says
 * (http-grpc-status-mapping.md).
 */
#include "net/response.h"

#include <stdio.h>
#include <strings.h>

#include "net/proto_reader.h"

enum {
    GRPC_PREFIX = 5,
    DELAY_MAX_MS = 3600 * 1000,
};

static const char *const code_names[UT_GRPC_CODES] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

/* ---- taking it in --------------------------------------------------------------------------- */

void ut_response_init(struct ut_response *response, struct ut_pool *pool)
{
    response->pool = pool;
    response->http_status = 0;
    response->grpc_status = UT_GRPC_NONE;
    response->message_size = response->details_size = response->body_size = 0;
    response->details_cut = false;
    response->body = response->small;
}

void ut_response_done(struct ut_response *response)
{
    if (response->body != response->small)
        ut_pool_free(response->pool, response->body);
    response->body = response->small;
}

static int parse_number(ut_slice text, int otherwise)
{
    int value = 0;
    if (text.size == 0 || text.size > 3)
        return otherwise;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return otherwise;
        value = value * 10 + (text.data[i] - '0');
    }
    return value;
}

static size_t keep(void *out, size_t room, ut_slice bytes)
{
    size_t size = bytes.size < room ? bytes.size : room;
    memcpy(out, bytes.data, size);
    return size;
}

void ut_response_header(struct ut_response *response, ut_slice name, ut_slice value)
{
    if (ut_slice_equal(name, UT_SLICE(":status"))) {
        response->http_status = parse_number(value, 0);
    } else if (ut_slice_equal(name, UT_SLICE("grpc-status"))) {
        int code = parse_number(value, UT_GRPC_UNKNOWN);
        response->grpc_status = code < UT_GRPC_CODES ? code : UT_GRPC_UNKNOWN;
    } else if (ut_slice_equal(name, UT_SLICE("grpc-message"))) {
        response->message_size = keep(response->message, sizeof(response->message), value);
    } else if (ut_slice_equal(name, UT_SLICE("grpc-status-details-bin"))) {
        response->details_size = keep(response->details, sizeof(response->details), value);
        response->details_cut = response->details_size < value.size;
    }
}

/* Room for `size` bytes of body; what there is stays. */
static bool make_room(struct ut_response *response, size_t size)
{
    size_t have = response->body == response->small ? sizeof(response->small)
                                                    : ut_pool_usable(response->body);
    if (size <= have)
        return true;
    uint8_t *larger = ut_pool_alloc(response->pool, size);
    if (larger == NULL)
        return false;
    memcpy(larger, response->body, response->body_size);
    ut_response_done(response);
    response->body = larger;
    return true;
}

void ut_response_data(struct ut_response *response, ut_slice bytes)
{
    size_t room = UT_RESPONSE_BODY_MAX - response->body_size;
    size_t size = bytes.size < room ? bytes.size : room;
    if (size == 0 || !make_room(response, response->body_size + size))
        return;
    memcpy(response->body + response->body_size, bytes.data, size);
    response->body_size += size;
}

/* ---- RetryInfo ------------------------------------------------------------------------------ */

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* With or without padding; stops at the first byte that is no digit. Returns the bytes written. */
static size_t decode_base64(uint8_t *out, const uint8_t *text, size_t size)
{
    size_t written = 0;
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < size; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            break;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[written++] = (uint8_t)(bits >> have);
        }
    }
    return written;
}

/* google.protobuf.Duration, in whole milliseconds, rounded up. */
static uint32_t read_duration_ms(ut_slice message)
{
    int64_t seconds = 0, nanos = 0;
    struct ut_proto_field field;
    while (ut_proto_next(&message, &field)) {
        if (field.number == 1)
            seconds = (int64_t)field.value;
        else if (field.number == 2)
            nanos = (int64_t)field.value;
    }
    if (seconds < 0 || nanos < 0 || nanos >= 1000000000)
        return 0;
    if (seconds >= DELAY_MAX_MS / 1000)
        return DELAY_MAX_MS;
    return (uint32_t)(seconds * 1000 + (nanos + 999999) / 1000000);
}

/* google.protobuf.Any that may hold a google.rpc.RetryInfo. */
static bool read_retry_info(ut_slice any, uint32_t *ret_ms)
{
    ut_slice type = {0}, value = {0};
    const ut_slice name = UT_SLICE("google.rpc.RetryInfo");
    struct ut_proto_field field;
    while (ut_proto_next(&any, &field)) {
        if (field.number == 1)
            type = field.bytes;
        else if (field.number == 2)
            value = field.bytes;
    }
    if (type.size < name.size ||
        !ut_slice_equal(ut_slice_of(type.data + type.size - name.size, name.size), name))
        return false;
    *ret_ms = 0;
    while (ut_proto_next(&value, &field)) {
        if (field.number == 1)
            *ret_ms = read_duration_ms(field.bytes);
    }
    return true;
}

/* Whether the details, a google.rpc.Status, tell when to try again. */
static bool find_retry_delay(const struct ut_response *response, uint32_t *ret_ms)
{
    uint8_t bytes[UT_RESPONSE_DETAILS_MAX];
    if (response->details_cut)
        return false;
    size_t size = decode_base64(bytes, response->details, response->details_size);
    ut_slice status = ut_slice_of(bytes, size);
    struct ut_proto_field field;
    while (ut_proto_next(&status, &field)) {
        if (field.number == 3 && read_retry_info(field.bytes, ret_ms))
            return true;
    }
    return false;
}

/* ---- words ---------------------------------------------------------------------------------- */

struct words {
    char *out;
    size_t size; /* of UT_RESPONSE_TEXT, the terminator left free */
};

static void add_byte(struct words *words, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    bool plain = byte >= ' ' && byte != 0x7f;
    if (words->size + (plain ? 1 : 4) >= UT_RESPONSE_TEXT)
        return;
    if (plain) {
        words->out[words->size++] = (char)byte;
    } else {
        const char escape[4] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
        memcpy(words->out + words->size, escape, sizeof(escape));
        words->size += sizeof(escape);
    }
    words->out[words->size] = '\0';
}

static void add_bytes(struct words *words, ut_slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        add_byte(words, bytes.data[i]);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* grpc-message: percent-encoding undone; what is not well encoded stays as it is. */
static void add_message(struct words *words, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        int high = text[i] == '%' && i + 2 < size ? hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low >= 0) {
            add_byte(words, (uint8_t)(high << 4 | low));
            i += 2;
        } else {
            add_byte(words, (uint8_t)text[i]);
        }
    }
}

static void say(const struct ut_response *response, int code, struct words *words)
{
    add_bytes(words, ut_slice_str(code_names[code]));
    if (response->grpc_status == UT_GRPC_NONE) {
        char text[64];
        (void)snprintf(text, sizeof(text), ": HTTP status %d and no grpc-status",
                       response->http_status);
        add_bytes(words, ut_slice_str(text));
    } else if (response->message_size > 0) {
        add_bytes(words, UT_SLICE(": "));
        add_message(words, response->message, response->message_size);
    }
}

/* ---- the outcome ---------------------------------------------------------------------------- */

static int code_of_http(int status)
{
    switch (status) {
    case 400:
        return UT_GRPC_INTERNAL;
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

static bool contains(const char *text, const char *part)
{
    size_t size = strlen(part);
    for (; *text != '\0'; text++) {
        if (strncasecmp(text, part, size) == 0)
            return true;
    }
    return false;
}

/* Servers have no code of their own for a message above their limit. The words are those of
 * grpc-go, C-core and Node; Java; .NET; Rust (which says OUT_OF_RANGE). */
static bool says_too_large(const struct ut_response *response, int code, const char *text)
{
    if (response->grpc_status == UT_GRPC_NONE)
        return response->http_status == 413;
    if (code != UT_GRPC_RESOURCE_EXHAUSTED && code != UT_GRPC_OUT_OF_RANGE)
        return false;
    return contains(text, "larger than") || contains(text, "exceeds maximum size") ||
           contains(text, "exceeds the maximum") || contains(text, "length too large");
}

static enum ut_result result_of(int code, bool has_delay)
{
    switch (code) {
    case UT_GRPC_CANCELLED:
    case UT_GRPC_DEADLINE_EXCEEDED:
    case UT_GRPC_ABORTED:
    case UT_GRPC_OUT_OF_RANGE:
    case UT_GRPC_UNAVAILABLE:
    case UT_GRPC_DATA_LOSS:
        return UT_RETRY;
    case UT_GRPC_RESOURCE_EXHAUSTED:
        return has_delay ? UT_RETRY : UT_PERMANENT;
    default:
        return UT_PERMANENT;
    }
}

/* ExportTracePartialSuccess of an uncompressed ExportTraceServiceResponse. */
static void read_partial_success(const struct ut_response *response, uint32_t span_count,
                                 struct ut_outcome *outcome, struct words *words)
{
    if (response->body_size <= GRPC_PREFIX || response->body[0] != 0)
        return;
    ut_slice message = ut_slice_of(response->body + GRPC_PREFIX, response->body_size - GRPC_PREFIX);
    struct ut_proto_field field;
    while (ut_proto_next(&message, &field)) {
        if (field.number != 1)
            continue;
        ut_slice partial = field.bytes;
        while (ut_proto_next(&partial, &field)) {
            if (field.number == 1)
                outcome->rejected_spans = (int64_t)field.value > 0 ? field.value : 0;
            else if (field.number == 2)
                add_bytes(words, field.bytes);
        }
    }
    if (outcome->rejected_spans > span_count)
        outcome->rejected_spans = span_count;
}

void ut_response_outcome(const struct ut_response *response, uint32_t span_count,
                         struct ut_outcome *ret, char text[UT_RESPONSE_TEXT])
{
    struct words words = {.out = text};
    text[0] = '\0';
    *ret = (struct ut_outcome){.text = text};
    int code = response->grpc_status != UT_GRPC_NONE ? response->grpc_status
                                                     : code_of_http(response->http_status);
    if (code == UT_GRPC_OK) {
        ret->result = UT_SENT;
        read_partial_success(response, span_count, ret, &words);
        if (words.size == 0)
            ret->text = NULL;
        return;
    }
    say(response, code, &words);
    ret->status = (uint8_t)code;
    ret->cause = code == UT_GRPC_UNAVAILABLE ? UT_SETBACK_UNAVAILABLE : UT_SETBACK_BACKEND;
    bool has_delay = find_retry_delay(response, &ret->after_ms);
    ret->result = result_of(code, has_delay);
    if (!has_delay && says_too_large(response, code, text))
        ret->result = UT_TOO_LARGE;
    if (ret->result != UT_RETRY)
        ret->after_ms = 0;
}
