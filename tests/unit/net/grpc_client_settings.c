/* SPDX-License-Identifier: Apache-2.0 */
#include "net/grpc_client_settings.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

TestSuite(grpc_client_settings, .timeout = 60);

struct recorder {
    struct ut_config_report report;
    int errors;
    char path[64], text[512]; /* of the last one */
};

static void record(struct ut_config_report *report, const char *path, const char *format, ...)
{
    struct recorder *recorder = UT_CONTAINER_OF(report, struct recorder, report);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(recorder->text, sizeof(recorder->text), format, args);
    va_end(args);
    (void)snprintf(recorder->path, sizeof(recorder->path), "%s", path);
    recorder->errors++;
}

static struct recorder check(const struct ut_grpc_client_settings *config)
{
    struct recorder recorder = {.report = {record}};
    ut_grpc_client_check(config, 4317, &recorder.report);
    return recorder;
}

static struct recorder check_endpoint(const char *endpoint, bool insecure)
{
    char text[128];
    (void)snprintf(text, sizeof(text), "%s", endpoint);
    return check(
        &(struct ut_grpc_client_settings){.endpoint = text, .tls = {.insecure = insecure}});
}

static bool is_secure(const char *endpoint, bool insecure)
{
    char text[128];
    struct ut_endpoint_text parsed;
    (void)snprintf(text, sizeof(text), "%s", endpoint);
    struct ut_grpc_client_settings config = {.endpoint = text, .tls = {.insecure = insecure}};
    cr_assert_eq(ut_destination_parse(&parsed, config.endpoint, 4317, NULL), 0);
    cr_expect_eq(check(&config).errors, 0);
    return ut_grpc_client_is_secure(&config, &parsed);
}

Test(grpc_client_settings, tls_is_the_default_as_in_the_collector)
{
    cr_expect(is_secure("jaeger:4317", false));
    cr_expect(is_secure("https://jaeger:4317", false));
    cr_expect(is_secure("https://jaeger:4317", true), "a scheme is plain speech");
    cr_expect_not(is_secure("http://10.0.0.7:4317", false));
    cr_expect_not(is_secure("10.0.0.7:4317", true));
    cr_expect_not(is_secure("[::1]:4317", true));
}

Test(grpc_client_settings, tls_that_cannot_work_is_an_error)
{
    char endpoint[] = "jaeger:4317", clear[] = "http://jaeger:4317", file[] = "/no/such";
    struct ut_grpc_client_settings config = {.endpoint = endpoint, .tls = {.ca_file = file}};
    struct recorder missing = check(&config);
    cr_expect_eq(missing.errors, 1);
    cr_expect_str_eq(missing.path, "tls.ca_file");
    config.tls = (struct ut_tls_settings){.cert_file = file};
    cr_expect_eq(check(&config).errors, 2, "no key, and no such file");
    config.endpoint = clear;
    cr_expect_eq(check(&config).errors, 0, "nothing of it is used");
}

Test(grpc_client_settings, endpoint_is_needed)
{
    struct recorder missing = check(&(struct ut_grpc_client_settings){.tls = {.insecure = true}});
    cr_assert_eq(missing.errors, 1);
    cr_assert_not_null(strstr(missing.text, "endpoint is missing"));
    cr_assert_eq(check_endpoint(":4317", true).errors, 1);
    cr_assert_eq(check_endpoint("host:port:more", true).errors, 1);
}

static int header_errors(const char *key, const char *value)
{
    char key_text[64], value_text[64];
    (void)snprintf(key_text, sizeof(key_text), "%s", key);
    (void)snprintf(value_text, sizeof(value_text), "%s", value);
    struct ut_pair pair = {key_text, value_text};
    char endpoint[] = "http://127.0.0.1:4317";
    return check(&(struct ut_grpc_client_settings){.endpoint = endpoint, .headers = {&pair, 1}})
        .errors;
}

Test(grpc_client_settings, headers_that_cannot_be_sent_are_errors)
{
    cr_assert_eq(header_errors("X-Scope-OrgID", "tenant one"), 0);
    cr_assert_eq(header_errors("authorization", "Bearer abc"), 0);
    cr_assert_eq(header_errors("empty", ""), 0);
    cr_assert_eq(header_errors("grpc-timeout", "1S"), 1);
    cr_assert_eq(header_errors(":path", "/"), 1);
    cr_assert_eq(header_errors("User-Agent", "me"), 1);
    cr_assert_eq(header_errors("a b", "c"), 1);
    cr_assert_eq(header_errors("", "c"), 1);
    cr_assert_eq(header_errors("a", "b\r\nc: d"), 1);
    cr_assert_eq(header_errors("a", " b"), 1);
    cr_assert_eq(header_errors("a", "\xc3\xa9"), 1);
}

