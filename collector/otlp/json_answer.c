/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of OTLP/HTTP in JSON. They are small, and most are `{}`. */
#include <inttypes.h>
#include <stdio.h>

#include "otlp/json.h"
#include "otlp/text.h"

enum { ENDING_ROOM = 8, ESCAPE_ROOM = 6, CHARACTER_MAX = 4 };

struct answer {
    char *out;
    size_t size;
};

static void put(struct answer *answer, const char *text, size_t size)
{
    memcpy(answer->out + answer->size, text, size);
    answer->size += size;
}

/* Bytes of the UTF-8 character at `p`, 0 if there is none. */
static size_t character(const uint8_t *p, size_t size)
{
    for (size_t n = 1; n <= CHARACTER_MAX && n <= size; n++) {
        if (ut_text_is_utf8(p, n))
            return n;
    }
    return 0;
}

/* A string; what does not fit is cut off between two characters, what is not UTF-8 becomes U+FFFD.
 */
static void put_text(struct answer *answer, const char *text)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + strlen(text);
    put(answer, "\"", 1);
    while (p < end && answer->size + ESCAPE_ROOM + ENDING_ROOM < UT_JSON_ANSWER_MAX) {
        size_t size = character(p, (size_t)(end - p));
        if (size == 0) {
            put(answer, "\xef\xbf\xbd", 3);
            size = 1;
        } else if (*p < 0x20) {
            answer->size +=
                (size_t)snprintf(answer->out + answer->size, ESCAPE_ROOM + 1, "\\u%04x", *p);
        } else {
            if (*p == '"' || *p == '\\')
                put(answer, "\\", 1);
            put(answer, (const char *)p, size);
        }
        p += size;
    }
    put(answer, "\"", 1);
}

size_t ut_json_put_response(char out[UT_JSON_ANSWER_MAX], uint64_t rejected_spans,
                            const char *message)
{
    struct answer answer = {out, 0};
    bool has_message = message != NULL && *message != '\0';
    if (rejected_spans == 0 && !has_message) {
        put(&answer, "{}", 2);
        return answer.size;
    }
    /* A 64-bit number is a string in the JSON of protobuf. */
    answer.size =
        (size_t)snprintf(out, UT_JSON_ANSWER_MAX,
                         "{\"partialSuccess\":{\"rejectedSpans\":\"%" PRIu64 "\"", rejected_spans);
    if (has_message) {
        static const char key[] = ",\"errorMessage\":";
        put(&answer, key, sizeof(key) - 1);
        put_text(&answer, message);
    }
    put(&answer, "}}", 2);
    return answer.size;
}

size_t ut_json_put_status(char out[UT_JSON_ANSWER_MAX], int code, const char *message)
{
    struct answer answer = {out, 0};
    answer.size = (size_t)snprintf(out, UT_JSON_ANSWER_MAX, "{\"code\":%d,\"message\":", code);
    put_text(&answer, message != NULL ? message : "");
    put(&answer, "}", 1);
    return answer.size;
}
