/* SPDX-License-Identifier: Apache-2.0 */
/* The config of the zipkin exporter, with the keys of the Collector's. */
#ifndef UT_ZIPKIN_SETTINGS_H
#define UT_ZIPKIN_SETTINGS_H

#include "component.h"
#include "net/http_client_settings.h"

struct ut_zipkin_config {
    struct ut_exporter_settings settings;
    char *endpoint; /* the whole URL, "http://127.0.0.1:9411/api/v2/spans" */
    int format;     /* json is all there is */
    char *default_service_name;
    uint64_t max_message_bytes; /* of one request, as protobuf */
    struct ut_http_client_settings http;
};

extern const struct ut_field ut_zipkin_fields[];

/* Reports what the table cannot express. */
void ut_zipkin_check(const void *config, struct ut_config_report *report);

#endif
