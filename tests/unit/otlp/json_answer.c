/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "otlp/json.h"

static void expect(const char *out, size_t size, const char *want)
{
    cr_expect(ut_slice_equal(ut_slice_of(out, size), ut_slice_str(want)), "%.*s, not %s", (int)size,
              out, want);
}

Test(json_answer, success_is_an_empty_object)
{
    char out[UT_JSON_ANSWER_MAX];
    expect(out, ut_json_put_response(out, 0, NULL), "{}");
    expect(out, ut_json_put_response(out, 0, ""), "{}");
}

Test(json_answer, partial_success_names_number_and_reason)
{
    char out[UT_JSON_ANSWER_MAX];
    expect(out, ut_json_put_response(out, 3, "bad \"id\""),
           "{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"bad \\\"id\\\"\"}}");
    expect(out, ut_json_put_response(out, UINT64_MAX, NULL),
           "{\"partialSuccess\":{\"rejectedSpans\":\"18446744073709551615\"}}");
}

Test(json_answer, status_is_code_and_message)
{
    char out[UT_JSON_ANSWER_MAX];
    expect(out, ut_json_put_status(out, 3, "a\\b\n\x1f\xc3\xa4"),
           "{\"code\":3,\"message\":\"a\\\\b\\u000a\\u001f\xc3\xa4\"}");
    expect(out, ut_json_put_status(out, 14, NULL), "{\"code\":14,\"message\":\"\"}");
}

Test(json_answer, bytes_that_are_not_utf8_are_replaced)
{
    char out[UT_JSON_ANSWER_MAX];
    expect(out, ut_json_put_status(out, 1, "a\xff\xe2\x82"),
           "{\"code\":1,\"message\":\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}");
}

Test(json_answer, long_messages_are_cut_between_characters)
{
    static const char *const pieces[] = {"x", "\x01", "\"", "\xf0\x9f\x98\x80", "\xff"};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        char out[UT_JSON_ANSWER_MAX], message[3000] = "";
        for (size_t size = 0; size + 5 < sizeof(message); size += strlen(pieces[i]))
            memcpy(message + size, pieces[i], strlen(pieces[i]) + 1);
        size_t size = ut_json_put_response(out, 1, message);
        cr_expect_leq(size, sizeof(out));
        cr_expect_gt(size, sizeof(out) - 20);
        cr_expect_eq(memcmp(out + size - 3, "\"}}", 3), 0);
        cr_expect_neq(out[size - 4], (char)0xf0);
    }
}
