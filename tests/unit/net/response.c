/* SPDX-License-Identifier: Apache-2.0 */
#include "net/response.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "net/proto_reader.h"
#include "otlp_builder.h"

TestSuite(response, .timeout = 60);

struct fixture {
    struct ut_pool pool;
    struct ut_response response;
    struct ut_outcome outcome;
    char text[UT_RESPONSE_TEXT];
};

static void begin(struct fixture *f)
{
    ut_pool_init(&f->pool, 1 << 20);
    ut_response_init(&f->response, &f->pool);
}

static void header(struct fixture *f, const char *name, const char *value)
{
    ut_response_header(&f->response, ut_slice_str(name), ut_slice_str(value));
}

static void end(struct fixture *f, uint32_t spans)
{
    ut_response_outcome(&f->response, spans, &f->outcome, f->text);
    ut_response_done(&f->response);
    ut_pool_done(&f->pool);
}

static struct fixture answer(const char *http, const char *grpc, const char *message,
                             const char *details)
{
    struct fixture f;
    begin(&f);
    if (http != NULL)
        header(&f, ":status", http);
    if (grpc != NULL)
        header(&f, "grpc-status", grpc);
    if (message != NULL)
        header(&f, "grpc-message", message);
    if (details != NULL)
        header(&f, "grpc-status-details-bin", details);
    end(&f, 10);
    f.outcome.text = NULL; /* it points into the fixture that is copied */
    return f;
}

/* Status{8, RetryInfo{1.5 s}} */
#define SLOW_DOWN "CAgaNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIARCAyrXuAQ"

Test(response, retries_the_codes_of_the_specification_and_no_others)
{
    static const enum ut_result expected[] = {
        UT_SENT,      UT_RETRY,     UT_PERMANENT, UT_PERMANENT, UT_RETRY,     UT_PERMANENT,
        UT_PERMANENT, UT_PERMANENT, UT_PERMANENT, UT_PERMANENT, UT_RETRY,     UT_RETRY,
        UT_PERMANENT, UT_PERMANENT, UT_RETRY,     UT_RETRY,     UT_PERMANENT,
    };
    for (int code = 0; code < UT_GRPC_CODES; code++) {
        char text[4];
        (void)snprintf(text, sizeof(text), "%d", code);
        struct fixture f = answer("200", text, "no", NULL);
        cr_assert_eq(f.outcome.result, expected[code], "code %d: %d", code, (int)f.outcome.result);
        cr_assert_eq(f.outcome.status, code);
        cr_assert_eq(f.outcome.cause,
                     code == UT_GRPC_UNAVAILABLE ? UT_SETBACK_UNAVAILABLE : UT_SETBACK_BACKEND);
    }
    cr_assert_eq(answer("200", "17", NULL, NULL).outcome.result, UT_PERMANENT);
    cr_assert_eq(answer("200", "x", NULL, NULL).outcome.result, UT_PERMANENT);
    cr_assert_eq(answer("200", "", NULL, NULL).outcome.result, UT_PERMANENT);
}

Test(response, resource_exhausted_is_retried_when_the_backend_says_when)
{
    struct fixture f = answer("200", "8", "slow down", SLOW_DOWN);
    cr_assert_eq(f.outcome.result, UT_RETRY);
    cr_assert_eq(f.outcome.after_ms, 1500);
    cr_assert_eq(answer("200", "8", "slow down", SLOW_DOWN "==").outcome.after_ms, 1500);
    cr_assert_eq(answer("200", "14", "slow down", SLOW_DOWN).outcome.after_ms, 1500);
    cr_assert_eq(answer("200", "3", "no", SLOW_DOWN).outcome.result, UT_PERMANENT);
}

