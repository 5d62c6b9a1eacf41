/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_head.h"

#include <strings.h>

const char UT_HTTP_METRICS_TEXT[] =
    "metrics are not taken here, only traces: set OTEL_METRICS_EXPORTER=none in the sender";
const char UT_HTTP_LOGS_TEXT[] =
    "logs are not taken here, only traces: set OTEL_LOGS_EXPORTER=none in the sender";

static bool equal_ignoring_case(ut_slice a, ut_slice b)
{
    return a.size == b.size && strncasecmp((const char *)a.data, (const char *)b.data, a.size) == 0;
}

static ut_slice from(ut_slice text, size_t at)
{
    return ut_slice_of(text.data + at, text.size - at);
}

void ut_http_head_done(struct ut_http_head *head, struct ut_pool *pool)
{
    ut_pool_free(pool, head->origin);
    head->origin = NULL;
}

void ut_http_head_method(struct ut_http_head *head, ut_slice method)
{
    if (ut_slice_equal(method, UT_SLICE("POST")))
        head->method = UT_HTTP_METHOD_POST;
    else if (ut_slice_equal(method, UT_SLICE("OPTIONS")))
        head->method = UT_HTTP_METHOD_OPTIONS;
    else if (ut_slice_equal(method, UT_SLICE("HEAD")))
        head->method = UT_HTTP_METHOD_HEAD;
    else
        head->method = UT_HTTP_METHOD_OTHER;
}

/* ---- the target ----------------------------------------------------------------------------- */

static bool is_path(ut_slice target, const char *path)
{
    return path != NULL && ut_slice_equal(target, ut_slice_str(path));
}

/* "http://host/path" → "/path" */
static ut_slice skip_authority(ut_slice target)
{
    ut_slice rest;
    if (equal_ignoring_case(ut_slice_of(target.data, target.size < 7 ? target.size : 7),
                            UT_SLICE("http://")))
        rest = from(target, 7);
    else if (equal_ignoring_case(ut_slice_of(target.data, target.size < 8 ? target.size : 8),
                                 UT_SLICE("https://")))
        rest = from(target, 8);
    else
        return target;
    const uint8_t *slash = memchr(rest.data, '/', rest.size);
    return slash != NULL ? from(rest, (size_t)(slash - rest.data)) : UT_SLICE("/");
}

void ut_http_head_target(struct ut_http_head *head, const struct ut_service *service,
                         ut_slice target)
{
    target = skip_authority(target);
    const uint8_t *query = memchr(target.data, '?', target.size);
    if (query != NULL)
        target.size = (size_t)(query - target.data);
    const struct {
        const char *path;
        enum ut_http_path value;
    } known[] = {
        {service->http_path, UT_HTTP_PATH_TRACES},
        {service->grpc_path, UT_HTTP_PATH_GRPC},
        {service->http_metrics_path, UT_HTTP_PATH_METRICS},
        {service->http_logs_path, UT_HTTP_PATH_LOGS},
        {service->grpc_metrics_path, UT_HTTP_PATH_GRPC_METRICS},
        {service->grpc_logs_path, UT_HTTP_PATH_GRPC_LOGS},
        {"*", UT_HTTP_PATH_SERVER},
    };
    head->path = UT_HTTP_PATH_UNKNOWN;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (is_path(target, known[i].path)) {
            head->path = known[i].value;
            return;
        }
    }
}

/* ---- fields --------------------------------------------------------------------------------- */

/* "application/grpc", alone or followed by "+proto" or by parameters. */
static bool is_grpc_type(ut_slice value)
{
    ut_slice base = UT_SLICE("application/grpc");
    if (value.size < base.size || !equal_ignoring_case(ut_slice_of(value.data, base.size), base))
        return false;
    ut_slice rest = from(value, base.size);
    if (ut_slice_starts(rest, UT_SLICE("+proto")))
        rest = from(rest, 6);
    return rest.size == 0 || rest.data[0] == ';';
}

