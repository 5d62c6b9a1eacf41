/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_client_settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/slice.h"
#include "model/address.h"
#include "net/curl_library.h"

/* ---- URLs ------------------------------------------------------------------------------------ */

/* A part of a URL in text of its own, for curl_free; NULL where there is none. */
static char *part_of(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

static const char *judge(CURLU *url, const char *text)
{
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME);
    if (code != CURLUE_OK)
        return curl_url_strerror(code);
    char *scheme = part_of(url, CURLUPART_SCHEME), *user = part_of(url, CURLUPART_USER);
    bool fits = scheme != NULL && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    bool names_user = user != NULL;
    curl_free(scheme);
    curl_free(user);
    if (!fits)
        return "it must begin with http:// or https://";
    return names_user ? "a user and password belong under headers or auth" : NULL;
}

const char *ut_http_url_wrong(const char *text)
{
    /* libcurl would guess a scheme from the name. */
    if (strstr(text, "://") == NULL)
        return "it must begin with http:// or https://";
    const char *wrong = NULL;
    if (ut_curl(&wrong) == NULL)
        return wrong;
    CURLU *url = curl_url();
    wrong = url != NULL ? judge(url, text) : "out of memory";
    curl_url_cleanup(url);
    return wrong;
}

bool ut_http_url_is_loopback(const char *text)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    CURLU *url = curl_url();
    bool is = false;
    if (url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK) {
        struct ut_address address;
        char *host = part_of(url, CURLUPART_HOST);
        if (host != NULL && ut_address_parse(&address, ut_slice_str(host)) == 0)
            is = ut_address_is_v4(&address)
                     ? address.bytes[12] == 127
                     : memcmp(address.bytes, loopback6, sizeof(loopback6)) == 0;
        else
            is = host != NULL && strcasecmp(host, "localhost") == 0;
        curl_free(host);
    }
    curl_url_cleanup(url);
    return is;
}

/* ---- headers --------------------------------------------------------------------------------- */

static bool is_token(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && strchr("!#$%&'*+-.^_`|~", *at) == NULL)
            return false;
    }
    return text[0] != '\0';
}

static bool is_field_value(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || (unsigned char)*at == 0x7f)
            return false;
    }
    return text[0] != ' ' && (text[0] == '\0' || text[strlen(text) - 1] != ' ');
}

/* Names that belong to the protocol. */
static bool is_reserved(const char *name)
{
    static const char *const names[] = {"connection",        "content-encoding", "content-length",
                                        "content-type",      "expect",           "te",
                                        "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static void check_headers(const struct ut_pairs *headers, struct ut_config_report *report)
{
    size_t bytes = 0;
    for (size_t i = 0; i < headers->count; i++) {
        const char *key = headers->items[i].key, *value = headers->items[i].value;
        bytes += strlen(key) + strlen(value);
        if (is_reserved(key))
            report->error(report, "headers", "\"%s\" is set by the protocol itself", key);
        else if (!is_token(key))
            report->error(report, "headers", "\"%s\" is no name of a header", key);
        else if (!is_field_value(value))
            report->error(report, "headers",
                          "the value of \"%s\" has characters that a header cannot carry", key);
    }
    if (headers->count > UT_HTTP_CLIENT_HEADERS_MAX || bytes > UT_HTTP_CLIENT_HEADER_BYTES)
        report->error(report, "headers", "at most %d headers and %d bytes in all",
                      UT_HTTP_CLIENT_HEADERS_MAX, UT_HTTP_CLIENT_HEADER_BYTES);
}

/* ---- the check ------------------------------------------------------------------------------- */

static void check_proxy(const char *url, struct ut_config_report *report)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    if (url == NULL || url[0] == '\0')
        return;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0)
            return;
    }
    report->error(report, "proxy_url",
                  "is no proxy's URL: it begins with http://, https://, socks5:// or socks5h://");
}

static enum ut_coding coding_of(const char *compression)
{
    return strcmp(compression, "none") == 0 ? UT_CODING_IDENTITY
                                            : ut_coding_of(ut_slice_str(compression));
}

enum ut_coding ut_http_client_coding(const struct ut_http_client_settings *settings,
                                     const char *url)
{
    if (settings->compression != NULL)
        return coding_of(settings->compression);
    return ut_http_url_is_loopback(url) ? UT_CODING_IDENTITY : UT_CODING_GZIP;
}

void ut_http_client_check(const struct ut_http_client_settings *settings,
                          struct ut_config_report *report)
{
    if (settings->compression != NULL && coding_of(settings->compression) == UT_CODING_UNKNOWN)
        report->error(report, "compression",
                      "\"%s\" is not supported; gzip, zstd, deflate and none are",
                      settings->compression);
    check_headers(&settings->headers, report);
    check_proxy(settings->proxy_url, report);
    ut_tls_check(&settings->tls, UT_TLS_CLIENT, "tls", report);
}
