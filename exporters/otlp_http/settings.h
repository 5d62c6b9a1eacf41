/* SPDX-License-Identifier: Apache-2.0 */
/* The config of the otlp_http exporter, with the keys of the Collector's. */
#ifndef UT_OTLP_HTTP_SETTINGS_H
#define UT_OTLP_HTTP_SETTINGS_H

#include "component.h"
#include "net/http_client_settings.h"

enum ut_otlp_http_encoding { UT_OTLP_HTTP_PROTO, UT_OTLP_HTTP_JSON };

struct ut_otlp_http_config {
    struct ut_exporter_settings settings;
    char *endpoint;             /* "/v1/traces" is put behind it */
    char *traces_endpoint;      /* the whole URL */
    int encoding;               /* enum ut_otlp_http_encoding */
    uint64_t max_message_bytes; /* of one request, as protobuf and before compression */
    struct ut_http_client_settings http;
};

extern const struct ut_field ut_otlp_http_fields[];

/* Reports what the table cannot express. */
void ut_otlp_http_check(const void *config, struct ut_config_report *report);

/* The URL that spans go to; the caller frees it. NULL: out of memory, or none is named. */
char *ut_otlp_http_url(const struct ut_otlp_http_config *config) UT_MUST_USE;

#endif
