/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_answer.h"

#include <stdio.h>

#include "base/check.h"

#define METHODS UT_SLICE("POST, OPTIONS")

static void put(struct ut_http_answer *answer, ut_slice name, ut_slice value)
{
    UT_CHECK(answer->count < UT_HTTP_ANSWER_FIELDS);
    answer->fields[answer->count++] = (struct ut_http_field){name, value};
}

static void put_number(struct ut_http_answer *answer, int slot, ut_slice name, uint64_t number)
{
    char *text = answer->numbers[slot];
    int size = snprintf(text, sizeof(answer->numbers[slot]), "%llu", (unsigned long long)number);
    put(answer, name, ut_slice_of(text, (size_t)size));
}

enum { SLOT_LENGTH, SLOT_RETRY, SLOT_AGE };

static void put_body(struct ut_http_answer *answer, const struct ut_http_head *head, ut_slice body)
{
    bool json = ut_http_head_encoding(head) == UT_ENCODING_JSON;
    answer->body = body;
    put(answer, UT_SLICE("content-type"),
        json ? UT_SLICE("application/json") : UT_SLICE("application/x-protobuf"));
    put_number(answer, SLOT_LENGTH, UT_SLICE("content-length"), body.size);
}

/* The origin is echoed, not '*': a page's beacons carry credentials, and for these browsers want
 * it so. There is nothing here that a cookie would open. */
static void put_origin(struct ut_http_answer *answer, const struct ut_http_head *head)
{
    if (head->origin == NULL || head->origin->size == 0)
        return;
    put(answer, UT_SLICE("access-control-allow-origin"),
        ut_slice_of(head->origin->text, head->origin->size));
    put(answer, UT_SLICE("access-control-allow-credentials"), UT_SLICE("true"));
    put(answer, UT_SLICE("vary"), UT_SLICE("Origin"));
}

void ut_http_answer_success(struct ut_http_answer *answer, const struct ut_http_head *head,
                            ut_slice message)
{
    answer->status = 200;
    answer->count = 0;
    put_body(answer, head, message);
    put_origin(answer, head);
}

void ut_http_answer_failure(struct ut_http_answer *answer, const struct ut_http_head *head,
                            const struct ut_failure *failure)
{
    answer->status = failure->http_status;
    answer->count = 0;
    bool json = ut_http_head_encoding(head) == UT_ENCODING_JSON;
    size_t size = (json ? ut_grpc_status_json : ut_grpc_status_protobuf)(
        answer->text, failure->code, failure->text, failure->retry_after_ms);
    put_body(answer, head, ut_slice_of(answer->text, size));
    if (failure->retry_after_ms > 0)
        put_number(answer, SLOT_RETRY, UT_SLICE("retry-after"),
                   ((uint64_t)failure->retry_after_ms + 999) / 1000);
    if (failure->http_status == 401 && head->challenge != NULL)
        put(answer, UT_SLICE("www-authenticate"), ut_slice_str(head->challenge));
    if (failure->http_status == 405)
        put(answer, UT_SLICE("allow"), METHODS);
    if (failure->http_status == 415 && head->coding == UT_CODING_UNKNOWN)
        put(answer, UT_SLICE("accept-encoding"),
            head->codings != NULL ? ut_slice_str(head->codings) : UT_SLICE("identity"));
    put_origin(answer, head);
}

void ut_http_answer_options(struct ut_http_answer *answer, const struct ut_http_head *head,
                            const struct ut_http_cors *cors)
{
    answer->status = 204;
    answer->count = 0;
    answer->body = (ut_slice){0};
    put(answer, UT_SLICE("allow"), METHODS);
    if (cors == NULL || head->origin == NULL || head->origin->size == 0 || !head->preflight)
        return;
    const struct ut_http_origin *origin = head->origin;
    put_origin(answer, head);
    put(answer, UT_SLICE("access-control-allow-methods"), UT_SLICE("POST"));
    if (cors->allowed_headers != NULL)
        put(answer, UT_SLICE("access-control-allow-headers"), ut_slice_str(cors->allowed_headers));
    else if (origin->requested_size > 0)
        put(answer, UT_SLICE("access-control-allow-headers"),
            ut_slice_of(origin->requested, origin->requested_size));
    if (cors->max_age_s > 0)
        put_number(answer, SLOT_AGE, UT_SLICE("access-control-max-age"), cors->max_age_s);
}

/* ---- HTTP/1 ------------------------------------------------------------------------------- */

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 204:
        return "No Content";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 415:
        return "Unsupported Media Type";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

struct text {
    char *bytes; /* UT_HTTP_ANSWER_TEXT of them */
    size_t size;
};

static void add(struct text *text, ut_slice bytes)
{
    UT_CHECK(bytes.size <= UT_HTTP_ANSWER_TEXT - text->size);
    if (bytes.size > 0)
        memcpy(text->bytes + text->size, bytes.data, bytes.size);
    text->size += bytes.size;
}

/* "content-type" → "Content-Type": the same to a client, but people look for it so. */
static void add_name(struct text *text, ut_slice name)
{
    size_t at = text->size;
    add(text, name);
    for (size_t i = 0; i < name.size; i++) {
        char *c = &text->bytes[at + i];
        if (*c >= 'a' && *c <= 'z' && (i == 0 || c[-1] == '-'))
            *c = (char)(*c - 'a' + 'A');
    }
}

size_t ut_http_answer_text(char out[UT_HTTP_ANSWER_TEXT], const struct ut_http_answer *answer,
                           bool last, bool head_only)
{
    struct text text = {.bytes = out};
    text.size = (size_t)snprintf(out, UT_HTTP_ANSWER_TEXT, "HTTP/1.1 %d %s\r\n", answer->status,
                                 reason_of(answer->status));
    for (size_t i = 0; i < answer->count; i++) {
        add_name(&text, answer->fields[i].name);
        add(&text, UT_SLICE(": "));
        add(&text, answer->fields[i].value);
        add(&text, UT_SLICE("\r\n"));
    }
    if (last)
        add(&text, UT_SLICE("Connection: close\r\n"));
    add(&text, UT_SLICE("\r\n"));
    if (!head_only)
        add(&text, answer->body);
    return text.size;
}
