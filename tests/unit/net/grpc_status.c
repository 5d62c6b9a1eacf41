/* SPDX-License-Identifier: Apache-2.0 */
#include "net/grpc_status.h"

#include <criterion/criterion.h>
#include <string.h>

Test(grpc_status, message_is_percent_encoded)
{
    char out[UT_GRPC_MESSAGE_FIELD];
    size_t size = ut_grpc_message_field(out, "50% of \"x\"\n\xc3\xa4");
    cr_expect_eq(size, strlen("50%25 of \"x\"%0A??"));
    cr_expect_eq(memcmp(out, "50%25 of \"x\"%0A??", size), 0, "%.*s", (int)size, out);
}

Test(grpc_status, long_texts_are_cut)
{
    char out[UT_GRPC_MESSAGE_FIELD], details[UT_GRPC_DETAILS_FIELD], text[2000];
    memset(text, '\n', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    cr_expect_eq(ut_grpc_message_field(out, text), 3 * UT_GRPC_TEXT_MAX);
    size_t size = ut_grpc_details_field(details, UT_GRPC_UNAVAILABLE, text, UINT32_MAX);
    cr_expect_leq(size, sizeof(details));
}

/* Written by another encoder: Status(code=14, message="busy", details=[RetryInfo(1.5 s)]). */
Test(grpc_status, details_are_a_status_with_retry_info)
{
    const char *expected =
        "CA4SBGJ1c3kaNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIK"
        "CggIARCAyrXuAQ";
    char out[UT_GRPC_DETAILS_FIELD];
    size_t size = ut_grpc_details_field(out, UT_GRPC_UNAVAILABLE, "busy", 1500);
    cr_expect_eq(size, strlen(expected), "%.*s", (int)size, out);
    cr_expect_eq(memcmp(out, expected, size), 0, "%.*s", (int)size, out);
}