static ut_slice without_parameters(ut_slice value)
{
    const uint8_t *end = memchr(value.data, ';', value.size);
    if (end != NULL)
        value.size = (size_t)(end - value.data);
    while (value.size > 0 &&
           (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t'))
        value.size--;
    return value;
}

static void take_type(struct ut_http_head *head, const struct ut_calls *calls, ut_slice value)
{
    (void)calls;
    ut_slice base = without_parameters(value);
    if (equal_ignoring_case(base, UT_SLICE("application/x-protobuf")))
        head->type = UT_HTTP_TYPE_PROTOBUF;
    else if (equal_ignoring_case(base, UT_SLICE("application/json")))
        head->type = UT_HTTP_TYPE_JSON;
    else
        head->type = is_grpc_type(value) ? UT_HTTP_TYPE_GRPC : UT_HTTP_TYPE_OTHER;
}

static void take_length(struct ut_http_head *head, const struct ut_calls *calls, ut_slice value)
{
    (void)calls;
    size_t length = 0;
    bool fine = value.size > 0 && !head->has_length;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' ||
            __builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, (size_t)(value.data[i] - '0'), &length))
            fine = false;
    }
    head->has_length = true;
    head->length = length;
    head->broken |= !fine;
}

static void take_coding_of_transfer(struct ut_http_head *head, const struct ut_calls *calls,
                                    ut_slice value)
{
    (void)calls;
    head->broken |= head->chunked || !equal_ignoring_case(value, UT_SLICE("chunked"));
    head->chunked = true;
}

/* One coding at most besides identity. */
static void take_encoding(struct ut_http_head *head, const struct ut_calls *calls, ut_slice value)
{
    const struct ut_service *service = calls->service;
    enum ut_coding coding = ut_coding_of(value);
    if (coding == UT_CODING_IDENTITY)
        return;
    bool taken = head->coding == UT_CODING_IDENTITY && coding != UT_CODING_UNKNOWN &&
                 (service->http_codings >> coding & 1) != 0;
    head->coding = taken ? coding : UT_CODING_UNKNOWN;
    head->codings = service->http_codings_text;
}

static void take_grpc_encoding(struct ut_http_head *head, const struct ut_calls *calls,
                               ut_slice value)
{
    (void)calls;
    head->grpc_coding = ut_coding_of(value);
}

/* At most 8 digits and a unit (gRPC over HTTP/2). What is none counts as not told. */
static void take_grpc_timeout(struct ut_http_head *head, const struct ut_calls *calls,
                              ut_slice value)
{
    static const struct {
        uint8_t unit;
        uint64_t ns;
    } units[] = {{'H', 3600000000000}, {'M', 60000000000}, {'S', 1000000000},
                 {'m', 1000000},       {'u', 1000},        {'n', 1}};
    const uint64_t day_ns = UINT64_C(86400000000000);
    uint64_t number = 0;
    (void)calls;
    head->grpc_timeout_ns = 0;
    if (value.size < 2 || value.size > 9)
        return;
    for (size_t i = 0; i + 1 < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return;
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        /* Whoever waits longer than a day waits for ever. */
        if (units[i].unit == value.data[value.size - 1] && number <= day_ns / units[i].ns)
            head->grpc_timeout_ns = number * units[i].ns;
    }
}

static void take_expect(struct ut_http_head *head, const struct ut_calls *calls, ut_slice value)
{
    (void)calls;
    head->expects_continue = equal_ignoring_case(value, UT_SLICE("100-continue"));
}

static void take_host(struct ut_http_head *head, const struct ut_calls *calls, ut_slice value)
{
    (void)calls, (void)value;
    head->hosts++;
}

/* ---- CORS ----------------------------------------------------------------------------------- */

/* One '*' of the pattern stands for any text. */
static bool matches(const char *pattern, ut_slice text)
{
    const char *star = strchr(pattern, '*');
    if (star == NULL)
        return equal_ignoring_case(text, ut_slice_str(pattern));
    size_t before = (size_t)(star - pattern), after = strlen(star + 1);
    return text.size >= before + after &&
           strncasecmp((const char *)text.data, pattern, before) == 0 &&
           strncasecmp((const char *)text.data + text.size - after, star + 1, after) == 0;
}

