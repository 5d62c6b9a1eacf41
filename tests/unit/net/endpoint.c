/* SPDX-License-Identifier: Apache-2.0 */
#include "net/endpoint.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const struct {
    const char *text, *host;
    uint16_t port;
    enum ut_endpoint_scheme scheme;
} good[] = {
    {"localhost:4317", "localhost", 4317, UT_SCHEME_NONE},
    {"0.0.0.0:1", "0.0.0.0", 1, UT_SCHEME_NONE},
    {"[::]:65535", "::", 65535, UT_SCHEME_NONE},
    {"[fe80::1%eth0]:4317", "fe80::1%eth0", 4317, UT_SCHEME_NONE},
    {":4317", "", 4317, UT_SCHEME_NONE},
    {"host:0", "host", 0, UT_SCHEME_NONE},
    {"host", "host", 4317, UT_SCHEME_NONE},
    {"[::1]", "::1", 4317, UT_SCHEME_NONE},
    {"http://host:80/", "host", 80, UT_SCHEME_HTTP},
    {"https://[2001:db8::1]", "2001:db8::1", 4317, UT_SCHEME_HTTPS},
};

Test(endpoint, is_read_in_every_usual_form)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct ut_endpoint_text text;
        const char *error;
        cr_assert_eq(ut_endpoint_parse(&text, good[i].text, 4317, &error), 0, "%s: %s",
                     good[i].text, error);
        cr_expect_str_eq(text.host, good[i].host);
        cr_expect_eq(text.port, good[i].port, "%s", good[i].text);
        cr_expect_eq(text.scheme, good[i].scheme, "%s", good[i].text);
        cr_expect_null(error);
    }
}

Test(endpoint, what_is_wrong_is_refused_with_a_reason)
{
    static const char *const bad[] = {
        "",         "http://",   "host:",   "host:x",   "host:65536", "host:123456",
        "::1:4317", "[::1:4317", "[]:1",    "[::1]x:1", "ftp://h:1",  "h:1/path",
        "user@h:1", "a host:1",  "h\x01:1", "h:-1",     "h:+1",       "http://h:1/v1/traces",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ut_endpoint_text text;
        const char *error = NULL;
        cr_expect_eq(ut_endpoint_parse(&text, bad[i], 4317, &error), -EINVAL, "%s", bad[i]);
        cr_expect_not_null(error, "%s", bad[i]);
    }
}

Test(endpoint, port_may_be_required)
{
    struct ut_endpoint_text text;
    cr_expect_eq(ut_endpoint_parse(&text, "host", 0, NULL), -EINVAL);
    cr_expect_eq(ut_endpoint_parse(&text, "host:1", 0, NULL), 0);
}

Test(endpoint, host_name_is_bounded)
{
    char name[UT_ENDPOINT_HOST + 8];
    struct ut_endpoint_text text;
    memset(name, 'h', sizeof(name));
    memcpy(name + UT_ENDPOINT_HOST - 1, ":1", 3);
    cr_expect_eq(ut_endpoint_parse(&text, name, 0, NULL), 0);
    memcpy(name + UT_ENDPOINT_HOST - 1, "h:1", 4);
    cr_expect_eq(ut_endpoint_parse(&text, name, 0, NULL), -EINVAL);
}

Test(endpoint, destinations_have_more_forms)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
        enum ut_endpoint_scheme scheme;
        bool all_addresses;
    } rows[] = {
        {"backend:1", "backend", 1, UT_SCHEME_NONE, false},
        {"http://[::1]", "::1", 4317, UT_SCHEME_HTTP, false},
        {"dns:///backend:1", "backend", 1, UT_SCHEME_NONE, true},
        {"dns:backend", "backend", 4317, UT_SCHEME_NONE, true},
        {"unix:///run/a.sock", "unix:///run/a.sock", 0, UT_SCHEME_UNIX, false},
        {"unix:@name", "unix:@name", 0, UT_SCHEME_UNIX, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ut_endpoint_text text;
        const char *error;
        cr_assert_eq(ut_destination_parse(&text, rows[i].text, 4317, &error), 0, "%s: %s",
                     rows[i].text, error);
        cr_expect_str_eq(text.host, rows[i].host);
        cr_expect_eq(text.port, rows[i].port, "%s", rows[i].text);
        cr_expect_eq(text.scheme, rows[i].scheme, "%s", rows[i].text);
        cr_expect_eq(text.all_addresses, rows[i].all_addresses, "%s", rows[i].text);
    }
    static const char *const bad[] = {":4317", "dns://8.8.8.8/backend:1", "dns:///http://a:1",
                                      "unix://", "dns:///"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ut_endpoint_text text;
        const char *error = NULL;
        cr_expect_eq(ut_destination_parse(&text, bad[i], 4317, &error), -EINVAL, "%s", bad[i]);
        cr_expect_not_null(error, "%s", bad[i]);
    }
}
