/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request's header says, as far as OTLP asks: filled field by field by HTTP/1 and HTTP/2
 * alike, then judged. Pure.
 */
#ifndef UT_NET_HTTP_HEAD_H
#define UT_NET_HTTP_HEAD_H

#include "net/call.h"

/* Who may read answers from a page of another origin, in the Collector's words. */
struct ut_http_cors {
    /* "https://app.example.com", one '*' stands for anything; "*" for all. */
    const char *const *allowed_origins;
    size_t allowed_origin_count;
    const char *allowed_headers; /* ready to send, "a, b"; NULL: whatever is asked for */
    uint64_t max_age_s;          /* 0: not told */
};

enum ut_http_path {
    UT_HTTP_PATH_UNKNOWN,
    UT_HTTP_PATH_TRACES,
    UT_HTTP_PATH_METRICS,
    UT_HTTP_PATH_LOGS,
    UT_HTTP_PATH_GRPC, /* the gRPC method's */
    UT_HTTP_PATH_GRPC_METRICS,
    UT_HTTP_PATH_GRPC_LOGS,
    UT_HTTP_PATH_SERVER, /* OPTIONS * */
};

enum ut_http_type {
    UT_HTTP_TYPE_OTHER,
    UT_HTTP_TYPE_PROTOBUF,
    UT_HTTP_TYPE_JSON,
    UT_HTTP_TYPE_GRPC
};

#define UT_HTTP_ORIGIN_MAX 288
#define UT_HTTP_REQUESTED_MAX 512

/* Fields of CORS, kept only where it is configured. */
struct ut_http_origin {
    uint16_t size, requested_size;
    uint8_t text[UT_HTTP_ORIGIN_MAX];
    uint8_t requested[UT_HTTP_REQUESTED_MAX]; /* names of header fields that are asked for */
};

struct ut_http_head {
    enum ut_http_path path;
    enum ut_http_type type;
    enum {
        UT_HTTP_METHOD_OTHER,
        UT_HTTP_METHOD_POST,
        UT_HTTP_METHOD_HEAD,
        UT_HTTP_METHOD_OPTIONS
    } method;
    enum ut_coding coding;      /* of Content-Encoding; UT_CODING_UNKNOWN: not taken here */
    enum ut_coding grpc_coding; /* of grpc-encoding */
    const char *codings;        /* with an unknown one: those that are taken, ready to send */
    uint64_t grpc_timeout_ns;   /* 0: not told */
    bool expects_continue;
    bool preflight; /* Access-Control-Request-Method is there */
    bool has_length, chunked;
    bool broken;                   /* a field that decides on the body's end is not as it must be */
    uint32_t hosts, fields;        /* numbers of Host fields; of all */
    size_t length;                 /* with has_length */
    struct ut_http_origin *origin; /* of the pool; an allowed one, or NULL */
    enum ut_auth_verdict auth;     /* over the credentials that it brings */
    const char *challenge;         /* for WWW-Authenticate of a refusal; NULL: none */
};

void ut_http_head_done(struct ut_http_head *head, struct ut_pool *pool);

void ut_http_head_method(struct ut_http_head *head, ut_slice method);
/* The request's target, in origin or absolute form. */
void ut_http_head_target(struct ut_http_head *head, const struct ut_service *service,
                         ut_slice target);
/* `name` in lower case, `value` without blanks around it. */
void ut_http_head_field(struct ut_http_head *head, const struct ut_calls *calls, ut_slice name,
                        ut_slice value);

/* Why whoever sends this may not, or NULL; counted. To be asked once, before anything else is told
 * about the request. OPTIONS, which browsers send without credentials, may always. */
const struct ut_failure *ut_http_head_admit(struct ut_http_head *head,
                                            const struct ut_calls *calls);
/* What is wrong with a request of OTLP/HTTP, or NULL; `*ret_why` says which counter it belongs to.
 * OPTIONS passes: it is answered without a body. */
const struct ut_failure *ut_http_head_judge(const struct ut_http_head *head,
                                            enum ut_refusal *ret_why);
/* What an answer is to be written in: as the request, JSON where that is unknown. */
enum ut_encoding ut_http_head_encoding(const struct ut_http_head *head);
/* Whether a request for another signal came, and which; UT_REFUSED_PROTOCOL: none. */
enum ut_refusal ut_http_head_signal(const struct ut_http_head *head);

extern const char UT_HTTP_METRICS_TEXT[], UT_HTTP_LOGS_TEXT[];

#endif