static bool is_allowed(const struct ut_http_cors *cors, ut_slice origin)
{
    for (size_t i = 0; i < cors->allowed_origin_count; i++) {
        if (matches(cors->allowed_origins[i], origin))
            return true;
    }
    return false;
}

static void keep_origin_block(struct ut_http_head *head, const struct ut_calls *calls)
{
    if (head->origin != NULL)
        return;
    head->origin = ut_pool_alloc(calls->pool, sizeof(*head->origin));
    if (head->origin != NULL)
        head->origin->size = head->origin->requested_size = 0;
}

static void take_origin(struct ut_http_head *head, const struct ut_calls *calls, ut_slice value)
{
    const struct ut_http_cors *cors = calls->service->cors;
    if (cors == NULL || value.size == 0 || value.size > UT_HTTP_ORIGIN_MAX ||
        !is_allowed(cors, value))
        return;
    keep_origin_block(head, calls);
    if (head->origin == NULL)
        return;
    memcpy(head->origin->text, value.data, value.size);
    head->origin->size = (uint16_t)value.size;
}

static void take_requested_method(struct ut_http_head *head, const struct ut_calls *calls,
                                  ut_slice value)
{
    (void)calls, (void)value;
    head->preflight = true;
}

static void take_requested_headers(struct ut_http_head *head, const struct ut_calls *calls,
                                   ut_slice value)
{
    const struct ut_http_cors *cors = calls->service->cors;
    if (cors == NULL || cors->allowed_headers != NULL || value.size > UT_HTTP_REQUESTED_MAX)
        return;
    keep_origin_block(head, calls);
    if (head->origin == NULL)
        return;
    memcpy(head->origin->requested, value.data, value.size);
    head->origin->requested_size = (uint16_t)value.size;
}

/* ---- who sends ------------------------------------------------------------------------------ */

static void take_credentials(struct ut_http_head *head, const struct ut_auth *auth, ut_slice value)
{
    head->auth = head->auth == UT_AUTH_MISSING ? ut_auth_judge(auth, value) : UT_AUTH_SEVERAL;
}

const struct ut_failure *ut_http_head_admit(struct ut_http_head *head, const struct ut_calls *calls)
{
    static const struct ut_failure failures[UT_AUTH_VERDICTS] = {
        [UT_AUTH_MISSING] = {UT_GRPC_UNAUTHENTICATED, 401, 0, "credentials are missing"},
        [UT_AUTH_SEVERAL] = {UT_GRPC_UNAUTHENTICATED, 401, 0,
                             "a request brings its credentials once"},
        [UT_AUTH_SCHEME] = {UT_GRPC_UNAUTHENTICATED, 401, 0,
                            "the credentials are of another scheme than is asked for"},
        [UT_AUTH_MALFORMED] = {UT_GRPC_UNAUTHENTICATED, 401, 0, "the credentials are malformed"},
        [UT_AUTH_UNKNOWN] = {UT_GRPC_UNAUTHENTICATED, 401, 0, "the credentials are not known"},
        [UT_AUTH_NAME] = {UT_GRPC_PERMISSION_DENIED, 403, 0,
                          "the certificate has no name that may send here"},
    };
    const struct ut_auth *auth = calls->service->auth;
    if (auth == NULL || head->method == UT_HTTP_METHOD_OPTIONS)
        return NULL;
    enum ut_auth_verdict verdict = ut_auth_admit(auth, head->auth, calls->certificate);
    head->challenge = auth->by_field ? auth->challenge : NULL;
    return verdict == UT_AUTH_GRANTED ? NULL : &failures[verdict];
}