static enum ut_coding coding_of(const char *endpoint, const char *compression)
{
    char endpoint_text[64], compression_text[16] = "";
    (void)snprintf(endpoint_text, sizeof(endpoint_text), "%s", endpoint);
    struct ut_grpc_client_settings config = {.endpoint = endpoint_text};
    if (compression != NULL) {
        (void)snprintf(compression_text, sizeof(compression_text), "%s", compression);
        config.compression = compression_text;
    }
    struct ut_endpoint_text parsed;
    cr_assert_eq(ut_destination_parse(&parsed, config.endpoint, 4317, NULL), 0);
    cr_assert_eq(check(&config).errors, 0);
    return ut_grpc_client_coding(&config, &parsed);
}

Test(grpc_client_settings, compression_is_gzip_but_not_on_this_host_unless_it_is_said)
{
    cr_expect_eq(coding_of("http://jaeger:4317", NULL), UT_CODING_GZIP);
    cr_expect_eq(coding_of("http://10.0.0.7:4317", NULL), UT_CODING_GZIP);
    cr_expect_eq(coding_of("http://localhost:4317", NULL), UT_CODING_IDENTITY);
    cr_expect_eq(coding_of("http://127.0.0.2:4317", NULL), UT_CODING_IDENTITY);
    cr_expect_eq(coding_of("http://[::1]:4317", NULL), UT_CODING_IDENTITY);
    cr_expect_eq(coding_of("http://jaeger:4317", "none"), UT_CODING_IDENTITY);
    cr_expect_eq(coding_of("http://jaeger:4317", ""), UT_CODING_IDENTITY);
    cr_expect_eq(coding_of("http://jaeger:4317", "zstd"), UT_CODING_ZSTD);
    cr_expect_eq(coding_of("http://127.0.0.1:4317", "gzip"), UT_CODING_GZIP);
    char endpoint[] = "http://127.0.0.1:4317", snappy[] = "snappy";
    struct recorder refused =
        check(&(struct ut_grpc_client_settings){.endpoint = endpoint, .compression = snappy});
    cr_assert_eq(refused.errors, 1);
    cr_assert_str_eq(refused.path, "compression");
}

Test(grpc_client_settings, request_headers_are_made_once)
{
    char text[] = "http://[::1]:4318";
    struct ut_pair pair = {"X-Scope-OrgID", "one"};
    struct ut_grpc_client_settings config = {
        .endpoint = text, .headers = {&pair, 1}, .timeout_ns = 5 * UT_NS_PER_S};
    struct ut_endpoint_text endpoint;
    const char *error;
    cr_assert_eq(ut_destination_parse(&endpoint, config.endpoint, 4317, &error), 0);
    struct ut_grpc_client_headers headers;
    ut_grpc_client_headers_init(&headers, &config, &endpoint, "/a.B/C");
    cr_assert_str_eq(headers.authority, "[::1]:4318");
    cr_assert_str_eq(headers.timeout, "5000m");
    const struct ut_h2_header *last = &headers.fields[headers.count - 1];
    cr_assert(ut_slice_equal(last->name, UT_SLICE("x-scope-orgid")));
    cr_assert(ut_slice_equal(last->value, UT_SLICE("one")));
    cr_assert(ut_slice_equal(headers.fields[0].name, UT_SLICE(":method")));
}

Test(grpc_client_settings, unix_socket_is_this_host_without_tls)
{
    cr_expect_not(is_secure("unix:///run/a.sock", false));
    cr_expect_eq(coding_of("unix:@name", NULL), UT_CODING_IDENTITY);
    char text[] = "unix:@name";
    struct ut_grpc_client_settings config = {.endpoint = text, .timeout_ns = UT_NS_PER_S};
    struct ut_endpoint_text endpoint;
    struct ut_grpc_client_headers headers;
    cr_assert_eq(ut_destination_parse(&endpoint, text, 4317, NULL), 0);
    ut_grpc_client_headers_init(&headers, &config, &endpoint, "/a.B/C");
    cr_assert_str_eq(headers.authority, "localhost");
}
