/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_client_settings.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>

static char said[1024];

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

static const char *check(const struct ut_http_client_settings *settings)
{
    struct ut_config_report report = {on_error};
    said[0] = '\0';
    ut_http_client_check(settings, &report);
    return said;
}

#define TEXT(literal) ((char *)(uintptr_t)(literal))

Test(http_client_settings, urls_are_http_with_a_host_and_without_a_user)
{
    static const char *const right[] = {"http://a", "https://a.example:4318/path?x=1",
                                        "http://[::1]:4318/", "HTTP://A/"};
    static const char *const wrong[] = {"",          "localhost:4318",     "ftp://a/",
                                        "http://",   "http://a:99999",     "http://u:p@a/",
                                        "http://[a", "unix:///run/a.sock", "http://a b/"};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        cr_expect_null(ut_http_url_wrong(right[i]), "%s", right[i]);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_expect_not_null(ut_http_url_wrong(wrong[i]), "%s", wrong[i]);
}

Test(http_client_settings, loopback_is_this_host_only)
{
    cr_expect(ut_http_url_is_loopback("http://127.0.0.1:4318"));
    cr_expect(ut_http_url_is_loopback("https://127.8.9.1/"));
    cr_expect(ut_http_url_is_loopback("http://[::1]:4318"));
    cr_expect(ut_http_url_is_loopback("http://LocalHost"));
    cr_expect_not(ut_http_url_is_loopback("http://128.0.0.1"));
    cr_expect_not(ut_http_url_is_loopback("http://localhost.example"));
    cr_expect_not(ut_http_url_is_loopback("http://[::2]"));
    cr_expect_not(ut_http_url_is_loopback("nonsense"));
}

Test(http_client_settings, headers_are_checked)
{
    struct ut_pair pairs[] = {{TEXT("Authorization"), TEXT("Bearer x")},
                              {TEXT("Content-Type"), TEXT("text/plain")},
                              {TEXT("a b"), TEXT("")},
                              {TEXT("X"), TEXT("a\r\nb")}};
    struct ut_http_client_settings settings = {.headers = {pairs, 1}, .tls = {.max_version = 1}};
    cr_expect_str_eq(check(&settings), "");
    settings.headers.count = 4;
    (void)check(&settings);
    cr_expect(strstr(said, "\"Content-Type\" is set by the protocol") != NULL, "%s", said);
    cr_expect(strstr(said, "\"a b\" is no name") != NULL, "%s", said);
    cr_expect(strstr(said, "the value of \"X\"") != NULL, "%s", said);
}

Test(http_client_settings, certificates_and_proxies_are_checked)
{
    struct ut_http_client_settings settings = {.tls = {.max_version = 1}};
    settings.tls.cert_file = TEXT("/no/such/file");
    settings.tls.ca_file = TEXT("/dev/null");
    settings.tls.ca_pem = TEXT("x");
    settings.proxy_url = TEXT("ftp://proxy");
    (void)check(&settings);
    cr_expect(strstr(said, "[tls] a client certificate needs both") != NULL, "%s", said);
    cr_expect(strstr(said, "[tls.ca_pem]") != NULL, "%s", said);
    cr_expect(strstr(said, "[tls.cert_file] /no/such/file cannot be read") != NULL, "%s", said);
    cr_expect(strstr(said, "[proxy_url]") != NULL, "%s", said);
    settings = (struct ut_http_client_settings){.proxy_url = TEXT("socks5://127.0.0.1:1080"),
                                                .tls = {.min_version = 1, .max_version = 0}};
    (void)check(&settings);
    cr_expect(strstr(said, "[tls.min_version] is above max_version") != NULL, "%s", said);
    cr_expect_null(strstr(said, "proxy_url"), "%s", said);
}

Test(http_client_settings, bodies_are_compressed_unless_they_stay_on_this_host)
{
    struct ut_http_client_settings settings = {.tls = {.max_version = 1}};
    cr_expect_eq(ut_http_client_coding(&settings, "http://127.0.0.1:1"), UT_CODING_IDENTITY);
    cr_expect_eq(ut_http_client_coding(&settings, "http://a.example"), UT_CODING_GZIP);
    static const struct {
        const char *name;
        enum ut_coding coding;
    } rows[] = {{"none", UT_CODING_IDENTITY},   {"", UT_CODING_IDENTITY},
                {"gzip", UT_CODING_GZIP},       {"zstd", UT_CODING_ZSTD},
                {"deflate", UT_CODING_DEFLATE}, {"zlib", UT_CODING_DEFLATE}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        settings.compression = TEXT(rows[i].name);
        cr_expect_str_eq(check(&settings), "", "%s", rows[i].name);
        cr_expect_eq(ut_http_client_coding(&settings, "http://127.0.0.1"), rows[i].coding);
    }
    settings.compression = TEXT("snappy");
    cr_expect(strstr(check(&settings), "\"snappy\" is not supported") != NULL, "%s", said);
}