void ut_http_head_field(struct ut_http_head *head, const struct ut_calls *calls, ut_slice name,
                        ut_slice value)
{
    const struct ut_auth *auth = calls->service->auth;
    static const struct {
        ut_slice name;
        void (*take)(struct ut_http_head *, const struct ut_calls *, ut_slice);
    } known[] = {
#define ROW(text, take) {{(const uint8_t *)(text), sizeof(text) - 1}, take}
        ROW("host", take_host),
        ROW("content-type", take_type),
        ROW("content-length", take_length),
        ROW("content-encoding", take_encoding),
        ROW("transfer-encoding", take_coding_of_transfer),
        ROW("expect", take_expect),
        ROW("grpc-encoding", take_grpc_encoding),
        ROW("grpc-timeout", take_grpc_timeout),
        ROW("origin", take_origin),
        ROW("access-control-request-method", take_requested_method),
        ROW("access-control-request-headers", take_requested_headers),
#undef ROW
    };
    head->fields++;
    if (auth != NULL && ut_slice_equal(name, ut_slice_str(auth->header)))
        take_credentials(head, auth, value);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (ut_slice_equal(name, known[i].name)) {
            known[i].take(head, calls, value);
            return;
        }
    }
}

/* ---- the judgement -------------------------------------------------------------------------- */

enum ut_encoding ut_http_head_encoding(const struct ut_http_head *head)
{
    return head->type == UT_HTTP_TYPE_PROTOBUF ? UT_ENCODING_PROTOBUF : UT_ENCODING_JSON;
}

enum ut_refusal ut_http_head_signal(const struct ut_http_head *head)
{
    switch (head->path) {
    case UT_HTTP_PATH_METRICS:
    case UT_HTTP_PATH_GRPC_METRICS:
        return UT_REFUSED_METRICS;
    case UT_HTTP_PATH_LOGS:
    case UT_HTTP_PATH_GRPC_LOGS:
        return UT_REFUSED_LOGS;
    default:
        return UT_REFUSED_PROTOCOL;
    }
}

static const struct ut_failure *judge_path(const struct ut_http_head *head)
{
    static const struct ut_failure unknown = {UT_GRPC_NOT_FOUND, 404, 0,
                                              "nothing is served at this path"},
                                   metrics = {UT_GRPC_NOT_FOUND, 404, 0, UT_HTTP_METRICS_TEXT},
                                   logs = {UT_GRPC_NOT_FOUND, 404, 0, UT_HTTP_LOGS_TEXT};
    switch (ut_http_head_signal(head)) {
    case UT_REFUSED_METRICS:
        return &metrics;
    case UT_REFUSED_LOGS:
        return &logs;
    default:
        break;
    }
    bool known = head->path == UT_HTTP_PATH_TRACES || head->path == UT_HTTP_PATH_GRPC ||
                 (head->path == UT_HTTP_PATH_SERVER && head->method == UT_HTTP_METHOD_OPTIONS);
    return known ? NULL : &unknown;
}

static const struct ut_failure *judge_content(const struct ut_http_head *head)
{
    static const struct ut_failure grpc = {UT_GRPC_INVALID_ARGUMENT, 415, 0,
                                           "this is a gRPC method: application/grpc over HTTP/2"},
                                   type = {UT_GRPC_INVALID_ARGUMENT, 415, 0,
                                           "the content-type is neither application/x-protobuf nor "
                                           "application/json"},
                                   coding = {UT_GRPC_INVALID_ARGUMENT, 415, 0,
                                             "the content-encoding is not supported"};
    if (head->path == UT_HTTP_PATH_GRPC)
        return &grpc;
    if (head->type != UT_HTTP_TYPE_PROTOBUF && head->type != UT_HTTP_TYPE_JSON)
        return &type;
    return head->coding == UT_CODING_UNKNOWN ? &coding : NULL;
}

const struct ut_failure *ut_http_head_judge(const struct ut_http_head *head,
                                            enum ut_refusal *ret_why)
{
    static const struct ut_failure method = {UT_GRPC_UNIMPLEMENTED, 405, 0,
                                             "the method is not POST"};
    *ret_why = ut_http_head_signal(head);
    const struct ut_failure *failure = judge_path(head);
    if (failure != NULL || head->method == UT_HTTP_METHOD_OPTIONS)
        return failure;
    if (head->method != UT_HTTP_METHOD_POST)
        return &method;
    return judge_content(head);
}
