/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp_http exporter's config and its reading of partial_success. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "otlp_http_exporter/response.h"
#include "otlp_http_exporter/settings.h"

static char said[512];

static void on_error(struct ut_config_report *report, const char *path, const char *format, ...)
{
    va_list arguments;
    size_t size = strlen(said);
    (void)report;
    size += (size_t)snprintf(said + size, sizeof(said) - size, "[%s] ", path);
    va_start(arguments, format);
    (void)vsnprintf(said + size, sizeof(said) - size, format, arguments);
    va_end(arguments);
}

#define TEXT(literal) ((char *)(uintptr_t)(literal))

static const char *check(const char *endpoint, const char *traces_endpoint)
{
    struct ut_config_report report = {on_error};
    struct ut_otlp_http_config config = {.endpoint = TEXT(endpoint),
                                         .traces_endpoint = TEXT(traces_endpoint),
                                         .http = {.tls = {.max_version = 1}}};
    said[0] = '\0';
    ut_otlp_http_check(&config, &report);
    return said;
}

static void expect_url(const char *endpoint, const char *traces_endpoint, const char *url)
{
    struct ut_otlp_http_config config = {.endpoint = TEXT(endpoint),
                                         .traces_endpoint = TEXT(traces_endpoint)};
    char *made = ut_otlp_http_url(&config);
    cr_expect_str_eq(made, url);
    free(made);
}

Test(otlp_http_settings, url_is_the_endpoint_with_the_usual_path)
{
    expect_url("http://a:4318", NULL, "http://a:4318/v1/traces");
    expect_url("http://a:4318/", "", "http://a:4318/v1/traces");
    expect_url("http://a:4318/otlp/", NULL, "http://a:4318/otlp/v1/traces");
    expect_url("http://a:4318", "http://b/spans", "http://b/spans");
    cr_expect_null(ut_otlp_http_url(&(struct ut_otlp_http_config){0}));
}

Test(otlp_http_settings, endpoint_is_wanted_and_must_be_a_url)
{
    cr_expect_str_eq(check("http://a:4318", NULL), "");
    cr_expect_str_eq(check(NULL, "https://a/"), "");
    cr_expect(strstr(check(NULL, NULL), "endpoint is missing") != NULL);
    cr_expect(strstr(check("a:4318", NULL), "must begin with http://") != NULL, "%s", said);
    cr_expect(strstr(check("http://a", "b"), "[traces_endpoint]") != NULL, "%s", said);
}

static struct ut_outcome read_body(const char *type, const char *body, size_t size)
{
    static char text[UT_HTTP_OUTCOME_TEXT];
    struct ut_outcome outcome = {.result = UT_SENT};
    ut_otlp_http_read_success(type, ut_slice_of(body, size), 10, &outcome, text);
    return outcome;
}

Test(otlp_http_response, odd_answers_reject_nothing)
{
    static const char *const bodies[] = {"",
                                         "{}",
                                         "[]",
                                         "null",
                                         "{",
                                         "{\"partialSuccess\":[]}",
                                         "{\"partialSuccess\":{\"rejectedSpans\":\"-3\"}}",
                                         "{\"partialSuccess\":{\"rejectedSpans\":\"3x\"}}",
                                         "{\"partialSuccess\":{\"rejectedSpans\":true}}",
                                         "{\"partialSuccess\":{\"rejectedSpans\":1e99}}"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct ut_outcome outcome = read_body("application/json", bodies[i], strlen(bodies[i]));
        cr_expect(outcome.rejected_spans == 0 && outcome.text == NULL, "%s", bodies[i]);
    }
    struct ut_outcome outcome = read_body("application/x-protobuf", "\x0a\x7f\x08", 3);
    cr_expect(outcome.rejected_spans == 0 && outcome.text == NULL);
    outcome = read_body("text/html", "\x0a\x02\x08\x03", 4);
    cr_expect_eq(outcome.rejected_spans, 0);
}

Test(otlp_http_response, numbers_are_taken_in_both_forms_and_never_more_than_were_sent)
{
    static const char quoted[] = "{\"partialSuccess\":{\"rejectedSpans\":\"4\"}}";
    static const char plain[] = "{\"partialSuccess\":{\"rejectedSpans\":400}}";
    cr_expect_eq(read_body("application/json", quoted, strlen(quoted)).rejected_spans, 4);
    cr_expect_eq(read_body("application/json", plain, strlen(plain)).rejected_spans, 10);
    cr_expect_eq(read_body("application/x-protobuf", "\x0a\x02\x08\x03", 4).rejected_spans, 3);
    cr_expect_str_eq(read_body("application/x-protobuf", "\x0a\x05\x12\x03odd", 7).text, "odd");
}