Test(response, broken_details_are_no_retry_info)
{
    static const char *const broken[] = {
        "", "=", "****", "CAga", "CAgaNgoo", "CAgaNgoodHlwZS5nb29", "////////////////"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        cr_assert_eq(answer("200", "8", "no", broken[i]).outcome.result, UT_PERMANENT);
    char *huge = malloc(5000);
    memset(huge, 'A', 4999);
    huge[4999] = '\0';
    cr_assert_eq(answer("200", "8", "no", huge).outcome.result, UT_PERMANENT);
    free(huge);
}

Test(response, limits_of_message_size_ask_for_smaller_pieces)
{
    static const char *const words[] = {
        "grpc: received message larger than max (5000000 vs. 4194304)",
        "Received message larger than max (5000000 vs. 4194304)",
        "gRPC message exceeds maximum size 4194304: 5000000",
        "Received message exceeds the maximum configured message size.",
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        cr_assert_eq(answer("200", "8", words[i], NULL).outcome.result, UT_TOO_LARGE);
    cr_assert_eq(answer("200", "11",
                        "Error, message length too large: found 5 bytes, the limit is: 4 bytes",
                        NULL)
                     .outcome.result,
                 UT_TOO_LARGE);
    cr_assert_eq(answer("413", NULL, NULL, NULL).outcome.result, UT_TOO_LARGE);
    cr_assert_eq(answer("200", "3", words[0], NULL).outcome.result, UT_PERMANENT);
    cr_assert_eq(answer("200", "8", words[0], SLOW_DOWN).outcome.result, UT_RETRY);
}

Test(response, proxies_that_answer_in_http_are_understood)
{
    static const char *const retried[] = {"429", "502", "503", "504"};
    static const char *const refused[] = {"200", "301", "400", "401", "403", "404", "500", "505"};
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(answer(retried[i], NULL, NULL, NULL).outcome.result, UT_RETRY);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(answer(refused[i], NULL, NULL, NULL).outcome.result, UT_PERMANENT);
    cr_assert_str_eq(answer("404", NULL, NULL, NULL).text,
                     "UNIMPLEMENTED: HTTP status 404 and no grpc-status");
    cr_assert_eq(answer("503", "0", NULL, NULL).outcome.result, UT_SENT, "grpc-status counts");
}

Test(response, words_of_the_backend_are_decoded_escaped_and_bounded)
{
    cr_assert_str_eq(answer("200", "13", "a%20b%3a%C3%A9%0a\x1b[31m%zz%4", NULL).text,
                     "INTERNAL: a b:\xc3\xa9\\x0a\\x1b[31m%zz%4");
    char *huge = malloc(5000);
    memset(huge, '\x01', 4999);
    huge[4999] = '\0';
    cr_assert_lt(strlen(answer("200", "13", huge, NULL).text), UT_RESPONSE_TEXT);
    free(huge);
    cr_assert_str_eq(answer("200", "13", NULL, NULL).text, "INTERNAL");
}

/* ---- bodies --------------------------------------------------------------------------------- */

static struct fixture body(const struct otlp_bytes *message, uint8_t flag, size_t piece)
{
    struct fixture f;
    begin(&f);
    header(&f, ":status", "200");
    const uint8_t prefix[] = {flag, 0, 0, (uint8_t)(message->size >> 8), (uint8_t)message->size};
    ut_response_data(&f.response, ut_slice_of(prefix, sizeof(prefix)));
    for (size_t at = 0; at < message->size; at += piece) {
        size_t size = message->size - at < piece ? message->size - at : piece;
        ut_response_data(&f.response, ut_slice_of(message->data + at, size));
    }
    header(&f, "grpc-status", "0");
    end(&f, 10);
    f.outcome.text = NULL;
    return f;
}

static void partial_success(struct otlp_bytes *out, uint64_t rejected, const char *text)
{
    size_t partial = otlp_begin(out, 1);
    otlp_uint(out, 1, rejected);
    otlp_text(out, 2, text);
    otlp_end(out, partial);
}

Test(response, partial_success_is_read_in_any_pieces)
{
    struct otlp_bytes message = {0};
    otlp_uint(&message, 9, 1); /* unknown */
    char text[301];
    memset(text, 'x', 300);
    text[300] = '\0';
    partial_success(&message, 7, text);
    for (size_t piece = 1; piece < 100; piece += 33) {
        struct fixture f = body(&message, 0, piece);
        cr_assert_eq(f.outcome.result, UT_SENT);
        cr_assert_eq(f.outcome.rejected_spans, 7);
        cr_assert_str_eq(f.text, text);
    }
    cr_assert_eq(body(&message, 1, 400).outcome.rejected_spans, 0, "compressed: not understood");
    otlp_free(&message);
}

Test(response, rejected_spans_that_lie_are_bounded)
{
    struct otlp_bytes message = {0};
    partial_success(&message, 11, "");
    cr_assert_eq(body(&message, 0, 100).outcome.rejected_spans, 10);
    otlp_free(&message);
    partial_success(&message, UINT64_MAX, "");
    cr_assert_eq(body(&message, 0, 100).outcome.rejected_spans, 0);
    otlp_free(&message);
}

Test(response, endless_bodies_are_cut)
{
    struct fixture f;
    static uint8_t junk[4096];
    memset(junk, 0xff, sizeof(junk));
    begin(&f);
    for (int i = 0; i < 100; i++)
        ut_response_data(&f.response, ut_slice_of(junk, sizeof(junk)));
    cr_assert_eq(f.response.body_size, UT_RESPONSE_BODY_MAX);
    header(&f, "grpc-status", "0");
    end(&f, 10);
    cr_assert_eq(f.outcome.result, UT_SENT);
    cr_assert_null(f.outcome.text);
}

/* ---- the reader ----------------------------------------------------------------------------- */

Test(response, proto_reader_stops_where_bytes_make_no_sense)
{
    static const struct {
        const char *bytes;
        size_t size, fields;
    } rows[] = {
        {"", 0, 0},
        {"\x08", 1, 0},         /* no value */
        {"\x08\x01\x10", 3, 1}, /* the second is cut */
        {"\x0a\x7f"
         "ab",
         4, 1},             /* longer than there is */
        {"\x00\x01", 2, 0}, /* field 0 */
        {"\x0b\x0c", 2, 0}, /* a group */
        {"\x09\x01\x02\x03\x04\x05\x06\x07\x08\x0d\x01\x02\x03\x04", 14, 2},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, 0}, /* endless varint */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ut_slice message = ut_slice_of(rows[i].bytes, rows[i].size);
        struct ut_proto_field field;
        size_t fields = 0;
        while (ut_proto_next(&message, &field))
            fields++;
        cr_assert_eq(fields, rows[i].fields, "row %zu: %zu fields", i, fields);
    }
}
