/* SPDX-License-Identifier: Apache-2.0 */
/* What a header says, and the Status that answers it. */
#include "net/http_head.h"

#include <criterion/criterion.h>

static const struct ut_service service = {
    .http_path = "/v1/traces",
    .grpc_path = "/trace.Service/Export",
    .grpc_metrics_path = "/metrics.Service/Export",
    .http_metrics_path = "/v1/metrics",
    .http_logs_path = "/v1/logs",
};
static const struct ut_calls calls = {.service = &service};

static struct ut_http_head head_of(const char *method, const char *target, const char *type)
{
    struct ut_http_head head = {0};
    ut_http_head_method(&head, ut_slice_str(method));
    ut_http_head_target(&head, &service, ut_slice_str(target));
    if (type != NULL)
        ut_http_head_field(&head, &calls, UT_SLICE("content-type"), ut_slice_str(type));
    return head;
}

Test(http_head, judgement_is_path_then_method_then_content)
{
    static const struct {
        const char *method, *target, *type;
        int status;
    } rows[] = {
        {"POST", "/v1/traces", "application/json", 0},
        {"POST", "/v1/traces", "application/x-protobuf", 0},
        {"POST", "/v1/traces?x", "application/x-protobuf", 0},
        {"OPTIONS", "/v1/traces", NULL, 0},
        {"GET", "/v2/traces", NULL, 404},
        {"GET", "/v1/traces", NULL, 405},
        {"POST", "/v1/traces", NULL, 415},
        {"POST", "/v1/traces", "application/grpc", 415},
        {"POST", "/trace.Service/Export", "application/json", 415},
        {"POST", "*", "application/json", 404},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum ut_refusal why;
        struct ut_http_head head = head_of(rows[i].method, rows[i].target, rows[i].type);
        const struct ut_failure *failure = ut_http_head_judge(&head, &why);
        cr_expect_eq(failure != NULL ? failure->http_status : 0, rows[i].status, "row %zu", i);
    }
}

Test(http_head, other_signals_are_known_on_both_protocols)
{
    struct ut_http_head head = head_of("POST", "/v1/metrics", "application/json");
    cr_expect_eq(ut_http_head_signal(&head), UT_REFUSED_METRICS);
    head = head_of("POST", "/metrics.Service/Export", "application/grpc");
    cr_expect_eq(ut_http_head_signal(&head), UT_REFUSED_METRICS);
    head = head_of("POST", "/v1/logs", NULL);
    cr_expect_eq(ut_http_head_signal(&head), UT_REFUSED_LOGS);
    head = head_of("POST", "/v1/traces", NULL);
    cr_expect_eq(ut_http_head_signal(&head), UT_REFUSED_PROTOCOL);
}

Test(http_head, status_in_json_is_escaped)
{
    uint8_t out[UT_GRPC_STATUS_BODY];
    size_t size = ut_grpc_status_json(out, UT_GRPC_NOT_FOUND, "a \"b\"\\\n\xc3\xa9", 0);
    const char *plain = "{\"code\":5,\"message\":\"a \\\"b\\\"\\\\???\"}";
    cr_expect_eq(size, strlen(plain));
    cr_expect_eq(memcmp(out, plain, size), 0, "%.*s", (int)size, (const char *)out);
    size = ut_grpc_status_json(out, UT_GRPC_UNAVAILABLE, "", 1500);
    cr_expect_not_null(memmem(out, size, "\"retryDelay\":\"1.500s\"", 21));
    char longest[UT_GRPC_TEXT_MAX * 2];
    memset(longest, '"', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    size = ut_grpc_status_json(out, UT_GRPC_UNAVAILABLE, longest, UINT32_MAX);
    cr_expect_eq(out[size - 1], '}');
    size = ut_grpc_status_protobuf(out, UT_GRPC_UNAVAILABLE, longest, UINT32_MAX);
    cr_expect_leq(size, sizeof(out));
}

Test(http_head, grpc_timeout_has_a_unit)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } rows[] = {
        {"10S", 10000000000},
        {"250m", 250000000},
        {"1H", 3600000000000},
        {"2M", 120000000000},
        {"7u", 7000},
        {"99999999n", 99999999},
        {"99999999m", 0},
        {"99999999H", 0},
        {"25H", 0},
        {"24H", 86400000000000},
        {"S", 0},
        {"10", 0},
        {"-1S", 0},
        {"1 S", 0},
        {"999999999S", 0},
        {"1x", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ut_http_head head = head_of("POST", "/trace.Service/Export", "application/grpc");
        ut_http_head_field(&head, &calls, UT_SLICE("grpc-timeout"), ut_slice_str(rows[i].text));
        cr_expect_eq(head.grpc_timeout_ns, rows[i].ns, "%s: %lu", rows[i].text,
                     head.grpc_timeout_ns);
    }
}
