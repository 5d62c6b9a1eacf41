/* SPDX-License-Identifier: Apache-2.0 */
/* The config of the otlp_grpc exporter, and the header fields of its requests made from it. */
#ifndef UT_OTLP_GRPC_SETTINGS_H
#define UT_OTLP_GRPC_SETTINGS_H

#include "component.h"
#include "net/endpoint.h"
#include "net/h2_client.h"
#include "net/inflate.h"
#include "net/tls_settings.h"

#define UT_OTLP_GRPC_HEADERS_MAX 32 /* pairs in `headers` */
#define UT_OTLP_GRPC_HEADER_BYTES 8192

struct ut_otlp_grpc_config {
    struct ut_exporter_settings settings;
    char *endpoint;
    struct ut_tls_settings tls;
    struct ut_pairs headers;
    uint64_t timeout_ns;        /* of one send, connecting included */
    uint64_t max_message_bytes; /* of one request */
    char *compression;          /* NULL: none to this host, else gzip */
};

extern const struct ut_field ut_otlp_grpc_fields[];

/* Reports what the table cannot express. */
void ut_otlp_grpc_check(const void *config, struct ut_config_report *report);

/* What requests are compressed with; `config` has passed the check. */
enum ut_coding ut_otlp_grpc_coding(const struct ut_otlp_grpc_config *config,
                                   const struct ut_endpoint_text *endpoint);

/* Whether TLS is spoken: by the endpoint's scheme or, where it has none, unless tls.insecure. */
bool ut_otlp_grpc_is_secure(const struct ut_otlp_grpc_config *config,
                            const struct ut_endpoint_text *endpoint);

/* The header fields of every request. Their texts point into this struct and into the config. */
struct ut_otlp_grpc_headers {
    struct ut_h2_header fields[UT_H2_CLIENT_HEADERS_MAX];
    size_t count;
    char authority[UT_ENDPOINT_HOST + 16];
    char timeout[16];
    char names[UT_OTLP_GRPC_HEADER_BYTES]; /* of `headers`, in lower case */
};

/* `config` has passed the check. */
void ut_otlp_grpc_headers_init(struct ut_otlp_grpc_headers *headers,
                               const struct ut_otlp_grpc_config *config,
                               const struct ut_endpoint_text *endpoint);

/* The endpoint of a checked config; 0 or -EINVAL. */
int ut_otlp_grpc_endpoint(const struct ut_otlp_grpc_config *config, struct ut_endpoint_text *ret,
                          const char **ret_error) UT_MUST_USE;

#endif
