/* SPDX-License-Identifier: Apache-2.0 */
#include "zipkin_exporter/settings.h"

static const char *const formats[] = {"json", NULL};

const struct ut_field ut_zipkin_fields[] = {
    UT_EXPORTER_FIELDS,
    {
        .key = "endpoint",
        .type = UT_FIELD_STRING,
        .offset = offsetof(struct ut_zipkin_config, endpoint),
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "format",
        .type = UT_FIELD_ENUM,
        .offset = offsetof(struct ut_zipkin_config, format),
        .fallback = "json",
        .words = formats,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "default_service_name",
        .type = UT_FIELD_STRING,
        .offset = offsetof(struct ut_zipkin_config, default_service_name),
        .fallback = "<blank>",
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "max_message_bytes",
        .type = UT_FIELD_BYTES,
        .offset = offsetof(struct ut_zipkin_config, max_message_bytes),
        .fallback = "4MiB",
        .least = 1024,
        .most = 1 << 28,
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_HTTP_CLIENT_FIELDS(struct ut_zipkin_config, http),
    UT_FIELD_END,
};

void ut_zipkin_check(const void *config_, struct ut_config_report *report)
{
    const struct ut_zipkin_config *config = config_;
    const char *wrong = config->endpoint != NULL ? ut_http_url_wrong(config->endpoint) : NULL;
    if (config->endpoint == NULL || config->endpoint[0] == '\0')
        report->error(report, "",
                      "endpoint is missing: the URL that takes spans, as "
                      "\"http://127.0.0.1:9411/api/v2/spans\"");
    else if (wrong != NULL)
        report->error(report, "endpoint", "\"%s\" is no URL of a backend: %s", config->endpoint,
                      wrong);
    ut_http_client_check(&config->http, report);
}
