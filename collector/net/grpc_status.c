/* SPDX-License-Identifier: Apache-2.0 */
#include "net/grpc_status.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define RETRY_INFO_TYPE "type.googleapis.com/google.rpc.RetryInfo"

enum { STATUS_BYTES = UT_GRPC_TEXT_MAX + 96 };

_Static_assert((STATUS_BYTES + 2) / 3 * 4 <= UT_GRPC_DETAILS_FIELD, "base64 fits");

static bool is_plain(unsigned char c)
{
    return c >= ' ' && c <= '~' && c != '%';
}

size_t ut_grpc_message_field(char out[UT_GRPC_MESSAGE_FIELD], const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = 0;
    for (size_t i = 0; text[i] != '\0' && i < UT_GRPC_TEXT_MAX; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c > '~')
            c = '?';
        if (is_plain(c)) {
            out[size++] = (char)c;
            continue;
        }
        out[size++] = '%';
        out[size++] = digits[c >> 4];
        out[size++] = digits[c & 15];
    }
    return size;
}

/* A protobuf message that is written into a fixed buffer whose size was reckoned beforehand. */
struct message {
    uint8_t bytes[STATUS_BYTES];
    size_t size;
};

static void put_byte(struct message *message, uint8_t byte)
{
    UT_CHECK(message->size < sizeof(message->bytes));
    message->bytes[message->size++] = byte;
}

static void put_varint(struct message *message, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_byte(message, (uint8_t)(value | 0x80));
    put_byte(message, (uint8_t)value);
}

static void put_number(struct message *message, uint8_t tag, uint64_t value)
{
    if (value == 0)
        return;
    put_byte(message, tag);
    put_varint(message, value);
}

static void put_bytes(struct message *message, uint8_t tag, const void *bytes, size_t size)
{
    put_byte(message, tag);
    put_varint(message, size);
    for (size_t i = 0; i < size; i++)
        put_byte(message, ((const uint8_t *)bytes)[i]);
}

enum {
    VARINT_1 = 1 << 3,
    VARINT_2 = 2 << 3,
    BYTES_1 = 1 << 3 | 2,
    BYTES_2 = 2 << 3 | 2,
    BYTES_3 = 3 << 3 | 2
};

/* google.protobuf.Any { type_url, value: RetryInfo { retry_delay: Duration { seconds, nanos } } }
 */
static void put_retry_info(struct message *status, uint32_t retry_after_ms)
{
    struct message duration = {0}, info = {0}, any = {0};
    put_number(&duration, VARINT_1, retry_after_ms / 1000);
    put_number(&duration, VARINT_2, (uint64_t)(retry_after_ms % 1000) * 1000000);
    put_bytes(&info, BYTES_1, duration.bytes, duration.size);
    put_bytes(&any, BYTES_1, RETRY_INFO_TYPE, sizeof(RETRY_INFO_TYPE) - 1);
    put_bytes(&any, BYTES_2, info.bytes, info.size);
    put_bytes(status, BYTES_3, any.bytes, any.size);
}

static void put_text(struct message *status, const char *text)
{
    char ascii[UT_GRPC_TEXT_MAX];
    size_t size = strnlen(text, sizeof(ascii));
    for (size_t i = 0; i < size; i++)
        ascii[i] = (unsigned char)text[i] > '~' ? '?' : text[i];
    put_bytes(status, BYTES_2, ascii, size);
}

static size_t put_base64(char *out, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t written = 0;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)bytes[i] << 16;
        group |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        group |= left > 2 ? bytes[i + 2] : 0;
        size_t count = left > 2 ? 4 : left + 1;
        for (size_t k = 0; k < count; k++)
            out[written++] = digits[group >> (18 - 6 * k) & 63];
    }
    return written;
}

static void put_status(struct message *status, enum ut_grpc_code code, const char *text,
                       uint32_t retry_after_ms)
{
    put_number(status, VARINT_1, code);
    put_text(status, text);
    if (retry_after_ms > 0)
        put_retry_info(status, retry_after_ms);
}

size_t ut_grpc_details_field(char out[UT_GRPC_DETAILS_FIELD], enum ut_grpc_code code,
                             const char *text, uint32_t retry_after_ms)
{
    struct message status = {0};
    put_status(&status, code, text, retry_after_ms);
    return put_base64(out, status.bytes, status.size);
}

size_t ut_grpc_status_protobuf(uint8_t out[UT_GRPC_STATUS_BODY], enum ut_grpc_code code,
                               const char *text, uint32_t retry_after_ms)
{
    struct message status = {0};
    put_status(&status, code, text, retry_after_ms);
    memcpy(out, status.bytes, status.size);
    return status.size;
}

/* `out` has room for two bytes a character. */
static size_t put_json_text(char *out, const char *text)
{
    size_t size = 0;
    for (size_t i = 0; text[i] != '\0' && i < UT_GRPC_TEXT_MAX; i++) {
        char c = text[i];
        if (c < ' ' || c > '~')
            c = '?';
        if (c == '"' || c == '\\')
            out[size++] = '\\';
        out[size++] = c;
    }
    return size;
}

size_t ut_grpc_status_json(uint8_t out[UT_GRPC_STATUS_BODY], enum ut_grpc_code code,
                           const char *text, uint32_t retry_after_ms)
{
    char escaped[2 * UT_GRPC_TEXT_MAX], details[128] = "";
    size_t size = put_json_text(escaped, text);
    if (retry_after_ms > 0)
        (void)snprintf(details, sizeof(details),
                       ",\"details\":[{\"@type\":\"" RETRY_INFO_TYPE
                       "\",\"retryDelay\":\"%u.%03us\"}]",
                       retry_after_ms / 1000, retry_after_ms % 1000);
    int length = snprintf((char *)out, UT_GRPC_STATUS_BODY, "{\"code\":%d,\"message\":\"%.*s\"%s}",
                          (int)code, (int)size, escaped, details);
    UT_CHECK(length > 0 && length < UT_GRPC_STATUS_BODY);
    return (size_t)length;
}
