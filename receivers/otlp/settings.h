/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp receiver's config, in the Collector's shape; what is ours alone are the limits. */
#ifndef UT_OTLP_RECEIVER_SETTINGS_H
#define UT_OTLP_RECEIVER_SETTINGS_H

#include "access.h"
#include "config/field.h"
#include "net/tls_settings.h"

/* What both protocols bound, under the same keys; 0 stands for what the comment says. */
struct ut_otlp_limit_settings {
    uint64_t max_concurrent_streams;
    uint64_t max_connections;                     /* 0: by RLIMIT_NOFILE */
    uint64_t max_connections_per_address;         /* 0: half of them */
    uint64_t max_requests_per_connection;         /* 0: any number */
    uint64_t max_header_bytes, max_header_fields; /* of a request */
    uint64_t read_timeout_ns;                     /* for a body to arrive */
    uint64_t write_timeout_ns;                    /* for an answer to be taken */
    uint64_t min_receive_rate;                    /* bytes a second; 0: none */
    uint64_t receive_grace_ns;                    /* before the rate counts */
};

struct ut_otlp_grpc_settings {
    char *endpoint;
    struct ut_otlp_access_settings access;
    struct ut_tls_settings tls;
    bool has_tls;
    uint64_t max_recv_msg_size_mib;
    struct ut_otlp_limit_settings limits;
    uint64_t handshake_timeout_ns; /* until the client's SETTINGS and its ACK of ours are there */
    struct {
        struct {
            uint64_t max_connection_idle_ns; /* 0: none */
            uint64_t max_connection_age_ns;  /* 0: none */
            uint64_t max_connection_age_grace_ns;
            uint64_t time_ns, timeout_ns; /* of silence before we ask; for an answer. 0: none */
        } server_parameters;
        struct {
            uint64_t min_time_ns; /* between the client's PINGs, in the long run */
            bool permit_without_stream;
        } enforcement_policy;
    } keepalive;
};

enum { UT_OTLP_CORS_HEADERS_MAX = 1024 }; /* bytes of all names */

struct ut_otlp_cors_settings {
    struct ut_strings allowed_origins; /* one '*' in each stands for anything */
    struct ut_strings allowed_headers;
    uint64_t max_age_s;
};

struct ut_otlp_http_settings {
    char *endpoint;
    struct ut_otlp_access_settings access;
    struct ut_tls_settings tls;
    bool has_tls;
    char *traces_url_path;
    char *metrics_url_path, *logs_url_path; /* known, so that their refusal can say why */
    struct ut_otlp_cors_settings cors;
    struct ut_strings compression_algorithms; /* none: all; "" is none */
    uint64_t max_request_body_size;           /* bytes */
    struct ut_otlp_limit_settings limits;
    uint64_t read_header_timeout_ns;
    uint64_t idle_timeout_ns; /* 0: none */
    bool keep_alives_enabled;
};

/* What becomes of text that is not UTF-8. */
enum ut_otlp_invalid_utf8 {
    UT_OTLP_UTF8_REPLACE, /* the bad parts by U+FFFD */
    UT_OTLP_UTF8_REJECT,  /* spans that have it are left out */
};

struct ut_otlp_receiver_settings {
    struct ut_otlp_protocols {
        struct ut_otlp_grpc_settings grpc;
        struct ut_otlp_http_settings http;
        bool has_grpc, has_http;
    } protocols;
    bool has_protocols;
    int invalid_utf8; /* enum ut_otlp_invalid_utf8 */
};

/* The content codings that are taken, by bits of enum ut_coding. */
uint32_t ut_otlp_http_codings(const struct ut_otlp_http_settings *http);
enum { UT_OTLP_CODINGS_TEXT = 48 };
/* Their names as Accept-Encoding has them; "identity" without any. */
void ut_otlp_codings_text(char out[UT_OTLP_CODINGS_TEXT], uint32_t codings);

extern const struct ut_field ut_otlp_receiver_fields[];
void ut_otlp_receiver_check(const void *config, struct ut_config_report *report);

#endif
