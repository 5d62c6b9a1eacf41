/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_outcome.h"

#include <criterion/criterion.h>

static struct ut_outcome outcome;
static char text[UT_HTTP_OUTCOME_TEXT];

static void answer(int status, const char *type, const char *body)
{
    const struct ut_http_outcome_input input = {.status = status,
                                                .retry_after_ms = 1500,
                                                .type = type,
                                                .target = "",
                                                .body = ut_slice_str(body)};
    ut_http_outcome(&input, &outcome, text);
}

Test(http_outcome, statuses_mean_what_the_specification_says)
{
    static const struct {
        int status;
        enum ut_result result;
    } rows[] = {
        {200, UT_SENT},      {202, UT_SENT},      {204, UT_SENT},      {301, UT_PERMANENT},
        {308, UT_PERMANENT}, {400, UT_PERMANENT}, {401, UT_PERMANENT}, {404, UT_PERMANENT},
        {408, UT_PERMANENT}, {413, UT_TOO_LARGE}, {415, UT_PERMANENT}, {429, UT_RETRY},
        {500, UT_PERMANENT}, {501, UT_PERMANENT}, {502, UT_RETRY},     {503, UT_RETRY},
        {504, UT_RETRY},     {505, UT_PERMANENT}, {999, UT_PERMANENT},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        answer(rows[i].status, "", "");
        cr_expect_eq(outcome.result, rows[i].result, "%d", rows[i].status);
        cr_expect_eq(outcome.after_ms, rows[i].result == UT_RETRY ? 1500 : 0, "%d", rows[i].status);
        cr_expect((outcome.text == NULL) == (rows[i].result == UT_SENT));
    }
}

Test(http_outcome, failure_of_the_server_is_tried_again_only_where_that_is_wanted)
{
    const struct ut_http_outcome_input input = {
        .status = 500, .type = "", .target = "", .retry_500 = true};
    ut_http_outcome(&input, &outcome, text);
    cr_assert_eq(outcome.result, UT_RETRY);
}

Test(http_outcome, words_come_from_whatever_the_backend_sends)
{
    answer(400, "application/json", "{\"message\":\"bad span\",\"code\":3}");
    cr_expect_str_eq(text, "HTTP status 400: bad span");
    answer(400, "Application/JSON; charset=utf-8", "{\"message\":\"bad span\"}");
    cr_expect_str_eq(text, "HTTP status 400: bad span");
    answer(400, "application/json", "{\"error\":\"other form\"}");
    cr_expect_str_eq(text, "HTTP status 400: {\"error\":\"other form\"}");
    answer(400, "application/json", "{\"message\":");
    cr_expect_str_eq(text, "HTTP status 400: {\"message\":");
    answer(400, "application/x-protobuf",
           "\x08\x03\x12\x08"
           "bad span");
    cr_expect_str_eq(text, "HTTP status 400: bad span");
    answer(400, "application/x-protobuf", "\xff\xff\xff");
    cr_expect_str_eq(text, "HTTP status 400");
    answer(503, "text/plain", "upstream is down\r\n");
    cr_expect_str_eq(text, "HTTP status 503: upstream is down");
    answer(503, "text/html", "<html><body>nginx</body></html>");
    cr_expect_str_eq(text, "HTTP status 503");
    answer(400, "application/jsonp", "a\tb");
    cr_expect_str_eq(text, "HTTP status 400: a\\x09b");
}

Test(http_outcome, words_are_cut_where_the_room_ends)
{
    char long_text[2000];
    memset(long_text, 0x7f, sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    answer(400, "", long_text);
    cr_assert_lt(strlen(text), UT_HTTP_OUTCOME_TEXT);
    cr_assert_gt(strlen(text), UT_HTTP_OUTCOME_TEXT - 6);
}

Test(http_outcome, redirect_names_its_target)
{
    const struct ut_http_outcome_input input = {
        .status = 302, .type = "", .target = "https://a.example/x\n", .body = {NULL, 0}};
    ut_http_outcome(&input, &outcome, text);
    cr_assert_str_eq(text, "HTTP status 302: redirects are not followed; if this is right, send to "
                           "https://a.example/x\\x0a");
}

Test(http_outcome, a_gateway_that_cannot_reach_the_backend_speaks_of_the_endpoint)
{
    static const struct {
        int status;
        enum ut_setback cause;
        uint8_t code;
    } rows[] = {
        {429, UT_SETBACK_BACKEND, 14},     {502, UT_SETBACK_UNAVAILABLE, 14},
        {503, UT_SETBACK_UNAVAILABLE, 14}, {504, UT_SETBACK_UNAVAILABLE, 14},
        {400, UT_SETBACK_BACKEND, 3},      {401, UT_SETBACK_BACKEND, 16},
        {403, UT_SETBACK_BACKEND, 7},      {404, UT_SETBACK_BACKEND, 12},
        {500, UT_SETBACK_BACKEND, 2},      {200, UT_SETBACK_BACKEND, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        answer(rows[i].status, "", "");
        cr_expect_eq(outcome.cause, rows[i].cause, "%d", rows[i].status);
        cr_expect_eq(outcome.status, rows[i].code, "%d", rows[i].status);
    }
}
