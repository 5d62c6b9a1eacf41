/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp_http_exporter/settings.h"

#include <stdio.h>
#include <string.h>

static const char *const encodings[] = {"proto", "json", NULL};

const struct ut_field ut_otlp_http_fields[] = {
    UT_EXPORTER_FIELDS,
    {
        .key = "endpoint",
        .type = UT_FIELD_STRING,
        .offset = offsetof(struct ut_otlp_http_config, endpoint),
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "traces_endpoint",
        .type = UT_FIELD_STRING,
        .offset = offsetof(struct ut_otlp_http_config, traces_endpoint),
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "encoding",
        .type = UT_FIELD_ENUM,
        .offset = offsetof(struct ut_otlp_http_config, encoding),
        .fallback = "proto",
        .words = encodings,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "max_message_bytes",
        .type = UT_FIELD_BYTES,
        .offset = offsetof(struct ut_otlp_http_config, max_message_bytes),
        .fallback = "4MiB",
        .least = 1024,
        .most = 1 << 30,
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_HTTP_CLIENT_FIELDS(struct ut_otlp_http_config, http),
    UT_FIELD_END,
};

static bool is_named(const char *text)
{
    return text != NULL && text[0] != '\0';
}

char *ut_otlp_http_url(const struct ut_otlp_http_config *config)
{
    char *url = NULL;
    if (is_named(config->traces_endpoint))
        return strdup(config->traces_endpoint);
    if (!is_named(config->endpoint))
        return NULL;
    size_t size = strlen(config->endpoint);
    if (config->endpoint[size - 1] == '/')
        size--;
    return asprintf(&url, "%.*s/v1/traces", (int)size, config->endpoint) < 0 ? NULL : url;
}

static void check_url(const char *url, const char *key, struct ut_config_report *report)
{
    const char *wrong = is_named(url) ? ut_http_url_wrong(url) : NULL;
    if (wrong != NULL)
        report->error(report, key, "\"%s\" is no URL of a backend: %s", url, wrong);
}

void ut_otlp_http_check(const void *config_, struct ut_config_report *report)
{
    const struct ut_otlp_http_config *config = config_;
    if (!is_named(config->endpoint) && !is_named(config->traces_endpoint))
        report->error(report, "",
                      "endpoint is missing: the backend's address, as "
                      "\"http://127.0.0.1:4318\"");
    check_url(config->endpoint, "endpoint", report);
    check_url(config->traces_endpoint, "traces_endpoint", report);
    ut_http_client_check(&config->http, report);
}
